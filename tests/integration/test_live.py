"""hirundo-sensor run on a veth pair in network namespaces of its own, with a real collector and database."""
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import hirundo
from test_delivery import frame

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from test_links import LINKS  # noqa: E402

COUNT = 100000
RATE = 20000  # packets a second: what the ring holds then outlasts any pause of a busy machine
HERE, THERE = "10.71.0.1", "10.71.0.2"
HERE6, THERE6 = "fd71::1", "fd71::2"


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

    def addresses(self, here=HERE, there=THERE):
        """Both ends can talk IP to each other, without ARP, which would be frames to count."""
        ends = ((self.here, "probe", here, there, 2), (self.there, "far", there, here, 1))
        for name, link, address, peer, last in ends:
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", link, "address", f"02:00:00:00:00:0{3 - last}")
            ip("-n", name, "address", "add", f"{address}/30", "dev", link)
            ip("-n", name, "neigh", "replace", peer, "lladdr", f"02:00:00:00:00:0{last}", "dev", link, "nud",
               "permanent")

    def addresses6(self, here=HERE6, there=THERE6):
        """The same by IPv6, which the kernel has things of its own to say about: multicast groups, routers, link-local addresses."""
        ends = ((self.here, "probe", here, there, 2), (self.there, "far", there, here, 1))
        for name, link, address, peer, last in ends:
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", link, "address", f"02:00:00:00:00:0{3 - last}")
            ip("netns", "exec", name, "sysctl", "-qw", f"net.ipv6.conf.{link}.disable_ipv6=0")
            ip("-n", name, "-6", "address", "add", f"{address}/64", "dev", link, "nodad")
            ip("-n", name, "neigh", "replace", peer, "lladdr", f"02:00:00:00:00:0{last}", "dev", link, "nud", "permanent")

    def __exit__(self, *_):
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def send_frames(self, frames, namespace=None, link="far"):
        """The frames, from the far side if nothing else is said."""
        def work():
            fd = os.open(f"/run/netns/{namespace or self.there}", os.O_RDONLY)
            os.setns(fd, os.CLONE_NEWNET)  # this thread only
            os.close(fd)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind((link, 0))
                for data in frames:
                    s.send(data)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    def send(self, count, first=0, make=lambda i: frame(i % 3000, 22 + i % 3)):
        """count frames from the far side, 3,000 sources unless make says otherwise."""
        self.send_frames(make(i) for i in range(first, first + count))

    def blast(self, count, per_second=0, prefix=()):
        """The same by a program of its own, per_second (0: as fast as it goes)."""
        done = subprocess.run([*prefix, "ip", "netns", "exec", self.there, hirundo.program("hirundo-blast"), "far",
                               str(count), str(per_second)], text=True, capture_output=True, check=False, timeout=300)
        assert (done.returncode, done.stdout.strip()) == (0, str(count)), done.stderr

    def received(self):
        """What the kernel says that the interface received."""
        return int(subprocess.run(self.inside("cat", "/sys/class/net/probe/statistics/rx_packets"), text=True,
                                  capture_output=True, check=True).stdout)

    def inside(self, *command):
        return ["ip", "netns", "exec", self.here, *command]

    def outside(self, *command):
        return ["ip", "netns", "exec", self.there, *command]


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
    """A collector in a namespace, the sensor's unless another is said; it reaches PostgreSQL by its unix socket."""

    def __init__(self, postgres, veth, far=False, host=THERE):
        super().__init__(postgres)
        self.command = veth.outside(*self.command) if far else veth.inside(*self.command)
        if far:
            self.endpoint = f"tcp://{host}:0"

    def configure(self):
        super().configure()
        self.conf.write_text(self.conf.read_text().replace("host=127.0.0.1", f"host={self.postgres.directory}"))


