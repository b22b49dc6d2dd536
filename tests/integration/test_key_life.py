"""What happens to keys, names and numbers over the years: lost, stolen, changed, set back."""
import os
import pathlib
import pty
import re
import subprocess

import pytest

import hirundo
from test_delivery import Replayer, capture
from test_enrolment import Office, enroll, fixture_collector, fixture_machine, fixture_office, fixture_pg, replay, sensor

__all__ = ["fixture_collector", "fixture_machine", "fixture_office", "fixture_pg"]  # pytest finds them by their names

MANY = 3000 if "HIRUNDO_HOSTILE" in os.environ else 600  # keys that nobody enrolled; ./tests/run hostile sets it


def fingerprint_of(done):
    return re.search(r"--fingerprint (\S+)", done.stdout).group(1)


def request_of(done):
    return done.stdout.strip().splitlines()[-1]


def packets(pg, name):
    return pg.value("select coalesce(sum(packets), 0) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s", name)


# ---- the sensor's key

def test_enroll_after_rotate_asks_for_the_key_in_use(pg, collector, office, machine):
    office.add("turned-1")
    first = request_of(enroll(machine, office.directory / "turned-1.bundle"))
    office.command("sensor", "approve", "turned-1", first)
    request = sensor("rotate", "-c", machine / "sensor.conf").stdout.strip()
    office.command("sensor", "bundle", "turned-1", "--operator-key", str(office.key), "--out", "again.bundle")
    again = enroll(machine, office.directory / "again.bundle", "--replace")
    assert request_of(again) == first and "still waits for approval" in again.stderr
    office.command("sensor", "rotate", "turned-1", request)

    def settled():
        """The collector hears of the new key a moment after the command."""
        again = enroll(machine, office.directory / "again.bundle", "--replace")
        return again if request_of(again) == request else None
    again = hirundo.wait_for(settled, "the collector to know the next key")
    assert "is in place" in again.stderr
    assert not (machine / "sensor.key.next").exists()
    assert replay(machine).returncode == 0
    hirundo.wait_for(lambda: pg.value("select count(*) = 1 from hirundo.sensor_key k join hirundo.sensor using (sensor_id) "
                                      "where name = 'turned-1' and k.revoked_at is null"), "the old key to be revoked")
    assert request_of(enroll(machine, office.directory / "again.bundle", "--replace")) == request
    assert "already" in office.command("sensor", "approve", "turned-1", request).stdout


def test_enroll_with_two_keys_and_no_collector_asks_for_the_present_one(pg, office, machine):
    with hirundo.Collector(pg) as collector:
        office.add("turned-2", "--endpoint", collector.endpoint)
        first = request_of(enroll(machine, office.directory / "turned-2.bundle"))
        office.command("sensor", "approve", "turned-2", first)
        assert sensor("rotate", "-c", machine / "sensor.conf").returncode == 0
    done = enroll(machine, office.directory / "turned-2.bundle")
    assert request_of(done) == first
    assert "nobody can tell whether the next key is in use" in done.stderr and "request is for the present key" in done.stderr


# ---- the operator's key

def test_lost_operator_key(pg, collector, office, machine):
    """As docs/operations.md says: the next bundle is signed with a new one, and enrolled sensors do not notice."""
    old = fingerprint_of(office.add("before-1"))
    office.command("sensor", "approve", "before-1",
                   request_of(enroll(machine, office.directory / "before-1.bundle", "--fingerprint", old)))
    office.key.unlink()
    done = office.add("after-1")
    new = fingerprint_of(done)
    assert "made the operator's key" in done.stderr and new != old
    assert replay(machine).returncode == 0 and packets(pg, "before-1") == 500
    other = machine / "other"
    other.mkdir()
    refused = enroll(other, office.directory / "after-1.bundle", "--fingerprint", old, check=False)
    assert refused.returncode == 1 and new in refused.stderr and not (other / "sensor.conf").exists()
    office.command("sensor", "approve", "after-1",
                   request_of(enroll(other, office.directory / "after-1.bundle", "--fingerprint", new)))
    # a bundle of the lost key still enrols, where people hold on to its fingerprint; hirundo.bundle tells which those are
    assert pg.query("select s.name from hirundo.bundle b join hirundo.sensor s using (sensor_id) where b.operator_key <> "
                    "(select operator_key from hirundo.bundle join hirundo.sensor using (sensor_id) where name = 'after-1') "
                    "and s.name in ('before-1', 'after-1')") == [("before-1",)]


