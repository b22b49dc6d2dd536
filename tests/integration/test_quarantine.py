"""hirundo-collector quarantine: what was put aside comes in once the reason is gone, once, or is given up."""
import contextlib
import re
import signal
import subprocess

import pytest

import hirundo
from peer import Peer
from test_delivery import Replayer, capture, summary

OLD = 1262304000  # 2010-01-01, before accept_from in these tests
PERIOD = "'[2009-12-01, 2010-02-01)'"


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres() as pg:
        pg.migrate()
        yield pg


@pytest.fixture(name="collector")
def fixture_collector(pg):
    """A collector that takes nothing older than 400 days, so that captures of 2010 are put aside."""
    pg.query("update hirundo.setting set value = '400 days' where name = 'retention_flow'")
    with hirundo.Collector(pg) as collector:
        yield collector


def mend(pg):
    pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
    pg.query("delete from hirundo.flow_dropped")  # days of tests before


def open_messages(pg, name):
    return [row[0] for row in pg.query(
        "select quarantine_id from hirundo.quarantine join hirundo.sensor using (sensor_id) where name = %s and "
        "resolved_at is null order by 1", name)]


def books(pg, name):
    """frames, row packets, quarantined, what does not add up; packets in flow."""
    booked = pg.query(f"select coalesce(sum(frames), 0), coalesce(sum(row_packets), 0), coalesce(sum(quarantined), 0), "
                      f"coalesce(sum(abs(difference)), 0) from hirundo.accounting({PERIOD}) where sensor = %s", name)[0]
    packets = pg.value("select coalesce(sum(packets), 0) from hirundo.flow join hirundo.sensor using (sensor_id) "
                       "where name = %s", name)
    return tuple(map(int, booked)) + (int(packets),)


@pytest.fixture(name="put_aside")
def fixture_put_aside(pg, collector, tmp_path):
    """A function that has a sensor replay captures of 2010, which go to quarantine: its name."""
    def put_aside(name, packets=3000, sources=500):
        directory = tmp_path / name
        directory.mkdir()
        sensor = Replayer(collector, directory, name)
        path = capture(directory / "old.pcap", packets, span_s=7200, sources=sources, first=OLD)
        assert sensor.replay(path).returncode == 0
        assert summary(path)["frames"] == packets
        assert books(pg, name) == (packets, 0, packets, 0, 0)
        return name
    return put_aside


def test_retry_brings_in_what_a_setting_kept_out(pg, put_aside):
    name = put_aside("mended", 30000)
    ids = open_messages(pg, name)
    assert len(ids) > 1
    done = pg.command("quarantine", "retry", "--sensor", name, check=False)
    assert done.returncode == 1 and f"{len(ids)} still refused" in done.stdout
    assert len(re.findall("still refused: times from .*retention_flow", done.stderr)) == len(ids)
    assert books(pg, name) == (30000, 0, 30000, 0, 0)

    mend(pg)
    pg.command("maintain")
    done = pg.command("quarantine", "retry", "--sensor", name)
    assert done.stdout == f"{len(ids)} messages taken in\n"
    assert books(pg, name) == (30000, 30000, 0, 0, 30000)
    assert pg.query(f"select * from hirundo.accounting_check({PERIOD}) where difference <> 0") == []
    assert pg.query("select distinct outcome from hirundo.batch join hirundo.sensor using (sensor_id) where name = %s",
                    name) == [("committed",)]
    pg.command("maintain")  # the rollups hear of it
    assert pg.value("select sum(packets) from hirundo.port_hour join hirundo.sensor using (sensor_id) where name = %s",
                    name) == 30000

    done = pg.command("quarantine", "retry", str(ids[0]))
    assert "was retried at" in done.stdout and "nothing to do" in done.stdout and "0 messages taken in" in done.stdout
    assert books(pg, name) == (30000, 30000, 0, 0, 30000)
    assert name not in pg.command("quarantine", "list").stdout
    listed = [line for line in pg.command("quarantine", "list", "--resolved").stdout.splitlines() if name in line]
    assert len(listed) == len(ids) and all(" retried " in line for line in listed)


def test_day_that_retention_has_dropped_is_refused_until_its_owner_forgets_that(pg, put_aside):
    name = put_aside("dropped-day")
    number = str(open_messages(pg, name)[0])
    mend(pg)
    pg.query("insert into hirundo.flow_dropped values ('2010-01-01')")
    done = pg.command("quarantine", "retry", number, check=False)
    assert done.returncode == 1 and "retention has dropped flow of 2010-01-01" in done.stderr
    assert books(pg, name) == (3000, 0, 3000, 0, 0)
    assert "dropped flow of 2010-01-01" in pg.command("quarantine", "list", "--sensor", name).stdout
    pg.query("delete from hirundo.flow_dropped")
    pg.command("quarantine", "retry", "--sensor", name)
    assert books(pg, name) == (3000, 3000, 0, 0, 3000)
    pg.command("maintain")
    assert pg.value("select sum(packets) from hirundo.port_hour join hirundo.sensor using (sensor_id) where name = %s",
                    name) == 3000


