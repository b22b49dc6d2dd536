"""Captures made here, one for each link type and each hostile shape, with what must come of them."""
import datetime
import gzip
import ipaddress
import json
import os
import random
import struct
import threading

import pytest

from flows import (DST4, SRC4, check_identities, ether, flows, icmp, ipv4, ipv6, pcap, pcapng, tcp, udp)

MPLS_ONE = struct.pack(">I", 16 << 12 | 1 << 8 | 64)
MPLS_TWO = struct.pack(">I", 17 << 12 | 64) + MPLS_ONE


def pppoe(payload):
    return struct.pack(">BBHH", 0x11, 0, 1, len(payload)) + payload


def radiotap(control, header, payload):
    return struct.pack("<BBHI", 0, 0, 8, 0) + struct.pack("<H", control) + b"\0" * (header - 2) + payload


def attribute(kind, value, order="<"):
    return struct.pack(order + "HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nflog(family, payload, order="<"):
    return struct.pack(">BBH", family, 0, 0) + attribute(10, b"prefix\0", order) + attribute(9, payload, order)


SNAP = bytes.fromhex("aaaa03000000")
LINKS = {  # name: link type, frame with IPv4, frame with IPv6
    "ethernet": (1, ether(ipv4()), ether(ipv6(), 0x86dd)),
    "vlan": (1, ether(ipv4(), tags=[0x8100]), ether(ipv6(), 0x86dd, tags=[0x8100])),
    "qinq": (1, ether(ipv4(), tags=[0x88a8, 0x8100]), ether(ipv6(), 0x86dd, tags=[0x88a8, 0x8100])),
    "qinqinq": (1, ether(ipv4(), tags=[0x9100, 0x9200, 0x9300]), ether(ipv6(), 0x86dd, tags=[0x9100, 0x8100, 0x8100])),
    "mpls": (1, ether(MPLS_TWO + ipv4(), 0x8847), ether(MPLS_ONE + ipv6(), 0x8848)),
    "pppoe": (1, ether(pppoe(b"\0\x21" + ipv4()), 0x8864), ether(pppoe(b"\0\x57" + ipv6()), 0x8864)),
    "pppoe_qinq": (1, ether(pppoe(b"\x21" + ipv4()), 0x8864, tags=[0x88a8, 0x8100]),
                   ether(pppoe(b"\x57" + ipv6()), 0x8864, tags=[0x88a8, 0x8100])),
    "snap": (1, ether(SNAP + b"\x08\0" + ipv4(), 48), ether(SNAP + b"\x86\xdd" + ipv6(), 68)),
    "snap_vlan": (1, ether(SNAP + b"\x81\0\0\x07\x08\0" + ipv4(), 52), ether(SNAP + b"\x86\xdd" + ipv6(), 68)),
    "llc_ip": (1, ether(b"\6\6\3" + ipv4(), 43), ether(b"\6\6\3" + ipv6(), 63)),
    "null_le": (0, struct.pack("<I", 2) + ipv4(), struct.pack("<I", 24) + ipv6()),
    "null_be": (0, struct.pack(">I", 2) + ipv4(), struct.pack(">I", 28) + ipv6()),
    "loop": (108, struct.pack(">I", 2) + ipv4(), struct.pack(">I", 30) + ipv6()),
    "raw": (101, ipv4(), ipv6()),
    "raw_12": (12, ipv4(), ipv6()),
    "raw_14": (14, ipv4(), ipv6()),
    "sll": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800) + ipv4(),
            struct.pack(">HHH8sH", 0, 1, 6, b"", 0x8100) + b"\0\7\x86\xdd" + ipv6()),
    # as Linux 6.10 and later writes it: the innermost protocol before the tags that are left
    "sll_qinq": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x88a8) + b"\0\7\x08\0\0\7\x08\0" + ipv4(),
                 struct.pack(">HHH8sH", 0, 1, 6, b"", 0x88a8) + b"\0\7\x86\xdd\0\7\x81\0\0\7\x86\xdd" + ipv6()),
    "sll_tag_llc": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x8100) + b"\0\7\0\x30" + SNAP + b"\x08\0" + ipv4(),
                    struct.pack(">HHH8sH", 0, 1, 6, b"", 0x9100) + b"\0\7\x81\0\0\7\x86\xdd" + ipv6()),
    "sll_llc": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 4) + SNAP + b"\x08\0" + ipv4(),
                struct.pack(">HHH8sH", 0, 1, 6, b"", 0x86dd) + ipv6()),
    "sll2": (276, struct.pack(">HHIHBB8s", 0x0800, 0, 2, 1, 0, 6, b"") + ipv4(),
             struct.pack(">HHIHBB8s", 0x86dd, 0, 2, 1, 0, 6, b"") + ipv6()),
    "ppp": (9, b"\xff\3\0\x21" + ipv4(), b"\0\x57" + ipv6()),
    "ppp_short": (9, b"\x21" + ipv4(), b"\xff\3\x57" + ipv6()),
    "ppp_mpls": (9, b"\xff\3\2\x81" + MPLS_ONE + ipv4(), b"\xff\3\2\x83" + MPLS_TWO + ipv6()),
    "ppp_serial": (50, b"\xff\3\0\x21" + ipv4(), b"\x0f\0\x86\xdd" + ipv6()),
    "ppp_direction": (204, b"\0\xff\3\0\x21" + ipv4(), b"\1\xff\3\0\x57" + ipv6()),
    "ppp_ether": (51, pppoe(b"\0\x21" + ipv4()), pppoe(b"\0\x57" + ipv6())),
    "chdlc": (104, b"\x0f\0\x08\0" + ipv4(), b"\x8f\0\x86\xdd" + ipv6()),
    "frame_relay": (107, b"\x18\x41\3\xcc" + ipv4(), b"\x18\x41\3\0\x8e" + ipv6()),
    "frame_relay_snap": (107, b"\x18\x41\3\0\x80\0\0\0\x08\0" + ipv4(), b"\x18\x41\x86\xdd" + ipv6()),
    "atm": (100, SNAP + b"\x08\0" + ipv4(), SNAP + b"\x86\xdd" + ipv6()),
    "nflog": (239, nflog(2, ipv4()), nflog(10, ipv6())),
    "802.11": (105, radiotap(0x0108, 24, SNAP + b"\x08\0" + ipv4())[8:],
               radiotap(0x0388, 32, SNAP + b"\x86\xdd" + ipv6())[8:]),
    "radiotap": (127, radiotap(0x0108, 24, SNAP + b"\x08\0" + ipv4()),
                 radiotap(0x8188, 30, SNAP + b"\x86\xdd" + ipv6())),
    "ipv4": (228, ipv4(), None),
    "ipv6": (229, None, ipv6()),
    "brcm": (282, b"\0\0\0\0" + ether(ipv4()), b"\0\0\0\0" + ether(ipv6(), 0x86dd)),
    "dsa": (284, ether(b"", 0)[:12] + b"\0\0\0\0\x08\0" + ipv4(), ether(b"", 0)[:12] + b"\0\0\0\0\x86\xdd" + ipv6()),
    "edsa": (285, ether(b"", 0)[:12] + b"\xda\xda\0\0\0\0\0\0\x08\0" + ipv4(),
             ether(b"", 0)[:12] + b"\xda\xda\0\0\0\0\0\0\x86\xdd" + ipv6()),
    "pktap": (258, struct.pack("<III", 12, 1, 1) + ether(ipv4()), struct.pack("<III", 16, 1, 12) + b"\0" * 4 + ipv6()),
}


