"""Real and hostile captures against the counts of an independent dissector (tshark). The captures are not in the
repository: these tests skip where ../shared is missing."""
import json

import pytest

from flows import SHARED, check_identities, flows

if not SHARED.is_dir():
    pytest.skip(f"{SHARED} is not there: the captures are not part of the repository", allow_module_level=True)

TRUTHS = sorted(path.name[:-len(".json")] for path in (SHARED / "truth").glob("*.json"))
ROBUST = sorted(path.name for path in (SHARED / "robust").iterdir())

# Where we and the dissector differ, and why: docs/decisions/0010-capture-differences.md has a paragraph for each file.
DIFFERENCES = {
    "pcpp-pcapng-example.pcapng": dict(frames=59, ipv4=59, ipv6=0, tcp=59, distinct_sources=1, ttl_min=64),
    "suriver-bug-6875-01.pcap": dict(frames=1, ipv4=1, non_ip=0, tcp=1, distinct_sources=1, ttl_min=128, ttl_max=128),
    "suriver-frag-15.pcap": dict(fragments=54),
    "tcpdump-ipv6_39_byte_header.pcap": dict(ipv6=0, malformed=1, udp=0, distinct_sources=0, ttl_min=None, ttl_max=None),
}
# Files that are refused whole, and the words that say why.
REFUSED = {
    "pcpp-solaris.snoop": "snoop",
    "tcpdump-unsupported-link-type-160.pcap": "unsupported link type 160",
}
# Files that are read up to a point, and the words that say what stopped it.
DAMAGED = {
    "ndpi-fuzz-2021-10-13.pcap": "truncated",
    "pcpp-pcapng-example.pcapng": "different link types",
    "suriver-bug-6875-01.pcap": "invalid packet capture length",
}


def least(*values):
    return min((v for v in values if v is not None), default=None)


def greatest(*values):
    return max((v for v in values if v is not None), default=None)


def expected(name):
    truth = json.loads((SHARED / "truth" / f"{name}.json").read_text())
    counts = {key: truth[key] for key in ("frames", "ipv4", "ipv6", "non_ip", "tcp", "udp", "icmp", "icmpv6")}
    counts.update(malformed=truth["ip_bad"], fragments=truth["fragments4"] + truth["fragments6"], distinct_sources=truth["src_ips"],
                  ttl_min=least(truth["ttl_min"], truth["hlim_min"]),
                  ttl_max=greatest(truth["ttl_max"], truth["hlim_max"]))
    differences = DIFFERENCES.get(name, {})
    for key, value in differences.items():
        assert counts[key] != value, f"{name}: no difference in {key} any more"
    counts.update(differences)
    return truth, counts


@pytest.mark.parametrize("name", [name for name in TRUTHS if name not in REFUSED])
def test_summary_equals_truth(name):
    _, counts = expected(name)
    result = flows("--summary", SHARED / name)
    summary = result.summary
    check_identities(summary)
    assert {key: summary[key] for key in counts} == counts
    assert not summary["distinct_sources_estimated"]
    if name in DAMAGED:
        assert result.status == 1
        assert len(result.errors) == 1 and name in result.errors[0] and DAMAGED[name] in result.errors[0]
    else:
        assert result.status == 0


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_in_one_line(name):
    for option in ("--summary", "--format=csv"):
        result = flows(option, SHARED / name)
        assert result.status == 1 and result.out == ""
        assert len(result.errors) == 1 and name in result.errors[0] and REFUSED[name] in result.errors[0]


@pytest.mark.parametrize("name", [name for name in TRUTHS if name not in REFUSED and name not in DIFFERENCES])
def test_rows_equal_truth(name):
    """The figures of the rows, not of the summary: TTLs, ports, ICMP types and the marks of tools on bare SYNs."""
    truth, _ = expected(name)
    ttl, syn, mirai, masscan, icmp_types, ports, protos = {}, 0, 0, 0, {}, {}, ({}, {})
    rows = flows(SHARED / name).rows
    if any(not row["src"] for row in rows):
        pytest.skip("has flood rows, which keep neither TTL nor marks")
    for row in rows:
        packets, marks = int(row["packets"]), int(row["marks"])
        protos[":" in row["src"]][row["proto"]] = protos[":" in row["src"]].get(row["proto"], 0) + packets
        if "." in row["src"]:
            ttl[row["ttl"]] = ttl.get(row["ttl"], 0) + packets
        if row["tcp_flags"] and int(row["tcp_flags"], 16) & 0x17 == 2:
            syn += packets
            mirai += packets if marks & 1 else 0
            masscan += packets if marks & 2 else 0
        if row["icmp_type"]:
            key = f"{'icmp' if row['proto'] == '1' else 'icmpv6'}:{row['icmp_type']}"
            icmp_types[key] = icmp_types.get(key, 0) + packets
        elif row["port"]:
            key = ({"6": "tcp", "17": "udp"}[row["proto"]], int(row["port"]))
            ports[key] = ports.get(key, 0) + packets
    assert ttl == truth["ttl_hist"]
    assert protos[0] == truth["proto4"]
    if "-1" not in truth["proto6"]:  # a chain cut short, where the dissector names no protocol
        assert protos[1] == truth["proto6"]
    assert len({row["dst"] for row in rows}) == truth["dst_ips"]
    assert (mirai, masscan) == (truth["fp_mirai_seq_eq_dst"], truth["fp_masscan_ipid"])
    assert syn == truth["tcp_syn"]
    assert icmp_types == truth["icmp_types"]
    assert sum(n for (proto, _), n in ports.items() if proto == "tcp") == truth["tcp_ports"]
    assert sum(n for (proto, _), n in ports.items() if proto == "udp") == truth["udp_ports"]
    assert [ports.get((t["proto"], t["dport"])) for t in truth["top10"]] == [t["packets"] for t in truth["top10"]]


def test_flooded_capture_keeps_its_totals():
    rows = flows(SHARED / "stopddos-pkt.TCP.synflood.spoofed.pcap").rows
    truth = json.loads((SHARED / "truth" / "stopddos-pkt.TCP.synflood.spoofed.pcap.json").read_text())
    floods = [row for row in rows if not row["src"]]
    assert len(floods) == 1 and (floods[0]["proto"], floods[0]["port"], floods[0]["tcp_flags"]) == ("6", "25565", "0x02")
    assert sum(int(row["packets"]) for row in rows) == truth["frames"]
    assert abs(int(floods[0]["sources"]) - int(floods[0]["packets"])) < int(floods[0]["packets"]) * 0.04


def test_formats_of_one_capture_agree():
    pcap = flows(SHARED / "libtrace-100_packets.pcap").out
    assert pcap.count("\n") > 10
    assert flows(SHARED / "libtrace-100_packets.pcapng").out == pcap
    assert flows(SHARED / "libtrace-100_packetsns.pcap").out == pcap


@pytest.mark.parametrize("name", ROBUST)
def test_hostile_capture_is_survived(name):
    result = flows("--summary", SHARED / "robust" / name)
    assert len(result.errors) <= 1
    if result.out:
        check_identities(result.summary)
    else:
        assert result.status == 1 and "unsupported link type" in result.errors[0]
