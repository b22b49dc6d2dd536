"""Who else opens connections to a collector: silent, talking rubbish, slow, and with keys that nobody enrolled."""
import errno
import os
import selectors
import socket
import subprocess
import threading

from hirundo import Keys, program

GREETING = bytes([0xff] + [0] * 8 + [0x7f, 3, 0]) + b"CURVE".ljust(20, b"\0") + bytes(32)  # ZMTP 3.0, as a client


class Strangers:
    """Keeps COUNT connections of each kind open until closed; whoever is cut comes again. Use in a with statement."""

    def __init__(self, postgres, collector, count, directory, processes=1):
        host, _, port = collector.endpoint.removeprefix("tcp://").rpartition(":")
        self.address, self.count = (host, int(port)), count
        self.postgres, self.collector, self.directory, self.processes = postgres, collector, directory, processes
        self.stopping, self.cut, self.made = threading.Event(), 0, 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.unknown = []

    def __enter__(self):
        path = os.path.join(self.directory, "strangers.keys")
        Keys(self.postgres, self.count, prefix="stranger", enroll=False).write(path)
        for _ in range(self.processes):
            self.unknown.append(subprocess.Popen(
                [program("hirundo-load"), "idle", self.collector.endpoint, self.collector.server_key, path, "1000", "600"],
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
        """One of: 0 silent, 1 rubbish, 2 half a greeting, byte by byte, 3 a greeting and nothing more."""
        s = socket.socket()
        s.setblocking(False)
        if s.connect_ex(self.address) not in (0, errno.EINPROGRESS):
            s.close()
            return
        self.made += 1
        selector.register(s, selectors.EVENT_READ | (selectors.EVENT_WRITE if kind else 0), [kind, 0])

    def _write(self, selector, key):
        kind, sent = key.data
        data = {1: os.urandom(4096), 2: GREETING[sent:sent + 1], 3: GREETING}[kind]
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
            for kind in range(4):
                for _ in range(self.count):
                    self._open(selector, kind)
            while not self.stopping.wait(0.05):  # the slow ones: a byte each 50 ms
                for key, events in selector.select(0):
                    self._serve(selector, key, events)
            for key in list(selector.get_map().values()):
                key.fileobj.close()
