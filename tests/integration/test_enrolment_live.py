"""enroll --wait on an interface that sees nothing, in a namespace: delivery is proven, the interface is not."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import hirundo
from test_enrolment import Office, wait_until
from test_live import THERE, Inside, fixture_pg, fixture_veth, ip, root_with_namespaces
from test_delivery import frame

__all__ = ["fixture_pg", "fixture_veth"]  # pytest finds them by their names

pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")


class Machine:
    """A host with a way to the Internet, probe, and an interface that sees nothing, quiet."""

    def __init__(self, veth, office, directory, name):
        self.veth, self.office, self.directory, self.name = veth, office, directory, name
        self.conf, self.server = directory / "sensor.conf", None
        office.add(name, "--window", "1s")

    def words(self, interface, wait):
        return self.veth.inside(hirundo.program("hirundo-sensor"), "enroll", str(self.office.directory / f"{self.name}.bundle"), "-c",
                                str(self.conf), "--spool", str(self.directory / "spool" / "spool.db"), "--interface", interface,
                                f"--wait={wait}")

    def enroll(self, interface, wait):
        return subprocess.run(self.words(interface, wait), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)

    def start(self, interface):
        """Enrolled and running; batches of a second, which a bundle cannot ask for. The enroll that waits."""
        waiting = subprocess.Popen(self.words(interface, 300), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.office.command("sensor", "approve", self.name, waiting.stdout.readline().strip())
        wait_until(waiting, "no sensor runs here yet")
        text, made = self.conf.read_text(), self.conf.stat().st_mtime
        self.conf.write_text(text + "[batch]\nmax_delay = 1s\n")
        self.server = hirundo.Server(self.veth.inside(hirundo.program("hirundo-sensor"), "run", "-c", str(self.conf))).start()
        self.server.wait_log(f"listening on {interface}")
        self.conf.write_text(text)  # as enroll wrote it, to be found unchanged
        os.utime(self.conf, (made, made))
        return waiting

    @contextlib.contextmanager
    def waiting(self, interface):
        waiting = self.start(interface)
        try:
            yield waiting
        finally:
            waiting.kill()
            waiting.wait()
            waiting.stdout.close()
            waiting.stderr.close()


@pytest.fixture(name="office")
def fixture_office(pg, veth, tmp_path):
    veth.addresses()
    ip("-n", veth.here, "route", "add", "default", "via", THERE, "dev", "probe")
    ip("-n", veth.here, "link", "add", "quiet", "type", "veth", "peer", "name", "mouth")
    for link in ("quiet", "mouth"):
        ip("-n", veth.here, "link", "set", link, "up")
    with Inside(pg, veth, far=True) as collector:
        hirundo.wait_for(lambda: pg.value("select count(*) from hirundo.collector_endpoint where endpoint = %s", collector.endpoint),
                         "the collector to note its endpoint")
        yield Office(pg, tmp_path)


@pytest.fixture(name="machine")
def fixture_machine(veth, office, request):
    path = pathlib.Path(tempfile.mkdtemp(prefix="hirundo-machine-"))
    path.chmod(0o755)  # the sensor becomes another user
    machine = Machine(veth, office, path, re.sub("[^a-z0-9]+", "-", request.node.name)[5:40].strip("-"))
    yield machine
    if machine.server:
        machine.server.kill()
    shutil.rmtree(path)


def test_nothing_seen_on_the_wrong_interface(veth, machine):
    with machine.waiting("quiet") as waiting:
        said = wait_until(waiting, "is committed, but nothing was seen on quiet; this machine's way to the Internet is probe: enroll "
                                   "again with --interface probe --replace")
        assert "enrolled:" not in said
        done = machine.enroll("quiet", 1)
        assert done.returncode == 1 and re.search(r"within 1 s batch \d+ is committed, but nothing was seen on quiet; .*--interface probe",
                                                  done.stderr), done.stderr
        veth.send_frames([frame(1, 23)], veth.here, "mouth")  # something comes after all: it is meant, perhaps
        said = waiting.stderr.read()
        assert waiting.wait(60) == 0 and "enrolled: collector" in said and "note: it listens on quiet" in said, said


def test_nothing_seen_yet_on_the_right_interface(machine):
    with machine.waiting("probe") as waiting:
        said = waiting.stderr.read()
        assert waiting.wait(60) == 0 and "enrolled: collector" in said and "nothing was seen on probe yet" in said, said