@pytest.mark.parametrize("name", sorted(LINKS))
def test_link_type(name, tmp_path):
    link, four, six = LINKS[name]
    frames = [frame for frame in (four, six) if frame is not None]
    path = pcap(tmp_path / "x.pcap", frames, link)
    result = flows(path)
    assert result.status == 0, result.errors
    got = [(row["src"], row["proto"], row["port"], row["ttl"], row["marks"]) for row in result.rows]
    want = []
    if four is not None:
        want.append(("192.0.2.1", "6", "23", "64", "0"))
    if six is not None:
        want.append(("2001:db8::1", "6", "23", "64", "0"))
    assert got == want


@pytest.mark.parametrize("name", sorted(LINKS))
def test_link_type_cut_at_every_length(name, tmp_path):
    """Every length gives one frame in one place, and only a complete IP header is a packet."""
    link, four, six = LINKS[name]
    for frame, size in ((four, 40), (six, 60)):
        if frame is None:
            continue
        # every length but 0, each as if a snaplen had cut it
        cuts = [(frame[:n], len(frame)) for n in range(1, len(frame) + 1)]
        summary = flows("--summary", pcap(tmp_path / "x.pcap", cuts, link)).summary
        check_identities(summary)
        assert summary["frames"] == len(cuts)
        assert summary["ipv4"] + summary["ipv6"] == summary["tcp"] == 21  # the header, and 1 to 20 bytes of TCP


