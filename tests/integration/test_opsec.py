"""What a sensor's host gives away, by IPv4 and by IPv6: every frame it sends is accounted for; under deploy/nftables it answers nobody."""
import collections
import os
import re
import socket
import struct
import subprocess
import threading

import pytest

import hirundo
from test_live import HERE, HERE6, THERE, THERE6, Inside, fixture_make_live, fixture_pg, fixture_veth, ip, root_with_namespaces

__all__ = ["fixture_make_live", "fixture_pg", "fixture_veth"]  # pytest finds them by their names

pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")


class IPv4:
    here, there, host = HERE, THERE, THERE
    kernel = frozenset()  # what the kernel sends on its own account

    @staticmethod
    def addresses(veth):
        veth.addresses()

    @staticmethod
    def probe(proto, payload):
        """From there to here, with checksums that the kernel takes."""
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 64, proto, 0, socket.inet_aton(THERE),
                             socket.inet_aton(HERE))
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
        return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + header + payload

    @staticmethod
    def with_checksum(proto, payload, at):
        pseudo = socket.inet_aton(THERE) + socket.inet_aton(HERE) + struct.pack("!BBH", 0, proto, len(payload))
        whole = (pseudo + payload) if proto != 1 else payload
        return payload[:at] + struct.pack("!H", checksum(whole)) + payload[at + 2:]

    echo_request = (1, 8)
    answers = ("RST", "ICMP type 0 ", "ICMP type 3 ")


class IPv6:
    here, there, host = HERE6, THERE6, f"[{THERE6}]"
    # RFC 4861 and 3810; no program's, and no host with IPv6 is without it
    kernel = frozenset(("router solicitation", "neighbour solicitation", "neighbour advertisement", "multicast listener report"))

    @staticmethod
    def addresses(veth):
        if not os.path.exists("/proc/sys/net/ipv6"):
            pytest.skip("this kernel has no IPv6")
        veth.addresses6()

    @staticmethod
    def probe(proto, payload):
        header = struct.pack("!IHBB", 6 << 28, len(payload), proto, 64) + packed6(THERE6) + packed6(HERE6)
        return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x86\xdd" + header + payload

    @staticmethod
    def with_checksum(proto, payload, at):
        pseudo = packed6(THERE6) + packed6(HERE6) + struct.pack("!II", len(payload), proto)
        return payload[:at] + struct.pack("!H", checksum(pseudo + payload)) + payload[at + 2:]

    echo_request = (58, 128)
    answers = ("RST", "ICMPv6 type 129 ", "ICMPv6 type 1 ", "ICMPv6 type 4 ")


def packed6(text):
    return socket.inet_pton(socket.AF_INET6, text)


@pytest.fixture(name="family", params=[IPv4, IPv6], ids=["IPv4", "IPv6"])
def fixture_family(request):
    return request.param


@pytest.fixture(name="collector")
def fixture_collector(pg, veth, family):
    family.addresses(veth)
    with Inside(pg, veth, far=True, host=family.host) as collector:
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
    if kind == 0x86dd:
        return describe6(data)
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


def describe6(data):
    source, destination = (socket.inet_ntop(socket.AF_INET6, data[at:at + 16]) for at in (22, 38))
    proto, at = data[20], 54
    if proto == 0:  # hop by hop: a multicast listener report's router alert
        proto, at = data[at], at + 8 + 8 * data[at + 1]
    if proto == 6:
        flags = data[at + 13]
        return f"TCP {source} -> [{destination}]:{struct.unpack_from('!H', data, at + 2)[0]}{' RST' if flags & 4 else ''}"
    if proto == 58:
        names = {133: "router solicitation", 135: "neighbour solicitation", 136: "neighbour advertisement",
                 143: "multicast listener report"}
        return names.get(data[at]) or f"ICMPv6 type {data[at]} to {destination}"
    return f"protocol {proto} to {destination}"


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def probes(family):
    """What scanners send, and what a Linux host answers by itself: RST, RST, unreachable, echo reply, unreachable."""
    syn = family.with_checksum(6, struct.pack("!HHIIBBHHH", 40000, 23, 1, 0, 0x50, 2, 1024, 0, 0), 16)
    ack = family.with_checksum(6, struct.pack("!HHIIBBHHH", 40001, 80, 1, 1, 0x50, 16, 1024, 0, 0), 16)
    udp = family.with_checksum(17, struct.pack("!HHHH", 40002, 161, 8, 0), 6)
    proto, kind = family.echo_request
    echo = family.with_checksum(proto, struct.pack("!BBHHH", kind, 0, 0, 1, 1), 2)
    gre = struct.pack("!HH", 0, 0x0800)
    return [family.probe(6, syn), family.probe(6, ack), family.probe(17, udp), family.probe(proto, echo), family.probe(47, gre)]


