"""Case files for notices: export, what is in it and what is not, and verify against everything that may happen to it."""
import base64
import csv
import datetime
import hashlib
import html.parser
import io
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time
import uuid

import jsonschema
import pytest

import hirundo

UTC = datetime.timezone.utc
NAME = "Ha<script>alert(1)</script> & \"Co.\" 'it''s' $(id) `id`"
PERIOD = "2023-02"
SENSORS = {"jp-tokyo-1": ("JP", "203.0.113.11"), "kr-seoul-1": ("KR", "203.0.113.22"), "tw-taipei-1": ("TW", "2001:db8:ffff::33")}
DOCUMENTS = {"case.en.html", "case.en.txt", "case.ja.html", "case.ja.txt"}
TABLES = {"sources.csv", "events.csv"}
SIGNED = {"operator.pub", "manifest.json", "manifest.sig"}
# proto, port, source port, flags, marks, class
FLOWS = [(6, 22, 40001, 2, 0), (6, 22, 40002, 2, 0), (17, 53413, 1024, 0, 0), (1, 8 * 256, None, 0, 0), (47, None, None, 0, 0), (6, 0, 5, 2, 0),
         (6, None, None, 0, 4), (6, 5900, 6000, 2, 2)]
# of no case: an answer, a broadcast
OTHERS = [(6, 1234, 80, 18, 0), (17, 67, 68, 0, 16)]


def flow(cursor, at, src, sensor, proto, port, src_port, flags, marks, packets=3):
    cursor.execute("select hirundo.partition_ensure(%s)", (at.date(),))
    cursor.execute("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, ip_id, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                   "values (%s, 1500, %s, %s, %s, %s, 54321, (select sensor_id from hirundo.sensor where name = %s), 1, %s, 240, %s, %s, %s)",
                   (at, packets, packets * 40, port, src_port, sensor, proto, flags, marks, src))


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres(settings=["fsync = off"]) as pg:
        pg.migrate()
        with pg.connect() as conn, conn.cursor() as cursor:
            for name, value in (("retention_flow", "off"), ("time_zone", "Asia/Tokyo"), ("home_country", "JP"), ("reporter_name", "Example <CSIRT>"),
                                ("reporter_contact", "csirt@example.org")):
                cursor.execute("update hirundo.setting set value = %s where name = %s", (value, name))
            for i, (name, (country, address)) in enumerate(SENSORS.items(), 1):
                cursor.execute("insert into hirundo.sensor (sensor_id, name, country, label_en, label_ja) values (%s, %s, %s, %s, %s)",
                               (i, name, country, f"Label-{name}", f"札-{name}"))
                cursor.execute("insert into hirundo.sensor_address (sensor_id, dst_no, address) values (%s, 1, %s)", (i, address))
                cursor.execute("insert into hirundo.observation (sensor_id, slot, covered_ms) select %s, g, 900000 from "
                               "generate_series('2023-01-31 15:00Z'::timestamptz, '2023-02-28 14:45Z', interval '15 minutes') g", (i,))
            for name, prefixes, tlp in ((NAME, ["198.18.0.0/24", "2001:db8::/64"], "AMBER+STRICT"), ("Quiet Ltd", ["198.18.9.0/24"], "RED"),
                                        ("Other Hosting", ["198.18.0.0/16"], "CLEAR")):
                cursor.execute("insert into hirundo.organisation (name, contacts, tlp) values (%s, %s, %s) returning organisation_id",
                               (name, "abuse@<b>example</b>.net", tlp))
                (number,) = cursor.fetchone()
                for prefix in prefixes:
                    cursor.execute("insert into hirundo.organisation_prefix values (%s, %s)", (number, prefix))
            for day in range(1, 11):
                for i, src in enumerate(("198.18.0.7", "198.18.0.8", "2001:db8::9")):
                    for j, one in enumerate(FLOWS + OTHERS):
                        if src == "2001:db8::9" and one[0] == 1:
                            one = (58, 128 * 256, None, 0, 0)
                        at = datetime.datetime(2023, 2, day, 3, i, j, 700000, UTC)
                        flow(cursor, at, src, list(SENSORS)[(day + i) % 3], *one)
            flow(cursor, datetime.datetime(2023, 2, 3, tzinfo=UTC), "198.18.200.1", "jp-tokyo-1", 6, 80, 999, 2, 0)
        pg.command("maintain")
        yield pg


@pytest.fixture(name="keys", scope="module")
def fixture_keys(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


def export_words(keys, organisation, period, out, *more):
    return [hirundo.program("hirundo-collector"), "export", organisation, period, "--out", str(out), "--operator-key", str(keys / "operator.key"),
            "--pseudonym-key", str(keys / "pseudonym.key"), *more]


@pytest.fixture(name="export", scope="module")
def fixture_export(pg, keys):
    def export(*words, check=True):
        return pg.command(*export_words(keys, *words)[1:], check=check)
    return export


@pytest.fixture(name="made", scope="module")
def fixture_made(export, tmp_path_factory):
    """(directory, what was printed)."""
    out = tmp_path_factory.mktemp("cases") / "case"
    return out, export(NAME, PERIOD, out)


@pytest.fixture(name="case")
def fixture_case(made, tmp_path):
    """A copy to be harmed."""
    return pathlib.Path(shutil.copytree(made[0], tmp_path / "copy"))


def rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="ascii"))))


