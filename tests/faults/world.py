"""One world of the fault campaign: PostgreSQL, collectors and sensors as real processes in the network namespace this
runs in, proxies between them, small disks, clocks that can be set, and a supervisor that starts again what ended."""
import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "integration"))

import hirundo  # noqa: E402
from proxy import Proxy  # noqa: E402
from traffic import Traffic  # noqa: E402

STOP_S = 120  # what a program may take to end in order, with the database frozen at worst
RESTART_S = 1  # a supervisor waits so long before it starts again what ended


class WorldError(Exception):
    """The world did not hold what it promises."""


class Disk:
    """A small disk of its own on a directory."""

    def __init__(self, path, size):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.path)], check=True)

    def fill(self):
        with open(self.path / "filler", "ab") as f:
            size = f.tell()
            for step in (64 << 20, 4 << 20, 256 << 10, 4 << 10):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(f.fileno(), size, step)
                        size += step

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            (self.path / "filler").unlink()

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=False)


class Clock:
    """Where libfaketime reads by how much a process' clock is wrong; what it was when."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.history = []
        self.set(0)

    def set(self, offset):
        beside = self.path.with_suffix(".new")
        beside.write_text(f"{offset:+d}\n")
        beside.rename(self.path)
        self.history.append((time.time(), offset))

    def around(self, began, ended):
        """The offsets that a packet of that time may have been given."""
        found = set()
        for (at, offset), after in zip(self.history, self.history[1:] + [(float("inf"), 0)]):
            if at - 1 <= ended and began <= after[0] + 4:
                found.add(offset)
        return found

    def environment(self, *shims):
        """libfaketime comes last: a shim before it sees the time it makes."""
        fake = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not fake:
            raise FileNotFoundError("libfaketime is missing")
        return dict(os.environ, LD_PRELOAD=" ".join([*shims, *fake]), FAKETIME_TIMESTAMP_FILE=str(self.path),
                    FAKETIME_NO_CACHE="1", NO_FAKE_STAT="1", **hirundo.REAL_MONOTONIC)


class Process(hirundo.Server):
    """A program that is started again when it ends; its log is kept over all its lives."""

    def __init__(self, name, command, log, env=None):
        super().__init__(command, env=env)
        self.name, self.log_path = name, pathlib.Path(log)
        self.lock = threading.RLock()  # who may stop and start it
        self.wanted = True
        self.starts = self.ended_alone = 0
        self.crashes = []

    def start(self):
        self.starts += 1
        self.note("started")
        return super().start()

    def note(self, text):
        with open(self.log_path, "a", encoding="utf-8") as f:
            f.write(f"{time.time():.3f} --- {self.name}: {text}\n")

    def _read(self, stream, lines):  # pylint: disable=arguments-differ
        for line in stream:
            line = line.rstrip("\n")
            with open(self.log_path, "a", encoding="utf-8") as f:
                f.write(f"{time.time():.3f} {line}\n")
            lines.append(line)
            self.heard(line)

    def heard(self, line):
        pass

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.note("killed")
        if self.running():
            super().kill()
        else:
            self.judge_end()

    def judge_end(self):
        code = self.process.poll()
        if code is not None and code not in (0, 1, -signal.SIGKILL, -signal.SIGTERM):
            self.crashes.append(f"{self.name} ended with {code}")

    def end(self):
        """SIGTERM, and until it has ended."""
        self.note("told to end")
        if self.running():
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.crashes.append(f"{self.name} did not end within {STOP_S} s of SIGTERM")
            super().kill()
        self.judge_end()
        return self.process.returncode

    def supervise(self):
        """Called now and then: starts it when it ended by itself."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self.wanted and not self.running():
                self.judge_end()
                self.ended_alone += 1
                self.start()
        finally:
            self.lock.release()


