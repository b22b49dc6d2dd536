"""Enrolment: a bundle, a request, an approval; what is refused, and what each side says of it."""
import datetime
import os
import pathlib
import re
import subprocess
import time

import pytest

import hirundo
from test_delivery import Replayer, capture, fixture_pg

__all__ = ["fixture_pg"]  # pytest finds it by its name


@pytest.fixture(name="collector")
def fixture_collector(pg):
    with hirundo.Collector(pg) as collector:
        hirundo.wait_for(lambda: pg.value("select count(*) from hirundo.collector_endpoint where endpoint = %s",
                                          collector.endpoint), "the collector to note its endpoint")
        yield collector


class Office:
    """Where the collector's owner sits: a directory for bundles and the operator's key."""

    def __init__(self, pg, directory):
        self.pg, self.directory = pg, pathlib.Path(directory)
        self.key = self.directory / "operator.key"

    def command(self, *words, check=True, conf=None):
        first = ["-c", str(conf)] if conf else []
        return self.pg.command(*words, *first, check=check, cwd=self.directory)

    def add(self, name, *options, check=True):
        return self.command("sensor", "add", name, "--country", "AU", "--operator-key", str(self.key), *options,
                            check=check)

    def fingerprint(self, name):
        """As the command shows it for another bundle."""
        done = self.command("sensor", "bundle", name, "--operator-key", str(self.key), "--out",
                            f"{name}-{time.monotonic_ns()}.bundle")
        return re.search(r"--fingerprint (\S+)", done.stdout).group(1)


@pytest.fixture(name="office")
def fixture_office(pg, tmp_path):
    return Office(pg, tmp_path)


def enroll(directory, bundle, *options, check=True, env=None, stdin=subprocess.DEVNULL):
    """hirundo-sensor enroll in a directory of its own; lo, since the machine's own interface is no business of a test."""
    done = subprocess.run([hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c", str(directory / "sensor.conf"),
                           "--spool", str(directory / "spool" / "spool.db"), "--interface", "lo", *options],
                          capture_output=True, text=True, check=False, env=env, stdin=stdin, timeout=120)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def sensor(*words):
    return subprocess.run([hirundo.program("hirundo-sensor"), *map(str, words)], capture_output=True, text=True, check=False,
                          timeout=120)


def replay(directory, name="one.pcap", packets=500):
    path = capture(directory / name, packets)
    return sensor("replay", "-c", directory / "sensor.conf", "--timeout", "20", path)


@pytest.fixture(name="machine")
def fixture_machine(tmp_path):
    path = tmp_path / "machine"
    path.mkdir()
    return path


# ---- the way it should go

def test_bundle_enroll_approve_deliver(pg, collector, office, machine):
    done = office.add("au-syd-1", "--label-en", "Sydney", "--label-ja", "シドニー", "--hosted-by", "Example Hosting")
    assert "sensor au-syd-1 added" in done.stdout and "made the operator's key" in done.stderr
    bundle = office.directory / "au-syd-1.bundle"
    assert bundle.stat().st_mode & 0o777 == 0o600 and office.key.stat().st_mode & 0o777 == 0o600
    fingerprint = re.search(r"--fingerprint (\S+)", done.stdout).group(1)
    done = enroll(machine, bundle, "--fingerprint", fingerprint)
    request = done.stdout.strip()
    assert re.fullmatch(r"request:au-syd-1:[0-9a-f]{64}:[0-9a-f]{8}", request)
    for name in ("sensor.conf", "sensor.key"):
        assert (machine / name).stat().st_mode & 0o777 == 0o600
    secret = re.search(r"secret = (\S+)", (machine / "sensor.key").read_text()).group(1)
    assert secret not in done.stdout + done.stderr and secret not in bundle.read_text()
    # not approved yet: refused, and shown to the owner
    path = capture(machine / "early.pcap", 100)
    early = subprocess.Popen([hirundo.program("hirundo-sensor"), "replay", "-c", str(machine / "sensor.conf"), path],
                             stderr=subprocess.PIPE, text=True)
    try:
        hirundo.wait_for(lambda: request.split(":")[2] in office.command("sensor", "list", "--unknown").stdout,
                         "the refused key in sensor list --unknown")
        assert "bundle sent" in office.command("sensor", "list").stdout
        assert "approved" in office.command("sensor", "approve", "au-syd-1", request).stdout
        assert early.wait(60) == 0, early.stderr.read()  # no restart on either side
    finally:
        early.kill()
        early.stderr.close()
    assert pg.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'au-syd-1'") == 100
    assert pg.value("select hosted_by from hirundo.sensor where name = 'au-syd-1'") == "Example Hosting"
    actions = [row[0] for row in pg.query("select action from hirundo.audit where sensor = 'au-syd-1' order by audit_id")]
    assert actions[:3] == ["sensor added", "bundle made", "sensor approved"]
    hirundo.wait_for(lambda: pg.value("select first_used_at from hirundo.sensor_key join hirundo.sensor using (sensor_id) "
                                      "where name = 'au-syd-1'"), "the key's first use to be noted")


