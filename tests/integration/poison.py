"""Messages that no sensor makes: headers and batches taken apart, changed and put together again.

Only what is wrong on purpose is wrong: digest, lengths and numbers fit what they are about.
"""
import ctypes
import ctypes.util
import hashlib
import random
import struct

ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
ZSTD.ZSTD_compress.restype = ZSTD.ZSTD_decompress.restype = ZSTD.ZSTD_compressBound.restype = ctypes.c_size_t
ZSTD.ZSTD_compress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
ZSTD.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t]
ZSTD.ZSTD_compressBound.argtypes = [ctypes.c_size_t]


def compress(data):
    size = ZSTD.ZSTD_compressBound(len(data))
    out = ctypes.create_string_buffer(size)
    return out.raw[:ZSTD.ZSTD_compress(out, size, data, len(data), 1)]


def decompress(data, size):
    out = ctypes.create_string_buffer(size + 1)
    got = ZSTD.ZSTD_decompress(out, size, data, len(data))
    assert got == size, "not a zstd frame of that size"
    return out.raw[:size]


def bomb(size):
    """A zstd frame of `size` bytes that says nothing of its length and unpacks to 128 KiB for every four of them."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", (128 << 10) << 3 | 1 << 1 | 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * ((size - 10) // 4) + last


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 0x7f:
        out += bytes([value & 0x7f | 0x80])
        value >>= 7
    return out + bytes([value])


def zigzag(value):
    return value << 1 if value >= 0 else (-value << 1) - 1


def parse(data):
    """Protobuf's top level: [(field, value)], value an int, bytes, or 8 bytes of a fixed64 in a tuple."""
    fields, at = [], 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = read()
        if tag & 7 == 0:
            fields.append((tag >> 3, read()))
        elif tag & 7 == 1:
            fields.append((tag >> 3, (data[at:at + 8],)))
            at += 8
        else:
            size = read()
            fields.append((tag >> 3, data[at:at + size]))
            at += size
    return fields


def build(fields):
    out = b""
    for field, value in fields:
        if isinstance(value, int):
            out += varint(field << 3) + varint(value)
        elif isinstance(value, tuple):
            out += varint(field << 3 | 1) + value[0]
        else:
            out += varint(field << 3 | 2) + varint(len(value)) + value
    return out


SEQ, FIRST, LAST, FRAMES, SHA256 = 3, 6, 7, 8, 10


def sealed(header, payload, seq, **change):
    """The two frames, with that number and the digest that fits; change: first, last (ms), frames."""
    fields = dict(parse(header))
    fields[SEQ] = seq
    fields[SHA256] = hashlib.sha256(payload).digest()
    for name, field in (("first", FIRST), ("last", LAST)):
        if name in change:
            fields[field] = zigzag(change[name])
    if "frames" in change:
        fields[FRAMES] = change["frames"]
    return [build(sorted(fields.items())), payload]


WINDOW_MS, FLOWS, FLOODS, WINDOWS, LENGTHS, COLUMNS = 1, 2, 3, 4, 5, 6


class Batch:
    """A batch's payload with its columns unpacked."""

    def __init__(self, payload):
        fields = parse(payload)
        self.counts = {f: v for f, v in fields if f in (WINDOW_MS, FLOWS, FLOODS, WINDOWS)}
        packed = dict(fields)[LENGTHS]
        lengths, at = [], 0
        while at < len(packed):
            value = shift = 0
            while True:
                byte = packed[at]
                at += 1
                value |= (byte & 0x7f) << shift
                shift += 7
                if byte < 0x80:
                    break
            lengths.append(value)
        data = decompress(dict(fields)[COLUMNS], sum(lengths))
        self.columns = []
        for length in lengths:
            self.columns.append(data[:length])
            data = data[length:]

    def payload(self, columns=None, lengths=None):
        """columns: the zstd frame instead of ours; lengths: of columns, instead of the true ones."""
        if lengths is None:
            lengths = [len(c) for c in self.columns]
        if columns is None:
            columns = compress(b"".join(self.columns))
        return build([*sorted(self.counts.items()), (LENGTHS, b"".join(map(varint, lengths))), (COLUMNS, columns)])


def mutate_bytes(data, draw):
    """One to four changes: a bit, a byte, a piece cut out, doubled, or overwritten with extremes."""
    data = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        what = draw.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif what == 1 and at < len(data):
            data[at] = draw.choice((0, 1, 0x7f, 0x80, 0xff))
        elif what == 2:
            del data[at:at + draw.randint(1, 16)]
        elif what == 3:
            data[at:at] = data[at:at + draw.randint(1, 64)]
        elif what == 4:
            data[at:at] = draw.choice((b"\xff" * 9 + b"\x01", b"\x80" * 10, b"\0" * 8, varint(1 << 62)))
        else:
            data[at:at + 4] = draw.randbytes(4)
    return bytes(data)


def mutation(payload, seed):
    """A payload that differs from the one given, as seed has it: as bytes, in its counts, or in its columns."""
    draw = random.Random(seed)
    what = draw.randrange(8)
    if what < 2:
        return mutate_bytes(payload, draw)
    batch = Batch(payload)
    if what == 2:
        field = draw.choice((WINDOW_MS, FLOWS, FLOODS, WINDOWS))
        batch.counts[field] = draw.choice((0, 1, batch.counts.get(field, 0) + 1, 8193, 10 ** 9, 2 ** 32 - 1))
        return batch.payload()
    if what == 3:
        lengths = [len(c) for c in batch.columns]
        lengths[draw.randrange(len(lengths))] = draw.choice((0, 1, 1 << 20, 2 ** 32 - 1))
        return batch.payload(lengths=lengths)
    which = draw.randrange(len(batch.columns))
    batch.columns[which] = mutate_bytes(batch.columns[which], draw)
    return batch.payload()
