"""The static sensor as it is delivered, and roots to run it in. tests/suites/static.sh builds it first."""
import os
import pathlib
import platform
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
OUT = TOP / "deploy/static/out"

EMULATORS = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def path(arch):
    return OUT / f"hirundo-sensor-{arch}"


def command(arch):
    """Words that run it here. The emulator gets a root without libraries: it needs none."""
    if arch == MACHINE:
        return [str(path(arch))]
    return [EMULATORS[arch], "-L", "/nonexistent", str(path(arch))]


class Root:
    """A directory that is the whole file system for the sensor; the sensor is in it, at /hirundo-sensor."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        shutil.copy(path(MACHINE), self.directory / "hirundo-sensor")
        enter = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
        self.command = [*enter, "chroot", str(self.directory), "/hirundo-sensor"]

    def inside(self, file):
        return "/" + str(pathlib.Path(file).relative_to(self.directory))

    def run(self, *words):
        return subprocess.run([*self.command, *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, timeout=120)


def run(words, timeout=300):
    return subprocess.run([*map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=timeout)


def configure(directory, inside, collector, extra=""):
    """Writes sensor.conf into directory, which the sensor sees as `inside`."""
    conf = pathlib.Path(directory) / "sensor.conf"
    conf.write_text(f"[sensor]\nkey = {inside}/sensor.key\n[collector]\nendpoint = {collector.endpoint}\n"
                    f"server_key = {collector.server_key}\n[spool]\npath = {inside}/spool/spool.db\n{extra}")
    return conf


def frames_of(postgres, name):
    """frames and row packets the database has of a sensor."""
    rows = postgres.query("select coalesce(sum(o.frames), 0), coalesce(sum(o.row_packets), 0) from "
                          "hirundo.observation o join hirundo.sensor s using (sensor_id) where s.name = %s", name)
    return tuple(map(int, rows[0]))
