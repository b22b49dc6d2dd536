"""The simulation's ledger against the real one: the same messages to hirundo-sim-ledger and, over CURVE, to
hirundo-collector with PostgreSQL; answers, ledger rows and the rows of batches and losses must agree."""
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from hirundo import Collector, Keys, Postgres, build_directory  # noqa: E402
from peer import Peer, message  # noqa: E402

SENSORS, SPOOLS, STEPS = 2, 3, 250
WINDOW_MS = 60000
DAY = int(time.time()) // 86400 * 86400000 - 86400000


def make_script(seed):
    """Lines for hirundo-sim-ledger: mostly the next number, often one that came before, sometimes with other data."""
    rng = random.Random(seed)
    sent, highest, backed_up = {}, {}, False  # (sensor, spool): what was sent under each number
    for content in range(1, STEPS + 1):
        if rng.random() < 0.03:
            yield "crash"
        if rng.random() < 0.03:
            backed_up = True
            yield "backup"
        if backed_up and rng.random() < 0.03:
            yield "restore"
        stream = rng.randrange(SENSORS), rng.randrange(1, SPOOLS + 1)
        last = highest.get(stream, 0)
        known = sorted(sent.get(stream, {}))
        others = [line for (sensor, spool), lines in sorted(sent.items()) if (sensor, spool != stream[1]) == (stream[0], True)
                  for line in lines.values() if line[0] != "unknown"]
        if others and rng.random() < 0.15:  # what another spool brought, as that or as the other kind of message
            _, _, _, what, from_ms = rng.choice(others)
            line = (rng.choice(["batch", "batch", "loss"]), last + 1, last + 1, what, from_ms)
            sent.setdefault(stream, {})[last + 1] = line
            highest[stream] = last + 1
        elif known and rng.random() < 0.35:
            line = sent[stream][rng.choice(known)]
            if rng.random() < 0.3:  # the same number, another kind of message
                line = (rng.choice(["batch", "loss"]), line[1], line[1], line[3], line[4])
            if rng.random() < 0.3:  # or other data
                line = (line[0], line[1], line[2], content, DAY + content * WINDOW_MS)
        else:
            first = max(1, last + rng.choice([1, 1, 1, 1, 1, 2, 0, -1]))
            kind = rng.choice(["batch"] * 6 + ["loss", "unknown"])
            through = first + rng.choice([0, 0, 3]) if kind == "unknown" else first
            line = (kind, first, through, content, DAY + content * WINDOW_MS)
            sent.setdefault(stream, {})[first] = line
            if first <= last + 1:
                highest[stream] = max(last, through)
        kind, first, through, what, from_ms = line
        yield (f"{kind} {stream[0]} {stream[1]} {first} {through} {what} "
               f"{from_ms} {from_ms + WINDOW_MS}")


class Real:
    """Plays a script to a real collector, one message at a time."""

    def __init__(self, postgres, collector, keys):
        self.postgres, self.collector, self.keys = postgres, collector, keys
        self.spools = {(sensor, spool): os.urandom(16) for sensor in range(SENSORS) for spool in range(SPOOLS + 1)}
        self.peers, self.digests = {}, {}
        self.tables = ("ledger", "batch", "loss", "observation", "quarantine")
        postgres.query("create schema if not exists kept")

    def peer(self, sensor):
        if sensor not in self.peers:
            self.peers[sensor] = Peer(self.collector, self.keys.pairs[sensor]).__enter__()
        return self.peers[sensor]

    def stop(self):
        for peer in self.peers.values():
            peer.__exit__()
        self.peers = {}

    def restart(self, between=()):
        self.stop()
        self.collector.kill()
        for sql in between:
            self.postgres.query(sql)
        self.collector.start()

    def backup(self):
        for table in self.tables:
            self.postgres.query(f"drop table if exists kept.{table}; "
                                f"create table kept.{table} as select * from hirundo.{table}")

    def restore(self):
        self.restart([f"delete from hirundo.{table}; insert into hirundo.{table} overriding system value "
                      f"select * from kept.{table}" for table in self.tables])

    def send(self, line, wanted):
        kind, sensor, spool, first, last, content, from_ms, _ = line.split()
        sensor, spool = int(sensor), int(spool)
        frames = message(kind, int(first), self.spools[sensor, spool], seed=int(content), from_ms=int(from_ms),
                         last=int(last))
        self.peer(sensor).send(*frames)
        if wanted[0] == "gap":
            return wanted  # told at most once a second: waited for by nobody
        while True:
            reply = self.peer(sensor).receive()
            assert reply, f"no answer to {line}, wanted {wanted}"
            about = wanted[4] if wanted[0] == "fork" else wanted[3]
            if reply.reason != "gap" and (reply.spool_id, reply.seq) == (self.spools[sensor, spool], int(about)):
                break
        if reply.reason == "fork":  # a sensor connects anew then
            self.peers.pop(sensor).__exit__()
        kind = reply.reason or reply.kind
        number = reply.expected_seq if reply.kind == "nack" else reply.committed_through
        return [kind, str(sensor), str(spool), first, str(number)]

    def rows(self):
        names = {bytes(spool): key for key, spool in self.spools.items()}
        found = []
        for spool, next_seq in self.postgres.query("select spool_id::text, next_seq from hirundo.ledger"):
            sensor, number = names[bytes.fromhex(spool.replace("-", ""))]
            found.append(["ledger", str(sensor), str(number), str(next_seq)])
        for spool, seq, outcome, lo, hi in self.postgres.query(
                "select spool_id::text, seq, outcome, "
                "(extract(epoch from coalesce(l.first_window, b.first_window)) * 1000)::bigint, "
                "(extract(epoch from coalesce(l.last_window, b.last_window)) * 1000)::bigint "
                "from hirundo.batch b left join hirundo.loss l using (sensor_id, spool_id, seq)"):
            sensor, number = names[bytes.fromhex(spool.replace("-", ""))]
            found.append(["row", str(sensor), str(number), str(seq), outcome, str(lo), str(hi)])
        return sorted(found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same_messages_same_ledger(seed):
    script = list(make_script(seed))
    done = subprocess.run([str(build_directory() / "tests/sim/hirundo-sim-ledger")], input="\n".join(script) + "\n",
                          text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    answers = iter(line for line in lines if line[0] in ("ack", "gap", "fork"))
    wanted = sorted(line[:5] + line[6:] if line[0] == "row" else line for line in lines if line[0] in ("ledger", "row"))
    with Postgres() as postgres:
        postgres.migrate()
        postgres.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        keys = Keys(postgres, SENSORS)
        with Collector(postgres) as collector:
            real = Real(postgres, collector, keys)
            for line in script:
                if line == "crash":
                    real.restart()
                elif line in ("backup", "restore"):
                    getattr(real, line)()
                else:
                    answer = next(answers)
                    assert real.send(line, answer) == answer, line
            real.stop()
            assert collector.stop() == 0
            assert real.rows() == wanted
    kinds = {line[0] for line in lines}
    assert {"ack", "gap", "fork"} <= kinds, "the script asks too little"
    assert any(line[0] == "row" and line[4] == "known" for line in lines), "nothing came under another spool"
