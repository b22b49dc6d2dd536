"""The marked-probe attack, played against the data of the report for the public.

Thirteen sensors; the attacker sends what nobody else sends to one of them: odd ports, from an odd country, an odd number of packets; packets in
the name of an organisation under watch, with an odd TTL; answers of odd victims; many forged sources on one day; garbage. Then it reads all
that hirundo.report(period, 'public') says, beside what it says of the same world without the probes. Its opposite is the report for
internal use, where all of it shows.

As in test_partner_attack.py: added, rolled up and read in a transaction that is rolled back, so that each sensor is tried in one world.
"""
import datetime
import pathlib
import random
import sys

import pytest

import sharing
from sharing import ODD_COUNT, ODD_PORTS, fixture_pg, transaction

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import probes  # noqa: E402

__all__ = ["fixture_pg"]  # pytest finds it by its name

ODD_TTL = 7
MARKS = probes.Marks(ports=set(ODD_PORTS), sources={f"198.18.13.{i}" for i in range(256)}, countries={"VA"}, counts={ODD_COUNT}, texts={"AS64513"})
WEEKS = 4
# What may move at all, and that to the value of the next sensor: figures of everything a sensor received, and of what was sent in another's name.
TOTALS = {"average_change": (1, 2, 3), "sensor_average": (2, 3), "ttl-1": (4, 5)}
NAMED = "DE"  # where the organisation's addresses are registered


@pytest.fixture(name="world", scope="module")
def fixture_world(pg):
    """Four of the thirteen at home; one organisation under watch, from which every sensor hears."""
    world = sharing.World(pg, weeks=WEEKS, ports=16)
    pg.query("update hirundo.setting set value = 'JP' where name = 'home_country'")
    pg.query("update hirundo.sensor set country = 'JP' where name in ('s1', 's2', 's3', 's4')")
    pg.query("insert into hirundo.organisation (name) values ('Watched')")
    pg.query("insert into hirundo.organisation_prefix select organisation_id, '198.18.3.0/24' from hirundo.organisation")
    pg.query("analyze")
    return world


def read(pg, world, change=None, audience="public", extra=None):
    period = f"{world.first.date()}..{(world.first + sharing.DAY * 7 * WEEKS).date()}"
    with transaction(pg) as cursor:
        if change:
            change(cursor)
            sharing.roll_up(cursor)
        cursor.execute("select hirundo.report(hirundo.period(%s), %s, %s)", (period, audience, extra))
        report = cursor.fetchone()[0]
    report["head"].pop("generated")
    return report


@pytest.fixture(name="calm", scope="module")
def fixture_calm(pg, world):
    report = read(pg, world)
    figures = {f["id"]: f["rows"] for f in report["figures"]}
    # nothing is left empty by which the attack could not fail
    for name in ("average_change", "sensor_average", "port_trend", "quarter_top_services", "quarter_top_countries", "top_ports", "ttl-1", "hosts-1", "coverage"):
        assert figures[name], name
    assert report["head"]["packets_a_day"] > 0
    return report


