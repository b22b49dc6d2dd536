"""Clients that mean no good: none gets a row in, none disturbs the others, each refusal is one line that says what to do.

./tests/run hostile does this with thousands of connections and measures what it costs enrolled sensors."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import zmq

import hirundo
from peer import Peer, message
from test_delivery import FILE_HEADER, FIRST, Replayer, capture
from test_enrolment import Office, enroll

sys.path[:0] = [str(hirundo.TOP / "tests" / "load"), str(hirundo.TOP / "tests" / "hostile")]

from hostile import Tap, snapshot  # noqa: E402
from strangers import Strangers  # noqa: E402

# On a busy machine such a connection may be closed before the collector could ask from where it came.
FROM_HERE = "(127.0.0.1|an address that was gone at once)"
METADATA = 95  # ZMQ_METADATA, which pyzmq does not name
EACH = int(os.environ.get("HIRUNDO_HOSTILE", "60"))  # connections of each kind


class Guarded:
    """A database with rows of an enrolled sensor that goes on delivering while others try to get in."""

    def __init__(self, postgres, collector, good):
        self.postgres, self.collector, self.good, self.seq = postgres, collector, good, 0
        self.deliver()
        self.before = None

    def deliver(self):
        self.seq += 1
        self.good.deliver(self.seq, from_ms=1675814400000 + self.seq * 60000)

    def begin(self):
        self.before = snapshot(self.postgres)

    def check(self):
        """Nothing has changed, and the good sensor is served as before."""
        assert snapshot(self.postgres) == self.before
        self.deliver()
        assert self.collector.process.poll() is None

    def lines(self, pattern):
        return [line for line in self.collector.lines if re.search(pattern, line)]


@pytest.fixture(name="guarded")
def fixture_guarded(postgres, collector, enrolled):
    _, pair = enrolled()
    with Peer(collector, pair) as good:
        yield Guarded(postgres, collector, good)


class Fed:
    """A real sensor in an open connection: it replays what it is given, an hour of 20,000 flows at a time, and waits for more."""

    def __init__(self, sensor):
        self.sensor, self.hours = sensor, 0
        self.path = sensor.directory / "fed.pcap"
        os.mkfifo(self.path)

    def __enter__(self):
        self.replay = self.sensor.start_replay(str(self.path))
        self.pipe = open(self.path, "wb")
        return self

    def __exit__(self, *_):
        self.replay.kill()
        self.pipe.close()

    def feed(self):
        hour = capture(self.sensor.directory / "hour.pcap", 20000, sources=20000, first=FIRST + 3600 * self.hours)
        with open(hour, "rb") as f:
            self.pipe.write(f.read()[FILE_HEADER if self.hours else 0:])
        self.pipe.flush()
        self.hours += 1

    def wait_delivered(self):
        """Whole batches; the rest waits for what comes after."""
        hirundo.wait_for(lambda: self.sensor.figures()[0] == 20000 * self.hours // 8192 * 8192, "whole batches to be in the database")
        hirundo.wait_for(lambda: self.sensor.collector.postgres.value("select count(*) from hirundo.heartbeat join hirundo.sensor using (sensor_id) "
                                                                      "where name = %s", self.sensor.name), "its heartbeat")


def attempts(postgres, public_key):
    return postgres.query("select attempts from hirundo.unknown_key where public_key = %s", hirundo.z85_decode(public_key))


# ---- keys

def test_unknown_key(postgres, guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "nobody-1", enroll=False)
    key = hirundo.z85_decode(sensor.public_key)
    guarded.begin()
    replay = sensor.start_replay(capture(tmp_path / "a.pcap", 100))
    try:
        replay.wait_log(f"refuses the handshake: it does not know this sensor's key .*sensor add .*'{re.escape(sensor.public_key)}'")
        hirundo.wait_for(lambda: [row for row in attempts(postgres, sensor.public_key) if row[0] >= 3], "three attempts")
        guarded.check()
    finally:
        replay.kill()
    assert len(guarded.lines(rf"key \S+ \({key.hex()}\) from 127.0.0.1 refused: nobody enrolled it.*sensor approve")) == 1
    assert replay.log().count("refuses the handshake") == 1
    assert not guarded.lines("ended before any message")  # that is another thing


def test_revoked_key(postgres, guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "revoked-1")
    assert sensor.replay(capture(tmp_path / "a.pcap", 100)).returncode == 0
    postgres.command("sensor", "revoke", "revoked-1")
    guarded.begin()
    replay = sensor.start_replay(capture(tmp_path / "b.pcap", 100))
    try:
        replay.wait_log("refuses the handshake: its owner has revoked this sensor's key.*adds this machine anew")
        hirundo.wait_for(lambda: [row for row in attempts(postgres, sensor.public_key) if row[0] >= 2], "two attempts")
        guarded.check()
    finally:
        replay.kill()
    assert len(guarded.lines("sensor revoked-1 from 127.0.0.1 refused: its key is revoked.*add it anew")) == 1
    assert replay.log().count("refuses the handshake") == 1
    assert "revoked key of revoked-1" in postgres.command("sensor", "list", "--unknown").stdout


def revoke(postgres, guarded, name):
    with guarded.collector.hears_of_a_key():
        postgres.command("sensor", "revoke", name)


def expect_unknown(guarded, machine):
    """A sensor with a key that nobody knows is refused, hears so, and gets nothing in."""
    guarded.begin()
    replay = hirundo.Server([hirundo.program("hirundo-sensor"), "replay", "-c", str(machine / "sensor.conf"),
                             capture(machine / "unknown.pcap", 100)]).start()
    try:
        replay.wait_log("refuses the handshake: it does not know this sensor's key .ask its owner")
        guarded.check()
    finally:
        replay.kill()


def test_key_revoked_in_an_open_connection(postgres, guarded, enrolled):
    name, pair = enrolled()
    with Peer(guarded.collector, pair) as peer:
        peer.deliver(1)
        revoke(postgres, guarded, name)
        guarded.begin()
        peer.send_message("batch", 2)
        peer.wait_cut()
        guarded.check()
        guarded.collector.wait_log("connection of 127.0.0.1 cut: its key was revoked meanwhile")
        assert not [r for r in iter(lambda: peer.receive(0), None) if r.committed_through > 1]


def test_key_revoked_in_an_open_connection_of_a_sensor(postgres, guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "midway-1")
    with Fed(sensor) as fed:
        fed.feed()
        fed.wait_delivered()
        revoke(postgres, guarded, "midway-1")
        guarded.begin()
        fed.feed()
        fed.replay.wait_log("refuses the handshake: its owner has revoked this sensor's key.*adds this machine anew")
        guarded.collector.wait_log("connection of 127.0.0.1 cut: its key was revoked meanwhile")
        guarded.collector.wait_log("sensor midway-1 from 127.0.0.1 refused: its key is revoked.*add it anew")
        guarded.check()
        assert fed.replay.log().count("refuses the handshake") == 1


def test_wrong_server_key(guarded, tmp_path):
    other = Replayer.run("keygen", str(tmp_path / "other.key")).stdout.strip()
    sensor = Replayer(guarded.collector, tmp_path, "misled-1", server_key=other)
    guarded.begin()
    done = sensor.replay(capture(tmp_path / "a.pcap", 100), options=["--timeout", "4"])
    guarded.check()
    assert done.returncode == 1 and done.stderr.count("server_key is not its key") == 1
    lines = guarded.lines(f"connection from {FROM_HERE} ended before any message: .*server_key is not this collector's")
    assert 1 <= len(lines) <= 2  # once for each name it goes by


def test_key_of_a_bundle_that_expired_unused(postgres, guarded, tmp_path):
    """Somebody has taken a bundle that holds its sensor's key, and uses the key without a look at the date."""
    office = Office(postgres, tmp_path)
    for name in ("stolen-1", "used-1"):
        office.add(name, "--with-key", "--endpoint", guarded.collector.endpoint)
    keys = {name: [re.search(rf"^{word} = (\S+)$", (tmp_path / f"{name}.bundle").read_text(), re.MULTILINE).group(1)
                   for word in ("public", "secret")] for name in ("stolen-1", "used-1")}
    with Peer(guarded.collector, keys["used-1"]) as peer:
        peer.deliver(1)
    hirundo.wait_for(lambda: postgres.value("select first_used_at from hirundo.sensor_key join hirundo.sensor using (sensor_id) "
                                            "where name = 'used-1'"), "the first use to be noted")
    postgres.query("update hirundo.bundle set issued_at = issued_at - interval '9 days', expires_at = now() - interval '2 days'")
    postgres.query("notify hirundo_keys")
    guarded.collector.wait_log(r"\d+ keys are enrolled")
    guarded.begin()
    with Peer(guarded.collector, keys["stolen-1"]) as thief:
        thief.send_message("batch", 1)
        guarded.collector.wait_log("sensor stolen-1 from 127.0.0.1 refused: its key came in a bundle that has expired .*"
                                   "sensor bundle stolen-1 .*sensor revoke stolen-1")
        assert not thief.receive(1)
        guarded.check()
    machine = tmp_path / "machine"  # and one that has the bundle by right, and came too late with it
    machine.mkdir()
    enroll(machine, tmp_path / "stolen-1.bundle")  # it was in time
    expect_unknown(guarded, machine)
    assert len(guarded.lines("sensor stolen-1 .*bundle that has expired")) == 1
    with Peer(guarded.collector, keys["used-1"]) as peer:  # an expired bundle never stops an enrolled sensor
        peer.deliver(1)
    office.command("sensor", "bundle", "stolen-1", "--operator-key", str(office.key), "--endpoint", guarded.collector.endpoint,
                   "--out", "again.bundle")
    postgres.query("notify hirundo_keys")
    with Peer(guarded.collector, keys["stolen-1"]) as late:
        late.deliver(1)


