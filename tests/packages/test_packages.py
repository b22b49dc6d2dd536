"""hirundo-sensor and hirundo-collector as Debian packages on machines with systemd."""
import glob
import os
import pathlib
import re
import shutil
import subprocess

import pytest

import hirundo
import machine
from test_live import Inside

TOP = pathlib.Path(__file__).resolve().parents[2]


def package(name, later=False):
    directory = os.environ["HIRUNDO_PACKAGES_LATER" if later else "HIRUNDO_PACKAGES"]
    return glob.glob(f"{directory}/{name}_*.deb")[0]


@pytest.fixture(name="collector")
def fixture_collector(pg, veth):
    veth.addresses()
    with Inside(pg, veth, far=True) as collector:
        yield collector


@pytest.fixture(name="host")
def fixture_host(base, tmp_path, veth, collector):
    del collector  # the namespace's addresses are set with it
    host = machine.Machine(base, tmp_path / "host", veth.here)
    yield host
    host.shutdown()


class Enrolment:
    """What the collector's owner does."""

    def __init__(self, collector, tmp_path, name):
        self.pg, self.conf, self.name = collector.postgres, tmp_path / "owner.conf", name
        self.bundle = tmp_path / f"{name}.bundle"
        self.conf.write_text(collector.conf.read_text() + f"[enrolment]\noperator_key = {tmp_path}/operator.pem\n")
        done = self.owner("sensor", "add", name, "--country", "JP", "--endpoint", collector.endpoint, "--out", self.bundle)
        self.fingerprint = re.search(r"signed by operator (\S+)", done).group(1)

    def owner(self, *words):
        done = subprocess.run([hirundo.program("hirundo-collector"), *map(str, words), "-c", str(self.conf)], text=True,
                              capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def value(self, sql):
        return self.pg.value(sql + " join hirundo.sensor s using (sensor_id) where s.name = %s", self.name)

    def frames(self):
        return int(self.value("select coalesce(sum(frames), 0) from hirundo.observation"))

    def wait_frames(self, count):
        hirundo.wait_for(lambda: self.frames() >= count, f"{count} frames", 60)
        assert self.frames() == count


def request_of(text):
    return re.search(r"^request:\S+$", text, re.MULTILINE).group(0)


def quicken(host):
    """Batches each second instead of each minute, so that a test does not last for minutes."""
    conf = host.directory / "etc/hirundo/sensor.conf"
    text = re.sub(r"(?m)^window = .*", "window = 1s", conf.read_text()) + "[batch]\nmax_delay = 1s\n"
    conf.write_text(text)
    conf.chmod(0o600)


@pytest.fixture(name="sensor")
def fixture_sensor(host, collector, tmp_path):
    """The package installed, the machine booted, enrolled and started: (host, enrolment)."""
    host.install(package("hirundo-sensor"))
    host.boot()
    enrolment = Enrolment(collector, tmp_path, "packaged-" + os.urandom(3).hex())
    shutil.copy(enrolment.bundle, host.directory / "root/bundle")
    assert host.property("hirundo-sensor", "ActiveState") == "inactive"  # nothing to do yet, and no failure
    request = request_of(host.do("hirundo-sensor", "enroll", "/root/bundle", "--fingerprint", enrolment.fingerprint,
                                 "--interface", "probe"))
    quicken(host)
    enrolment.owner("sensor", "approve", enrolment.name, request)
    host.do("systemctl", "restart", "hirundo-sensor")
    host.wait_journal("hirundo-sensor", "connected to collector")
    return host, enrolment


def main_pid(host):
    return int(host.property("hirundo-sensor", "MainPID"))


def test_from_installation_to_purge(sensor, veth):
    host, enrolment = sensor
    veth.send(500)
    enrolment.wait_frames(500)

    # What runs has a user of its own, no capability left, and reads root's files through systemd.
    status = host.do("cat", f"/proc/{main_pid(host)}/status")
    assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE) and re.search(r"Seccomp:\s+2", status)
    uid = host.do("id", "-u", "hirundo-sensor").strip()
    assert uid != "0" and re.search(rf"^Uid:\s+{uid}\b", status, re.MULTILINE)
    assert host.do("stat", "-c", "%U %a", "/etc/hirundo/sensor.conf", "/etc/hirundo/sensor.key") == "root 600\nroot 600\n"
    assert host.do("stat", "-c", "%U %a", "/var/lib/hirundo-sensor") == "hirundo-sensor 700\n"
    assert host.property("hirundo-sensor", "StatusText") == "listening on probe"
    assert int(host.property("hirundo-sensor", "WatchdogTimestampMonotonic")) > 0

    # Killed, it comes back and tells what it cannot know.
    pid = main_pid(host)
    host.do("systemctl", "kill", "-s", "KILL", "hirundo-sensor")
    hirundo.wait_for(lambda: main_pid(host) not in (0, pid), "another process", 60)
    hirundo.wait_for(lambda: enrolment.value("select count(*) from hirundo.loss") == 1, "the declared loss")

    # Upgraded while packets come in: each is counted once, and what was configured stays.
    before = host.do("sha256sum", "/etc/hirundo/sensor.conf", "/etc/hirundo/sensor.key")
    veth.send(300)
    host.upgrade(package("hirundo-sensor", later=True))
    assert host.do("hirundo-sensor", "--version") == "hirundo-sensor 0.1.0\n"  # the program's own; the package's is later
    assert "99.0" in host.do("dpkg-query", "-W", "hirundo-sensor")
    assert host.property("hirundo-sensor", "ActiveState") == "active"
    assert host.do("sha256sum", "/etc/hirundo/sensor.conf", "/etc/hirundo/sensor.key") == before
    veth.send(200)
    enrolment.wait_frames(1000)
    assert enrolment.value("select count(*) from hirundo.loss") == 1

    # Removed: stopped, all data and keys are there; installed again it goes on; purged: nothing is left.
    host.do("dpkg", "-r", "hirundo-sensor")
    assert not host.runs("hirundo-sensor")
    assert host.do("sha256sum", "/etc/hirundo/sensor.conf", "/etc/hirundo/sensor.key") == before
    host.upgrade(package("hirundo-sensor", later=True))
    host.do("systemctl", "start", "hirundo-sensor")
    hirundo.wait_for(lambda: host.property("hirundo-sensor", "ActiveState") == "active", "the service")
    veth.send(100)
    enrolment.wait_frames(1100)
    host.do("dpkg", "-P", "hirundo-sensor")
    assert host("ls", "/etc/hirundo", "/var/lib/hirundo-sensor").stdout == ""


