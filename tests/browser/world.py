"""Databases to report on: rows put in where the collector would, and rolled up by the program."""
import csv
import datetime
import json
import pathlib
import random
import sys

from psycopg2.extras import execute_values

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "sql"))
import common  # noqa: E402

UTC = datetime.timezone.utc
ATTACK = "<img src=x onerror=alert(1)></script><script>alert(2)</script><!-- \"'{a|b}&lt; ${alert(3)}\u2028"
DAY = datetime.timedelta(days=1)


def day(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


class Site:
    """What report wrote."""

    def __init__(self, path, output):
        self.path, self.output = pathlib.Path(path), output

    def text(self, name):
        return (self.path / name).read_text(encoding="utf-8")

    def json(self):
        return json.loads(self.text("report.json"))

    def figures(self):
        return {f["id"]: f for f in self.json()["figures"]}

    def csv(self, figure):
        with open(self.path / f"{figure}.csv", encoding="utf-8-sig", newline="") as f:
            return list(csv.DictReader(f))


class World:
    def __init__(self, pg, database):
        self.pg, self.database, self.sensors = pg, database, {}

    def query(self, sql, *values):
        self.pg.database = self.database
        return self.pg.query(sql, *values)

    def command(self, *words, **options):
        self.pg.database = self.database
        return self.pg.command(*words, **options)

    def report(self, period, out, audience="public", *more):
        return Site(out, self.command("report", period, "--out", str(out), "--audience", audience, *more).stdout)

    def settings(self, zone="UTC", home="JP"):
        for name, value in (("time_zone", zone), ("home_country", home), ("retention_flow", "off")):
            self.query("update hirundo.setting set value = %s where name = %s", value, name)

    def add_sensor(self, name, country, label_en=None, label_ja=None):
        (number,), = self.query("insert into hirundo.sensor (name, country, label_en, label_ja) values (%s, %s, %s, %s) returning sensor_id",
                                name, country, label_en or name, label_ja or label_en or name)
        self.sensors[name] = number
        return number

    def observe(self, sensor, first, past):
        """Every quarter of an hour of [first, past), wholly."""
        self.query("insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets) "
                   "select %s, s, 900000, 0, 0 from generate_series(%s::timestamptz, %s::timestamptz - interval '1 second', '15 minutes') s",
                   sensor, first, past)

    def add_flows(self, flows):
        """Rows, and what observation says of them."""
        self.pg.database = self.database
        with self.pg.connect() as conn, conn.cursor() as cursor:
            common.add_flows(cursor, flows)
            booked = {}
            for f in flows:
                slot = f["ts"].replace(minute=f["ts"].minute // 15 * 15, second=0, microsecond=0)
                booked[f["sensor_id"], slot] = booked.get((f["sensor_id"], slot), 0) + f["packets"]
            execute_values(cursor, "insert into hirundo.observation as o (sensor_id, slot, covered_ms, frames, row_packets) values %s on conflict (sensor_id, slot) "
                           "do update set frames = o.frames + excluded.frames, row_packets = o.row_packets + excluded.row_packets",
                           [(*key, 900000, n, n) for key, n in booked.items()])
            cursor.execute("insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o "
                           "on conflict do nothing")

    def roll_up(self):
        self.command("maintain")

    def fill(self):
        """February 2023: seven sensors, of which one fails for days and all for a week; a port that two alone see; one watched organisation."""
        rng = random.Random(7)
        self.settings()
        for name, country in (("jp-1", "JP"), ("jp-2", "JP"), ("kr-1", "KR"), ("my-1", "MY"), ("au-1", "AU"), ("tw-1", "TW")):
            self.add_sensor(name, country, f"{name.upper()[:1]}{len(self.sensors)} {ATTACK}", f"センサー{len(self.sensors)} {ATTACK}")
        self.add_sensor("gh-1", "GH")  # without a label
        first, past, gap = day("2023-01-20"), day("2023-03-01"), (day("2023-02-13"), day("2023-02-20"))
        outage = (day("2023-02-05"), day("2023-02-07") + datetime.timedelta(hours=6))
        flows = []
        for name, sensor in self.sensors.items():
            spans = [(first, gap[0]), (gap[1], past)]
            if name == "kr-1":
                spans = [(first, outage[0]), (outage[1], gap[0]), (gap[1], past)]
            for a, b in spans:
                self.observe(sensor, a, b)
                hours = int((b - a).total_seconds() // 3600)
                for _ in range(hours):
                    flows.append(self.flow(rng, sensor, a, hours, rng.choice([22, 23, 23, 80, 443, 6379, 3389, 8080, 445, 5555, 81, 1433]),
                                           f"100.64.{rng.randrange(4)}.{rng.randrange(250)}", rng.randrange(40, 60)))
                for _ in range(hours // 8):
                    distance = {"JP": 8, "KR": 14, "MY": 18, "AU": 22, "TW": 12, "GH": 26}[name[:2].upper()]
                    flows.append(self.flow(rng, sensor, a, hours, rng.choice([22, 22, 5900]), f"198.18.0.{rng.randrange(1, 40)}", 255 - distance - rng.randrange(3)))
            if name in ("kr-1", "my-1"):
                # the marked probe
                flows += [self.flow(rng, sensor, day("2023-02-21"), 24, 31337, "203.0.113.9", 50, packets=500) for _ in range(20)]
        self.add_flows(flows)
        self.query("insert into hirundo.organisation (name) values (%s)", f"Organisation {ATTACK}")
        self.query("insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/24' from hirundo.organisation")
        self.query("insert into hirundo.as_name values (64512, %s)", ATTACK)
        (number,), = self.query("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 2, 2) returning set_id")
        self.query("insert into hirundo.network values (%s, '100.64.0.0', '100.127.255.255', 64512, 'KR'), (%s, '198.18.0.0', '198.19.255.255', 64513, 'JP')", number, number)
        self.roll_up()
        return self

    def surge(self, past=day("2023-02-13"), begin=day("2023-02-08")):
        """Five calm weeks up to `past`, and for three days from `begin` on 250 hosts at home that seek 2222/TCP everywhere, some with the mark of Mirai."""
        self.settings()
        first = past - 42 * DAY
        for n, country in enumerate(("JP", "JP", "JP", "KR", "MY", "AU")):
            self.observe(self.add_sensor(f"e-{n}", country, f"Sensor {n} {ATTACK}", f"センサー{n}"), first, past)
        self.query("insert into hirundo.organisation (name) values (%s)", f"Organisation {ATTACK}")
        self.query("insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/25' from hirundo.organisation")
        self.query("insert into hirundo.as_name values (64512, %s)", ATTACK)
        (number,), = self.query("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 2, 2) returning set_id")
        self.query("insert into hirundo.network values (%s, '100.64.0.0', '100.127.255.255', 64512, 'KR'), (%s, '198.18.0.0', '198.19.255.255', 64513, 'JP')", number, number)
        self.query("select hirundo.partition_ensure((d at time zone 'UTC')::date) from generate_series(%s::timestamptz, %s, '1 day') d", first, past - DAY)
        # ten or so hosts a day from abroad; farther away the TTL is lower
        self.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                   "select d + make_interval(secs => 600 * n + s.sensor_id), 0, 1, 60, 2222, 40000, s.sensor_id, 1, 6, 50 - s.sensor_id, 2, 0, "
                   "'100.64.0.0'::inet + (n * 37 + extract(doy from d)::int * 11) %% 400 "
                   "from generate_series(%s::timestamptz, %s, '1 day') d, hirundo.sensor s, generate_series(1, 12) n "
                   "where (n * 7 + extract(doy from d)::int * 3 + s.sensor_id) %% 4 > 0", first, past - DAY)
        self.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                   "select d + make_interval(secs => 20000 + 60 * n), 0, 2, 60, 2222, 40000, s.sensor_id, 1, 6, "
                   "255 - case when s.country = 'JP' then 8 else 14 + s.sensor_id end - n %% 2, 2, n %% 3 / 2, '198.18.0.0'::inet + n "
                   "from generate_series(%s::timestamptz, %s, '1 day') d, hirundo.sensor s, generate_series(1, 250) n", begin, begin + 2 * DAY)
        self.query("insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f")
        self.query("insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o on conflict do nothing")
        self.roll_up()
        return self

    @staticmethod
    def flow(rng, sensor, first, hours, port, src, ttl, packets=1):
        return dict(ts=first + datetime.timedelta(seconds=rng.randrange(hours * 3600)), sensor_id=sensor, src=src, proto=6, port=port, ttl=ttl,
                    packets=packets, tcp_flags=2, marks=0, src_port=40000)
