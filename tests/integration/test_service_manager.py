"""What the programs tell the service manager that started them: sd_notify(3), with a socket of ours in its place."""
import concurrent.futures
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import time

import pytest

import hirundo
from test_live import (fixture_collector, fixture_live, fixture_make_live, fixture_pg, fixture_veth,
                       root_with_namespaces)

__all__ = ["fixture_collector", "fixture_live", "fixture_make_live", "fixture_pg", "fixture_veth"]  # found by name


class Manager:
    """A service manager's end of the protocol."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)
        self.socket.settimeout(hirundo.WAIT_S)

    def environment(self, watchdog_s=None, pid=None):
        values = {"NOTIFY_SOCKET": self.name}
        if watchdog_s is not None:
            values["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        if pid is not None:
            values["WATCHDOG_PID"] = str(pid)
        return values

    def next(self):
        return self.socket.recv(4096).decode()

    def quiet(self, seconds):
        """Whether nothing comes for so long."""
        self.socket.settimeout(seconds)
        try:
            return not self.socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(hirundo.WAIT_S)

    def close(self):
        self.socket.close()
        if self.name[0] != "@":
            pathlib.Path(self.name).unlink()


@pytest.fixture(name="manager", params=["path", "abstract"])
def fixture_manager(request, tmp_path):
    name = f"{tmp_path}/notify" if request.param == "path" else f"@hirundo-{os.getpid()}-{time.monotonic_ns()}"
    with contextlib.closing(Manager(name)) as manager:
        yield manager


@contextlib.contextmanager
def served(pg, environment):
    collector = hirundo.Collector(pg)
    collector.env = dict(os.environ, **environment)
    with collector:
        yield collector


def test_collector_says_ready_and_stopping(pg, manager):
    with served(pg, manager.environment()) as collector:
        assert manager.next() == f"READY=1\nSTATUS=listening on {collector.endpoint}"
        assert manager.quiet(1.5)  # nobody asked for a watchdog
        assert collector.stop() == 0
        assert manager.next() == "STOPPING=1\nSTATUS=committing what is queued"


def test_collector_feeds_the_watchdog(pg, manager):
    with served(pg, manager.environment(2)) as collector:
        assert manager.next().startswith("READY=1")
        assert [manager.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
        collector.signal(signal.SIGSTOP)
        while not manager.quiet(3):  # what was sent before
            pass
        collector.signal(signal.SIGCONT)
        assert manager.next() == "WATCHDOG=1"


class Thread:
    """One thread of a process, stopped alone: as one that waits for ever."""
    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, process, name):
        tasks = pathlib.Path(f"/proc/{process.pid}/task").iterdir()
        self.tid = next(int(task.name) for task in tasks if (task / "comm").read_text() == name + "\n")
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def _ptrace(self, request):
        if self.libc.ptrace(request, self.tid, None, None) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __enter__(self):
        try:
            self._ptrace(self.SEIZE)
        except PermissionError:
            pytest.skip("one process may not stop another's threads here (ptrace)")
        self._ptrace(self.INTERRUPT)
        os.waitpid(self.tid, self.WALL)

    def __exit__(self, *_):
        self._ptrace(self.DETACH)


def falls_silent(manager):
    """Whether the signs of life end; one may have been on its way."""
    return any(manager.quiet(3) for _ in range(3))


def test_thread_that_stands_starves_the_watchdog(pg, tmp_path):
    """Each of those that matter, in a collector of its own, all at once."""
    def try_thread(name):
        with contextlib.closing(Manager(f"{tmp_path}/{name}")) as manager, served(pg, manager.environment(2)) as collector:
            assert manager.next().startswith("READY=1")
            assert manager.next() == "WATCHDOG=1"
            with Thread(collector.process, name):
                assert falls_silent(manager), name
            assert manager.next() == "WATCHDOG=1"

    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        list(pool.map(try_thread, ("listener", "zap", "writer 2", "keeper", "health")))


def test_database_that_hangs_does_not(pg, tmp_path):
    """The collector waits for it by its own deadlines; to start it again would help nobody."""
    with contextlib.closing(Manager(f"{tmp_path}/notify")) as manager, served(pg, manager.environment(2)) as collector:
        assert manager.next().startswith("READY=1")
        postmaster = (pg.directory / "data/postmaster.pid").read_text().split()[0]
        servers = [postmaster, *pathlib.Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
        try:
            for server in servers:
                os.kill(int(server), signal.SIGSTOP)
            assert [manager.next() for _ in range(6)] == ["WATCHDOG=1"] * 6
        finally:
            for server in servers:
                os.kill(int(server), signal.SIGCONT)
        assert manager.next() == "WATCHDOG=1" and not collector.process.poll()


def test_watchdog_of_another_process(pg, manager):
    """The variables go on to children; WATCHDOG_PID says whom they mean."""
    with served(pg, manager.environment(2, pid=1)):
        assert manager.next().startswith("READY=1")
        assert manager.quiet(1.5)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "@", "/" + "x" * 200, ""])
def test_nobody_listens(pg, name):
    with served(pg, {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"}) as collector:
        assert collector.stop() == 0


@pytest.mark.parametrize("microseconds", ["", "-5", "1e9", "99999999999999999999"])
def test_bad_watchdog_times(pg, tmp_path, microseconds):
    with contextlib.closing(Manager(f"{tmp_path}/notify")) as manager:
        with served(pg, {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": microseconds}):
            assert manager.next().startswith("READY=1")
            assert manager.quiet(1.5)


@pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")
def test_sensor_says_ready_and_stopping(live, tmp_path):
    """Under seccomp and without rights, through the socket opened before."""
    with contextlib.closing(Manager(f"{tmp_path}/notify")) as manager:
        live.environment = dict(os.environ, **manager.environment(2))
        live.start().wait_connected()
        assert manager.next() == "READY=1\nSTATUS=listening on probe"
        assert [manager.next() for _ in range(2)] == ["WATCHDOG=1"] * 2
        assert live.server.stop() == 0
        told = []
        while not told or told[-1] == "WATCHDOG=1":
            told.append(manager.next())
        assert told[-1] == "STOPPING=1\nSTATUS=delivering the rest"