ODD = {  # name: link type, frame, what the summary counts it as
    "arp": (1, ether(b"\0" * 28, 0x0806), "non_ip"),
    "lldp": (1, ether(b"\0" * 28, 0x88cc), "non_ip"),
    "stp": (1, ether(b"\x42\x42\3" + b"\0" * 35, 38), "non_ip"),
    "ipx": (1, ether(b"\xff\xff" + b"\0" * 30, 32), "non_ip"),
    "snap_other": (1, ether(b"\xaa\xaa\3\0\0\x0c\x20\0" + b"\0" * 20, 28), "non_ip"),
    "snap_length": (1, ether(SNAP + b"\0\x20" + b"\0" * 30, 38), "non_ip"),
    "vlan_only": (1, ether(b"\0\7", 0x8100), "malformed"),
    "pppoe_discovery": (1, ether(pppoe(b""), 0x8863), "non_ip"),
    "ppp_lcp": (9, b"\xff\3\xc0\x21" + b"\0" * 10, "non_ip"),
    "mpls_pseudowire": (1, ether(MPLS_ONE + b"\0\0\0\0" + ether(ipv4()), 0x8847), "non_ip"),
    "mpls_endless": (1, ether(b"\0" * 400, 0x8847), "malformed"),
    "loopback_other": (0, struct.pack("<I", 7) + ipv4(), "non_ip"),
    "netlink": (113, struct.pack(">HHH8sH", 0, 824, 0, b"", 0x0800) + ipv4(), "non_ip"),
    "sll_tag_cut": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x8100) + b"\0\7\x08", "malformed"),
    "sll_no_ip": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800) + b"\0\7\x12\x34" + ipv4(), "malformed"),
    "sll_no_ip_cut": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800) + b"\0\7\x08", "malformed"),
    "sll_8023": (113, struct.pack(">HHH8sH", 0, 1, 6, b"", 1) + ipv4(), "non_ip"),
    "nflog_bridge": (239, nflog(7, ipv4()), "non_ip"),
    "nflog_no_payload": (239, struct.pack(">BBH", 2, 0, 0) + attribute(10, b"x\0"), "non_ip"),
    "nflog_attribute_of_0": (239, struct.pack(">BBH", 2, 0, 0) + b"\0" * 8, "malformed"),
    "beacon": (127, radiotap(0x0080, 24, b"\0" * 30), "non_ip"),
    "wifi_encrypted": (127, radiotap(0x4108, 24, SNAP + b"\x08\0" + ipv4()), "non_ip"),
    "wifi_null": (127, radiotap(0x0148, 24, b""), "non_ip"),
    "pktap_in_pktap": (258, struct.pack("<III", 12, 1, 258) * 9, "non_ip"),
    "pktap_unknown": (258, struct.pack("<III", 12, 1, 9999) + ipv4(), "non_ip"),
    "pktap_short_header": (258, struct.pack("<III", 4, 1, 1) + ether(ipv4()), "malformed"),
    "version_5": (1, ether(ipv4(version=5)), "malformed"),
    "ihl_4": (1, ether(b"\x44" + ipv4()[1:]), "malformed"),
    "ihl_beyond": (1, ether(b"\x4f" + ipv4()[1:]), "malformed"),
    "ipv6_as_ipv4": (1, ether(ipv6(), 0x0800), "malformed"),
    "ipv4_as_ipv6": (1, ether(ipv4() + b"\0" * 40, 0x86dd), "malformed"),
    "ipv6_of_39": (1, ether(ipv6()[:39], 0x86dd), "malformed"),
    "empty_ip": (1, ether(b""), "malformed"),
    "dlt_ipv4_with_6": (228, ipv6(), "malformed"),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_frame(name, tmp_path):
    link, frame, kind = ODD[name]
    summary = flows("--summary", pcap(tmp_path / "x.pcap", [frame], link)).summary
    check_identities(summary)
    assert summary["frames"] == 1 and summary[kind] == 1
    assert summary["ttl_min"] is None and summary["ttl_max"] is None


