"""What a sensor's host gives away: every frame it sends is accounted for; under deploy/nftables it answers nobody."""
import collections
import os
import re
import socket
import struct
import subprocess
import threading

import pytest

import hirundo
from test_live import HERE, THERE, Inside, fixture_make_live, fixture_pg, fixture_veth, ip, root_with_namespaces

__all__ = ["fixture_make_live", "fixture_pg", "fixture_veth"]  # pytest finds them by their names

pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")


@pytest.fixture(name="collector")
def fixture_collector(pg, veth):
    veth.addresses()
    with Inside(pg, veth, far=True) as collector:
        yield collector


class Watch:
    """Every frame that leaves the sensor's host, read on the far side of its link."""

    def __init__(self, veth):
        fd = os.open(f"/run/netns/{veth.there}", os.O_RDONLY)
        self.frames, self.stopping = [], False
        ready = threading.Event()

        def work():
            os.setns(fd, os.CLONE_NEWNET)  # this thread only
            os.close(fd)
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as s:
                s.bind(("far", 3))
                s.settimeout(0.2)
                ready.set()
                while not self.stopping:
                    try:
                        data, address = s.recvfrom(65535)
                    except TimeoutError:
                        continue
                    if address[2] != socket.PACKET_OUTGOING:
                        self.frames.append(data)
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert ready.wait(10)

    def stop(self):
        self.stopping = True
        self.thread.join(10)
        return self.frames


