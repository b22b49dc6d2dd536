"""deploy/quickstart as a newcomer runs it, with two accidents, and every answer against the ground truth.

The first run is interrupted half way; in the second the collector is killed (SIGKILL) half way and started
again. What the database answers then must be what the generator planted. The tests stand in the
order of a newcomer's day and build on each other.
"""
import collections
import contextlib
import csv
import datetime
import ipaddress
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import sys
import time

import psycopg2
import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests" / name) for name in ("scenario", "lib", "e2e")]
import capture_reader  # noqa: E402  pylint: disable=wrong-import-position
import sql_docs  # noqa: E402  pylint: disable=wrong-import-position
import witness  # noqa: E402  pylint: disable=wrong-import-position

GOLDEN = TOP.parent / "shared" / "golden"
HOME = pathlib.Path(os.environ.get("RESULTS", TOP / "var" / "tests" / "quickstart")) / "home"
PORTS = ["22/TCP", "5900/TCP"]
ENVIRONMENT = {**os.environ, "HIRUNDO_HOME": str(HOME)}


def quickstart(*arguments, check=0):
    done = subprocess.run([TOP / "deploy" / "quickstart", *map(str, arguments)], env=ENVIRONMENT, check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    assert check is None or done.returncode == check, done.stdout + done.stderr
    return done


class Running:
    """A quickstart under way."""

    def __init__(self):
        self.lines = []
        self.process = subprocess.Popen([TOP / "deploy" / "quickstart"], env=ENVIRONMENT, text=True, bufsize=1,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def until(self, percent):
        """Reads until the progress has reached so many percent."""
        for line in self.process.stdout:
            self.lines.append(line)
            progress = re.match(r" *(\d+)%", line)
            if progress and int(progress.group(1)) >= percent:
                return int(progress.group(1))
        raise AssertionError("ended before it was half way:\n" + "".join(self.lines))

    def end(self):
        self.lines.extend(self.process.stdout)
        return self.process.wait(timeout=600), "".join(self.lines)


def collector_pid():
    return int((HOME / "run" / "collector.pid").read_text())


def running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def processes():
    """Processes whose command line speaks of this quickstart's directory or its database's."""
    names = {str(HOME), str((HOME / "pg").resolve())}
    found = []
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(directory.name) != os.getpid() and any(name in words for name in names):
            found.append(words)
    return found


def environment(home=HOME):
    """What a shell has after `. env`."""
    out = subprocess.run(["/bin/sh", "-c", '. "$1" && env -0', "sh", home / "env"], check=True,
                         env={"PATH": os.environ["PATH"]}, capture_output=True).stdout
    return dict(item.decode().split("=", 1) for item in out.split(b"\0") if item)


@pytest.fixture(scope="module", autouse=True)
def clean():
    quickstart("clean")
    yield
    quickstart("clean", check=None)


@pytest.fixture(scope="module")
def finished():
    """Output of a run that was interrupted, begun anew, lost its collector and found it again."""
    first = Running()
    first.until(30)
    first.process.send_signal(signal.SIGTERM)
    status, out = first.end()
    assert status != 0 and not (HOME / "state" / "scenario").exists(), out

    second = Running()
    reached = second.until(40)
    assert reached < 100
    os.kill(collector_pid(), signal.SIGKILL)
    quickstart("start")
    status, out = second.end()
    assert status == 0, out
    return out


@pytest.fixture(scope="module")
def truth(finished):
    return json.loads((HOME / "scenario" / "truth.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def seen(finished):
    """The figures computed from the captures; the database has rolled up meanwhile, so that its answers come from rollups."""
    del finished
    subprocess.run([HOME / "bin" / "hirundo-collector", "maintain", "-c", HOME / "conf" / "collector.conf"], check=True, timeout=600,
                   env={**os.environ, **environment()}, stdin=subprocess.DEVNULL, capture_output=True)
    return witness.Witness(HOME / "scenario")


@pytest.fixture(scope="module")
def ask(finished):
    env = environment()

    def query(sql, *values):
        with contextlib.closing(psycopg2.connect(host=env["PGHOST"], port=env["PGPORT"], dbname=env["PGDATABASE"],
                                                 user=env["PGUSER"])) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()
    return query


def golden(name):
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"the published tables are not here (../shared/golden/{name})")
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def hosting(truth, function, columns):
    return (f"select {columns} from hirundo.{function}(hirundo.quarter('2023Q1'), %s::cidr[], %s)",
            truth["hosting"]["prefixes"], PORTS)


def test_ends_with_tables_and_what_to_do_next(finished):
    assert "consistent_with_home" in finished
    assert "psql" in finished and "deploy/quickstart stop" in finished


def typed_as_in_readme(text, directory):
    """In a shell after the README's first line, in this directory."""
    done = subprocess.run(["/bin/bash", "-e"], input=f". '{HOME}/env'\n{text.replace('var/quickstart', str(HOME))}\n", cwd=directory, capture_output=True,
                          text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_readme_shows_what_is_answered(finished, tmp_path):
    """The first question of the README, typed as it stands there, and the table below it; a report and a case file."""
    section = (TOP / "README.md").read_text(encoding="utf-8").split("\n## The first question\n")[1].split("\n## ")[0]
    typed, sql, table, commands = [block.replace("\n    ", "\n").strip() for block in re.findall(r"(?:^    .*\n)+", section, re.M)]
    assert typed == ". var/quickstart/env && psql"
    shown = typed_as_in_readme(f"psql -X <<'END'\n{sql}\nEND", tmp_path)
    assert [line.rstrip() for line in shown.strip().splitlines()] == [*table.splitlines(), "(10 rows)"]
    if "No report:" in finished:
        commands = re.sub(".* report .*\n", "", commands)
    (tmp_path / "var").mkdir()
    shown = typed_as_in_readme(commands, tmp_path)
    assert "files as they were signed; case of Example Hosting, 2023Q1" in shown and (tmp_path / "var/case").stat().st_mode & 0o077 == 0
    assert "No report:" in finished or (tmp_path / "var/site/index.html").exists()


def test_ttl_spread_is_what_was_planted(ask, truth):
    rows = ask(*hosting(truth, "ttl_spread", "region, ttl_min, ttl_max, ttl_median, sources, packets, all_sources"))
    expected = [(r["region"], r["ttl_min"], r["ttl_max"], r["ttl_median"], r["sources"], r["packets"],
                 len(truth["hosting"]["sources"])) for r in truth["hosting"]["ttl_by_region"]]
    assert rows[0][0] == "JP" and sorted(rows) == sorted(expected)


def test_ttl_spread_is_the_published_table(ask, truth):
    expected = [(r["region"], int(r["ttl_min"]), int(r["ttl_max"]), 310) for r in golden("ttl-by-region.tsv")]
    assert sorted(ask(*hosting(truth, "ttl_spread", "region, ttl_min, ttl_max, all_sources"))) == sorted(expected)


def test_ttl_origin(ask, truth):
    rows = ask(*hosting(truth, "ttl_origin", "region, weak, verdict"))
    assert {row[2] for row in rows} == {truth["hosting"]["ttl_origin"]["verdict"]} == {"consistent_with_home"}
    assert sorted(row[0] for row in rows if row[1]) == truth["hosting"]["ttl_origin"]["weak"] == ["MY"]


def test_source_hosts_daily(ask, truth):
    rows = ask(*hosting(truth, "source_hosts_daily", "day::text, port, hosts, packets"))
    expected = [(d["day"], d["port"], d["hosts"], d["packets"]) for d in truth["hosting"]["daily_source_hosts"]]
    assert sorted(rows) == sorted(expected)
    most = max((row for row in rows if row[1] == "22/TCP"), key=lambda row: row[2])
    assert most[0] == "2023-02-08"


def test_top_ports(ask, truth):
    rows = ask("select sensor, rank, port, packets from hirundo.top_ports(hirundo.quarter('2023Q1'), 10)")
    expected = [(s["code"], rank, top["port"], top["packets"])
                for s in truth["sensors"] for rank, top in enumerate(s["top10"], 1)]
    assert sorted(rows) == sorted(expected)


def test_top_ports_are_the_published_ones(ask):
    rows = ask("select label_en, array_agg(port order by rank) "
               "from hirundo.top_ports(hirundo.quarter('2023Q1'), 10) group by label_en")
    for line in golden("top10-by-sensor.tsv"):
        assert dict(rows)[line["sensor"]] == [line[str(rank)] for rank in range(1, 11)]


@pytest.fixture(scope="module")
def report(finished):
    """A function that reads one of the report's CSV files."""
    if "No report:" in finished:
        pytest.skip("the report's page could not be bundled: npm's registry was not reached")
    site = pathlib.Path(re.search(r"^ +(/.*)/index\.html$", finished, re.M)[1])
    assert site == HOME / "site" and (site / "index.html").stat().st_mode & 0o077 == 0

    figures = json.loads((site / "report.json").read_text(encoding="utf-8"))["figures"]

    def read(name, organisation=None):
        if organisation:
            name, = [f["id"] for f in figures if f["id"].startswith(name + "-") and f["subject"]["en"] == organisation]
        with open(site / f"{name}.csv", encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    return read


def test_report_has_the_published_top_ten(report):
    rows = collections.defaultdict(list)
    for row in report("top_ports"):
        assert int(row["rank"]) == len(rows[row["label_en"]]) + 1
        rows[row["label_en"]].append(row["port"])
    assert len(rows) == 13
    for line in golden("top10-by-sensor.tsv"):
        assert rows[line["sensor"]] == [line[str(rank)] for rank in range(1, 11)]


def test_report_has_the_published_ttls(report):
    rows = report("ttl", "Example Hosting")
    assert [(r["region"], r["ttl_min"], r["ttl_max"]) for r in rows] == [(r["region"], r["ttl_min"], r["ttl_max"]) for r in golden("ttl-by-region.tsv")]
    assert {(r["all_sources"], r["verdict"]) for r in rows} == {("310", "consistent_with_home")}


def test_report_has_the_published_timeline(report):
    hosts = {(r["day"], r["port"]): int(r["hosts"]) for r in report("hosts", "Example Hosting")}
    assert {port for _, port in hosts} == set(PORTS)
    for line in golden("timeline.tsv"):
        if "first seen" in line["what"]:
            assert hosts[line["from"], line["port"]] > 0
            assert not any(n for (day, port), n in hosts.items() if port == line["port"] and day < line["from"])
        elif line["what"] == "peak":
            assert hosts[line["from"], line["port"]] == max(n for (_, port), n in hosts.items() if port == line["port"])
        elif line["what"].startswith("added"):
            assert min(day for (day, port), n in hosts.items() if port == line["port"] and n) == line["from"]


def test_report_says_what_the_database_says(report, ask):
    rows = ask("select bucket::date::text, side, round(average, 1)::text from hirundo.sensor_average(hirundo.quarter('2023Q1'), 'month')")
    assert sorted((r["bucket"], r["side"], r["average"]) for r in report("sensor_average")) == sorted(rows)
    frames, = ask("select sum(frames)::int, sum(difference)::int from hirundo.accounting(hirundo.quarter('2023Q1'))")
    assert (sum(int(r["frames"]) for r in report("accounting")), sum(int(r["difference"]) for r in report("accounting"))) == frames


def test_sensor_average(ask, truth):
    rows = ask("select bucket::date::text, side, packets, sensor_days::float, average::float "
               "from hirundo.sensor_average(hirundo.quarter('2023Q1'), 'month')")
    expected = [(a["bucket"], a["side"], a["packets"], float(a["sensor_days"]), pytest.approx(a["average"], abs=1e-5))
                for a in truth["average"]]
    assert sorted(rows) == sorted(expected, key=lambda row: row[:2])


def near(got, want):
    return all(len(g) == len(w) and all(a == b or (isinstance(a, float) and a == pytest.approx(float(b), abs=1e-5)) for a, b in zip(g, w))
               for g, w in zip(got, want, strict=True))


def test_port_trend_is_what_the_captures_hold(ask, seen):
    rows = ask("select bucket::date, rank, port, packets, sensor_days::float, average::float from hirundo.port_trend(hirundo.quarter('2023Q1'), 'month', 5)")
    months = [datetime.date(2023, m, 1) for m in (1, 2, 3, 4)]
    top = seen.ranking(seen.packets, months[0], months[3], 5)
    want = []
    for first, past in zip(months, months[1:]):
        days = seen.sensor_days(first, past)
        packets = {port: sum(seen.packets[d, port] for d in seen.days(first, past)) for _, port, _ in top}
        want += [(first, rank, port, packets[port], float(days), packets[port] / days) for rank, port, _ in top]
    assert near(rows, want)
    day = ask("select extract(hour from bucket)::int, packets from hirundo.port_trend(hirundo.day('2023-02-08'), 'hour', 1)")
    assert len(day) == 24 and sum(n for _, n in day) == max(seen.packets[datetime.date(2023, 2, 8), port] for _, port, _ in top)


@pytest.mark.parametrize("label, first, past, before", [("2023Q1", (2023, 1), (2023, 4), None), ("2023-02", (2023, 2), (2023, 3), (2023, 1))])
def test_quarter_top_is_what_the_captures_hold(ask, seen, label, first, past, before):
    rows = ask("select kind, rank, item, packets, average::float, previous_rank, previous, previous_sensor_days::int "
               "from hirundo.quarter_top(hirundo.period(%s), 12) where rank is not null", label)
    first, past = datetime.date(*first, 1), datetime.date(*past, 1)
    days, want = seen.sensor_days(first, past), []
    for kind, counts in (("service", seen.packets), ("country", seen.countries)):
        old = {item: rank for rank, item, _ in seen.ranking(counts, datetime.date(*before, 1), first, 10)} if before else {}
        old_days = seen.sensor_days(datetime.date(*before, 1), first) if before else 0
        want += [(kind, rank, item, packets, packets / days, old.get(item), str(old.get(item, "-")) if before else None, old_days)
                 for rank, item, packets in seen.ranking(counts, first, past, 12)]
    assert near(rows, want)


def test_tools_are_those_of_the_captures(ask, seen, truth):
    for tool in ("mirai", "masscan", "zmap", "nmap", "window-5656", "unknown"):
        rows = ask("select day, item, packets, hosts, all_packets from hirundo.tool_share(hirundo.quarter('2023Q1'), null, 'port', 5, %s)", tool)
        assert {(day, item): tuple(rest) for day, item, *rest in rows} == seen.tool_share(tool, 5)
    # one packet shows a Mirai type for certain: every one that was planted
    planted = sum(s["tools"]["mirai"] for s in truth["sensors"])
    assert ask("select sum(packets) from hirundo.tool_share(hirundo.quarter('2023Q1'), null, 'country', 0, 'mirai')") == [(planted,)]


def test_scanners_are_those_of_the_captures(ask, seen):
    rows = ask("select day, host(src), ports, sensors, packets from hirundo.scanners(hirundo.quarter('2023Q1'), 10)")
    assert {(day, src): tuple(rest) for day, src, *rest in rows} == seen.scanners(10) and len(rows) == len(seen.scanners(10))
    counted = ask("select day, hosts from hirundo.scanner_organisations(hirundo.quarter('2023Q1'), 10) where kind = 'total'")
    days = collections.Counter(day for day, _ in seen.scanners(10))
    assert dict(counted) == {day: days[day] for day in seen.covered}


def test_activity_calendar_is_that_of_the_captures(ask, seen, truth):
    prefixes = truth["hosting"]["prefixes"]
    first, past = datetime.date(2023, 2, 10), datetime.date(2023, 3, 3)
    rows = {row[0]: row[1:] for row in ask(
        "select kind, days, hosts_per_day::float, p_value from hirundo.activity_calendar(hirundo.period(%s), %s::cidr[], %s)",
        f"{first}..{past}", prefixes, PORTS)}
    days = seen.days(first, past)
    hosts = seen.hosts_per_day(prefixes, PORTS, days)
    # 11 and 23 February are holidays; the month's end is 26 to 28
    kinds = {d: "holiday" if (d.month, d.day) in ((2, 11), (2, 23)) else "weekend" if d.weekday() >= 5
             else "month_end" if (d.month, d.day) in ((2, 27), (2, 28)) else "weekday" for d in days}
    for kind in ("weekday", "weekend", "holiday", "month_end", "off", "all"):
        marked = [kinds[d] == kind or kind == "all" or (kind == "off" and kinds[d] != "weekday") for d in days]
        mine = [n for n, mark in zip(hosts, marked) if mark]
        assert rows[kind][0] == len(mine) and rows[kind][1] == pytest.approx(sum(mine) / len(mine), abs=1e-4)
        if kind not in ("weekday", "all"):
            assert rows[kind][2] == pytest.approx(float(witness.rotation_p_value(days, hosts, marked)), abs=1e-9)
    assert rows["off"][2] < 0.05


@pytest.mark.parametrize("path", [path for path in sql_docs.FILES if path.exists()], ids=lambda path: path.name)
def test_documentation_shows_what_the_database_answers(seen, monkeypatch, path):
    del seen  # all is rolled up
    for name, value in environment().items():
        if name.startswith("PG"):
            monkeypatch.setenv(name, value)
    assert len(sql_docs.queries(path.read_text(encoding="utf-8"))) > 10
    wrong = sql_docs.differences(path)
    assert not wrong, "\n".join(f"{query}\n" + "\n".join(answer) for query, _, answer in wrong)


def test_every_frame_is_accounted_for(ask, truth):
    rows = ask("select sensor, sum(frames), sum(non_ip), sum(malformed), sum(quarantined), sum(lost), sum(unknown_s), "
               "count(*) filter (where difference <> 0) from hirundo.accounting(hirundo.quarter('2023Q1')) group by 1")
    assert sorted(rows) == sorted((s["code"], s["frames"], s["non_ip"], 0, 0, 0, 0, 0) for s in truth["sensors"])


def test_books_agree_with_rows(ask):
    assert ask("select * from hirundo.accounting_check(hirundo.quarter('2023Q1')) "
               "where row_packets <> flow_packets or flood_packets <> flood_row_packets") == []


def test_nothing_is_in_twice(ask, truth):
    assert ask("select (select sum(packets) from hirundo.flow) + (select coalesce(sum(packets), 0) from hirundo.flood)") \
        == [(truth["totals"]["ipv4"] + truth["totals"]["ipv6"],)]


def packets_in_captures(truth):
    """(microseconds, packet, sensor) of all capture files."""
    for sensor in truth["sensors"]:
        for file in sensor["files"]:
            for when, link, frame in capture_reader.frames(HOME / "scenario" / file["name"]):
                packet = capture_reader.ip_packet(when, *capture_reader.peel(link, frame))
                if packet:
                    yield when, packet, sensor


def answers_in_captures(truth):
    """{victim: (first, last in microseconds, packets, bytes, days, kinds, ports, sensors, regions)}, from the capture files alone."""
    seen = collections.defaultdict(list)
    for when, packet, sensor in packets_in_captures(truth):
        if capture_reader.traffic_class(packet) == "backscatter":
            tcp = packet.proto == capture_reader.TCP
            kind = ("RST" if packet.extra[0] & 4 else "SYN-ACK") if tcp else {capture_reader.UDP: "UDP"}.get(packet.proto, "ICMP")
            port = f"{packet.extra[4]}/TCP" if tcp else "53/UDP" if kind == "UDP" else capture_reader.label(packet)
            seen[str((ipaddress.IPv6Address if packet.v6 else ipaddress.IPv4Address)(packet.src))].append(
                (when, packet.length, (when // 1000000 + 9 * 3600) // 86400, kind, port, sensor["code"], sensor["country"]))
    return {victim: (min(r[0] for r in rows), max(r[0] for r in rows), len(rows), sum(r[1] for r in rows),
                     *(len({r[i] for r in rows}) if i in (2, 5, 6) else sorted({r[i] for r in rows}) for i in (2, 3, 4, 5, 6)))
            for victim, rows in seen.items()}


def test_backscatter(ask, truth):
    rows = ask("select host(victim), extract(epoch from first_seen)::float, extract(epoch from last_seen)::float, packets, bytes, days, "
               "kinds, ports, sensors, regions, port_count from hirundo.backscatter(hirundo.quarter('2023Q1'))")
    assert [row[3] for row in rows] == sorted((row[3] for row in rows), reverse=True)
    expected = answers_in_captures(truth)
    assert sum(row[3] for row in rows) == sum(s["classes"]["backscatter"] for s in truth["sensors"])
    assert {row[0] for row in rows} == set(expected)
    for victim, first, last, packets, size, days, kinds, ports, sensors, regions, port_count in rows:
        want = expected[victim]
        # duration is kept in milliseconds
        assert [first * 1e6, last * 1e6] == pytest.approx(want[:2], abs=1001), victim
        assert (packets, size, days, sorted(kinds), sensors, regions) == (*want[2:6], *want[7:]), victim
        assert port_count == len(want[6]) and (sorted(ports) == want[6] or port_count > 10), victim


def test_organisation_case(ask, truth):
    """The hosting company before and after a notice: against the truth, and the captures for what it does not tell."""
    hosts = set(truth["hosting"]["sources"])
    seen = collections.defaultdict(list)
    for when, packet, sensor in packets_in_captures(truth):
        address = str((ipaddress.IPv6Address if packet.v6 else ipaddress.IPv4Address)(packet.src))
        if address in hosts and capture_reader.traffic_class(packet) not in ("backscatter", "local"):
            seen[address, capture_reader.label(packet)].append((when, packet.ttl, sensor["code"], sensor["country"]))
    done = subprocess.run([HOME / "bin" / "hirundo-collector", "notice", "add", truth["hosting"]["name"], "--sent", "2023-03-03",
                           "--ports", "22/TCP,5900/tcp", "--reference", "H-1"],
                          env={**os.environ, **environment()}, check=True, capture_output=True, text=True)
    assert "2023-03-03" in done.stdout
    case = ("from hirundo.organisation_case(%s, hirundo.quarter('2023Q1')) where section = %s", truth["hosting"]["name"])

    rows = ask("select item, port, extract(epoch from first_seen)::float, extract(epoch from last_seen)::float, packets, sensors, regions, "
               f"low, high {case[0]}", case[1], "evidence")
    assert {row[:2] for row in rows} == set(seen)
    for host, port, first, last, packets, sensors, regions, low, high in rows:
        want = seen[host, port]
        assert [first * 1e6, last * 1e6] == pytest.approx([min(want)[0], max(want)[0]], abs=1001)
        assert (packets, sensors, regions) == (len(want), len({w[2] for w in want}), len({w[3] for w in want}))
        assert min(w[1] for w in want) <= low <= high <= max(w[1] for w in want)

    rows = ask(f"select day::text, port, hosts, packets {case[0]} and port is not null", case[1], "daily")
    assert sorted(rows) == sorted((d["day"], d["port"], d["hosts"], d["packets"]) for d in truth["hosting"]["daily_source_hosts"])
    assert ask(f"select hosts, packets, sensors, regions, sensor_days::float {case[0]}", case[1], "summary") == [
        (len(hosts), truth["hosting"]["packets"], 13, 10, sum(float(a["sensor_days"]) for a in truth["average"]))]
    assert ask(f"select item, day > '2023-02-09' {case[0]}", case[1], "shift") == [("22/TCP to 5900/TCP", True)]
    assert ask(f"select item {case[0]} and hosts is null", case[1], "origin") == [("consistent_with_home",)]
    assert ask(f"select sum(packets), sum(value)::float {case[0]}", case[1], "tool") == [(truth["hosting"]["packets"], pytest.approx(1, abs=1e-3))]
    effect = dict((row[0], row[1:]) for row in ask(f"select item, value::float, high::float, note {case[0]}", case[1], "effect"))

    def rate(days):
        return sum(d["packets"] for d in truth["hosting"]["daily_source_hosts"] if d["day"] in days) / sum(
            13 - (d in ("2023-02-15", "2023-02-16", "2023-02-17", "2023-02-18", "2023-02-19")) for d in days)
    days = sorted({d["day"] for d in truth["hosting"]["daily_source_hosts"]})
    before = [d for d in days if "2023-02-03" <= d < "2023-03-03"]
    after = [d for d in days if d > "2023-03-03"]
    assert effect["packets"][0] == pytest.approx(rate(after) / rate(before), abs=1e-4)
    assert effect["packets"][1] < 1 and ": fell: " in effect["packets"][2] and ": fell: " in effect["hosts"][2]
    assert ": no clear change" in effect["packets of others"][2]


def test_case_file(ask, truth, tmp_path):
    """A notice's case file of the hosting company: every packet that was planted, signed."""
    conf, out = HOME / "conf" / "collector.conf", tmp_path / "case"
    command = [HOME / "bin" / "hirundo-collector"]
    done = subprocess.run([*command, "export", "-c", conf, truth["hosting"]["name"], "2023Q1", "--out", out], check=False, capture_output=True, text=True,
                          env=os.environ)
    assert done.returncode == 0, done.stderr
    subprocess.run([*command, "verify", "-c", conf, out], check=True)
    with open(out / "events.csv", encoding="ascii", newline="") as file:
        events = list(csv.DictReader(file))
    assert {e["src_ip"] for e in events} == set(truth["hosting"]["sources"])
    assert sum(int(e["packets"]) for e in events) == truth["hosting"]["packets"]
    assert len({e["sensor"] for e in events}) == 13
    with open(out / "sources.csv", encoding="ascii", newline="") as file:
        sources = {(s["src_ip"], s["dst_port"] + "/" + s["protocol"].upper()): int(s["packets"]) for s in csv.DictReader(file)}
    assert sources == dict(((row[0], row[1]), row[2]) for row in ask(
        "select item, port, packets from hirundo.organisation_case(%s, hirundo.quarter('2023Q1')) where section = 'evidence'", truth["hosting"]["name"]))
    with open(out / "xarf.jsonl", encoding="utf-8") as file:
        assert len([json.loads(line) for line in file]) == len(sources)
    text = "".join((out / name).read_text(encoding="utf-8") for name in ("case.en.txt", "case.ja.html", "events.csv", "manifest.json"))
    for name, address in ask("select s.name, host(a.address) from hirundo.sensor s join hirundo.sensor_address a using (sensor_id) where a.address is not null"):
        assert address not in text and not re.search(rf"\b{re.escape(name)}\b", text), name


def test_psql_answers_after_sourcing_env(finished):
    done = subprocess.run(["/bin/sh", "-c", '. "$1" && psql -XAt -c "select count(*) from hirundo.sensor"',
                           "sh", HOME / "env"], env={"PATH": os.environ["PATH"]}, check=True, capture_output=True, text=True)
    assert done.stdout == "13\n"
    env = environment()
    assert re.match(r"tcp://127\.0\.0\.1:\d+$", env["HIRUNDO_ENDPOINT"])
    assert len(env["HIRUNDO_SERVER_KEY"]) == 40
    assert pathlib.Path(env["HIRUNDO_CONF"]).is_file()


def test_database_is_private(ask):
    assert ask("show listen_addresses") == [("",)]
    rules = (HOME / "pg" / "data" / "pg_hba.conf").read_text().splitlines()
    assert [rule.split() for rule in rules if rule and rule[0] != "#"] == [["local", "all", "all", "peer", "map=hirundo"]]
    postmaster = int((HOME / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])
    assert os.stat(f"/proc/{postmaster}").st_uid != 0


def test_secrets_and_programs(finished):
    for key in (HOME / "keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key
    for name in ("hirundo-sensor", "hirundo-collector"):
        program = HOME / "bin" / name
        assert program.is_file() and not program.is_symlink()


def test_again_it_only_shows_the_tables(ask, finished):
    before = ask("select count(*), max(committed_at) from hirundo.batch")
    again = quickstart().stdout
    assert "in the database already" in again and "consistent_with_home" in again
    assert ask("select count(*), max(committed_at) from hirundo.batch") == before


def test_another_scenario_needs_a_clean_directory(finished):
    assert "clean" in quickstart("--seed", 2, check=1).stderr


def test_moves_when_its_port_is_taken(finished):
    quickstart("stop")
    port = int(environment()["HIRUNDO_ENDPOINT"].rpartition(":")[2])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert "free one" in quickstart("start").stdout
    assert environment()["HIRUNDO_ENDPOINT"] != f"tcp://127.0.0.1:{port}"


def test_own_capture(ask, truth):
    sensor = next(s for s in truth["sensors"] if len(s["files"]) == 2)
    files = [HOME / "scenario" / f["name"] for f in sensor["files"]]
    out = quickstart("replay", *files).stdout
    assert "own-1" in out
    rows = ask("select sum(frames), sum(abs(difference)) from hirundo.accounting(hirundo.quarter('2023Q1')) "
               "where sensor = 'own-1'")
    assert rows == [(sensor["frames"], 0)]


def test_own_captures_without_packets_or_damaged(finished, tmp_path):
    del finished
    header = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(header)
    assert "Nothing arrived" in quickstart("replay", empty).stdout
    damaged = tmp_path / "it's cut & bent.pcap"
    damaged.write_bytes(header + bytes(7))
    done = quickstart("replay", damaged, check=1)
    assert f"{damaged}: damaged" in done.stderr and done.stderr.count("\n") == 1


def test_wrong_usage():
    assert quickstart("--nonsense", check=2).stderr
    assert quickstart("fly", check=2).stderr
    assert quickstart("--seed", "many", check=2).stderr
    assert quickstart("replay", check=2).stderr
    missing = quickstart("replay", "/nonexistent.pcap", check=1).stderr
    assert "/nonexistent.pcap" in missing and missing.count("\n") == 1


def test_stop_and_start(finished):
    pid = collector_pid()
    assert running(pid)
    quickstart("stop")
    assert not running(pid) and processes() == []
    assert "stopped" in quickstart("status", check=1).stdout
    quickstart("start")
    assert "scenario is in the database" in quickstart("status").stdout


def test_clean_leaves_nothing(finished):
    database = (HOME / "pg").resolve()
    quickstart("clean")
    deadline = time.monotonic() + 10
    while processes() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes() == []
    assert not HOME.exists() and not database.exists()
    assert "no quickstart" in quickstart("clean").stdout