def attack(world, *names):
    """All marks, to each of these sensors."""
    rows = []
    for name in names:
        for day in (7, 8, 9, 21):
            at = world.first + sharing.DAY * day + datetime.timedelta(hours=7)
            rows += [(name, at + datetime.timedelta(seconds=i), port, ODD_COUNT, f"198.18.13.{i}", 33) for i, port in enumerate(ODD_PORTS)]
            # in the organisation's name
            rows += [(name, at + datetime.timedelta(seconds=i), ODD_PORTS[0], 3, f"198.18.3.{i}", ODD_TTL) for i in range(200)]
        # a surge of forged sources
        at = world.first + sharing.DAY * 22 + datetime.timedelta(hours=7)
        rows += [(name, at + datetime.timedelta(seconds=i), ODD_PORTS[1], 1, f"198.18.13.{i}", 50) for i in range(256)]

    def send(cursor):
        world.copy(cursor, rows)
        for name in names:
            at, sensor = world.first + sharing.DAY * 8 + datetime.timedelta(hours=7), world.ids[name]
            # answers of victims that nobody else heard of, and frames that are no packets
            cursor.execute("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                           "select %s, 0, %s, 40, 40000, 443, %s, 1, 6, 50, 18, 1, ('198.18.13.' || i)::inet from generate_series(0, 255) i", (at, ODD_COUNT, sensor))
            cursor.execute("update hirundo.observation set frames = frames + %s, malformed = malformed + %s, lost = lost + %s where sensor_id = %s and slot = %s",
                           (3 * ODD_COUNT, 2 * ODD_COUNT, ODD_COUNT, sensor, at))
    return send


def by_name(report):
    """The figures, with all that the page says of them; countries by name, whatever their order."""
    figures = {"head": report["head"], **{f["id"]: f for f in report["figures"]}}
    return {**figures, "quarter_top_countries": {item: average for _, item, average, _ in figures["quarter_top_countries"]["rows"]}}


def to_a_neighbour(calm, probed, most=2.1):
    """Nothing but totals differs, and none of these by more than neighbours in this world are apart."""
    before, after = by_name(calm), by_name(probed)
    assert before.keys() == after.keys()
    for name in before:
        for path, old, new in probes.changed(before[name], after[name]):
            assert (name in TOTALS and path[0] == "rows" and path[-1] in TOTALS[name] or path in (("packets_a_day",), ("sources_a_day",))
                    or (name, *path) == ("quarter_top_countries", NAMED)), (name, path, old, new)
            if name not in ("average_change", "sensor_average") or path[-1] != 3:  # a change in percent follows the two that it compares
                assert old / most <= new <= old * most, (name, path, old, new)


@pytest.mark.parametrize("number", [1, 3, 5, 9, 13])
def test_marks_do_not_show(pg, world, calm, number):
    """Whichever sensor they reach, at home or not: not one of the odd things is said, and no figure of ports, countries, organisations, victims,
    surges or frames is another than without them."""
    probed = read(pg, world, attack(world, f"s{number}"))
    assert probes.seen(probed, MARKS) == []
    to_a_neighbour(calm, probed)


def test_two_known_sensors_do_not_find_a_third(pg, world, calm):
    """Three sensors that one packet each reaches are no reason to say so."""
    probed = read(pg, world, attack(world, "s1", "s9", "s12"))
    assert probes.seen(probed, MARKS) == []
    to_a_neighbour(calm, probed, 3)


def test_who_knows_half_finds_the_others(pg, world):
    """Six of thirteen known and a candidate are more than half: docs/sharing.md says so. And so this test's eyes are open."""
    six = [f"s{i}" for i in range(1, 7)]
    assert probes.seen(read(pg, world, attack(world, *six)), MARKS) == []
    assert probes.seen(read(pg, world, attack(world, *six, "s13")), MARKS)


def test_extra_editions_of_odd_ports_are_empty(pg, world):
    """Somebody looks into the port that the attacker chose, and publishes it: what one sensor received is not in it, nor is its surge."""
    for port in ODD_PORTS[:2]:
        calm = read(pg, world, extra=f"{port}/TCP")
        probed = read(pg, world, attack(world, "s9"), extra=f"{port}/TCP")
        assert calm == probed and all(f["rows"] == [] for f in probed["figures"]) and len(probed["figures"]) == 6
    internal = read(pg, world, attack(world, "s9"), "internal", f"{ODD_PORTS[1]}/TCP")
    rows = {f["id"]: f["rows"] for f in internal["figures"]}
    assert rows["surge"] and "VA" in {row[0] for row in rows["countries"]}


def test_for_internal_use_they_show(pg, world):
    found = {str(value) for _, value in probes.seen(read(pg, world, attack(world, "s9"), "internal"), MARKS)}
    assert f"{ODD_PORTS[0]}/TCP" in found and "VA" in found and "198.18.13.7" in found


def test_bursts_move_figures_to_a_neighbour_at_most(pg, world, calm):
    """A million packets on every busy port, in a rhythm: figures by port move a place among the sensors."""
    rng = random.Random(5)
    weeks = {port: rng.sample(range(WEEKS), WEEKS // 2) for port in world.ports}
    rows = [("s9", world.first + sharing.DAY * (7 * week + 2) + datetime.timedelta(hours=5, seconds=port % 60), port, 1_000_000, "198.18.13.9", 33)
            for port in world.ports for week in weeks[port]]
    probed = read(pg, world, lambda cursor: world.copy(cursor, rows))
    assert probes.seen(probed, probes.Marks(countries={"VA"}, counts={1_000_000})) == []
    before, after = ({f["id"]: f["rows"] for f in report["figures"]} for report in (calm, probed))
    old = {(week, port): value for week, port, value in before["port_trend"]}
    for week, port, value in after["port_trend"]:
        if (week, port) in old:
            assert old[week, port] <= value <= old[week, port] * 2.1, (week, port)
    table = {}
    for week, port, value in after["port_trend"]:
        table.setdefault(port, []).append(value)
    code = {f"{port}/TCP": [1 if week in weeks[port] else -1 for week in range(WEEKS)] for port in world.ports}
    assert abs(probes.score(table, code)) < 4
    for name in before.keys() - TOTALS - {"port_trend", "port_trend_year", "quarter_top_services", "quarter_top_countries", "top_ports"}:
        assert before[name] == after[name], name


@pytest.mark.parametrize("period", ["2023-02-08", "2023-02-03..2023-03-04", "2023-02-06..2023-02-14", "2023-01-15..2023-03-15"])
def test_no_period_whose_difference_to_another_is_days(pg, period):
    with pytest.raises(Exception, match="finer than a week"):
        pg.query("select hirundo.report(hirundo.period(%s), 'public')", period)
