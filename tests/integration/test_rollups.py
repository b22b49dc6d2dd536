"""Marks, the rollup job of the running collector, and maintain."""
import datetime
import random
import re
import time

import pytest

from hirundo import Collector, Postgres
from peer import Peer

HOUR_MS = 3600 * 1000


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


def hours_ago(hours):
    """The start of an hour, in milliseconds."""
    return (int(time.time() * 1000) // HOUR_MS - hours) * HOUR_MS


def marks(postgres, name):
    return postgres.query("select extract(epoch from d.hour)::bigint * 1000, d.gen from hirundo.dirty d "
                          "join hirundo.sensor s using (sensor_id) where s.name = %s order by 1", name)


def deliver(collector, pair, *starts):
    """A batch for each start, one after the other."""
    with Peer(collector, pair) as peer:
        for number, start in enumerate(starts, 1):
            peer.deliver(number, flows=20, seed=number, from_ms=start)


def test_each_commit_marks_its_hours_and_maintain_rolls_them_up(postgres, collector, enrolled):
    name, pair = enrolled()
    old, now = hours_ago(72), hours_ago(0)
    deliver(collector, pair, old, old, now)
    found = dict(marks(postgres, name))
    # the job of the running collector may have taken the old hour already; this hour has not ended
    assert found.get(old, 2) <= 2 and found[now] == 1
    said = postgres.command("maintain", "--dry-run").stdout
    assert re.search(r"^to roll up: \d+ hours of sensors, \S+ \S+( to \S+ \S+)?; 1 of them once it has ended$", said, re.M), said
    postgres.command("maintain")
    assert [hour for hour, _ in marks(postgres, name)] == [now]
    query = ("select sum(packets) from hirundo.{} join hirundo.sensor using (sensor_id) where name = %s and {} < "
             "now() - interval '1 day'")
    flow = postgres.value(query.format("flow", "ts"), name)
    assert flow > 0
    assert postgres.value(query.format("port_hour", "hour"), name) == flow
    assert postgres.value(query.format("port_day", "day"), name) == flow
    lag = postgres.query("select dirty_hours, dirty_days from hirundo.rollup_lag where sensor = %s", name)
    assert lag == [(1, 0)]


def test_windows_without_packets_are_marked_and_observed(postgres, collector, enrolled, wait):
    name, pair = enrolled()
    start = hours_ago(72)
    with Peer(collector, pair) as peer:
        peer.deliver(1, flows=0, from_ms=start)
    wait(lambda: rolled_up(postgres, name), "the rollups")
    assert postgres.query("select sum(covered_ms) from hirundo.observed_day join hirundo.sensor using (sensor_id) where name = %s", name) \
        == postgres.query("select sum(covered_ms) from hirundo.observation join hirundo.sensor using (sensor_id) where name = %s", name) != [(None,)]


def test_running_collector_rolls_up_by_itself(postgres, collector, enrolled, wait):
    name, pair = enrolled()
    deliver(collector, pair, hours_ago(48))
    collector.stop()
    with Collector(postgres):  # the job's first round is at the start
        wait(lambda: not marks(postgres, name), "the mark to go")
        wait(lambda: postgres.value("select count(*) from hirundo.port_day join hirundo.sensor using (sensor_id) "
                                    "where name = %s", name), "rows of the day")


def test_maintain_drops_what_is_past_retention(postgres, collector, enrolled, wait):
    name, pair = enrolled()
    deliver(collector, pair, hours_ago(24 * 20))
    wait(lambda: rolled_up(postgres, name), "the rollups")
    count = "select count(*) from hirundo.{} join hirundo.sensor using (sensor_id) where name = %s"
    assert postgres.value(count.format("flow"), name) == 20
    postgres.query("select hirundo.partition_ensure(current_date - 100 - n) from generate_series(1, 55) n")  # more than one transaction drops
    try:
        postgres.query("update hirundo.setting set value = '10 days' where name in ('retention_flow', 'retention_source_port_day')")
        said = postgres.command("maintain", "--dry-run").stdout
        day = r"\d{4}-\d\d-\d\d"
        assert re.search(rf"^to drop: [1-9]\d* days of flow and flood, {day} to {day}, frees \d+ kB \(by age: retention_flow = 10 days\)$", said, re.M), said
        assert re.search(rf"^to delete: [1-9]\d* rows of source_port_day, {day}( to {day})?, about \d+ \w+ "
                         r"\(by age: retention_source_port_day = 10 days\)$", said, re.M), said
        assert postgres.value(count.format("flow"), name) == 20, "a dry run changes nothing"
        said = postgres.command("maintain").stdout
        assert re.search(r"^flow: [1-9]\d* days dropped, from \S+ to \S+ \(retention_flow = 10 days\)$", said, re.M), said
        assert re.search(r"^in all: [1-9]\d* days of flow dropped, [1-9]\d* rows of rollups deleted", said, re.M), said
        said = postgres.command("maintain", "--dry-run").stdout
        assert "nothing to drop or delete: all is within the settings retention_* and max_size_*" in said and "to drop: " not in said, said
        assert postgres.value(count.format("flow"), name) == 0
        assert postgres.value("select min(day) from hirundo.partition_days()") >= datetime.date.today() - datetime.timedelta(days=11)
        assert postgres.value(count.format("source_port_day"), name) == 0
        assert postgres.value(count.format("port_day"), name) > 0, "what was rolled up stays"
    finally:
        postgres.query("update hirundo.setting set value = 'off' where name like 'retention%'")
        postgres.query("delete from hirundo.flow_dropped")  # tests after this use such days


def test_stop_does_not_wait_for_the_job(postgres):
    with postgres.connect() as held, held.cursor() as cursor:
        # a step that hangs: flow is locked by somebody
        held.autocommit = False
        cursor.execute("lock table only hirundo.flow in access exclusive mode")
        running = Collector(postgres)
        with running:
            deadline = time.monotonic() + 20
            while not postgres.value("select count(*) from pg_stat_activity where query like '%rollup_step%' and "
                                     "wait_event_type = 'Lock' and pid <> pg_backend_pid()"):
                assert time.monotonic() < deadline, "the job does not run"
            begun = time.monotonic()
            running.stop()
            assert time.monotonic() - begun < 15


def test_retention_by_size_is_shown_done_and_logged(postgres, collector, enrolled, wait):
    name, pair = enrolled()
    days = sorted(hours_ago(24 * n) for n in (5, 4, 3))
    deliver(collector, pair, *days, hours_ago(0))
    count = "select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s"
    assert postgres.value(count, name) == 80
    try:
        postgres.query("update hirundo.setting set value = '1 kB' where name = 'max_size_flow'")
        said = postgres.command("maintain", "--dry-run").stdout
        assert re.search(r"^to drop: \d+ days of flow and flood, \S+( to \S+)?, frees \d+ kB \(by size: max_size_flow = 1 kB, is \d+ kB\)$", said, re.M), said
        assert postgres.value(count, name) == 80, "a dry run changes nothing"
        collector.stop()
        with Collector(postgres) as again:  # the first round is at the start
            again.wait_log(r"retention: flow: \d+ days dropped, from \S+ to \S+ \(max_size_flow = 1 kB\)")
            assert postgres.value(count, name) == 20, "today stays"
        postgres.query("insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload) "
                       "select sensor_id, gen_random_uuid(), 1, now() - interval '2 days', '', '', 0, '', '' from hirundo.sensor "
                       "where name = %s", name)
        postgres.query("update hirundo.setting set value = '1 day' where name = 'retention_quarantine'")
        assert re.search(r"^quarantine: 1 rows deleted, before \S+ \(retention_quarantine\)$", postgres.command("maintain").stdout, re.M)
    finally:
        postgres.query("update hirundo.setting set value = 'off' where name like 'retention%' or name like 'max_size%'")
        postgres.query("delete from hirundo.flow_dropped")


def rollups_of(postgres, name):
    """What the rollups by sensor hold of one, the sensor itself left out."""
    columns = {"port_hour": "hour, port_code, class, packets, bytes, flood_packets, source_hours, ttl_min, ttl_max",
               "port_day": "day, port_code, class, packets, bytes, flood_packets, source_days, ttl_min, ttl_max",
               "source_port_day": "day, host(src), port_code, class, ttl, fragment, packets, bytes",
               "sensor_day": "day, class, packets, bytes, flood_packets, source_days",
               "ttl_day": "day, class, ttl, packets",
               "observed_day": "day, covered_ms",
               "country_day": "day, r.country, class, packets, bytes, source_days"}
    return {table: sorted(postgres.query(f"select {what} from hirundo.{table} r join hirundo.sensor using (sensor_id) where name = %s",
                                         name), key=repr)
            for table, what in columns.items()}


def rolled_up(postgres, *names):
    """After maintain, which leaves its work to the running collector's job where that is at it."""
    postgres.command("maintain")
    return not postgres.value("select count(*) from (select sensor_id from hirundo.dirty union all select sensor_id from hirundo.dirty_day) d "
                              "join hirundo.sensor s using (sensor_id) where s.name = any (%s)", list(names))


def test_random_order_duplicates_and_late_batches_give_the_same_rollups(postgres, collector, enrolled, wait):
    (straight, first), (mixed, second) = enrolled(), enrolled()
    begin = hours_ago(24 * 8)  # no other test drops this day
    batches = [(begin + i * HOUR_MS // 2, 100 + i) for i in range(48)]
    with Peer(collector, first) as peer:
        for number, (start, seed) in enumerate(batches, 1):
            peer.deliver(number, flows=40, seed=seed, from_ms=start)
    random.Random(7).shuffle(batches)
    late = len(batches) // 20
    with Peer(collector, second) as peer:
        for number, (start, seed) in enumerate(batches[:-late], 1):
            peer.deliver(number, flows=40, seed=seed, from_ms=start)
            peer.deliver(number, flows=40, seed=seed, from_ms=start)  # again, as after a lost ack
        wait(lambda: rolled_up(postgres, straight, mixed), "the rollups")
        before = rollups_of(postgres, mixed)
        # the rest comes three days and more after its time, when all has been rolled up
        for number, (start, seed) in enumerate(batches[-late:], len(batches) - late + 1):
            peer.deliver(number, flows=40, seed=seed, from_ms=start)
    wait(lambda: rolled_up(postgres, straight, mixed), "the rollups with the late rows")
    want, got = rollups_of(postgres, straight), rollups_of(postgres, mixed)
    assert all(want.values()) and before != got
    assert got == want


def test_imports_after_the_rollups_are_in_figures_of_days_before(postgres, collector, enrolled, wait, tmp_path):
    name, pair = enrolled()
    deliver(collector, pair, hours_ago(24 * 9), hours_ago(24 * 8))
    wait(lambda: rolled_up(postgres, name), "the rollups")
    source = postgres.value("select host(min(src)) from hirundo.source_port_day join hirundo.sensor using (sensor_id) where name = %s", name)

    def stamps():
        return postgres.query("select distinct coalesce(o.name, '-'), known_scanner from hirundo.source_day left join hirundo.organisation o "
                              "using (organisation_id) where src = %s", source)

    def bring(what, text, *words):
        path = tmp_path / "late.txt"
        path.write_text(text)
        return postgres.command("import", what, str(path), *words).stdout

    assert stamps() == [("-", False)]
    # organisations have no date, and need no rollup job
    told = bring("organisations", f"name,prefixes,contacts,tlp\nLate & Co,{source}/32,,\n")
    assert re.search(r"^they count for all days: [1-9]\d* that were rolled up name them now$", told, re.M), told
    assert stamps() == [("Late & Co", False)]
    assert "they count" not in bring("organisations", f"name,prefixes,contacts,tlp\nLate & Co,{source}/32,,\n")
    assert "they count for all days" in bring("organisations", "name,prefixes,contacts,tlp\nLate & Co,100.64.0.0/24,,\n")
    assert stamps() == [("-", False)]
    # scanners are of a day: the first list counts for all
    told = bring("scanners", f"{source}\n")
    assert re.search(r"^it counts for all days\n[1-9]\d* days will be rolled up again, with this data set$", told, re.M), told
    wait(lambda: rolled_up(postgres, name), "the rollups with scanners")
    assert stamps() == [("-", True)]
    today = postgres.value("select (now() at time zone 'UTC')::date")
    day = datetime.timedelta(days=1)
    told = bring("scanners", "100.64.0.1\n", "--as-of", str(today + day))
    assert f"it counts for the days from {today + day} on; for those before, older data sets do\n" in told, told
    # a list for days before, in one call
    told = bring("scanners", "100.64.0.1\n", "--as-of", str(today - 30 * day))
    assert re.search(rf"^it counts for all days before the data set of {today}\n[1-9]\d* days will be rolled up again", told, re.M), told
    wait(lambda: rolled_up(postgres, name), "the rollups with that list")
    assert stamps() == [("-", False)]
    told = bring("scanners", "100.64.0.1\n", "--as-of", str(today - 20 * day))
    assert f"it counts for the days from {today - 20 * day} on, until the data set of {today}\n" in told, told
