#!/usr/bin/python3
"""The static sensor live: ring, spool and uplink, on one end of a veth pair, with a real collector and database.

    run_live.py BENCH_BUILD WORK [SECONDS [PACKETS]]

Runs in a network namespace of its own, which tests/suites/bench-live.sh makes. The sensor's configuration is as it comes, save
for paths, key and interface. Measures memory and CPU time of a sensor that sees 10 packets a second, over SECONDS
(180), then how much memory it had at most through floods of PACKETS (2,000,000) from sources of their own on one port, two ports
and random ports, windows closed and batches delivered; and whether what it captured and what the kernel dropped add up to
what was sent. Prints a table in Markdown.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = map(str, (HERE.parent / "integration", HERE.parent / "static"))

import hirundo  # noqa: E402
import static_sensor  # noqa: E402
import targets  # noqa: E402

FLOODS = {"flood": "one port", "flood2": "two ports", "floodany": "random ports"}
RATE = 150_000  # frames a second
DELIVERY_S = 240  # a window, a batch's longest delay, and what the database takes


class Live:
    """A sensor of its own, in a directory of its own; frames go in at p0."""

    def __init__(self, build, directory, collector, name):
        self.build, self.collector, self.name, self.sent = build, collector, name, 0
        home = pathlib.Path(directory) / name
        (home / "spool").mkdir(parents=True)
        conf = static_sensor.configure(home, home, collector, "[capture]\ninterface = s0\n")
        words = static_sensor.command(static_sensor.MACHINE)
        key = subprocess.run([*words, "keygen", "-c", conf], text=True, capture_output=True, check=True).stdout.strip()
        collector.postgres.command("sensor", "add", name, "--country", "JP", "--key", key)
        self.server = hirundo.Server([*words, "run", "-c", str(conf)]).start()
        self.server.wait_log("connected to collector")
        self.proc = pathlib.Path("/proc") / str(self.server.process.pid)

    def memory(self, key):
        """VmRSS (now) or VmHWM (at most), MiB."""
        return int(re.search(rf"^{key}:\s*(\d+) kB", (self.proc / "status").read_text(encoding="ascii"), re.M)[1]) / 1024

    def cpu(self):
        """Seconds of CPU time of all its threads."""
        return sum(int(path.read_text(encoding="ascii").split()[0]) for path in self.proc.glob("task/*/schedstat")) / 1e9

    def send(self, path, rate, frames):
        done = subprocess.run([self.build / "tests/bench/send_trace", "p0", path, str(rate), str(frames)], check=True,
                              capture_output=True, text=True)
        self.sent += int(done.stdout)

    def arrived(self):
        """(frames, dropped before the sensor could see them), as the database has them"""
        return tuple(map(int, self.collector.postgres.query(
            "select coalesce(sum(o.frames), 0), coalesce(sum(o.kernel_dropped + o.if_dropped), 0) from hirundo.observation o "
            "join hirundo.sensor s using (sensor_id) where s.name = %s", self.name)[0]))

    def wait_delivered(self):
        hirundo.wait_for(lambda: sum(self.arrived()) >= self.sent, f"{self.sent} frames, {self.arrived()} are there", DELIVERY_S)
        return self.arrived()

    def end(self):
        if self.server.stop(60) != 0:
            raise AssertionError(self.server.log())


def make_trace(build, work, kind, packets):
    path = work / f"live-{kind}.pcap"
    subprocess.run([build / "tests/bench/gen_trace", kind, str(packets), path], check=True, capture_output=True)
    return path


def quiet(table, live, path, seconds):
    live.send(path, 10, 100)
    cpu, start = live.cpu(), time.monotonic()
    live.send(path, 10, 10 * seconds)
    share = (live.cpu() - cpu) / (time.monotonic() - start)
    table.row("peak RSS live, static, 10 packets a second", 18, live.memory("VmHWM"), " MiB", digits=1)
    table.row("CPU time, 10 packets a second, of one core", 0.2, share * 100, "%", digits=3)
    live.end()


def flooded(table, live, path, packets):
    live.send(path, RATE, packets)
    captured, dropped = live.wait_delivered()
    table.row(f"peak RSS live, static, flood on {FLOODS[live.name]}", 24, live.memory("VmHWM"), " MiB", digits=1)
    wrong = [] if captured + dropped == live.sent else [f"{live.sent} sent"]
    table.exact(f"captured {captured:,} + dropped {dropped:,} = sent", wrong)
    live.end()


def main():
    build, work = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 180
    packets = int(sys.argv[4]) if len(sys.argv) > 4 else 2_000_000
    work.mkdir(parents=True, exist_ok=True)
    # without it the interfaces send packets of their own
    pathlib.Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1", encoding="ascii")
    for words in ("link add s0 type veth peer name p0", "link set s0 up", "link set p0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    load = os.getloadavg()[0]
    print(f"{seconds} s at 10 packets a second, then {packets:,} packets a flood at {RATE:,} a second; load average {load:.1f} at "
          "the start.\n")
    table = targets.Table()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory, hirundo.Postgres() as postgres:
        postgres.migrate()
        with hirundo.Collector(postgres) as collector:
            path = make_trace(build, work, "sensor", 10 * seconds)
            quiet(table, Live(build, directory, collector, "quiet"), path, seconds)
            path.unlink()
            for kind in FLOODS:
                path = make_trace(build, work, kind, packets)
                flooded(table, Live(build, directory, collector, kind), path, packets)
                path.unlink()


if __name__ == "__main__":
    hirundo.stop_on_signal()
    main()
