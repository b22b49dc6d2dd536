"""A machine with systemd in a directory: Debian by debootstrap, booted by systemd-nspawn in a network namespace."""
import pathlib
import shutil
import subprocess

import debian_root
import hirundo
from debian_root import run

PACKAGES = ("systemd", "systemd-sysv", "dbus", "iproute2")


def why_not():
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not here"
    return debian_root.why_not()


class Machine:
    """Booted; commands run inside. The network is a namespace that is there already."""

    def __init__(self, base, directory, namespace):
        self.directory, self.namespace = pathlib.Path(directory), namespace
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(self.directory)], check=True)
        self.process, self.init, self.log = None, None, self.directory.with_suffix(".boot")

    def install(self, *files):
        """apt-get install of package files, through the host's network, before the boot."""
        for file in files:
            shutil.copy(file, self.directory / "root")
        return self.install_names(*(f"/root/{pathlib.Path(file).name}" for file in files))

    def install_names(self, *names):
        resolv = self.directory / "etc/resolv.conf"
        resolv.unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", resolv)
        for source in pathlib.Path("/etc/apt/apt.conf.d").glob("*prox*"):
            shutil.copy(source, self.directory / "etc/apt/apt.conf.d")
        done = run(["chroot", self.directory, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "install", "-y",
                    "--no-install-recommends", *names], timeout=900)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def _spawn(self, *words):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.directory, "--register=no", "--keep-unit", "--console=pipe",
                 f"--network-namespace-path=/run/netns/{self.namespace}", "--capability=CAP_NET_RAW,CAP_NET_ADMIN", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def boot(self):
        self._spawn("--boot")
        hirundo.wait_for(lambda: self._find_init("systemd"), "systemd in the container", 60)
        hirundo.wait_for(lambda: self("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"),
                         "the end of the boot", 120)
        return self

    def boot_bare(self):
        """No service manager: a first process that does nothing."""
        self._spawn("/bin/sleep", "infinity")
        hirundo.wait_for(lambda: self._find_init("sleep"), "the container", 60)
        return self

    def _find_init(self, name):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended:\n{self.log.read_text(errors='replace')[-2000:]}")
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if (pathlib.Path(f"/proc/{child}/comm").read_text().strip()) == name:
                self.init = child
                return True
        return False

    def __call__(self, *words, timeout=300):
        return run(["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "/usr/bin/env", "-i",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", *words],
                   timeout=timeout)

    def do(self, *words, timeout=300):
        done = self(*words, timeout=timeout)
        if done.returncode != 0:
            journal = self("journalctl", "-q", "-o", "cat", "-n", "20").stdout
            raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}{journal}")
        return done.stdout

    def runs(self, name):
        return name[:15] in self("sh", "-c", "cat /proc/[0-9]*/comm").stdout.splitlines()

    def property(self, unit, name):
        return self.do("systemctl", "show", "-P", name, unit).strip()

    def journal(self, unit):
        return self("journalctl", "-q", "-o", "cat", "-u", unit).stdout

    def wait_journal(self, unit, text, times=1):
        """Until a text is so often in the unit's journal."""
        try:
            hirundo.wait_for(lambda: self.journal(unit).count(text) >= times, text, 90)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.journal(unit)}") from error

    def upgrade(self, *files):
        """By dpkg inside the running machine, as apt does it."""
        for file in files:
            shutil.copy(file, self.directory / "root")
        return self.do("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "-i",
                       *(f"/root/{pathlib.Path(file).name}" for file in files))

    def shutdown(self):
        if self.process and self.process.poll() is None:
            if self.init and self("systemctl", "poweroff").returncode != 0:
                self.process.terminate()  # a bare one: its first process is killed
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if self.process:
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
