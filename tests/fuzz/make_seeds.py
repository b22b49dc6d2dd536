#!/usr/bin/python3
"""Writes the seeds of the fuzz targets: DIRECTORY/decode, flow_table, capture_file, window, import, bundle, case. Deterministic."""
import json
import pathlib
import random
import struct
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "golden"), str(TESTS / "lib")]

from flows import ether, icmp, ipv4, ipv6, pcap, pcapng, tcp, udp  # noqa: E402
from mmdb import Writer  # noqa: E402
from test_links import LINKS, ODD  # noqa: E402

# LINKTYPE in the file -> DLT in the program, where they differ
DLT = {100: 11, 101: 12}


def decode_seeds(folder):
    for name, (link, *frames) in {**LINKS, **{f"odd_{n}": (link, frame) for n, (link, frame, _) in ODD.items()}}.items():
        for i, frame in enumerate(frame for frame in frames if frame is not None):
            (folder / f"{name}_{i}").write_bytes(struct.pack(">HB", DLT.get(link, link), i) + frame)
    options = b"\2\4\5\xb4\4\2\x08\x0a" + b"\0" * 8 + b"\1\3\3\7"
    packets = {"options": ipv4(tcp(options=options)), "icmp": ipv4(icmp(), 1), "udp": ipv4(udp(), 17),
               "fragment": ipv4(b"\0" * 16, fragment=3), "first": ipv4(fragment=0x2000), "length_0": ipv4(length=0),
               "chain": ipv6(struct.pack(">BB6xBB14xBBHI", 43, 0, 44, 1, 6, 0, 1, 1) + tcp(), 0)}
    for name, packet in packets.items():
        (folder / name).write_bytes(struct.pack(">HB", 1, 0) + ether(packet, 0x86dd if name == "chain" else 0x0800))


def flow_table_seeds(folder, draw):
    for name, packets, sources, mask in (("few", 40, 4, 255), ("many", 900, 60000, 255), ("flood", 2400, 65000, 0xe0),
                                         ("floods", 2400, 65000, 255), ("windows", 2400, 65000, 255)):
        out = b""
        for i in range(packets):
            if name == "windows" and i % 1100 == 1099:
                out += b"\xff" * 5
            else:
                source = draw.randrange(sources)
                out += struct.pack(">HBBB", source, draw.randrange(256) & mask, draw.randrange(256),
                                   draw.randrange(256))
        (folder / name).write_bytes(out)


def capture_file_seeds(folder, draw):
    frames = [ether(ipv4()), ether(ipv4(udp(), 17)), ether(ipv6(), 0x86dd), ether(ipv4(icmp(), 1)), ether(b"\0" * 28, 0x0806)]
    for order, letter in (("<", "le"), (">", "be")):
        for nano in (False, True):
            pcap(folder / f"pcap_{letter}_{nano}", frames, order=order, nano=nano)
        ticks = [(0, 1675814400 * 10**6 + i * 10**6, frame) for i, frame in enumerate(frames)]
        pcapng(folder / f"pcapng_{letter}", [1], ticks, order)
    times = [(draw.randrange(2**32), draw.randrange(2**20)) for _ in range(40)]
    pcap(folder / "times", [ether(ipv4(ttl=i)) for i in range(40)], times=times)
    pcap(folder / "flood", [ipv4(src=struct.pack(">I", i)) for i in range(3000)], 101)
    pcapng(folder / "mixed", [1, 101], [(0, 10**15, frames[0]), (1, 10**15, ipv4())])
    pcapng(folder / "seconds", [1], [(0, 2**62, frames[0]), (0, 5, frames[1])], resolution=0)
    (folder / "empty").write_bytes(b"")
    (folder / "gzip").write_bytes(b"\x1f\x8b\x08\0")


def window_seeds(folder, draw):
    def event(kind, which=0, value=0, how=0, more=0):
        return struct.pack("<BBhBB", kind, which, value, how, more)

    minute = event(4, 0, 0, 0x60, 0xea)  # a tick of 60 s
    seeds = {
        "steady": (event(0, 1, 1, 16) * 70 + minute) * 3,
        "quiet": minute * 40 + event(0, 1, 1) + minute,
        "back": event(0, 1, 100) + event(0, 1, -90) + event(0, 1, 200) + event(0, 1, -1) + event(0, 0, -900),
        "gaps": b"".join(event(0, 2, 7 * (-1) ** i * i) for i in range(120)),
        "leaps": b"".join(event(0, 5, 3) + event(0, 5, -2) for _ in range(60)),
        "edges": b"".join(event(7, i, 0, i) for i in (2, 0, 1, 6, 3, 4, 5, 7, 6)),
        "clock_set": minute + event(4, 8 | 1, 300, 10) + minute + event(4, 8 | 1, -300, 10) + event(5, 0, 77) + minute,
        "captures": (event(0, 1, 30) + event(6)) * 80,
    }
    for name, events in seeds.items():
        for mode in (0, 1, 2, 2 | 8, 3 | 8, 4, 5):
            (folder / f"{name}_{mode}").write_bytes(bytes([mode]) + events)
    for i in range(6):
        (folder / f"any_{i}").write_bytes(bytes([i]) + draw.randbytes(1800))


