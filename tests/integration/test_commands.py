"""The collector's commands: what they say, what they change, how they end."""
import pathlib
import subprocess
import sys

import pytest

from hirundo import Collector, Keys, program

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "lib"))
import japan_holidays  # noqa: E402


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


# ---- sensors

def test_sensor_add_list_show_revoke(postgres):
    key = Keys(postgres, 1, enroll=False).pairs[0][0]
    done = postgres.command("sensor", "add", "taipei-1", "--country", "tw", "--label-en", "Taipei", "--label-ja", "台北",
                            "--key", key)
    assert "taipei-1 added" in done.stdout
    assert postgres.query("select country, label_en, label_ja from hirundo.sensor where name = 'taipei-1'") == [
        ("TW", "Taipei", "台北")]
    assert any("taipei-1" in line and "enrolled" in line
               for line in lines(postgres.command("sensor", "list").stdout))
    assert key in postgres.command("sensor", "show", "taipei-1").stdout
    assert "1 key(s)" in postgres.command("sensor", "revoke", "taipei-1").stdout
    assert any("taipei-1" in line and "revoked" in line
               for line in lines(postgres.command("sensor", "list").stdout))
    done = postgres.command("sensor", "add", "taipei-2", "--country", "TW", "--key", key, check=False)
    assert done.returncode == 1 and "enrolled already" in done.stderr
    done = postgres.command("sensor", "add", "taipei-1", "--country", "TW", check=False)
    assert done.returncode == 1 and "already" in done.stderr
    for words in (["show", "nobody"], ["revoke", "nobody"]):
        done = postgres.command("sensor", *words, check=False)
        assert done.returncode == 1 and "nobody" in done.stderr


def test_key_in_hex(postgres):
    postgres.command("sensor", "add", "hex-1", "--country", "JP", "--key", "0123456789abcdef" * 4)
    assert bytes(postgres.value("select public_key from hirundo.sensor_key join hirundo.sensor using (sensor_id) "
                                "where name = 'hex-1'")) == bytes.fromhex("0123456789abcdef" * 4)
    done = postgres.command("sensor", "add", "hex-2", "--country", "JP", "--key", "short", check=False)
    assert done.returncode == 2 and "--key" in done.stderr