def one_row(path):
    rows = flows(path).rows
    assert len(rows) == 1
    return rows[0]


def test_tunnels_count_as_their_outer_packet(tmp_path):
    inner = ipv4(ttl=9)
    quoted = icmp(3, 3, b"\0" * 4 + ipv4(udp(), 17)[:28])
    frames = [ether(ipv4(inner, 4)), ether(ipv4(b"\0\0\x08\0" + inner, 47)), ether(ipv4(ipv6(), 41)),
              ether(ipv6(ipv6(hops=3), 41), 0x86dd), ether(ipv4(quoted, 1)),
              ether(ipv4(udp(dport=4789, payload=b"\x08" + b"\0" * 7 + ether(inner)), 17))]
    rows = flows(pcap(tmp_path / "x.pcap", frames)).rows
    assert [row["ttl"] for row in rows] == ["64"] * 6
    assert [row["proto"] for row in rows] == ["4", "47", "41", "41", "1", "17"]
    assert [row["port"] for row in rows] == ["", "", "", "", "771", "4789"]
    assert (rows[4]["icmp_type"], rows[4]["icmp_code"]) == ("3", "3")


def test_every_protocol_is_a_row(tmp_path):
    frames = [ether(ipv4(b"\0" * 20, proto)) for proto in range(256)]
    rows = flows(pcap(tmp_path / "x.pcap", frames)).rows
    assert sorted(int(row["proto"]) for row in rows) == list(range(256))
    assert {row["proto"] for row in rows if row["port"]} == {"1", "6", "17"}


def test_extension_headers(tmp_path):
    def ext(following, size=0):
        return struct.pack(">BB", following, size) + b"\0" * (6 + size * 8)

    frames = [
        ipv6(ext(43) + ext(60, 2) + ext(6) + tcp(), 0),
        ipv6(struct.pack(">BBHI", 6, 0, 0, 1) + tcp(), 44),  # an atomic fragment
        ipv6(struct.pack(">BBHI", 17, 0, 8 << 3, 1) + b"\0" * 8, 44),  # a later one
        ipv6(ext(6)[:5], 60),
        ipv6(b"", 59),
        ipv6(ext(6, 4) + tcp(), 51),
        ipv6(b"\0" * 20, 50),
    ]
    rows = flows(pcap(tmp_path / "x.pcap", frames, 101)).rows
    got = [(row["proto"], row["port"], row["marks"]) for row in rows]
    assert got == [("6", "23", "0"), ("6", "23", "4"), ("17", "", "4"), ("60", "", "8"), ("59", "", "0"), ("51", "", "0"),
                   ("50", "", "0")]


