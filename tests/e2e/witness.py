"""The figures of the scenario, computed from its captures and tables alone, for comparison with what the database answers.

Nothing of the sensor, the collector or the SQL is in it: frames are decoded by tests/scenario/capture_reader.py, and what each
figure means is written down here once more, packet by packet.
"""
import collections
import datetime
import fractions
import ipaddress
import itertools
import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "scenario"))
import capture_reader as reader  # noqa: E402

JST = datetime.timezone(datetime.timedelta(hours=9))
DAY_US = 86400 * 1000000
# kind and what follows of the options that the rules ask for
MSS_ONLY = b"\x02\x04\x05\xb4"


def day_of(time):
    return datetime.datetime.fromtimestamp(time / 1e6, JST).date()


class Networks:
    """The most specific prefix of an address."""

    def __init__(self, path):
        self.prefixes = {4: collections.defaultdict(dict), 6: collections.defaultdict(dict)}
        for line in path.read_text(encoding="utf-8").splitlines():
            prefix, asn, country = line.split("\t")
            n = ipaddress.ip_network(prefix)
            self.prefixes[n.version][n.prefixlen][int(n.network_address)] = (asn, country)
        self.known = {}

    def find(self, src, v6):
        key = src, v6
        if key not in self.known:
            bits, table = (128, self.prefixes[6]) if v6 else (32, self.prefixes[4])
            best = [table[n][src >> (bits - n) << (bits - n)] for n in sorted(table, reverse=True)
                    if src >> (bits - n) << (bits - n) in table[n]]
            # what a more specific prefix leaves open is open
            self.known[key] = best[0] if best else ("", "")
        return self.known[key]