def test_loss_whose_batch_has_come_in_meanwhile_is_not_counted(pg, collector):
    """Refused for its times, a loss waits in quarantine while another life of its machine delivers the batch."""
    pair = hirundo.Keys(pg, 1, prefix="two-lives").pairs[0]
    with Peer(collector, pair) as peer:
        peer.send_message("loss", 1, from_ms=OLD * 1000)
        peer.wait_ack(1)
    name = "two-lives-1"
    assert len(open_messages(pg, name)) == 1
    mend(pg)
    with hirundo.Collector(pg) as now, Peer(now, pair) as peer:
        peer.deliver(1, from_ms=OLD * 1000)
    before = books(pg, name)
    pg.command("quarantine", "retry", "--sensor", name)
    assert open_messages(pg, name) == []
    assert pg.value("select count(*) from hirundo.loss join hirundo.sensor using (sensor_id) where name = %s", name) == 0
    assert dict(pg.query("select outcome, count(*) from hirundo.batch join hirundo.sensor using (sensor_id) where name = %s "
                         "group by 1", name)) == {"known": 1, "committed": 1}
    after = books(pg, name)
    assert after == (before[0] - before[2], before[1], 0, 0, before[4])  # only what was booked for the message goes


def waiting(pg):
    return pg.value("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                    "application_name = 'hirundo-collector' and query !~ 'rollup'")


@contextlib.contextmanager
def held(pg, sql, *values):
    """What the statement locks stays locked."""
    with pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        cursor.execute(sql, values or None)
        yield
        conn.rollback()


def start_retry(pg, *words):
    return subprocess.Popen([hirundo.program("hirundo-collector"), "quarantine", "retry", *words],
                            env=pg.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_at_once_take_it_in_once(pg, put_aside):
    name = put_aside("twice")
    ids = [str(i) for i in open_messages(pg, name)]
    mend(pg)
    with held(pg, "select from hirundo.quarantine where quarantine_id = %s for update", int(ids[0])):
        both = [start_retry(pg, *ids) for _ in range(2)]
        hirundo.wait_for(lambda: waiting(pg) == 2, "both to wait")
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(re.search(r"(\d+) messages? taken in", text).group(1)) for text in said) == len(ids)
    assert books(pg, name) == (3000, 3000, 0, 0, 3000)


# Each of these is locked by a statement of its own of the one transaction.
@pytest.mark.parametrize("table", ["quarantine", "batch", "flow", "observation", "dirty"])
def test_killed_half_way_it_did_nothing(pg, put_aside, table):
    name = put_aside(f"killed-{table}")
    ids = open_messages(pg, name)
    mend(pg)
    with held(pg, f"lock hirundo.{table} in share mode"):
        process = start_retry(pg, "--sensor", name)
        hirundo.wait_for(lambda: waiting(pg) == 1, "it to wait")
        process.kill()
        process.communicate()
    hirundo.wait_for(lambda: pg.value("select count(*) from pg_stat_activity where application_name = "
                                      "'hirundo-collector' and query ~ 'quarantine' and state <> 'idle'") == 0,
                     "its connection to end")
    assert open_messages(pg, name) == ids or table == "quarantine"
    pg.command("quarantine", "retry", "--sensor", name)
    assert books(pg, name) == (3000, 3000, 0, 0, 3000)


def test_drop_keeps_the_books_and_frees_the_room(pg, put_aside):
    name = put_aside("dropped")
    ids = [str(i) for i in open_messages(pg, name)]
    done = pg.command("quarantine", "drop", *ids, ids[0])
    assert done.stdout == f"{len(ids)} message{'s' * (len(ids) > 1)} dropped\n"
    assert books(pg, name) == (3000, 0, 3000, 0, 0)
    assert pg.query("select distinct resolution, length(payload) from hirundo.quarantine join hirundo.sensor using "
                    "(sensor_id) where name = %s", name) == [("dropped", 0)]
    mend(pg)
    assert "was dropped at" in pg.command("quarantine", "retry", ids[0]).stdout
    assert books(pg, name) == (3000, 0, 3000, 0, 0)
    assert "resolution: dropped" in pg.command("quarantine", "show", ids[0]).stdout


def test_what_the_database_refused_comes_in_when_it_takes_it(pg):
    mend(pg)
    at = 1672490000000 // 60000 * 60000
    with hirundo.Collector(pg) as collector:
        keys = hirundo.Keys(pg, 1, prefix="refused")
        collector.wait_log(r"\b[1-9]\d* keys")
        with Peer(collector, keys.pairs[0]) as peer:
            peer.deliver(1, from_ms=at - 600000)
            pg.query("alter table hirundo.flow add constraint refusal check (ts < to_timestamp(%s)) not valid", at / 1000)
            peer.send_message("batch", 2, from_ms=at)
            peer.wait_ack(2)
            pg.query("alter table hirundo.flow drop constraint refusal")
            peer.deliver(3, from_ms=at + 600000)
            number, reason = pg.query("select quarantine_id, reason from hirundo.quarantine join hirundo.sensor using "
                                      "(sensor_id) where name = %s", keys.names[0])[0]
            assert "refusal" in reason
            assert pg.command("quarantine", "retry", "--reason", "REFUSAL").stdout == "1 message taken in\n"
            # The same again is the same; another content under that number is a fork.
            peer.deliver(2, from_ms=at)
            peer.send_message("batch", 2, from_ms=at, seed=5)
            assert peer.wait_reply("nack").reason == "fork"
        assert pg.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s",
                        keys.names[0]) == 30
        assert "resolution: retried" in pg.command("quarantine", "show", str(number)).stdout