class Sensor(Process):
    def __init__(self, world, number):
        self.number, self.world = number, world
        self.directory = world.directory / f"sensor{number}"
        self.disk = Disk(self.directory / "spool", world.spool_disk)
        self.conf = self.directory / "sensor.conf"
        self.spool = self.directory / "spool" / "spool.db"
        self.clock = Clock(self.directory / "clock")
        self.unobserved = []  # [from, to] while it was stopped in order, in true time
        self.copies = []  # old copies of the spool
        shim = hirundo.build_directory() / "tests" / "faults" / "packet-clock.so"
        fake = self.clock.environment(str(shim)) if world.fakes_clock(number) else None
        super().__init__(f"s{number}", [hirundo.program("hirundo-sensor"), "run", "-c", str(self.conf)],
                         world.directory / f"sensor{number}.log", fake)

    def configure(self, endpoints, server_key):
        text = (f"[sensor]\nkey = {self.directory}/sensor.key\n[collector]\nendpoint = {' '.join(endpoints)}\n"
                f"server_key = {server_key}\n[capture]\ninterface = near{self.number}\nring = 8M\n"
                f"[flow]\nwindow = 1s\n[batch]\nmax_delay = 1s\n"
                f"[spool]\npath = {self.spool}\ncap = {self.world.cap}\n[log]\nlevel = info\n")
        self.conf.write_text(text)
        done = subprocess.run([hirundo.program("hirundo-sensor"), "keygen", "-c", str(self.conf)], text=True,
                              capture_output=True, check=True)
        self.world.database.command("sensor", "add", self.name, "--country", "JP", "--key", done.stdout.strip())

    def heard(self, line):
        if "listening on" in line and self.unobserved and self.unobserved[-1][1] is None:
            self.unobserved[-1][1] = time.time()

    def end(self):
        if not self.unobserved or self.unobserved[-1][1] is not None:
            self.unobserved.append([time.time(), None])
        return super().end()

    def copy_spool(self):
        """As a snapshot of the machine would have it: while it runs."""
        if not self.running():
            return
        target = self.directory / f"copy{len(self.copies)}"
        target.mkdir()
        self.process.send_signal(signal.SIGSTOP)
        for path in self.spool.parent.glob("spool.db*"):
            shutil.copy2(path, target)
        self.process.send_signal(signal.SIGCONT)
        self.copies.append(target)

    def restore_spool(self, copy):
        for path in self.spool.parent.glob("spool.db*"):
            path.unlink()
        for path in copy.iterdir():
            shutil.copy2(path, self.spool.parent)


class Collector(Process):
    def __init__(self, world, number):
        self.number, self.world = number, world
        self.directory = world.directory / f"collector{number}"
        self.directory.mkdir(parents=True)
        self.conf = self.directory / "collector.conf"
        self.port = hirundo.free_port()
        self.to_database = world.proxy.route(world.database.port)
        self.clock = Clock(self.directory / "clock")
        fake = self.clock.environment() if number == 1 else None
        super().__init__(f"c{number}", [hirundo.program("hirundo-collector"), "serve", "-c", str(self.conf)],
                         world.directory / f"collector{number}.log", fake)
        conninfo = world.database.conninfo().replace(f"port={world.database.port}",
                                                     f"port={self.to_database.port}")
        # One key for all collectors of a deployment.
        self.conf.write_text(f"[collector]\nendpoint = tcp://127.0.0.1:{self.port}\n"
                             f"key = {world.directory}/collector.key\n[database]\nconnection = {conninfo}\n"
                             "[log]\nlevel = info\n")