def import_seeds(folder):
    """First byte: which reader (tests/fuzz/fuzz_import.c)."""
    texts = {0: b"10.0.0.0/8\t1\tJP\n10.1.0.0/16\tAS2\t\n2001:db8::/32\t\tus\n::/0\t3\tTW\n0.0.0.0/0\nx\n",
             1: b"1\tLVLT-1\nAS2\tB\xc3\xa9\n1\tagain\n", 2: b'name,prefixes,contacts,tlp\nA,"10.0.0.0/8; ::/0",x@y,RED\nB,1.2.3.4/32,,\n',
             3: b"# list\n10.0.0.1\n2001:db8::/32 # x\n", 4: b'prefix,name\n10.0.0.0/8,"a, b"\n10.0.0.0/9,c\n',
             5: "# from\ncountry,day,name\nJP,2023-02-23,天皇誕生日\nTW,2023-02-30,x\nTW,2023-02-28,\"a, b\"\nTW,2023-02-28,c\n".encode()}
    for kind, text in texts.items():
        (folder / f"text_{kind}").write_bytes(bytes([kind if kind == 5 else min(kind, 3)]) + text)
    for size in (24, 28, 32):
        database = Writer(6, "GeoLite2-City", size).insert("10.0.0.0/8", {"country": {"iso_code": "JP"}, "x": [True, 1, "y" * 40]})
        database.insert("10.1.0.0/16", {"autonomous_system_number": 7, "autonomous_system_organization": "é"})
        database.insert("2001:db8::/32", {"registered_country": {"iso_code": "US"}}).alias("::ffff:0:0/96").alias("2002::/16")
        (folder / f"mmdb_{size}").write_bytes(b"\4" + bytes(database))
    (folder / "mmdb_4").write_bytes(b"\4" + bytes(Writer(4).insert("0.0.0.0/1", {"autonomous_system_number": 1})))


# The public half of the key pair that fuzz_bundle makes of 32 bytes 7.
OPERATOR = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"


def bundle_seeds(folder):
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    head = ("# comment\n[bundle]\nformat = 1\nname = au-syd-1\ncountry = AU\nissued = 2023-01-01T00:00:00Z\n"
            f"expires = 2023-01-08T00:00:00Z\noperator = {OPERATOR}\n[collector]\nendpoint = tcp://192.0.2.1:4455\n"
            f"server_key = {key}\n")
    tail = "max_kbit = 0\n[capture]\nexclude = 192.0.2.9:tcp/22\n[flow]\nwindow = 60000ms\n[spool]\ncap = 268435456\n"
    (folder / "plain").write_text(head + tail)
    (folder / "next").write_text(head + f"next_endpoint = tcp://[2001:db8::1]:4456\nnext_server_key = {key}\n" + tail)
    (folder / "key").write_text(head + tail + f"[key]\npublic = {key}\nsecret = {key}\n")


def case_seeds(folder):
    def manifest(**changes):
        return json.dumps({"format": "hirundo case 1", "organisation": "Host & Co", "period": "2023Q1", "made": "2023-04-03T00:00:00Z", "tlp": "AMBER",
                           "files": [{"name": name, "bytes": size, "sha256": "ab" * 32} for name, size in (("case.en.txt", 10), ("events.csv", 1 << 40))],
                           **changes})
    (folder / "plain").write_text(manifest())
    (folder / "long").write_text(manifest(organisation="\u3042" * 400, tlp="x" * 99))
    (folder / "many").write_text(manifest(files=[{"name": f"f{i}", "bytes": i, "sha256": "0" * 64} for i in range(33)]))
    (folder / "types").write_text(manifest(files=[{"name": 1, "bytes": "1", "sha256": []}, [], None]))
    (folder / "deep").write_text(manifest(files=[[[[{}]]]]))


def main():
    top = pathlib.Path(sys.argv[1])
    for name, make in (("decode", lambda folder: decode_seeds(folder)),
                       ("flow_table", lambda folder: flow_table_seeds(folder, random.Random(1))),
                       ("window", lambda folder: window_seeds(folder, random.Random(3))),
                       ("capture_file", lambda folder: capture_file_seeds(folder, random.Random(2))),
                       ("import", import_seeds),
                       ("bundle", bundle_seeds),
                       ("case", case_seeds)):
        folder = top / name
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)


if __name__ == "__main__":
    main()