def everything(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def test_private_and_whole(made, keys):
    directory, done = made
    assert {p.name for p in directory.iterdir()} == DOCUMENTS | TABLES | SIGNED | {"xarf.jsonl"}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in [*directory.iterdir(), keys / "operator.key", keys / "pseudonym.key"]} == {0o600}
    assert list(directory.parent.iterdir()) == [directory]
    assert "made the operator's key" in done.stderr and "made the pseudonym key" in done.stderr
    assert re.search(r"^events\.csv +240 rows +\d+ bytes +\d+\.\d\d s$", done.stdout, re.M)
    assert re.search(r"^X-ARF has 12 of 21 hosts and ports", done.stdout, re.M)
    assert f"3 hosts of {NAME}, TLP:AMBER+STRICT; 10 files" in done.stdout


def test_manifest(made):
    directory, _ = made
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["organisation"] == NAME and manifest["period"] == PERIOD and manifest["tlp"] == "AMBER+STRICT"
    assert (manifest["from"], manifest["to"]) == ("2023-01-31T15:00:00Z", "2023-02-28T15:00:00Z")
    version = subprocess.run([hirundo.program("hirundo-collector"), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert manifest["product"] == version
    made_at = datetime.datetime.fromisoformat(manifest["made"].replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(UTC) - made_at).total_seconds()) < 3600
    files = everything(directory)
    assert {f["name"]: (f["bytes"], f["sha256"]) for f in manifest["files"]} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items() if not name.startswith("manifest.")}


def test_openssl_verifies_it(made):
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "operator.pub", "-in", "manifest.json", "-sigfile", "manifest.sig"],
                          cwd=made[0], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_events_are_the_rows_of_flow(pg, made):
    got = rows(made[0] / "events.csv")
    assert list(got[0]) == ["timestamp", "protocol", "src_ip", "src_port", "dst_port", "icmp_type", "icmp_code", "tcp_flags", "packets", "bytes", "last_seen",
                            "ttl", "sensor", "tlp"]
    def key(row):
        return tuple(str(x if x is not None else "") for x in row)
    wanted = pg.query("select to_char(ts at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), host(src), src_port, case when proto in (6, 17) then port end, "
                      "case when proto in (1, 58) then port / 256 end, packets, bytes, ttl from hirundo.flow_classed "
                      "where class not in ('backscatter', 'local') and (src << '198.18.0.0/24' or src << '2001:db8::/64')")
    assert sorted(key(r) for r in wanted) == sorted(key((r["timestamp"], r["src_ip"], r["src_port"], r["dst_port"], r["icmp_type"], r["packets"], r["bytes"], r["ttl"]))
                                                    for r in got)
    assert [r["timestamp"] for r in got] == sorted(r["timestamp"] for r in got)
    assert {r["protocol"] for r in got} == {"tcp", "udp", "icmp", "icmpv6", "gre"}
    assert {r["tlp"] for r in got} == {"AMBER+STRICT"}
    assert all(re.fullmatch(r"s-[0-9a-f]{16}", r["sensor"]) for r in got)


def test_sources_add_up(pg, made):
    got = rows(made[0] / "sources.csv")
    assert list(got[0]) == ["timestamp", "last_seen", "src_ip", "protocol", "dst_port", "packets", "sensors", "ttl_min", "ttl_max", "tlp"]
    summary = pg.query("select hosts, packets from hirundo.organisation_case(%s, hirundo.period(%s)) where section = 'summary'", NAME, PERIOD)[0]
    assert (len({r["src_ip"] for r in got}), sum(int(r["packets"]) for r in got)) == summary
    assert len(got) == 21 and all(r["timestamp"] < r["last_seen"] for r in got)
    assert {(r["protocol"], r["dst_port"]) for r in got if r["src_ip"] == "2001:db8::9"} == {
        ("tcp", "22"), ("udp", "53413"), ("icmpv6", ""), ("gre", ""), ("tcp", "0"), ("tcp", ""), ("tcp", "5900")}


def test_sensors_are_hidden(pg, made):
    """Nothing that names a sensor or its address, in any file, nor what tools compute from addresses."""
    for name, content in everything(made[0]).items():
        text = content.decode(errors="replace")
        if name == "xarf.jsonl":
            text += "".join(base64.b64decode(e["payload"]).decode() for line in text.splitlines() for e in json.loads(line)["evidence"])
        for sensor, (_, address) in SENSORS.items():
            for secret in (sensor, address, f"Label-{sensor}", f"札-{sensor}"):
                assert secret not in text, f"{secret} in {name}"
        assert "54321" not in text or name == "manifest.json", f"ip_id in {name}"
    assert pg.value("select count(*) from hirundo.flow where ip_id = 54321") > 0


def test_pseudonyms_are_the_recipients(export, made, tmp_path):
    """The same for one organisation for ever, others for another."""
    export(NAME, "2023-02-03", tmp_path / "again")
    export("Other Hosting", PERIOD, tmp_path / "other")
    def sensors(directory):
        return {(r["timestamp"], r["src_ip"], r["dst_port"]): r["sensor"] for r in rows(directory / "events.csv")}
    mine, again, other = sensors(made[0]), sensors(tmp_path / "again"), sensors(tmp_path / "other")
    assert again and again.items() <= mine.items()
    common = set(mine) & set(other)
    assert common and all(mine[k] != other[k] for k in common)
    assert len(set(mine.values())) == 3 and not set(mine.values()) & set(other.values())