def test_enroll_twice_is_the_same(collector, office, machine):
    office.add("twice-1")
    bundle = office.directory / "twice-1.bundle"
    first, second = enroll(machine, bundle), enroll(machine, bundle)
    assert first.stdout == second.stdout and "unchanged" in second.stderr
    office.add("twice-2")
    other = enroll(machine, office.directory / "twice-2.bundle", check=False)
    assert other.returncode == 1 and "--replace" in other.stderr
    assert "twice-2" not in (machine / "sensor.conf").read_text()
    replaced = enroll(machine, office.directory / "twice-2.bundle", "--replace")
    assert "request:twice-2:" in replaced.stdout and "twice-2" in (machine / "sensor.conf").read_text()


def test_enroll_waits_for_the_first_batch(collector, office, machine):
    office.add("patient-1")
    waiting = subprocess.Popen([hirundo.program("hirundo-sensor"), "enroll", str(office.directory / "patient-1.bundle"), "-c",
                                str(machine / "sensor.conf"), "--spool", str(machine / "spool" / "spool.db"), "--interface",
                                "lo", "--wait=60"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL)
    try:
        said = ""
        request = waiting.stdout.readline().strip()
        for line in waiting.stderr:
            said += line
            if "not approved yet" in line:
                office.command("sensor", "approve", "patient-1", request)
            if "no sensor runs here yet" in line:
                break
        assert "not approved yet" in said and "no sensor runs here yet" in said
        assert replay(machine).returncode == 0
        said += waiting.stderr.read()
        assert waiting.wait(60) == 0 and re.search(r"enrolled: collector \S+ committed batch \d+ at 20", said), said
    finally:
        waiting.kill()
        waiting.stdout.close()
        waiting.stderr.close()


def test_enroll_wait_after_the_clock_was_set_back_and_after_revocation(collector, office, machine):
    """Files of a time to come, as the clock had it; and what was committed proves nothing once the key is revoked."""
    office.add("back-1")
    bundle = office.directory / "back-1.bundle"
    office.command("sensor", "approve", "back-1", enroll(machine, bundle).stdout.strip())
    later = time.time() + 3600
    for path in machine / "sensor.conf", machine / "sensor.key":
        os.utime(path, (later, later))
    waiting = subprocess.Popen([hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c", str(machine / "sensor.conf"),
                                "--spool", str(machine / "spool" / "spool.db"), "--interface", "lo", "--wait=60"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        for line in waiting.stderr:
            if "no sensor runs here yet" in line:
                break
        assert replay(machine).returncode == 0
        said = waiting.stderr.read()
        assert waiting.wait(60) == 0 and "enrolled: collector" in said, said
    finally:
        waiting.kill()
        waiting.stderr.close()
    for path in machine / "sensor.conf", machine / "sensor.key":
        os.utime(path, (0, 0))
    assert "enrolled: collector" in enroll(machine, bundle, "--wait=20").stderr
    office.command("sensor", "revoke", "back-1")
    done = enroll(machine, bundle, "--wait=1", check=False)
    assert done.returncode == 1 and "has revoked this machine's key" in done.stderr and "enrolled:" not in done.stderr


def wait_until(waiting, words):
    """What a waiting enroll says up to a line with these words."""
    said = ""
    for line in waiting.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended with {waiting.wait(60)} before it said {words!r}: {said}")


@pytest.mark.parametrize("days", [0, 3])
def test_a_batch_in_quarantine_is_no_proof(pg, collector, office, machine, days):
    """Packets of a time to come, as a machine has them whose clock is days ahead; and whose clock is right."""
    faked = []
    if days:
        if "asan" in str(hirundo.build_directory()):
            pytest.skip("a sanitizer and libfaketime both want to be loaded first")
        if not pathlib.Path("/usr/bin/faketime").exists():
            pytest.skip("faketime is not installed")
        faked = ["faketime", "-f", f"+{days}d"]
    name = f"ahead-{days}"
    office.add(name)
    bundle = office.directory / f"{name}.bundle"
    office.command("sensor", "approve", name, enroll(machine, bundle).stdout.strip())
    waiting = subprocess.Popen([*faked, hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c", str(machine / "sensor.conf"),
                                "--spool", str(machine / "spool" / "spool.db"), "--interface", "lo", "--wait=300"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        wait_until(waiting, "no sensor runs here yet")
        path = capture(machine / "ahead.pcap", 100, span_s=60, first=int(time.time()) + 3 * 86400)
        done = subprocess.run([*faked, hirundo.program("hirundo-sensor"), "replay", "-c", str(machine / "sensor.conf"), path],
                              capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0 and "aside" in done.stderr, done.stderr
        said = wait_until(waiting, "into its quarantine instead of the database")
        assert "enrolled:" not in said and "hirundo-collector quarantine list" in said
        if days:
            assert re.search(r"this machine's clock is \d+ s \([23] days\) ahead of the collector's, set it", said), said
        else:
            assert "clock is" not in said
        shown = sensor("status", "-c", machine / "sensor.conf").stdout
        assert re.search(r"^put_aside +batch \d+: ", shown, re.M) and re.search(r"^last_taken +never$", shown, re.M), shown
        assert re.search(r"^seen +100 frames", shown, re.M) and re.search(r"^last_seen +20", shown, re.M), shown
        again = subprocess.run([*faked, hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c", str(machine / "sensor.conf"),
                                "--spool", str(machine / "spool" / "spool.db"), "--interface", "lo", "--wait=1"], capture_output=True,
                               text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)
        assert again.returncode == 1 and "nothing was committed within 1 s: collector" in again.stderr and "quarantine" in again.stderr
        # the clock is set, and then there is a proof
        assert replay(machine).returncode == 0
        if not days:
            assert "enrolled: collector" in waiting.stderr.read() and waiting.wait(60) == 0
        assert "enrolled: collector" in enroll(machine, bundle, "--wait=20").stderr
        assert re.search(r"^last_taken +20", sensor("status", "-c", machine / "sensor.conf").stdout, re.M)
    finally:
        waiting.kill()
        waiting.wait()
        waiting.stderr.close()


def test_a_proof_with_a_clock_that_is_wrong_says_so(collector, office, machine):
    if "asan" in str(hirundo.build_directory()):
        pytest.skip("a sanitizer and libfaketime both want to be loaded first")
    if not pathlib.Path("/usr/bin/faketime").exists():
        pytest.skip("faketime is not installed")
    office.add("behind-1")
    bundle = office.directory / "behind-1.bundle"
    office.command("sensor", "approve", "behind-1", enroll(machine, bundle).stdout.strip())
    assert replay(machine).returncode == 0
    assert "clock is" not in enroll(machine, bundle, "--wait=20").stderr
    done = subprocess.run(["faketime", "-f", "-10h", hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c",
                           str(machine / "sensor.conf"), "--spool", str(machine / "spool" / "spool.db"), "--interface", "lo", "--wait=60"],
                          capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0 and "enrolled: collector" in done.stderr, done.stderr
    assert re.search(r"note: this machine's clock is 3[56]\d{3} s behind the collector's: set it", done.stderr), done.stderr


@pytest.mark.parametrize("exclude", ["192.0.2.300", "192.0.2.0/24:tcp/99999", "192.0.2.0/33", "tcp/22", ""])
def test_exclude_that_no_sensor_would_take(office, exclude):
    done = office.add("never-1", "--exclude", exclude, check=False)
    assert done.returncode == 2 and "must be CIDR" in done.stderr
    assert "never-1" not in office.command("sensor", "list").stdout


def test_enroll_wait_says_what_is_missing(office, machine, pg):
    """Nobody listens at that port."""
    port = hirundo.free_port()
    with hirundo.Collector(pg):
        office.add("missing-1", "--endpoint", f"tcp://127.0.0.1:{port}")
    done = enroll(machine, office.directory / "missing-1.bundle", "--wait=1", check=False)
    assert done.returncode == 1 and f"tcp://127.0.0.1:{port} cannot be reached" in done.stderr


def test_bundle_with_key_needs_no_approval(pg, collector, office, machine):
    done = office.add("ready-1", "--with-key")
    assert "secret" in done.stdout
    enroll(machine, office.directory / "ready-1.bundle")
    assert replay(machine).returncode == 0
    assert pg.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'ready-1'") == 500
    loose = office.directory / "ready-1.bundle"
    loose.chmod(0o644)
    elsewhere = machine / "elsewhere"
    elsewhere.mkdir()
    done = enroll(elsewhere, loose, check=False)
    assert done.returncode == 1 and "chmod 600" in done.stderr


def test_policy_reaches_the_configuration(collector, office, machine):
    office.add("policy-1", "--window", "30s", "--spool-cap", "64M", "--max-kbit", "512", "--exclude", "192.0.2.1:tcp/22",
               "--exclude", "2001:db8::/32")
    enroll(machine, office.directory / "policy-1.bundle")
    text = sensor("check", "-c", machine / "sensor.conf", "--dump").stdout
    for line in ("window = 30s", "cap = 64M", "max_kbit = 512", "exclude = 192.0.2.1:tcp/22 2001:db8::/32"):
        assert line in text, text


def test_many_sensors_from_a_file(pg, collector, office, machine):
    key = hirundo.Keys(pg, 1, enroll=False).pairs[0][0]
    table = office.directory / "sensors.csv"
    table.write_text("name,country,label_en,label_ja,hosted_by,key\nmany-1,jp,Tokyo,東京,Example Hosting,\nmany-2,AU,,,,\n"
                     f"many-3,NZ,\"Wellington, NZ\",,,{key}\nMANY,JP,,,,\nmany-4,Japan,,,,\nmany-1,JP,,,,\nmany-5,JP,,,,abc\n")
    conf = office.directory / "collector.conf"
    conf.write_text(f"[enrolment]\noperator_key = {office.key}\n")
    out = office.directory / "bundles"
    out.mkdir()
    done = office.command("import", "sensors", str(table), "--out", str(out), conf=conf)
    assert "3 sensors added, 2 bundles written" in done.stdout and "4 lines refused" in done.stdout, done.stdout
    assert re.search(r"signed by operator [0-9a-f]{4}-", done.stdout), done.stdout  # though the last one added has no bundle
    for line, why in ((5, "MANY"), (6, "Japan"), (7, "many-1 already"), (8, "key")):
        assert any(f"line {line}:" in text and why in text for text in done.stderr.splitlines()), done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["many-1.bundle", "many-2.bundle"]
    assert pg.query("select country, label_en, label_ja, hosted_by from hirundo.sensor where name = 'many-1'") == [
        ("JP", "Tokyo", "東京", "Example Hosting")]
    assert pg.value("select label_en from hirundo.sensor where name = 'many-3'") == "Wellington, NZ"
    request = enroll(machine, out / "many-2.bundle").stdout.strip()
    office.command("sensor", "approve", "many-2", request)
    assert replay(machine).returncode == 0


def test_a_next_key_that_was_given_up_is_in_no_bundle(pg, collector, office):
    pg.query("delete from hirundo.collector_endpoint where is_next")
    for name, age, there in (("given-up-1", "1 hour", True), ("given-up-2", "2 days", False)):
        pg.query("insert into hirundo.collector_endpoint values (decode(repeat('ab', 32), 'hex'), 'tcp://127.0.0.1:1', true, "
                 "now() - %s::interval) on conflict (public_key, endpoint) do update set seen_at = excluded.seen_at", age)
        office.add(name, "--endpoint", collector.endpoint)
        assert ("next_server_key" in (office.directory / f"{name}.bundle").read_text()) == there
    pg.query("delete from hirundo.collector_endpoint where is_next")


# ---- what is refused

@pytest.mark.parametrize("country,why", [("QZ", "no such country"), ("xx", "no such country"), ("UK", "United Kingdom is GB"), ("EU", "no such country"),
                                         ("A1", "two letters"), ("J", "two letters"), ("", "two letters")])
def test_country_that_is_none(office, country, why):
    done = office.command("sensor", "add", "nowhere-1", "--country", country, check=False)
    assert done.returncode == 2 and why in done.stderr, done.stderr
    assert "nowhere-1" not in office.command("sensor", "list").stdout


@pytest.mark.parametrize("country", ["XK", "ZZ"])
def test_country_that_iso_leaves_to_its_users(pg, office, country):
    name = f"{country.lower()}-1"
    office.command("sensor", "add", name, "--country", country.lower(), "--operator-key", str(office.key))
    assert pg.value("select country from hirundo.sensor where name = %s", name) == country


@pytest.mark.parametrize("text", ["two\nlines", "tab\there", "bell\a", "\x1b[31mred", "turned \u202eround", "byte \udcff"])
@pytest.mark.parametrize("option", ["--label-en", "--label-ja", "--hosted-by"])
def test_words_that_are_more_than_a_line(office, option, text):
    done = office.add("garbled-1", option, text, check=False)
    assert done.returncode == 2 and f"{option} " in done.stderr and "one line of UTF-8" in done.stderr, done.stderr
    assert "\x1b" not in done.stderr and "\a" not in done.stderr
    assert "garbled-1" not in office.command("sensor", "list").stdout


def test_words_in_a_file_that_are_more_than_a_line(pg, collector, office):
    table = office.directory / "garbled.csv"
    table.write_text('name,country,label_en,label_ja,hosted_by\nfile-1,JP,Tokyo,東京,Example\nfile-2,QZ,a,b,c\nfile-3,JP,"two\nlines",b,c\n'
                     "file-4,JP,a,b\tb,c\nfile-5,JP,a,b,\x1b[2J\n")
    conf = office.directory / "collector.conf"
    conf.write_text(f"[enrolment]\noperator_key = {office.key}\n")
    done = office.command("import", "sensors", str(table), "--out", str(office.directory), conf=conf)
    assert "1 sensors added" in done.stdout and "4 lines refused (" in done.stdout, done.stdout
    for kind in ("1 country", "1 label_en", "1 label_ja", "1 hosted_by"):
        assert kind in done.stdout, done.stdout
    for line, why in ((3, 'country "QZ"'), (5, "label_en"), (6, "label_ja"), (7, "hosted_by")):  # the line on which it ends
        assert any(f"{table}, line {line}: " in text and why in text for text in done.stderr.splitlines()), done.stderr
    assert [row[0] for row in pg.query("select name from hirundo.sensor where name like 'file-%'")] == ["file-1"]


@pytest.mark.parametrize("endpoint", ["", "192.0.2.1:4455", "tcp://192.0.2.1", "tcp://192.0.2.1:0", "tcp://192.0.2.1:65536", "tcp://0.0.0.0:4455",
                                      "tcp://collector.example:4455", "tcp://2001:db8::1:4455", "tcp://[::]:4455", "tcp://[2001:db8::g]:4455", "ipc:///x"])
def test_endpoint_that_no_sensor_reaches(office, endpoint):
    done = office.add("unreached-1", "--endpoint", endpoint, check=False)
    assert done.returncode == 2 and f"--endpoint {endpoint}: must be tcp://ADDRESS:PORT with a numeric address" in done.stderr
    assert "usage:" in done.stderr and "unreached-1" not in office.command("sensor", "list").stdout


def test_changed_bundle(collector, office, machine):
    office.add("changed-1")
    good = (office.directory / "changed-1.bundle").read_bytes()
    bad = office.directory / "bad.bundle"
    bad.touch(0o600)
    for position in range(0, len(good), 37):
        changed = bytearray(good)
        changed[position] ^= 1
        bad.write_bytes(changed)
        done = enroll(machine, bad, check=False)
        assert done.returncode == 1 and done.stdout == "" and "bundle" in done.stderr, (position, done.stderr)
    for size in (0, 1, len(good) // 2, len(good) - 1):
        bad.write_bytes(good[:size])
        assert enroll(machine, bad, check=False).returncode == 1
    bad.write_bytes(good + b"[collector]\nmax_kbit = 1\n")
    assert enroll(machine, bad, check=False).returncode == 1
    assert not (machine / "sensor.conf").exists() and not (machine / "sensor.key").exists()


def test_bundle_of_another_operator(collector, office, machine):
    office.add("forged-1")
    fingerprint = office.fingerprint("forged-1")
    thief = Office(office.pg, office.directory / "thief")
    thief.directory.mkdir()
    thief.command("sensor", "bundle", "forged-1", "--operator-key", str(thief.key))
    done = enroll(machine, thief.directory / "forged-1.bundle", "--fingerprint", fingerprint, check=False)
    assert done.returncode == 1 and fingerprint in done.stderr and "do not use it" in done.stderr
    assert not (machine / "sensor.conf").exists()


def test_expired_bundle(collector, office, machine, tmp_path):
    office.add("late-1", "--valid", "1")
    bundle = office.directory / "late-1.bundle"
    later = (datetime.datetime.now() + datetime.timedelta(days=3)).strftime("%Y-%m-%d %H:%M:%S")
    if "asan" in str(hirundo.build_directory()):
        pytest.skip("a sanitizer and libfaketime both want to be loaded first")
    if not pathlib.Path("/usr/bin/faketime").exists():
        pytest.skip("faketime is not installed")
    done = subprocess.run(["faketime", later, hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c",
                           str(machine / "sensor.conf"), "--interface", "lo"], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "has expired 2 days ago" in done.stderr
    assert not (machine / "sensor.conf").exists()


def test_requests_that_are_not_approved(pg, collector, office, machine):
    office.add("ask-1")
    office.add("ask-2")
    request = enroll(machine, office.directory / "ask-1.bundle").stdout.strip()
    for words, why in ((["ask-2", request], "pasted to the wrong name"), (["ask-1", request[:-1]], "cut short"),
                       (["ask-1", request[:-1] + ("0" if request[-1] != "0" else "1")], "checksum"),
                       (["ask-1", "hello"], "not a request"), (["nobody", request.replace("ask-1", "nobody")], "checksum")):
        done = office.command("sensor", "approve", *words, check=False)
        assert done.returncode == 1 and why in done.stderr, done.stderr
    assert pg.value("select count(*) from hirundo.sensor_key join hirundo.sensor using (sensor_id) where name like 'ask-%'") == 0
    office.command("sensor", "approve", "ask-1", request)
    assert "already" in office.command("sensor", "approve", "ask-1", request).stdout
    office.command("sensor", "revoke", "ask-1")
    done = office.command("sensor", "approve", "ask-1", request, check=False)
    assert done.returncode == 1 and "revoked" in done.stderr
    done = office.command("sensor", "bundle", "ask-1", check=False)
    assert done.returncode == 1 and "revoked" in done.stderr


def test_no_bundle_without_an_address(pg, office):
    """Without a running collector the sensor is added; what the bundle lacks is said."""
    pg.query("delete from hirundo.collector_endpoint")
    done = office.add("lonely-1")
    assert "sensor lonely-1 added" in done.stdout and "no bundle was made" in done.stderr
    assert not (office.directory / "lonely-1.bundle").exists()
    done = office.command("sensor", "bundle", "lonely-1", check=False)
    assert done.returncode == 1 and "serve" in done.stderr


def test_wildcard_endpoint_is_not_put_into_bundles(pg, office):
    pg.query("delete from hirundo.collector_endpoint")
    port = hirundo.free_port()
    wildcard = hirundo.Collector(pg)
    wildcard.endpoint = f"tcp://0.0.0.0:{port}"
    with wildcard:
        hirundo.wait_for(lambda: pg.value("select count(*) from hirundo.collector_endpoint"), "the endpoint")
        done = office.add("wild-1")
        assert "no bundle was made" in done.stderr and "[collector] public" in done.stderr
        done = office.command("sensor", "bundle", "wild-1", "--operator-key", str(office.key), "--endpoint",
                              "tcp://collector.example:4455", check=False)
        assert done.returncode == 2 and "numeric" in done.stderr
        office.command("sensor", "bundle", "wild-1", "--operator-key", str(office.key), "--endpoint", f"tcp://127.0.0.1:{port}")
        assert (office.directory / "wild-1.bundle").exists()


def test_unknown_keys_are_bounded(pg, collector, office):
    """A flood of strangers: the last 256 stay."""
    pg.query("delete from hirundo.unknown_key")
    with pg.connect() as conn, conn.cursor() as cursor:
        for i in range(300):
            cursor.execute("insert into hirundo.unknown_key values (decode(md5(%s) || md5(%s), 'hex'), '192.0.2.1', now() - "
                           "interval '2 days', now() - interval '1 day', 1)", (f"a{i}", f"b{i}"))
    stranger = Replayer(collector, office.directory, "stranger", enroll=False)
    knocks = stranger.start_replay(capture(office.directory / "x.pcap", 10))
    try:
        hirundo.wait_for(lambda: pg.value("select count(*) = 256 and bool_or(public_key = %s) from hirundo.unknown_key",
                                          hirundo.z85_decode(stranger.public_key)), "256 rows, the stranger's among them")
    finally:
        knocks.kill()


# ---- the life of a key

def test_rotation_loses_no_batch(pg, collector, office, machine):
    office.add("turn-1")
    office.command("sensor", "approve", "turn-1", enroll(machine, office.directory / "turn-1.bundle").stdout.strip())
    assert replay(machine).returncode == 0
    done = sensor("rotate", "-c", machine / "sensor.conf")
    request = done.stdout.strip()
    assert done.returncode == 0 and request.startswith("request:turn-1:"), done.stderr
    # Not approved yet: the old key goes on.
    assert replay(machine, "two.pcap").returncode == 0
    with collector.hears_of_a_key():
        assert "next key" in office.command("sensor", "rotate", "turn-1", request).stdout
    assert replay(machine, "three.pcap").returncode == 0
    hirundo.wait_for(lambda: pg.value("select count(*) filter (where k.revoked_at is null) = 1 and count(*) = 2 from "
                                      "hirundo.sensor_key k join hirundo.sensor using (sensor_id) where name = 'turn-1'"),
                     "the old key to be revoked")
    assert replay(machine, "four.pcap").returncode == 0
    again = sensor("rotate", "-c", machine / "sensor.conf")  # a new turn can begin
    assert again.returncode == 0 and again.stdout.strip() != request and "is in place" in again.stderr
    assert not pathlib.Path(f"{machine}/sensor.key.next").read_text() in (machine / "sensor.key").read_text()
    assert replay(machine, "five.pcap").returncode == 0
    assert pg.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'turn-1'") == 2500
    assert pg.value("select count(*) from hirundo.audit where sensor = 'turn-1' and action = 'key taken over'") == 1


def test_audit_names_the_key(pg, collector, office, machine):
    def detail(action, name="named-1"):
        return pg.value("select string_agg(detail, ' | ') from hirundo.audit where sensor = %s and action = %s", name, action)

    office.add("named-1")
    request = enroll(machine, office.directory / "named-1.bundle").stdout.strip()
    office.command("sensor", "approve", "named-1", request)
    first = request.split(":")[2]
    assert detail("sensor approved") == f"key {first}"
    request = sensor("rotate", "-c", machine / "sensor.conf").stdout.strip()
    second = request.split(":")[2]
    done = office.command("sensor", "rotate", "named-1", request)
    assert "next key" in done.stdout and "Restart the sensor" in done.stdout
    assert detail("next key approved") == f"key {second}; until it is used, {first} is valid"
    shown = office.command("sensor", "show", "named-1").stdout
    assert re.search(rf"\({first}\) added", shown) and re.search(rf"\({second}\) added .*, next key: not used yet", shown), shown
    office.command("sensor", "revoke", "named-1")
    assert detail("sensor revoked") == "key " + ", ".join(sorted([first, second]))
    office.command("sensor", "revoke", "named-1")
    assert detail("sensor revoked").endswith("| it had no key that was let in")
    key = hirundo.Keys(pg, 1, enroll=False).pairs[0][0]
    office.command("sensor", "add", "named-2", "--country", "JP", "--key", key)
    assert detail("sensor added", "named-2") == f"with its key {hirundo.z85_decode(key).hex()}"
    office.add("named-3", "--with-key")
    made = pg.value("select encode(public_key, 'hex') from hirundo.sensor_key join hirundo.sensor using (sensor_id) where name = 'named-3'")
    assert detail("sensor added", "named-3") == f"with a key made here, {made}"


def test_next_key_that_was_lost_is_withdrawn(pg, collector, office, machine):
    office.add("lost-1")
    office.command("sensor", "approve", "lost-1", enroll(machine, office.directory / "lost-1.bundle").stdout.strip())
    assert replay(machine).returncode == 0
    nothing = office.command("sensor", "rotate", "lost-1", "--cancel", check=False)
    assert nothing.returncode == 1 and "no next key" in nothing.stderr
    request = sensor("rotate", "-c", machine / "sensor.conf").stdout.strip()
    office.command("sensor", "rotate", "lost-1", request)
    lost = machine / "elsewhere"  # the file is gone from the machine, and somebody has it
    (machine / "sensor.key.next").rename(lost)
    other = sensor("rotate", "-c", machine / "sensor.conf").stdout.strip()
    refused = office.command("sensor", "rotate", "lost-1", other, check=False)
    assert refused.returncode == 1 and "sensor rotate lost-1 --cancel" in refused.stderr
    done = office.command("sensor", "rotate", "lost-1", "--cancel")
    assert request.split(":")[2] in done.stdout and "withdrawn" in done.stdout
    first = pg.value("select encode(public_key, 'hex') from hirundo.sensor_key join hirundo.sensor using (sensor_id) where name = 'lost-1' and "
                     "sensor_key.revoked_at is null")
    assert pg.value("select detail from hirundo.audit where sensor = 'lost-1' and action = 'next key withdrawn'") == (
        f"key {request.split(':')[2]}; {first} goes on")
    assert replay(machine, "two.pcap").returncode == 0  # the old key goes on
    # the lost key is refused, and its refusal is told as that
    (machine / "sensor.key.next").unlink()
    lost.rename(machine / "sensor.key.next")
    third = replay(machine, "three.pcap")
    assert third.returncode == 0 and "its owner has withdrawn it; trying the present one" in third.stderr, third.stderr
    collector.wait_log(r"sensor lost-1 from 127\.0\.0\.1 refused with its key \S+, which was withdrawn or replaced")
    assert pg.value("select first_used_at is null from hirundo.sensor_key where public_key = decode(%s, 'hex')", request.split(":")[2])
    # the machine puts it away, and asks for another
    again = sensor("rotate", "-c", machine / "sensor.conf")
    assert again.returncode == 0 and "was withdrawn" in again.stderr and again.stdout.strip() != request
    with collector.hears_of_a_key():
        office.command("sensor", "rotate", "lost-1", again.stdout.strip())
    assert replay(machine, "four.pcap").returncode == 0
    hirundo.wait_for(lambda: pg.value("select count(*) = 1 and bool_and(encode(public_key, 'hex') = %s) from hirundo.sensor_key join "
                                      "hirundo.sensor using (sensor_id) where name = 'lost-1' and sensor_key.revoked_at is null",
                                      again.stdout.split(":")[2]), "the key to be taken over")
    used = office.command("sensor", "rotate", "lost-1", "--cancel", check=False)  # in use: no more to be withdrawn
    assert used.returncode == 1 and "no next key" in used.stderr
    assert pg.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'lost-1'") == 2000


def test_rotate_takes_a_request_or_cancel(office):
    for words in ((), ("request:x:y:z", "--cancel")):
        done = office.command("sensor", "rotate", "any-1", *words, check=False)
        assert done.returncode == 2 and "sensor rotate NAME" in done.stderr
    done = office.command("sensor", "rotate", "nobody-1", "--cancel", check=False)
    assert done.returncode == 1 and "no sensor nobody-1" in done.stderr


def test_status_tells_who_was_never_approved(pg, office):
    def counts():
        line = re.search(r"^sensors: (.*)$", office.command("status").stdout, re.M).group(1)
        return [int((re.search(rf"(\d+) {what}", line) or [0, 0])[1]) for what in ("enrolled", "not approved yet", "revoked")]

    before = counts()
    office.add("bundled-1")
    assert counts() == [before[0], before[1] + 1, before[2]]
    assert re.search(r"^bundled-1 .*has no key yet.*sensor approve", office.command("status").stdout, re.M)
    key = hirundo.Keys(pg, 1, enroll=False).pairs[0][0]
    office.command("sensor", "add", "keyed-1", "--country", "JP", "--key", key)
    assert counts() == [before[0] + 1, before[1] + 1, before[2]]
    assert not re.search(r"^keyed-1 .*has no key yet", office.command("status").stdout, re.M)
    office.command("sensor", "revoke", "keyed-1")
    assert counts() == [before[0], before[1] + 1, before[2] + 1]


def test_rotation_asks_for_the_same_until_approved(collector, office, machine):
    office.add("turn-2")
    office.command("sensor", "approve", "turn-2", enroll(machine, office.directory / "turn-2.bundle").stdout.strip())
    first, second = sensor("rotate", "-c", machine / "sensor.conf"), sensor("rotate", "-c", machine / "sensor.conf")
    assert first.stdout == second.stdout != ""
    done = office.command("sensor", "approve", "turn-2", first.stdout.strip(), check=False)
    assert done.returncode == 1 and "sensor rotate" in done.stderr


class TwoKeys(hirundo.Collector):
    """A collector that serves its next key too."""

    def __init__(self, postgres):
        super().__init__(postgres)
        self.next_port = hirundo.free_port()
        self.extra_lines = [f"next_key = {self.directory}/next.key", f"next_endpoint = tcp://127.0.0.1:{self.next_port}"]


def test_collector_key_rotates(pg, office, machine):
    """A sensor whose bundle knew the next key stays when the old one is taken away."""
    with TwoKeys(pg) as collector:
        hirundo.wait_for(lambda: pg.value("select count(*) from hirundo.collector_endpoint where is_next and endpoint = %s",
                                          f"tcp://127.0.0.1:{collector.next_port}"), "the next endpoint to be noted")
        assert "next key, too" in office.add("stays-1", "--endpoint", collector.endpoint).stdout
        assert "next_server_key" in (office.directory / "stays-1.bundle").read_text()
        done = office.command("sensor", "bundle", "stays-1", "--label-en", "ignored", check=False)
        assert done.returncode == 2 and "bundle options only" in done.stderr
        request = enroll(machine, office.directory / "stays-1.bundle").stdout.strip()
        office.command("sensor", "approve", "stays-1", request)
        assert replay(machine).returncode == 0
        collector.stop()
        (collector.directory / "collector.key").unlink()
        (collector.directory / "next.key").rename(collector.directory / "collector.key")
        collector.endpoint, collector.extra_lines = f"tcp://127.0.0.1:{collector.next_port}", []
        collector.start()
        assert replay(machine, "two.pcap").returncode == 0
    assert pg.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'stays-1'") == 1000


def test_audit_can_only_grow(pg):
    for sql in ("delete from hirundo.audit", "update hirundo.audit set who = 'x'", "truncate hirundo.audit"):
        with pg.connect() as conn, conn.cursor() as cursor:
            cursor.execute("set role hirundo_owner")
            with pytest.raises(Exception, match="permission denied"):
                cursor.execute(sql)
