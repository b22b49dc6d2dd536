"""hirundo-sensor run on a veth pair in network namespaces of its own, with a real collector and database."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import hirundo
from test_delivery import frame

COUNT = 100000


def root_with_namespaces():
    if os.geteuid() != 0:
        return False
    if not shutil.which("ip"):
        return False
    probe = f"hp{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode != 0:
        return False
    # exec as well: it mounts /sys, which not every container lets it do.
    inside = subprocess.run(["ip", "netns", "exec", probe, "true"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return inside.returncode == 0


pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Veth:
    """Two namespaces joined by a veth pair: packets sent on `there` are seen on `here`."""

    def __init__(self):
        self.here, self.there = f"hl{os.getpid()}a", f"hl{os.getpid()}b"

    def __enter__(self):
        for name in (self.here, self.there):
            ip("netns", "add", name)
            ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        self.connect()
        ip("-n", self.here, "link", "set", "lo", "up")
        return self

    def connect(self):
        ip("link", "add", "probe", "netns", self.here, "type", "veth", "peer", "name", "far", "netns", self.there)
        ip("-n", self.here, "link", "set", "probe", "up")
        ip("-n", self.there, "link", "set", "far", "up")

    def __exit__(self, *_):
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def send(self, count, first=0, make=lambda i: frame(i % 3000, 22 + i % 3)):
        """count frames from the far side, 3,000 sources unless make says otherwise."""
        def work():
            fd = os.open(f"/run/netns/{self.there}", os.O_RDONLY)
            os.setns(fd, os.CLONE_NEWNET)  # this thread only
            os.close(fd)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind(("far", 0))
                for i in range(first, first + count):
                    s.send(make(i))
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def inside(self, *command):
        return ["ip", "netns", "exec", self.here, *command]


@pytest.fixture(name="veth")
def fixture_veth():
    if not hasattr(os, "setns"):
        setns_by_ctypes()
    with Veth() as veth:
        yield veth


def setns_by_ctypes():
    """os.setns is new in Python 3.12."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)

    def setns(fd, kind):
        if libc.setns(fd, kind) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    os.setns, os.CLONE_NEWNET = setns, 0x40000000


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres() as pg:
        pg.migrate()
        yield pg


class Inside(hirundo.Collector):
    """A collector in the namespace; it reaches PostgreSQL by its unix socket."""

    def __init__(self, postgres, veth):
        super().__init__(postgres)
        self.command = veth.inside(*self.command)

    def configure(self):
        super().configure()
        self.conf.write_text(self.conf.read_text().replace("host=127.0.0.1", f"host={self.postgres.directory}"))


class Live:
    """A sensor on `probe` in the namespace."""

    def __init__(self, veth, collector, directory, name, extra=""):
        self.veth, self.collector, self.name = veth, collector, name
        self.directory = pathlib.Path(directory)
        self.conf = self.directory / "sensor.conf"
        self.conf.write_text(
            f"[sensor]\nkey = {directory}/sensor.key\n[collector]\nendpoint = {collector.endpoint}\n"
            f"server_key = {collector.server_key}\n[capture]\ninterface = probe\n[flow]\nwindow = 1s\n"
            f"[batch]\nmax_delay = 1s\n[spool]\npath = {directory}/spool/spool.db\n{extra}")
        done = subprocess.run([hirundo.program("hirundo-sensor"), "keygen", "-c", str(self.conf)], text=True,
                              capture_output=True, check=True)
        collector.postgres.command("sensor", "add", name, "--country", "JP", "--key", done.stdout.strip())
        self.server = None

    def start(self):
        self.server = hirundo.Server(self.veth.inside(hirundo.program("hirundo-sensor"), "run", "-c",
                                                      str(self.conf))).start()
        self.server.wait_log("listening on probe")
        return self

    def wait_connected(self):
        self.server.wait_log("connected to collector")

    def value(self, sql):
        return self.collector.postgres.value(sql + " join hirundo.sensor s using (sensor_id) where s.name = %s",
                                             self.name)

    def frames(self):
        return int(self.value("select coalesce(sum(frames), 0) from hirundo.observation"))

    def packets(self):
        return int(self.value("select coalesce(sum(packets), 0) from hirundo.flow"))

    def dropped(self):
        return int(self.value("select coalesce(sum(kernel_dropped + if_dropped), 0) from hirundo.observation"))

    def wait_frames(self, count):
        hirundo.wait_for(lambda: self.frames() + self.dropped() >= count, f"{count} frames")


