#!/usr/bin/python3
"""The collector, from CURVE to committed rows, beside libpq's binary COPY of the very same rows in one transaction.

    collector_bench.py WORK_DIRECTORY [PAIRS [SHAPES]]

One private PostgreSQL, one collector with two writers (and one with one), the load generator hirundo-load: all on the
cores of this machine. A pair is one run of the collector and one of raw_copy; PAIRS (5) of each shape, three times as many of
the small one, interleaved. SHAPES: words among full, one-writer, small (all three).

The collector's clock runs in the generator, from the first message sent to the last acknowledgement received; batches were
encoded and connections made before, encryption and sending are part of it. raw_copy has the rows in memory and runs its
clock from BEGIN to the answer to COMMIT; it uses the same connection string and the same settings of PostgreSQL. Before each run
flow, batch, observation and dirty are emptied (the daily partitions stay), and a checkpoint is made. The rollup job is kept
out by its own lock, autovacuum is off: neither belongs to what is compared.
"""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

from hirundo import Collector, Keys, Postgres, build_directory, cpu_s, program, stop_on_signal  # noqa: E402

MIDNIGHT_MS = 1675814400000  # 2023-02-08T00:00:00Z: runs lie half before, half after
ROLLUP_LOCK = 5207662349051
COLUMNS = ("ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, options_id, sensor_id, dst_no, "
           "proto, ttl, tcp_flags, marks, src")
SETTINGS = ("shared_buffers = 1GB", "max_wal_size = 8GB", "checkpoint_timeout = 30min", "autovacuum = off")


class Shape:
    def __init__(self, name, label, sensors, batches, flows, writers, times=1):
        self.name, self.label = name, label
        self.times = times  # as many pairs as are asked for
        self.sensors, self.batches, self.flows, self.writers = sensors, batches, flows, writers

    def rows(self):
        return self.sensors * self.batches * self.flows

    def from_ms(self):
        return MIDNIGHT_MS - self.batches // 2 * 60000


SHAPES = (
    Shape("full", "full batches, two writers", 8, 40, 8192, 2),
    Shape("one-writer", "full batches, one writer", 8, 40, 8192, 1),
    Shape("small", "4 flows a batch, two writers", 1000, 100, 4, 2, 3),  # its runs are short
)


def cpu_of_postgres(pid):
    kids = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_s(pid, children=True) + sum(cpu_s(kid, children=True) for kid in kids)