class Live:
    """A sensor on `probe` in the namespace."""

    def __init__(self, veth, collector, directory, name, interface="probe", capture="", prefix=()):
        self.veth, self.collector, self.name = veth, collector, name
        self.directory, self.interface, self.prefix = pathlib.Path(directory), interface, prefix
        self.conf = self.directory / "sensor.conf"
        self.conf.write_text(
            f"[sensor]\nkey = {directory}/sensor.key\n[collector]\nendpoint = {collector.endpoint}\n"
            f"server_key = {collector.server_key}\n[capture]\ninterface = {interface}\n{capture}"
            f"[flow]\nwindow = 1s\n[batch]\nmax_delay = 1s\n[spool]\npath = {directory}/spool/spool.db\n")
        done = subprocess.run([hirundo.program("hirundo-sensor"), "keygen", "-c", str(self.conf)], text=True,
                              capture_output=True, check=True)
        collector.postgres.command("sensor", "add", name, "--country", "JP", "--key", done.stdout.strip())
        self.program = hirundo.program("hirundo-sensor")
        self.server, self.environment = None, None

    def command(self):
        return self.veth.inside(*self.prefix, self.program, "run", "-c", str(self.conf))

    def start(self):
        self.server = hirundo.Server(self.command(), env=self.environment).start()
        self.server.wait_log(f"listening on {self.interface}")
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

    def rows(self):
        """What has a row or is in a flood row."""
        return self.packets() + int(self.value("select coalesce(sum(packets), 0) from hirundo.flood"))

    def difference(self):
        """What accounting() cannot explain."""
        return int(self.collector.postgres.value(
            "select coalesce(sum(abs(difference)), 0) from hirundo.accounting(tstzrange(now() - interval '1 day', "
            "now() + interval '1 day')) where sensor = %s", self.name))

    def wait_frames(self, count):
        hirundo.wait_for(lambda: self.frames() + self.dropped() >= count, f"{count} frames")


@pytest.fixture(name="collector")
def fixture_collector(pg, veth):
    with Inside(pg, veth) as collector:
        yield collector


@pytest.fixture(name="make_live")
def fixture_make_live(veth, collector, tmp_path, request):
    made = []

    def make(**options):
        name = "live-" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:58].strip("-")
        made.append(Live(veth, options.pop("collector", collector), tmp_path, name, **options))
        return made[-1]
    yield make
    for sensor in made:
        if sensor.server and sensor.server.process.poll() is None:
            sensor.server.signal(signal.SIGCONT)
            sensor.server.kill()


@pytest.fixture(name="live")
def fixture_live(make_live):
    return make_live()


def test_every_packet_sent_is_in_the_database(veth, live):
    """Sender, interface, sensor and database agree on the number."""
    live.start().wait_connected()
    before = veth.received()
    veth.blast(COUNT, RATE)
    live.wait_frames(COUNT)
    assert veth.received() - before == COUNT
    assert (live.frames(), live.packets(), live.dropped()) == (COUNT, COUNT, 0)
    assert live.server.stop() == 0
    assert (live.frames(), live.packets(), live.dropped()) == (COUNT, COUNT, 0)
    assert live.difference() == 0
    assert live.value("select count(*) from hirundo.loss") == 0


def test_overload_is_counted(veth, make_live):
    """A million packets on the one core that the sensor gets what is left of, through the smallest ring."""
    count = 1000000
    live = make_live(capture="ring = 1M\n", prefix=("taskset", "-c", "0", "nice", "-n", "19"))
    live.start().wait_connected()
    before = veth.received()
    veth.blast(count, prefix=("taskset", "-c", "0"))
    live.wait_frames(count)
    assert veth.received() - before == count
    assert live.frames() + live.dropped() == count
    assert live.dropped() > 0 and live.rows() == live.frames()
    assert live.server.stop() == 0
    assert live.frames() + live.dropped() == count
    assert live.difference() == 0


def test_what_came_while_it_stood_still_is_counted(veth, make_live):
    live = make_live(capture="ring = 1M\n")
    live.start().wait_connected()
    live.server.signal(signal.SIGSTOP)
    veth.blast(COUNT)
    live.server.signal(signal.SIGCONT)
    live.wait_frames(COUNT)
    assert live.frames() + live.dropped() == COUNT
    assert live.dropped() > COUNT / 2 and live.packets() == live.frames() > 0
    assert live.server.stop() == 0
    assert live.difference() == 0


