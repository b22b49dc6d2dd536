#!/usr/bin/python3
"""What hostile clients cost enrolled sensors: the delay from the moment a batch is due to its ack, with them and without.

    measure_hostile.py WORK_DIRECTORY [CONNECTIONS [ROUNDS [SECONDS]]]

Twenty enrolled sensors (hirundo-load, real CURVE sockets) send two batches of 200 flows a second each, without a pause. Meanwhile
ROUNDS (4) times SECONDS (15) without and SECONDS with hostile clients alternate: CONNECTIONS (300) of each of six kinds that come
again when they are cut (silence, rubbish, half a greeting byte by byte, a greeting and no more, NULL, PLAIN), as many sockets with
keys that nobody enrolled, and enrolled and revoked keys that send, as fast as they may: third frames, frames beyond the limit,
headers of noise, poison, messages twice, a revoked key's attempts. They run at nice 19: on a real attack they have machines of their
own. HIRUNDO_HOSTILE_FROM=N spreads them over N addresses (16); 0: they have the sensors' own. Prints figures, the ratio of the 99th percentiles among them; exit 1 if a row got in that no enrolled sensor sent, if the
collector ended, or if its memory, descriptors or log grew without bound. The ratio is printed, not judged.
"""
import bisect
import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time

import zmq

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / name) for name in ("integration", "load")]

from hirundo import Collector, Keys, Postgres, program, stop_on_signal, wait_for  # noqa: E402
from peer import Peer, message  # noqa: E402
from strangers import Strangers, endpoint_from  # noqa: E402

SENSORS, FLOWS, INTERVAL_MS = 20, 200, 500
RSS_MAX_MIB = 128
SOURCES = [f"127.0.{2 + i // 250}.{1 + i % 250}" for i in range(int(os.environ.get("HIRUNDO_HOSTILE_FROM", "16")))]


class Offender(threading.Thread):
    """A key in bad hands: connects, sends what it should not, connects again when it is cut or has sent five; until told to end."""

    def __init__(self, collector, pair, messages, pause):
        super().__init__(daemon=True)
        self.collector, self.pair, self.messages, self.pause = collector, pair, messages, pause
        self.ending, self.sent = threading.Event(), 0

    def run(self):
        at = 0
        while not self.ending.is_set():
            with Peer(self.collector, self.pair) as peer:
                with contextlib.suppress(zmq.ZMQError):  # nobody takes it: it was cut
                    for _ in range(5):
                        peer.socket.send_multipart(self.messages[at % len(self.messages)], flags=zmq.NOBLOCK)
                        at, self.sent = at + 1, self.sent + 1
                        self.ending.wait(self.pause)
                        while peer.receive(0):
                            pass

    def stop(self):
        self.ending.set()


def offenders(collector, pairs):
    """One of each, by what it sends."""
    spool = os.urandom(16)
    batch = message("batch", 1, spool, flows=5, seed=int.from_bytes(spool[:3], "big"))  # another one in each round
    sends = {
        "third frame": [[*batch, b"more"]],
        "frame beyond the limit": [[batch[0], bytes(2 << 20)]],
        "header of noise": [[os.urandom(80), b""] for _ in range(20)],
        "poison": [message("poison", seq, spool) for seq in range(1, 101)],
        "sent twice": [batch],
        "revoked": [batch],
    }
    return [Offender(collector, pair, messages, 0.02) for messages, pair in zip(sends.values(), pairs, strict=True)]


