"""Hours of everything at once: 50 sensors, two collectors, faults, retention, rollups; what must stay flat is looked at.

usage: soak.py RESULTS [HOURS [SEED]]

A world of the fault campaign, with a fault every 12 s on average. Ten sensors and one collector are never killed themselves: their
memory and descriptors must not grow. Meanwhile the days of a past week are replayed again and again, rolled up, and dropped by
retention. At the end the database is compared with what was sent. Writes TAP and report.txt into RESULTS, and samples.tsv, a line
for each process and half minute. Needs root and network and mount namespaces of its own; see tests/suites/soak.sh.
"""
import argparse
import contextlib
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import threading
import time
import types

import campaign
import check
import faults
import world as worlds

sys.path.insert(0, str(worlds.TOP / "tests" / "integration"))

from test_delivery import Replayer, capture  # noqa: E402

SENSORS, STEADY = 50, 10  # the last ten are left alone
CAP_MIB = 2
RATE = 4  # packets a second for each sensor
FAULT_EVERY_S = 12
SAMPLE_S = 30
CYCLE_S = 120  # between two looks of retention
LIMIT_S = 300  # for a step of the past week
DAY_S = 86400
KEPT_DAYS = 3
PAST_DAYS, PAST_PACKETS = range(10, KEPT_DAYS, -1), 2000  # the past week, by how long ago, and packets of a day
GROWTH = 1.10  # what is flat grows by less, from the second quarter to the last
LAG_S = 5.0  # and batches come no later than this much more
PAST = ("select count(*) from hirundo.flow f join hirundo.sensor s using (sensor_id) where s.name like 'past-%%' and f.ts < now() - "
        "make_interval(days => %s)")
LAG = ("select extract(epoch from clock_timestamp() - max(b.last_window))::float8 from hirundo.sensor s join hirundo.batch b using "
       "(sensor_id) where s.name = any(%s) and b.outcome = 'committed' group by s.name")
SIZES = ("select pg_database_size(current_database()), (select count(*) from hirundo.flow), "
         "(select coalesce(sum(size), 0)::bigint from pg_ls_waldir()), (select coalesce(sum(dirty_hours), 0)::int from hirundo.rollup_lag), "
         "(select count(*) from pg_stat_activity where datname = current_database())")


def resident_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


