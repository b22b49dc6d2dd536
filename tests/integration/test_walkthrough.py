"""README's way from nothing to a sensor that delivers, word by word, on two machines that are network namespaces.

Prints the time from the first command to the first batch committed (pytest -rP)."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import pytest

import hirundo
from test_delivery import frame
from test_live import Veth, ip, root_with_namespaces, setns_by_ctypes

pytestmark = [pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces"),
              pytest.mark.skipif(bool(os.environ.get("ASAN_OPTIONS")), reason="two minutes; other tests do the same with a sanitizer")]

SECTION = re.compile(r"^## A sensor of your own\n(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh (collector|vps)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COLLECTOR, VPS = "192.0.2.1", "192.0.2.2"
LIMIT_S = 300


class Terminal:
    """A shell on a machine, at which somebody types; what it answers is what the screen shows."""

    def __init__(self, command, directory, env):
        self.process = subprocess.Popen(command, cwd=directory, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, bufsize=1)
        self.count = 0

    def type(self, text):
        """The lines, one block; returns what came, after the last has ended with 0."""
        self.count += 1
        mark = f"__end_{self.count}__"
        self.process.stdin.write(f"set -e\n{text}\necho {mark}\n")
        self.process.stdin.flush()
        shown = []
        watchdog = threading.Timer(LIMIT_S, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                if line.strip() == mark:
                    return "".join(shown)
                shown.append(line)
        finally:
            watchdog.cancel()
        raise AssertionError(f"the shell ended at\n{text}\nafter\n{''.join(shown)}")

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("kill $(jobs -p); wait\n")
            self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(30)


@pytest.fixture(name="veth")
def fixture_veth():
    if not hasattr(os, "setns"):
        setns_by_ctypes()
    with Veth() as veth:
        veth.addresses(VPS, COLLECTOR)
        ip("-n", veth.here, "route", "add", "default", "via", COLLECTOR)
        ip("-n", veth.there, "route", "add", "default", "via", VPS)
        yield veth


@pytest.fixture(name="postgres")
def fixture_postgres():
    """A cluster whose login takes whoever comes by its socket, as Debian's takes postgres."""
    with hirundo.Postgres() as pg:
        yield pg


def path_with(directory, *programs):
    """A PATH with these programs of ours and the system's."""
    directory.mkdir()
    for name in programs:
        (directory / name).symlink_to(hirundo.program(name))
    return f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def owners_terminal(postgres, veth, tmp_path, name):
    """Where a collector is to run: a database server that has nothing of ours yet."""
    with postgres.connect("postgres") as conn, conn.cursor() as cursor:
        cursor.execute("drop database hirundo")
    home = tmp_path / name
    home.mkdir()
    env = dict(postgres.environment(), PGHOST=str(postgres.directory), PATH=path_with(tmp_path / f"bin-{name}", "hirundo-collector"))
    del env["PGDATABASE"]
    with contextlib.closing(Terminal(veth.outside("bash"), home, env)) as terminal:
        yield terminal


@pytest.fixture(name="collector")
def fixture_collector(postgres, veth, tmp_path):
    with owners_terminal(postgres, veth, tmp_path, "collector") as terminal:
        yield terminal


@pytest.fixture(name="vps")
def fixture_vps(veth, tmp_path):
    """With a file system of its own for what enroll writes: /etc and /var/lib are copies."""
    home = tmp_path / "vps"
    home.mkdir()
    env = {"PATH": path_with(tmp_path / "bin-vps", "hirundo-sensor"), "HOME": str(home), "LC_ALL": "C.UTF-8"}
    own = ("mount -t tmpfs none /mnt && cp -a /etc /mnt/etc && rm -rf /mnt/etc/hirundo && mount --bind /mnt/etc /etc && "
           "mount -t tmpfs none /var/lib && exec bash")
    terminal = Terminal(veth.inside("unshare", "--mount", "--propagation", "private", "sh", "-c", own), home, env)
    yield terminal
    terminal.close()


class Internet(threading.Thread):
    """Sends the VPS a few unsolicited packets a second until it is told to end."""

    def __init__(self, veth):
        super().__init__(daemon=True)
        self.veth, self.ending, self.sent = veth, threading.Event(), 0

    def run(self):
        while not self.ending.wait(0.2):
            self.veth.send_frames([frame(self.sent % 500 + i, 23) for i in range(20)])
            self.sent += 20


def follow(blocks, terminals, made, vps):
    """Types the blocks where each says, with what earlier ones showed in place of FINGERPRINT and REQUEST, and carries bundles from the
    directory made to the directory vps. Yields what each showed, and how long all have taken."""
    known, begun = {}, time.monotonic()
    for machine, text in blocks:
        for word, value in known.items():
            text = text.replace(word, value)
        shown = terminals[machine].type(text)
        took = time.monotonic() - begun
        print(f"--- {machine}, after {took:.1f} s\n{shown}", end="")
        for word, pattern in (("FINGERPRINT", r"--fingerprint (\S+)"), ("REQUEST", r"^(request:\S+)")):
            if word not in known and (found := re.search(pattern, shown, re.MULTILINE)):
                known[word] = found.group(1)
        for bundle in made.glob("*.bundle"):
            shutil.copy(bundle, vps)
        yield shown, took


def test_readme_from_nothing_to_a_sensor_that_delivers(postgres, veth, collector, vps, tmp_path):
    blocks = BLOCK.findall(SECTION.search((hirundo.TOP / "README.md").read_text()).group(1))
    assert [machine for machine, _ in blocks] == ["collector", "vps", "collector", "vps"]
    internet = Internet(veth)
    internet.start()
    shown, took = "", []
    try:
        for shown, seconds in follow(blocks, {"collector": collector, "vps": vps}, tmp_path / "collector", tmp_path / "vps"):
            took.append(seconds)
    finally:
        internet.ending.set()
        internet.join()
        for log in ("collector/collector.log", "vps/sensor.log"):
            if (tmp_path / log).exists():
                print(f"--- {log}\n{(tmp_path / log).read_text()}", end="")
    assert re.search(r"enrolled: collector tcp://192\.0\.2\.1:4455 committed batch 1 at 20", shown)
    packets = postgres.value("select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'au-syd-1'")
    assert 0 < packets <= internet.sent
    logs = [pathlib.Path(tmp_path / log).read_text() for log in ("collector/collector.log", "vps/sensor.log")]
    assert not re.search(r"^error", "\n".join(logs), re.MULTILINE)
    print(f"from the first command to the first batch committed: {took[-1]:.0f} s, {took[-2]:.1f} s of them for all but the last command")