def test_every_frame_that_leaves_goes_to_the_collector(veth, collector, make_live, family):
    live = make_live(collector=collector)
    watch = Watch(veth)
    live.start().wait_connected()
    veth.send(3000)
    live.wait_frames(3000)
    hirundo.wait_for(lambda: collector.postgres.value("select count(*) from hirundo.heartbeat"), "a heartbeat", 90)
    assert live.server.stop() == 0
    seen = collections.Counter(describe(data) for data in watch.stop())
    endpoint = collector.endpoint.removeprefix("tcp://")
    assert set(seen) - family.kernel <= {f"TCP {family.here} -> {endpoint}", f"TCP {family.here} -> {endpoint} RST"}, seen
    assert seen[f"TCP {family.here} -> {endpoint}"] > 10


def test_nothing_listens(veth, collector, make_live):
    live = make_live(collector=collector)
    live.start().wait_connected()
    sockets = subprocess.run(veth.inside("ss", "--all", "--no-header", "--numeric", "--tcp", "--udp", "--raw", "--sctp", "--dccp"),
                             capture_output=True, text=True, check=True).stdout.splitlines()
    endpoint = collector.endpoint.removeprefix("tcp://")
    endpoint = endpoint if "[" in endpoint else endpoint.replace(":", "]:")  # ::ffff:10.71.0.2
    assert len(sockets) == 1 and "ESTAB" in sockets[0] and endpoint in sockets[0], sockets


def test_the_log_holds_nothing_that_was_observed(veth, collector, make_live, family):
    live = make_live(collector=collector)
    live.start().wait_connected()
    veth.send(3000)
    veth.send_frames(probes(IPv6) * 20)
    live.wait_frames(3100)
    assert live.server.stop() == 0
    log = live.server.log().replace(collector.endpoint, "")
    assert not re.findall(r"\d+\.\d+\.\d+\.\d+|[0-9a-f]+::?[0-9a-f:]*:[0-9a-f]*", log), log


@pytest.mark.parametrize("silent", [False, True])
def test_probes_are_seen_and_not_answered(veth, collector, make_live, family, silent):
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
    veth.send_frames(probes(family) * 20)
    hirundo.wait_for(lambda: collector.postgres.value(
        "select sum(packets) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s and src = %s and (proto <> 58 or "
        "port < 133 * 256)", live.name, family.there) == 100, "all probes as flows")
    live.server.stop()
    endpoint = collector.endpoint.removeprefix("tcp://")
    answers = collections.Counter(text for text in map(describe, watch.stop()) if endpoint not in text and text not in family.kernel)
    if silent:
        assert not answers, answers
    else:
        for answer in family.answers:
            assert any(answer in text for text in answers), (answer, answers)


def test_who_may_log_in_still_may(veth, collector, family):
    """The rules let in whom their sets name, and nobody else."""
    rules = hirundo.TOP / "deploy" / "nftables" / "hirundo-silent.nft"
    text = rules.read_text().replace("192.0.2.0/24", f"{THERE}/32").replace("2001:db8::/32", f"{THERE6}/128")
    done = subprocess.run(veth.inside("nft", "-f", "-"), input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this kernel takes no nftables rules: {done.stderr.strip()}")
    serve = ("import socket; s = socket.create_server(('', {}), family=socket." + ("AF_INET6" if family is IPv6 else "AF_INET") + "); print('ready', flush=True); s.accept()[0].sendall(b'hello'); "
             "import time; time.sleep(60)")
    connect = f"import socket, sys; s = socket.create_connection(('{family.here}', int(sys.argv[1])), 2); print(s.recv(5).decode())"
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
