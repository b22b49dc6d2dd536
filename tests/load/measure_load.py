#!/usr/bin/python3
"""A collector with many sensors: memory, handshakes after a restart, strangers at the door.

    measure_load.py WORK_DIRECTORY [SENSORS [STRANGERS]]

SENSORS (1,000) are played by hirundo-load with real CURVE sockets, STRANGERS (200) of each kind by tests/load/strangers.py:
silent connections, rubbish, a greeting that comes byte by byte, a greeting and nothing more, and unknown keys. Prints figures;
exit 1 if a sensor was not served, or if the collector had more than 128 MiB while its sensors idled or grew with the time that
strangers were at the door. Waits depend on the machine: they are printed, not judged.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / "integration"), str(TOP / "tests" / "load")]

from hirundo import Collector, Keys, Postgres, program, stop_on_signal, wait_for  # noqa: E402
from strangers import Strangers  # noqa: E402

RSS_MAX = 128
PING_MS = 1000
IDLE_S = 10


def memory_of(collector, what="VmRSS"):
    return collector.proc_status(what) / 1024


class Sensors:
    """hirundo-load idle: all keys of a file connect and ping."""

    def __init__(self, collector, keys_file, seconds):
        self.process = subprocess.Popen(
            [program("hirundo-load"), "idle", collector.endpoint, collector.server_key, keys_file, str(PING_MS), str(seconds)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def greeted(self):
        """Milliseconds until the last of them was served."""
        line = self.process.stdout.readline()
        found = re.search(r"the last after (\d+) ms", line)
        if not found:
            raise SystemExit(f"not all sensors were served: {line}")
        return int(found.group(1))

    def longest_wait(self):
        """Milliseconds; ends it."""
        line = self.process.stdout.readline()
        self.process.wait()
        found = re.search(r"(\d+) ms", line)
        if not found:
            raise SystemExit(f"the sensors ended: {line}")
        return int(found.group(1))


class Sleeper:
    """A process that sleeps 10 ms again and again: by how much it overslept is what the machine adds to every wait."""

    CODE = ("import sys, threading, time\nend = threading.Event()\n"
            "threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()\nworst = 0\n"
            "while not end.is_set():\n    start = time.monotonic()\n    time.sleep(0.01)\n"
            "    worst = max(worst, time.monotonic() - start - 0.01)\nprint(int(1000 * worst))")

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-B", "-c", self.CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def overslept(self):
        """Milliseconds at most; ends it."""
        return int(self.process.communicate()[0])


def greet(collector, keys_file, what, seconds=IDLE_S):
    cpu = collector.cpu_s()
    sensors = Sensors(collector, keys_file, seconds)
    ms = sensors.greeted()
    print(f"{what}: the last served after {ms} ms, {collector.cpu_s() - cpu:.2f} s CPU of the collector")
    return sensors


def drain(collector, keys_file, batches):
    done = subprocess.run([program("hirundo-load"), "run", collector.endpoint, collector.server_key, keys_file,
                           str(batches), "4", "1675814400000"], input="go\n", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"the backlog was not delivered: {done.stderr}")
    return done.stdout.splitlines()[-1]


def main():
    work = pathlib.Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    many = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    work.mkdir(parents=True, exist_ok=True)
    stop_on_signal()
    failed = []
    with Postgres(settings=("shared_buffers = 256MB",)) as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        keys_file = work / "sensors.keys"
        Keys(pg, count).write(keys_file)
        with Collector(pg, log_level="notice") as collector:
            empty = memory_of(collector)
            print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; {count} sensors")
            print(f"collector without a connection: {empty:.1f} MiB")

            greet(collector, keys_file, f"{count} sensors connecting at once").longest_wait()

            sensors = greet(collector, keys_file, "again")
            idle, open_files, cpu, start = memory_of(collector), collector.descriptors(), collector.cpu_s(), time.monotonic()
            print(f"connected and idle: {idle:.1f} MiB ({1024 * (idle - empty) / count:.1f} KiB a sensor), "
                  f"{open_files} descriptors")
            wait = sensors.longest_wait()
            used = (collector.cpu_s() - cpu) / (time.monotonic() - start)
            print(f"a ping a second each: longest wait for a pong {wait} ms, {100 * used:.1f}% of a core")

            sensors = Sensors(collector, keys_file, 6 * IDLE_S)
            sensors.greeted()
            collector.stop()
            start = time.monotonic()
            collector.start()
            print(f"restarted under them: ready after {1000 * (time.monotonic() - start):.0f} ms, longest wait for a pong "
                  f"{sensors.longest_wait()} ms from before the stop, {collector.cpu_s():.2f} s CPU of the collector")

            sleeper, sensors = Sleeper(), greet(collector, keys_file, "all at once after it", 5 * IDLE_S)
            wait = sensors.longest_wait()
            print(f"for {5 * IDLE_S} s without strangers: longest wait of a sensor {wait} ms, an idle process overslept by up to "
                  f"{sleeper.overslept()} ms")
            sleeper, sensors = Sleeper(), greet(collector, keys_file, "again", 5 * IDLE_S)
            before, cpu, start = memory_of(collector), collector.cpu_s(), time.monotonic()
            grown = []
            with Strangers(pg, collector, many, work) as strangers:
                for _ in range(3):
                    time.sleep(IDLE_S)  # a stretch of time to measure, not a condition
                    grown.append(memory_of(collector))
                    print(f"strangers, {many} of each of 5 kinds: {strangers.made} connections made so far, {strangers.cut} "
                          f"cut, {collector.descriptors()} descriptors, {grown[-1]:.1f} MiB (before {before:.1f})")
                used = (collector.cpu_s() - cpu) / (time.monotonic() - start)
            wait = sensors.longest_wait()
            print(f"with strangers at the door: longest wait of an enrolled sensor {wait} ms (aim: 1,000), an idle process overslept "
                  f"by up to {sleeper.overslept()} ms, {100 * used:.1f}% of a core")
            if grown[-1] > grown[0] + 8:
                failed.append("memory grows for strangers")

            print("backlog of 20 batches each: " + drain(collector, keys_file, 20))
            wait_for(lambda: collector.descriptors() < 200, "the connections to be closed")
            greet(collector, keys_file, "after the backlog").longest_wait()
            sensors = greet(collector, keys_file, "once more")
            last, peak = memory_of(collector), memory_of(collector, "VmHWM")
            sensors.longest_wait()
            print(f"after the backlog, connected and idle: {last:.1f} MiB; the most it ever had {peak:.1f} MiB")
            if max(idle, before, last) > RSS_MAX:
                failed.append(f"more than {RSS_MAX} MiB")
    print("failed: " + ", ".join(failed) if failed else "all served")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
