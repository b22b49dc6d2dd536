"""Imports of prefixes, scanners and names: text, MaxMind databases, damaged files, and what the database makes of them."""
import contextlib
import ipaddress
import json
import pathlib
import random
import subprocess
import sys

import pytest

from hirundo import TOP, on_terminal, program, wait_for

sys.path.insert(0, str(TOP / "tests" / "lib"))

from mmdb import Writer, encode  # noqa: E402

SHARED = TOP.parent / "shared" / "aux"
MAXMIND = SHARED / "maxmind"
needs_shared = pytest.mark.skipif(not MAXMIND.is_dir(), reason="the collection of test databases is not beside this clone")


def country(code):
    return {"country": {"iso_code": code}}


def asn(number, name="X"):
    return {"autonomous_system_number": number, "autonomous_system_organization": name}


def load(postgres, day, *paths, **options):
    return postgres.command("import", "prefixes", *map(str, paths), "--as-of", day, "--force", **options)


def networks(postgres, day):
    return postgres.query("select host(lo), host(hi), asn, country from hirundo.network join hirundo.prefix_set "
                          "using (set_id) where as_of = %s order by lo", day)


def sets(postgres):
    return postgres.query("select set_id, as_of, prefixes from hirundo.prefix_set order by 1")


@pytest.mark.parametrize("size", [24, 28, 32])
def test_database_of_countries_over_one_of_as_numbers(postgres, tmp_path, size):
    first = Writer(6, "GeoLite2-Country", size).insert("198.18.0.0/15", country("JP")).insert("198.18.4.0/22", country("TW"))
    first.insert("2001:db8::/32", country("US")).insert("100.64.0.0/10", {"registered_country": {"iso_code": "de"}})
    second = Writer(4, "GeoLite2-ASN", size).insert("198.18.0.0/16", asn(64496)).insert("203.0.113.0/24", asn(64497))
    for path, database in ((tmp_path / "country.mmdb", first), (tmp_path / "asn", second)):
        path.write_bytes(bytes(database))
    done = load(postgres, "2023-01-01", tmp_path / "country.mmdb", tmp_path / "asn")
    assert "as of 2023-01-01, as 7 ranges; 0 networks refused" in done.stdout
    assert networks(postgres, "2023-01-01") == [
        ("100.64.0.0", "100.127.255.255", None, "DE"),
        ("198.18.0.0", "198.18.3.255", 64496, "JP"),
        ("198.18.4.0", "198.18.7.255", 64496, "TW"),
        ("198.18.8.0", "198.18.255.255", 64496, "JP"),
        ("198.19.0.0", "198.19.255.255", None, "JP"),
        ("203.0.113.0", "203.0.113.255", 64497, None),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", None, "US"),
    ]


def test_aliases_of_the_ipv4_tree_are_left_out(postgres, tmp_path):
    database = Writer().insert("198.18.0.0/15", country("JP")).insert("2001:db8::/32", country("US"))
    database.alias("::ffff:0:0/96").alias("2002::/16").alias("2001::/32")
    (tmp_path / "x.mmdb").write_bytes(bytes(database))
    assert "2 prefixes loaded" in load(postgres, "2023-01-02", tmp_path / "x.mmdb").stdout
    assert [row[0] for row in networks(postgres, "2023-01-02")] == ["198.18.0.0", "2001:db8::"]


def test_networks_refused_are_counted_by_kind(postgres, tmp_path):
    database = Writer().insert("198.18.0.0/24", country("JP")).insert("198.18.1.0/24", country("J"))
    database.insert("198.18.2.0/24", {"autonomous_system_number": "many"}).insert("198.18.3.0/24", {"city": {}})
    database.insert("198.18.4.0/24", country("J\0"))
    (tmp_path / "x.mmdb").write_bytes(bytes(database))
    done = load(postgres, "2023-01-03", tmp_path / "x.mmdb")
    assert "1 prefixes loaded" in done.stdout and "4 networks refused (" in done.stdout
    for kind in ("2 country", "1 AS number", "1 without AS and country"):
        assert kind in done.stdout


