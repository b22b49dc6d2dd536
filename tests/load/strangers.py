"""Who else opens connections to a collector: silent, talking rubbish, slow, and with keys that nobody enrolled."""
import errno
import os
import resource
import selectors
import socket
import subprocess
import threading

from hirundo import Keys, program



def greeting(mechanism):
    """ZMTP 3.0, as a client."""
    return bytes([0xff] + [0] * 8 + [0x7f, 3, 0]) + mechanism.ljust(20, b"\0") + bytes(32)


GREETING = greeting(b"CURVE")
# What a kind sends at once: silence, rubbish, half a greeting byte by byte, a greeting and nothing more, two other mechanisms.
SENDS = {0: b"", 1: None, 2: GREETING[:-1], 3: GREETING, 4: greeting(b"NULL"), 5: greeting(b"PLAIN")}

IP_BIND_ADDRESS_NO_PORT = 24


def allow_descriptors():
    """As many as may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def endpoint_from(endpoint, sources):
    """For libzmq: from the first of these, if there is one."""
    return endpoint.replace("tcp://", f"tcp://{sources[0]}:0;") if sources else endpoint


class Strangers:
    """Keeps COUNT connections of each kind open until closed; whoever is cut comes again. Use in a with statement.

    sources: addresses they come from in turn, of loopback; unknown keys come from the first."""

    def __init__(self, postgres, collector, count, directory, processes=1, kinds=range(4), sources=()):
        host, _, port = collector.endpoint.removeprefix("tcp://").rpartition(":")
        self.address, self.count, self.kinds = (host, int(port)), count, kinds
        self.postgres, self.collector, self.directory, self.processes = postgres, collector, directory, processes
        self.sources = sources
        self.stopping, self.cut, self.made = threading.Event(), 0, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.unknown = []

    def __enter__(self):
        allow_descriptors()
        path = os.path.join(self.directory, "strangers.keys")
        Keys(self.postgres, self.count, enroll=False).write(path)
        for _ in range(self.processes):
            self.unknown.append(subprocess.Popen(
                [program("hirundo-load"), "idle", endpoint_from(self.collector.endpoint, self.sources), self.collector.server_key, path, "1000", "600"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        for process in self.unknown:
            process.kill()
            process.wait()

    def _open(self, selector, kind):
        """One connection of a kind of SENDS."""
        s = socket.socket()
        s.setblocking(False)
        if self.sources:
            s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            s.bind((self.sources[self.made % len(self.sources)], 0))
        if s.connect_ex(self.address) not in (0, errno.EINPROGRESS):
            s.close()
            return
        self.made += 1
        selector.register(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if kind else 0), [kind, 0])

    def _write(self, selector, key):
        kind, sent = key.data
        data = os.urandom(4096) if kind == 1 else GREETING[sent:sent + 1] if kind == 2 else SENDS[kind]
        key.fileobj.send(data)
        key.data[1] += 1
        if kind != 2 or key.data[1] == len(GREETING) - 1:
            selector.modify(key.fileobj, selectors.EVENT_READ, key.data)

    def _serve(self, selector, key, events):
        try:
            if events & selectors.EVENT_READ and not key.fileobj.recv(4096):
                raise ConnectionResetError
            if events & selectors.EVENT_WRITE:
                self._write(selector, key)
        except BlockingIOError:
            pass
        except OSError:  # cut: come again
            self.cut += 1
            selector.unregister(key.fileobj)
            key.fileobj.close()
            if not self.stopping.is_set():
                self._open(selector, key.data[0])

    def _run(self):
        with selectors.DefaultSelector() as selector:
            for kind in self.kinds:
                for _ in range(self.count):
                    self._open(selector, kind)
            while not self.stopping.wait(0.05):  # the slow ones: a byte each 50 ms
                for key, events in selector.select(0):
                    self._serve(selector, key, events)
            for key in list(selector.get_map().values()):
                key.fileobj.close()
