"""The scenario with surges planted at random: surges() finds them, and no golden table moves.

A quickstart of its own, smaller than the other, beside the surges of that quarter (22/TCP, 5900/TCP).
"""
import collections
import contextlib
import csv
import datetime
import json
import os
import pathlib
import subprocess
import sys

import psycopg2
import pytest

import witness
from test_quickstart import environment

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "sql"))
import surge_model  # noqa: E402  pylint: disable=wrong-import-position

GOLDEN = TOP.parent / "shared" / "golden"
HOME = pathlib.Path(os.environ.get("RESULTS", TOP / "var" / "tests" / "quickstart")) / "surges"
ENVIRONMENT = {**os.environ, "HIRUNDO_HOME": str(HOME)}
SEED, SIZE = 3, 200
PUBLISHED = {"22/TCP", "5900/TCP"}
FIRST, PAST = datetime.date(2023, 1, 1), datetime.date(2023, 4, 1)


def quickstart(*arguments, check=True):
    return subprocess.run([TOP / "deploy" / "quickstart", *map(str, arguments)], env=ENVIRONMENT, check=check, timeout=900,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture(scope="module", name="ask")
def fixture_ask():
    quickstart("clean")
    try:
        quickstart("--plant-surges", SEED, "--packets-per-day", SIZE)
        env = environment(HOME)
        subprocess.run([HOME / "bin" / "hirundo-collector", "maintain", "-c", HOME / "conf" / "collector.conf"], check=True, timeout=600,
                       env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True)

        def query(sql, *values):
            with contextlib.closing(psycopg2.connect(host=env["PGHOST"], port=env["PGPORT"], dbname=env["PGDATABASE"],
                                                     user=env["PGUSER"])) as connection, connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall()
        yield query
    finally:
        quickstart("clean", check=False)


@pytest.fixture(scope="module", name="truth")
def fixture_truth(ask):
    del ask
    return json.loads((HOME / "scenario" / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", name="found")
def fixture_found(ask):
    return ask("select port, first_day, last_day, verdict, sensors_rose, sensors_compared, days_judged, days_asked "
               "from hirundo.surges(hirundo.quarter('2023Q1'))")


def golden(name):
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"the published tables are not here (../shared/golden/{name})")
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_each_planted_surge_is_found_once_on_its_days_and_everywhere(found, truth):
    assert len(truth["surges"]) == 6
    for surge in truth["surges"]:
        first, last = (datetime.date.fromisoformat(surge[k]) for k in ("first_day", "last_day"))
        mine = [f for f in found if f[0] == surge["port"] and f[1] <= last and f[2] >= first]
        # from its first day or the next one on, and on no day that is not its own
        assert len(mine) == 1 and (mine[0][1] - first).days in (0, 1) and mine[0][2] <= last, (surge, mine)
        # by at least half of the sensors that it was sent to, and as what it is
        assert mine[0][3] == "global" and mine[0][4] * 2 >= len(surge["sensors"]), (surge, mine)


def test_the_published_surges_are_found(found):
    spans = {port: [(f[1], f[2]) for f in found if f[0] == port] for port in PUBLISHED}
    peak = datetime.date(2023, 2, 8)
    assert any(a <= peak <= b for a, b in spans["22/TCP"]), spans
    assert min(a for a, _ in spans["5900/TCP"]) == datetime.date(2023, 2, 10), spans


def test_at_most_one_false_alarm_a_month(found, truth):
    real = PUBLISHED | {s["port"] for s in truth["surges"]}
    judged, asked = found[0][6:]
    assert (judged, asked) == (76, 90)
    false = [f for f in found if f[0] not in real]
    assert len(false) <= judged / 30.4, false


@pytest.fixture(scope="module", name="seen")
def fixture_seen(truth):
    del truth
    return witness.Witness(HOME / "scenario")


def days(first, last):
    """What hirundo.period takes for first to last, whose end is not in it."""
    return f"{first}..{last + datetime.timedelta(days=1)}"


def asked_of_scope(truth):
    """(port, first day, last day): what was planted, what was published, and the same ports when nothing was."""
    weeks = [datetime.date(2023, 2, 6), datetime.date(2023, 2, 27)]
    for surge in truth["surges"]:
        first, last = (datetime.date.fromisoformat(surge[k]) for k in ("first_day", "last_day"))
        yield surge["port"], first, last
        yield surge["port"], first - datetime.timedelta(days=9), first - datetime.timedelta(days=2)
    for port in [*sorted(PUBLISHED), "23/TCP", "ICMP"]:
        for first in weeks:
            yield port, first, first + datetime.timedelta(days=6)


def test_scope_names_the_sensors_that_surges_were_sent_to(ask, truth):
    for surge in truth["surges"]:
        rows = ask("select sensor, sources, expected, coalesce(rose, false), p_value is not null, verdict from hirundo.scope(hirundo.period(%s), %s)",
                   days(*(datetime.date.fromisoformat(surge[k]) for k in ("first_day", "last_day"))), surge["port"])
        assert {r[5] for r in rows} == {"global"}, (surge, rows)
        compared = {r[0] for r in rows if r[4]}
        rose = {r[0] for r in rows if r[3]}
        sent = set(surge["sensors"])
        # to no other sensor came more, and every one that it came to saw it
        assert rose and rose == sent & compared, (surge["port"], rose ^ (sent & compared))
        # its sources are there beside those of every day
        for sensor, sources, expected, *_ in rows:
            planted = surge["sources_per_day"] if sensor in sent else 0
            assert sensor not in compared or abs(float(sources) - float(expected) - planted) <= max(3, 0.25 * planted), (surge["port"], sensor, sources, expected)


def test_scope_is_that_of_the_captures(ask, truth, seen):
    """Every sensor's row, and the verdict, by the definition, from frames alone."""
    country = {s["code"]: s["country"] for s in truth["sensors"]}
    covered = {code: dict.fromkeys(dates, surge_model.DAY_MS) for code, dates in seen.observed.items()}
    counts = collections.defaultdict(lambda: collections.defaultdict(dict))
    for (code, day, label), sources in seen.seen.items():
        counts[label][code][day] = len(sources)
    verdicts = collections.Counter()
    for port, first, last in asked_of_scope(truth):
        got = ask("select sensor, sources, expected, p_value, coalesce(rose, false), sensors_rose, sensors_compared, verdict "
                  "from hirundo.scope(hirundo.period(%s), %s)", days(first, last), port)
        want = surge_model.scope(counts[port], covered, country, first, last)
        verdicts[want["verdict"]] += 1
        assert got and {r[5:] for r in got} == {(want["k"], want["n"], want["verdict"])}, (port, first, last, got, want)
        rows = want["rows"]
        for sensor, sources, expected, p, rose, *_ in got:
            row = rows[sensor]
            assert (row is None) == (p is None), (port, first, sensor)
            if row is not None:
                assert (float(sources), float(expected), rose) == (pytest.approx(row["sources"], abs=0.0051), pytest.approx(row["expected"], abs=0.0051), row["rose"])
                assert p == pytest.approx(row["p"], rel=1e-5, abs=1e-9)
    assert verdicts["global"] >= len(truth["surges"]) and verdicts["no_rise"] >= len(truth["surges"]), verdicts


def test_days_that_stand_out_are_those_of_the_captures(ask, truth, seen):
    """By the definition, from frames alone."""
    hosts = collections.defaultdict(collections.Counter)
    for day, _, label in seen.hosts:
        hosts[label][day] += 1
    judged = seen.days(FIRST, PAST)
    observed = {d: seen.covered[d] * surge_model.DAY_MS for d in judged if seen.covered[d]}
    want = surge_model.alarms(hosts, observed, judged, 0.3 * 12 / 365.25)
    got = ask("select hirundo.port_label(port_code), day, hosts, expected, p_value, ports::int from hirundo.surge_days(hirundo.quarter('2023Q1')) "
              "where p_value * ports < 0.3 * 12 / 365.25 and hosts >= 1.5 * expected")
    assert {(r[0], r[1]) for r in got} == set(want) and len(want) >= 2 * len(truth["surges"])
    for port, day, *values in got:
        assert values == pytest.approx(want[port, day], rel=1e-6)


def test_no_published_table_moves(ask, truth):
    ttl = ask("select region, ttl_min, ttl_max, all_sources from hirundo.ttl_spread(hirundo.quarter('2023Q1'), %s::cidr[], %s)",
              truth["hosting"]["prefixes"], sorted(PUBLISHED))
    assert sorted(ttl) == sorted((r["region"], int(r["ttl_min"]), int(r["ttl_max"]), 310) for r in golden("ttl-by-region.tsv"))
    top = dict(ask("select label_en, array_agg(port order by rank) from hirundo.top_ports(hirundo.quarter('2023Q1'), 10) group by label_en"))
    for line in golden("top10-by-sensor.tsv"):
        assert top[line["sensor"]] == [line[str(rank)] for rank in range(1, 11)]
    verdict = ask("select distinct verdict from hirundo.ttl_origin(hirundo.quarter('2023Q1'), %s::cidr[], %s)", truth["hosting"]["prefixes"], sorted(PUBLISHED))
    assert verdict == [("consistent_with_home",)]
