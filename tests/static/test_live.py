"""The static sensor live, in an empty root and a network namespace of its own, which tests/suites/static.sh makes."""
import os
import pathlib
import re
import socket
import subprocess

import pytest

import hirundo
import static_sensor
from flows import ether, ipv4, tcp

FRAMES = 500


@pytest.fixture(name="link", scope="module")
def fixture_link():
    """(the sensor's interface, the one to send from)"""
    if os.geteuid() != 0:
        pytest.skip("live capture needs root rights")
    if set(os.listdir("/proc/self/net/dev_snmp6")) - {"lo"}:
        pytest.skip("not in a network namespace of its own")
    for words in ("link add s0 type veth peer name p0", "link set s0 up", "link set p0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    yield "s0", "p0"
    subprocess.run(["ip", "link", "del", "s0"], check=True)


def send(interface):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, 0))
        for i in range(FRAMES):
            raw.send(ether(ipv4(tcp(dport=2323), src=bytes([198, 18, i >> 8, i & 255]))))


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def live_root(directory, collector, user, enroll=True):
    """An empty root, enrolled; (root, name)."""
    root = static_sensor.Root(directory)
    directory.chmod(0o755)  # it is what the sensor's user finds as /
    (directory / "etc").mkdir()
    (directory / "etc/passwd").write_text("root:x:0:0::/:/\nsensor:x:4321:4321::/:/\n")
    (directory / "spool").mkdir()
    os.chown(directory / "spool", 4321, 4321)
    conf = static_sensor.configure(directory, "", collector,
                                   "[capture]\ninterface = s0\n[flow]\nwindow = 1s\n[batch]\nmax_delay = 1s\n")
    conf.write_text(conf.read_text().replace("[sensor]\n", f"[sensor]\nuser = {user}\n"))
    done = root.run("keygen", "-c", "/sensor.conf")
    assert done.returncode == 0, done.stderr
    name = f"live-{user}"
    if enroll:
        collector.postgres.command("sensor", "add", name, "--country", "JP", "--key", done.stdout.strip())
    return root, name


def name_service_plugin(directory):
    """A plug-in that crashes when it is loaded, as real ones do in a static program, and is asked first."""
    libraries = directory / "lib"
    libraries.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o", libraries / "libnss_trap.so.2"],
                   input=b"__attribute__((constructor)) static void load(void) { __builtin_trap(); }", check=True)
    (directory / "etc/nsswitch.conf").write_text("passwd: trap files\n")


def test_live_as_a_user_known_to_the_root_alone(link, tmp_path, collector):
    root, name = live_root(tmp_path, collector, "sensor")
    name_service_plugin(tmp_path)
    server = hirundo.Server([*root.command, "run", "-c", "/sensor.conf"]).start()
    server.wait_log(f"listening on {link[0]}")
    send(link[1])
    query = ("select coalesce(sum(f.packets), 0) from hirundo.flow f join hirundo.sensor s using (sensor_id) "
             "where s.name = %s and f.port = 2323")
    hirundo.wait_for(lambda: collector.postgres.value(query, name) == FRAMES, f"{FRAMES} packets in the database")
    status = status_of(server.process.pid)
    print(f"RSS live {status['VmHWM']}")
    assert status["Uid"].split() == ["4321"] * 4
    assert status["CapEff"] == "0" * 16
    assert status["NoNewPrivs"] == "1"
    assert server.stop() == 0, server.log()
    assert "Sanitizer" not in server.log()


@pytest.mark.parametrize("plugin", [False, True])
def test_unknown_user_is_named(link, tmp_path, collector, plugin):
    del link
    root, _ = live_root(tmp_path, collector, "nosuchuser", enroll=False)
    if plugin:
        name_service_plugin(tmp_path)
    done = root.run("run", "-c", "/sensor.conf")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith('user "nosuchuser" is not in /etc/passwd')


def test_enrolled_with_a_bundle_in_an_empty_root(link, tmp_path, collector):
    """Nothing but the program and the bundle: from enroll to what waits until the first batch is committed."""
    office, name = tmp_path / "office", "bundled"
    office.mkdir()
    conf = office / "owner.conf"
    conf.write_text(collector.conf.read_text() + f"[enrolment]\noperator_key = {office}/operator.key\n")
    (tmp_path / "root").mkdir(mode=0o755)
    root = static_sensor.Root(tmp_path / "root")
    added = collector.postgres.command("sensor", "add", name, "--country", "JP", "--endpoint", collector.endpoint, "--window", "1s",
                                       "--out", f"{root.directory}/bundle", "-c", str(conf)).stdout
    fingerprint = re.search(r"--fingerprint (\S+)", added).group(1)
    words = ["enroll", "/bundle", "--fingerprint", fingerprint, "--interface", link[0], "-c", "/sensor.conf", "--key", "/sensor.key", "--spool", "/spool/spool.db"]
    done = root.run(*words)
    assert done.returncode == 0, done.stderr
    collector.postgres.command("sensor", "approve", name, done.stdout.strip(), "-c", str(conf))
    server = hirundo.Server([*root.command, "run", "-c", "/sensor.conf"]).start()
    server.wait_log(f"listening on {link[0]}")
    send(link[1])
    done = root.run(*words, "--wait=110")
    assert done.returncode == 0 and "committed batch" in done.stderr, done.stderr + server.log()
    hirundo.wait_for(lambda: static_sensor.frames_of(collector.postgres, name)[0] >= FRAMES, f"{FRAMES} frames", 90)
    assert server.stop() == 0, server.log()