class Witness:
    """by_day[day, label]: packets but class local; flows: [day, source, label, packets, tool], backscatter and local left out."""

    def __init__(self, out):
        self.truth = json.loads((out / "truth.json").read_text(encoding="utf-8"))
        self.networks = Networks(out / "prefixes.tsv")
        self.packets = collections.Counter()
        self.countries = collections.Counter()
        self.hosts = collections.defaultdict(lambda: [0, set()])  # (day, src, label): packets, sensors
        self.covered = collections.Counter()  # day: sensors that observed it
        self.observed = collections.defaultdict(set)  # sensor: its days
        self.seen = collections.defaultdict(set)  # (sensor, day, label): sources by class, as hirundo.scope counts them
        flows = {}
        for sensor in self.truth["sensors"]:
            for file in sensor["files"]:
                self._read(out / file["name"], sensor["code"], flows)
        self._name(flows)

    def _read(self, path, code, flows):
        first = last = None
        for time, link, frame in reader.frames(path):
            first, last = time if first is None else first, time
            kind, body = reader.peel(link, frame)
            packet = reader.ip_packet(time, kind, body)
            if packet is not None and reader.traffic_class(packet) != "local":
                self._count(packet, body, code, flows)
        # files begin and end with days
        day = day_of(first)
        while day <= day_of(last):
            self.covered[day] += 1
            self.observed[code].add(day)
            day += datetime.timedelta(days=1)

    def _count(self, packet, body, code, flows):
        day, label, src = day_of(packet.time), reader.label(packet), (packet.src, packet.v6)
        self.packets[day, label] += 1
        self.countries[day, self.networks.find(*src)[1]] += 1
        if reader.traffic_class(packet) == "backscatter":
            return
        self.seen[code, day, label].add((reader.traffic_class(packet), src))
        host = self.hosts[day, src, label]
        host[0] += 1
        host[1].add(code)
        # a flow: its key, and of its first packet what rules look at
        flags = packet.extra[0] if packet.proto == reader.TCP and not packet.later else 0
        marks = self._marks(packet)
        port = packet.port if packet.port is not None else packet.extra[0] if packet.extra else None
        code_of = body[21] if packet.proto == reader.ICMP and not packet.later else 0
        key = (packet.time // 60000000, code, src, packet.dst, packet.proto, port, code_of, packet.ttl, flags, marks, packet.fragment)
        if key not in flows:
            flows[key] = [day, src, label, 0, self._tool(packet, body, flags, marks)]
        flows[key][3] += 1

    @staticmethod
    def _marks(packet):
        if packet.proto != reader.TCP or packet.later or packet.v6:
            return 0
        _, seq, ip_id, _, _ = packet.extra
        return (seq == packet.dst) + 2 * (ip_id == (packet.dst ^ packet.port ^ seq) & 0xFFFF)

    @staticmethod
    def _tool(packet, body, flags, marks):
        """(name, packets needed, whether each packet shows it) of the first rule that fits."""
        ip_id = None if packet.v6 else struct.unpack_from(">H", body, 4)[0]
        syn = packet.proto == reader.TCP and flags == 2 and not packet.later
        window = packet.extra[3] if syn else None
        start = 40 + (8 if packet.fragment else 0) if packet.v6 else 20
        options = body[start + 20:start + (body[start + 12] >> 4) * 4] if syn else b""
        if syn and marks & 1:
            return "mirai", 1, True
        if packet.proto in (1, 6, 17) and ip_id == 54321:
            return "zmap", 2, False
        if syn and marks & 2:
            return "masscan", 2, True
        if window == 1024 and options == MSS_ONLY:
            return "nmap", 2, False
        return ("window-5656", 2, False) if window == 5656 else None

    def _name(self, flows):
        seen = collections.Counter()
        for day, src, _, packets, tool in flows.values():
            if tool:
                seen[day, src, tool[0]] += packets if tool[2] else 1
        self.tools = collections.defaultdict(lambda: [0, set()])  # (day, label, tool): packets, sources
        for day, src, label, packets, tool in flows.values():
            sure = tool and seen[day, src, tool[0]] >= tool[1]
            cell = self.tools[day, label, tool[0] if sure else "unknown"]
            cell[0] += packets
            cell[1].add(src)

    def days(self, first, past):
        return [first + datetime.timedelta(days=i) for i in range((past - first).days)]

    def sensor_days(self, first, past):
        return sum(self.covered[d] for d in self.days(first, past))

    def ranking(self, counts, first, past, n):
        """[(rank, item, packets)]; what is known of nothing has no rank."""
        total = collections.Counter()
        for (day, item), packets in counts.items():
            if first <= day < past:
                total[item] += packets
        ranked = sorted((-p, item) for item, p in total.items() if item)[:n]
        return [(i + 1, item, -p) for i, (p, item) in enumerate(ranked)]

    def tool_share(self, tool, n):
        """{(day, item): (packets, hosts, all packets)} of the n ports with most packets of the tool, and the total."""
        total = collections.Counter()
        for (_, label, name), (packets, _) in self.tools.items():
            total[label] += packets if name == tool else 0
        top = [label for _, label in sorted((-p, label) for label, p in total.items() if p)[:n]]
        by_day = collections.defaultdict(list)
        for (day, label, name), cell in self.tools.items():
            by_day[day].append((label, name, *cell))
        out = {}
        for day in self.covered:
            cells = by_day[day]
            for item in top + ["total"]:
                here = [c for c in cells if item in (c[0], "total")]
                mine = [c for c in here if c[1] == tool]
                out[day, item] = (sum(c[2] for c in mine), len(set().union(*(c[3] for c in mine))), sum(c[2] for c in here))
        return out

    def scanners(self, least):
        """{(day, address): (ports, sensors, packets)} of sources with more ports than that."""
        found = collections.defaultdict(list)
        for (day, src, label), (packets, sensors) in self.hosts.items():
            found[day, src].append((label, packets, sensors))
        return {(day, str(ipaddress.IPv6Address(src) if v6 else ipaddress.IPv4Address(src))):
                (len(rows), len(set().union(*(r[2] for r in rows))), sum(r[1] for r in rows))
                for (day, (src, v6)), rows in found.items() if len(rows) > least}

    def hosts_per_day(self, prefixes, labels, days):
        networks = [ipaddress.ip_network(p) for p in prefixes]
        inside = {src: not src[1] and any(ipaddress.IPv4Address(src[0]) in n for n in networks if n.version == 4)
                  for src in {src for _, src, _ in self.hosts}}
        found = collections.defaultdict(set)
        for day, src, label in self.hosts:
            if label in labels and inside[src]:
                found[day].add(src)
        return [len(found[d]) for d in days]


def rotation_p_value(days, hosts, marked):
    """The share of all combinations of rotations, one a week, whose rank sum on marked days is as large as the one seen."""
    weeks = collections.defaultdict(list)
    for day, n, mark in zip(days, hosts, marked):
        weeks[day - datetime.timedelta(days=day.weekday())].append((n, mark))
    sums = []
    for week in weeks.values():
        ranks = [fractions.Fraction(1 + 2 * sum(m < n for m, _ in week) + sum(m == n for m, _ in week), 2) for n, _ in week]
        sums.append([sum(ranks[(i + r) % len(week)] for i, (_, mark) in enumerate(week) if mark) for r in range(len(week))])
    seen = sum(s[0] for s in sums)
    every = [sum(combination) for combination in itertools.product(*sums)]
    return fractions.Fraction(sum(s >= seen for s in every), len(every))
