#!/usr/bin/python3
"""What PostgreSQL's settings do to ingest: each alone against a base, in turns.

    postgres_settings.py WORK_DIRECTORY [ROUNDS [VARIANTS]]

For each variant of each round (2) the server is started anew with its settings and takes two backlogs through one collector
with two writers: full batches (8 sensors, 3.9 million rows) and batches of 4 flows (1,000 sensors, 200,000 rows). Prints medians
in a Markdown table: time against the base (more than 1: slower), WAL, CPU of PostgreSQL, checkpoints. VARIANTS: words of
the names below.
"""
import os
import pathlib
import re
import statistics
import subprocess
import sys

import collector_bench as cb
from hirundo import Collector, Keys, Postgres, program, stop_on_signal

BASE = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "wal_compression": "off",
        "commit_delay": "0", "fsync": "on", "autovacuum": "off"}
VARIANTS = {
    "base": {},
    "max_wal_size=256MB": {"max_wal_size": "256MB"},
    "shared_buffers=128MB": {"shared_buffers": "128MB"},
    "wal_compression=lz4": {"wal_compression": "lz4"},
    "commit_delay=1000": {"commit_delay": "1000", "commit_siblings": "1"},
    "fsync=off": {"fsync": "off"},
}
SHAPES = (cb.Shape("full", "full batches", 8, 60, 8192, 2), cb.Shape("small", "4 flows a batch", 1000, 50, 4, 2))


def counters(pg):
    return pg.query("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint, checkpoints_timed + checkpoints_req "
                    "from pg_stat_bgwriter")[0]


def run(pg, bench, shape, keys_file):
    """One backlog."""
    collector = Collector(pg, lines=[f"writers = {shape.writers}"], log_level="notice")
    collector.conninfo = bench.conninfo
    with collector:
        load = subprocess.Popen(
            [program("hirundo-load"), "run", collector.endpoint, collector.server_key, keys_file, str(shape.batches),
             str(shape.flows), str(shape.from_ms()), "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(2):
                load.stdout.readline()
            bench.clear()
            before = counters(pg)
            cpu = cb.cpu_of_postgres(bench.pg_pid)
            load.stdin.write("go\n")
            load.stdin.flush()
            line = load.stdout.readline()
            seconds = float(re.search(r"([0-9.]+) s: ", line).group(1))
            cpu = cb.cpu_of_postgres(bench.pg_pid) - cpu
            after = counters(pg)
        finally:
            load.stdin.close()
            load.terminate()
            load.wait()
    return {"seconds": seconds, "cpu": cpu, "wal": (after[0] - before[0]) / 2 ** 20, "checkpoints": after[1] - before[1]}


def main():
    work = pathlib.Path(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    names = [n for n in VARIANTS if n == "base" or not sys.argv[3:] or any(w in n for w in sys.argv[3:])]
    work.mkdir(parents=True, exist_ok=True)
    stop_on_signal()
    figures = {}
    with Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        for shape in SHAPES:
            Keys(pg, shape.sensors, prefix=shape.name).write(work / f"{shape.name}.keys")
        for number in range(rounds):
            for name in names:
                with pg.connect() as conn, conn.cursor() as cursor:
                    for key, value in {**BASE, "commit_siblings": "5", **VARIANTS[name]}.items():
                        cursor.execute(f"alter system set {key} = '{value}'")
                pg.stop()
                pg.start()
                pg.query("analyze hirundo.sensor")
                pg.query("analyze hirundo.sensor_key")
                bench = cb.Bench(pg, work)
                with pg.connect() as conn, conn.cursor() as cursor:
                    cursor.execute("select pg_advisory_lock(%s)", (cb.ROLLUP_LOCK,))
                    for shape in SHAPES:
                        figure = run(pg, bench, shape, work / f"{shape.name}.keys")
                        figures.setdefault((name, shape.name), []).append(figure)
                        print(f"round {number + 1} {name:22} {shape.name:5} {figure}", file=sys.stderr, flush=True)
    print("| setting | full: time against base | WAL MiB | CPU s | checkpoints | small: time against base | WAL MiB | CPU s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in names:
        cells = []
        for shape in SHAPES:
            mine, base = figures[name, shape.name], figures["base", shape.name]
            slower = statistics.median(m["seconds"] / b["seconds"] for m, b in zip(mine, base))
            cells += [f"{slower:.2f}", f"{statistics.median(m['wal'] for m in mine):.0f}",
                      f"{statistics.median(m['cpu'] for m in mine):.1f}"]
            if shape.name == "full":
                cells.append(f"{statistics.median(m['checkpoints'] for m in mine):.0f}")
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    print(f"\n{rounds} rounds, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
