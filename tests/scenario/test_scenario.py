"""The scenario generator against an independent reading of what it wrote."""
import csv
import datetime
import filecmp
import io
import ipaddress
import json
import os
import pathlib
import subprocess
from collections import Counter, defaultdict

import pytest

import capture_reader as reader
import ttl_verdict

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT.parent / "shared" / "golden"
JST = datetime.timezone(datetime.timedelta(hours=9))
START = int(datetime.datetime(2023, 1, 1, tzinfo=JST).timestamp()) * 1000000
END = int(datetime.datetime(2023, 4, 1, tzinfo=JST).timestamp()) * 1000000
DAYS = [(datetime.date(2023, 1, 1) + datetime.timedelta(n)).isoformat() for n in range(90)]
DAY_US = 86400 * 1000000
RANGES4 = [(int(n[0]), int(n[-1])) for n in map(
    ipaddress.ip_network, ("198.18.0.0/15", "100.64.0.0/10", "240.0.0.0/4"))]
RANGE6 = ipaddress.ip_network("2001:db8::/32")
CAMPAIGN_PORTS = {22: "22/TCP", 5900: "5900/TCP"}
SMALLEST = 60


def binary():
    build = pathlib.Path(os.environ.get("HIRUNDO_BUILD", ROOT / "build"))
    path = build.absolute() / "tests" / "scenario" / "scenario-gen"
    if not path.exists():
        pytest.skip(f"{path} is not built; build it or set HIRUNDO_BUILD")
    return path


def generate(out, *args):
    subprocess.run([binary(), "--out", out, *map(str, args)], check=True, timeout=120)
    return out


def in_ranges(address, v6=False):
    if v6:
        return ipaddress.ip_address(address) in RANGE6
    return any(low <= address <= high for low, high in RANGES4)


class Networks:
    """prefixes.tsv as longest-match tables of integers."""

    def __init__(self, path):
        self.tables = defaultdict(dict)
        for line in path.read_text().splitlines():
            prefix, number, country = line.split("\t")
            assert number == "" or number.isdigit()
            net = ipaddress.ip_network(prefix)
            self.tables[net.version, net.prefixlen][int(net.network_address)] = country
        self.lengths = sorted(self.tables, reverse=True)
        self.known = {}

    def country(self, address, v6):
        key = (address, v6)
        if key not in self.known:
            self.known[key] = self._look_up(address, v6)
        return self.known[key]

    def _look_up(self, address, v6):
        version, bits = (6, 128) if v6 else (4, 32)
        for length in (n for v, n in self.lengths if v == version):
            net = address >> (bits - length) << (bits - length)
            if net in self.tables[version, length]:
                return self.tables[version, length][net]
        return None


class Sensor:
    """What the files of one sensor contain."""

    def __init__(self):
        self.counts = Counter()
        self.classes = Counter()
        self.tools = Counter()
        self.months = Counter()
        self.ports = Counter()
        self.addresses = set()
        self.sources = set()
        self.destinations = set()
        self.files = []


