"""deploy/install-sensor where systemd is new, old or missing, with a stub in systemctl's place; on booted machines: the suite "packages"."""
import os
import pathlib
import re
import subprocess

import pytest

import hirundo
from test_enrolment import Office, fixture_collector, fixture_pg

__all__ = ["fixture_collector", "fixture_pg"]  # found by name

SYSTEMCTL = """#!/bin/sh
case "$*" in --version) echo 'systemd {version} ({version}-1)' ;; esac
echo "$*" >>"$CALLS"
"""
# What it writes to is this namespace's alone.
STAGE = """set -e
for directory in /etc /usr/local /var/lib; do
    mkdir -p "$STAGE$directory"
done
cp -a /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/login.defs /etc/nsswitch.conf "$STAGE/etc"
mkdir -p "$STAGE/etc/systemd/system"
for directory in /etc /usr/local /var/lib; do
    mount --bind "$STAGE$directory" "$directory"
done
mount -t tmpfs none /run
[ "$SYSTEMD" = none ] || mkdir -p /run/systemd/system
exec "$@"
"""


@pytest.fixture(name="stage")
def fixture_stage(tmp_path, pg, collector):
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root and mount namespaces")
    return Stage(tmp_path, pg, collector)


class Stage:
    """A machine's directories, kept from one call to the next."""

    def __init__(self, directory, pg, collector):
        self.root, self.calls = directory / "root", directory / "calls"
        office = Office(pg, directory)
        name = "staged-" + os.urandom(3).hex()
        added = office.add(name, "--endpoint", collector.endpoint)
        self.words = [str(directory / f"{name}.bundle"), "--fingerprint", re.search(r"--fingerprint (\S+)", added.stdout).group(1),
                      "--interface", "lo", "--program", hirundo.program("hirundo-sensor")]
        self.stubs = directory / "stubs"
        self.stubs.mkdir()
        self.calls.touch()

    def run(self, systemd, *words):
        stub = self.stubs / "systemctl"
        stub.write_text(SYSTEMCTL.format(version=systemd))
        stub.chmod(0o755)
        environment = dict(os.environ, PATH=f"{self.stubs}:/usr/sbin:/usr/bin:/sbin:/bin", CALLS=str(self.calls), STAGE=str(self.root),
                           SYSTEMD=systemd)
        # Processes of its own, too: a sensor that runs elsewhere on this machine is none of this one's.
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "sh", "-c", STAGE, "sh", str(hirundo.TOP / "deploy/install-sensor"),
                               *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)

    def install(self, systemd, *words):
        return self.run(systemd, *self.words, *words)

    def unit(self):
        return (self.root / "etc/systemd/system/hirundo-sensor.service").read_text()


def test_new_systemd_hands_over_credentials(stage):
    done = stage.install("252", "--wait", "1")
    assert done.returncode == 1 and "not delivering yet" in done.stderr, done.stdout + done.stderr
    assert "LoadCredential=sensor.key:" in stage.unit() and "User=hirundo-sensor" in stage.unit()
    assert "/usr/local/bin/hirundo-sensor run" in stage.unit() and "/usr/bin/" not in stage.unit()
    assert "older" not in done.stdout and "restart hirundo-sensor" in stage.calls.read_text()
    assert "hirundo-sensor:" in (stage.root / "etc/passwd").read_text()


def test_older_systemd_starts_it_as_root(stage):
    done = stage.install("247", "--wait", "1")
    assert done.returncode == 1 and "is of version 247, older than 250" in done.stdout, done.stdout + done.stderr
    # StateDirectory would give the directory to root, who is not who writes there.
    assert not re.search("Credential|CREDENTIALS|^User=|SocketBindDeny|Proc|StateDirectory", stage.unit(), re.MULTILINE)
    assert "ReadWritePaths=/var/lib/hirundo-sensor\n" in stage.unit()
    assert "ExecStart=/usr/local/bin/hirundo-sensor run -c /etc/hirundo/sensor.conf\n" in stage.unit()
    assert "user = hirundo-sensor" in (stage.root / "etc/hirundo/sensor.conf").read_text()


