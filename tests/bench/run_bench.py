#!/usr/bin/python3
"""The sensor beside a libpcap loop that only parses headers, and beside other flow meters, on generated traces.

    run_bench.py BUILD WORK [RUNS [PACKETS [PROGRAMS]]]

Programs run pinned to one core, in turns, RUNS times (5) on each trace of PACKETS packets (5,000,000); PROGRAMS is a
regular expression that leaves out those whose name does not match, the loop never. CPU time is user plus
system as the kernel counts it. Ratios are the median over the turns of a turn's ratio: what slows the machine
down for a while slows both. A program that took more than LONG_S on a trace is not run on it again, which its row says.

Prints tables in Markdown, as docs/performance.md has them (into_docs.py), and keeps every run in WORK/runs.json.
"""
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import meters
import targets

TRACES = {"sensor": "background traffic to one address, a day",
          "slash24": "background traffic to 256 addresses, a day",
          "flood": "a SYN flood within a minute on one port, every packet from another source, a slow scan in it",
          "flood2": "the same on two ports: the table fills",
          "floodany": "the same on random ports: the table fills and no port is to blame"}
FOREIGN = ("sensor", "slash24", "flood", "flood2")
LONG_S = 30  # of CPU time: not repeated
LIMIT_S = 150  # of CPU time: given up
CORE = max(os.sched_getaffinity(0))


class Runs:
    """What a program did on a trace, turn by turn."""

    def __init__(self):
        self.cpu, self.rss, self.result, self.failed, self.long = {}, [], {}, None, False

    def once(self, build, work, meter, path, turn):
        folder = work / "out"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        command = [build / "tests/bench/launch", str(CORE), str(LIMIT_S), work / "usage", *meter.command(str(path), folder)]
        with open(work / "stdout", "wb") as out, open(work / "stderr", "wb") as err:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, check=True)
        status, cpu, rss = (work / "usage").read_text(encoding="ascii").split()
        if status != "0":
            self.failed = f"more than {LIMIT_S} s" if status == "-24" else f"ended with {status}"
            return
        self.cpu[turn] = float(cpu)
        self.rss.append(int(rss) / 1024)
        self.long = self.cpu[turn] > LONG_S
        if not self.result:
            self.result = meter.result(work, folder)


def make_trace(build, work, kind, packets):
    """(path, what the generator says is in it)"""
    path = work / f"{kind}-{packets}.pcap"
    truth = path.with_suffix(".json")
    if not truth.exists():
        done = subprocess.run([build / "tests/bench/gen_trace", kind, str(packets), path], check=True, capture_output=True)
        truth.write_bytes(done.stdout)
    return path, json.loads(truth.read_bytes())


def turns(build, work, found, traces, runs):
    """All of them, one after the other, so that a bad minute hits each alike."""
    done = {(meter.name, trace): Runs() for meter in found for trace in traces}
    for turn in range(runs):
        for trace, (path, _) in traces.items():
            path.read_bytes()  # into the page cache
            for meter in found:
                each = done[meter.name, trace]
                if each.failed or each.long or (meter.foreign and trace not in FOREIGN):
                    continue
                each.once(build, work, meter, path, turn)
        print(f"turn {turn + 1} of {runs} at {time.strftime('%H:%M:%S')}", file=sys.stderr)
    return done


def ratio(one, other):
    """How many times as much CPU one takes as other, turn by turn; the median."""
    both = [one.cpu[turn] / other.cpu[turn] for turn in one.cpu if turn in other.cpu]
    return statistics.median(both) if both else None


def exactness(result, truth):
    if "packets" not in result:
        return ""
    words = []
    for key in ("packets", "bytes"):
        if key in result and result[key] != truth[key]:
            words.append(f"{key} {result[key] / truth[key] * 100 - 100:+.1f}%")
    return "no: " + ", ".join(words) if words else "yes" if "bytes" in result else "packets"


def row(meter, each, loop, truth, runs):
    if each.failed:
        return [meter.name, "", "", "", "", each.failed]
    speed = ratio(loop, each)
    size = each.result.get("size")
    name = meter.name if len(each.cpu) == runs else f"{meter.name} ({len(each.cpu)} run)"
    return [name, f"{statistics.median(each.cpu.values()) / truth['packets'] * 1e9:.0f}", f"{speed:.2f}",
            f"{max(each.rss):.1f}", f"{size / each.result['flows']:.1f}" if size else "", exactness(each.result, truth)]


def print_traces(found, done, traces, runs):
    print("| trace | program | CPU ns/packet | speed against the loop | peak RSS MiB | bytes/flow | totals exact |")
    print("|---|---|--:|--:|--:|--:|---|")
    for trace, (_, truth) in traces.items():
        loop = done[found[0].name, trace]
        name = f"`{trace}`"
        for meter in found:
            each = done[meter.name, trace]
            if each.cpu or each.failed:
                print("| " + " | ".join([name, *row(meter, each, loop, truth, runs)]) + " |")
                name = ""


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    return f"{model}, {os.cpu_count()} cores"


def main():
    build, work = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    packets = int(sys.argv[4]) if len(sys.argv) > 4 else 5_000_000
    work.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    traces = {kind: make_trace(build, work, kind, packets) for kind in TRACES}
    with meters.sink() as udp:
        found, missing = meters.find(build, udp, sys.argv[5] if len(sys.argv) > 5 else "")
        done = turns(build, work, found, traces, runs)
    print(f"{packets:,} packets a trace, {runs} interleaved runs pinned to one core, {machine()}; load average {load:.1f} at "
          f"the start, {os.getloadavg()[0]:.1f} at the end.\n")
    for name in missing:
        print(f"Skipped: {name} is not installed.\n")
    print_traces(found, done, traces, runs)
    print()
    targets.print_table(build, work, done, traces, ratio)
    (work / "runs.json").write_text(json.dumps(
        [{"program": name, "trace": trace, "cpu_s": each.cpu, "rss_mib": each.rss} for (name, trace), each in done.items()],
        indent=1))
    for path, _ in traces.values():
        path.unlink()
        path.with_suffix(".json").unlink()


if __name__ == "__main__":
    main()