def damaged():
    """(name, bytes, what the message holds)"""
    def sound():
        return Writer().insert("198.18.0.0/15", country("JP")).insert("203.0.113.0/24", country("TW"))
    whole = bytes(sound())
    yield "empty", b"", "no MaxMind database"
    yield "no metadata", whole[:-200], "no MaxMind database"
    yield "cut in the metadata", whole[:-20], "no MaxMind database"
    loop = sound()
    loop.nodes[-1][1] = 1
    yield "a loop in the tree", bytes(loop), "deeper than an address"
    outside = sound()
    outside.nodes[-1][1] = len(outside.nodes) + 16 + 100000
    yield "a record outside", bytes(outside), "points outside"
    gap = sound()
    gap.nodes[-1][1] = len(gap.nodes) + 7
    yield "a record into the gap", bytes(gap), "is damaged"
    ladder = Writer()  # each node twice to the next: 2^100 ways through a hundred nodes
    ladder.nodes = [[i + 1, i + 1] for i in range(100)] + [[encode(country("JP"))] * 2]
    yield "too many ways", bytes(ladder), "again and again"
    for name, record in (("a double of five bytes", {"city": b"\x65abcde", **country("JP")}),
                         ("a pointer into nothing", {"country": b"\x3f\xff\xff\xff\xff"}),
                         ("a map of 16 million", b"\xff\xff\xff\xff"),
                         ("nested without end", b"\xe1\x41a" * 600)):
        database = Writer().insert("198.18.0.0/15", country("JP"))
        yield name, bytes(database.insert("203.0.113.0/24", record)), "is damaged"
    nodes = sound()
    data = bytes(nodes)
    yield "more nodes than bytes", data[:data.rindex(b"\xab\xcd\xef")] + nodes.metadata(node_count=10 ** 8), "no MaxMind"
    yield "neither IPv4 nor IPv6", data[:data.rindex(b"\xab\xcd\xef")] + nodes.metadata(ip_version=5), "no MaxMind"
    yield "of another kind", bytes(Writer(kind="\x1b[31mCity").insert("198.18.0.0/15", {"city": {}})), 'type "?[31mCity"'


@pytest.mark.parametrize("name, content, message", list(damaged()), ids=lambda v: v if isinstance(v, str) else "")
def test_damaged_database_changes_nothing(postgres, tmp_path, name, content, message):
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(content)
    before = sets(postgres)
    done = postgres.command("import", "prefixes", str(path), "--as-of", "2023-01-01", "--force", check=False)
    assert done.returncode == 1, name
    assert str(path) in done.stderr and message in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert sets(postgres) == before


def test_database_with_bytes_changed_is_an_error_or_whole(postgres, tmp_path):
    """Never a crash, never without an end. Some changes make other data, which nobody can tell."""
    draw = random.Random(5)
    whole = bytes(Writer().insert("198.18.0.0/15", country("JP")).insert("203.0.113.0/24", {**asn(1), **country("TW")}))
    path = tmp_path / "x.mmdb"
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 8])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[:draw.choice([len(content)] * 3 + [draw.randrange(len(content))])])
        done = postgres.command("import", "prefixes", str(path), "--as-of", "2023-01-04", "--force", check=False)
        assert done.returncode in (0, 1), (done.returncode, content.hex())
        assert done.returncode == 0 or str(path) in done.stderr


@needs_shared
@pytest.mark.parametrize("name", ["GeoLite2-Country-Test", "GeoIP2-Country-Test", "GeoLite2-City-Test", "GeoLite2-ASN-Test",
                                  "GeoIP2-ISP-Test"])
def test_published_database_says_what_its_source_says(postgres, name):
    load(postgres, "2023-01-05", MAXMIND / f"{name}.mmdb")
    truth = {}
    for entry in json.loads((MAXMIND / f"{name}.json").read_text(encoding="utf-8")):
        for network, record in entry.items():
            network = ipaddress.ip_network(network, strict=False)
            if network.version == 6 and network.prefixlen >= 96 and int(network.network_address) >> 32 == 0:
                network = ipaddress.ip_network((int(network.network_address), network.prefixlen - 96))
            code = (record.get("country") or {}).get("iso_code") or (record.get("registered_country") or {}).get("iso_code")
            truth[network] = (record.get("autonomous_system_number"), code)
    asked = sorted({str(end) for n in truth for end in (n.network_address, n.broadcast_address)})
    found = {address: (number, code) for address, number, code in postgres.query(
        "select host(address), asn, country from hirundo.lookup(%s::inet[], '2023-01-05')", asked)}
    assert len(found) == len(asked)
    for address in asked:
        ip = ipaddress.ip_address(address)
        # 2002:cb00:7100::/40 and the like stand for IPv4 addresses and are left out
        if ip.version == 6 and (ip.sixtofour or ip.teredo or ip.ipv4_mapped):
            assert found[address] == (None, None)
            continue
        best = max((n for n in truth if n.version == ip.version and ip in n), key=lambda n: n.prefixlen)
        assert found[address] == truth[best], address