def test_stolen_operator_key(pg, collector, office, machine, tmp_path):
    """The thief signs a bundle that leads to a collector of the thief's; the way out is the documented one."""
    old = fingerprint_of(office.add("waiting-1"))
    thief = Office(pg, tmp_path / "thief")
    thief.directory.mkdir()
    thief.key.write_bytes(office.key.read_bytes())
    thief.key.chmod(0o600)
    bad = f"tcp://127.0.0.1:{hirundo.free_port()}"
    thief.command("sensor", "bundle", "waiting-1", "--operator-key", str(thief.key), "--endpoint", bad)
    # move the key away, make a new one, tell its fingerprint, replace the bundles that were not used
    office.key.rename(office.directory / "stolen.key")
    unused = [row[0] for row in pg.query(
        "select distinct s.name from hirundo.bundle b join hirundo.sensor s using (sensor_id) where s.revoked_at is null and "
        "b.expires_at > now() and not exists (select from hirundo.sensor_key k where k.sensor_id = s.sensor_id)")]
    assert "waiting-1" in unused
    (office.directory / "waiting-1.bundle").unlink()
    done = office.command("sensor", "bundle", "waiting-1", "--operator-key", str(office.key))
    new = fingerprint_of(done)
    assert new != old
    refused = enroll(machine, thief.directory / "waiting-1.bundle", "--fingerprint", new, check=False)
    assert refused.returncode == 1 and "do not use it" in refused.stderr and not (machine / "sensor.conf").exists()
    office.command("sensor", "approve", "waiting-1",
                   request_of(enroll(machine, office.directory / "waiting-1.bundle", "--fingerprint", new)))
    assert replay(machine).returncode == 0 and packets(pg, "waiting-1") == 500
    assert bad not in (machine / "sensor.conf").read_text()
    assert pg.value("select count(*) from hirundo.audit where sensor = 'waiting-1' and action = 'bundle made'") == 3


