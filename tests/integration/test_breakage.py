"""What was tried to break delivery and once did."""
import os
import shutil
import subprocess

import pytest

import hirundo
from peer import Peer, message
from test_delivery import FIRST, Replayer, capture


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:70000", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:x",
                                      "tcp://127.0.0.1:", "tcp://127.0.0.1:-1"])
def test_port_that_is_none_is_refused(postgres, endpoint):
    collector = hirundo.Collector(postgres)
    collector.endpoint = endpoint
    collector.configure()
    done = subprocess.run(collector.command, capture_output=True, text=True, check=False, timeout=30)
    shutil.rmtree(collector.directory)
    assert done.returncode == 1
    assert endpoint in done.stderr.splitlines()[-1] and "port" in done.stderr.splitlines()[-1]


def test_sensor_that_heeds_no_credit_is_stopped_and_others_are_served(postgres, collector, enrolled):
    greedy_name, greedy_pair = enrolled()
    _, pair = enrolled()
    with Peer(collector, greedy_pair) as greedy, Peer(collector, pair) as good:
        good.deliver(1)
        greedy.deliver(1)
        batches = [message("batch", seq, greedy.spool, flows=8000) for seq in range(2, 6)]
        size = sum(len(frame) for frame in batches[0])
        with postgres.connect() as conn, conn.cursor() as cursor:
            conn.autocommit = False
            cursor.execute("lock hirundo.flow in access exclusive mode")
            for i in range((16 << 20) // size):
                greedy.send(*batches[i % len(batches)])
            collector.wait_log(f"sensor {greedy_name} .*more than it has credit for")
            conn.rollback()
        good.deliver(2)
        good.send_message("ping", 0)
        assert good.wait_reply("pong").credit >= 1 << 20


def test_unknown_loss_of_a_sensor_that_never_delivered_begins_when_it_was_enrolled(postgres, collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "undelivered")
    path = capture(tmp_path / "a.pcap", 100)
    collector.stop()
    assert sensor.replay(path, options=["--timeout", "1"]).returncode == 1
    os.truncate(tmp_path / "spool" / "spool.db", 0)
    collector.start()
    assert sensor.replay(path).returncode == 0
    since, until, added = postgres.query(
        "select l.first_window, l.last_window, s.added_at from hirundo.loss l join hirundo.sensor s using (sensor_id) "
        "where s.name = 'undelivered'")[0]
    assert since == added < until


def test_unknown_loss_begins_with_what_was_delivered_last_not_with_the_greatest_time(postgres, collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "clock-was-ahead")
    ahead = capture(tmp_path / "ahead.pcap", 100, first=FIRST + 86400 * 30)
    assert sensor.replay(ahead).returncode == 0
    right = capture(tmp_path / "right.pcap", 100)
    assert sensor.replay(right).returncode == 0
    os.truncate(tmp_path / "spool" / "spool.db", 0)
    assert sensor.replay(right).returncode == 0
    since = postgres.value(
        "select extract(epoch from l.first_window) from hirundo.loss l join hirundo.sensor s using (sensor_id) "
        "where s.name = 'clock-was-ahead'")
    assert FIRST + 3600 - 60 <= since <= FIRST + 3660


def test_database_works_again_when_it_takes_rows_not_when_it_answers(postgres, collector, enrolled):
    _, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        postgres.query("revoke insert on hirundo.flow from hirundo_collector")
        try:
            peer.send_message("batch", 2)
            collector.wait_log("nothing is acknowledged until it works again")
            assert not peer.receive(2)
            peer.send_message("ping", 0)
            assert not peer.wait_reply("pong").db_ok
            assert "the database works again" not in collector.log()
        finally:
            postgres.query("grant insert on hirundo.flow to hirundo_collector")
        peer.wait_ack(2)
        collector.wait_log("the database works again$")
        assert len([line for line in collector.lines if line.endswith("the database works again")]) == 1


def test_message_without_an_end_is_cut_before_it_fills_the_memory(collector, enrolled):
    def resident():
        return collector.proc_status("VmRSS") >> 10

    _, bad_pair = enrolled()
    _, pair = enrolled()
    with Peer(collector, bad_pair) as bad, Peer(collector, pair) as good:
        good.deliver(1)
        bad.wait_connected()
        before = resident()
        frame = os.urandom(500000)
        bad.send(*[frame] * 1000)
        collector.wait_log("a message without an end")
        bad.wait_cut()
        good.deliver(2)
        assert resident() - before < 300


PREFIXES = "198.18.0.0/24\t64496\tJP\n198.18.1.0/24\t64497\tUS\n198.18.2.0/24\t64498\tDE\n"


def test_byte_order_mark_is_passed_over(postgres, tmp_path):
    path = tmp_path / "prefixes.tsv"
    path.write_text("\ufeff" + PREFIXES, encoding="utf-8")
    assert "3 prefixes loaded" in postgres.command("import", "prefixes", str(path)).stdout
    path = tmp_path / "organisations.csv"
    path.write_text("\ufeffname,prefixes,contacts,tlp\nExample,198.18.0.0/24,abuse@example.com,GREEN\n",
                    encoding="utf-8")
    assert "1 organisations" in postgres.command("import", "organisations", str(path)).stdout


@pytest.mark.parametrize("damage", ["\0", "x" * 100000])
def test_damaged_line_takes_no_other_with_it(postgres, tmp_path, damage):
    path = tmp_path / "prefixes.tsv"
    path.write_text(PREFIXES.replace("64497", "64497" + damage))
    done = postgres.command("import", "prefixes", str(path))
    assert "2 prefixes loaded" in done.stdout and "1 lines refused" in done.stdout
    assert "line 2: " in done.stderr and ("NUL" if damage == "\0" else "too long") in done.stderr