class Hostile:
    """All of them, in a process of their own at nice 19: `with` it, they are there."""

    def __init__(self, collector, work, count):
        self.command = [sys.executable, "-B", __file__, "hostile", collector.endpoint, collector.server_key, str(work), str(count)]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(["nice", "-n", "19", *self.command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "there\n"
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        print(f"  hostile: {self.process.stdout.read().strip()}")
        self.process.wait()


class Address:
    """What Peer and Strangers want to know of a collector."""

    def __init__(self, endpoint, server_key):
        self.endpoint, self.server_key = endpoint, server_key

    @staticmethod
    def log():
        return "(another process)"


def be_hostile(endpoint, server_key, work, count):
    """The process of Hostile: ends when its standard input does."""
    collector = Address(endpoint, server_key)
    others = Address(endpoint_from(endpoint, SOURCES[1:2]), server_key)
    pairs = [line.split() for line in pathlib.Path(work, "offenders.keys").read_text().splitlines()]
    bad = offenders(others, pairs)
    only = os.environ.get("HIRUNDO_HOSTILE_ONLY")  # raw, unknown, bad, bad0 ... bad5: to see what costs what
    kinds = range(6) if only in (None, "raw") else ()
    if only not in (None, "bad"):
        bad = [bad[int(only[3])]] if only.startswith("bad") else []
    with Strangers(None, collector, int(count), work, kinds=kinds, processes=int(only in (None, 'unknown')),
                   sources=SOURCES) as strangers:
        for one in bad:
            one.start()
        print("there", flush=True)
        sys.stdin.read()
        for one in bad:
            one.stop()
        for one in bad:
            one.join(5)
        print(f"{strangers.made} connections made, {strangers.cut} cut; {sum(one.sent for one in bad)} bad messages sent", flush=True)
    os._exit(0)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] / 1000 if values else float("nan")


class Figures:
    """Delays by the phase in which their batch was due."""

    def __init__(self):
        self.starts, self.kinds, self.delays = [], [], {"alone": [], "hostile": []}
        self.course = {}  # delays of hostile phases by second from their beginning

    def begin(self, kind):
        self.starts.append(time.time() * 1000)
        self.kinds.append(kind)

    def add(self, due_ms, delay_us):
        at = bisect.bisect(self.starts, due_ms) - 1
        if at >= 0 and self.kinds[at]:
            self.delays[self.kinds[at]].append(delay_us)
            if self.kinds[at] == "hostile":
                self.course.setdefault(int(due_ms - self.starts[at]) // 1000, []).append(delay_us)

    def line(self, kind):
        values = sorted(self.delays[kind])
        return (f"{kind}: {len(values)} batches, from due to ack: median {percentile(values, 0.5):.1f} ms, p90 "
                f"{percentile(values, 0.9):.1f}, p99 {percentile(values, 0.99):.1f}, longest {values[-1] / 1000:.1f}")

    def p99(self, kind):
        return percentile(sorted(self.delays[kind]), 0.99)


def measure(pg, collector, work, count, rounds, seconds):
    keys = Keys(pg, SENSORS, prefix="good")
    keys.write(work / "good.keys")
    bad = Keys(pg, 6, prefix="bad")
    bad.write(work / "offenders.keys")
    pg.command("sensor", "revoke", bad.names[5])
    batches = (2 * rounds * (seconds + 6) + 10) * 1000 // INTERVAL_MS
    players = subprocess.Popen([program("hirundo-load"), "pace", collector.endpoint, collector.server_key, str(work / "good.keys"),
                                str(batches), str(FLOWS), str(INTERVAL_MS)], stdout=subprocess.PIPE, text=True)
    figures, lines = Figures(), []
    reader = threading.Thread(target=lambda: lines.extend(players.stdout), daemon=True)
    print(players.stdout.readline().strip(), flush=True)
    reader.start()
    failed = []
    try:
        for number in range(rounds):
            figures.begin("alone")
            time.sleep(seconds)  # a stretch of time to measure, not a condition
            figures.begin(None)
            with Hostile(collector, work, count):
                figures.begin("hostile")
                time.sleep(seconds)
                figures.begin(None)
                print(f"round {number + 1}: {collector.proc_status('VmRSS') / 1024:.1f} MiB, {collector.descriptors()} descriptors, "
                      f"{len(collector.lines)} lines of log", flush=True)
            wait_for(lambda: collector.descriptors() < SENSORS + 200, "their connections to be closed")
        players.wait(600)
        reader.join(10)
    finally:
        players.kill()
        players.wait()
    for line in lines:
        due_ms, delay_us = line.split()
        figures.add(int(due_ms), int(delay_us))
    expected = SENSORS * batches
    for kind in ("alone", "hostile"):
        print(figures.line(kind))
    print("90th percentile by second from their coming: " +
          " ".join(f"{percentile(sorted(figures.course[s]), 0.9):.0f}" for s in sorted(figures.course)) + " ms")
    ratio = figures.p99("hostile") / figures.p99("alone")
    print(f"p99 with hostile clients: {ratio:.2f} times that without (aim: at most 2)")
    if players.returncode != 0 or len(lines) != expected:
        failed.append(f"{len(lines)} of {expected} batches acknowledged")
    return failed, expected


def check(pg, collector, expected):
    """Rows of enrolled sensors are all there, of others none."""
    failed = []
    rows = pg.query("select split_part(s.name, '-', 1), count(*), count(distinct f.sensor_id) from hirundo.flow f join hirundo.sensor s "
                    "using (sensor_id) group by 1 order by 1")
    print(f"rows by kind of sensor: {rows}")
    twice = pg.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'bad-5'")
    others = pg.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name like 'bad-%%' "
                      "and name <> 'bad-5'")
    spools = pg.value("select count(*) from hirundo.ledger join hirundo.sensor using (sensor_id) where name = 'bad-5'")
    good = pg.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name like 'good-%%'")
    if others:
        failed.append(f"{others} rows of hostile clients")
    if twice != 5 * spools:  # one batch of 5 for each connection's spool, however often it was sent
        failed.append(f"{twice} rows of {spools} batches sent twice")
    if good != expected * FLOWS:
        failed.append(f"{good} rows of enrolled sensors, not {expected * FLOWS}")
    if pg.value("select count(*) > 256 from hirundo.unknown_key"):
        failed.append("more than 256 unknown keys kept")
    peak = collector.proc_status("VmHWM") / 1024
    print(f"collector: at most {peak:.1f} MiB; {len(collector.lines)} lines of log; "
          f"{pg.value('select count(*) from hirundo.quarantine')} messages in quarantine")
    if peak > RSS_MAX_MIB:
        failed.append(f"more than {RSS_MAX_MIB} MiB")
    if len(collector.lines) > 400:
        failed.append("too many lines of log")
    if collector.process.poll() is not None:
        failed.append("the collector ended")
    return failed


def main():
    work = pathlib.Path(sys.argv[1])
    count, rounds, seconds = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((2, 300), (3, 4), (4, 15)))
    work.mkdir(parents=True, exist_ok=True)
    stop_on_signal()
    with Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        with Collector(pg, log_level="notice") as collector:
            print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; {SENSORS} sensors, {6 * count} hostile connections "
                  f"and {count} unknown keys at a time, 6 keys in bad hands, from {len(SOURCES) or 'the same'} addresses")
            failed, expected = measure(pg, collector, work, count, rounds, seconds)
            failed += check(pg, collector, expected)
            if failed:
                print(collector.log()[-4000:])
    print("failed: " + ", ".join(failed) if failed else "no row got in, all were served")
    sys.exit(bool(failed))


if __name__ == "__main__":
    if sys.argv[1] == "hostile":
        be_hostile(*sys.argv[2:])
    else:
        main()
