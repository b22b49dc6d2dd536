"""Many sensors and many strangers on one collector; the campaign with a thousand is ./tests/run load."""
import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

import poison
from hirundo import TOP, Collector, Keys, build_directory, held_commits, program, wait_for
from peer import Peer, message

sys.path.append(str(TOP / "tests" / "load"))
from strangers import Strangers  # noqa: E402

COUNT = 100
EACH = 10  # strangers of each kind


@pytest.fixture(scope="module")
def keys_file(postgres, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "sensors.keys"
    Keys(postgres, COUNT, prefix="many").write(path)
    return str(path)


class Players:
    def __init__(self, *words):
        self.process = subprocess.Popen([program("hirundo-load"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def line(self, pattern):
        line = self.process.stdout.readline()
        assert re.search(pattern, line), line
        return line


def idle(collector, keys_file):
    return Players("idle", collector.endpoint, collector.server_key, keys_file, "200", "600")


def test_all_are_served_before_and_after_a_restart_among_strangers(postgres, keys_file, tmp_path):
    with Collector(postgres) as collector:
        alone = collector.descriptors()
        with idle(collector, keys_file) as sensors, Strangers(postgres, collector, EACH, tmp_path) as strangers:
            sensors.line(rf"greeted: {COUNT} sensors")
            wait_for(lambda: strangers.cut >= 2 * EACH, "rubbish to be cut and silence to end by the handshake's time")
            collector.stop()
            collector.start()
            with idle(collector, keys_file) as others:
                others.line(rf"greeted: {COUNT} sensors")
        wait_for(lambda: collector.descriptors() <= alone + 10, "all connections to be closed")
        if not os.environ.get("ASAN_OPTIONS"):  # the sanitizer's own memory is more
            assert collector.proc_status("VmHWM") < 128 * 1024


def test_a_backlog_of_all_comes_in_once(postgres, keys_file):
    batches, flows = 12, 4
    with Collector(postgres) as collector:
        before = postgres.value("select count(*) from hirundo.flow")
        with Players("run", collector.endpoint, collector.server_key, keys_file, str(batches), str(flows),
                     "1675814400000") as sensors:
            sensors.line("prepared")
            sensors.line(f"ready: {COUNT} sensors")
            sensors.process.stdin.write("go\n")
            sensors.process.stdin.flush()
            sensors.line(f"{COUNT} sensors, {COUNT * batches} batches")
        assert postgres.value("select count(*) from hirundo.flow") - before == COUNT * batches * flows
        assert postgres.query(
            "select count(*), min(l.next_seq), max(l.next_seq) from hirundo.ledger l join hirundo.sensor s using (sensor_id) "
            "where s.name like 'many-%%'") == [(COUNT, batches + 1, batches + 1)]
        assert postgres.query(
            "select count(*), sum(o.frames - o.row_packets - o.non_ip - o.malformed), sum(o.covered_ms) from "
            "hirundo.observation o join hirundo.sensor s using (sensor_id) where s.name like 'many-%%'") \
            == [(COUNT, 0, COUNT * batches * 60000)]
        assert postgres.value("select count(*) from hirundo.dirty d join hirundo.sensor s using (sensor_id) "
                              "where s.name like 'many-%%' and gen > 0") in (0, COUNT)  # 0: rolled up already


def limited(postgres, soft, hard):
    collector = Collector(postgres)
    collector.command = ["prlimit", f"--nofile={soft}:{hard}", *collector.command]
    return collector


def test_descriptors_are_raised_to_the_hard_limit(postgres, keys_file):
    del keys_file  # a hundred keys are enrolled
    with limited(postgres, 128, 4096) as collector:
        assert re.search(r"Max open files\s+4096\s+4096", pathlib.Path(f"/proc/{collector.process.pid}/limits").read_text())
        assert "LimitNOFILE" not in collector.log()


def test_too_few_descriptors_are_told_in_one_line(postgres, keys_file):
    del keys_file
    with limited(postgres, 128, 200) as collector:
        assert len([line for line in collector.lines if "LimitNOFILE" in line]) == 1
        collector.wait_log(r"warning: only 200 file descriptors are allowed, \d+ sensors may need \d+: .*LimitNOFILE=65536")


def test_a_burst_of_small_batches_is_counted_once(postgres, tmp_path):
    """Thousands of batches at once, which the writers gather into larger commits where they come fast enough."""
    Keys(postgres, 50, prefix="burst").write(tmp_path / "keys")
    ours = "sensor_id in (select sensor_id from hirundo.sensor where name like 'burst-%')"
    with Collector(postgres) as collector:
        done = subprocess.run([program("hirundo-load"), "run", collector.endpoint, collector.server_key, str(tmp_path / "keys"), "100", "4"],
                              capture_output=True, text=True, check=False, timeout=120, input="\n")
        assert done.returncode == 0, done.stderr + collector.log()
    assert postgres.query(f"select count(*), count(distinct (sensor_id, spool_id, seq)) from hirundo.batch where {ours}") == [(5000, 5000)]
    assert postgres.value(f"select count(*) from hirundo.flow where {ours}") == 20000


def test_memory_of_a_burst_is_given_back(postgres, tmp_path):
    """What waits while commits stand still, and a batch as large as they come, take memory for a moment."""
    if "asan" in str(build_directory()):
        pytest.skip("a sanitizer keeps what was freed")
    Keys(postgres, 20, prefix="tide").write(tmp_path / "keys")
    with Collector(postgres) as collector:
        def anonymous():
            return collector.proc_status("RssAnon")

        def deliver(batches, flows):
            done = subprocess.run([program("hirundo-load"), "run", collector.endpoint, collector.server_key, str(tmp_path / "keys"),
                                   str(batches), str(flows)], capture_output=True, text=True, check=False, timeout=120, input="\n")
            assert done.returncode == 0, done.stderr + collector.log()

        deliver(5, 4)
        before, peak = anonymous(), 0
        for batches, flows in ((600, 1), (2, 8192)):
            deliver(batches, flows)
            peak = max(peak, anonymous())
        deliver(5, 4)
        wait_for(lambda: anonymous() < before + 1024, f"{before} KiB before, {peak} after the burst: to be given back")


def test_what_waits_takes_the_memory_that_is_counted_for_it(postgres):
    """Small batches of many sensors, one after the other: a frame keeps no more of what was read with it."""
    if "asan" in str(build_directory()):
        pytest.skip("a sanitizer takes memory of its own")
    keys = Keys(postgres, 20, prefix="wait")
    count, overhead = 500, 768
    with Collector(postgres) as collector, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(collector, pair)) for pair in keys.pairs]
        batches = [message("batch", 1, peer.spool, flows=1) for peer in peers]
        with held_commits(postgres) as let_go:
            for peer in peers:
                peer.send_message("ping", 0)
                peer.wait_reply("pong")
            before = collector.proc_status("RssAnon")
            for seq in range(1, count + 1):
                for peer, batch in zip(peers, batches):
                    peer.send(*poison.sealed(*batch, seq))
            for peer in peers:
                peer.send_message("ping", 0)
                peer.wait_reply("pong")
            taken = (collector.proc_status("RssAnon") - before) * 1024 / len(peers) / count
            let_go()
        for peer in peers:
            peer.wait_ack(count)
    print(f"{taken:.0f} bytes a batch")
    assert taken < 2 * (overhead + len(batches[0][1]))
