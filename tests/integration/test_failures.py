"""A collector whose calls to libpq, to libzmq and for memory fail, each once: what was acknowledged is there, once.

Each run sends what a sensor may send (batches of a new day, one that came before, a loss, poison) while the n-th call from then on
fails, n = 1, 2, 3, ... until a run in which none did. ./tests/run failures takes every call, the ordinary run some.
"""
import mmap
import os
import struct
import time

import pytest

import hirundo
import poison
from peer import Peer, message

STEP = int(os.environ.get("HIRUNDO_TEST_STEP", "41"))
DAY_MS = 86400000
FIRST_MS = 1546300800000  # 2019-01-01
PATIENCE_S = 3
KINDS = {"libpq": 0, "libpq, after the call was made": 1, "libzmq": 2, "memory": 3}
WRITER = 4  # memory, in the writer's thread: the first calls of each place in the program
POISON = b"\xff" * 100
BURST = 600  # more than there is room for at first, twice


class Plan:
    """The file in which the failing call is ordered."""

    def __init__(self, path):
        path.write_bytes(bytes(12))
        self.path = path
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 12)

    def order(self, kind, n):
        self.map[0:12] = struct.pack("=iii", kind, n, 0)

    def came(self):
        return struct.unpack("=i", self.map[4:8])[0] <= 0


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


@pytest.fixture(name="plan")
def fixture_plan(tmp_path):
    return Plan(tmp_path / "plan")


@pytest.fixture(name="collector")
def fixture_collector(pg, plan):
    shim = hirundo.build_directory() / "tests" / "integration" / "fail_calls.so"
    if "asan" in str(hirundo.build_directory()):
        pytest.skip("the sanitizers must be loaded first")
    collector = hirundo.Collector(pg)
    collector.env = dict(os.environ, LD_PRELOAD=str(shim), HIRUNDO_FAIL_CALLS=str(plan.path))
    with collector:
        yield collector


def declared(header, seq):
    """A loss message of one number, from the header and payload of another."""
    head, payload = header
    items = [poison.build([(f, seq if f in (1, 2) else v) for f, v in poison.parse(value)])
             for _, value in poison.parse(payload)]
    return poison.sealed(head, poison.build([(1, item) for item in items]), seq)


def script(peer, run):
    """What goes out, by number: three batches of a day and an address never seen, a loss, poison, two batches more."""
    batch = message("batch", 1, peer.spool, flows=20, seed=run + 1, from_ms=FIRST_MS + run * DAY_MS)
    loss = message("loss", 1, peer.spool, from_ms=FIRST_MS + run * DAY_MS + 1800000)
    return [poison.sealed(*batch, 1), poison.sealed(*batch, 2), poison.sealed(*batch, 3), declared(loss, 4),
            poison.sealed(batch[0], POISON, 5), poison.sealed(*batch, 6), poison.sealed(*batch, 7)]


def is_poison(frames):
    return frames[1].startswith(POISON)


def deliver(peer, messages):
    """As a sensor does: what is not acknowledged in time goes again, on a connection made anew after that."""
    for frames in messages[:1] * 2 + messages:
        peer.send(*frames)
    wait_acks(peer, messages)


def wait_acks(peer, messages):
    acked, waits = 0, 0
    while acked < len(messages):
        reply = peer.receive(PATIENCE_S)
        if reply and reply.spool_id == peer.spool:
            assert reply.reason != "fork"
            if reply.kind == "ack":
                assert reply.committed_through <= len(messages)
                assert bool(reply.detail) == is_poison(messages[reply.seq - 1]), "what is put aside is told, and nothing else"
                acked = max(acked, reply.committed_through)
                continue
            if reply.kind != "nack":
                continue
            assert reply.expected_seq >= acked + 1, "acknowledged, and asked for again"
        elif not reply:
            waits += 1
            assert waits < 20, f"no progress beyond {acked}:\n{peer.collector.log()}"
        for frames in messages[acked:]:
            peer.send(*frames)


def state(pg, spool):
    outcomes = [row[0] for row in pg.query("select outcome from hirundo.batch where spool_id = %s order by seq",
                                           spool.hex())]
    next_seq = pg.value("select next_seq from hirundo.ledger where spool_id = %s", spool.hex())
    return outcomes, next_seq