def test_next_key_is_a_credential(sensor, veth):
    host, enrolment = sensor
    request = request_of(host.do("hirundo-sensor", "rotate", "-c", "/etc/hirundo/sensor.conf"))
    enrolment.owner("sensor", "rotate", enrolment.name, request)
    host.do("systemctl", "restart", "hirundo-sensor")
    veth.send(100)
    enrolment.wait_frames(100)
    assert enrolment.pg.value("select count(*) from hirundo.sensor_key k join hirundo.sensor s using (sensor_id) "
                              "where s.name = %s and k.revoked_at is not null", enrolment.name) == 1


def test_vanished_interface_is_waited_for(sensor, veth):
    host, enrolment = sensor
    machine.run(["ip", "-n", veth.there, "link", "delete", "far"])
    host.wait_journal("hirundo-sensor", "vanished")
    veth.connect()
    veth.addresses()
    host.wait_journal("hirundo-sensor", "connected to collector", 2)
    veth.send(100)
    hirundo.wait_for(lambda: enrolment.frames() >= 100, "the frames")


def test_collector_package(base, tmp_path, veth):
    """With PostgreSQL on the same machine, as docs/operations.md sets it up."""
    veth.addresses()
    host = machine.Machine(base, tmp_path / "host", veth.here)
    try:
        host.install(package("hirundo-collector"))
        host.install_names("postgresql")
        host.boot()
        hirundo.wait_for(lambda: host("su", "postgres", "-c", "psql -c 'select 1'").returncode == 0, "PostgreSQL", 60)
        host.do("su", "postgres", "-c", "createdb hirundo")
        host.do("su", "postgres", "-c", "PGDATABASE=hirundo hirundo-collector migrate")
        host.do("su", "postgres", "-c", "psql -q hirundo -c 'create role hirundo_service login in role hirundo_collector'")
        host.do("systemctl", "restart", "hirundo-collector")
        assert host.property("hirundo-collector", "ActiveState") == "active"
        assert "listening on tcp://0.0.0.0:4455" in host.property("hirundo-collector", "StatusText")
        key = host.do("stat", "-c", "%U %a", "/var/lib/hirundo/collector.key")
        assert key == "hirundo_service 600\n"
        before = host.do("sha256sum", "/var/lib/hirundo/collector.key", "/etc/hirundo/collector.conf")
        pid = host.property("hirundo-collector", "MainPID")
        host.upgrade(package("hirundo-collector", later=True))
        assert host.property("hirundo-collector", "ActiveState") == "active"
        assert host.property("hirundo-collector", "MainPID") != pid
        assert host.do("sha256sum", "/var/lib/hirundo/collector.key", "/etc/hirundo/collector.conf") == before
        host.do("dpkg", "-P", "hirundo-collector")
        assert host("ls", "/var/lib/hirundo", "/etc/hirundo").stdout == ""
        assert host.do("su", "postgres", "-c", "psql -Atc 'select count(*) from hirundo.setting' hirundo") != ""
    finally:
        host.shutdown()