def test_configuration_may_stand_before_or_behind_the_subcommand(postgres, tmp_path):
    conf = tmp_path / "c.conf"
    conf.write_text(f"[database]\nconnection = {postgres.conninfo()}\n")
    for words in (["sensor", "list", "-c", conf], ["sensor", "-c", conf, "list"], ["-c", conf, "sensor", "list"],
                  ["sensor", f"--config={conf}", "list"], ["-c", conf, "status"]):
        done = subprocess.run([program("hirundo-collector"), *map(str, words)], env={}, capture_output=True,
                              text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_status(postgres, collector):
    done = postgres.command("status", "-c", str(collector.conf))
    assert "database: answers" in done.stdout and collector.server_key in done.stdout
    assert "quarantine: " in done.stdout
    with postgres.connect() as conn, conn.cursor() as cursor:
        cursor.execute("create database unmigrated")
    done = subprocess.run([program("hirundo-collector"), "status"], capture_output=True, text=True, check=False,
                          env=dict(postgres.environment(), PGDATABASE="unmigrated"))
    assert done.returncode == 1 and "run hirundo-collector migrate" in done.stderr


# ---- imports

def test_missing_database_and_missing_words(postgres):
    done = subprocess.run([program("hirundo-collector"), "status"], capture_output=True, text=True, check=False,
                          env=dict(postgres.environment(), PGDATABASE="nowhere"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert '"nowhere" does not exist; make it with createdb' in done.stderr
    done = subprocess.run([program("hirundo-collector"), "sensor", "add"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2 and done.stderr.startswith("hirundo-collector sensor add: an argument is missing")


def test_notices(postgres, tmp_path):
    path = tmp_path / "organisations.csv"
    path.write_text('name,prefixes,contacts,tlp\n"Notified, Inc.",198.18.64.0/24,,GREEN\n')
    postgres.command("import", "organisations", str(path))
    done = postgres.command("notice", "add", "Notified, Inc.", "--sent", "2023-03-03", "--ports", "5900/tcp,22/TCP", "--reference", "A-1")
    assert "2023-03-03" in done.stdout
    postgres.command("notice", "add", "Notified, Inc.", "--sent", "2023-03-10")
    assert postgres.query("select o.name, n.sent::text, n.ports, n.reference from hirundo.notice n join hirundo.organisation o "
                          "using (organisation_id) order by n.sent") == [
        ("Notified, Inc.", "2023-03-03", ["22/TCP", "5900/TCP"], "A-1"), ("Notified, Inc.", "2023-03-10", None, "")]
    assert postgres.value("select detail from hirundo.audit where action = 'notice' order by audit_id limit 1") \
        == "to Notified, Inc., sent 2023-03-03, about 5900/tcp,22/TCP, reference A-1"
    listed = postgres.command("notice", "list", "Notified, Inc.").stdout
    assert "22/TCP,5900/TCP" in listed and "2023-03-10" in listed and "all" in listed
    for words, code, message in (
            (["Notified, Inc.", "--sent", "2023-03-10"], 1, "noted already"), (["Nobody", "--sent", "2023-03-10"], 1, "Nobody"),
            (["Notified, Inc."], 2, "--sent"), (["Notified, Inc.", "--sent", "soon"], 2, "soon"), (["--sent", "2023-03-10"], 2, "missing"),
            (["Notified, Inc.", "--sent", "2999-01-01"], 1, "future"), (["Notified, Inc.", "--sent", "2023-02-30"], 1, "2023-02-30"),
            (["Notified, Inc.", "--sent", "2023-03-11", "--ports", "22"], 1, "'22' is not a port"),
            (["Notified, Inc.", "--sent", "2023-03-11", "--reference", "x" * 201], 2, "--reference")):
        done = postgres.command("notice", "add", *words, check=False)
        assert done.returncode == code and message in done.stderr, (words, done.stderr)
        assert code == 2 or done.stderr.count("\n") == 1
    assert postgres.value("select count(*) from hirundo.notice") == 2
    long = "h" + "é" * 120  # its 200th byte is the first half of a letter
    path.write_text(f'name,prefixes,contacts,tlp\n{long},198.18.65.0/24,,GREEN\n', encoding="utf-8")
    postgres.command("import", "organisations", str(path))
    postgres.command("notice", "add", long, "--sent", "2023-03-11")
    assert postgres.value("select detail from hirundo.audit where action = 'notice' order by audit_id desc limit 1") \
        == f"to h{'é' * 99}, sent 2023-03-11, about all ports"
    postgres.query("delete from hirundo.notice where sent = '2023-03-11'")
    postgres.query("delete from hirundo.organisation where name = %s", long)
    assert postgres.command("notice", "list", "Nobody", check=False).returncode == 1


def test_tables_line_up_in_any_script(postgres):
    postgres.command("sensor", "add", "width-1", "--country", "JP", "--label-ja", "海外センサー")
    postgres.command("sensor", "add", "width-2", "--country", "JP", "--label-ja", "x")
    # Where the column after the labels begins, as a terminal shows it.
    starts = {sum(2 if c > "\u2e80" else 1 for c in line[:line.index("no key")])
              for line in lines(postgres.command("sensor", "list").stdout) if line.startswith("width-")}
    assert len(starts) == 1


@pytest.fixture(name="prefix_file")
def fixture_prefix_file(tmp_path):
    path = tmp_path / "prefixes.tsv"
    path.write_text("198.18.0.0/15\t64496\tJP\n198.18.4.0/22\t64497\tTW\n2001:db8::/32\t\tUS\nnonsense\n"
                    "198.18.0.1/24\t1\tJP\n")
    return path


def networks(postgres, day):
    return postgres.query("select host(lo), host(hi), asn, country from hirundo.network join hirundo.prefix_set "
                          "using (set_id) where as_of = %s order by lo", day)


def test_prefixes_are_flattened_and_refused_lines_named(postgres, prefix_file):
    done = postgres.command("import", "prefixes", str(prefix_file), "--as-of", "2023-01-01")
    assert "3 prefixes loaded" in done.stdout and "2 lines refused" in done.stdout
    assert f"{prefix_file}, line 4" in done.stderr and f"{prefix_file}, line 5" in done.stderr
    assert networks(postgres, "2023-01-01") == [
        ("198.18.0.0", "198.18.3.255", 64496, "JP"),
        ("198.18.4.0", "198.18.7.255", 64497, "TW"),
        ("198.18.8.0", "198.19.255.255", 64496, "JP"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", None, "US"),
    ]


def test_prefixes_of_the_same_day_are_replaced_and_of_another_kept(postgres, prefix_file):
    for day in ("2023-01-01", "2023-02-01", "2023-01-01"):
        postgres.command("import", "prefixes", str(prefix_file), "--as-of", day)
    prefix_file.write_text("100.64.0.0/10\t1\tJP\n")
    postgres.command("import", "prefixes", str(prefix_file), "--as-of", "2023-01-01")
    assert networks(postgres, "2023-01-01") == [("100.64.0.0", "100.127.255.255", 1, "JP")]
    assert len(networks(postgres, "2023-02-01")) == 4
    assert postgres.value("select count(*) from hirundo.prefix_set where as_of = '2023-01-01'") == 1


def test_prefixes_from_standard_input(postgres):
    done = postgres.command("import", "prefixes", "-", "--as-of", "2023-03-01", input="100.64.0.0/10\tAS5\tjp\n")
    assert "1 prefixes loaded" in done.stdout
    assert networks(postgres, "2023-03-01") == [("100.64.0.0", "100.127.255.255", 5, "JP")]


def test_a_file_without_prefixes_changes_nothing(postgres, tmp_path, prefix_file):
    postgres.command("import", "prefixes", str(prefix_file), "--as-of", "2023-04-01")
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(range(256)) * 100)
    for path in (junk, tmp_path / "missing", tmp_path):
        done = postgres.command("import", "prefixes", str(path), "--as-of", "2023-04-01", check=False)
        assert done.returncode == 1 and str(path) in done.stderr
    assert len(networks(postgres, "2023-04-01")) == 4


def organisations(postgres):
    """But for the one that notices are tried with."""
    return postgres.query("select name, contacts, tlp, array_agg(prefix::text order by prefix) from "
                          "hirundo.organisation join hirundo.organisation_prefix using (organisation_id) "
                          "where name <> 'Notified, Inc.' group by 1, 2, 3 order by 1")


def test_organisations_are_replaced_by_name(postgres, tmp_path):
    path = tmp_path / "organisations.csv"
    path.write_text('name,prefixes,contacts,tlp\n"Hosting, Inc.",198.18.0.0/20;198.18.64.0/20,"abuse@example.net",RED\n'
                    "Bad,,,\n")
    for _ in range(2):
        done = postgres.command("import", "organisations", str(path))
        assert "1 organisations with 2 prefixes" in done.stdout and f"{path}, line 3" in done.stderr
        assert organisations(postgres) == [
            ("Hosting, Inc.", "abuse@example.net", "RED", ["198.18.0.0/20", "198.18.64.0/20"])]
    path.write_text('name,prefixes,contacts,tlp\n"Hosting, Inc.",198.18.0.0/21,,\n')
    postgres.command("import", "organisations", str(path))
    assert organisations(postgres) == [("Hosting, Inc.", "", "AMBER", ["198.18.0.0/21"])]
    path.write_text("prefix,asn\n1,2\n")
    done = postgres.command("import", "organisations", str(path), check=False)
    assert done.returncode == 1 and "name,prefixes,contacts,tlp" in done.stderr
    assert len(organisations(postgres)) == 1


def holidays(postgres, where="true"):
    return postgres.query(f"select country, day::text, name from hirundo.holiday where {where} order by 1, 2")


def test_holidays_of_a_year_are_replaced(postgres, tmp_path):
    path = tmp_path / "holidays.csv"
    path.write_text("# where from\n# and when\ncountry,day,name\nTW,2023-02-28,和平紀念日\nTW,2023-02-28,again\nTW,2022-02-28,x\nTW,2023-02-30,no day\n"
                    "tw,2023-01-01,lower case\nTW,2023-01-02,\nTW,23-01-03,no year\nTW,1899-12-31,before\n", encoding="utf-8")
    done = postgres.command("import", "holidays", str(path))
    assert "2 holidays of 2 years loaded; 5 lines refused" in done.stdout
    assert all(f"{path}, line {n}:" in done.stderr for n in range(7, 12))
    assert holidays(postgres) == [("TW", "2022-02-28", "x"), ("TW", "2023-02-28", "和平紀念日")]
    path.write_text("country,day,name\nTW,2023-10-10,國慶日\n", encoding="utf-8")
    postgres.command("import", "holidays", str(path))
    assert holidays(postgres) == [("TW", "2022-02-28", "x"), ("TW", "2023-10-10", "國慶日")]
    # where a line is refused, who knows which day it was: nothing goes
    path.write_text("country,day,name\nTW,2023-10-10,雙十節\nTW,2023-01-01,元旦\nTW,2022-02-30,typo\n", encoding="utf-8")
    whole = [("TW", "2022-02-28", "x"), ("TW", "2023-01-01", "元旦"), ("TW", "2023-10-10", "雙十節")]
    postgres.query("insert into hirundo.holiday values ('TW', '2023-05-01', 'stays')")
    done = postgres.command("import", "holidays", str(path))
    assert "2 holidays of 1 years loaded; 1 lines refused" in done.stdout and "--force" in done.stdout
    assert holidays(postgres) == sorted([*whole, ("TW", "2023-05-01", "stays")])
    postgres.command("import", "holidays", "--force", str(path))
    assert holidays(postgres) == whole
    postgres.query("delete from hirundo.holiday where day = '2023-01-01'")
    for text in ("prefix,asn\n1,2\n", "# nothing\n", "country,day,name\nTW,2023-02-30,x\n"):
        path.write_text(text)
        done = postgres.command("import", "holidays", str(path), check=False)
        assert done.returncode == 1 and str(path) in done.stderr
    assert len(holidays(postgres)) == 2


def test_holidays_of_japan_are_those_of_the_law(postgres):
    done = postgres.command("import", "holidays", str(TOP / "deploy" / "data" / "holidays-jp.csv"))
    assert "125 holidays of 7 years loaded; 0 lines refused" in done.stdout
    want = [("JP", str(day), name) for year in japan_holidays.YEARS for day, name in japan_holidays.holidays(year).items()]
    assert holidays(postgres, "country = 'JP'") == want
    # as published: a day between two holidays, one that moved, those of the Olympics
    known = {"2026-09-22": "休日", "2023-01-02": "休日", "2021-07-23": "スポーツの日", "2024-09-22": "秋分の日", "2022-03-21": "春分の日"}
    assert {day: name for _, day, name in want if day in known} == known


# ---- the rights of the logins

def test_serve_needs_no_more_than_its_role(postgres):
    with postgres.connect() as conn, conn.cursor() as cursor:
        cursor.execute("create role only_ingest login password 'only-for-tests' noinherit")
        cursor.execute("grant hirundo_collector to only_ingest")
    plain = postgres.conninfo
    postgres.conninfo = lambda database=None: plain(database).replace("user=hirundo_admin", "user=only_ingest")
    try:
        with Collector(postgres) as collector:
            assert collector.server_key
            done = subprocess.run([program("hirundo-collector"), "sensor", "add", "x", "--country", "JP", "-c",
                                   str(collector.conf)], capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "permission denied" in done.stderr
    finally:
        postgres.conninfo = plain