class Scenario:
    """One run of the generator, read back in a single pass."""

    def __init__(self, out):
        self.out = out
        self.truth = json.loads((out / "truth.json").read_text())
        self.networks = Networks(out / "prefixes.tsv")
        self.hosting = [ipaddress.ip_network(p) for p in self.truth["hosting"]["prefixes"]]
        self.is_hosting = {}
        self.hosts = defaultdict(lambda: (set(), Counter()))  # (day, port): sources, packets
        self.hosting_ports = Counter()
        self.cells = defaultdict(Counter)  # (source, sensor): {ttl: packets} of the company
        self.control_cells = defaultdict(Counter)  # ... of the other home sources
        self.sensors = {s["code"]: self._read(s) for s in self.truth["sensors"]}

    def _read(self, expected):
        sensor = Sensor()
        for file in expected["files"]:
            first = last = None
            for time, link, frame in reader.frames(self.out / file["name"]):
                assert START <= time < END and (last is None or time >= last)
                first, last = time if first is None else first, time
                sensor.counts["frames"] += 1
                self._frame(sensor, expected["code"], time, *reader.peel(link, frame))
            sensor.files.append((first, last))
        return sensor

    def _frame(self, sensor, code, time, kind, body):
        packet = reader.ip_packet(time, kind, body)
        if packet is None:
            sensor.counts["non_ip"] += 1
            sensor.addresses.update((a, False) for a in reader.arp_addresses(body))
            return
        self._count(sensor, packet)
        if not packet.v6 and self._from_hosting(packet.src):
            self._hosting(code, packet)
        elif self.networks.country(packet.src, packet.v6) == "JP" and self._measurable(packet):
            self.control_cells[packet.src, code][packet.ttl] += 1

    @staticmethod
    def _measurable(packet):
        return (packet.proto not in (reader.ICMP, reader.ICMPV6) and not packet.fragment
                and reader.traffic_class(packet) not in ("backscatter", "local"))

    def _from_hosting(self, src):
        if src not in self.is_hosting:
            address = ipaddress.ip_address(src)
            self.is_hosting[src] = any(address in n for n in self.hosting)
        return self.is_hosting[src]

    def _hosting(self, code, packet):
        self.hosting_ports[reader.label(packet)] += 1
        self.cells[packet.src, code][packet.ttl] += 1
        hosts, packets = self.hosts[DAYS[(packet.time - START) // DAY_US], reader.label(packet)]
        hosts.add(packet.src)
        packets["packets"] += 1

    @staticmethod
    def _count(sensor, packet):
        counts = sensor.counts
        counts["ipv6" if packet.v6 else "ipv4"] += 1
        names = {reader.TCP: "tcp", reader.UDP: "udp", reader.ICMP: "icmp",
                 reader.ICMPV6: "icmpv6"}
        counts[names.get(packet.proto, "other")] += 1
        counts["fragments"] += packet.fragment
        counts["ip_bytes"] += packet.length
        cls = reader.traffic_class(packet)
        sensor.classes[cls] += 1
        sensor.addresses.update(((packet.src, packet.v6), (packet.dst, packet.v6)))
        sensor.sources.add((packet.src, packet.v6))
        if cls != "local":
            sensor.destinations.add((packet.dst, packet.v6))
            sensor.ports[reader.label(packet)] += 1
            sensor.months[DAYS[(packet.time - START) // DAY_US][:7]] += 1
        if packet.proto == reader.TCP and cls == "scan" and not packet.v6 and not packet.fragment:
            _, seq, ip_id, window, _ = packet.extra
            sensor.tools["mirai"] += seq == packet.dst
            sensor.tools["masscan"] += ip_id == (packet.dst ^ packet.port ^ seq) & 0xFFFF
            sensor.tools["zmap"] += ip_id == 54321
            sensor.tools["window_5656"] += window == 5656


@pytest.fixture(scope="module", params=["smallest", "default"])
def scenario(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    size = ("--packets-per-day", SMALLEST) if request.param == "smallest" else ()
    return Scenario(generate(out, *size))


def golden_rows(name):
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"the published table {path} is not here")
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter="\t"))


def test_counts_are_what_the_files_contain(scenario):
    for expected in scenario.truth["sensors"]:
        seen = scenario.sensors[expected["code"]]
        for key in ("frames", "non_ip", "ipv4", "ipv6", "tcp", "udp", "icmp", "icmpv6", "other",
                    "fragments", "ip_bytes"):
            assert expected[key] == seen.counts[key], (expected["code"], key)
        assert expected["classes"] == {k: seen.classes[k] for k in expected["classes"]}
        assert expected["packets_by_month"] == dict(seen.months)
        assert expected["frames"] == expected["ipv4"] + expected["ipv6"] + expected["non_ip"]


def test_every_kind_of_traffic_occurs(scenario):
    for code, seen in scenario.sensors.items():
        for key in ("ipv6", "udp", "icmp", "icmpv6", "other", "fragments"):
            assert seen.counts[key] > 0, (code, key)
        assert seen.ports["GRE"] and seen.ports["UDP/fragment"] and seen.classes["backscatter"]
    assert sum(s.counts["non_ip"] for s in scenario.sensors.values()) > 0
    assert sum(s.classes["local"] for s in scenario.sensors.values()) > 0


def test_tools_leave_their_marks(scenario):
    for expected in scenario.truth["sensors"]:
        for tool, sent in expected["tools"].items():
            seen = scenario.sensors[expected["code"]].tools[tool]
            # a 16-bit mark also appears by chance
            assert sent <= seen <= sent + 5 + seen / 1000, (expected["code"], tool)


def test_top_ten_is_the_files_ranking(scenario):
    for expected in scenario.truth["sensors"]:
        seen = scenario.sensors[expected["code"]].ports.most_common(11)
        assert [(t["port"], t["packets"]) for t in expected["top10"]] == seen[:10]
        counts = [n for _, n in seen]
        assert all(a > b for a, b in zip(counts, counts[1:])), expected["code"]


def test_top_ten_of_the_named_sensors_is_the_published_one(scenario):
    ours = {s["label_en"]: s for s in scenario.truth["sensors"]}
    for row in golden_rows("top10-by-sensor.tsv"):
        sensor = ours[row["sensor"]]
        assert sensor["label_ja"] == row["label_ja"]
        assert [t["port"] for t in sensor["top10"]] == [row[str(k)] for k in range(1, 11)]


def test_planned_traffic_stays_below_the_tenth_place(scenario):
    for s in scenario.truth["sensors"]:
        tenth = s["top10"][-1]["packets"]
        assert s["hosting_packets"] + s["control_packets"] < tenth
        assert scenario.sensors[s["code"]].ports["5900/TCP"] < tenth


def test_ttl_ranges_are_the_published_ones(scenario):
    ranges = {r["region"]: (str(r["ttl_min"]), str(r["ttl_max"]))
              for r in scenario.truth["hosting"]["ttl_by_region"]}
    published = {r["region"]: (r["ttl_min"], r["ttl_max"])
                 for r in golden_rows("ttl-by-region.tsv")}
    assert ranges == published


def test_ttl_table_is_what_the_files_contain(scenario):
    countries = {s["code"]: s["country"] for s in scenario.truth["sensors"]}
    packets, sources = defaultdict(Counter), defaultdict(set)
    for (source, sensor), ttls in scenario.cells.items():
        packets[countries[sensor]].update(ttls)
        sources[countries[sensor]].add(source)
        assert len(ttls) == 1, "one TTL per source and sensor"
    rows = scenario.truth["hosting"]["ttl_by_region"]
    assert [r["region"] for r in rows] == ["JP"] + sorted(set(packets) - {"JP"})
    for row in rows:
        ttls = packets[row["region"]]
        assert (row["ttl_min"], row["ttl_max"]) == (min(ttls), max(ttls))
        assert row["ttl_median"] == ttl_verdict.weighted_lower_median(ttls)
        assert row["packets"] == sum(ttls.values())
        assert row["sources"] == len(sources[row["region"]])


def test_only_the_310_send_from_the_company_and_only_to_two_ports(scenario):
    listed = {int(ipaddress.ip_address(a)) for a in scenario.truth["hosting"]["sources"]}
    assert len(listed) == 310
    assert {source for source, _ in scenario.cells} == listed
    assert set(scenario.hosting_ports) == set(CAMPAIGN_PORTS.values())
    home = {s["code"] for s in scenario.truth["sensors"] if s["home"]}
    assert {source for source, sensor in scenario.cells if sensor in home} == listed


def test_daily_source_hosts(scenario):
    expected = scenario.truth["hosting"]["daily_source_hosts"]
    assert [(r["day"], r["port"]) for r in expected] == [
        (day, port) for day in DAYS for port in CAMPAIGN_PORTS.values()]
    for row in expected:
        hosts, packets = scenario.hosts.get((row["day"], row["port"]), (set(), Counter()))
        assert (row["hosts"], row["packets"]) == (len(hosts), packets["packets"]), row


def test_the_campaign_runs_as_published(scenario):
    hosts = {(r["day"], r["port"]): r["hosts"]
             for r in scenario.truth["hosting"]["daily_source_hosts"]}
    ssh = {day: hosts[day, "22/TCP"] for day in DAYS}
    vnc = {day: hosts[day, "5900/TCP"] for day in DAYS}
    assert min(d for d in DAYS if ssh[d]) == "2023-02-03"
    assert min(d for d in DAYS if vnc[d]) == "2023-02-10"
    assert [d for d in DAYS if ssh[d] == max(ssh.values())] == ["2023-02-08"]
    bursts = [("2023-02-10", "2023-02-13"), ("2023-02-18", "2023-02-19"),
              ("2023-02-25", "2023-03-02")]
    both = {d: ssh[d] + vnc[d] for d in DAYS}
    inside = [both[d] for d in DAYS for a, b in bursts if a <= d <= b]
    between = [both[d] for d in DAYS if "2023-02-10" <= d
               and not any(a <= d <= b for a, b in bursts)]
    assert min(inside) > max(between)
    weeks = [sum(both[d] for d in DAYS[i:i + 7]) for i in range(DAYS.index("2023-03-03"), 90, 7)]
    assert weeks == sorted(weeks, reverse=True) and weeks[-1] * 5 < weeks[0]


def test_the_published_timeline_is_in_the_campaign(scenario):
    days = {(r["port"], r["day"]): r["hosts"]
            for r in scenario.truth["hosting"]["daily_source_hosts"]}
    for row in golden_rows("timeline.tsv"):
        ports = CAMPAIGN_PORTS.values() if row["port"] == "both" else [row["port"]]
        assert all(days[port, row["from"]] > 0 for port in ports), row


def test_every_region_sees_all_sources_at_the_default_size(tmp_path):
    truth = json.loads((generate(tmp_path) / "truth.json").read_text())
    assert {r["sources"] for r in truth["hosting"]["ttl_by_region"]} == {310}


def origin(scenario):
    sensors = scenario.truth["sensors"]
    return ttl_verdict.ttl_origin(
        scenario.cells, scenario.control_cells, {s["code"]: s["country"] for s in sensors},
        {s["code"] for s in sensors if s["home"]})


def test_the_verdict_is_consistent_with_home_and_only_my_weak(scenario):
    verdict, regional, weak = origin(scenario)
    assert scenario.truth["hosting"]["ttl_origin"] == {"verdict": verdict, "weak": weak}
    assert (verdict, weak) == ("consistent_with_home", ["MY"])
    assert len(regional) == 9 and "nearer" not in regional.values()


def test_the_verdict_needs_controls_and_the_right_home(scenario):
    regions = {s["code"]: s["country"] for s in scenario.truth["sensors"]}
    home = {code for code, country in regions.items() if country == "JP"}
    assert ttl_verdict.ttl_origin(scenario.cells, {}, regions, home)[0] == "home_nearest"
    elsewhere = ttl_verdict.ttl_origin(scenario.cells, scenario.control_cells, regions, {"ma-1"})
    assert elsewhere[0] == "contradicts_home"


def test_controls_are_like_the_company(scenario):
    listed = {int(ipaddress.ip_address(a)) for a in scenario.truth["controls"]["sources"]}
    cells, _ = ttl_verdict.cells_of(scenario.control_cells)
    assert {source for source, _, t0 in cells if t0 == 255} == listed
    assert len(listed) >= 20 and not listed & {source for source, _ in scenario.cells}
    assert {s for _, s, t0 in cells if t0 == 255} == set(scenario.sensors)
    countries = {s["code"]: s["country"] for s in scenario.truth["sensors"]}
    company, controls = defaultdict(list), defaultdict(list)
    for (_, sensor, t0), h in cells.items():
        if t0 == 255:
            controls[countries[sensor]].append(h)
    for (_, sensor, _), h in ttl_verdict.cells_of(scenario.cells)[0].items():
        company[countries[sensor]].append(h)
    for region, hops in company.items():
        mine, theirs = ttl_verdict.lower_median(hops), ttl_verdict.lower_median(controls[region])
        assert abs(mine - theirs) <= 2, region
    assert ttl_verdict.lower_median(company["BN"]) >= 255 - 242


def test_addresses_belong_to_nobody_and_have_a_network(scenario):
    for sensor in scenario.sensors.values():
        assert all(in_ranges(a, v6) for a, v6 in sensor.addresses)
        assert len(sensor.destinations) == 2, "one IPv4 and one IPv6 address"
        countries = {scenario.networks.country(a, v6) for a, v6 in sensor.sources}
        assert None not in countries and len(countries) >= 25


def test_files_begin_and_end_with_their_days(scenario):
    gaps = 0
    for expected in scenario.truth["sensors"]:
        files = scenario.sensors[expected["code"]].files
        minute = 60 * 1000000
        assert files[0][0] < START + minute and files[-1][1] >= END - minute
        for first, last in files:
            assert (first - START) % DAY_US < minute and (last - START) % DAY_US >= DAY_US - minute
        gaps += len(files) - 1
        assert len(files) == 1 or files[1][0] - files[0][1] > 2 * DAY_US
        assert expected["files"][0]["observed_from"] == "2022-12-31T15:00:00Z"
        assert expected["files"][-1]["observed_to"] == "2023-03-31T15:00:00Z"
    assert gaps == 1


def test_averages(scenario):
    rows = scenario.truth["average"]
    assert [(r["bucket"], r["side"]) for r in rows] == [
        (f"2023-0{m}-01", side) for m in (1, 2, 3) for side in ("home", "overseas")]
    for row in rows:
        packets = days = 0
        for s in scenario.truth["sensors"]:
            if s["home"] == (row["side"] == "home"):
                packets += scenario.sensors[s["code"]].months[row["bucket"][:7]]
                days += sum(d.startswith(row["bucket"][:7]) and covered(scenario, s["code"], d)
                            for d in DAYS)
        assert (row["packets"], row["sensor_days"]) == (packets, days)
        assert row["average"] == pytest.approx(packets / days, abs=1e-6)
    for home, overseas in zip(rows[::2], rows[1::2]):
        assert overseas["average"] > home["average"], "more packets overseas, each month"


def covered(scenario, code, day):
    noon = START + DAYS.index(day) * DAY_US + DAY_US // 2
    return any(first <= noon <= last for first, last in scenario.sensors[code].files)


def test_tables_for_import(scenario):
    with open(scenario.out / "organisations.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "prefixes", "contacts", "tlp"] and len(rows) >= 3
    assert rows[0]["name"] == scenario.truth["hosting"]["name"]
    assert rows[0]["prefixes"].split(";") == scenario.truth["hosting"]["prefixes"]
    lines = (scenario.out / "sensors.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#code\tcountry\tlabel_en\tlabel_ja\tfiles"
    for line, s in zip(lines[1:], scenario.truth["sensors"], strict=True):
        files = ",".join(f["name"] for f in s["files"])
        assert line.split("\t") == [s["code"], s["country"], s["label_en"], s["label_ja"], files]


def test_the_network_is_the_planned_one(scenario):
    countries = Counter(s["country"] for s in scenario.truth["sensors"])
    published = {row["region"] for row in golden_rows("ttl-by-region.tsv")}
    assert countries == {c: {"JP": 3, "TW": 2}.get(c, 1) for c in published}
    assert len(scenario.truth["sensors"]) == 13


def test_checksums(tmp_path):
    out = generate(tmp_path, "--packets-per-day", SMALLEST)
    checked = 0
    for path in sorted(out.glob("*/*.pcap")):
        for _, link, frame in reader.frames(path):
            kind, body = reader.peel(link, frame)
            if kind != 0x0806:
                assert reader.checksums_hold(kind, body), (path, frame.hex())
                checked += 1
    assert checked > 50000


def same_files(a, b):
    names = sorted(str(p.relative_to(a)) for p in a.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(b)) for p in b.rglob("*") if p.is_file())
    return filecmp.cmpfiles(a, b, names, shallow=False)[1:] == ([], [])


def test_same_seed_same_bytes_other_seed_others(tmp_path):
    first = generate(tmp_path / "a", "--packets-per-day", 100, "--seed", 7)
    again = generate(tmp_path / "b", "--packets-per-day", 100, "--seed", 7)
    other = generate(tmp_path / "c", "--packets-per-day", 100, "--seed", 8)
    assert same_files(first, again)
    assert not same_files(first, other)


@pytest.mark.parametrize("seed, size", [(2, 60), (3, 61), (4, 75), (5, 120), (6, 180), (7, 240)])
def test_other_seeds_and_sizes_keep_the_answers(tmp_path, seed, size):
    scenario = Scenario(generate(tmp_path, "--seed", seed, "--packets-per-day", size))
    test_the_verdict_is_consistent_with_home_and_only_my_weak(scenario)
    test_the_campaign_runs_as_published(scenario)
    test_ttl_table_is_what_the_files_contain(scenario)


def test_planted_surges_change_no_other_answer(tmp_path):
    plain = json.loads((generate(tmp_path / "a") / "truth.json").read_text())
    scenario = Scenario(generate(tmp_path / "b", "--plant-surges", 5))
    truth = scenario.truth
    assert truth["hosting"] == plain["hosting"]
    for a, b in zip(plain["sensors"], truth["sensors"]):
        assert a["top10"] == b["top10"]
        assert b["frames"] == a["frames"] + b["surge_packets"] == scenario.sensors[
            b["code"]].counts["frames"]
    assert "surges" not in plain and len({s["port"] for s in truth["surges"]}) >= 3
    assert sum(s["packets"] for s in truth["surges"]) == truth["totals"]["surge_packets"] > 0
    verdict, _, weak = origin(scenario)
    assert (verdict, weak) == ("consistent_with_home", ["MY"])


@pytest.mark.parametrize("args", [
    [], ["--out"], ["--out", "x", "--packets-per-day", "59"], ["--out", "x", "--seed", "-1"],
    ["--out", "x", "--packets-per-day", "1e3"], ["--out", "x", "--bogus"], ["--out", "x", "more"]])
def test_wrong_usage_exits_2(args, tmp_path):
    run = subprocess.run([binary(), *args], cwd=tmp_path, capture_output=True, text=True,
                         check=False)
    assert run.returncode == 2 and run.stderr and not list(tmp_path.iterdir())


def test_unwritable_directory_exits_1(tmp_path):
    (tmp_path / "file").write_text("")
    run = subprocess.run([binary(), "--out", tmp_path / "file" / "x"], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 1 and str(tmp_path) in run.stderr
    assert run.stderr.count("\n") == 1


def test_help_exits_0():
    run = subprocess.run([binary(), "--help"], capture_output=True, text=True, check=True)
    assert "--packets-per-day" in run.stdout