def test_units_expose_little():
    for unit, most in (("sensor", 2.0), ("collector", 2.5)):
        done = machine.run(["systemd-analyze", "security", "--offline=true",
                            TOP / f"deploy/systemd/hirundo-{unit}.service"])
        level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout + done.stderr).group(1))
        assert level <= most
        assert "ignoring" not in done.stdout + done.stderr


def test_man_pages_and_completions(tmp_path):
    programs = [hirundo.program("hirundo-sensor"), hirundo.program("hirundo-collector")]
    done = machine.run(["/usr/bin/python3", TOP / "deploy/man/generate.py", tmp_path, *programs])
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "man").iterdir())
    assert len(pages) >= 18
    for page in pages:
        assert machine.run(["mandoc", "-T", "lint", "-W", "warning", page]).stdout == ""
    for name in ("hirundo-sensor", "hirundo-collector"):
        script = f". {tmp_path}/completions/{name}; COMP_WORDS=({name} st) COMP_CWORD=1; _{name.replace('-', '_')}; " \
                 "echo ${COMPREPLY[@]}"
        assert machine.run(["bash", "-c", script]).stdout == "status\n"


def static_name():
    return "hirundo-sensor-" + machine.run(["dpkg", "--print-architecture"]).stdout.strip()


@pytest.fixture(name="static")
def fixture_static(tmp_path):
    """What an operator copies to a VPS: script, unit, program."""
    directory = tmp_path / "copied"
    directory.mkdir()
    for file in (TOP / "deploy/install-sensor", TOP / "deploy/systemd/hirundo-sensor.service",
                 TOP / "deploy/static/out" / static_name()):
        shutil.copy(file, directory)
    return directory


def carried(host, collector, tmp_path, static):
    """What the collector's owner gave is on the machine, too: (enrolment, words of install-sensor)."""
    enrolment = Enrolment(collector, tmp_path, "installed-" + os.urandom(3).hex())
    shutil.copy(enrolment.bundle, static / "bundle")
    shutil.copytree(static, host.directory / "root/hirundo")
    return enrolment, ["/root/hirundo/install-sensor", "/root/hirundo/bundle", "--fingerprint", enrolment.fingerprint,
                       "--interface", "probe"]


def test_install_sensor(host, collector, tmp_path, veth, static):
    host.boot()
    enrolment, words = carried(host, collector, tmp_path, static)
    before = host.do("sh", "-c", "find /etc /usr /var -xdev | sort")
    assert "would: " in host.do(*words, "--dry-run")
    assert host.do("sh", "-c", "find /etc /usr /var -xdev | sort") == before

    # Not approved yet: it says so, and goes on trying.
    done = host(*words, "--wait", "5")
    assert done.returncode == 1 and "approve" in done.stderr, done.stdout + done.stderr
    enrolment.owner("sensor", "approve", enrolment.name, request_of(done.stdout))
    quicken(host)
    host.do("systemctl", "restart", "hirundo-sensor")
    veth.send(100)
    enrolment.wait_frames(100)
    pid = main_pid(host)
    done = host(*words, "--wait", "60")  # again, after the configuration was changed by hand
    assert done.returncode == 1 and "--replace" in done.stderr, done.stdout + done.stderr
    assert main_pid(host) == pid  # what runs was left alone

    with open(host.directory / f"root/hirundo/{static_name()}", "ab") as program:
        program.write(b"newer")
    connected = host.journal("hirundo-sensor").count("connected to collector")
    assert "Upgraded" in host.do("/root/hirundo/install-sensor", "--upgrade")
    assert main_pid(host) != pid
    host.wait_journal("hirundo-sensor", "connected to collector", connected + 1)
    veth.send(50)
    enrolment.wait_frames(150)

    host.do("/root/hirundo/install-sensor", "--uninstall")
    assert not host.runs("hirundo-sensor")
    assert host.do("ls", "/etc/hirundo") == "sensor.conf\nsensor.key\n"
    host.do("/root/hirundo/install-sensor", "--uninstall", "--purge")
    after = host.do("sh", "-c", "find /etc /usr /var -xdev | sort")
    left = set(after.splitlines()) - set(before.splitlines())
    assert {name for name in left if "hirundo" in name} == set()


