"""The collector's door and its ledger, from outside."""
import contextlib
import os
import re
import signal
import socket
import time
from datetime import datetime, timezone

import pytest
import zmq

from hirundo import Collector, Keys, Postgres, Server, free_port, program, wait_for
from peer import Peer, message

FLOWS = 50


def rows(postgres, name):
    return postgres.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s",
                          name)


def next_seq(postgres, peer):
    found = postgres.query("select next_seq from hirundo.ledger where spool_id = %s", peer.spool.hex())
    return found[0][0] if found else 1


# ---- who is let in

def test_batch_of_an_enrolled_sensor_is_acknowledged_and_in_the_database(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        ack = peer.deliver(1, flows=FLOWS)
        assert ack.committed_through == 1 and ack.db_ok and ack.credit > 0
        assert ack.spool_id == peer.spool
    assert rows(postgres, name) == FLOWS


def test_unknown_key_is_refused(postgres, collector):
    stranger = Keys(postgres, 1, enroll=False).pairs[0]
    with Peer(collector, stranger) as peer:
        peer.send_message("batch", 1)
        collector.wait_log(re.escape(stranger[0]) + ".* refused")
        assert peer.receive(0.5) is None
        assert next_seq(postgres, peer) == 1


def test_sensor_enrolled_after_it_connected_gets_in_without_a_restart(postgres, collector):
    pair = Keys(postgres, 1, enroll=False).pairs[0]
    with Peer(collector, pair) as early:
        collector.wait_log(re.escape(pair[0]) + ".* refused")
        postgres.command("sensor", "add", "latecomer", "--country", "JP", "--key", pair[0])
        assert early.spool
        with Peer(collector, pair) as peer:
            peer.deliver(1)


def test_revoked_sensor_gets_no_row_no_ack_and_loses_its_connection(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        postgres.command("sensor", "revoke", name)
        peer.send_message("batch", 2)  # at once: the collector may not have read the keys again
        assert peer.receive(1) is None
        with contextlib.suppress(zmq.Again):  # told that it is revoked, libzmq connects no more
            peer.socket.send_multipart(message("batch", 3, peer.spool), zmq.NOBLOCK)
        peer.wait_cut()
        assert next_seq(postgres, peer) == 2


def test_key_that_begins_with_a_hyphen_can_be_enrolled(postgres):
    public = "-" + Keys(postgres, 1, enroll=False).pairs[0][0][1:]
    done = postgres.command("sensor", "add", "hyphen", "--country", "JP", "--key", public, check=False)
    # one in some keys beginning so is not a Z85 number; then that is said, not "unknown option"
    assert done.returncode == 0 or "--key" in done.stderr


# ---- what breaks the rules

@pytest.mark.parametrize("frames", [
    [b"garbage", b"garbage"],
    [b"", b""],
    [b"one frame"],
    [b"x" * 600, b"a header too large"],
    [b"\xff" * 100, b""],
])
def test_garbage_loses_the_connection_and_harms_nobody(postgres, collector, enrolled, frames):
    _, pair = enrolled()
    _, good_pair = enrolled()
    with Peer(collector, pair) as bad, Peer(collector, good_pair) as good:
        good.deliver(1)
        bad.wait_connected()
        bad.send(*frames)
        bad.wait_cut()
        good.deliver(2)


def test_third_frame_loses_the_connection(postgres, collector, enrolled):
    _, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.wait_connected()
        peer.send(*message("batch", 1, peer.spool), b"more")
        peer.wait_cut()
        assert next_seq(postgres, peer) == 1


def test_frame_beyond_the_limit_loses_the_connection(postgres, collector, enrolled):
    _, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.wait_connected()
        header, _ = message("batch", 1, peer.spool)
        peer.send(header, os.urandom(2 << 20))
        peer.wait_cut()
        assert next_seq(postgres, peer) == 1


def test_plain_tcp_and_silence_do_not_delay_a_sensor(postgres, collector, enrolled):
    _, pair = enrolled()
    port = int(collector.endpoint.rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for i, s in enumerate(idle[:25]):
        s.sendall(b"GET / HTTP/1.0\r\n\r\n" if i % 2 else b"\xff" + os.urandom(200))
    with Peer(collector, pair) as peer:
        peer.deliver(1)
    for s in idle:
        s.close()


def test_ping_is_answered_with_credit(collector, enrolled):
    _, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.send_message("ping", 0)
        pong = peer.wait_reply("pong")
        assert pong.db_ok and pong.credit > 0


# ---- the ledger

def test_same_batch_twice_is_one_batch_and_two_acks(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1, flows=FLOWS)
        peer.deliver(1, flows=FLOWS)
        assert next_seq(postgres, peer) == 2
    assert rows(postgres, name) == FLOWS


def test_missing_number_is_asked_for(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.send_message("batch", 3)
        nack = peer.wait_reply("nack")
        assert (nack.reason, nack.expected_seq) == ("gap", 1)
        peer.deliver(1)
        peer.send_message("batch", 3)
        nack = peer.wait_reply("nack")
        assert (nack.reason, nack.expected_seq) == ("gap", 2)
        peer.deliver(2)
        peer.deliver(3)
    assert rows(postgres, name) == 30


def test_what_found_no_memory_is_asked_for_when_there_is_room(postgres, enrolled):
    """Nothing follows the last batch that shows a gap, and this peer sends nothing again by itself."""
    name, pair = enrolled()
    with Collector(postgres, lines=["memory = 4M", "writers = 1"]) as collector, Peer(collector, pair) as peer:
        peer.deliver(1)
        messages = [message("batch", seq, peer.spool, flows=8000, seed=seq) for seq in range(2, 56)]
        assert sum(len(payload) for _, payload in messages) > 9 << 19
        with postgres.connect() as conn, conn.cursor() as cursor:
            cursor.execute("begin; lock table hirundo.batch in share mode")  # commits wait
            for frames in messages:
                peer.send(*frames)
            collector.wait_log("batches dropped for want of memory")
            cursor.execute("commit")
        asked, committed = set(), 1
        while committed < 55:
            reply = peer.receive()
            assert reply, collector.log()
            if reply.kind == "nack":
                assert reply.reason == "gap"
                asked.add(reply.expected_seq)
                for frames in messages[reply.expected_seq - 2:]:
                    peer.send(*frames)
            committed = max(committed, reply.committed_through)
        assert asked
        collector.wait_log(f"sensor {name}: batch [0-9]+ was dropped, [0-9]+ is missing: asked for it")
    assert rows(postgres, name) == 10 + 54 * 8000


@contextlib.contextmanager
def full_memory(postgres, enrolled):
    """A collector that commits nothing, as if its disk were full, and the peer whose batches from 1 on fill its memory, and more."""
    _, pair = enrolled()
    postgres.query("update hirundo.setting set value = '1 MB' where name = 'max_size_database'")
    try:
        with Collector(postgres, lines=["memory = 4M", "writers = 1"]) as collector, Peer(collector, pair) as peer:
            collector.wait_log("no data is taken")
            for seq in range(1, 54):
                peer.send_message("batch", seq, flows=8000, seed=seq)
            collector.wait_log("batches dropped for want of memory")
            yield collector, peer
    finally:
        postgres.query("update hirundo.setting set value = 'off' where name = 'max_size_database'")


def test_what_found_no_memory_is_asked_for_where_the_sensor_is_now(postgres, enrolled):
    with full_memory(postgres, enrolled) as (collector, before), Peer(collector, before.pair, spool=before.spool) as peer:
        peer.send_message("batch", 54, flows=8000)
        peer.send_message("ping", 0)
        peer.wait_reply("pong")  # it is read, and dropped like those before it
        postgres.query("update hirundo.setting set value = 'off' where name = 'max_size_database'")
        collector.wait_log("there is room again")
        assert peer.wait_reply("nack").reason == "gap"


def test_notices_of_what_found_no_memory_are_no_reason_not_to_stop(postgres, enrolled):
    with full_memory(postgres, enrolled) as (collector, _):
        assert collector.stop() == 0, collector.log()


def test_same_number_with_another_content_is_a_fork(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1, seed=1)
        peer.send_message("batch", 1, seed=2)
        nack = peer.wait_reply("nack")
        assert (nack.reason, nack.expected_seq) == ("fork", 1)
        collector.wait_log("alarm fork: sensor " + name)
        wait_for(lambda: postgres.value("select count(*) from hirundo.audit where action = 'alarm fork' and sensor = %s", name) == 1,
                 "the alarm in the audit")
    assert rows(postgres, name) == 10


def test_a_fork_among_many_that_come_again(postgres, collector, enrolled):
    """Numbers that come again together are compared together."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        for seq in range(1, 21):
            peer.deliver(seq, seed=seq)
        again = [message("batch", seq, peer.spool, seed=99 if seq == 15 else seq) for seq in range(1, 21)]
        next_one = message("batch", 21, peer.spool, seed=21)
        with postgres.connect() as conn, conn.cursor() as cursor:
            cursor.execute("begin; lock table hirundo.batch in share mode")  # commits wait
            peer.send(*next_one)
            wait_for(lambda: postgres.value("select count(*) from pg_locks where not granted") > 0, "a commit that waits")
            for frames in again:
                peer.send(*frames)
            assert peer.receive(0.5) is None  # they are there
            cursor.execute("commit")
        acks = 0
        while (reply := peer.receive()).kind == "ack":
            assert reply.committed_through == 21
            acks += 1
        assert (reply.kind, reply.reason, reply.expected_seq) == ("nack", "fork", 15)
        assert acks >= 14  # what stood before the fork; behind it all belongs to the other data
    assert rows(postgres, name) == 210


def test_loss_of_other_data_is_a_fork_and_of_the_same_is_not(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        peer.send_message("loss", 2)
        peer.wait_ack(2)
        peer.send_message("loss", 1)  # committed, its ack lost, dropped since: counts once
        peer.wait_ack(2)
        peer.send_message("loss", 2)
        peer.wait_ack(2)
        peer.send_message("batch", 2)  # an old copy still has what was declared
        peer.wait_ack(2)
        later = int(time.time()) // 900 * 900000 - 7200000
        for kind, seq in (("loss", 1), ("loss", 2), ("batch", 2)):
            peer.send_message(kind, seq, from_ms=later)
            nack = peer.wait_reply("nack")
            assert (nack.reason, nack.expected_seq) == ("fork", seq)
    assert rows(postgres, name) == 10
    assert postgres.value("select count(*) from hirundo.loss join hirundo.sensor using (sensor_id) "
                          "where name = %s", name) == 1


def test_a_gap_is_told_after_the_commit_of_what_came_before(postgres, collector, enrolled):
    """The number asked for says that everything before it is committed."""
    _, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        messages = [message("batch", seq, peer.spool) for seq in (2, 3, 4, 6)]
        with postgres.connect() as conn, conn.cursor() as cursor:
            cursor.execute("begin; lock table hirundo.batch in share mode")  # commits wait
            peer.send(*messages[0])
            wait_for(lambda: postgres.value("select count(*) from pg_locks where not granted") > 0, "a commit that waits")
            for frames in messages[1:]:  # these wait together, behind it
                peer.send(*frames)
            assert peer.receive(0.5) is None
            cursor.execute("commit")
        committed, reply = 0, peer.receive()
        while reply.kind == "ack":
            committed, reply = reply.committed_through, peer.receive()
        assert (reply.kind, reply.expected_seq, committed) == ("nack", 5, 4)


def test_two_machines_with_one_key_raise_the_clone_alarm_and_are_served(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as one, Peer(collector, pair) as two:
        for seq in (1, 2):
            one.deliver(seq, seed=seq)
            two.deliver(seq, seed=100 + seq)
        collector.wait_log("alarm clone: sensor " + name)
        wait_for(lambda: postgres.value("select count(*) from hirundo.audit where action = 'alarm clone' and sensor = %s", name) == 1,
                 "the alarm in the audit")
    assert rows(postgres, name) == 40


def test_poison_goes_to_quarantine_and_the_good_batches_behind_it_arrive(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        peer.send_message("poison", 2, flows=500)
        peer.wait_ack(2)
        peer.deliver(3)
        raw = message("poison", 2, peer.spool, flows=500)
        kept = postgres.query("select seq, header, payload, peer, reason from hirundo.quarantine q "
                              "join hirundo.sensor using (sensor_id) where name = %s", name)
        assert len(kept) == 1
        seq, header, payload, address, reason = kept[0]
        assert (seq, bytes(header), bytes(payload), address) == (2, raw[0], raw[1], "127.0.0.1")
        assert reason
        assert next_seq(postgres, peer) == 4
        for _ in range(2):  # as if its ack had been lost
            peer.send_message("poison", 2, flows=500)
        assert [peer.wait_reply("ack").detail for _ in range(2)] == [reason] * 2
        peer.send_message("batch", 1)
        assert peer.wait_reply("ack").detail == ""
    assert rows(postgres, name) == 20
    frames, booked, quarantined = postgres.query(
        "select sum(frames), sum(row_packets + flood_packets + non_ip + malformed + quarantined + lost), "
        "sum(quarantined) from hirundo.observation join hirundo.sensor using (sensor_id) where name = %s", name)[0]
    assert frames == booked and quarantined > 0
    assert "2" in postgres.command("quarantine", "list").stdout


@pytest.mark.parametrize("from_ms", [60000 * 1000, 18508000000000020000 // 1000 // 60000 * 60000])
def test_times_outside_the_accepted_ones_are_quarantined(postgres, collector, enrolled, from_ms):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.send_message("batch", 1, from_ms=from_ms)
        peer.wait_ack(1)
        peer.deliver(2)
    assert rows(postgres, name) == 10
    assert postgres.value("select outcome from hirundo.batch where spool_id = %s and seq = 1",
                          peer.spool.hex()) == "quarantined"


def test_declared_loss_is_booked_once(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        for _ in range(2):
            peer.send_message("loss", 2)
            peer.wait_ack(2)
        peer.deliver(3)
    lost, frames, booked = postgres.query(
        "select sum(lost), sum(frames), sum(row_packets + flood_packets + non_ip + malformed + quarantined + lost) "
        "from hirundo.observation join hirundo.sensor using (sensor_id) where name = %s", name)[0]
    kind, declared = postgres.query("select kind, frames from hirundo.loss join hirundo.sensor using (sensor_id) "
                                    "where name = %s", name)[0]
    assert (kind, declared) == ("lost", lost) and lost > 0 and frames == booked


def test_batch_that_the_database_refuses_is_found_among_others(postgres, collector, enrolled):
    name, pair = enrolled()
    bad = 1672490000000 // 60000 * 60000  # of a day whose partition is there
    postgres.query("alter table hirundo.flow add constraint refusal check (not (ts >= %s and ts < %s)) not valid",
                   *(datetime.fromtimestamp(s, timezone.utc) for s in (bad / 1000, bad / 1000 + 60)))
    try:
        with Peer(collector, pair) as peer:
            peer.deliver(1)
            collector.signal(signal.SIGSTOP)
            for seq in range(2, 10):
                peer.send_message("batch", seq, seed=seq, from_ms=bad if seq == 6 else 0)
            collector.signal(signal.SIGCONT)
            peer.wait_ack(9)
        assert postgres.query("select seq, reason like 'the database refused it: %%refusal%%' from hirundo.quarantine "
                              "where spool_id = %s", peer.spool.hex()) == [(6, True)]
    finally:
        postgres.query("alter table hirundo.flow drop constraint refusal")
    assert rows(postgres, name) == 80
    assert postgres.value("select sum(frames) = sum(row_packets + flood_packets + non_ip + malformed + quarantined) "
                          "from hirundo.observation join hirundo.sensor using (sensor_id) where name = %s", name)


def test_partition_that_went_is_made_again(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        postgres.query("drop table hirundo.flow_20221231")
        peer.deliver(2)
        assert postgres.value("select outcome from hirundo.batch where spool_id = %s and seq = 2",
                              peer.spool.hex()) == "committed"
    assert rows(postgres, name) == 10


# ---- accidents

def test_killed_collector_loses_and_doubles_nothing(postgres, enrolled, collector):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        batches = [message("batch", seq, peer.spool, seed=seq) for seq in range(1, 41)]
        peer.deliver(1, seed=1)
        for batch in batches[1:20]:
            peer.send(*batch)
        collector.kill()
        collector.start()
        done, end = 0, len(batches)
        peer.send_message("ping", 0)
        while done < end:
            for batch in batches[done:done + 8]:
                peer.send(*batch)
            reply = peer.receive(1)
            while reply:
                done = max(done, reply.committed_through if reply.kind == "ack" else 0)
                reply = peer.receive(0.05) if done < end else None
    assert rows(postgres, name) == 10 * len(batches)
    assert postgres.value("select count(*) from hirundo.batch where spool_id = %s", peer.spool.hex()) == len(batches)


def test_database_outage_is_told_and_passes(collector, postgres, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        postgres.stop("immediate")
        peer.send_message("batch", 2)

        def pong():
            peer.send_message("ping", 0)
            return peer.wait_reply("pong")
        assert wait_for(lambda: not (p := pong()).db_ok and p, "a pong that says the database is away").credit == 0
        postgres.start()
        peer.wait_ack(2)
        assert wait_for(lambda: (p := pong()).db_ok and p, "a pong that says all is well").credit > 0
    assert rows(postgres, name) == 20


def test_stop_commits_what_is_queued(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        for seq in range(2, 9):
            peer.send_message("batch", seq)
        peer.wait_ack(2)
        assert collector.stop() == 0
        committed = next_seq(postgres, peer) - 1
    assert rows(postgres, name) == 10 * committed and committed >= 2


def test_two_collectors_on_one_database_take_turns_with_one_sensor(postgres, collector, enrolled):
    name, pair = enrolled()
    with Collector(postgres) as other, Peer(collector, pair) as here:
        with Peer(other, pair, spool=here.spool) as there:
            for seq in range(1, 11):
                (here if seq % 2 else there).deliver(seq, seed=seq)
    assert rows(postgres, name) == 100


# ---- starting

def failing_start(*lines):
    """serve with this configuration: its exit code and what it said."""
    import subprocess
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "c.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write("\n".join(lines).replace("DIR", folder) + "\n")
        done = subprocess.run([program("hirundo-collector"), "serve", "-c", conf], capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stderr


def test_port_in_use_is_said(postgres, collector):
    code, said = failing_start("[collector]", f"endpoint = {collector.endpoint}", "key = DIR/k", "[database]",
                               f"connection = {postgres.conninfo()}")
    assert code == 1 and "Address already in use" in said and collector.endpoint in said


def test_missing_database_is_said(postgres):
    code, said = failing_start("[collector]", "endpoint = tcp://127.0.0.1:0", "key = DIR/k", "[database]",
                               f"connection = {postgres.conninfo('nowhere')}")
    assert code == 1 and 'database "nowhere" does not exist' in said
    code, said = failing_start("[collector]", "endpoint = tcp://127.0.0.1:0", "key = DIR/k", "[database]",
                               f"connection = host=127.0.0.1 port={free_port()} dbname=x user=y")
    assert code == 1 and "Connection refused" in said


def test_database_without_schema_is_said(postgres):
    with postgres.connect() as conn, conn.cursor() as cursor:
        cursor.execute("create database bare")
    code, said = failing_start("[collector]", "endpoint = tcp://127.0.0.1:0", "key = DIR/k", "[database]",
                               f"connection = {postgres.conninfo('bare')}")
    assert code == 1 and "run hirundo-collector migrate" in said


def test_readable_key_file_is_refused(postgres, tmp_path):
    key = tmp_path / "key"
    postgres.command("keygen", str(key))
    key.chmod(0o644)
    code, said = failing_start("[collector]", "endpoint = tcp://127.0.0.1:0", f"key = {key}", "[database]",
                               f"connection = {postgres.conninfo()}")
    assert code == 1 and str(key) in said


def test_damaged_configuration_names_line_and_key(postgres):
    code, said = failing_start("[collector]", "writers = many")
    assert code == 1 and "line 2" in said and "writers" in said


def test_usage_errors_exit_2(postgres):
    for words in ([], ["fly"], ["sensor"], ["sensor", "fly"], ["serve", "--fly"], ["import", "prefixes"],
                  ["sensor", "add", "x"], ["sensor", "add", "UPPER", "--country", "JP"], ["migrate", "now"]):
        assert postgres.command(*words, check=False).returncode == 2, words
    assert postgres.command("--version").stdout.startswith("hirundo-collector ")
    assert "usage" in postgres.command("--help").stdout


# ---- migrate

def test_migrate_twice_changes_nothing_and_a_newer_database_is_refused():
    with Postgres() as pg:
        assert "applied" in pg.migrate()
        assert "nothing to do" in pg.migrate()
        pg.query("insert into hirundo.migration (name, sha256) values ('schema/9999_future.sql', 'x')")
        done = pg.command("migrate", check=False)
        assert done.returncode == 1 and "newer than this program" in done.stderr
        pg.query("delete from hirundo.migration where name like '%9999%'")
        pg.query("update hirundo.migration set sha256 = 'x' where name like 'analysis/%'")
        assert "0 schema" in pg.migrate()


def test_several_endpoints_and_free_ports(postgres):
    with Collector(postgres, lines=["endpoint = tcp://127.0.0.1:0"]) as collector:
        second = collector.wait_log(r"listening on (tcp://127.0.0.1:\d+) too").group(1)
        assert second != collector.endpoint
        assert isinstance(collector, Server)
