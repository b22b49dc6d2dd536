"""Packets that can be told apart, sent to the sensors' interfaces, and what is known of each: the ground truth.

Packet n of a sensor has a source address and a port that no other has; every tenth is sent three times. Whatever the
product makes of them, a row of `flow` names the packet it counts.
"""
import array
import socket
import struct
import threading
import time

SOURCES = 1 << 17  # 198.18.0.0/15
FIRST_SOURCE = 0xc6120000
FIRST_PORT = 20000
TICK_S = 0.01


def copies(n):
    return 3 if n % 10 == 0 else 1


def source_of(n):
    return FIRST_SOURCE + n % SOURCES


def port_of(n):
    return FIRST_PORT + n // SOURCES


def ttl_of(n):
    return 30 + n % 200


def scattered(n):
    """What does not compress: batches are as large as they get."""
    n = (n ^ n >> 15) * 0x2c1b3c6d & 0xffffffff
    n = (n ^ n >> 12) * 0x297a2d39 & 0xffffffff
    return n ^ n >> 15


def source_port_of(n):
    return 1024 + scattered(n) % 60000


def ip_id_of(n):
    return scattered(n) >> 16


def window_of(n):
    return scattered(n + 1) >> 16


def destination_of(sensor):
    return 0x64400001 + sensor


def frame(sensor, n):
    """A TCP SYN that carries no mark: its sequence number is neither Mirai's nor masscan's."""
    destination, port, ip_id = destination_of(sensor), port_of(n), ip_id_of(n)
    seq = 0x01010000 | ((destination ^ port ^ ip_id ^ 0x5555) & 0xffff)
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 40, ip_id, 0, ttl_of(n), 6, 0, source_of(n), destination)
    tcp = struct.pack("!HHIIBBHHH", source_port_of(n), port, seq, 0, 0x50, 2, window_of(n), 0, 0)
    return (b"\x02" * 12 + b"\x08\x00" + ip + tcp).ljust(60, b"\0")


class Sent:
    """What one sensor was sent: packet n went out between began[n] and ended[n], the host's true time in seconds."""

    def __init__(self):
        self.began, self.ended = array.array("d"), array.array("d")

    def __len__(self):
        return len(self.began)

    def packets(self):
        return sum(copies(n) for n in range(len(self)))


class Traffic:
    """A thread that sends `rate` packets a second to each sensor, and bursts when asked."""

    def __init__(self, interfaces, rate):
        self.sent = [Sent() for _ in interfaces]
        self.rate, self.stopping = rate, False
        self.asked = [0] * len(interfaces)
        self.lock = threading.Lock()
        self.sockets = []
        for name in interfaces:
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            s.bind((name, 0))
            self.sockets.append(s)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping = True
        if self.thread.is_alive():
            self.thread.join()

    def close(self):
        self.stop()
        for s in self.sockets:
            s.close()

    def burst(self, sensor, count):
        with self.lock:
            self.asked[sensor] += count

    def one(self, sensor):
        """Sends one packet now; only when the thread has stopped. Its number."""
        self._send(sensor)
        return len(self.sent[sensor]) - 1

    def _send(self, sensor):
        sent = self.sent[sensor]
        n = len(sent)
        data = frame(sensor, n)
        began = time.time()
        for _ in range(copies(n)):
            self.sockets[sensor].send(data)
        sent.began.append(began)
        sent.ended.append(time.time())

    def _run(self):
        due = 0.0
        last = time.monotonic()
        while not self.stopping:
            time.sleep(TICK_S)
            now = time.monotonic()
            due += (now - last) * self.rate
            last = now
            for sensor in range(len(self.sent)):
                for _ in range(int(due)):
                    self._send(sensor)
            due -= int(due)
            self._bursts()

    def _bursts(self):
        for sensor, _ in enumerate(self.sent):
            with self.lock:
                count = min(self.asked[sensor], 2000)  # the others go on meanwhile
                self.asked[sensor] -= count
            for _ in range(count):
                self._send(sensor)
