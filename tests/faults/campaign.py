"""The fault campaign: real sensors, collectors and PostgreSQL, harmed in every way, then compared with what was sent.

usage: campaign.py [--trace] RESULTS [FAULTS [SEED]]

Runs worlds of 20 faults each until FAULTS are done; world k has the seed SEED + k and stands by itself. Writes TAP and
report.txt into RESULTS. Needs root and network and mount namespaces of its own; see tests/suites/faults.sh.
"""
import argparse
import contextlib
import pathlib
import shutil
import sys
import tempfile
import time
from collections import Counter

import check
import faults
import world as worlds

PER_WORLD = 20
DRAIN_S = 300
MARKER_AGAIN_S = 10


class Campaign:
    def __init__(self, results, count, seed, trace):
        self.results, self.count, self.seed, self.trace = pathlib.Path(results), count, seed, trace
        self.kinds, self.figures = Counter(), Counter()
        self.failed = []
        self.lines = []

    def say(self, text):
        print(text, flush=True)

    def run(self):
        with tempfile.TemporaryDirectory(prefix="hirundo-faults-", dir="/var/tmp") as scratch:
            template = pathlib.Path(scratch) / "template"
            done = world = 0
            while done < self.count:
                n = min(PER_WORLD, self.count - done)
                self.one(pathlib.Path(scratch) / f"world{world}", template, self.seed + world, n)
                done += n
                world += 1
        return not self.failed

    def one(self, directory, template, seed, n):
        began = time.monotonic()
        name = f"{n} faults from seed {seed}"
        errors, figures, plan = self.attempt(directory, template, seed, n)
        self.kinds.update(fault.kind.name for fault in plan)
        self.figures.update(figures)
        seconds = time.monotonic() - began
        text = ", ".join(f"{value} {key}" for key, value in figures.items() if value)
        self.say(f"seed {seed}: {n} faults in {seconds:.0f} s: {text}")
        with open(self.results / "faults.tap", "a", encoding="utf-8") as tap:
            for error in errors[:40]:
                tap.write(f"# {error}\n")
                self.say(f"  {error}")
            if errors:
                self.failed.append(seed)
                self.keep(directory, seed)
                tap.write(f"# again: ./tests/run faults {n} {seed}; logs are in {self.results.name}/seed{seed}\n")
            tap.write(f"{'not ok' if errors else 'ok'} - {name}\n")
        shutil.rmtree(directory, ignore_errors=True)
        self.report()

    def attempt(self, directory, template, seed, n):
        world = worlds.World(seed, directory, template)
        shape = faults.Shape(world.n_sensors, world.n_collectors,
                             [i for i in range(world.n_sensors) if world.fakes_clock(i)])
        plan = faults.plan(seed, n, shape)
        trace = open(directory / "faults.log", "w", encoding="utf-8")  # pylint: disable=consider-using-with

        def note(text):
            trace.write(text + "\n")
            trace.flush()
            if self.trace:
                self.say(text)
        with trace:
            try:
                with world:
                    return (*self.live(world, plan, note), plan)
            except Exception as error:  # pylint: disable=broad-except
                return [f"the world failed: {error!r}"[:2000]], {}, plan

    @staticmethod
    def live(world, plan, note):
        world.traffic.start()
        time.sleep(2)
        errors = faults.Runner(world, plan, note).run()
        time.sleep(2)
        world.traffic.stop()
        began = time.monotonic()
        errors += drain(world)
        note(f"drained in {time.monotonic() - began:.1f} s")
        report = check.check(world)
        figures = dict(report.figures)
        errors += report.errors + end(world)
        figures["started again"] = sum(p.ended_alone for p in world.processes())
        figures["drain seconds"] = round(time.monotonic() - began)
        return errors, figures

    def keep(self, directory, seed):
        target = self.results / f"seed{seed}"
        target.mkdir(exist_ok=True)
        for path in directory.glob("*.log"):
            shutil.copy(path, target)

    def report(self):
        lines = [f"{'fault':32} {'times':>6}"]
        lines += [f"{kind:32} {times:6}" for kind, times in sorted(self.kinds.items())]
        lines += [f"{'all':32} {sum(self.kinds.values()):6}", ""]
        lines += [f"{key:32} {value:9}" for key, value in self.figures.items()]
        if self.failed:
            lines += ["", "failed seeds: " + " ".join(map(str, self.failed))]
        (self.results / "report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def drain(world, limit_s=DRAIN_S):
    """Sends each sensor a packet and waits until it has arrived: a spool is delivered in order, so all before is there.
    One that is sent while the sensor is being started again is lost: another follows."""
    last = {}  # sensor -> (the packet's number, when it was sent)
    until = time.monotonic() + limit_s
    waiting = list(world.sensors)
    while waiting and time.monotonic() < until:
        for sensor in waiting:
            if sensor not in last or time.monotonic() > last[sensor][1] + MARKER_AGAIN_S:
                last[sensor] = (world.traffic.one(sensor.number), time.monotonic())
        time.sleep(0.5)
        with contextlib.suppress(Exception):  # the database is on its way up
            waiting = [sensor for sensor in waiting if not check.has_packet(world, sensor, last[sensor][0])]
    return [f"{sensor.name}: nothing that was sent after the last fault has arrived within {limit_s} s"
            for sensor in waiting]


def end(world):
    """All must end in order now."""
    errors = []
    for process in [*world.sensors, *world.collectors]:
        with process.lock:
            process.wanted = False
            code = process.end()
            if code != 0:
                errors.append(f"{process.name} ended with {code}: {process.lines[-1:]}")
    return errors + world.crashes()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("results")
    parser.add_argument("faults", nargs="?", type=int, default=PER_WORLD)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    options = parser.parse_args()
    worlds.hirundo.stop_on_signal()
    campaign = Campaign(options.results, options.faults, options.seed, options.trace)
    ok = campaign.run()
    print((campaign.results / "report.txt").read_text(encoding="utf-8"))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