class Database(hirundo.Postgres):
    """PostgreSQL as a child, on a small disk; looks like a Process to the supervisor."""

    def __init__(self, template, log, disk):
        super().__init__(settings=["max_wal_size = 96MB", "min_wal_size = 32MB", "shared_buffers = 32MB",
                                   "log_min_messages = warning"])
        self.template, self.log = pathlib.Path(template), pathlib.Path(log)
        self.disk = Disk(self.directory, disk)
        self.name, self.wanted, self.ended_alone = "postgres", True, 0
        self.lock = threading.RLock()
        self.process, self.crashes = None, []

    def __enter__(self):
        if self.template.exists():
            shutil.chown(self.directory, self.os_user)
            subprocess.run(["cp", "-a", str(self.template), str(self.directory / "data")], check=True)
            self.start()
        else:
            super().__enter__()
            self.migrate()
            self.end()
            subprocess.run(["cp", "-a", str(self.directory / "data"), str(self.template)], check=True)
            self.start()
        return self

    def __exit__(self, *_):
        self.wanted = False
        self.stop("immediate")
        self.disk.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def launch(self):
        account = pwd.getpwnam(self.os_user)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(  # pylint: disable=consider-using-with
                [f"{self.bin}/postgres", "-D", "data", "-p", str(self.port), "-k", str(self.directory)],
                cwd=self.directory, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=account.pw_uid,
                group=account.pw_gid, extra_groups=[])

    def start(self):
        self.launch()
        self.wait_up()

    def wait_up(self, database="postgres", timeout=120):
        def up():
            self.supervise()  # who waits may hold the lock, and the supervisor would wait for it
            with contextlib.suppress(Exception):
                with self.connect(database):
                    return True
            return False
        hirundo.wait_for(up, f"PostgreSQL to answer; see {self.log}", timeout)

    def stop(self, mode="fast"):
        if self.running():
            self._insist({"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])

    def _insist(self, number):
        """One that is just starting may not hear the first."""
        until = time.monotonic() + STOP_S
        while time.monotonic() < until:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
                return
        raise WorldError(f"PostgreSQL does not stop; see {self.log}")

    def end(self):
        self.stop("fast")

    def processes(self):
        """The postmaster's children, then itself."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(path).read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(path.split("/")[2]))
        return [*found, self.process.pid]

    def signal_all(self, number):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def supervise(self):
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self.wanted and not self.running():
                self.ended_alone += 1
                self.launch()
        finally:
            self.lock.release()

    def dump(self, path):
        subprocess.run([f"{self.bin}/pg_dump", "-Fc", "-f", str(path), self.conninfo()], check=True,
                       capture_output=True)

    def restore(self, path, aside):
        """In one transaction: all or nothing. aside: under another name until it is whole."""
        name = "restored" if aside else self.database
        if not aside:
            self._admin(f"drop database if exists {self.database} with (force)")
        self._admin(f"create database {name}")
        subprocess.run([f"{self.bin}/pg_restore", "--single-transaction", "--exit-on-error", "-d",
                        self.conninfo(name), str(path)], check=True, capture_output=True)
        if aside:
            self._admin(f"drop database {self.database} with (force)")
            self._admin(f"alter database {name} rename to {self.database}")

    def _admin(self, sql):
        with self.connect("postgres") as conn, conn.cursor() as cursor:
            cursor.execute(sql)


class World:
    """prepare: called with each sensor before it is started for the first time."""

    def __init__(self, seed, directory, template, sensors=5, collectors=2, rate=60, cap="2M", spool_disk="12m",
                 database_disk="600m", prepare=lambda sensor: None):
        self.seed, self.directory = seed, pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.n_sensors, self.n_collectors, self.rate = sensors, collectors, rate
        self.cap, self.spool_disk, self.database_disk, self.prepare = cap, spool_disk, database_disk, prepare
        self.template = template
        self.stack = contextlib.ExitStack()
        self.dumps = []
        self.over = False

    def fakes_clock(self, number):
        return (number + self.seed) % 3 == 0

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.proxy = Proxy()
            stack.callback(self.proxy.close)
            self.database = stack.enter_context(Database(self.template, self.directory / "postgres.log",
                                                         self.database_disk))
            self.collectors = [Collector(self, i) for i in range(self.n_collectors)]
            stack.callback(self._end_all)
            self.sensors = []
            for collector in self.collectors:
                collector.start()
                collector.wait_log("ready: listening on")  # the first makes the key
            self._make_sensors(stack)
            stack.callback(self._stop_supervisor)
            self.watch = threading.Thread(target=self._supervise, daemon=True)
            self.watch.start()
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _make_sensors(self, stack):
        key = self.server_key = re.search(r"server key (\S{40})", self.collectors[0].log()).group(1)
        self.links = []
        for i in range(self.n_sensors):
            sensor = Sensor(self, i)
            self.sensors.append(sensor)
            stack.callback(sensor.disk.close)
            links = [self.proxy.route(c.port) for c in self.collectors]
            self.links.append(links)
            order = links[i % len(links):] + links[:i % len(links)]
            sensor.configure([f"tcp://127.0.0.1:{link.port}" for link in order], key)
            make_pair(i, stack)
        self.traffic = Traffic([f"far{i}" for i in range(self.n_sensors)], self.rate)
        stack.callback(self.traffic.close)
        for sensor in self.sensors:
            self.prepare(sensor)
            sensor.start()
            sensor.wait_log("listening on")

    def processes(self):
        return [*self.sensors, *self.collectors, self.database]

    def _supervise(self):
        while not self.over:
            time.sleep(RESTART_S)
            for process in self.processes():
                process.supervise()

    def _stop_supervisor(self):
        self.over = True
        self.watch.join()

    def _end_all(self):
        for process in [*self.sensors, *self.collectors]:
            process.wanted = False
            if process.running():
                process.process.kill()
                process.process.wait()

    def crashes(self):
        return [text for process in self.processes() for text in process.crashes]


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def make_pair(number, stack):
    near, far = f"near{number}", f"far{number}"
    ip("link", "add", near, "type", "veth", "peer", "name", far)
    stack.callback(subprocess.run, ["ip", "link", "delete", near], check=False, capture_output=True)
    for name in (near, far):
        pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        ip("link", "set", name, "up")