def test_what_the_host_sends_is_not_counted(veth, live):
    live.start().wait_connected()
    for i in range(10):
        veth.send_frames([frame(j, 7) for j in range(500)], veth.here, "probe")
        veth.send(500, first=500 * i)
    live.wait_frames(5000)
    assert live.server.stop() == 0
    assert live.frames() == live.packets() == 5000


def tagged(data, *tags):
    """The frame behind VLAN tags."""
    return data[:12] + b"".join(struct.pack(">HH", tag, 7) for tag in tags) + data[12:]


@pytest.mark.parametrize("interface", ["probe", "any"])
def test_excluded_networks_behind_tags(veth, make_live, interface):
    """Sources 0 to 255 are excluded, with and without tags; the rest is counted."""
    live = make_live(interface=interface, capture="exclude = 198.18.0.0/24, 198.18.2.0/24:tcp/22\n")
    live.start().wait_connected()
    frames = []
    for tags in ((), (0x8100,), (0x88a8, 0x8100), (0x88a8, 0x8100, 0x8100), (0x9100, 0x8100)):
        for source, port in ((5, 23), (255, 22), (256, 22), (512, 22), (513, 23)):
            frames.append(tagged(frame(source, port), *tags))
    for _ in range(20):
        veth.send_frames(frames)
    live.wait_frames(20 * 5 * 2)
    assert live.server.stop() == 0
    assert live.frames() == live.packets() == 20 * 5 * 2
    assert live.value("select count(distinct src) from hirundo.flow") == 2


def hostile_frames(count):
    """Frames of every layer with some of their bytes changed, and bytes without any sense; none shorter than Ethernet's
    least, for the kernel itself drops a frame that ends within a VLAN tag."""
    draw = random.Random(11)
    good = [data for link, *frames in LINKS.values() if link == 1 for data in frames]
    for _ in range(count):
        data = bytearray(draw.choice(good) if draw.random() < 0.8 else draw.randbytes(draw.randrange(60, 1514)))
        for _ in range(draw.randrange(6)):
            data[draw.randrange(12, len(data))] = draw.choice((0, 1, 4, 0x45, 0x60, 0x81, 0xff, draw.randrange(256)))
        yield bytes(data).ljust(60, b"\0")


def test_hostile_frames_are_counted_like_others(veth, live):
    count = 20000
    live.start().wait_connected()
    before = veth.received()
    veth.send_frames(hostile_frames(count))
    live.wait_frames(count)
    assert veth.received() - before == count
    assert live.server.stop() == 0
    assert (live.frames(), live.dropped(), live.difference()) == (count, 0, 0)
    assert live.rows() + int(live.value("select sum(non_ip + malformed) from hirundo.observation")) == count
    assert int(live.value("select sum(quarantined + lost) from hirundo.observation")) == 0


def confined(pid):
    """Seccomp's mode, capabilities and no_new_privs of each of its threads."""
    found = set()
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        found.add((status["Seccomp"], int(status["CapEff"], 16), int(status["CapPrm"], 16), status["NoNewPrivs"]))
    return found


def test_every_thread_is_confined(live):
    if "asan" in str(hirundo.build_directory()):
        pytest.skip("no seccomp filter in a build with sanitizers")
    live.start().wait_connected()
    pid = live.server.process.pid
    assert len(list(pathlib.Path(f"/proc/{pid}/task").iterdir())) >= 4  # two of ours, libzmq's
    assert confined(pid) == {("2", 0, 0, "1")}
    assert live.server.stop() == 0


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