@pytest.mark.parametrize("kind", KINDS)
def test_each_call(pg, collector, plan, kind):
    keys = hirundo.Keys(pg, 1, prefix=f"fails-{KINDS[kind]}")
    collector.wait_log(r"\b[1-9]\d* keys")
    run, runs = 0, 0
    base = KINDS[kind] * 400
    at, came = 1, True
    begin = time.monotonic()
    while came:
        with Peer(collector, keys.pairs[0]) as peer:
            messages = script(peer, base + run)
            plan.order(KINDS[kind], at)
            deliver(peer, messages)
            came = plan.came()
            plan.order(KINDS[kind], 0)
            outcomes, next_seq = state(pg, peer.spool)
            assert outcomes == ["committed"] * 3 + ["lost", "quarantined"] + ["committed"] * 2, f"call {at}"
            assert next_seq == 8
        run, runs = run + 1, runs + came
        at += STEP
    rows, per_sensor = pg.query("select count(*), count(distinct sensor_id) from hirundo.flow join hirundo.sensor using "
                                "(sensor_id) where name = %s", keys.names[0])[0]
    assert (rows, per_sensor) == (run * 5 * 20, 1)
    off, frames = pg.query("select sum(abs(frames - row_packets - flood_packets - non_ip - malformed - quarantined - "
                           "lost)), sum(frames) from hirundo.observation join hirundo.sensor using (sensor_id) where "
                           "name = %s", keys.names[0])[0]
    assert off == 0 and frames > 0
    kept = pg.value("select count(*) from hirundo.quarantine join hirundo.sensor using (sensor_id) where name = %s",
                    keys.names[0])
    assert kept == run
    assert collector.process.poll() is None
    print(f"{kind}: {runs} runs of calls 1 to {at - STEP}, {time.monotonic() - begin:.0f} s")
    assert runs >= 2


def burst(peer, pg, plan, at):
    """BURST messages that the writer takes at once, poison among them, one of which comes again; the call numbered `at` fails from then on."""
    batch = message("batch", 1, peer.spool, flows=1)
    messages = [poison.sealed(batch[0], POISON if seq % 250 == 0 else batch[1], seq) for seq in range(1, BURST + 1)]
    with hirundo.held_commits(pg) as let_go:
        peer.send(*messages[0])
        hirundo.wait_for_commit(pg)
        for frames in messages[1:]:
            peer.send(*frames)
        peer.send_message("ping", 0)
        peer.wait_reply("pong")  # all of them wait
        plan.order(WRITER, at)
        let_go()
        wait_acks(peer, messages)
    with Peer(peer.collector, peer.pair, spool=peer.spool) as again:
        again.send(*messages[249])
        assert again.wait_reply("ack").detail, "it stands in quarantine"
    return ["quarantined" if is_poison(frames) else "committed" for frames in messages]


def test_each_call_for_memory_in_a_burst(pg, collector, plan):
    """The room for what comes at once grows, and is given back; poison is among it."""
    collector.stop()
    collector.log_level, collector.extra_lines = "debug", ["writers = 1"]
    collector.start()
    sensors = iter(hirundo.Keys(pg, 100, prefix="fails-burst").pairs)
    collector.wait_log(r"\b[1-9]\d* keys")

    def given_back():
        return sum("memory of a burst is given back" in line for line in collector.lines)

    runs, at, spared = 0, 1, 0
    begin = time.monotonic()
    while spared < 2:  # what was not given back when a call failed is not asked for in the next burst
        before = given_back()
        with Peer(collector, next(sensors)) as peer:
            expected = burst(peer, pg, plan, at)
            hirundo.wait_for(lambda: given_back() > before, "the rest after a burst")  # pylint: disable=cell-var-from-loop
            came = plan.came()
            plan.order(WRITER, 0)
            assert state(pg, peer.spool) == (expected, BURST + 1), f"call {at}"
        runs, spared = runs + came, 0 if came else spared + 1
        at += max(1, STEP // 8) if came else 0
    assert collector.process.poll() is None
    print(f"{runs} runs, {time.monotonic() - begin:.0f} s")
    assert runs >= 2