def test_fragments(tmp_path):
    frames = [ether(ipv4(fragment=0x2000)), ether(ipv4(b"\0" * 16, fragment=0x2003)), ether(ipv4(b"\0" * 8, fragment=5))]
    path = pcap(tmp_path / "x.pcap", frames)
    rows = flows(path).rows
    assert [(row["port"], row["marks"], row["packets"], row["src_port"]) for row in rows] == \
        [("23", "4", "1", "40000"), ("", "4", "2", "")]
    assert flows("--summary", path).summary["fragments"] == 3


@pytest.mark.parametrize("left, port, flags, window", [
    (0, "", "", ""), (3, "", "", ""), (4, "23", "0x00", ""), (13, "23", "0x00", ""), (14, "23", "0x02", ""),
    (16, "23", "0x02", "1024"), (19, "23", "0x02", "1024")])
def test_cut_transport_header(tmp_path, left, port, flags, window):
    """By the snaplen, and by the IP header's own length: the same."""
    for frame in (ether(ipv4()[:20 + left]), ether(ipv4(length=20 + left))):
        row = one_row(pcap(tmp_path / "x.pcap", [(frame, 54)]))
        assert (row["port"], row["tcp_flags"], row["tcp_window"], row["marks"]) == (port, flags, window, "8")


def test_padding_is_not_payload(tmp_path):
    row = one_row(pcap(tmp_path / "x.pcap", [ether(ipv4(b"\0\1", 17) + b"\0" * 40)]))
    assert (row["port"], row["marks"], row["bytes"]) == ("", "8", "22")


def test_length_0_is_what_the_frame_held(tmp_path):
    jumbo = ipv6(struct.pack(">BBBBI", 6, 0, 0xc2, 4, 70000) + tcp(), 0, length=0)
    frames = [(ether(ipv4(length=0)), 70014), (ether(jumbo, 0x86dd), 80014), (ether(ipv6(length=0, hops=63), 0x86dd), 90014),
              (ether(ipv6(b"", 59, length=0) + b"\0" * 6, 0x86dd), 60)]
    rows = flows(pcap(tmp_path / "x.pcap", frames)).rows
    assert [(row["ip_len"], row["bytes"]) for row in rows] == [("70000",) * 2, ("80000",) * 2, ("90000",) * 2, ("40",) * 2]


@pytest.mark.parametrize("options, text", [
    (b"", ""),
    (b"\2\4\5\xb4", "mss=1460"),
    (b"\2\4\5\xb4\4\2\x08\x0a" + b"\0" * 8 + b"\1\3\3\7", "mss=1460,sok,ts,nop,ws=7"),
    (b"\1\1\5\x0a" + b"\0" * 8, "nop,nop,sack"),
    (b"\xfd\4\0\0\0\xff\xff\xff", "?253,eol"),
    (b"\2\3\5\xb4", "mss=0,..."),  # a length of 3 is no MSS, and 0xb4 then has no length
    (b"\2\0\5\xb4", "..."),
    (b"\3\x22\7\1", "..."),
    (b"\1" * 20, ",".join(["nop"] * 14) + ",..."),
    (b"\3\3\0\0", "ws=0,eol"),
])
def test_tcp_options(tmp_path, options, text):
    row = one_row(pcap(tmp_path / "x.pcap", [ether(ipv4(tcp(options=options)))]))
    assert row["tcp_options"] == text


def test_tcp_data_offset_that_lies(tmp_path):
    short, long = bytearray(tcp()), bytearray(tcp())
    short[12], long[12] = 0x40, 0xf0
    rows = flows(pcap(tmp_path / "x.pcap", [ether(ipv4(bytes(short))), ether(ipv4(bytes(long), ttl=65))])).rows
    assert [(row["marks"], row["port"], row["tcp_options"]) for row in rows] == [("8", "23", "")] * 2


