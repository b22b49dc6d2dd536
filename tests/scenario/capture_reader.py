"""Reads classic captures and decodes what the scenario contains, from the formats' definitions.

It shares nothing with the generator, the sensor or libpcap, so that it can be a witness.
"""
import struct
from collections import namedtuple

ICMP, TCP, UDP, GRE, ESP, ICMPV6 = 1, 6, 17, 47, 50, 58
FRAGMENT_HEADER = 44
BROADCAST = 0xFFFFFFFF

# One IP packet. src and dst are integers; port is None where the ranking has no port;
# extra is (flags, seq, ip_id, window, source port) for TCP, (source port,) for UDP, (type,) for ICMP.
Packet = namedtuple("Packet", "time v6 src dst proto port ttl fragment later length extra")


def frames(path):
    """Yields (time in microseconds since the epoch, link type, bytes)."""
    with open(path, "rb") as file:
        data = file.read()
    magic, major, minor, _, _, snaplen, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor) == (0xA1B2C3D4, 2, 4), path
    at = 24
    while at < len(data):
        seconds, micros, captured, length = struct.unpack_from("<IIII", data, at)
        assert captured == length <= snaplen and micros < 1000000, (path, at)
        at += 16
        yield seconds * 1000000 + micros, link, data[at:at + captured]
        at += captured
    assert at == len(data), path


def peel(link, frame):
    """The ethertype and what follows it."""
    if link == 101:  # raw IP
        return {4: 0x0800, 6: 0x86DD}[frame[0] >> 4], frame
    if link == 113:  # Linux cooked
        return struct.unpack_from(">H", frame, 14)[0], frame[16:]
    if link == 276:  # Linux cooked, version 2
        return struct.unpack_from(">H", frame)[0], frame[20:]
    assert link == 1, link
    kind = struct.unpack_from(">H", frame, 12)[0]
    if kind == 0x8100:
        return struct.unpack_from(">H", frame, 16)[0], frame[18:]
    return kind, frame[14:]


def arp_addresses(body):
    return struct.unpack_from(">I", body, 14)[0], struct.unpack_from(">I", body, 24)[0]


def ip_packet(time, kind, body):
    """The Packet, or None for a frame without IP."""
    if kind == 0x0800:
        return _ipv4(time, body)
    if kind == 0x86DD:
        return _ipv6(time, body)
    return None


def _ipv4(time, body):
    first, _, length, ip_id, frag, ttl, proto, _, src, dst = struct.unpack_from(">BBHHHBBHII", body)
    assert first == 0x45 and length <= len(body)
    later = frag & 0x1FFF != 0
    port, extra = _transport(proto, body[20:length], ip_id, later)
    return Packet(time, False, src, dst, proto, port, ttl, frag & 0x3FFF != 0, later, length, extra)


def _ipv6(time, body):
    version, length, proto, ttl = struct.unpack_from(">IHBB", body)
    assert version >> 28 == 6 and length + 40 <= len(body)
    src, dst = int.from_bytes(body[8:24], "big"), int.from_bytes(body[24:40], "big")
    at, fragment, later = 40, False, False
    if proto == FRAGMENT_HEADER:
        proto, field = body[40], struct.unpack_from(">H", body, 42)[0]
        at, fragment, later = 48, True, field >> 3 != 0
    port, extra = _transport(proto, body[at:40 + length], 0, later)
    return Packet(time, True, src, dst, proto, port, ttl, fragment, later, 40 + length, extra)


def _transport(proto, body, ip_id, later):
    if later:
        return None, ()
    if proto == TCP:
        src_port, port, seq, _, _, flags, window = struct.unpack_from(">HHIIBBH", body)
        return port, (flags, seq, ip_id, window, src_port)
    if proto == UDP:
        src_port, port = struct.unpack_from(">HH", body)
        return port, (src_port,)
    if proto in (ICMP, ICMPV6):
        return None, (body[0],)
    return None, ()


def label(packet):
    """The packet's row in a ranking of ports, as people write it."""
    if packet.proto in (TCP, UDP):
        name = "TCP" if packet.proto == TCP else "UDP"
        return f"{name}/fragment" if packet.later else f"{packet.port}/{name}"
    names = {ICMP: "ICMP", ICMPV6: "ICMPv6", GRE: "GRE"}
    return names.get(packet.proto, f"IP/{packet.proto}")


def traffic_class(packet):
    """The first class that fits, as the design defines them."""
    if not packet.v6 and packet.dst == BROADCAST:
        return "local"
    if packet.later:
        return "fragment"
    if packet.proto == TCP:
        flags = packet.extra[0]
        if flags & 0x04 or flags & 0x12 == 0x12:
            return "backscatter"
        return "scan" if flags & 0x02 else "other"
    if packet.proto == UDP:
        return "backscatter" if packet.extra[0] == 53 else "scan"
    if packet.proto == ICMP:
        return "backscatter" if packet.extra[0] in (0, 3, 4, 5, 11, 12, 14, 16, 18) else "scan"
    if packet.proto == ICMPV6:
        return "backscatter" if packet.extra[0] in (1, 2, 3, 4, 129) else "scan"
    return "other"


def _ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksums_hold(kind, body):
    """IPv4 header and transport checksums; fragments' transport is left out."""
    if kind == 0x0800:
        length, frag, proto = struct.unpack_from(">2xH2xHxB", body)
        if _ones_sum(body[:20]) != 0xFFFF:
            return False
        addresses, payload = body[12:20], body[20:length]
        if frag & 0x3FFF:
            return True
    else:
        length, proto = struct.unpack_from(">4xHB", body)
        addresses, payload = body[8:40], body[40:40 + length]
    if proto == ICMP:
        return _ones_sum(payload) == 0xFFFF
    if proto in (TCP, UDP, ICMPV6):
        pseudo = addresses + struct.pack(">II", len(payload), proto)
        return _ones_sum(pseudo + payload) == 0xFFFF
    return True
