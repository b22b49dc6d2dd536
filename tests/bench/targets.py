"""What the sensor is meant to reach, beside what it did."""
import csv
import io
import json
import os
import platform
import subprocess

from meters import BATCHES, FLOWS, LOOP, NFPCAPD

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "none")
STATIC = os.path.join(TOP, "deploy/static/out", f"hirundo-sensor-{ARCH}")
MINUTE = 1440  # windows in a day's trace


class Table:
    def __init__(self):
        print("| what | aim | measured | |")
        print("|---|--:|--:|---|")

    def row(self, what, aim, value, unit="", least=False, digits=3):
        if value is None:
            print(f"| {what} | {aim}{unit} | not measured | |")
            return
        reached = value >= aim if least else value <= aim
        print(f"| {what} | {'at least' if least else 'at most'} {aim}{unit} | {value:.{digits}f}{unit} | "
              f"{'reached' if reached else 'MISSED'} |")

    def exact(self, what, problems):
        print(f"| {what} | exact | {'exact' if not problems else '; '.join(problems)} | {'MISSED' if problems else 'reached'} |")


def speeds(table, done, traces, ratio):
    def least(program, other, kinds):
        found = [ratio(done[other, k], done[program, k]) for k in kinds if (other, k) in done and (program, k) in done]
        return min((value for value in found if value), default=None)

    calm = ("sensor", "slash24")
    table.row("to flows, against the loop", 0.60, least(FLOWS, LOOP, calm), least=True)
    table.row("to flows, against nfpcapd -y", 12, least(FLOWS, NFPCAPD, calm), least=True, digits=1)
    table.row("to encoded batches, against the loop", 0.30, least(BATCHES, LOOP, calm), least=True)
    table.row("to encoded batches, against nfpcapd -y", 6, least(BATCHES, NFPCAPD, calm), least=True, digits=1)
    table.row("full flood to flows, against the loop", 0.35, least(FLOWS, LOOP, ("flood", "flood2")), least=True)
    table.row("flood on random ports to flows, against the loop", 0.35, least(FLOWS, LOOP, ("floodany",)), least=True)


def totals(table, done, traces):
    problems = []
    for trace, (_, truth) in traces.items():
        for program in (FLOWS, BATCHES):
            each = done.get((program, trace))
            if each and any(each.result.get(key) != truth[key] for key in ("packets", "bytes")):
                problems.append(f"{program} on {trace}: {each.result or each.failed}")
    table.exact("packets and bytes of every trace", problems)


def slow_scan(sensor, path, truth):
    """Every row that flows prints, added up; the slow scan's rows counted. What is wrong."""
    text = subprocess.run([sensor, "flows", path], capture_output=True, text=True, check=True).stdout
    packets = size = slow = 0
    sources = set()
    for flow in csv.DictReader(io.StringIO(text)):
        packets += int(flow["packets"])
        size += int(flow["bytes"])
        if flow["port"] == "23" and flow["src"].startswith("192.0.2."):
            slow += int(flow["packets"])
            sources.add(flow["src"])
    problems = []
    if len(sources) != 50 or slow != truth["slow_packets"]:
        problems.append(f"{len(sources)} of 50 sources, {slow} of {truth['slow_packets']} packets")
    if packets != truth["packets"] or size != truth["bytes"]:
        problems.append(f"rows add up to {packets} packets and {size} bytes")
    return problems


def peak_rss(build, work, words):
    subprocess.run([build / "tests/bench/launch", str(max(os.sched_getaffinity(0))), "100", work / "usage", *words],
                   stdout=subprocess.DEVNULL, check=True)
    status, _, rss = (work / "usage").read_text(encoding="ascii").split()
    return int(rss) / 1024 if status == "0" else float("inf")


def memory(table, build, work, traces):
    """flows with all its rows, and its summary, which counts sources besides; whichever takes more."""
    programs = [("linked to Debian's libraries", build / "sensor/hirundo-sensor", 10, 18), ("static", STATIC, 6, 14)]
    for name, program, calm, flood in programs:
        for kind, aim, kinds in (("normal", calm, ("sensor", "slash24")), ("in a full flood", flood, ("flood", "flood2", "floodany"))):
            rss = None
            if os.path.exists(program):
                rss = max(peak_rss(build, work, [program, "flows", *words, traces[k][0]])
                          for k in kinds for words in ([], ["--summary"]))
            table.row(f"peak RSS offline, {name}, {kind}", aim, rss, " MiB", digits=1)


def per_flow(build, path, *words):
    done = subprocess.run([build / "tests/bench/to_batches", path, *words], capture_output=True, check=True)
    result = json.loads(done.stdout)
    return result["payload"] / result["flows"], result["flows"] / result["batches"]


def payloads(table, build, work, done):
    for trace in ("sensor", "slash24"):
        result = done[BATCHES, trace].result if (BATCHES, trace) in done else None
        table.row(f"payload a flow, full batches, `{trace}`", 12.0, result["size"] / result["flows"] if result else None, " B")
    for trace in ("sensor", "slash24"):
        path = work / "quiet.pcap"
        subprocess.run([build / "tests/bench/gen_trace", trace, str(100 * MINUTE), path], check=True, capture_output=True)
        size, flows = per_flow(build, path, "windows")
        path.unlink()
        table.row(f"payload a flow, {flows:.0f} flows a batch, `{trace}`", 16.5, size, " B")


def print_table(build, work, done, traces, ratio):
    table = Table()
    speeds(table, done, traces, ratio)
    totals(table, done, traces)
    for trace, many in (("flood", "one port"), ("flood2", "two ports")):
        table.exact(f"flood on {many}: 50 slow scanners of another port and all rows",
                    slow_scan(build / "sensor/hirundo-sensor", *traces[trace]))
    memory(table, build, work, traces)
    payloads(table, build, work, done)