def test_marks_of_tools(tmp_path):
    dst = int.from_bytes(DST4, "big")
    frames = [
        ether(ipv4(tcp(seq=dst))),
        ether(ipv4(tcp(seq=77, dport=23), ident=(dst ^ 23 ^ 77) & 0xffff, ttl=65)),
        ether(ipv4(tcp(seq=dst, dport=23), ident=23, ttl=66)),
        ether(ipv4(tcp(seq=dst ^ 1), ttl=67)),
        ether(ipv4(udp(), 17, ttl=68)),
    ]
    rows = flows(pcap(tmp_path / "x.pcap", frames)).rows
    assert [row["marks"] for row in rows] == ["1", "2", "3", "0", "0"]


@pytest.mark.parametrize("src, dst, marks", [
    ("192.0.2.1", "224.0.0.1", "16"), ("192.0.2.1", "239.255.255.250", "16"), ("192.0.2.1", "240.0.0.1", "0"),
    ("192.0.2.1", "255.255.255.255", "16"), ("169.254.3.4", "192.0.2.1", "16"), ("192.0.2.1", "169.253.0.1", "0"),
    ("2001:db8::1", "ff02::1", "16"), ("fe80::1", "2001:db8::1", "16"), ("febf::1", "2001:db8::1", "16"),
    ("fec0::1", "2001:db8::1", "0"), ("2001:db8::1", "2001:db8::2", "0")])
def test_local_mark(tmp_path, src, dst, marks):
    src, dst = (ipaddress.ip_address(a).packed for a in (src, dst))
    payload = udp()
    if len(src) == 4:
        packet = ipv4(payload, 17, src, dst)
    else:
        packet = struct.pack(">IHBB16s16s", 6 << 28, len(payload), 17, 64, src, dst) + payload
    assert one_row(pcap(tmp_path / "x.pcap", [packet], 101))["marks"] == marks


def test_raw_columns_are_the_first_packets(tmp_path):
    frames = [ether(ipv4(tcp(sport=1000, window=11), ident=5)), ether(ipv4(tcp(sport=2000, window=22), ident=6)),
              ether(ipv4(tcp(sport=3000, window=33, options=b"\1\1\1\1"), ident=7))]
    row = one_row(pcap(tmp_path / "x.pcap", frames))
    assert row["ts"] == "2023-02-08T00:00:00.000Z" and row["duration_ms"] == "2"
    assert (row["packets"], row["bytes"], row["ip_len"]) == ("3", "124", "40")
    assert (row["src_port"], row["tcp_window"], row["ip_id"], row["tcp_options"]) == ("1000", "11", "5", "")


# Files.

FRAMES = [ether(ipv4()), ether(ipv4(udp(), 17)), ether(ipv6(), 0x86dd), ether(ipv4(icmp(), 1))]


def test_every_file_format_gives_the_same_rows(tmp_path):
    reference = flows(pcap(tmp_path / "a.pcap", FRAMES)).out
    assert reference.count("\n") == 5
    for order in "<>":
        for nano in (False, True):
            assert flows(pcap(tmp_path / "b.pcap", FRAMES, order=order, nano=nano)).out == reference
        ticks = [(0, 1675814400 * 10**6 + i * 1000, frame) for i, frame in enumerate(FRAMES)]
        assert flows(pcapng(tmp_path / "c.pcapng", [1], ticks, order)).out == reference
        ticks = [(0, 1675814400 * 10**9 + i * 10**6, frame) for i, frame in enumerate(FRAMES)]
        assert flows(pcapng(tmp_path / "d.pcapng", [1], ticks, order, resolution=9)).out == reference


def test_mixed_link_types_are_never_read_wrongly(tmp_path):
    path = tmp_path / "x.pcapng"
    pcapng(path, [1, 113], [(0, 10**15, FRAMES[0]), (1, 10**15, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800) + ipv4())])
    result = flows("--summary", path)
    assert result.status == 1 and len(result.errors) == 1
    assert str(path) in result.errors[0] and "different link types" in result.errors[0]