@pytest.fixture(name="nobody")
def fixture_nobody():
    """A directory of nobody's, reachable, and the words that start a program as nobody with some capabilities."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hirundo-nobody-") as directory:
        os.chmod(directory, 0o755)

        def become(capabilities):
            for path in (pathlib.Path(directory), *pathlib.Path(directory).rglob("*")):
                os.chown(path, 65534, 65534)
            wanted = f"-all{capabilities}"
            return ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={wanted}",
                    f"--ambient-caps={wanted}", f"--bounding-set={wanted}")
        yield pathlib.Path(directory), become


def test_cap_net_raw_is_enough_and_is_needed(veth, collector, nobody):
    directory, become = nobody
    live = Live(veth, collector, directory, "live-net-raw-only")
    live.program = shutil.copy(live.program, directory)  # the build directory may be closed to nobody
    live.prefix = become("")
    refused = subprocess.run(live.command(), text=True, capture_output=True, check=False, timeout=60)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "no right to capture; CAP_NET_RAW is needed" in refused.stderr
    live.prefix = become(",+net_raw")
    live.start().wait_connected()
    try:
        veth.send(1000)
        live.wait_frames(1000)
        assert {values[1:3] for values in confined(live.server.process.pid)} == {(0, 0)}
        assert live.server.stop() == 0
        assert live.frames() == live.packets() == 1000
    finally:
        live.server.kill()


@pytest.mark.parametrize("interface", ["probe", "any"])
def test_own_uplink_is_not_captured(pg, veth, make_live, interface):
    """The collector is on the far side: every batch and every ack crosses the interface that is watched."""
    veth.addresses()
    with Inside(pg, veth, far=True) as collector:
        live = make_live(collector=collector, interface=interface)
        before = veth.received()
        live.start().wait_connected()
        veth.send(3000)
        live.wait_frames(3000)
        assert live.server.stop() == 0
        assert veth.received() - before > 3000 + 10  # acks are segments too
        assert live.frames() == live.packets() == 3000


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


def test_interface_that_is_down_at_the_start_and_flaps(veth, live):
    """A start on an interface that is down ends in one line, for its unit to try again; later it is waited for."""
    ip("-n", veth.here, "link", "set", "probe", "down")
    refused = subprocess.run(live.command(), text=True, capture_output=True, check=False, timeout=60)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "probe: it is down" in refused.stderr
    ip("-n", veth.here, "link", "set", "probe", "up")
    live.start().wait_connected()
    for times in range(1, 4):
        ip("-n", veth.here, "link", "set", "probe", "up")
        hirundo.wait_for(lambda: carrier(veth), "the link to be up")
        veth.send(500)
        live.wait_frames(500 * times)
        ip("-n", veth.here, "link", "set", "probe", "down")
    assert live.server.stop() == 0
    assert (live.frames(), live.packets(), live.difference()) == (1500, 1500, 0)


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


def test_hangup_ends_in_order(veth, live):
    """The terminal it was started from is closed: as with SIGTERM, what was captured is delivered or spooled."""
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's would be the sensor's, too
    try:
        live.start().wait_connected()
    finally:
        signal.signal(signal.SIGHUP, inherited)
    veth.send(700)
    live.server.signal(signal.SIGHUP)
    assert live.server.process.wait(30) == 0
    live.start().wait_connected()
    live.wait_frames(700)
    assert live.server.stop() == 0
    assert live.value("select count(*) from hirundo.loss") == 0


def wait_handed_over(veth, live):
    """Until the kernel has just handed a block of the ring over: the sensor, which was asleep, was woken by a frame."""
    before = live.server.proc_status("voluntary_ctxt_switches")
    veth.send(1)
    hirundo.wait_for(lambda: live.server.proc_status("voluntary_ctxt_switches") > before, "the sensor to wake up")


def test_end_waits_for_the_ring(veth, live):
    """The kernel hands a block that is not full over after up to two of its periods; none is left behind, even if the end
    comes where the next one is farthest away."""
    for i in range(1, 6):
        live.start().wait_connected()
        wait_handed_over(veth, live)
        veth.send(50)
        assert live.server.stop() == 0
        live.start().wait_connected()
        live.wait_frames(51 * i)
        assert live.frames() == 51 * i
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


class Disk:
    """A small disk of its own where the sensor has its spool."""

    def __init__(self, path):
        self.path, self.filler = path, path / "filler"

    def __enter__(self):
        self.path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(self.path)], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.path)], check=False)

    def fill(self):
        with open(self.filler, "wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(b"x" * 4096)

    def empty(self):
        self.filler.unlink()

    def remount(self, how, pid=None):
        """Also where a process sees it: `ip netns exec` gives it mounts of its own."""
        for inside in ([], ["nsenter", "-t", str(pid), "-m"])[:2 if pid else 1]:
            subprocess.run([*inside, "mount", "-o", f"remount,{how}", str(self.path)], check=True)


@pytest.fixture(name="disk")
def fixture_disk(live, tmp_path):
    with Disk(tmp_path / "spool") as disk:
        yield disk
        if live.server:
            live.server.signal(signal.SIGKILL)


def test_full_disk_capture_goes_on_and_recovers(veth, live, disk):
    live.start().wait_connected()
    veth.send(200)
    live.wait_frames(200)
    disk.fill()
    veth.send(30000, first=200)
    live.server.wait_log("No space left.*capture goes on")
    assert live.server.process.poll() is None
    disk.empty()
    live.server.wait_log("can be written again")
    veth.send(100, first=30200)
    live.wait_frames(30300)
    assert live.frames() + live.dropped() == 30300
    assert live.server.stop() == 0


def once_before(veth, live, before):
    """A spool as a run leaves it: stopped, or killed."""
    if before == "none":
        return 0
    live.start().wait_connected()
    veth.send(200)
    live.wait_frames(200)
    if before == "killed":
        live.server.kill()
    else:
        assert live.server.stop() == 0
    return 200


def start_without_disk(live, text):
    live.start().wait_connected()
    live.server.wait_log(f"{text}.*capture goes on")
    hirundo.wait_for(lambda: "spool cannot be written" in (live.collector.postgres.value(
        "select reason from hirundo.sensor_status where sensor = %s", live.name) or ""), "the sensor to report its disk")


@pytest.mark.parametrize("before", ["none", "stopped", "killed"])
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_starts_without_a_disk_and_recovers(veth, live, disk, before, trouble):
    sent = once_before(veth, live, before)
    if trouble == "full":
        disk.fill()
    else:
        disk.remount("ro")
    start_without_disk(live, "No space left" if trouble == "full" else "Read-only file system")
    veth.send(500, first=sent)
    assert live.server.process.poll() is None
    if trouble == "full":
        disk.empty()
    else:
        disk.remount("rw", live.server.process.pid)
    live.server.wait_log("can be written again")
    veth.send(100, first=sent + 500)
    live.wait_frames(sent + 600)
    assert live.frames() + live.dropped() == sent + 600
    assert live.server.stop() == 0
    # Only what a kill may have lost is declared.
    assert live.value("select count(*) from hirundo.loss") == (1 if before == "killed" else 0)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_ends_before_its_spool_could_be_made(veth, live, disk, trouble):
    """Not even a note finds room: its last lines say what is lost, and it fails."""
    if trouble == "full":
        disk.fill()
    else:
        disk.remount("ro")
    start_without_disk(live, "No space left" if trouble == "full" else "Read-only file system")
    veth.send(300)
    assert live.server.stop() == 1
    said = live.server.wait_log(r"(\d+) batches \((\d+) frames from (\S+)Z to (\S+)Z\) could not be written to the spool and "
                                r"are lost; the disk takes not even a note")
    assert int(said.group(1)) > 0 and int(said.group(2)) >= 300 and said.group(3) < said.group(4)


def test_killed_before_its_spool_could_be_opened(veth, live, disk):
    sent = once_before(veth, live, "stopped")
    disk.fill()
    began = time.time()
    start_without_disk(live, "No space left")
    started = time.time()
    veth.send(50, first=sent)
    live.server.kill()
    disk.empty()
    again = time.time()
    live.start().wait_connected()
    hirundo.wait_for(lambda: live.value("select count(*) from hirundo.loss"), "the loss to be declared")
    [(kind, first, last)] = live.collector.postgres.query(
        "select kind, extract(epoch from first_window), extract(epoch from last_window) from hirundo.loss "
        "join hirundo.sensor s using (sensor_id) where s.name = %s", live.name)
    assert kind == "unknown"
    assert began - 0.01 <= float(first) <= started and again - 0.01 <= float(last) <= time.time()
    assert live.server.stop() == 0