def test_install_sensor_with_an_older_systemd(old_base, collector, tmp_path, veth, static):
    """Of version 247: no credentials, so the sensor starts as root and gives its rights up by itself."""
    host = machine.Machine(old_base, tmp_path / "host", veth.here)
    try:
        host.boot()
        enrolment, words = carried(host, collector, tmp_path, static)
        done = host(*words, "--wait", "5")
        assert done.returncode == 1 and "older than 250" in done.stdout and "approve" in done.stderr, done.stdout + done.stderr
        enrolment.owner("sensor", "approve", enrolment.name, request_of(done.stdout))
        quicken(host)
        host.do("systemctl", "restart", "hirundo-sensor")
        veth.send(100)
        enrolment.wait_frames(100)
        status = host.do("cat", f"/proc/{main_pid(host)}/status")
        uid = host.do("id", "-u", "hirundo-sensor").strip()
        assert re.search(r"CapEff:\s+0+$", status, re.MULTILINE) and re.search(r"Seccomp:\s+2", status)
        assert uid != "0" and re.search(rf"^Uid:\s+{uid}\s+{uid}\s+{uid}\b", status, re.MULTILINE)
        assert host.do("stat", "-c", "%U %a", "/etc/hirundo/sensor.conf", "/etc/hirundo/sensor.key") == "root 600\nroot 600\n"
        assert not re.search(r"hirundo-sensor\.service:\d+:", host("journalctl", "-q", "-o", "cat", "-b").stdout)  # a line it does not know
        host.do("systemctl", "kill", "-s", "KILL", "hirundo-sensor")
        host.wait_journal("hirundo-sensor", "connected to collector", 2)
        host.do("/root/hirundo/install-sensor", "--uninstall", "--purge")
        assert not host.runs("hirundo-sensor") and host("ls", "/etc/hirundo", "/var/lib/hirundo-sensor").stdout == ""
    finally:
        host.shutdown()


def test_install_sensor_without_systemd(bare_base, collector, tmp_path, veth, static):
    """It says what to run, and that, run, delivers."""
    host = machine.Machine(bare_base, tmp_path / "host", veth.here)
    try:
        host.boot_bare()
        enrolment, words = carried(host, collector, tmp_path, static)
        done = host(*words)
        assert done.returncode == 0 and "nothing was started" in done.stdout, done.stdout + done.stderr
        assert "starts with the machine" not in done.stdout and "journalctl" not in done.stdout
        line = re.search(r"^ *\* \* \* \* \* root (.*)$", done.stdout, re.MULTILINE).group(1)
        enrolment.owner("sensor", "approve", enrolment.name, request_of(done.stdout))
        quicken(host)
        host.do("sh", "-c", f"({line}) </dev/null >/dev/null &")
        assert host("sh", "-c", line).returncode == 1  # a minute later: it runs already
        hirundo.wait_for(lambda: "connected to collector" in host("cat", "/var/log/hirundo-sensor.log").stdout, "the connection")
        veth.send(100)
        enrolment.wait_frames(100)
        done = host("/root/hirundo/install-sensor", "--uninstall", "--purge")
        assert done.returncode == 1 and "the sensor runs (process " in done.stderr, done.stdout + done.stderr
        host.do("sh", "-c", "kill $(pidof hirundo-sensor)")
        hirundo.wait_for(lambda: not host.runs("hirundo-sensor"), "its end")
        assert "take away" in host.do("/root/hirundo/install-sensor", "--uninstall", "--purge")
        assert host("ls", "/etc/hirundo", "/var/lib/hirundo-sensor").stdout == ""
    finally:
        host.shutdown()


@pytest.mark.parametrize("words,code,said", [
    ([], 2, "which BUNDLE"), (["a", "b"], 2, "one BUNDLE"), (["a", "--wait", "x"], 2, "not a number"),
    (["--purge", "a"], 2, "--uninstall"), (["--wat"], 2, "unknown option"), (["/nonexistent"], 1, "no such bundle"),
    (["--uninstall", "a"], 2, "takes no bundle"), (["--upgrade", "a"], 2, "takes no bundle"),
    (["--wait", "0", "a"], 2, "1 to 86400"), (["--program"], 2, "needs a value")])
def test_install_sensor_says_what_is_wrong(words, code, said):
    done = machine.run(["sh", TOP / "deploy/install-sensor", *words])
    assert done.returncode == code and said in done.stderr