def test_mixed_snapshot_lengths_are_named(tmp_path):
    """libpcap stops there too; it is no damage."""
    path = pcapng(tmp_path / "x.pcapng", [1, 1], [(0, 10**15, FRAMES[0])], snaplens=[65535, 96])
    result = flows("--summary", path)
    assert result.status == 1 and len(result.errors) == 1
    assert str(path) in result.errors[0] and "different snapshot lengths" in result.errors[0]


def test_files_that_are_none(tmp_path):
    good = pcap(tmp_path / "good.pcap", FRAMES)
    cases = {
        "x.pcap.gz": (gzip.compress(good.read_bytes()), "gzip"),
        "x.snoop": (b"snoop\0\0\0\0\0\0\2\0\0\0\4", "snoop"),
        "x.txt": (b"hello, world, this is no capture", "not a pcap"),
        "empty": (b"", "empty"),
        "short": (good.read_bytes()[:13], "short"),
        "link.pcap": (pcap(tmp_path / "l", FRAMES, 147).read_bytes(), "unsupported link type 147"),
    }
    for name, (content, words) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        result = flows("--summary", path)
        assert (result.status, result.out) == (1, ""), name
        assert len(result.errors) == 1 and str(path) in result.errors[0] and words in result.errors[0]
    for path, words in ((tmp_path / "absent", "No such file"), (tmp_path, "directory")):
        result = flows("--summary", path)
        assert result.status == 1 and result.out == "" and len(result.errors) == 1
        assert str(path) in result.errors[0] and words in result.errors[0]


def test_damaged_file_gives_what_was_read(tmp_path):
    whole = pcap(tmp_path / "whole.pcap", FRAMES)
    data = whole.read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(data[:-3])
    result = flows("--summary", cut)
    assert result.status == 1 and result.summary["frames"] == 3
    assert len(result.errors) == 1 and str(cut) in result.errors[0]
    assert len(flows(cut).rows) == 3
    both = flows("--summary", cut, whole)
    assert both.status == 1 and both.summary["frames"] == 7 and len(both.errors) == 1