def test_pass_phrase_is_asked_for_once(pg, collector, office):
    office.add("phrase-0")
    done = subprocess.run(["openssl", "pkey", "-in", str(office.key), "-aes256", "-passout", "pass:a long phrase", "-out",
                           str(office.directory / "locked.key")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    os.replace(office.directory / "locked.key", office.key)
    office.key.chmod(0o600)
    table = office.directory / "sensors.csv"
    table.write_text("name,country\n" + "".join(f"phrase-{i},JP\n" for i in range(1, 6)))
    conf = office.directory / "collector.conf"
    conf.write_text(f"[enrolment]\noperator_key = {office.key}\n")
    pid, screen = pty.fork()
    if pid == 0:
        os.environ.update(pg.environment())
        os.execv(hirundo.program("hirundo-collector"), ["hirundo-collector", "import", "sensors", str(table), "--out",
                                                        str(office.directory), "-c", str(conf)])
    shown = b""
    try:
        while True:
            data = os.read(screen, 4096)
            shown += data
            if b"pass phrase" in data:
                os.write(screen, b"a long phrase\n")
    except OSError:  # it has ended
        pass
    finally:
        os.close(screen)
        assert os.waitpid(pid, 0)[1] == 0, shown
    assert shown.count(b"pass phrase") == 1 and b"5 sensors added, 5 bundles written" in shown, shown


def test_signing_lets_no_key_into_the_database(pg, collector, office, machine):
    """The operator's key alone is no login: approve, revoke and list need one of the owner's."""
    office.add("laptop-1")
    request = request_of(enroll(machine, office.directory / "laptop-1.bundle"))
    pg.query("create role laptop login password 'only-for-tests'")
    env = dict(pg.environment(), PGUSER="laptop", PGPASSWORD="only-for-tests")
    for words in (("sensor", "approve", "laptop-1", request), ("sensor", "revoke", "laptop-1"), ("sensor", "list"),
                  ("sensor", "bundle", "laptop-1", "--operator-key", str(office.key), "--out", str(machine / "own.bundle"))):
        done = subprocess.run([hirundo.program("hirundo-collector"), *words], env=env, capture_output=True, text=True, check=False,
                              timeout=60)
        assert done.returncode == 1 and "permission denied" in done.stderr, (words, done.stderr)
    assert not (machine / "own.bundle").exists()
    assert pg.value("select count(*) from hirundo.sensor_key join hirundo.sensor using (sensor_id) where name = 'laptop-1'") == 0


def test_secrets_stay_in_their_files(pg, collector, office, machine):
    """Not in the database, the logs, what the commands print, the request, or arguments and environment of the processes."""
    done = office.add("secret-1")
    asked = enroll(machine, office.directory / "secret-1.bundle")
    office.command("sensor", "approve", "secret-1", request_of(asked))
    turned = sensor("rotate", "-c", machine / "sensor.conf")
    sent = replay(machine)
    assert sent.returncode == 0
    office.command("sensor", "add", "secret-2", "--country", "JP", "--operator-key", str(office.key), "--with-key")
    found = {}
    for path, pattern in ((machine / "sensor.key", r"secret = (\S+)"), (machine / "sensor.key.next", r"secret = (\S+)"),
                          (office.directory / "secret-2.bundle", r"secret = (\S+)"),
                          (collector.directory / "collector.key", r"secret = (\S+)"), (office.key, r"\n(\S+)\n-----END")):
        found[path.name] = re.search(pattern, path.read_text()).group(1)
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert len(set(found.values())) == 5
    dump = subprocess.run([f"{pg.bin}/pg_dump", "-d", pg.conninfo()], capture_output=True, text=True, check=True).stdout
    assert "secret-2" in dump
    processes = "".join(path.read_text(errors="replace") for name in ("cmdline", "environ")
                        for path in [pathlib.Path(f"/proc/{collector.process.pid}/{name}")])
    shown = "".join(one.stdout + one.stderr for one in (done, asked, turned, sent))
    for name, secret in found.items():
        raw = hirundo.z85_decode(secret).hex() if len(secret) == 40 else secret
        for where, text in (("database", dump), ("log", collector.log()), ("output", shown), ("process", processes)):
            assert secret not in text and raw not in text, (name, where)


# ---- names and numbers

def test_changed_address_is_a_new_row_with_its_date(pg, collector, office, machine):
    office.add("moves-1")
    office.command("sensor", "approve", "moves-1", request_of(enroll(machine, office.directory / "moves-1.bundle")))
    rows = ("select host(address), first_seen from hirundo.sensor_address join hirundo.sensor using (sensor_id) where name = 'moves-1' "
            "order by dst_no")
    assert replay(machine).returncode == 0
    first = pg.query(rows)
    assert [row[0] for row in first] == ["198.19.0.1"]
    moved = pathlib.Path(capture(machine / "moved.pcap", 100, first=1675936000))
    moved.write_bytes(moved.read_bytes().replace(b"\xc6\x13\x00\x01", b"\xc6\x13\x00\x63"))
    assert sensor("replay", "-c", machine / "sensor.conf", moved).returncode == 0
    both = pg.query(rows)
    assert both[0] == first[0] and both[1][0] == "198.19.0.99" and both[1][1] > both[0][1]
    assert pg.value("select count(distinct dst_no) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'moves-1'") == 2


def test_number_of_a_sensor_is_not_given_twice(pg, collector, office, machine):
    """Where parts of a database were set back: rows of a sensor are there, its own row is not."""
    office.add("gone-1")
    office.command("sensor", "approve", "gone-1", request_of(enroll(machine, office.directory / "gone-1.bundle")))
    assert replay(machine).returncode == 0
    number = pg.value("select sensor_id from hirundo.sensor where name = 'gone-1'")
    pg.query("delete from hirundo.sensor_key where sensor_id = %s", number)
    pg.query("delete from hirundo.sensor where sensor_id = %s", number)
    pg.query("select setval(pg_get_serial_sequence('hirundo.sensor', 'sensor_id'), %s)", number - 1)
    pg.query("notify hirundo_keys")
    office.add("new-1")
    assert pg.value("select sensor_id from hirundo.sensor where name = 'new-1'") > number
    assert packets(pg, "new-1") == 0


@pytest.mark.skipif(bool(os.environ.get("ASAN_OPTIONS")), reason="thousands of handshakes take minutes with a sanitizer")
def test_unknown_keys_are_bounded_however_many_knock(pg, collector, office, tmp_path):
    keys = hirundo.Keys(pg, MANY, enroll=False)
    keys.write(tmp_path / "many.keys")
    crowd = subprocess.Popen([hirundo.program("hirundo-load"), "idle", collector.endpoint, collector.server_key,
                              str(tmp_path / "many.keys"), "1000", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        hirundo.wait_for(lambda: pg.value("select count(*) = 256 and sum(attempts) >= 256 from hirundo.unknown_key"),
                         "256 unknown keys", 4 * hirundo.WAIT_S)
        lines = office.command("sensor", "list", "--unknown").stdout.splitlines()
        assert len(lines) <= 257, len(lines)
    finally:
        crowd.kill()
        crowd.wait()
    assert len([line for line in collector.lines if "nobody enrolled it" in line]) <= 20
    late = Replayer(collector, tmp_path, "late", enroll=False)  # and the last to come is shown
    knocks = late.start_replay(capture(tmp_path / "x.pcap", 10))
    try:
        hirundo.wait_for(lambda: hirundo.z85_decode(late.public_key).hex() in office.command("sensor", "list", "--unknown").stdout,
                         "the last one to be shown", 4 * hirundo.WAIT_S)
    finally:
        knocks.kill()