class Page(html.parser.HTMLParser):
    VOID = {"meta"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.attributes = set(), [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_documents(made, lang):
    page = Page((made[0] / f"case.{lang}.html").read_text(encoding="utf-8"))
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "pre"}
    assert ("lang", lang) in page.attributes
    assert not [a for a in page.attributes if a[0].startswith("on") or a[0] in ("href", "src")]
    policy = next(v for k, v in page.attributes if k == "content" and v.startswith("default-src"))
    style = re.search(r"<style>(.*)</style>", (made[0] / f"case.{lang}.html").read_text(encoding="utf-8"), re.S).group(1)
    assert policy == f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
    plain = (made[0] / f"case.{lang}.txt").read_text(encoding="utf-8")
    for text in ("".join(page.texts), plain):
        assert NAME in text and "Example <CSIRT> <csirt@example.org>" in text
        assert text.count("TLP:AMBER+STRICT") >= 2
        for part in ("198.18.0.7", "2001:db8::9", "53413/UDP", "ICMP", "GRE", "2023-02-01T03:00:00Z", "events.csv", "xarf.jsonl", "manifest.sig", "2023-02-10"):
            assert part in text, part
        assert ("送信元ホスト" if lang == "ja" else "Source hosts") in text
        assert [tool in text for tool in ("unknown", "不明")] == [lang == "en", lang == "ja"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", plain)
    assert max(len(line) for line in plain.splitlines()) < 220


def test_marks_of_direction_are_shown(pg, export, tmp_path):
    """A name cannot turn the rest of a line round, nor move a cursor."""
    number = pg.value("insert into hirundo.organisation (name) values (%s) returning organisation_id", "gpj.\u202eexe \u2028\x1b[2J")
    pg.query("insert into hirundo.organisation_prefix values (%s, '198.18.0.7')", number)
    done = export("gpj.\u202eexe \u2028\x1b[2J", PERIOD, tmp_path / "case")
    for text in [(tmp_path / "case" / n).read_text(encoding="utf-8") for n in DOCUMENTS | {"manifest.json"}] + [done.stdout.rsplit("notice add", 1)[0]]:
        assert "gpj.\ufffdexe \ufffd\ufffd[2J" in text
    for text in [(tmp_path / "case" / n).read_text(encoding="utf-8") for n in DOCUMENTS | {"manifest.json"}] + [done.stdout]:
        assert not re.search("[\u202e\u2028\x1b]", text)
    # and it is still typed as printed
    path = os.path.dirname(hirundo.program("hirundo-collector"))
    subprocess.run(["bash", "-c", done.stdout.rstrip("\n").splitlines()[-1]], env=dict(pg.environment(), PATH=f"{path}:{os.environ['PATH']}"), capture_output=True, check=True)
    assert pg.value("select count(*) from hirundo.notice where organisation_id = %s", number) == 1
    pg.query("delete from hirundo.notice where organisation_id = %s", number)
    # one that is not there is named in the same way
    done = export("\x1b[2J\u202eGroße Bank", PERIOD, tmp_path / "none", check=False)
    assert done.returncode == 1 and done.stderr.startswith('hirundo-collector: there is no organisation "\ufffd[2J\ufffdGroße Bank" under watch')


XARF = jsonschema.Draft202012Validator(json.loads((pathlib.Path(__file__).parent / "xarf_port_scan.json").read_text(encoding="utf-8")),
                                       format_checker=jsonschema.FormatChecker())


def check_xarf(report):
    """What X-ARF 4.2 asks of a report of category connection, type port_scan, and what no schema can say."""
    assert not [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in XARF.iter_errors(report)]
    assert uuid.UUID(report["report_id"]).version == 4 and uuid.UUID(report["report_id"]).variant == uuid.RFC_4122
    for name in ("timestamp", "first_seen", "last_seen"):
        datetime.datetime.strptime(report[name], "%Y-%m-%dT%H:%M:%SZ")
    assert report["first_seen"] <= report["timestamp"] <= report["last_seen"]
    assert all(report[who]["contact"].endswith("@" + report[who]["domain"]) for who in ("reporter", "sender"))
    for item in report["evidence"]:
        payload = base64.b64decode(item["payload"], validate=True)
        assert item["hash"] == "sha256:" + hashlib.sha256(payload).hexdigest() and item["size"] == len(payload)


def test_the_schema_refuses(made):
    """Each field that is left out, each that is added, and each value that is of another kind."""
    report = json.loads((made[0] / "xarf.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert XARF.is_valid(report)
    for key in report:
        assert XARF.is_valid({k: v for k, v in report.items() if k != key}) == (key == "destination_port"), key
        assert not XARF.is_valid(report | {key: None}), key
    for change in ({"x": 1}, {"source_port": 0}, {"source_port": 65536}, {"source_identifier": "example.org"}, {"timestamp": "2023-02-01"}, {"protocol": "TCP"},
                   {"tags": ["tlp"]}, {"evidence": []}, {"report_id": "550e8400-e29b-11d4-a716-446655440000"}, {"reporter": report["reporter"] | {"contact": "nobody"}},
                   {"evidence": [report["evidence"][0] | {"payload": "a=b"}]}):
        assert not XARF.is_valid(report | change), change


def test_xarf(made):
    reports = [json.loads(line) for line in (made[0] / "xarf.jsonl").read_text(encoding="utf-8").splitlines()]
    for report in reports:
        check_xarf(report)
    assert {(r["source_identifier"], r["protocol"], r.get("destination_port")) for r in reports} == {
        (src, *rest) for src in ("198.18.0.7", "198.18.0.8", "2001:db8::9") for rest in (("tcp", 22), ("udp", 53413), ("tcp", None), ("tcp", 5900))}
    one = next(r for r in reports if r["source_identifier"] == "198.18.0.7" and r.get("destination_port") == 22)
    assert (one["first_seen"], one["last_seen"], one["source_port"]) == ("2023-02-01T03:00:00Z", "2023-02-10T03:00:03Z", 40001)
    assert one["tags"] == ["tlp:amber+strict"] and one["reporter"]["org"] == "Example <CSIRT>"
    assert len({r["report_id"] for r in reports}) == len(reports)
    evidence = list(csv.DictReader(io.StringIO(base64.b64decode(one["evidence"][0]["payload"]).decode())))
    assert len(evidence) == 20 and evidence[0]["src_ip"] == "198.18.0.7" and evidence[0]["sensor"].startswith("s-")


def test_xarf_against_its_schema(made):
    """The published schema itself: a clone of github.com/xarf/xarf-spec (or its directory schemas/v4), named by the environment."""
    where = os.environ.get("HIRUNDO_XARF_SCHEMAS")
    if not where:
        pytest.skip("HIRUNDO_XARF_SCHEMAS names no directory with the schemas of X-ARF v4")
    documents = {d["$id"]: d for d in (json.loads(p.read_text()) for p in pathlib.Path(where).rglob("*.json")) if "xarf.org/schemas/v4" in d.get("$id", "")}
    master = next(d for name, d in documents.items() if name.endswith("xarf-v4-master.json"))
    resolver = jsonschema.RefResolver.from_schema(master, store=documents)
    validator = jsonschema.Draft202012Validator(master, resolver=resolver, format_checker=jsonschema.FormatChecker())
    lines = (made[0] / "xarf.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert not list(validator.iter_errors(json.loads(line)))
    broken = json.loads(lines[0])
    del broken["source_port"]
    assert list(validator.iter_errors(broken)), "the schema refuses what it must"


def test_the_same_sighting_has_the_same_number(export, made, tmp_path):
    export(NAME, "2023-02-01..2023-02-28", tmp_path / "again", "--format", "xarf")
    def ids(directory):
        return {json.loads(line)["report_id"] for line in (directory / "xarf.jsonl").read_text().splitlines()}
    assert ids(made[0]) == ids(tmp_path / "again")


def test_notice_is_typed_as_printed(pg, made):
    """The last line printed is a command, whatever the organisation is called."""
    line = made[1].stdout.rstrip("\n").splitlines()[-1]
    path = os.path.dirname(hirundo.program("hirundo-collector"))
    done = subprocess.run(["bash", "-c", line], env=dict(pg.environment(), PATH=f"{path}:{os.environ['PATH']}"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, line + done.stderr
    manifest = (made[0] / "manifest.json").read_bytes()
    # the day on which it was made, of the reporting time zone
    ((name, that_day, ports, reference),) = pg.query(
        "select o.name, n.sent = (%s::timestamptz at time zone 'Asia/Tokyo')::date, n.ports, n.reference from hirundo.notice n "
        "join hirundo.organisation o using (organisation_id)", json.loads(manifest)["made"])
    assert (name, that_day, reference) == (NAME, True, f"case {hashlib.sha256(manifest).hexdigest()[:12]}")
    assert set(ports) == {"0/TCP", "22/TCP", "5900/TCP", "TCP/fragment", "53413/UDP", "GRE", "ICMP", "ICMPv6"}


def test_effect_of_a_notice_is_told(pg, export, tmp_path):
    number = pg.value("select organisation_id from hirundo.organisation where name = 'Other Hosting'")
    pg.query("insert into hirundo.notice (organisation_id, sent) values (%s, '2023-02-10')", number)
    export("Other Hosting", PERIOD, tmp_path / "case")
    assert re.search(r"After earlier notices.*2023-02-10 +packets +0\.\d+", (tmp_path / "case/case.en.txt").read_text(), re.S)
    pg.query("delete from hirundo.notice where organisation_id = %s", number)


def test_quiet_and_formats(export, tmp_path):
    for formats, files in (("csv", TABLES), ("html", DOCUMENTS), ("xarf,html", DOCUMENTS | {"xarf.jsonl"})):
        out = tmp_path / formats
        done = export(NAME, PERIOD, out, "--format", formats, "--quiet")
        assert (done.stdout, done.stderr) == ("", "")
        assert {p.name for p in out.iterdir()} == files | SIGNED
    assert "events.csv" not in (tmp_path / "html/case.en.txt").read_text()


def test_without_a_reporter(pg, export, tmp_path):
    pg.query("update hirundo.setting set value = '' where name = 'reporter_contact'")
    try:
        done = export(NAME, PERIOD, tmp_path / "all")
        assert "without X-ARF: " in done.stderr and "reporter_contact" in done.stderr
        assert {p.name for p in (tmp_path / "all").iterdir()} == DOCUMENTS | TABLES | SIGNED
        assert "xarf" not in (tmp_path / "all/case.ja.txt").read_text()
        done = export(NAME, PERIOD, tmp_path / "xarf", "--format", "xarf", check=False)
        assert done.returncode == 1 and "reporter_contact" in done.stderr and not (tmp_path / "xarf").exists()
    finally:
        pg.query("update hirundo.setting set value = 'csirt@example.org' where name = 'reporter_contact'")
    for value in ("nobody", "a b@example.org", "a@b", "<a@example.org>", "a@example.org\n"):
        with pytest.raises(Exception, match="setting_reporter_check"):
            pg.query("update hirundo.setting set value = %s where name = 'reporter_contact'", value)


@pytest.mark.parametrize("words, says", [
    (["Nobody & Sons", PERIOD], 'there is no organisation "Nobody & Sons" under watch; hint: hirundo-collector import organisations'),
    ([NAME, "2023-13"], "is not a month"),
    ([NAME, "soon"], "is not a period"),
    ([NAME, "2999"], "is not a period"),
    ([NAME, "2999Q1"], "the period 2999Q1 has not begun"),
    ([NAME, "2022-02"], "no sensor observed anything in the period 2022-02"),
    (["Quiet Ltd", PERIOD], 'nothing to report: in 84.0 observed sensor-days nothing came from the prefix of "Quiet Ltd"'),
])
def test_refused(export, tmp_path, words, says):
    done = export(*words, tmp_path / "case", check=False)
    assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_never_writes_over(export, tmp_path):
    (tmp_path / "empty").mkdir(mode=0o755)
    export(NAME, "2023-02-03", f"{tmp_path}/empty/", "--quiet")
    assert stat.S_IMODE((tmp_path / "empty").stat().st_mode) == 0o700
    before = everything(tmp_path / "empty")
    done = export(NAME, "2023-02-03", tmp_path / "empty", check=False)
    assert done.returncode == 1 and f"{tmp_path}/empty is not empty: name a directory that is not there yet" in done.stderr
    (tmp_path / "file").write_text("")
    done = export(NAME, "2023-02-03", tmp_path / "file", check=False)
    assert done.returncode == 1 and f"{tmp_path}/file: Not a directory" in done.stderr
    done = export(NAME, "2023-02-03", tmp_path / "no/such/place", check=False)
    assert done.returncode == 1 and "No such file or directory" in done.stderr
    assert everything(tmp_path / "empty") == before and {p.name for p in tmp_path.iterdir()} == {"empty", "file"}


def test_usage(pg, tmp_path):
    for words, says in ((["export", NAME, PERIOD], "--out names the directory"), (["export", NAME, "--out", "x"], "an argument is missing"),
                        (["export", NAME, PERIOD, "--out", "x", "--format", "pdf"], "--format pdf: must be some of html,csv,xarf"),
                        (["export", NAME, PERIOD, "--out", "x", "--format", "csv,"], "--format csv,: must be some of"),
                        (["verify"], "an argument is missing"), (["verify", "a", "b"], "too many arguments"),
                        (["verify", "a", "--key", "b", "--fingerprint", "c"], "not both")):
        done = pg.command(*words, check=False, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr, words
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(pg, keys, tmp_path):
    done = subprocess.run(["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *export_words(keys, NAME, PERIOD, tmp_path / "case")],
                          env=pg.environment(), capture_output=True, text=True, check=False, preexec_fn=ignore_sigxfsz)
    assert done.returncode == 1 and f"{tmp_path}/case/" in done.stderr and "File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def ignore_sigxfsz():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_times_that_are_gone(pg, export, tmp_path):
    """Days whose flow retention has dropped: the day stands where its times stood, and X-ARF has none of it."""
    with pg.connect() as conn, conn.cursor() as cursor:
        flow(cursor, datetime.datetime(2023, 2, 20, 3, tzinfo=UTC), "198.18.9.1", "jp-tokyo-1", 6, 22, 999, 2, 0)
        cursor.execute("insert into hirundo.dirty (sensor_id, hour) values (1, '2023-02-20 03:00Z') on conflict (sensor_id, hour) do update set gen = hirundo.dirty.gen + 1")
    pg.command("maintain")
    pg.query("update hirundo.setting set value = '400 days' where name = 'retention_flow'")
    pg.query("select hirundo.partition_drop('2023-02-20')")
    pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
    done = export("Quiet Ltd", PERIOD, tmp_path / "case")
    (row,) = rows(tmp_path / "case/sources.csv")
    assert (row["timestamp"], row["last_seen"], row["packets"]) == ("2023-02-20", "", "3")
    assert not rows(tmp_path / "case/events.csv") and (tmp_path / "case/xarf.jsonl").read_bytes() == b""
    assert "X-ARF has 0 of 1 hosts" in done.stdout
    assert "Of 1 of 1 days times and single observations are not kept any more" in (tmp_path / "case/case.en.txt").read_text()


def test_xarf_after_retention(pg, export, tmp_path):
    """A case made again when its first day is gone: the same reports by number, packets and sensors; only the time of day is lost."""
    number = pg.value("insert into hirundo.organisation (name) values ('Patient GmbH') returning organisation_id")
    pg.query("insert into hirundo.organisation_prefix values (%s, '198.18.77.0/24')", number)
    with pg.connect() as conn, conn.cursor() as cursor:
        for day, sensor in ((15, "jp-tokyo-1"), (16, "kr-seoul-1"), (18, "tw-taipei-1")):
            for port in (22, 443):
                flow(cursor, datetime.datetime(2023, 2, day, 4, 5, 6, tzinfo=UTC), "198.18.77.1", sensor, 6, port, 1000 + day, 2, 0, packets=day)
        flow(cursor, datetime.datetime(2023, 2, 18, 4, tzinfo=UTC), "198.18.77.2", "jp-tokyo-1", 6, 22, 999, 2, 0)
        cursor.execute("insert into hirundo.dirty (sensor_id, hour) select distinct sensor_id, date_trunc('hour', ts, 'UTC') from hirundo.flow where src << '198.18.77.0/24' "
                       "on conflict (sensor_id, hour) do update set gen = hirundo.dirty.gen + 1")
    pg.command("maintain")

    def reports(out):
        export("Patient GmbH", PERIOD, tmp_path / out, "--format", "xarf,csv")
        found = [json.loads(line) for line in (tmp_path / out / "xarf.jsonl").read_text().splitlines()]
        for report in found:
            check_xarf(report)
        return {(r["source_identifier"], r["destination_port"]): r for r in found}
    before = reports("before")
    pg.query("update hirundo.setting set value = '400 days' where name = 'retention_flow'")
    pg.query("select hirundo.partition_drop('2023-02-15')")
    pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
    after = reports("after")
    assert {k: r["report_id"] for k, r in before.items()} == {k: r["report_id"] for k, r in after.items()} and len(after) == 3
    assert before["198.18.77.2", 22] == after["198.18.77.2", 22]
    one, again = before["198.18.77.1", 22], after["198.18.77.1", 22]
    assert (one["first_seen"], one["timestamp"], one["source_port"]) == ("2023-02-15T04:05:06Z", "2023-02-15T04:05:06Z", 1015)
    # the beginning of that day in Japan; source port and time are those of the first row that is left
    assert (again["first_seen"], again["timestamp"], again["source_port"]) == ("2023-02-14T15:00:00Z", "2023-02-16T04:05:06Z", 1016)
    assert one["last_seen"] == again["last_seen"]
    for report in (one, again):
        assert report["description"].startswith("49 packets to port 22/TCP at 3 of our sensors")
    assert "First seen on 2023-02-15, whose times and TTLs are not kept any more" in again["description"] and "TTL on arrival: 240 to 240" in one["description"]
    (row,) = [r for r in rows(tmp_path / "after/sources.csv") if (r["src_ip"], r["dst_port"]) == ("198.18.77.1", "22")]
    assert (row["timestamp"], row["packets"], row["sensors"]) == ("2023-02-15", "49", "3")
    # another first day is another sighting
    export("Patient GmbH", "2023-02-16..2023-03-01", tmp_path / "later", "--format", "xarf")
    later = {json.loads(line)["report_id"] for line in (tmp_path / "later/xarf.jsonl").read_text().splitlines()}
    assert {r["report_id"] for k, r in after.items() if k[0] == "198.18.77.2"} == later & {r["report_id"] for r in after.values()}


def test_who_may(pg, keys, tmp_path):
    """A reader, or the owner; the service that takes batches in may not."""
    for role, group, may in (("reader", "hirundo_analyst", True), ("keeper", "hirundo_owner", True), ("service", "hirundo_collector", False)):
        pg.query(f"create role {role} login noinherit password 'only-for-tests' in role {group}")
        done = subprocess.run(export_words(keys, NAME, "2023-02-03", tmp_path / role, "--quiet"),
                              env=dict(pg.environment(), PGUSER=role), capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == may == (tmp_path / role).exists(), done.stderr
        assert may or "permission denied for schema hirundo" in done.stderr


def test_keys(pg, made, tmp_path):
    """Keys that others may read are refused; one that cannot be made is named; nothing is left."""
    own = tmp_path / "keys"
    own.mkdir()
    base = [NAME, "2023-02-03", "--out", str(tmp_path / "case")]
    done = pg.command("export", *base, "--operator-key", str(own / "no/operator.key"), check=False)
    assert done.returncode == 1 and "operator key" in done.stderr and "make its directory" in done.stderr
    done = pg.command("export", *base, "--operator-key", str(own / "operator.key"), "--pseudonym-key", str(own / "no/key"), check=False)
    assert done.returncode == 1 and "pseudonym key" in done.stderr
    (own / "operator.key").chmod(0o644)
    done = pg.command("export", *base, "--operator-key", str(own / "operator.key"), check=False)
    assert done.returncode == 1 and "chmod 600" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["keys"] and made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(pg, keys, made, tmp_path, number):
    """In the middle of a statement that would run on: it ends, and nothing is left."""
    with pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        cursor.execute("lock table hirundo.tcp_options in access exclusive mode")
        with subprocess.Popen(export_words(keys, NAME, PERIOD, tmp_path / "case"), env=pg.environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            hirundo.wait_for(lambda: pg.value("select count(*) from pg_locks where not granted"), "the export to wait for the lock")
            assert [p.name.split("-")[0] for p in tmp_path.iterdir()] == ["case.part"]
            process.send_signal(number)
            out, err = process.communicate(timeout=hirundo.WAIT_S)
        assert (process.returncode, out, err) == (1, "", "hirundo-collector: interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())
    assert hirundo.wait_for(lambda: pg.value("select count(*) from pg_stat_activity where application_name = 'hirundo-collector'") == 0, "its session to end")


def test_killed(pg, keys, export, tmp_path):
    """Nobody cleans up after SIGKILL but the next export to that place; what is another's stays, and what another one is writing."""
    with pg.connect() as conn, conn.cursor() as cursor:
        conn.autocommit = False
        cursor.execute("lock table hirundo.tcp_options in access exclusive mode")
        with subprocess.Popen(export_words(keys, NAME, PERIOD, tmp_path / "case"), env=pg.environment()) as process:
            hirundo.wait_for(lambda: pg.value("select count(*) from pg_locks where not granted"), "the export to wait for the lock")
            (left,) = tmp_path.iterdir()
            # beside one that runs, which it must not take for one that was killed
            done = export(NAME, "2023-02-03", tmp_path / "case", "--pseudonym-key", "/nowhere/key", check=False)
            assert done.returncode == 1 and "/nowhere/key" in done.stderr and list(tmp_path.iterdir()) == [left]
            (left / "case.en.html").write_text("half of it")
            process.kill()
    hirundo.wait_for(lambda: pg.value("select count(*) from pg_stat_activity where application_name = 'hirundo-collector'") == 0, "its session to end")
    for name, file in (("case.part-backup", "notes.txt"), ("case.part-2", "events.csv"), ("other.part-abcdef", "events.csv")):
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / file).write_text("mine")
    assert left.exists()
    export(NAME, "2023-02-03", tmp_path / "case", "--quiet")
    assert {p.name for p in tmp_path.iterdir()} == {"case", "case.part-backup", "case.part-2", "other.part-abcdef"}


def test_progress_is_for_terminals(pg, keys, tmp_path):
    def on_terminal(name, *options):
        return hirundo.on_terminal(export_words(keys, NAME, PERIOD, tmp_path / name, *options), pg.environment())
    shown = on_terminal("loud")
    assert b"summing up 0" in shown and b"events.csv" in shown and shown.endswith(b"\r\033[K")
    assert on_terminal("quiet", "--quiet") == b""


# ---- verify

@pytest.fixture(name="verify")
def fixture_verify(keys):
    """Runs verify without a database; with the operator's own key unless another is named."""
    def verify(directory, *more):
        conf = keys / "collector.conf"
        conf.write_text(f"[enrolment]\noperator_key = {keys}/operator.key\n")
        return subprocess.run([hirundo.program("hirundo-collector"), "verify", "-c", str(conf), str(directory), *more], capture_output=True, text=True, check=False,
                              timeout=300, env={"PATH": os.environ["PATH"]})
    return verify


def fingerprint(directory):
    return json.loads((directory / "manifest.json").read_text())["operator"]


def test_verify(made, verify, keys, tmp_path):
    shutil.copy(made[0] / "operator.pub", tmp_path / "public.pem")
    for more in ([], ["--key", str(tmp_path / "public.pem")], ["--fingerprint", fingerprint(made[0])],
                 ["--fingerprint", fingerprint(made[0]).upper().replace("-", ":")]):
        done = verify(made[0], *more)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"8 files as they were signed; case of {NAME}, {PERIOD}, TLP:AMBER+STRICT, made " in done.stdout
    assert verify(made[0], "--quiet").stdout == ""
    done = verify(tmp_path / "nowhere")
    assert done.returncode == 1 and "nowhere: No such file or directory" in done.stderr
    (keys / "operator.key").rename(keys / "away")
    try:
        done = verify(made[0])
        assert done.returncode == 2 and "give --key FILE or --fingerprint TEXT" in done.stderr
    finally:
        (keys / "away").rename(keys / "operator.key")
    for key, says in (("/nowhere", "No such file"), (str(made[0] / "case.en.txt"), "is not an Ed25519 public key")):
        done = verify(made[0], "--key", key)
        assert done.returncode == 2 and says in done.stderr


def harm(change):
    """The lines of verify after `change` of a copy of the case."""
    def test(case, verify):
        wanted = change(case)
        done = verify(case)
        assert done.returncode == 1 and done.stdout == ""
        assert sorted(done.stderr.splitlines()) == sorted(f"hirundo-collector: {case}/{line}" for line in wanted)
    return test


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def changed(case):
    flip(case / "events.csv", 100)
    return ["events.csv: changed: its SHA-256 is not the one that was signed"]


def cut(case):
    size = (case / "sources.csv").stat().st_size
    os.truncate(case / "sources.csv", size - 1)
    return [f"sources.csv: changed: {size - 1} bytes, {size} when it was signed"]


def grown(case):
    """So large that nobody waits for its SHA-256: the size is enough."""
    size = (case / "events.csv").stat().st_size
    os.truncate(case / "events.csv", 1 << 42)
    return [f"events.csv: changed: {1 << 42} bytes, {size} when it was signed"]


def missing_and_extra(case):
    (case / "case.ja.txt").rename(case / "case.jp.txt")
    (case / ".hidden").write_text("")
    (case / "more").mkdir()
    (case / "a\x1b[2J b").write_text("")
    return ["case.ja.txt: missing", "case.jp.txt: extra: it was not signed", ".hidden: extra: it was not signed", "more: extra: it was not signed",
            "a?[2J b: extra: it was not signed"]


def link(case):
    (case / "case.en.txt").rename(case.parent / "elsewhere")
    (case / "case.en.txt").symlink_to(case.parent / "elsewhere")
    (case / "case.en.html").unlink()
    os.mkfifo(case / "case.en.html")
    (case / "xarf.jsonl").unlink()
    (case / "xarf.jsonl").mkdir()
    return ["case.en.txt: is a link, not a file", "case.en.html: is not a file", "xarf.jsonl: is not a file"]


def manifest(case):
    text = (case / "manifest.json").read_text()
    (case / "manifest.json").write_text(text.replace("AMBER+STRICT", "CLEAR"))
    return ["manifest.json: changed: manifest.sig is not its signature"]


def signature(case):
    flip(case / "manifest.sig", 5)
    return ["manifest.json: changed: manifest.sig is not its signature"]


def short_signature(case):
    os.truncate(case / "manifest.sig", 63)
    return ["manifest.sig: changed: 63 bytes, not 64"]


def long_signature(case):
    (case / "manifest.sig").write_bytes(b"x" * 65)
    return ["manifest.sig: is too long"]


def no_manifest(case):
    (case / "manifest.json").unlink()
    return ["manifest.json: missing"]


def public_key(case):
    (case / "operator.pub").write_text("no key")
    return ["operator.pub: changed: 6 bytes, 113 when it was signed"]


test_verify_changed, test_verify_cut, test_verify_names, test_verify_links = harm(changed), harm(cut), harm(missing_and_extra), harm(link)
test_verify_grown = harm(grown)
test_verify_manifest, test_verify_signature, test_verify_short, test_verify_long = harm(manifest), harm(signature), harm(short_signature), harm(long_signature)
test_verify_no_manifest, test_verify_public_key = harm(no_manifest), harm(public_key)


def test_verify_moves_no_cursor(case, verify, tmp_path):
    """A trusted key may sign any name, and an archive may name its directory and its files."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "other.pem"], cwd=tmp_path, check=True)
    subprocess.run(["openssl", "pkey", "-in", "other.pem", "-pubout", "-out", "other.pub"], cwd=tmp_path, check=True)
    record = json.loads((case / "manifest.json").read_text())
    record |= {"organisation": "\x1b[2J\u202e日本\x9b\r" + "語" * 200, "period": "\x1b]0;x\x07", "made": "\u200b", "tlp": "\nRED"}
    (case / "manifest.json").write_text(json.dumps(record))
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(tmp_path / "other.pem"), "-in", "manifest.json", "-out", "manifest.sig"], cwd=case, check=True)
    case = case.rename(tmp_path / "co\x1b[2Jpy")
    done = verify(case, "--key", str(tmp_path / "other.pub"))
    assert done.returncode == 0 and re.search("case of \\?\\[2J\\?日本\\?\\?語+\\?*, \\?\\]0;x\\?, TLP:\\?RED, made \\?\n$", done.stdout), done.stdout
    assert done.stdout.startswith(f"{tmp_path}/co?[2Jpy: 8 files")
    (case / "\x1bc").write_text("")
    done = verify(case, "--key", str(tmp_path / "other.pub"))
    assert (done.returncode, done.stderr) == (1, f"hirundo-collector: {tmp_path}/co?[2Jpy/?c: extra: it was not signed\n")
    done = verify(tmp_path / "\x1b[2J")
    assert (done.returncode, done.stderr) == (1, f"hirundo-collector: {tmp_path}/?[2J: No such file or directory\n")


def test_verify_another_key(case, verify, tmp_path):
    """Signed anew by somebody else, with his key in the directory: whole, and not from whom it says."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "forger.pem"], cwd=tmp_path, check=True)
    subprocess.run(["openssl", "pkey", "-in", "forger.pem", "-pubout", "-out", "forger.pub"], cwd=tmp_path, check=True)
    real = fingerprint(case)
    pub = (tmp_path / "forger.pub").read_bytes()
    record = json.loads((case / "manifest.json").read_text())
    for f in record["files"]:
        if f["name"] == "operator.pub":
            f.update(bytes=len(pub), sha256=hashlib.sha256(pub).hexdigest())
    (case / "operator.pub").write_bytes(pub)
    (case / "manifest.json").write_text(json.dumps(record))
    subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(tmp_path / "forger.pem"), "-in", "manifest.json", "-out", "manifest.sig"], cwd=case, check=True)
    done = verify(case)
    assert done.returncode == 1 and re.search(rf"manifest\.json: wrong key: it is signed by [0-9a-f-]{{39}}, not by {real}$", done.stderr, re.M)
    done = verify(case, "--fingerprint", real)
    assert done.returncode == 1 and re.search(rf"operator\.pub: wrong key: its fingerprint is [0-9a-f-]{{39}}, not {real}$", done.stderr, re.M)
    assert verify(case, "--key", str(tmp_path / "forger.pub")).returncode == 0


# ---- size

def peak_memory(command, env):
    """KiB that the program held at most; of itself, not of the process that started it."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        match = re.search(r"^VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace"), re.M)
        peak = max(peak, int(match.group(1))) if match else peak
        time.sleep(0.005)
    assert process.wait() == 0, process.stderr.read()
    return peak


def test_memory_is_bounded(pg, keys, tmp_path):
    """Ten times the rows take no more memory. HIRUNDO_EXPORT_ROWS: how many (./tests/run export: a million)."""
    if "asan" in str(hirundo.build_directory()):
        pytest.skip("a sanitizer keeps what was freed")
    many = int(os.environ.get("HIRUNDO_EXPORT_ROWS", "12000"))
    peaks = {}
    for count, day in ((many // 10, 12), (many, 14)):
        at = datetime.datetime(2023, 2, day, tzinfo=UTC)
        pg.query("select hirundo.partition_ensure(%s)", at.date())
        # a host and port each
        pg.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                 "select %s::timestamptz + g * interval '10 milliseconds', 0, 1, 40, 1 + g %% 1000, 40000, 1 + g %% 3, 1, 6, 50, 2, 0, '198.19.0.0'::inet + g / 1000 "
                 "from generate_series(0, %s) g", at, count - 1)
        name = f"Many {count}"
        number = pg.value("insert into hirundo.organisation (name) values (%s) returning organisation_id", name)
        pg.query("insert into hirundo.organisation_prefix values (%s, '198.19.0.0/16')", number)
        out = tmp_path / str(count)
        begun = time.monotonic()
        peaks[count] = peak_memory(export_words(keys, name, at.strftime("%Y-%m-%d"), out), pg.environment())
        print(f"{count} rows: peak {peaks[count]} KiB, {time.monotonic() - begun:.1f} s, {sum(p.stat().st_size for p in out.iterdir()) / 2**20:.1f} MiB")
        for name in ("events.csv", "sources.csv", "xarf.jsonl"):
            with open(out / name, "rb") as f:
                assert sum(1 for _ in f) == count + name.endswith(".csv")
    assert peaks[many] < peaks[many // 10] + 4096, peaks
