"""The marked-probe attack, played against everything that a partner can read.

The attacker is a partner, with a login, and sends what it likes to any address: odd ports, odd sources, odd numbers of packets,
bursts in a rhythm. It wants to know whether an address is one of thirteen sensors. Each part has its opposite: the same attack where
the protection is taken away, which finds them.

Probes are added in a transaction of the test's, rolled up and published there, read as the partner, and rolled back: so each of the
thirteen is tried in the same world. The last part logs in really, and reads all that any login can, PostgreSQL's own tables included.
"""
import datetime
import math
import os
import pathlib
import random
import sys

import psycopg2
import pytest

import sharing
from sharing import ODD_COUNT, ODD_PORTS, fixture_pg, transaction

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import probes  # noqa: E402

__all__ = ["fixture_pg"]  # pytest finds it by its name

MARKS = probes.Marks(ports=set(ODD_PORTS), sources={f"198.18.13.{i}" for i in range(256)}, countries={"VA"}, counts={ODD_COUNT, ODD_COUNT // 7})
WEEKS = 4
FIGURES = {"total": "bucket, sensors, packets, sources", "port": "bucket, port, packets, sources", "country": "bucket, country, packets, sources"}


@pytest.fixture(name="world", scope="module")
def fixture_world(pg):
    return sharing.World(pg, weeks=WEEKS, ports=16)


@pytest.fixture(name="spy", scope="module")
def fixture_spy(pg, world):
    """What any login could read before the first partner was added: taken before and after a burst."""
    pg.query("create role spy login password 'only-for-tests'")
    before = read_all(pg, world, "spy")
    burst(pg, world)
    return before, read_all(pg, world, "spy")


@pytest.fixture(name="partners", scope="module")
def fixture_partners(pg, world, spy, tmp_path_factory):
    """thief has no sensors, guest has two. Nothing is published yet: that happens in each test's transaction."""
    del spy
    key = str(tmp_path_factory.mktemp("office") / "pseudonym.key")
    pg.command("partner", "add", "thief", "--bucket", "week", "--pseudonym-key", key)
    pg.command("partner", "add", "guest", "--sensors", "s1,s2", "--bucket", "week", "--pseudonym-key", key)
    for role in ("partner_thief", "partner_guest"):
        pg.query(f"alter role {role} password 'only-for-tests'")
    return {"thief": [], "guest": [world.ids["s1"], world.ids["s2"]]}


# ---- worlds: with and without probes

def read_figures(cursor, partner):
    """As the partner: its role's rights and policies, inside the test's transaction."""
    cursor.execute(f"set session authorization partner_{partner}")
    reading = {}
    for table, columns in FIGURES.items():
        cursor.execute(f"select {columns} from partner_{partner}.shared_{table} order by 1, 2")
        keys = 2 if table != "total" else 1
        reading[table] = {"/".join(map(str, row[:keys])): [float(v) if not isinstance(v, str) else v for v in row[keys:]] for row in cursor.fetchall()}
    cursor.execute("reset session authorization")
    return reading


def world_with(pg, world, change=None, prepare=None):
    """What both partners read after `change` (probes) has come in and all is published."""
    with transaction(pg) as cursor:
        if prepare:
            prepare(cursor)
        if change:
            change(cursor)
        sharing.roll_up(cursor)
        return {partner: read_figures(cursor, partner) for partner in ("thief", "guest")}


@pytest.fixture(name="calm", scope="module")
def fixture_calm(pg, world, partners):
    del partners
    return world_with(pg, world)


def odd_probes(world, *names, days=(7, 8, 9, 21)):
    """Odd ports, each with an odd number of packets from a country nobody else sends from."""
    return [(name, world.first + sharing.DAY * day + datetime.timedelta(hours=7, seconds=i), port, ODD_COUNT, f"198.18.13.{i}", 33)
            for name in names for day in days for i, port in enumerate(ODD_PORTS)]


def send(world, rows):
    return lambda cursor: world.copy(cursor, rows)


# ---- marks that nobody else would send

@pytest.mark.parametrize("number", range(1, sharing.SENSORS + 1))
def test_marks_do_not_show(pg, world, calm, number):
    """Of all that is published by port and country not one figure differs; the total, by a neighbour's place at most."""
    probed = world_with(pg, world, send(world, odd_probes(world, f"s{number}")))
    for partner in ("thief", "guest"):
        assert not probes.seen(probed[partner], MARKS)
        changes = probes.changed(calm[partner], probed[partner])
        assert all(path[0] == "total" for path, *_ in changes), changes
        for path, before, after in changes:
            assert before < after <= before * 1.67 + 0.001, (path, before, after)  # one step, whatever was sent
    assert calm["thief"]["port"] and calm["guest"]["country"]


def unprotected(cursor):
    """The same figures of the sensor with most, wherever a single one received something."""
    cursor.execute("alter table hirundo.partner drop constraint partner_min_sensors_check")
    cursor.execute("update hirundo.partner set min_sensors = 1, ports = 1000")
    cursor.execute("set role hirundo_owner")
    cursor.execute("create or replace function hirundo.share_middle(reached double precision[], observing integer) returns double precision "
                   "language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$ begin return reached[cardinality(reached)]; end $$")
    cursor.execute("select hirundo.partner_build(partner_id) from hirundo.partner")
    cursor.execute("reset role")


@pytest.mark.parametrize("number", [3, 13])
def test_without_the_minimum_they_show(pg, world, partners, number):
    del partners
    probed = world_with(pg, world, send(world, odd_probes(world, f"s{number}")), unprotected)
    found = {path[0].split("/")[1] for path, _ in probes.seen(probed["thief"]["port"], MARKS)}
    assert found == {str(port) for port in ODD_PORTS}
    assert any("VA" in path[0] for path, _ in probes.seen(probed["thief"]["country"], MARKS))
    # the guest's own sensors are left out of its figures, so a probe to them does not show even then
    own = world_with(pg, world, send(world, odd_probes(world, "s1")), unprotected)
    assert probes.seen(own["thief"], MARKS) and not probes.seen(own["guest"], MARKS)


def test_differencing_by_sets_of_sensors(pg, world, calm):
    """Six known sensors and a candidate: seven of thirteen is more than half, and the port shows. Five and a candidate: it does not.
    Who knows half of the sensors finds the others; docs/sharing.md says so."""
    five = world_with(pg, world, send(world, odd_probes(world, *world.names[:5], "s13")))
    assert probes.changed(calm["thief"]["port"], five["thief"]["port"]) == []
    six = world_with(pg, world, send(world, odd_probes(world, *world.names[:6], "s13")))
    assert probes.seen(six["thief"]["port"], MARKS)
    # known to the guest are two, which do not count for it
    assert probes.changed(calm["guest"]["port"], five["guest"]["port"]) == []


# ---- bursts in a rhythm, on ports where everybody sends

def rhythm(world, seed):
    """+1 in half of the weeks of each port."""
    rng, code = random.Random(seed), {}
    for port in world.ports:
        weeks = [1] * (WEEKS // 2) + [-1] * (WEEKS - WEEKS // 2)
        rng.shuffle(weeks)
        code[f"{port}/TCP"] = weeks
    return code


def bursts(world, name, code):
    return [(name, world.first + sharing.DAY * (7 * week + 2) + datetime.timedelta(hours=5, seconds=port % 60), port, 1_000_000, "198.18.13.9", 33)
            for port in world.ports for week in range(WEEKS) if code[f"{port}/TCP"][week] > 0]


def by_week(world, figures, column=0):
    table = {f"{port}/TCP": [None] * WEEKS for port in world.ports}
    for key, row in figures.items():
        bucket, port = key.split("/", 1)
        week = (datetime.date.fromisoformat(bucket) - world.first.date()).days // 7
        if port in table and 0 <= week < WEEKS:
            table[port][week] = row[column]
    return table


def sums(cursor):
    """What a public page often shows: packets of all sensors by port and week."""
    cursor.execute("select date_trunc('week', day::timestamp)::date || '/' || hirundo.port_label(port_code), sum(packets)::float from hirundo.network_port_day group by 1")
    return {key: [value] for key, value in cursor.fetchall()}


@pytest.mark.parametrize("number", range(1, sharing.SENSORS + 1))
def test_bursts_move_figures_to_a_neighbour_at_most(pg, world, calm, number):
    """A million packets on each busy port, week after week: a figure moves one place among the sensors, and an attacker who
    knows the rhythm does not recognise it in four weeks. In plain sums it is beyond doubt."""
    code = rhythm(world, number)
    with transaction(pg) as cursor:
        world.copy(cursor, bursts(world, f"s{number}", code))
        sharing.roll_up(cursor)
        read = {partner: read_figures(cursor, partner) for partner in ("thief", "guest")}
        public = sums(cursor)
    assert probes.score(by_week(world, public), code) > 5
    for partner in ("thief", "guest"):
        assert not probes.seen(read[partner], probes.Marks(counts={1_000_000, 142857}, countries={"VA"}))
        for path, before, after in probes.changed(calm[partner]["port"], read[partner]["port"]):
            assert before is not None and after is not None and before < after <= before * 2.1, (path, before, after)
        assert abs(probes.score(by_week(world, read[partner]["port"]), code)) < 4


def test_patience(pg, world, partners, capsys):
    """How long until a rhythm can be told, by the functions that publish: thirteen simulated sensors, eighty figures (packets and sources of twenty ports
    and twenty countries, as if each had its own weeks), each burst far above all others. Prints the mean score over the thirteen; docs/sharing.md quotes it, for HIRUNDO_PATIENCE=104."""
    del world, partners
    ports, weeks, sensors = 80, int(os.environ.get("HIRUNDO_PATIENCE", "13")), 13
    rng = random.Random(7)
    levels = [rng.gauss(0, 0.3) for _ in range(sensors)]
    code, rows = {}, []
    for p in range(ports):
        rng, coin = random.Random(1000 + p), random.Random(p)
        habit = [rng.gauss(0, 0.3) for _ in range(sensors)]
        height = rng.gauss(3, 1.2)
        code[p] = [coin.choice((1, -1)) for _ in range(weeks)]
        for _ in range(weeks):
            trend = rng.gauss(0, 0.2)
            rows.append([math.exp(height + trend + levels[s] + habit[s] + rng.gauss(0, 0.2)) for s in range(sensors)])
    with transaction(pg) as cursor:
        table = {"calm": rows}
        for s in range(sensors):
            table[s] = [[1e6 if i == s and code[n // weeks][n % weeks] > 0 else v for i, v in enumerate(row)] for n, row in enumerate(rows)]
        published = {}
        for name, values in table.items():
            cursor.execute("select array_agg(hirundo.share_round(hirundo.share_middle(array(select r.v[i] from generate_series(1, 13) i order by 1), 13)) order by r.n) "
                           "from (select n, array(select x::float8 from unnest(string_to_array(t, ',')) x) as v from unnest(%s::text[]) with ordinality u(t, n)) r",
                           ([",".join(map(repr, row)) for row in values],))
            figures = cursor.fetchone()[0]
            published[name] = {p: figures[p * weeks:(p + 1) * weeks] for p in range(ports)}

    def scores(until):
        short = {p: code[p][:until] for p in range(ports)}
        return [probes.score({p: f[:until] for p, f in published[name].items()}, short) for name in ("calm", *range(sensors))]
    with capsys.disabled():
        print()
        for until in (n for n in (4, 8, 13, 26, 52, 104) if n <= weeks):
            calm_score, *rest = scores(until)
            print(f"buckets {until}: mean score {sum(rest) / len(rest):.1f}, highest {max(rest):.1f}, lowest {min(rest):.1f}, without probes {calm_score:.1f}")
    assert sum(scores(4)[1:]) / sensors < 4


# ---- what PostgreSQL itself tells

BURST_DAY = 10


def read_all(pg, world, role):
    day = (world.first + sharing.DAY * BURST_DAY).strftime("flow_%Y%m%d")
    hidden = [row[0] for row in pg.query("select c.oid from pg_class c where c.relnamespace = 'hirundo'::regnamespace and relname = any (%s) order by 1",
                                         ["flow", day, "port_day", "sensor_address", "audit", "tcp_options", "tcp_options_options_id_seq"])]
    assert len(hidden) == 7
    conn = sharing.login(pg, role)
    try:
        return sharing.everything(conn, hidden)
    finally:
        conn.close()


def burst(pg, world):
    """Probes to one sensor, as its batch comes in: new options, rows of a known day, their marks; statistics are up to date."""
    with pg.connect() as conn, conn.cursor() as cursor:
        cursor.execute("insert into hirundo.tcp_options (layout, mss) values (%s, 1111) returning options_id", (f"mss,burst-{random.random()}",))
        options = cursor.fetchone()[0]
        world.copy(cursor, [("s7", world.first + sharing.DAY * BURST_DAY + datetime.timedelta(seconds=i), 40001, 1, f"198.18.12.{i % 256}", 33)
                            for i in range(20000)], options)
        cursor.execute("analyze")
    with pg.connect() as conn, conn.cursor() as cursor:
        cursor.execute("select pg_stat_force_next_flush()")
        cursor.execute("checkpoint")


def test_any_login_found_it_before(spy):
    """Before the first partner is added PostgreSQL's own figures tell every login: so the next test can fail."""
    before, after = spy
    found = {path[0] for path, *_ in probes.changed(before, after)}
    for place in ("pg_stat_all_tables", "pg_class", "pg_relation_size", "pg_current_wal_lsn", "pg_stat_database", "txid_current"):
        assert any(place in sql for sql in found), (place, sorted(found))


def test_nothing_readable_follows_a_burst(pg, world, partners):
    """Everything that both partners can read, before and after 20,000 probes to one of the thirteen come in and are rolled up."""
    del partners
    pg.command("maintain")
    pg.query("analyze")
    before = {role: read_all(pg, world, role) for role in ("partner_thief", "partner_guest")}
    burst(pg, world)
    pg.command("maintain")
    for role, reading in before.items():
        after = read_all(pg, world, role)
        assert len(reading) > 150 and any("shared_port" in sql for sql in reading)
        assert probes.changed(reading, after) == []
        marks = probes.Marks(ports={40001})
        assert not probes.seen({sql: rows for sql, rows in after.items() if "shared_" in sql or "flow" in sql}, marks)


@pytest.mark.parametrize("way", ["view", "policy"])
def test_a_filter_on_the_shared_table_would_tell(pg, world, partners, way):
    """The ways that were not taken: EXPLAIN counts the rows that a barrier or a policy hides, as they come in."""
    del partners
    with transaction(pg) as cursor:
        if way == "view":
            cursor.execute("create view partner_guest.all_flow with (security_barrier) as select * from hirundo.flow where sensor_id in (1, 2)")
            cursor.execute("grant select on partner_guest.all_flow to partner_guest")
        else:
            cursor.execute("alter table hirundo.flow enable row level security")
            cursor.execute("create policy own on hirundo.flow for select to partner_guest using (sensor_id in (1, 2))")
            cursor.execute("grant usage on schema hirundo to partner_guest")
            cursor.execute("grant select on hirundo.flow to partner_guest")

        def told():
            cursor.execute("set session authorization partner_guest")
            cursor.execute(f"explain (analyze, timing off, summary off) select * from {'partner_guest.all_flow' if way == 'view' else 'hirundo.flow'}")
            text = "\n".join(row[0] for row in cursor.fetchall())
            cursor.execute("reset session authorization")
            return sum(int(line.rsplit(":", 1)[1]) for line in text.splitlines() if "Rows Removed by Filter" in line)
        before = told()
        world.copy(cursor, odd_probes(world, "s9"))
        assert told() == before + len(odd_probes(world, "s9"))


def test_numbers_of_tcp_options_are_not_shown(pg, partners):
    """They are given in the order of first sight: two own probes and one to a candidate between them would tell."""
    del partners
    conn = sharing.login(pg, "partner_guest")
    with conn.cursor() as cursor:
        cursor.execute("select * from flow limit 1")
        names = {column.name for column in cursor.description}
        assert "options_id" not in names and "sensor_id" not in names
        with pytest.raises(psycopg2.Error):
            cursor.execute("select * from hirundo.tcp_options")
    conn.close()
