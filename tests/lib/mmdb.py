"""Writes MaxMind databases for tests, sound ones and damaged ones (format 2.0, maxmind.github.io/MaxMind-DB)."""
import ipaddress

MARKER = b"\xab\xcd\xefMaxMind.com"


def _control(kind, size):
    extended = bytes([kind - 7]) if kind > 7 else b""
    first = 0 if kind > 7 else kind << 5
    if size < 29:
        return bytes([first | size]) + extended
    if size < 285:
        return bytes([first | 29]) + extended + bytes([size - 29])
    return bytes([first | 30]) + extended + (size - 285).to_bytes(2, "big")


def encode(value):
    """A value of the data section; int: uint32, or uint64 where it needs that."""
    if isinstance(value, bytes):
        return value  # as it is
    if isinstance(value, bool):
        return _control(14, int(value))
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return _control(6 if len(raw) <= 4 else 9, len(raw)) + raw
    if isinstance(value, str):
        raw = value.encode()
        return _control(2, len(raw)) + raw
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(encode, value))
    return _control(7, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())


class Writer:
    """insert(network, record), then bytes(): a database. nodes may be tampered with before that."""

    def __init__(self, version=6, kind="Test", record_size=24):
        self.version, self.kind, self.record_size = version, kind, record_size
        self.nodes = [[None, None]]  # None, a node's number, or a record as bytes

    def _bits(self, network):
        network = ipaddress.ip_network(network)
        width = 32 if self.version == 4 else 128
        first, length = int(network.network_address), network.prefixlen
        if network.version == 4 and self.version == 6:
            length += 96
        return [first >> (width - 1 - i) & 1 for i in range(length)]

    def _walk(self, bits):
        node = 0
        for bit in bits:
            if self.nodes[node][bit] is None:
                self.nodes.append([None, None])
                self.nodes[node][bit] = len(self.nodes) - 1
            node = self.nodes[node][bit]
        return node

    def insert(self, network, record):
        """A record; inside a network that has one already, the rest of it keeps what it had."""
        bits, node = self._bits(network), 0
        for bit in bits[:-1]:
            below = self.nodes[node][bit]
            if not isinstance(below, int):
                self.nodes.append([below, below])
                self.nodes[node][bit] = len(self.nodes) - 1
            node = self.nodes[node][bit]
        self.nodes[node][bits[-1]] = encode(record)
        return self

    def alias(self, network):
        """Points this IPv6 network to the IPv4 tree."""
        bits = self._bits(network)
        self.nodes[self._walk(bits[:-1])][bits[-1]] = self._walk([0] * 96)
        return self

    def metadata(self, **changes):
        value = {"node_count": len(self.nodes), "record_size": _control(5, 1) + bytes([self.record_size]),
                 "ip_version": _control(5, 1) + bytes([self.version]), "database_type": self.kind, "languages": ["en"],
                 "binary_format_major_version": _control(5, 1) + b"\2", "binary_format_minor_version": _control(5, 0),
                 "build_epoch": _control(9, 4) + b"\x63\xb0\xcd\0", "description": {"en": "made for a test"}}
        value.update(changes)
        return MARKER + encode(value)

    def __bytes__(self):
        data, offsets, tree = b"", {}, b""
        for node in self.nodes:
            numbers = []
            for side in node:
                if isinstance(side, bytes):
                    if side not in offsets:
                        offsets[side] = len(data)
                        data += side
                    side = len(self.nodes) + 16 + offsets[side]
                numbers.append(len(self.nodes) if side is None else side)
            left, right = numbers
            if self.record_size == 28:
                tree += (left & 0xffffff).to_bytes(3, "big") + bytes([left >> 24 << 4 | right >> 24])
                tree += (right & 0xffffff).to_bytes(3, "big")
            else:
                size = self.record_size // 8
                tree += left.to_bytes(size, "big") + right.to_bytes(size, "big")
        return tree + b"\0" * 16 + data + self.metadata()
