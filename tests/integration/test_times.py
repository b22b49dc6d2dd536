"""Packet times that cannot be trusted, through a real sensor and collector into a real database."""
import datetime
import pathlib
import re
import sys

import pytest

import hirundo
from test_delivery import Replayer, frame

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from flows import pcap, pcapng  # noqa: E402

DAY = 86400
YEAR = 365 * DAY
GOOD = 1675836000  # 2023-02-08 06:00 UTC
Y2000 = 946684800
Y10000 = 253402300800  # the first second that RFC 3339 cannot write
POSTGRES_MAX = 9224318016000  # 294277-01-01, the first second that PostgreSQL cannot hold
UNIX_MAX_US = 2**64 - 1  # 586524-01-19, where 64 bits of microseconds end


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


@pytest.fixture(name="collector", scope="module")
def fixture_collector(pg):
    with hirundo.Collector(pg) as collector:
        yield collector


class Books:
    """What the database has of a sensor, over all of time."""

    def __init__(self, pg, name):
        self.pg, self.name = pg, name

    def value(self, what, table):
        return int(self.pg.value(f"select coalesce({what}, 0) from hirundo.{table} join hirundo.sensor s "
                                 "using (sensor_id) where s.name = %s", self.name))

    def observed(self, column):
        return self.value(f"sum({column})", "observation")

    def check(self, accepted, quarantined):
        assert self.observed("frames") == accepted + quarantined
        assert self.observed("row_packets") == self.value("sum(packets)", "flow") == accepted
        assert self.observed("quarantined") == self.value("sum(frames)", "quarantine") == quarantined
        differences = self.pg.value("select coalesce(sum(abs(difference)), 0) from hirundo.accounting("
                                    "tstzrange('-infinity', 'infinity')) where sensor = %s", self.name)
        assert int(differences) == 0


def seconds(path, times):
    """A pcapng with a frame for each time, in seconds (negative ones wrap, as a 64-bit field does)."""
    return pcapng(path, [1], [(0, at % 2**64, frame(i % 300, 23)) for i, at in enumerate(times)], resolution=0)


def accepted(at):
    return Y2000 <= at <= datetime.datetime.now(datetime.timezone.utc).timestamp() + DAY


def replay(collector, tmp_path, name, *files):
    sensor = Replayer(collector, tmp_path, name)
    done = sensor.replay(*map(str, files))
    assert done.returncode == 0, done.stderr
    return done.stderr, Books(collector.postgres, name)


EDGES = [0, 1, -1, Y2000 - 60, Y2000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, Y10000 - 1, Y10000, POSTGRES_MAX - 1,
         POSTGRES_MAX, 2**62, 2**63 - 1, -2**63, -62135596800, -62135596801]


def test_every_edge_among_good_times(collector, tmp_path):
    """Each impossible time stands between two good packets: those arrive, these are in quarantine, nothing is lost."""
    times = []
    for i, edge in enumerate(EDGES):
        times += [GOOD + i * 60, edge]
    log, books = replay(collector, tmp_path, "edges", seconds(tmp_path / "x.pcapng", times))
    good = sum(map(accepted, times))
    assert good == len(EDGES) + 1  # and the first second of 2000
    books.check(good, len(times) - good)
    clamped = sum(not -62135596800 <= at < Y10000 for at in EDGES)
    assert re.search(rf"\b{clamped} frames had times before year 1 or after year 9999", log)
    assert re.search(r"leapt by more than 31 days, \d+ times", log)
    assert re.search(r"went back by more than a second, \d+ times", log)
    reasons = [row[0] for row in collector.postgres.query("select distinct reason from hirundo.quarantine")]
    assert reasons and all("accepted" in reason for reason in reasons)


def test_a_file_at_the_end_of_64_bits(collector, tmp_path):
    times = [UNIX_MAX_US - i * 10**6 for i in range(50)] + [(POSTGRES_MAX - 1) * 10**6, 0]
    path = pcapng(tmp_path / "x.pcapng", [1], [(0, at, frame(i, 23)) for i, at in enumerate(times)], resolution=6)
    log, books = replay(collector, tmp_path, "end", path)
    books.check(0, len(times))
    assert "51 frames had times before year 1 or after year 9999" in log


def test_a_leap_of_years_is_not_an_observation(collector, tmp_path):
    """A packet a year for 22 years: 23 windows, not 22 years of windows without packets."""
    times = [Y2000 + year * YEAR for year in range(23)]
    log, books = replay(collector, tmp_path, "years", seconds(tmp_path / "x.pcapng", times))
    books.check(23, 0)
    assert "leapt by more than 31 days, 22 times" in log
    assert books.value("count(*)", "observation") == 23
    assert books.observed("covered_ms") == 23 * 60000


def test_back_and_forth_covers_a_window_once(collector, tmp_path):
    """Between two days, a hundred times: what lies between is observed once, and is 97 rows of a quarter of an hour."""
    times = [GOOD + (i % 2) * DAY for i in range(200)]
    log, books = replay(collector, tmp_path, "swing", seconds(tmp_path / "x.pcapng", times))
    books.check(200, 0)
    assert "went back by more than a second, 99 times" in log
    assert books.observed("covered_ms") == (DAY + 60) * 1000
    assert books.value("count(*)", "observation") == 97


def test_a_clock_that_never_was_set(collector, tmp_path):
    """A small device without a battery: all packets from 1970 on, in the old format."""
    frames = [frame(i % 40, 23) for i in range(3000)]
    path = pcap(tmp_path / "x.pcap", frames, times=[(i // 10, 0) for i in range(3000)])
    _, books = replay(collector, tmp_path, "unset", path)
    books.check(0, 3000)