def test_without_systemd_it_says_what_to_run(stage):
    done = stage.install("none")
    assert done.returncode == 0 and stage.calls.read_text() == "", done.stdout + done.stderr
    assert "nothing was started" in done.stdout and "/usr/local/bin/hirundo-sensor run -c /etc/hirundo/sensor.conf\nas root" in done.stdout
    assert "starts with the machine" not in done.stdout and "journalctl" not in done.stdout
    assert not (stage.root / "etc/systemd/system/hirundo-sensor.service").exists()
    assert "take away what you had start it" in stage.run("none", "--uninstall").stdout
    assert not (stage.root / "usr/local/bin/hirundo-sensor").exists()


def test_dry_run_changes_nothing(stage):
    for systemd in ("252", "none"):
        done = stage.install(systemd, "--dry-run")
        assert done.returncode == 0 and "would: " in done.stdout, done.stderr
        assert "hirundo-sensor:" not in (stage.root / "etc/passwd").read_text()
        assert not list(stage.root.glob("usr/local/bin/*")) and not (stage.root / "etc/hirundo").exists()


def changed_nothing(stage, done, said):
    assert done.returncode == 1 and done.stderr.startswith("install-sensor: ") and said in done.stderr, done.stdout + done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "hirundo-sensor:" not in (stage.root / "etc/passwd").read_text()
    assert not list(stage.root.glob("usr/local/bin/*")) and not (stage.root / "etc/hirundo").exists()


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_is_wrong_is_one_line_before_anything_is_changed(stage, tmp_path, dry):
    changed_nothing(stage, stage.install("252", "--fingerprint", "1111-2222", *dry), "is signed by")
    changed_nothing(stage, stage.install("252", "--interface", "eth7", *dry), "no such interface")
    (tmp_path / "arm").write_bytes(b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\xb7\0")
    (tmp_path / "text").write_text("touch /etc/hirundo\n")  # which a shell would run
    for program, said in (("arm", "is for arm64"), ("text", "is no program"), ("missing", "no such program")):
        changed_nothing(stage, stage.install("252", "--program", str(tmp_path / program), *dry), said)
    stage.words[0] = str(tmp_path / "text")
    changed_nothing(stage, stage.install("252", *dry), "not a bundle, or cut short")


def test_another_configuration_stays_unless_told(stage):
    stage.install("252", "--wait", "1")
    conf = stage.root / "etc/hirundo/sensor.conf"
    before, key = conf.read_text(), (stage.root / "etc/hirundo/sensor.key").read_text()
    conf.write_text(before.replace("window = 60000ms", "window = 1s"))
    (stage.root / "usr/local/bin/hirundo-sensor").unlink()
    done = stage.install("252", "--wait", "1")
    assert done.returncode == 1 and "--replace; nothing was changed" in done.stderr and done.stdout == "", done.stdout + done.stderr
    assert "window = 1s" in conf.read_text() and not (stage.root / "usr/local/bin/hirundo-sensor").exists()
    stage.calls.write_text("")
    done = stage.install("252", "--wait", "1", "--replace")
    assert "not delivering yet" in done.stderr and conf.read_text() == before, done.stdout + done.stderr
    assert (stage.root / "etc/hirundo/sensor.key").read_text() == key and "restart hirundo-sensor" in stage.calls.read_text()


def test_upgrade_needs_no_bundle(stage, tmp_path):
    newer = tmp_path / "newer"
    newer.write_bytes(pathlib.Path(hirundo.program("hirundo-sensor")).read_bytes() + b"newer")
    newer.chmod(0o755)
    upgrade = ["--upgrade", "--program", str(newer)]
    changed_nothing(stage, stage.run("252", *upgrade), "no sensor yet")
    stage.install("252", "--wait", "1")
    conf = stage.root / "etc/hirundo/sensor.conf"
    before, installed = conf.read_text(), stage.root / "usr/local/bin/hirundo-sensor"
    conf.write_text(before + "nonsense = 1\n")
    done = stage.run("252", *upgrade)
    assert done.returncode == 1 and "unknown key" in done.stderr and installed.read_bytes() != newer.read_bytes(), done.stdout + done.stderr
    conf.write_text(before)
    stage.calls.write_text("")
    done = stage.run("252", *upgrade)
    assert done.returncode == 0 and installed.read_bytes() == newer.read_bytes() and conf.read_text() == before, done.stdout + done.stderr
    assert "restart hirundo-sensor" in stage.calls.read_text()