class Samples:
    """What the processes, the disks and the database are like, every half minute."""

    def __init__(self, world, steady, path):
        self.world, self.steady = world, steady
        self.file = open(path, "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.file.write("second\twhat\tkey\tvalue\n")
        self.began = time.monotonic()
        self.rows = []  # (second, what, key, value)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def add(self, what, key, value):
        row = (time.monotonic() - self.began, what, key, value)
        self.rows.append(row)
        self.file.write("\t".join(str(round(x, 3) if isinstance(x, float) else x) for x in row) + "\n")

    def take(self):
        for process in self.world.processes():
            with contextlib.suppress(OSError, AttributeError, ValueError, IndexError):
                pid = process.process.pid
                self.add("rss KiB", process.name, resident_kib(pid))
                self.add("descriptors", process.name, len(os.listdir(f"/proc/{pid}/fd")))
        for sensor in self.world.sensors:
            with contextlib.suppress(OSError):
                self.add("spool KiB", sensor.name, sum(p.stat().st_size for p in sensor.spool.parent.glob("spool.db*")) / 1024)
        with contextlib.suppress(Exception):  # the database is harmed just now: no sample
            for (lag,) in self.world.database.query(LAG, [sensor.name for sensor in self.steady]):
                self.add("lag s", "steady", float(lag))
            size, rows, wal, dirty, sessions = self.world.database.query(SIZES)[0]
            self.add("database MiB", "all", size / 2**20)
            self.add("bytes a row", "all", size / max(1, rows))
            self.add("WAL MiB", "all", int(wal) / 2**20)
            self.add("dirty hours", "all", dirty)
            self.add("sessions", "all", sessions)
        self.file.flush()

    def _run(self):
        while not self.over.wait(SAMPLE_S):
            self.take()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.file.close()

    def quarter(self, number, what, keys):
        """The values of the first (0) to the last (3) quarter of the time."""
        whole = max(row[0] for row in self.rows)
        return [row[3] for row in self.rows
                if row[1] == what and row[2] in keys and number <= row[0] / whole * 4 <= number + 1]


class Past(threading.Thread):
    """Replays the days of a past week, lets them be rolled up, and lets retention drop them; again and again.

    Each week has a sensor of its own, which is enrolled when retention keeps old days: collectors read both at once, so one that lets
    it in takes what it brings."""

    def __init__(self, world, directory):
        super().__init__(daemon=True)
        self.world, self.directory = world, pathlib.Path(directory)
        steady = world.collectors[1]
        self.collector = types.SimpleNamespace(endpoint=f"tcp://127.0.0.1:{steady.port}", server_key=world.server_key, postgres=world.database)
        self.over, self.errors = threading.Event(), []
        self.cycles = self.packets = self.dropped = 0

    def run(self):
        try:
            while not self.over.is_set():
                self.cycle()
                self.over.wait(CYCLE_S)
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(f"the past week: {error!r}"[:1500])

    def insist(self, step, what):
        """Until it is true; the database may be away meanwhile, or be set back: each step begins with what it needs."""
        until = time.monotonic() + LIMIT_S
        last = None
        while time.monotonic() < until and not self.over.is_set():
            try:
                if step():
                    return
                last = None
            except Exception as error:  # pylint: disable=broad-except
                last = error
            self.over.wait(2)
        if not self.over.is_set():
            raise worlds.WorldError(f"waited {LIMIT_S} s in vain for {what}: {last!r}")

    def cycle(self):
        directory = self.directory / f"past{self.cycles}"
        directory.mkdir()
        sensor = Replayer(self.collector, directory, f"past-{self.cycles}", enroll=False)
        today = time.time() // DAY_S * DAY_S
        for day in PAST_DAYS:
            path = capture(directory / f"{day}.pcap", PAST_PACKETS, first=today - day * DAY_S + 3600 * (self.cycles % 20), sources=500)
            self.insist(lambda path=path: self.replay(sensor, path), f"{path} to be replayed")
        self.insist(self.maintain, "rollups of the past week")
        self.insist(self.drop, "retention to drop the past week")
        if not self.over.is_set():
            self.cycles += 1

    def keep(self, days):
        self.world.database.query("update hirundo.setting set value = %s where name = 'retention_flow'", f"{days} days")

    def replay(self, sensor, path):
        self.keep(60)
        self.world.database.query("delete from hirundo.flow_dropped")  # as an owner who loads these days anew
        if not self.world.database.value("select count(*) from hirundo.sensor where name = %s", sensor.name):
            sensor.enroll()
        done = sensor.replay(path)
        self.packets += PAST_PACKETS if done.returncode == 0 else 0
        return done.returncode == 0

    def maintain(self):
        return self.world.database.command("maintain", check=False).returncode == 0

    def drop(self):
        self.keep(KEPT_DAYS)
        before = self.world.database.value(PAST, KEPT_DAYS + 1)
        done = self.maintain()
        after = self.world.database.value(PAST, KEPT_DAYS + 1)
        self.dropped += before - after
        return done and after == 0

    def wrong(self):
        """A database that is set back may take some of a week with it, not most of all."""
        if not self.cycles:
            return [*self.errors, "no cycle was finished"]
        if self.dropped <= self.cycles * len(PAST_DAYS) * PAST_PACKETS / 2:
            return [*self.errors, f"only {self.dropped} rows of {self.cycles} weeks were there to be dropped"]
        return self.errors

    def stop(self):
        self.over.set()
        self.join(LIMIT_S)


class Soak:
    def __init__(self, results, hours, seed):
        self.results, self.hours, self.seed = pathlib.Path(results), hours, seed
        self.lines, self.verdicts = [], []

    def say(self, text):
        print(text, flush=True)
        self.lines.append(text)
        (self.results / "report.txt").write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def verdict(self, name, wrong=None):
        self.verdicts.append(not wrong)
        with open(self.results / "soak.tap", "a", encoding="utf-8") as tap:
            for line in ([wrong] if isinstance(wrong, str) else wrong or [])[:40]:
                tap.write(f"# {line}\n")
                self.say(f"  {line}")
            tap.write(f"{'not ok' if wrong else 'ok'} - {name}\n")

    def run(self):
        with tempfile.TemporaryDirectory(prefix="hirundo-soak-", dir="/var/tmp") as scratch:
            scratch = pathlib.Path(scratch)
            world = worlds.World(self.seed, scratch / "world", scratch / "template", sensors=SENSORS, rate=RATE, cap=f"{CAP_MIB}M",
                                 database_disk=f"{int(800 + 500 * self.hours)}m")
            try:
                with world:
                    self.live(world, scratch)
            except Exception as error:  # pylint: disable=broad-except
                self.verdict("the world lives", f"{error!r}"[:2000])
            if not all(self.verdicts):
                for path in (scratch / "world").glob("*.log"):
                    shutil.copy(path, self.results)
        return all(self.verdicts)

    def live(self, world, scratch):
        shape = faults.Shape(SENSORS - STEADY, 1, [i for i in range(SENSORS - STEADY) if world.fakes_clock(i)])
        seconds = self.hours * 3600
        count = max(1, int(seconds / FAULT_EVERY_S))
        plan = faults.plan(self.seed, count, shape, FAULT_EVERY_S, seconds)
        past = Past(world, scratch)
        began = time.monotonic()
        with Samples(world, world.sensors[SENSORS - STEADY:], self.results / "samples.tsv") as samples:
            world.traffic.start()
            past.start()
            with open(self.results / "faults.log", "w", encoding="utf-8") as log:
                errors = faults.Runner(world, plan, lambda text: print(text, file=log, flush=True)).run()
            time.sleep(max(0, began + seconds - time.monotonic()))
            past.stop()
            world.traffic.stop()
        self.say(f"{SENSORS} sensors, {len(world.collectors)} collectors, {(time.monotonic() - began) / 3600:.2f} hours, {count} faults, "
                 f"seed {self.seed}, load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores")
        errors += campaign.drain(world)
        report = check.check(world)
        self.say(", ".join(f"{value} {key}" for key, value in report.figures.items()))
        self.verdict("each packet is counted once, or what is missing is declared", errors + report.errors)
        self.say(f"the past week: {past.cycles} times {past.packets // max(1, past.cycles)} packets replayed, rolled up and dropped "
                 f"({past.dropped} rows)")
        self.verdict("retention and rollups run", past.wrong())
        self.flat(world, samples)
        self.verdict("all end in order", campaign.end(world))

    def flat(self, world, samples):
        sensors = [sensor.name for sensor in world.sensors[SENSORS - STEADY:]]
        steady = [("sensors left alone", sensors), ("the collector left alone", [world.collectors[1].name])]
        for who, keys in steady:
            for what, room in (("rss KiB", 512), ("descriptors", 4)):
                self.compare(samples, what, keys, who, room)
        everyone = [sensor.name for sensor in world.sensors]
        spools = [row[3] for row in samples.rows if row[1] == "spool KiB"]
        self.say(f"a spool with its log: at most {max(spools):.0f} KiB, its cap is {CAP_MIB} MiB")
        self.verdict("spools stay within twice their cap", f"{max(spools):.0f} KiB" if max(spools) > 2048 * CAP_MIB else None)
        self.compare(samples, "lag s", ["steady"], "sensors left alone", LAG_S)
        for what, room in (("bytes a row", 10), ("WAL MiB", 32), ("dirty hours", 60), ("sessions", 4)):
            self.compare(samples, what, ["all"], "the database", room)
        for who, keys in (("a sensor", everyone), ("a collector", [c.name for c in world.collectors])):
            values = [row[3] for row in samples.rows if row[1] == "rss KiB" and row[2] in keys]
            self.say(f"{who}: at most {max(values) / 1024:.1f} MiB")

    def compare(self, samples, what, keys, who, room):
        """The median of the last quarter beside that of the second; growth beyond GROWTH and room is no longer flat."""
        quarters = [samples.quarter(i, what, keys) for i in range(4)]
        if not all(quarters):
            self.verdict(f"{what}, {who}: flat", "a quarter of the time has no sample: run for longer")
            return
        medians = [statistics.median(values) for values in quarters]
        self.say(f"{what}, {who}: medians of the quarters {', '.join(f'{m:.1f}' for m in medians)}; most {max(map(max, quarters)):.1f}")
        grown = medians[3] > medians[1] * GROWTH and medians[3] > medians[1] + room
        self.verdict(f"{what}, {who}: flat", f"grown from {medians[1]:.1f} to {medians[3]:.1f}" if grown else None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("results")
    parser.add_argument("hours", nargs="?", type=float, default=1)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    options = parser.parse_args()
    worlds.hirundo.stop_on_signal()
    return 0 if Soak(options.results, options.hours, options.seed).run() else 1


if __name__ == "__main__":
    sys.exit(main())
