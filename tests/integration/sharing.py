"""Weeks of traffic of thirteen sensors, straight into the database, for tests of what partners can read.

    world = World(pg, weeks=6)       # sensors s1..s13, rolled up, in the past
    with transaction(pg) as cursor:  # something added to it that goes again
        world.copy(cursor, rows)
"""
import contextlib
import datetime
import io
import math
import random

import psycopg2
import pytest

import hirundo

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
SENSORS = 13
COUNTRIES = ("JP", "TW", "US", "DE", "BR", "ZA", "AU", "IN", "FR", "KR", "MX", "EG", "PL")


# what the attacker of the marked-probe attack sends, and nobody else
ODD_PORTS = list(range(40961, 40981))
ODD_COUNT = 7919


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres(settings=["fsync = off", "autovacuum = off"]) as pg:
        pg.migrate()
        yield pg


@contextlib.contextmanager
def transaction(pg):
    """A session of a test's own; nothing of it stays."""
    with pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        yield cursor
        conn.rollback()


def roll_up(cursor):
    """What serve does every minute, until nothing is left."""
    done = 1
    while done:
        cursor.execute("select hirundo.rollup_step()")
        done = cursor.fetchone()[0]
        assert done is not None, "another session rolls up"


class World:
    """Mondays to Sundays (UTC) that ended about five weeks ago; each sensor has its own level, each port its own weeks."""

    def __init__(self, pg, weeks=6, ports=25, seed=1, ago=35):
        self.pg, self.weeks, self.rng = pg, weeks, random.Random(seed)
        today = datetime.datetime.now(UTC).date()
        monday = today - DAY * (today.weekday() + ago + 7 * weeks)
        self.first = datetime.datetime.combine(monday, datetime.time(), UTC)
        self.ports = sorted(self.rng.sample(range(20, 10000), ports))
        self.names = [f"s{i}" for i in range(1, SENSORS + 1)]
        self.ids = {}
        with pg.connect() as conn, conn.cursor() as cursor:
            conn.autocommit = False
            self.fill(cursor)
            conn.commit()
            conn.autocommit = True
            roll_up(cursor)

    def days(self):
        return [self.first + DAY * i for i in range(7 * self.weeks)]

    def fill(self, cursor):
        cursor.execute("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        for name, country in zip(self.names, COUNTRIES):
            cursor.execute("insert into hirundo.sensor (name, country, label_en, label_ja, hosted_by) values (%s, %s, %s, %s, %s) "
                           "returning sensor_id", (name, country, f"Label {name[1:]}", f"札 {name[1:]}", f"Hoster of {name}"))
            self.ids[name] = cursor.fetchone()[0]
            cursor.execute("insert into hirundo.sensor_address (sensor_id, dst_no, address) values (%s, 1, %s)",
                           (self.ids[name], f"203.0.113.{self.ids[name]}"))
        # sources' countries; the last /24 is of a country that nobody else has
        cursor.execute("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2000-01-01', 'test', 14, 14) returning set_id")
        set_id = cursor.fetchone()[0]
        for i, country in enumerate(COUNTRIES + ("VA",)):
            cursor.execute("insert into hirundo.network (set_id, lo, hi, asn, country) values (%s, %s, %s, %s, %s)",
                           (set_id, f"198.18.{i}.0", f"198.18.{i}.255", 64500 + i, country))
        for day in self.days():
            cursor.execute("select hirundo.partition_ensure(%s)", (day.date(),))
        cursor.execute("insert into hirundo.observation (sensor_id, slot, covered_ms, row_packets, frames) "
                       "select s, g, 900000, 1, 1 from unnest(%s::smallint[]) s, generate_series(%s::timestamptz, %s, interval '15 minutes') g",
                       (list(self.ids.values()), self.first, self.days()[-1] + DAY - datetime.timedelta(minutes=15)))
        level = {name: math.exp(self.rng.gauss(0, 0.3)) for name in self.names}
        common = {port: 20 * math.exp(self.rng.gauss(0, 1.2)) for port in self.ports}
        rows = []
        for week in range(self.weeks):
            trend = {port: math.exp(self.rng.gauss(0, 0.2)) for port in self.ports}
            for port in self.ports:
                for name in self.names:
                    daily = common[port] * trend[port] * level[name] * math.exp(self.rng.gauss(0, 0.2))
                    for day in range(7):
                        packets = max(1, int(daily * math.exp(self.rng.gauss(0, 0.2))))
                        rows += self.rows(name, self.first + DAY * (7 * week + day), port, packets)
        self.copy(cursor, rows)

    def rows(self, name, day, port, packets, sources=2):
        """The packets of one port and day from a few sources."""
        for i in range(sources):
            share = packets // sources + (i < packets % sources)
            if share:
                at = day + datetime.timedelta(seconds=self.rng.randrange(86000))
                yield (name, at, port, share, f"198.18.{self.rng.randrange(13)}.{self.rng.randrange(256)}", 50)

    def copy(self, cursor, rows, options=None):
        """Rows as the collector would add them: flow, marks for the rollups."""
        text = "".join(f"{at.isoformat()}\t0\t{packets}\t{packets * 40}\t{port}\t40000\t1024\t1\t40\t{options or 0}\t{self.ids[name]}\t1\t6\t{ttl}\t2\t0\t{src}\n"
                       for name, at, port, packets, src, ttl in rows)
        cursor.copy_expert("copy hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, options_id, sensor_id, "
                           "dst_no, proto, ttl, tcp_flags, marks, src) from stdin", io.StringIO(text))
        hours = sorted({(self.ids[name], at.replace(minute=0, second=0, microsecond=0)) for name, at, *_ in rows})
        cursor.execute("insert into hirundo.dirty as d (sensor_id, hour) select * from unnest(%s::smallint[], %s::timestamptz[]) order by 1, 2 "
                       "on conflict (sensor_id, hour) do update set gen = d.gen + 1", ([h[0] for h in hours], [h[1] for h in hours]))


def login(pg, role, password="only-for-tests", database=None):
    """A connection of that role's own, with its password, over TCP."""
    conn = psycopg2.connect(f"host=127.0.0.1 port={pg.port} dbname={database or pg.database} user={role} password={password}")
    conn.autocommit = True
    return conn


CLOCKS = {"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday", "random", "gen_random_uuid", "pg_backend_pid",
          "inet_client_port", "current_schemas", "pg_my_temp_schema", "pg_conf_load_time"}
SKIP = r"^(pg_sleep|setseed|pg_(terminate|cancel|reload|rotate|switch|promote|log)_|pg_timezone_names$|pg_timezone_abbrevs$)"
# what is tried for an argument of each type; %OID% stands for each table that a partner may not read
ARGUMENTS = {"oid": ["%OID%"], "regclass": ["%OID%"], "text": ["'main'", "'hirundo.flow'"], "name": ["'hirundo'"], "integer": ["1"],
             "bigint": ["1"], "boolean": ["true"]}


def attempt(cursor, sql):
    """The rows as sorted texts; what was said, where it is refused."""
    try:
        cursor.execute(sql)
        rows = [[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in cursor.fetchall()] if cursor.description else ["done"]
        return sorted(map(str, rows))
    except psycopg2.Error as error:
        cursor.connection.rollback()
        return [f"refused: {error.pgcode}"]


def relations(cursor):
    """(name, columns) of everything that this login may select from."""
    cursor.execute("select c.oid::regclass::text, array_agg(quote_ident(a.attname) order by a.attnum) from pg_class c "
                   "join pg_attribute a on a.attrelid = c.oid and (a.attnum > 0 or a.attname in ('xmin', 'ctid') and c.relkind <> 'v') and not a.attisdropped "
                   "where c.relkind in ('r', 'v', 'm', 'p', 'f', 'S') and has_schema_privilege(c.relnamespace, 'usage') "
                   "and has_column_privilege(c.oid, a.attnum, 'select') and c.relname <> 'element_types' "  # of the catalogs alone, and slow
                   "group by 1 order by 1")
    return cursor.fetchall()


def calls(cursor, hidden):
    """(name, statement) of every function that this login may call with arguments that can be guessed."""
    cursor.execute("select p.proname, p.oid::regproc::text, array(select format_type(t, null) from unnest(p.proargtypes[0:p.pronargs - p.pronargdefaults - 1]) t) "
                   "from pg_proc p where p.prokind = 'f' and p.provolatile <> 'i' and p.pronargs - p.pronargdefaults <= 2 "
                   "and has_function_privilege(p.oid, 'execute') and has_schema_privilege(p.pronamespace, 'usage') "
                   "and p.proname !~ %s order by 2", (SKIP,))
    for name, full, types in cursor.fetchall():
        if any(t not in ARGUMENTS for t in types):
            continue
        lists = [""]
        for kind in types:
            lists = [f"{done}{', ' if done else ''}{value}" for done in lists for value in ARGUMENTS[kind]]
        for arguments in lists:
            for oid in hidden if "%OID%" in arguments else [0]:
                yield name, f"select * from {full}({arguments.replace('%OID%', str(oid))})"


def everything(conn, hidden, functions=True):
    """All that a login can read, by the statement that reads it: tables, views, columns, functions, plans with their counts."""
    reading = {}
    with conn.cursor() as cursor:
        for name, columns in relations(cursor):
            sql = f"select {', '.join(columns)} from {name}"
            reading[sql] = attempt(cursor, sql)
            if name.split(".")[0].startswith("partner_") or "." not in name and not name.startswith("pg_"):
                sql = f"explain (analyze, buffers, timing off, summary off) {sql}"
                reading[sql] = [line for line in attempt(cursor, sql) if "Buffers" not in line and "Planning" not in line]
        for name, sql in calls(cursor, hidden) if functions else ():
            if name not in CLOCKS:
                reading[sql] = attempt(cursor, sql)
    return reading
