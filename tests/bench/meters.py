"""The programs that the bench compares: how each is called, and what it says it counted."""
import json
import re
import shutil
import socket
import subprocess

LOOP, FLOWS, BATCHES = "header loop", "Hirundo, to flows", "Hirundo, to encoded batches"
NFPCAPD = "nfpcapd -y"


class Meter:
    def __init__(self, name, command, result, foreign=True):
        self.name = name
        self.command = command  # (trace, directory to write to) -> words
        self.result = result  # (directory of stdout and stderr, directory written to) -> packets, bytes, flows, size
        self.foreign = foreign


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def of_loop(work, _):
    words = (work / "stdout").read_text(encoding="ascii").split()
    return {"packets": int(words[0]), "bytes": int(words[4])}


def of_flows(work, _):
    s = json.loads((work / "stdout").read_bytes())
    return {"packets": s["packets_in_flows"] + s["flood_packets"], "bytes": s["bytes"], "flows": s["flows"]}


def of_batches(work, _):
    s = json.loads((work / "stdout").read_bytes())
    return {"packets": s["packets"], "bytes": s["bytes"], "flows": s["flows"], "size": s["payload"]}


def of_nfpcapd(_, folder):
    """What nfpcapd wrote, as nfdump -I adds it up."""
    total = {"packets": 0, "bytes": 0, "flows": 0, "size": size_of(folder)}
    for path in folder.iterdir():
        text = subprocess.run(["nfdump", "-I", "-r", path], capture_output=True, text=True, check=False).stdout
        for key in ("packets", "bytes", "flows"):
            found = re.search(rf"^{key.capitalize()}: (\d+)", text, re.M)
            total[key] += int(found[1]) if found else 0
    return total


def of_softflowd(work, _):
    """What it says at its end; the octets stand by protocol."""
    text = (work / "stdout").read_text(encoding="utf-8", errors="replace")
    packets = re.search(r"^Packets processed: (\d+)", text, re.M)
    octets = re.findall(r"^ +\w+ \(\d+\): +(\d+) +\d+ ", text, re.M)
    return {"packets": int(packets[1]), "bytes": sum(map(int, octets))} if packets else {}


def of_argus(_, folder):
    """Its bytes are those of frames, not of IP packets."""
    size = {"size": size_of(folder)}
    if not shutil.which("racount"):
        return {}
    text = subprocess.run(["racount", "-r", folder / "argus"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^ +sum +(\d+) +(\d+)", text, re.M)
    return {**size, "flows": int(found[1]), "packets": int(found[2])} if found else {}


def sink():
    """A UDP port that nobody reads, for exporters that must send somewhere."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    return s


def find(build, udp, only):
    """(those that are here, the loop first; names of those that are not)"""
    sensor, bench = build / "sensor/hirundo-sensor", build / "tests/bench"
    port = udp.getsockname()[1]
    ours = [
        Meter(LOOP, lambda t, _: [bench / "header_loop", t], of_loop, foreign=False),
        Meter(FLOWS, lambda t, _: [sensor, "flows", "--summary", t], of_flows, foreign=False),
        Meter(BATCHES, lambda t, _: [bench / "to_batches", t], of_batches, foreign=False),
    ]
    foreign = {
        "nfpcapd": Meter(NFPCAPD, lambda t, d: ["nfpcapd", "-y", "-r", t, "-w", d], of_nfpcapd),
        # -d stays in the foreground; with absolute paths it waits for its control socket
        "softflowd": Meter("softflowd", lambda t, _: ["softflowd", "-d", "-r", t, "-v", "9", "-n", f"127.0.0.1:{port}",
                                                     "-p", "pid", "-c", "ctl"], of_softflowd),
        "argus": Meter("argus", lambda t, d: ["argus", "-F", "/dev/null", "-r", t, "-w", d / "argus"], of_argus),
    }
    here = [meter for name, meter in foreign.items() if shutil.which(name)]
    missing = [name for name in foreign if not shutil.which(name)]
    return ours[:1] + [m for m in ours[1:] + here if re.search(only, m.name)], missing