def test_expired_bundle_without_a_key_is_worth_nothing(postgres, guarded, tmp_path):
    """A program that does not look at the date makes a key, and the key is unknown."""
    faketime = "/usr/bin/faketime"
    if os.environ.get("ASAN_OPTIONS") or not os.path.exists(faketime):
        pytest.skip("needs faketime, and no sanitizer, which wants to be loaded first too")
    office = Office(postgres, tmp_path)
    office.add("old-1", "--valid", "1", "--endpoint", guarded.collector.endpoint)
    machine = tmp_path / "machine"
    machine.mkdir()
    bundle = tmp_path / "old-1.bundle"
    done = subprocess.run([faketime, "-f", "+3d", hirundo.program("hirundo-sensor"), "enroll", str(bundle), "-c",
                           str(machine / "sensor.conf"), "--interface", "lo"], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 1 and len([line for line in done.stderr.splitlines() if "sensor bundle old-1" in line]) == 1
    enroll(machine, bundle)  # as if it had not looked
    expect_unknown(guarded, machine)
    assert guarded.lines("refused: nobody enrolled it")


def test_bundle_with_any_byte_changed(postgres, guarded, tmp_path):
    """Each byte, unless the whole would take too long: then a third, another one each time the file is another."""
    office = Office(postgres, tmp_path)
    office.add("flipped-1", "--endpoint", guarded.collector.endpoint)
    good = (tmp_path / "flipped-1.bundle").read_bytes()
    bad = tmp_path / "bad.bundle"
    machine = tmp_path / "machine"
    machine.mkdir()
    guarded.begin()
    step = 1 if "HIRUNDO_HOSTILE" in os.environ else 7
    for position in range(good[-9] % step, len(good), step):
        changed = bytearray(good)
        changed[position] ^= 1 << position % 8
        bad.write_bytes(changed)
        done = enroll(machine, bad, check=False)
        assert done.returncode == 1 and done.stdout == "", (position, done.stderr)
        assert len(done.stderr.splitlines()) == 1 and "bundle" in done.stderr, (position, done.stderr)
    assert sorted(path.name for path in machine.iterdir()) == []
    guarded.check()


# ---- an enrolled key in bad hands

def test_another_sensors_name(postgres, guarded, enrolled):
    """Nothing but the key says who speaks: neither spool, routing id nor metadata of another one."""
    victim_name, victim_pair = enrolled()
    name, pair = enrolled()
    rows = "select count(*), coalesce(sum(packets), 0) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s"
    ledger = ("select spool_id::text, next_seq from hirundo.ledger join hirundo.sensor using (sensor_id) where name = %s")
    with Peer(guarded.collector, victim_pair) as victim:
        victim.deliver(1)
        before = postgres.query(rows, victim_name), postgres.query(ledger, victim_name)
        pretence = [(zmq.ROUTING_ID, victim_name.encode()), (METADATA, f"X-Hirundo-Key:{victim_pair[0]}".encode())]
        with Peer(guarded.collector, pair, options=pretence) as peer:
            peer.deliver(1, seed=9)
            peer.deliver(2, seed=10)
        with Peer(guarded.collector, pair, spool=victim.spool) as peer:
            for seq in 2, 3, 9:  # a spool of another's: told is no more than the number that came
                peer.send_message("batch", seq, seed=9 + seq)
                nack = peer.wait_reply("nack")
                assert (nack.reason, nack.expected_seq, nack.committed_through) == ("fork", 2, 0)
        assert guarded.lines(f"alarm fork: sensor {name} .* from a spool of another sensor")
        assert (postgres.query(rows, victim_name), postgres.query(ledger, victim_name)) == before
        assert postgres.query(rows, name)[0][0] > 0  # what it sends is its own
        victim.deliver(2)
    guarded.deliver()


RULES = {
    "third frame": (lambda batch: [*batch, b"more"], "a message is two frames"),
    "one frame": (lambda batch: batch[:1], "a message is two frames"),
    "empty header": (lambda batch: [b"", batch[1]], "unknown kind"),
    "long header": (lambda batch: [batch[0] + bytes(600), batch[1]], "a frame is too large"),
    "header of noise": (lambda batch: [os.urandom(100), batch[1]], ""),
    "a reply": (lambda batch: [b"\x08\x10" + batch[0][2:], batch[1]], "only collectors send"),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_that_is_broken(guarded, enrolled, rule):
    change, why = RULES[rule]
    name, pair = enrolled()
    guarded.begin()
    for _ in range(3):
        with Peer(guarded.collector, pair) as peer:
            peer.send(*change(message("batch", 1, peer.spool)))
            peer.wait_cut()
    guarded.check()
    lines = guarded.lines(f"connection of {name} cut: .*{why}.*sensor revoke {name}")
    assert len(lines) == 1, guarded.collector.log()  # once for three
    assert len(guarded.lines(f"connection of {name} cut")) == 1


def send_beyond_the_limit(peer):
    peer.send(message("batch", 2, peer.spool)[0], bytes(2 << 20))
    peer.wait_cut()


def test_frame_beyond_the_limit(guarded, enrolled):
    """libzmq closes such a connection by itself, and does not say why; who it was is known all the same."""
    name, pair = enrolled()
    with Peer(guarded.collector, pair) as peer:
        peer.deliver(1)
        guarded.begin()
        send_beyond_the_limit(peer)
        guarded.collector.wait_log(rf"connection of {name} \(127.0.0.1\) cut: a frame beyond 1 MiB.*sensor revoke {name}")
        guarded.check()
    guarded.begin()
    for _ in range(3):
        with Peer(guarded.collector, pair) as peer:
            send_beyond_the_limit(peer)
    guarded.check()
    assert len(guarded.lines(f"connection of {name}")) == 1  # once for four


def test_frame_beyond_the_limit_before_any_message(guarded, enrolled):
    """That there is a connection the collector hears a moment later, which may be too late: then of the next."""
    name, pair = enrolled()
    guarded.begin()
    for _ in range(20):
        with Peer(guarded.collector, pair) as peer:
            send_beyond_the_limit(peer)
        with contextlib.suppress(AssertionError):
            guarded.collector.wait_log(rf"connection of {name} \(127.0.0.1\) cut: a frame beyond 1 MiB.*sensor revoke {name}", timeout=1)
            break
    guarded.check()
    assert len(guarded.lines(f"connection of {name}")) == 1
    assert not guarded.lines("connection from 127.0.0.1 ended")


def test_connection_that_its_sensor_ends(guarded, enrolled):
    """Neither with messages nor without is it worth a line."""
    _, pair = enrolled()
    lines = len(guarded.lines(""))
    with Peer(guarded.collector, pair) as peer:
        peer.deliver(1)
    with Peer(guarded.collector, pair) as peer:
        peer.wait_connected()
    hirundo.wait_for(lambda: len(guarded.lines("connects from")) >= 3, "both to be let in")
    guarded.deliver()
    assert not [line for line in guarded.lines("")[lines:] if re.search("^warning|from 127.0.0.1 ended", line)], guarded.collector.log()


def test_sensor_that_connects_again_and_again(guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "restless-1")
    pair = [re.search(rf"^{word} = (\S+)$", (tmp_path / "sensor.key").read_text(), re.MULTILINE).group(1) for word in ("public", "secret")]
    hirundo.wait_for(lambda: guarded.lines("keys are enrolled"), "the key to be let in")
    guarded.begin()
    for _ in range(60):
        with Peer(guarded.collector, pair) as peer:
            peer.wait_connected()
    replay = sensor.start_replay(capture(tmp_path / "a.pcap", 100))
    try:
        replay.wait_log("does not let this sensor in for now: .*ask the collector's owner")
        guarded.collector.wait_log("sensor restless-1 connected 61 times within a minute.*not let in until.*sensor revoke restless-1")
        guarded.check()
    finally:
        replay.kill()
    assert len(guarded.lines("sensor restless-1 connected")) == 1
    assert len(guarded.lines("sensor restless-1 connects from")) == 5


def test_poison_is_put_aside_and_both_sides_say_so(postgres, guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "poison-1")
    data = ("flow", "flood", "sensor_address", "tcp_options", "loss")
    before = snapshot(postgres, data)
    done = sensor.replay(capture(tmp_path / "old.pcap", 500, first=900000000, span_s=7200))  # 1998: before accept_from
    assert done.returncode == 0
    assert snapshot(postgres, data) == before
    assert done.stderr.count("aside") == 1 and re.search("put batch 1 aside .*accept_from.*quarantine list", done.stderr), done.stderr
    assert len(guarded.lines("sensor poison-1 .* goes to quarantine: .*quarantine list --sensor poison-1")) == 1
    guarded.deliver()


def test_poison_of_a_client_that_goes_on(postgres, guarded, enrolled):
    name, pair = enrolled()
    data = ("flow", "flood", "sensor_address", "tcp_options", "loss")
    with Peer(guarded.collector, pair) as peer:
        before = snapshot(postgres, data)
        for seq in range(1, 21):
            peer.send_message("poison", seq)
        peer.wait_ack(20)
        assert snapshot(postgres, data) == before
    assert postgres.value("select count(*) from hirundo.quarantine join hirundo.sensor using (sensor_id) where name = %s", name) == 20
    assert len(guarded.lines(f"sensor {name} .* goes to quarantine")) == 1
    guarded.deliver()


# ---- the network in bad hands

def test_message_that_is_sent_twice(guarded, enrolled):
    """The same number with the same content is acknowledged and is no second row."""
    _, pair = enrolled()
    with Peer(guarded.collector, pair) as peer:
        batch = message("batch", 1, peer.spool)
        peer.send(*batch)
        peer.wait_ack(1)
        guarded.begin()
        for _ in range(5):
            peer.send(*batch)
            peer.wait_ack(1)
        guarded.check()


def test_recorded_connection_is_replayed(guarded, enrolled):
    _, pair = enrolled()
    with Tap(guarded.collector) as tap:
        with Peer(tap, pair) as peer:
            peer.deliver(1)
        recorded = tap.sent()
        assert len(recorded) > 500
        guarded.begin()
        tap.replay(recorded)
        tap.replay(recorded)
        guarded.check()
    guarded.collector.wait_log(f"connection from {FROM_HERE} ended before any message")
    assert 1 <= len(guarded.lines("ended before any message")) <= 2


BROKEN = "a frame beyond 1 MiB, or bytes that were changed on their way"


def test_bytes_are_put_into_a_sensors_connection(guarded, tmp_path):
    sensor = Replayer(guarded.collector, tmp_path, "tapped-1")
    with Tap(guarded.collector) as tap:
        sensor.conf.write_text(sensor.conf.read_text().replace(guarded.collector.endpoint, tap.endpoint))
        with Fed(sensor) as fed:
            fed.feed()
            fed.wait_delivered()
            guarded.begin()
            tap.inject(b"\x00\x40" + os.urandom(64))  # a frame, as far as ZMTP goes
            guarded.collector.wait_log(rf"connection of tapped-1 \(127.0.0.1\) cut: {BROKEN}")
            fed.replay.wait_log("connection to collector .* broke; the spool keeps everything, trying on")
            guarded.check()
            assert len(guarded.lines("connection of tapped-1")) == 1 and fed.replay.log().count(" broke; ") == 1


def test_recorded_message_is_sent_again_in_its_connection(guarded, enrolled):
    name, pair = enrolled()
    with Tap(guarded.collector) as tap, Peer(tap, pair) as peer:
        peer.deliver(1)
        before = len(tap.sent())
        peer.deliver(2)
        guarded.begin()
        tap.inject(tap.sent()[before:])  # both frames of the batch, as they were
        assert tap.closed.wait(hirundo.WAIT_S)
        guarded.collector.wait_log(rf"connection of {name} \(127.0.0.1\) cut: {BROKEN}")
        guarded.check()


# ---- many of them

def test_many_connections(postgres, guarded, tmp_path):
    """Silent, rubbish, slow, other mechanisms, unknown keys; RSS and descriptors are bounded, and there are few lines.

    After 128 without a message (a sensor is there, too) the kernel lets few of them through."""
    alone, lines = guarded.collector.descriptors(), len(guarded.collector.lines)
    guarded.begin()
    with Strangers(postgres, guarded.collector, EACH, tmp_path, kinds=range(6)) as strangers:
        hirundo.wait_for(lambda: strangers.cut >= 32, "them to be cut")
        guarded.collector.wait_log("more than 128 connections without a message from 127.0.0.1.*one in 16")
        guarded.check()
        assert guarded.collector.descriptors() <= alone + 8 * EACH + 80
    hirundo.wait_for(lambda: guarded.collector.descriptors() <= alone + 4, "the connections to be closed")
    if not os.environ.get("ASAN_OPTIONS"):  # the sanitizer's own memory is more
        assert guarded.collector.proc_status("VmHWM") < 64 * 1024
    assert len(guarded.collector.lines) - lines <= 25, guarded.collector.log()
    assert guarded.lines("ended before any message") and guarded.lines("nobody enrolled it")
    assert postgres.value("select count(*) <= 256 from hirundo.unknown_key")


@pytest.mark.parametrize("limit", ("on", "off"))
def test_limit_of_connections(postgres, limit):
    """Off, for a proxy in front: everybody comes from its address, and everybody comes in."""
    with hirundo.Collector(postgres, lines=[f"limit_connections = {limit}"]) as collector:
        before, (host, _, port) = collector.descriptors(), collector.endpoint.removeprefix("tcp://").rpartition(":")
        with contextlib.ExitStack() as sockets:
            for _ in range(17 if limit == "on" else 200):
                sockets.enter_context(socket.create_connection((host, int(port)), timeout=hirundo.WAIT_S))
            if limit == "on":
                collector.wait_log("more than 16 connections without a message from 127.0.0.1")
            else:
                hirundo.wait_for(lambda: collector.descriptors() >= before + 200, "all to be taken")
        collector.wait_log(f"connection from {FROM_HERE} ended before any message")
        assert ("without a message from" in collector.log()) == (limit == "on")


def test_more_connections_than_descriptors(postgres, tmp_path):
    """Who is connected stays; who comes later gets in when the crowd has gone."""
    keys = hirundo.Keys(postgres, 2, prefix="crowded")
    collector = hirundo.Collector(postgres)
    collector.command = ["prlimit", "--nofile=160:160", *collector.command]
    with collector, Peer(collector, keys.pairs[0]) as good:
        good.deliver(1)
        before = snapshot(postgres)
        with Strangers(postgres, collector, 100, tmp_path, kinds=(0, 3)):
            hirundo.wait_for(lambda: collector.descriptors() >= 155, "no descriptor to be left")
            assert snapshot(postgres) == before
            good.deliver(2)
            assert collector.descriptors() <= 160
        with Peer(collector, keys.pairs[1]) as late:
            late.deliver(1)
        good.deliver(3)
        assert collector.process.poll() is None
        collector.signal(signal.SIGTERM)
        assert collector.process.wait(hirundo.WAIT_S) == 0