@pytest.fixture(name="collector")
def fixture_collector(pg, veth):
    with Inside(pg, veth) as collector:
        yield collector


@pytest.fixture(name="live")
def fixture_live(veth, collector, tmp_path, request):
    sensor = Live(veth, collector, tmp_path, "live-" + request.node.name.replace("_", "-").lower()[:40].rstrip("-"))
    yield sensor
    if sensor.server and sensor.server.process.poll() is None:
        sensor.server.kill()


def test_every_packet_sent_is_in_the_database(veth, live):
    live.start().wait_connected()
    veth.send(COUNT)
    live.wait_frames(COUNT)
    assert live.frames() + live.dropped() == COUNT
    if live.dropped() == 0:
        assert live.packets() == COUNT
    assert live.server.stop() == 0
    assert live.value("select count(*) from hirundo.loss") == 0


def test_gives_up_its_rights(live):
    live.start().wait_connected()
    pid = live.server.process.pid  # `ip netns exec` becomes the program
    status = dict(line.split(":\t", 1) for line in
                  pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    listening = subprocess.run(live.veth.inside("ss", "-Hltunp"), text=True, capture_output=True, check=True).stdout
    assert "hirundo-sensor" not in listening
    assert live.server.stop() == 0


def test_own_uplink_is_not_captured(live):
    live.start().wait_connected()
    assert live.server.stop() == 0
    assert live.frames() == 0


def test_interface_down_and_up(veth, live):
    live.start().wait_connected()
    veth.send(1000)
    live.wait_frames(1000)
    ip("-n", veth.here, "link", "set", "probe", "down")
    ip("-n", veth.here, "link", "set", "probe", "up")
    hirundo.wait_for(lambda: carrier(veth), "the link to be up")
    veth.send(1000, first=1000)
    live.wait_frames(2000)
    assert live.server.process.poll() is None
    assert live.server.stop() == 0


def carrier(veth):
    done = subprocess.run(veth.inside("cat", "/sys/class/net/probe/carrier"), text=True, capture_output=True,
                          check=False)
    return done.stdout.strip() == "1"


def test_interface_vanishes(veth, live):
    live.start().wait_connected()
    veth.send(500)
    live.wait_frames(500)
    ip("-n", veth.here, "link", "delete", "probe")
    assert live.server.process.wait(30) == 1
    live.server.wait_log("probe")
    assert live.frames() == 500
    veth.connect()
    live.start().wait_connected()
    veth.send(500)
    live.wait_frames(1000)
    assert live.server.stop() == 0
    assert live.value("select count(*) from hirundo.loss") == 0  # it ended in order


def test_sigterm_without_collector_keeps_all(veth, collector, live):
    live.start().wait_connected()
    collector.stop()
    live.server.wait_log("broke|cannot be reached")
    veth.send(700)
    assert live.server.stop() == 0
    collector.start()
    live.start().wait_connected()
    live.wait_frames(700)
    assert live.frames() == 700
    assert live.server.stop() == 0


def test_sigkill_is_declared_as_unknown(veth, live):
    live.start().wait_connected()
    veth.send(300)
    live.wait_frames(300)
    live.server.kill()
    before = time.time()
    live.start().wait_connected()
    hirundo.wait_for(lambda: live.value("select count(*) from hirundo.loss") == 1, "the declared loss")
    kind, seconds, last = live.collector.postgres.query(
        "select kind, extract(epoch from last_window - first_window), extract(epoch from last_window) "
        "from hirundo.loss join hirundo.sensor s using (sensor_id) where s.name = %s", live.name)[0]
    assert kind == "unknown" and 0 <= seconds < 60 and abs(float(last) - before) < 10
    assert live.server.stop() == 0


def test_full_disk_capture_goes_on_and_recovers(veth, live, tmp_path):
    disk = tmp_path / "spool"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=True)
    try:
        live.start().wait_connected()
        veth.send(200)
        live.wait_frames(200)
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        veth.send(30000, first=200)
        live.server.wait_log("No space left.*capture goes on")
        assert live.server.process.poll() is None
        filler.unlink()
        live.server.wait_log("can be written again")
        veth.send(100, first=30200)
        live.wait_frames(30300)
        assert live.frames() + live.dropped() == 30300
        assert live.server.stop() == 0
    finally:
        live.server.signal(signal.SIGKILL)
        subprocess.run(["umount", "-l", str(disk)], check=False)
