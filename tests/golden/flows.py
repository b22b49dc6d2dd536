"""hirundo-sensor flows as a function, and capture files made byte by byte."""
import csv
import io
import json
import os
import pathlib
import struct
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
SHARED = TOP.parent / "shared" / "captures"


def sensor():
    build = pathlib.Path(os.environ.get("HIRUNDO_BUILD", TOP / "build")).resolve()
    return str(build / "sensor" / "hirundo-sensor")


class Result:
    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.errors = process.stderr.splitlines()

    @property
    def summary(self):
        return json.loads(self.out)

    @property
    def rows(self):
        return list(csv.DictReader(io.StringIO(self.out)))


def flows(*arguments):
    process = subprocess.run([sensor(), "flows", *map(str, arguments)], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=120)
    assert process.returncode in (0, 1, 2), process.stderr
    assert "Sanitizer" not in process.stderr and "runtime error" not in process.stderr, process.stderr
    return Result(process)


def check_identities(s):
    """What holds for every summary, whatever was in the file."""
    assert s["frames"] == s["ipv4"] + s["ipv6"] + s["non_ip"] + s["malformed"]
    ip = s["ipv4"] + s["ipv6"]
    assert s["packets_in_flows"] + s["flood_packets"] == ip
    assert s["tcp"] + s["udp"] + s["icmp"] + s["icmpv6"] + s["other"] == ip


# Packets. Addresses are from documentation ranges.
SRC4, DST4 = bytes([192, 0, 2, 1]), bytes([198, 51, 100, 9])
SRC6 = bytes.fromhex("20010db8000000000000000000000001")
DST6 = bytes.fromhex("20010db8000000000000000000000002")


def tcp(sport=40000, dport=23, seq=1, flags=2, window=1024, options=b""):
    options += b"\0" * (-len(options) % 4)
    offset = (5 + len(options) // 4) << 4
    return struct.pack(">HHIIBBHHH", sport, dport, seq, 0, offset, flags, window, 0, 0) + options


def udp(sport=40000, dport=53, payload=b"x"):
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def icmp(kind=8, code=0, payload=b"\0" * 4):
    return struct.pack(">BBH", kind, code, 0) + payload


def ipv4(payload=None, proto=6, src=SRC4, dst=DST4, ttl=64, ident=1, fragment=0, length=None, options=b"", version=4):
    payload = tcp() if payload is None else payload
    ihl = 5 + len(options) // 4
    length = ihl * 4 + len(payload) if length is None else length
    return struct.pack(">BBHHHBBH4s4s", version << 4 | ihl, 0, length, ident, fragment, ttl, proto, 0, src, dst) \
        + options + payload


def ipv6(payload=None, proto=6, src=SRC6, dst=DST6, hops=64, length=None):
    payload = tcp() if payload is None else payload
    length = len(payload) if length is None else length
    return struct.pack(">IHBB16s16s", 6 << 28, length, proto, hops, src, dst) + payload


def ether(payload, kind=0x0800, tags=()):
    head = bytes.fromhex("020000000001020000000002")
    for tag in tags:
        head += struct.pack(">HH", tag, 7)
    return head + struct.pack(">H", kind) + payload


def pcap(path, frames, link=1, order="<", nano=False, snaplen=65535, times=None, start=1675814400):
    """Writes frames (bytes, or (bytes, length on the wire)) a millisecond apart from start on, or at times
    (seconds, fraction)."""
    magic = 0xa1b23c4d if nano else 0xa1b2c3d4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    for i, frame in enumerate(frames):
        data, wire = frame if isinstance(frame, tuple) else (frame, len(frame))
        seconds, fraction = times[i] if times else (start + i // 1000, i % 1000 * (1000000 if nano else 1000))
        out.append(struct.pack(order + "IIII", seconds & 0xffffffff, fraction, len(data), wire) + data)
    pathlib.Path(path).write_bytes(b"".join(out))
    return path


def pcapng(path, interfaces, frames, order="<", resolution=None, snaplens=None):
    """frames: (interface, ticks, bytes)."""
    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        size = 12 + len(body)
        return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)

    out = block(0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1))
    for link, snaplen in zip(interfaces, snaplens or [65535] * len(interfaces)):
        options = b""
        if resolution is not None:
            options = struct.pack(order + "HHB3x", 9, 1, resolution) + struct.pack(order + "HH", 0, 0)
        out += block(1, struct.pack(order + "HHI", link, 0, snaplen) + options)
    for interface, ticks, data in frames:
        out += block(6, struct.pack(order + "IIIII", interface, ticks >> 32, ticks & 0xffffffff, len(data), len(data))
                     + data)
    pathlib.Path(path).write_bytes(out)
    return path