def test_losses_come_in_too(pg, collector):
    keys = hirundo.Keys(pg, 1, prefix="losses")
    name = keys.names[0]
    collector.wait_log(r"\b[1-9]\d* keys")
    with Peer(collector, keys.pairs[0]) as peer:
        peer.send_message("loss", 1, from_ms=OLD * 1000)
        peer.wait_ack(1)
        peer.send_message("unknown", 2, from_ms=OLD * 1000, last=9)
        peer.wait_ack(9)
    ids = open_messages(pg, name)
    assert len(ids) == 2
    mend(pg)
    pg.command("quarantine", "retry", "--sensor", name)
    assert pg.query("select seq, kind from hirundo.loss join hirundo.sensor using (sensor_id) where name = %s order by 1",
                    name) == [(1, "lost"), (2, "unknown")]
    assert pg.query("select seq, outcome from hirundo.batch join hirundo.sensor using (sensor_id) where name = %s "
                    "order by 1", name) == [(1, "lost"), (2, "unknown")]
    frames, lost, quarantined = pg.query(
        f"select sum(frames), sum(lost), sum(quarantined) from hirundo.accounting({PERIOD}) where sensor = %s", name)[0]
    assert frames == lost > 0 and quarantined == 0


def test_what_does_not_decode_stays_and_can_be_dropped(pg, collector):
    keys = hirundo.Keys(pg, 1, prefix="poison")
    name = keys.names[0]
    collector.wait_log(r"\b[1-9]\d* keys")
    with Peer(collector, keys.pairs[0]) as peer:
        peer.send_message("poison", 1, flows=100)
        peer.wait_ack(1)
    number = str(open_messages(pg, name)[0])
    done = pg.command("quarantine", "retry", number, check=False)
    assert done.returncode == 1 and f"message {number} of sensor {name} is still refused" in done.stderr
    assert pg.command("quarantine", "drop", "--sensor", name).stdout == "1 message dropped\n"
    assert open_messages(pg, name) == []


def test_choices(pg, put_aside):
    name = put_aside("chosen")
    number = str(open_messages(pg, name)[0])
    for words, code, text in (
            (["retry"], 2, "which?"), (["drop"], 2, "which?"), (["drop", "x"], 2, "ID is a number"),
            (["retry", "--sensor", "nobody"], 1, "there is no sensor nobody"),
            (["list", "--sensor", "nobody"], 1, "there is no sensor nobody"),
            (["drop", "987654321"], 1, "nothing was done"),
            (["drop", number, "987654321"], 1, "1 of these 2 messages"),
            (["drop", number, "--sensor", name, "--reason", "no such reason"], 1, "with that sensor and reason"),
            (["list", number], 2, "too many arguments"), (["retry", "--nonsense"], 2, "usage")):
        done = pg.command("quarantine", *words, check=False)
        assert done.returncode == code and text in done.stderr, (words, done.stderr)
    assert number in map(str, open_messages(pg, name))
    assert name in pg.command("quarantine", "list", "--reason", "Retention_Flow").stdout
    assert name not in pg.command("quarantine", "list", "--reason", "no such reason").stdout
    assert pg.command("quarantine", "retry", "--reason", "no such reason").stdout == "0 messages taken in\n"


def test_interrupted_server_is_told(pg, put_aside):
    name = put_aside("stopped")
    mend(pg)
    with held(pg, "lock hirundo.observation in share mode"):
        process = start_retry(pg, "--sensor", name)
        hirundo.wait_for(lambda: waiting(pg) == 1, "it to wait")
        pg.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hirundo-collector' "
                 "and wait_event_type = 'Lock'")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "database" in err and "taken in" not in out
    assert process.returncode != -signal.SIGSEGV
    pg.command("quarantine", "retry", "--all")
    assert books(pg, name) == (3000, 3000, 0, 0, 3000)
