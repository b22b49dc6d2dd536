#!/usr/bin/python3
"""The sensor beside a libpcap loop that only parses headers, and beside other flow meters, on generated traces.

    run_bench.py BUILD_DIRECTORY WORK_DIRECTORY [RUNS [PACKETS [PROGRAMS]]]

Every program runs pinned to one core, in turns, RUNS times (5) on each trace of PACKETS packets (5,000,000); PROGRAMS
is a regular expression that leaves out those whose name does not match, the loop never. CPU time is user
plus system as the kernel counts it; the median of the runs stands in the table, ratios are of medians. Prints a table in
Markdown, and keeps every run in WORK_DIRECTORY/runs.json.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys

TRACES = ("sensor", "slash24", "flood", "flood2")
PATIENCE_S = 90
CORE = max(os.sched_getaffinity(0))


class Meter:
    def __init__(self, name, command, output=None):
        self.name = name
        self.command = command  # trace, directory -> argument list
        self.output = output  # (standard output, directory) -> (frames, flows, bytes out), each may be None
        self.cpu, self.rss, self.result, self.failed = {}, {}, {}, {}

    def run(self, launch, trace, path, work):
        if trace in self.failed:
            return
        folder = work / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command = [launch, str(CORE), work / "usage", *self.command(str(path), folder)]
        with open(work / "stdout", "w+") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, cwd=folder,
                                       start_new_session=True)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.failed[trace] = "did not end"
                return
            out.seek(0)
            text = out.read()
        status, cpu, rss = (work / "usage").read_text().split()
        if status != "0":
            self.failed[trace] = f"failed with {status}"
            return
        self.cpu.setdefault(trace, []).append(float(cpu))
        self.rss.setdefault(trace, []).append(int(rss))
        self.result[trace] = self.output(text, folder) if self.output else (None, None, None)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def ours_summary(text, _):
    s = json.loads(text)
    return s["packets_in_flows"] + s["flood_packets"] + s["non_ip"] + s["malformed"], s["flows"], None


def ours_batches(text, _):
    s = json.loads(text)
    return s["frames"], s["flows"], s["payload"]


def nfdump_totals(_, folder):
    """What nfpcapd wrote, as nfdump -I adds it up."""
    packets = flows = 0
    for path in folder.iterdir():
        text = subprocess.run(["nfdump", "-I", "-r", path], capture_output=True, text=True).stdout
        packets += int((re.search(r"^Packets: (\d+)", text, re.M) or [0, 0])[1])
        flows += int((re.search(r"^Flows: (\d+)", text, re.M) or [0, 0])[1])
    return packets, flows, size_of(folder)


def sink():
    """A UDP port that nobody reads, for exporters that must send somewhere."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


def meters(build, udp):
    sensor, bench = build / "sensor" / "hirundo-sensor", build / "tests" / "bench"
    port = udp.getsockname()[1]
    found = [
        Meter("header loop", lambda t, _: [bench / "header_loop", t], lambda text, _: (int(text.split()[0]), None, None)),
        Meter("Hirundo, to flows", lambda t, _: [sensor, "flows", "--summary", t], ours_summary),
        Meter("Hirundo, to encoded batches", lambda t, _: [bench / "to_batches", t], ours_batches),
    ]
    if shutil.which("nfpcapd"):
        found.append(Meter("nfpcapd -y", lambda t, d: ["nfpcapd", "-y", "-r", t, "-w", d], nfdump_totals))
    if shutil.which("softflowd"):
        # -d stays in the foreground; with absolute paths it waits for its control socket
        found.append(Meter("softflowd", lambda t, d: ["softflowd", "-d", "-r", t, "-v", "9", "-n", f"127.0.0.1:{port}",
                                                     "-p", "pid", "-c", "ctl"]))
    if shutil.which("argus"):
        found.append(Meter("argus", lambda t, d: ["argus", "-F", "/dev/null", "-r", t, "-w", d / "argus"],
                           lambda _, d: (None, None, size_of(d))))
    return found


def row(meter, trace, packets, loop):
    if trace in meter.failed:
        return [meter.name, "-", "-", "-", "-", meter.failed[trace]]
    cpu = statistics.median(meter.cpu[trace])
    frames, flows, size = meter.result[trace]
    return [meter.name, f"{cpu / packets * 1e9:.0f}", f"{loop / cpu:.2f}", f"{max(meter.rss[trace]) / 1024:.1f}",
            "-" if not (size and flows) else f"{size / flows:.1f}",
            "-" if frames is None else "yes" if frames == packets else f"no, {packets - frames} missing"]


def main():
    build, work = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    packets = int(sys.argv[4]) if len(sys.argv) > 4 else 5_000_000
    only = sys.argv[5] if len(sys.argv) > 5 else ""
    work.mkdir(parents=True, exist_ok=True)
    for trace in TRACES:
        path = work / f"{trace}-{packets}.pcap"
        if not path.exists():
            subprocess.run([build / "tests" / "bench" / "gen_trace", trace, str(packets), path], check=True)
    with sink() as udp:
        loop, *others = meters(build, udp)
        found = [loop] + [meter for meter in others if re.search(only, meter.name)]
        for turn in range(runs):
            for trace in TRACES:
                for meter in found:
                    meter.run(build / "tests" / "bench" / "launch", trace, work / f"{trace}-{packets}.pcap", work)
            print(f"run {turn + 1} of {runs}", file=sys.stderr)
    for trace in TRACES:
        loop = statistics.median(found[0].cpu[trace])
        print(f"\n### {trace}: {packets:,} packets\n")
        print("| program | CPU ns/packet | speed against the loop | peak RSS MiB | bytes/flow | every packet counted |")
        print("|---|--:|--:|--:|--:|---|")
        for meter in found:
            print("| " + " | ".join(row(meter, trace, packets, loop)) + " |")
    (work / "runs.json").write_text(json.dumps([{"program": m.name, "cpu_s": m.cpu, "rss_kib": m.rss} for m in found], indent=1))
    shutil.rmtree(work / "out", ignore_errors=True)


if __name__ == "__main__":
    main()