@needs_shared
def test_published_damaged_databases_are_refused(postgres):
    before = sets(postgres)
    files = sorted(p for p in MAXMIND.glob("*.mmdb") if "bad-" in p.name or "roken" in p.name or "Invalid" in p.name)
    assert len(files) >= 8
    for path in files:
        done = postgres.command("import", "prefixes", str(path), "--as-of", "2023-01-05", "--force", check=False)
        assert done.returncode == 1 and str(path) in done.stderr, path
    assert sets(postgres) == before


@needs_shared
def test_cut_copies_of_a_database_are_refused(postgres, tmp_path):
    whole = (MAXMIND / "GeoLite2-Country-Test.mmdb").read_bytes()
    path = tmp_path / "cut.mmdb"
    for size in (0, 1, 20, 1000, len(whole) // 2, len(whole) - 300, len(whole) - 1):
        path.write_bytes(whole[:size])
        done = postgres.command("import", "prefixes", str(path), check=False)
        assert done.returncode == 1 and str(path) in done.stderr, size


# ---- text

LINES = "".join(f"10.{i >> 8}.{i & 255}.0/24\t{64496 + i % 7}\tJP\n" for i in range(2000))


def test_text_that_is_cut_off_is_noticed(postgres, tmp_path):
    path = tmp_path / "prefixes.tsv"

    def run(text, *options):
        path.write_text(text)
        return postgres.command("import", "prefixes", str(path), "--as-of", "2024-01-01", *options, check=False)

    assert run(LINES).returncode == 0
    before = sets(postgres)
    done = run(LINES[:-3])
    assert done.returncode == 1 and "last line has no end" in done.stderr and "--force" in done.stderr
    done = run(LINES[:len(LINES) // 2].rpartition("\n")[0] + "\n")
    assert done.returncode == 1 and "the data set of 2024-01-01 before it 2000" in done.stderr
    assert sets(postgres) == before
    assert run(LINES[:len(LINES) // 2].rpartition("\n")[0], "--force").returncode == 0
    assert run(LINES.replace("10.", "11.", 1)[:len(LINES) * 95 // 100].rpartition("\n")[0] + "\n").returncode == 0


def test_refused_lines_are_counted_by_kind(postgres, tmp_path):
    path = tmp_path / "prefixes.tsv"
    path.write_text("198.18.0.0/15\t1\tJP\nx\n198.18.0.0/15\tx\tJP\n198.18.0.0/15\t1\tx\ny\n198.18.0.0/15\t1\tJP\t\n")
    done = load(postgres, "2023-01-06", path)
    assert "5 lines refused (2 prefix, 1 AS number, 1 country, 1 columns)" in done.stdout


@pytest.mark.parametrize("start", [b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"\xfd7zXZ\0"])
def test_compressed_file_is_named_as_such(postgres, tmp_path, start):
    path = tmp_path / "prefixes.tsv.x"
    path.write_bytes(start + bytes(1000))
    for kind in ("prefixes", "scanners", "asnames", "organisations"):
        done = postgres.command("import", kind, str(path), check=False)
        assert done.returncode == 1 and "is compressed" in done.stderr


def test_progress_is_for_terminals(postgres, tmp_path):
    path = tmp_path / "prefixes.tsv"
    path.write_text(LINES)

    def shown(*options):
        return on_terminal([program("hirundo-collector"), "import", "prefixes", str(path), "--force", *options], postgres.environment())

    assert b"reading lines," in shown()
    assert shown("--quiet") == b""
    assert load(postgres, "2024-02-01", path).stderr == ""


# ---- scanners and names

def scanner_ranges(postgres, day):
    return postgres.query("select host(lo), host(hi), name from hirundo.scanner_range join hirundo.scanner_set "
                          "using (set_id) where as_of = %s order by lo", day)


def test_scanner_lists_of_two_kinds(postgres, tmp_path):
    (tmp_path / "censys_v4.txt").write_text("# a comment\n\n198.18.0.0/24\n 198.18.2.7   # one\nnonsense\n")
    (tmp_path / "more.csv").write_text('prefix,name\n198.18.0.128/25,"B, C"\n2001:db8::7,censys\nx,y\n198.18.9.1,\n')
    done = postgres.command("import", "scanners", str(tmp_path / "censys_v4.txt"), str(tmp_path / "more.csv"),
                            "--as-of", "2023-01-01")
    assert "4 prefixes of 2 scanners loaded" in done.stdout and "3 lines refused (2 prefix, 1 name)" in done.stdout
    assert f"{tmp_path}/censys_v4.txt, line 5" in done.stderr and f"{tmp_path}/more.csv, line 4" in done.stderr
    assert scanner_ranges(postgres, "2023-01-01") == [
        ("198.18.0.0", "198.18.0.127", "censys"), ("198.18.0.128", "198.18.0.255", "B, C"),
        ("198.18.2.7", "198.18.2.7", "censys"), ("2001:db8::7", "2001:db8::7", "censys")]
    postgres.command("import", "scanners", "-", "--name", "me", "--as-of", "2023-01-01", input="198.18.1.1")
    assert scanner_ranges(postgres, "2023-01-01") == [("198.18.1.1", "198.18.1.1", "me")]
    done = postgres.command("import", "scanners", "-", check=False, input="198.18.1.1\n")
    assert done.returncode == 1 and "--name" in done.stderr
    for text in ("", "# nothing\n", "prefix,name\n", "a,b\n1,2\n", "x" * 5000000 + "\n"):
        done = postgres.command("import", "scanners", "-", "--name", "me", "--as-of", "2023-01-01", check=False, input=text)
        assert done.returncode == 1 and done.stderr
    assert scanner_ranges(postgres, "2023-01-01") == [("198.18.1.1", "198.18.1.1", "me")]


def test_names_of_autonomous_systems(postgres, tmp_path):
    path = tmp_path / "names.tsv"
    path.write_bytes("13335\tCLOUDFLARE\nAS64496\tExample é\n64496\tlast\nx\ty\n1\n2\t\n3\tbad\tname\n".encode()
                     + b"4\t\xff\xfe\n" + b"5\t" + b"x" * 400 + b"\n")
    done = postgres.command("import", "asnames", str(path))
    assert "2 names loaded; 6 lines refused" in done.stdout and "1 names given twice" in done.stdout
    assert postgres.query("select asn, name from hirundo.as_name order by 1") == [(13335, "CLOUDFLARE"), (64496, "last")]
    (tmp_path / "asn.mmdb").write_bytes(bytes(Writer().insert("198.18.0.0/15", asn(64500, "Example, Inc."))))
    assert "1 names loaded" in postgres.command("import", "asnames", str(tmp_path / "asn.mmdb")).stdout
    assert postgres.value("select hirundo.as_label(64500)") == "AS64500 Example, Inc."
    path.write_text("")
    assert postgres.command("import", "asnames", str(path), check=False).returncode == 1
    assert postgres.value("select count(*) from hirundo.as_name") == 1


@needs_shared
def test_published_scanner_lists_load(postgres):
    files = sorted(pathlib.Path(SHARED / "scanners").glob("*.txt"))
    done = postgres.command("import", "scanners", *map(str, files), "--as-of", "2023-02-01")
    expected = sum(len(path.read_text(encoding="ascii").split()) for path in files)
    loaded, refused, twice = (int(done.stdout.split(word)[0].split()[-1]) for word in
                              (" prefixes of", " lines refused", " prefixes given twice"))
    assert loaded + refused + twice == expected and refused < 5


# ---- data sets over time

def test_days_are_rolled_up_again_with_a_new_data_set(postgres, tmp_path):
    """A set that comes late is stamped on the days it counts for, and only on those."""
    postgres.query("insert into hirundo.sensor (sensor_id, name, country, label_en, label_ja) values (900, 'r', 'JP', '', '')")
    postgres.query("delete from hirundo.prefix_set s where not exists (select from hirundo.network n where n.set_id = s.set_id)")
    for day in ("2023-05-01", "2023-05-02", "2023-05-03"):
        postgres.query("select hirundo.partition_ensure(%s)", day)
        postgres.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, sensor_id, dst_no, proto, ttl, tcp_flags, "
                       "marks, src) values (%s::timestamptz + interval '1 hour', 0, 1, 40, 22, 900, 1, 6, 60, 2, 0, '198.18.0.7')",
                       day + "Z")
        postgres.query("insert into hirundo.dirty (sensor_id, hour) values (900, %s::timestamptz + interval '1 hour')", day + "Z")
    path = tmp_path / "prefixes.tsv"

    def stamp(code, day):
        path.write_text(f"198.18.0.0/15\t1\t{code}\n")
        load(postgres, day, path)
        while postgres.value("select hirundo.rollup_step()"):
            pass
        return [row[0] for row in postgres.query("select country from hirundo.source_day where src = '198.18.0.7' order by day")]

    assert stamp("JP", "2023-04-20") == ["JP"] * 3
    assert stamp("TW", "2023-05-02") == ["JP", "TW", "TW"]
    assert stamp("US", "2023-05-03") == ["JP", "TW", "US"]
    assert stamp("DE", "2023-05-02") == ["JP", "DE", "US"]


def test_old_data_sets_go(postgres, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("198.18.0.0/15\t1\tJP\n")
    for day in ("2001-01-01", "2001-02-01", "2001-03-01"):
        load(postgres, day, path)
        postgres.command("import", "scanners", "-", "--name", "x", "--as-of", day, input="198.18.0.1\n")
    postgres.query("update hirundo.prefix_set set loaded_at = as_of where as_of < '2001-03-01'")
    postgres.query("update hirundo.scanner_set set loaded_at = as_of where as_of < '2001-03-01'")
    done = load(postgres, "2001-03-02", path)
    for table in ("prefix_set", "scanner_set"):
        assert postgres.query(f"select as_of::text from hirundo.{table} where as_of < '2001-03-05' order by 1")[:1] == [("2001-03-01",)]
    assert "4 old data sets deleted" in done.stdout
    assert postgres.value("select count(*) from hirundo.network n where not exists (select from hirundo.prefix_set s "
                          "where s.set_id = n.set_id)") == 0


# ---- two at once

@contextlib.contextmanager
def second_import(postgres, *words):
    """An import that began while a first, the connection of the with statement, has not ended; checked when that has."""
    process = []

    def begin():
        process.append(subprocess.Popen([program("hirundo-collector"), "import", *words], env=postgres.environment(), text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        wait_for(lambda: process[0].poll() is not None or postgres.value(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"), "the second import to wait, or to end")

    with postgres.connect() as first:
        first.autocommit = False
        try:
            yield first.cursor(), begin
            first.commit()
            said = process[0].communicate(timeout=60)[0]
            assert process[0].returncode == 0, said
        finally:
            for p in process:
                p.kill()
                p.wait()


@pytest.mark.parametrize("kind", ["prefix", "scanner"])
def test_of_two_imports_of_a_day_at_once_one_set_stays(postgres, tmp_path, kind):
    path = tmp_path / "two.txt"
    path.write_text("198.18.0.0/15\n")
    words = ("prefixes", str(path)) if kind == "prefix" else ("scanners", str(path), "--name", "x")
    with second_import(postgres, *words, "--as-of", "2002-02-02", "--force") as (cursor, begin):
        cursor.execute(f"insert into hirundo.{kind}_set (as_of, source, prefixes, ranges) values ('2002-02-02', 'first', 0, 0)")
        begin()
    assert postgres.query(f"select source from hirundo.{kind}_set where as_of = '2002-02-02'") == [("two.txt",)]


@pytest.mark.parametrize("what, text, one, other", [
    ("organisations", "name,prefixes\ntwo-a,198.18.0.0/24\ntwo-b,198.18.1.0/24\n", "('two-b')", "('two-a')"),
    ("asnames", "4200000001\tA\n4200000002\tB\n", "(4200000002, 'first')", "(4200000001, 'first')"),
    ("holidays", "country,day,name\nXX,2002-01-01,A\nXX,2002-01-02,B\n", "('XX', '2002-01-02', 'first')", "('XX', '2002-01-01', 'first')"),
])
def test_of_two_imports_at_once_both_succeed(postgres, tmp_path, what, text, one, other):
    """The first has its names in the other order."""
    table = {"organisations": "organisation (name)", "asnames": "as_name", "holidays": "holiday"}[what]
    path = tmp_path / "two.txt"
    path.write_text(text)
    with second_import(postgres, what, str(path), *(["--force"] if what == "asnames" else [])) as (cursor, begin):
        cursor.execute(f"insert into hirundo.{table} values {one}")
        begin()
        cursor.execute(f"insert into hirundo.{table} values {other}")
    assert postgres.value(f"select count(*) from hirundo.{table.split()[0]} t where t::text ~ 'two-[ab]|,[AB]\\)'") == 2