def test_pipe(tmp_path):
    """A pipe is read like a file, and one that holds no capture is told so too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content, status in ((pcap(tmp_path / "x.pcap", FRAMES).read_bytes(), 0), (b"no capture at all, really not", 1)):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        result = flows("--summary", pipe)
        writer.join()
        assert result.status == status
        assert result.summary["frames"] == 4 if status == 0 else "not a pcap" in result.errors[0]


def test_several_files_are_one_summary(tmp_path):
    a = pcap(tmp_path / "a.pcap", FRAMES)
    b = pcap(tmp_path / "b.pcap", [frame[14:] for frame in FRAMES], 101, start=1675814460)
    result = flows("--summary", a, b)
    assert result.status == 0 and result.errors == []
    summary = result.summary
    assert summary["frames"] == 8 and summary["flows"] == 8 and summary["distinct_sources"] == 2
    assert summary["bytes"] == 2 * (40 + 29 + 60 + 28)
    rows = flows(a, b).rows
    assert len(rows) == 8 and [row["ts"] for row in rows] == sorted(row["ts"] for row in rows)


def test_json_is_the_same_rows(tmp_path):
    path = pcap(tmp_path / "a.pcap", FRAMES + [ether(ipv4(tcp(options=b"\2\4\5\xb4\1\3\3\7"), ttl=3))])
    objects = [json.loads(line) for line in flows("--format", "json", path).out.splitlines()]
    rows = flows(path, "--format=csv").rows
    assert len(objects) == len(rows) == 5
    for obj, row in zip(objects, rows):
        assert list(obj) == list(row)
        assert {k: "" if v is None else str(v) for k, v in obj.items()} == row
    assert isinstance(objects[0]["packets"], int)


def test_usage():
    for arguments in ([], ["--format", "xml", "x.pcap"], ["--frobnicate", "x.pcap"]):
        result = flows(*arguments)
        assert result.status == 2 and result.out == "" and result.errors
    assert flows("--help").status == 0


# Time.

def test_windows_are_aligned_and_split_flows(tmp_path):
    frame = ether(ipv4())
    times = [(1675814459, 999999), (1675814460, 0), (1675814519, 0), (1675814520, 0)]
    rows = flows(pcap(tmp_path / "x.pcap", [frame] * 4, times=times)).rows
    assert [(row["ts"][11:], row["packets"], row["duration_ms"]) for row in rows] == \
        [("00:00:59.999Z", "1", "0"), ("00:01:00.000Z", "2", "59000"), ("00:02:00.000Z", "1", "0")]


def test_late_packets_count_in_the_open_window(tmp_path):
    frame = ether(ipv4())
    late = pcap(tmp_path / "x.pcap", [frame] * 2, times=[(1675814460, 0), (1675814459, 0)])
    rows = flows(late).rows
    assert [(row["ts"][11:], row["packets"]) for row in rows] == [("00:01:00.000Z", "2")]
    later = pcap(tmp_path / "x.pcap", [frame] * 2, times=[(1675814460, 0), (1675814458, 999000)])
    rows = flows(later).rows
    assert [(row["ts"][11:], row["packets"]) for row in rows] == [("00:01:00.000Z", "1"), ("00:00:58.999Z", "1")]


def test_strange_times_lose_no_frame(tmp_path):
    frame = ether(ipv4())
    times = [(0, 0), (1675814400, 0), (1, 0), (2**31 - 1, 999999), (2**31, 0), (2**32 - 1, 0), (1675814400, 4 * 10**6)]
    result = flows(pcap(tmp_path / "x.pcap", [frame] * len(times), times=times))
    assert result.status == 0 and len(result.errors) == 1 and "leaps" in result.errors[0]
    assert sum(int(row["packets"]) for row in result.rows) == len(times)


def test_seconds_of_pcap_have_no_sign(tmp_path):
    seconds = [2**31 - 1, 2**31, 2**32 - 1]
    for s in seconds:
        for order in "<>":
            rows = flows(pcap(tmp_path / "x.pcap", [ether(ipv4())], times=[(s, 0)], order=order)).rows
            told = datetime.datetime.fromtimestamp(s, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            assert [row["ts"] for row in rows] == [told]


@pytest.mark.parametrize("ticks, year", [(253402300800, "9999"), (2**63 - 1, "9999"), (2**63, "0001"),
                                         (253402300799, "9999"), (1675814400, "2023")])
def test_times_beyond_the_calendar_are_clamped(tmp_path, ticks, year):
    path = pcapng(tmp_path / "x.pcapng", [1], [(0, ticks, ether(ipv4()))], resolution=0)
    rows = flows(path).rows
    assert len(rows) == 1 and (rows[0]["ts"][:4] == year)
    summary = flows("--summary", path).summary
    check_identities(summary)
    assert summary["frames"] == 1 and summary["times_clamped"] == (ticks > 253402300799)


def test_random_times_are_bounded(tmp_path):
    draw = random.Random(7)
    times = [(draw.randrange(2**32), draw.randrange(2**31)) for _ in range(3000)]
    summary = flows("--summary", pcap(tmp_path / "x.pcap", [ether(ipv4())] * 3000, times=times)).summary
    check_identities(summary)
    assert summary["frames"] == 3000 and summary["flows"] <= 3000


def test_addresses_from_one_source_are_counted_once(tmp_path):
    frames = [ether(ipv4(src=struct.pack(">I", 0xc6120000 + i % 700), dst=SRC4)) for i in range(2000)]
    summary = flows("--summary", pcap(tmp_path / "x.pcap", frames)).summary
    assert summary["distinct_sources"] == 700 and summary["distinct_sources_estimated"] is False