def memory_of(pid, what):
    return int(re.search(rf"{what}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


class Bench:
    def __init__(self, postgres, work):
        self.pg, self.work = postgres, work
        self.conninfo = (f"host={postgres.directory} port={postgres.port} dbname={postgres.database} "
                         f"user=hirundo_admin password={postgres.password}")
        self.pg_pid = int((postgres.directory / "data" / "postmaster.pid").read_text().split()[0])
        self.runs = []

    def clear(self):
        """The state before each run: the partitions there, and empty."""
        self.pg.query("truncate hirundo.flow, hirundo.flood, hirundo.batch, hirundo.observation, hirundo.dirty")
        self.pg.query("checkpoint")

    def save_rows(self, path):
        with self.pg.connect() as conn, conn.cursor() as cursor, open(path, "wb") as f:
            cursor.copy_expert(f"copy (select {COLUMNS} from hirundo.flow) to stdout (format binary)", f)

    def ours(self, shape, load, collector):
        self.clear()
        before = collector.cpu_s(), cpu_of_postgres(self.pg_pid)
        load.stdin.write("go\n")
        load.stdin.flush()
        line = load.stdout.readline()
        found = re.search(r"([0-9.]+) s: .* (\d+) sent again; ([0-9.]+) s CPU", line)
        if not found:
            raise SystemExit(f"hirundo-load ended: {line}\n{collector.log()}")
        after = collector.cpu_s(), cpu_of_postgres(self.pg_pid)
        rows = self.pg.value("select count(*) from hirundo.flow")
        if rows != shape.rows():
            raise SystemExit(f"{rows} rows in the database, {shape.rows()} sent\n{collector.log()}")
        return {"seconds": float(found.group(1)), "again": int(found.group(2)), "generator": float(found.group(3)),
                "collector": after[0] - before[0], "postgres": after[1] - before[1],
                "rss": memory_of(collector.process.pid, "VmRSS")}

    def raw(self, path):
        self.clear()
        before = cpu_of_postgres(self.pg_pid)
        done = subprocess.run([build_directory() / "tests" / "bench" / "raw_copy", self.conninfo, path], text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        seconds, client = map(float, done.stdout.split())
        return {"seconds": seconds, "client": client, "postgres": cpu_of_postgres(self.pg_pid) - before}

    def measure(self, shape, keys_file, pairs):
        pairs *= shape.times
        rows_file = self.work / f"{shape.name}.rows"
        collector = Collector(self.pg, lines=[f"writers = {shape.writers}"], log_level="notice")
        collector.conninfo = self.conninfo
        with collector:
            load = subprocess.Popen(
                [program("hirundo-load"), "run", collector.endpoint, collector.server_key, keys_file, str(shape.batches),
                 str(shape.flows), str(shape.from_ms()), str(pairs + 1)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                ready = load.stdout.readline() + load.stdout.readline()
                print(f"{shape.label}: {shape.sensors} sensors x {shape.batches} x {shape.flows} flows; {ready}", end="",
                      file=sys.stderr)
                self.ours(shape, load, collector)  # partitions, caches
                self.save_rows(rows_file)
                self.raw(rows_file)
                for _ in range(pairs):
                    pair = {"shape": shape.name, "ours": self.ours(shape, load, collector), "raw": self.raw(rows_file)}
                    pair["peak_rss"] = memory_of(collector.process.pid, "VmHWM")
                    self.runs.append(pair)
                    print(f"  ours {shape.rows() / pair['ours']['seconds']:9.0f} rows/s"
                          f"   raw {shape.rows() / pair['raw']['seconds']:9.0f} rows/s"
                          f"   ratio {pair['raw']['seconds'] / pair['ours']['seconds']:.2f}", file=sys.stderr)
            finally:
                load.stdin.close()
                load.terminate()
                load.wait()
                rows_file.unlink(missing_ok=True)


def median(values):
    return statistics.median(list(values))


def spread(values, form="{:.2f}"):
    values = sorted(values)
    return "-".join(form.format(v) for v in (values[0], median(values), values[-1]))


def ratio_of(pairs):
    return median(p["raw"]["seconds"] / p["ours"]["seconds"] for p in pairs)


def report(shape, pairs):
    rows = shape.rows()
    ours, raw = [p["ours"] for p in pairs], [p["raw"] for p in pairs]
    print(f"{shape.label}: {shape.sensors} sensors x {shape.batches} batches x {shape.flows} flows = {rows} rows, "
          f"{len(pairs)} pairs (min-median-max)")
    print(f"  collector   {spread([rows / r['seconds'] for r in ours], '{:.0f}')} rows/s, "
          f"{median(shape.sensors * shape.batches / r['seconds'] for r in ours):.0f} batches/s")
    print(f"  raw COPY    {spread([rows / r['seconds'] for r in raw], '{:.0f}')} rows/s")
    print(f"  ratio       {spread([p['raw']['seconds'] / p['ours']['seconds'] for p in pairs])}")
    print(f"  CPU seconds collector {median(r['collector'] for r in ours):.2f}, PostgreSQL "
          f"{median(r['postgres'] for r in ours):.2f}, load generator {median(r['generator'] for r in ours):.2f} "
          f"in {median(r['seconds'] for r in ours):.2f} s;  raw: client {median(r['client'] for r in raw):.2f}, PostgreSQL "
          f"{median(r['postgres'] for r in raw):.2f} in {median(r['seconds'] for r in raw):.2f} s")
    per_row = [1e6 * median(r["collector"] + r["postgres"] for r in ours) / rows,
               1e6 * median(r["client"] + r["postgres"] for r in raw) / rows,
               1e6 * median(r["generator"] for r in ours) / rows]
    share = (per_row[0] + per_row[2]) / per_row[0]
    print(f"  CPU a row   collector and PostgreSQL {per_row[0]:.2f} us, generator {per_row[2]:.2f} us, raw {per_row[1]:.2f} us; "
          f"were the sensors elsewhere and the cores busy all the time: ratio about {ratio_of(pairs) * share:.2f}")
    print(f"  RSS         collector {median(r['rss'] for r in ours):.0f} MiB, peak {max(p['peak_rss'] for p in pairs):.0f} "
          f"MiB; sent again {sum(r['again'] for r in ours)}")


def main():
    work = pathlib.Path(sys.argv[1])
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    wanted = sys.argv[3:] or [s.name for s in SHAPES]
    shapes = [s for s in SHAPES if s.name in wanted]
    work.mkdir(parents=True, exist_ok=True)
    stop_on_signal()
    with Postgres(settings=SETTINGS) as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        bench = Bench(pg, work)
        with pg.connect() as conn, conn.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(%s)", (ROLLUP_LOCK,))
            for shape in shapes:
                keys_file = work / f"{shape.name}.keys"
                Keys(pg, shape.sensors, prefix=shape.name).write(keys_file)
                for table in ("sensor", "sensor_key"):  # as autovacuum would
                    pg.query(f"analyze hirundo.{table}")
                bench.measure(shape, keys_file, pairs)
    (work / "runs.json").write_text(json.dumps(bench.runs, indent=1))
    by = {s.name: [r for r in bench.runs if r["shape"] == s.name] for s in shapes}
    for shape in shapes:
        report(shape, by[shape.name])
    print(f"{os.cpu_count()} cores, load average now {os.getloadavg()[0]:.1f}")
    if by.get("full") and by.get("one-writer"):
        two, one = (median(r["ours"]["seconds"] for r in by[name]) for name in ("full", "one-writer"))
        print(f"two-writers: {one / two:.2f} times one")
    if by.get("full"):
        print(f"ratio: {ratio_of(by['full']):.2f}")
    if by.get("small"):
        print(f"small-batches: {ratio_of(by['small']):.2f}")


if __name__ == "__main__":
    main()