def describe(data):
    """A frame in the words of a firewall's rule."""
    kind = struct.unpack_from("!H", data, 12)[0]
    if kind != 0x800:
        return f"EtherType {kind:#06x}"
    header = (data[14] & 15) * 4
    source, destination = socket.inet_ntoa(data[26:30]), socket.inet_ntoa(data[30:34])
    if data[23] == 6:
        flags = data[14 + header + 13]
        return f"TCP {source} -> {destination}:{struct.unpack_from('!H', data, 14 + header + 2)[0]}{' RST' if flags & 4 else ''}"
    if data[23] == 1:
        return f"ICMP type {data[14 + header]} to {destination}"
    return f"protocol {data[23]} to {destination}"


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def probe(proto, payload):
    """From THERE to HERE, with checksums that the kernel takes."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, proto, 0, socket.inet_aton(THERE),
                         socket.inet_aton(HERE))
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + header + payload


def with_checksum(proto, payload, at):
    pseudo = socket.inet_aton(THERE) + socket.inet_aton(HERE) + struct.pack("!BBH", 0, proto, len(payload))
    whole = (pseudo + payload) if proto != 1 else payload
    return payload[:at] + struct.pack("!H", checksum(whole)) + payload[at + 2:]


def probes():
    """What scanners send, and what a Linux host answers by itself: RST, RST, unreachable, echo reply, unreachable."""
    syn = with_checksum(6, struct.pack("!HHIIBBHHH", 40000, 23, 1, 0, 0x50, 2, 1024, 0, 0), 16)
    ack = with_checksum(6, struct.pack("!HHIIBBHHH", 40001, 80, 1, 1, 0x50, 16, 1024, 0, 0), 16)
    udp = with_checksum(17, struct.pack("!HHHH", 40002, 161, 8, 0), 6)
    echo = with_checksum(1, struct.pack("!BBHHH", 8, 0, 0, 1, 1), 2)
    gre = struct.pack("!HH", 0, 0x0800)
    return [probe(6, syn), probe(6, ack), probe(17, udp), probe(1, echo), probe(47, gre)]


def test_every_frame_that_leaves_goes_to_the_collector(veth, collector, make_live):
    live = make_live(collector=collector)
    watch = Watch(veth)
    live.start().wait_connected()
    veth.send(3000)
    live.wait_frames(3000)
    hirundo.wait_for(lambda: collector.postgres.value("select count(*) from hirundo.heartbeat"), "a heartbeat", 90)
    assert live.server.stop() == 0
    seen = collections.Counter(describe(data) for data in watch.stop())
    endpoint = collector.endpoint.removeprefix("tcp://")
    assert set(seen) <= {f"TCP {HERE} -> {endpoint}", f"TCP {HERE} -> {endpoint} RST"}, seen
    assert seen[f"TCP {HERE} -> {endpoint}"] > 10


def test_nothing_listens(veth, collector, make_live):
    live = make_live(collector=collector)
    live.start().wait_connected()
    sockets = subprocess.run(veth.inside("ss", "--all", "--no-header", "--numeric", "--tcp", "--udp", "--raw", "--sctp", "--dccp"),
                             capture_output=True, text=True, check=True).stdout.splitlines()
    endpoint = collector.endpoint.removeprefix("tcp://").replace(":", "]:")
    assert len(sockets) == 1 and "ESTAB" in sockets[0] and endpoint in sockets[0], sockets


def test_the_log_holds_nothing_that_was_observed(veth, collector, make_live):
    live = make_live(collector=collector)
    live.start().wait_connected()
    veth.send(3000)
    live.wait_frames(3000)
    assert live.server.stop() == 0
    addresses = set(re.findall(r"\d+\.\d+\.\d+\.\d+", live.server.log()))
    assert addresses <= {THERE}, live.server.log()  # the collector's


@pytest.mark.parametrize("silent", [False, True])
def test_probes_are_seen_and_not_answered(veth, collector, make_live, silent):
    """Without the rules the same probes are answered: so this test can fail."""
    rules = hirundo.TOP / "deploy" / "nftables" / "hirundo-silent.nft"
    if silent:
        done = subprocess.run(veth.inside("nft", "-f", str(rules)), capture_output=True, text=True, check=False)
        if "not permitted" in done.stderr or "not supported" in done.stderr:
            pytest.skip(f"this kernel takes no nftables rules: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        subprocess.run(veth.inside("nft", "-f", str(rules)), check=True)  # a second time is no error
    live = make_live(collector=collector)
    live.start().wait_connected()
    watch = Watch(veth)
    veth.send_frames(probes() * 20)
    live.wait_frames(100)
    hirundo.wait_for(lambda: live.packets() == 100, "all probes as flows")
    live.server.stop()
    endpoint = collector.endpoint.removeprefix("tcp://")
    answers = collections.Counter(text for text in map(describe, watch.stop()) if endpoint not in text)
    if silent:
        assert not answers, answers
    else:
        kinds = set(answers)
        assert any("RST" in text for text in kinds) and any("ICMP type 0" in text for text in kinds) and any(
            "ICMP type 3" in text for text in kinds), answers


def test_who_may_log_in_still_may(veth, collector):
    """The rules let in whom their sets name, and nobody else."""
    rules = hirundo.TOP / "deploy" / "nftables" / "hirundo-silent.nft"
    text = rules.read_text().replace("192.0.2.0/24", f"{THERE}/32")
    done = subprocess.run(veth.inside("nft", "-f", "-"), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this kernel takes no nftables rules: {done.stderr.strip()}")
    serve = ("import socket; s = socket.create_server(('', {})); print('ready', flush=True); s.accept()[0].sendall(b'hello'); "
             "import time; time.sleep(60)")
    connect = f"import socket, sys; s = socket.create_connection(('{HERE}', int(sys.argv[1])), 2); print(s.recv(5).decode())"
    for port, let_in in ((22, True), (2222, False)):
        server = subprocess.Popen(veth.inside("/usr/bin/python3", "-c", serve.format(port)), stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout.readline() == "ready\n"
            done = subprocess.run(veth.outside("/usr/bin/python3", "-c", connect, str(port)), capture_output=True, text=True,
                                  check=False, timeout=30)
            assert (done.stdout == "hello\n") == let_in, (port, done.stderr)
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
    ip("netns", "exec", veth.here, "nft", "delete", "table", "inet", "hirundo_silent")
