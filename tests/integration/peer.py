"""A sensor played frame by frame: real CURVE sockets, messages made by hirundo-load, good or bad."""
import hashlib
import os
import struct
import subprocess
import time

import zmq
import zmq.utils.monitor

from hirundo import WAIT_S, program

KINDS = {16: "ack", 17: "nack", 18: "pong"}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """Protobuf's top level as {number: value}; enough for headers and replies."""
    at, found = 0, {}
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            found[tag >> 3], at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            found[tag >> 3], at = data[at:at + size], at + size
        elif tag & 7 == 1:
            found[tag >> 3], at = data[at:at + 8], at + 8
        else:
            raise ValueError(f"wire type {tag & 7}")
    return found


class Reply:
    def __init__(self, frames):
        header, body = fields(frames[0]), fields(frames[1])
        self.kind = KINDS[header[1]]
        self.spool_id = header[2]
        self.seq = header.get(3, 0)
        self.committed_through = body.get(1, 0)
        self.expected_seq = body.get(2, 0)
        self.reason = {0: None, 1: "gap", 2: "fork"}[body.get(3, 0)]
        self.credit = body.get(4, 0)
        self.db_ok = bool(body.get(5, 0))
        self.detail = body.get(8, b"").decode()


def message(kind, seq, spool, flows=10, seed=1, from_ms=0, last=None):
    """[header, payload] of a batch, loss, unknown (a loss of unknown extent, to number last), poison or ping."""
    done = subprocess.run([program("hirundo-load"), "message", kind, str(seq), spool.hex(), str(flows), str(seed),
                           str(from_ms), str(last or seq)], capture_output=True, check=True)
    out, frames = done.stdout, []
    while out:
        size = struct.unpack(">I", out[:4])[0]
        frames.append(out[4:4 + size])
        out = out[4 + size:]
    return frames


def field(number, value):
    """A protobuf field: an integer as a varint (two's complement), bytes or text with their length."""
    def varint_of(n):
        n &= (1 << 64) - 1
        out = b""
        while n > 0x7f:
            out, n = out + bytes([n & 0x7f | 0x80]), n >> 7
        return out + bytes([n])
    if isinstance(value, int):
        return varint_of(number << 3) + varint_of(value)
    data = value.encode() if isinstance(value, str) else value
    return varint_of(number << 3 | 2) + varint_of(len(data)) + data


def zigzag(n):
    return (n << 1) ^ (n >> 63)


def heartbeat(spool, payload=None, **fields):
    """[header, payload] of a heartbeat: fields by their numbers in proto/hirundo.proto, as f1="0.1.0", f5=12."""
    if payload is None:
        payload = b"".join(field(int(name[1:]), value) for name, value in fields.items())
    header = (field(1, 3) + field(2, spool) + b"\x21" + (7).to_bytes(8, "little") + field(10, hashlib.sha256(payload).digest()) +
              field(11, zigzag(int(time.time() * 1000))))
    return [header, payload]


class Peer:
    """A DEALER with a key, and options of its socket. Use in a with statement."""

    def __init__(self, collector, pair, spool=None, options=()):
        self.collector, self.pair, self.options = collector, pair, options
        self.spool = spool or os.urandom(16)
        self.context = zmq.Context()
        self.socket = self.monitor = None

    def __enter__(self):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndtimeo = int(WAIT_S * 1000)  # a test does not hang
        self.socket.reconnect_ivl = 50
        self.socket.curve_serverkey = self.collector.server_key.encode()
        self.socket.curve_publickey, self.socket.curve_secretkey = (k.encode() for k in self.pair)
        for option, value in self.options:
            self.socket.setsockopt(option, value)
        self.monitor = self.socket.get_monitor_socket()
        self.socket.connect(self.collector.endpoint)
        return self

    def __exit__(self, *_):
        self.socket.disable_monitor()
        self.context.destroy(linger=0)

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def send_message(self, kind, seq, **options):
        self.send(*message(kind, seq, self.spool, **options))

    def receive(self, timeout=WAIT_S):
        """The next reply, None if none comes."""
        if not self.socket.poll(int(timeout * 1000)):
            return None
        return Reply(self.socket.recv_multipart())

    def wait_reply(self, kind, timeout=WAIT_S):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            reply = self.receive(end - time.monotonic())
            if reply and reply.kind == kind:
                return reply
        raise AssertionError(f"no {kind} within {timeout:.0f} s; the collector said:\n{self.collector.log()}")

    def wait_ack(self, seq, timeout=WAIT_S):
        """Until everything up to seq is acknowledged."""
        end = time.monotonic() + timeout
        while True:
            reply = self.wait_reply("ack", max(0.01, end - time.monotonic()))
            if reply.committed_through >= seq:
                return reply

    def deliver(self, seq, **options):
        self.send_message("batch", seq, **options)
        return self.wait_ack(seq)

    def wait_event(self, *events, timeout=WAIT_S):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.monitor.poll(int((end - time.monotonic()) * 1000)):
                event = zmq.utils.monitor.recv_monitor_message(self.monitor)["event"]
                if event in events:
                    return event
        raise AssertionError(f"none of {[str(e) for e in events]} within {timeout:.0f} s")

    def wait_connected(self):
        self.wait_event(zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def wait_cut(self):
        self.wait_event(zmq.EVENT_DISCONNECTED)
