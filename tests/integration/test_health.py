"""What sensors report of themselves, from the sensor to sensor_status and to `status`."""
import contextlib
import glob
import os
import random
import re
import signal
import struct
import subprocess
import time

import pytest

import hirundo
from peer import Peer, heartbeat, zigzag
from test_delivery import frame
from test_live import Inside, Live, Veth, root_with_namespaces, setns_by_ctypes

# A sanitizer, too, wants to be loaded before everything else.
LIBFAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), None) if "asan" not in str(
    hirundo.build_directory()) else None


def status(postgres, name):
    """The sensor's row of sensor_status as a dict."""
    with postgres.connect() as conn, conn.cursor() as cursor:
        cursor.execute("select * from hirundo.sensor_status where sensor = %s", (name,))
        return dict(zip([c.name for c in cursor.description], cursor.fetchone()))


def stored(postgres, name):
    return postgres.query("select version, spool_batches, spool_age_s, clock_offset_ms, problem, peer, spool_failing from "
                          "hirundo.heartbeat join hirundo.sensor using (sensor_id) where name = %s", name)


# ---- heartbeats of a played sensor

def test_heartbeat_is_stored_and_the_newest_counts(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.wait_connected()
        peer.send(*heartbeat(peer.spool, f1="0.0.9", f5=3, f8=70, f9=zigzag(40)))
        hirundo.wait_for(lambda: stored(postgres, name), "the heartbeat")
        peer.send(*heartbeat(peer.spool, f1="0.1.0", f5=12, f8=90, f9=zigzag(-40), f12=1, f14="no room"))
        hirundo.wait_for(lambda: stored(postgres, name)[0][1] == 12, "the second heartbeat")
        assert stored(postgres, name) == [("0.1.0", 12, 90, -40, "no room", "127.0.0.1", True)]
        hour = postgres.query("select sum(heartbeats), max(spool_batches), min(clock_offset_min_ms), max(clock_offset_max_ms) from "
                              "hirundo.heartbeat_hour join hirundo.sensor using (sensor_id) where name = %s", name)
        assert hour == [(2, 12, -40, 40)]
        now = status(postgres, name)
        assert (now["spool_batches"], now["spool_age"].total_seconds(), now["clock_offset_ms"]) == (12, 90, -40)


def test_what_a_hostile_sensor_says_breaks_nothing(postgres, collector, enrolled):
    name, pair = enrolled()
    most = (1 << 64) - 1
    with Peer(collector, pair) as peer:
        peer.wait_connected()
        for payload in (b"", b"\xff" * 40, b"\x0a\xff\xff\xff\x0f", os.urandom(500)):
            peer.send(*heartbeat(peer.spool, payload))
        header, payload = heartbeat(peer.spool, f1="0.1.0")
        peer.send(header, payload + b"x")  # not what the digest says
        peer.send(*heartbeat(peer.spool, f1="x\"{},\\N'; drop", f2=most, f3=most, f4=most, f5=most, f6=most, f7=most, f8=most,
                             f9=most, f10=most, f11=most, f12=1, f13=most, f14='"\\\n\x1b[2J{NULL}"'))
        hirundo.wait_for(lambda: (s := stored(postgres, name)) and s[0][0], "the heartbeat")
        assert stored(postgres, name)[0][0] == "x'{},/N'; drop"
        assert stored(postgres, name)[0][4] == "'/??[2J{NULL}'"
        assert status(postgres, name)["state"] in ("late", "losing")
        assert "drop" in postgres.command("status").stdout
        peer.deliver(1)


@pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed (Debian: faketime), or a sanitizer is in")
@pytest.mark.parametrize("days", [400, -400])
def test_collector_whose_clock_was_wrong_hides_nothing(postgres, days):
    keys = hirundo.Keys(postgres, 1, prefix=f"wrong{abs(days) if days < 0 else 0}")
    wrong = hirundo.Collector(postgres)
    wrong.env = dict(os.environ, LD_PRELOAD=LIBFAKETIME, FAKETIME=f"{days:+d}d", **hirundo.REAL_MONOTONIC)
    with wrong, Peer(wrong, keys.pairs[0]) as peer:
        peer.wait_connected()
        peer.send(*heartbeat(peer.spool, f1="0.0.9"))
        hirundo.wait_for(lambda: stored(postgres, keys.names[0]), "the heartbeat")
        assert postgres.value("select max(abs(extract(epoch from now() - received_at))) < 600 from hirundo.heartbeat join "
                              "hirundo.sensor using (sensor_id) where name = %s", keys.names[0])
        assert status(postgres, keys.names[0])["state"] == "online"
        peer.send_message("poison", 1, flows=100)
        peer.wait_ack(1)
        assert postgres.value("select max(abs(extract(epoch from now() - received_at))) < 3700 from hirundo.quarantine join "
                              "hirundo.sensor using (sensor_id) where name = %s", keys.names[0])
        assert postgres.value("select max(abs(extract(epoch from now() - committed_at))) < 600 from hirundo.batch join "
                              "hirundo.sensor using (sensor_id) where name = %s", keys.names[0])
    # one that an older collector left
    postgres.query("update hirundo.heartbeat set received_at = now() + interval '400 days'")
    with hirundo.Collector(postgres) as right, Peer(right, keys.pairs[0]) as peer:
        peer.wait_connected()
        peer.send(*heartbeat(peer.spool, f1="0.1.0"))
        hirundo.wait_for(lambda: stored(postgres, keys.names[0])[0][0] == "0.1.0", "the second heartbeat")


@pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed (Debian: faketime), or a sanitizer is in")
def test_collector_whose_clock_is_not_the_databases_says_so(postgres):
    wrong = hirundo.Collector(postgres)
    wrong.env = dict(os.environ, LD_PRELOAD=LIBFAKETIME, FAKETIME="-2d", **hirundo.REAL_MONOTONIC)
    with wrong:
        said = wrong.wait_log(r"this collector's clock is (\S+) s behind PostgreSQL's, and too few sensors")
        assert abs(float(said.group(1)) - 2 * 86400) < 60
        assert sum("behind PostgreSQL's" in line for line in wrong.lines) == 1


def test_collector_from_which_most_sensors_differ_says_so(postgres):
    keys = hirundo.Keys(postgres, 3, prefix="clocks")
    with hirundo.Collector(postgres) as collector, contextlib.ExitStack() as stack:
        for pair in keys.pairs:
            peer = stack.enter_context(Peer(collector, pair))
            peer.wait_connected()
            peer.send(*heartbeat(peer.spool, f1="0.1.0", f9=zigzag(3 * 86400 * 1000)))
        collector.wait_log("this collector's own clock is wrong, it seems: it is 259200.0 s ahead of those of 3 of 3 sensors")


def test_heartbeats_wait_while_the_database_is_away(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.wait_connected()
        postgres.stop("immediate")
        peer.send(*heartbeat(peer.spool, f1="0.1.0", f5=5))
        collector.wait_log("health of sensors cannot be written or read")
        postgres.start()
        hirundo.wait_for(lambda: stored(postgres, name), "the heartbeat")
        assert stored(postgres, name)[0][1] == 5


def test_two_collectors_keep_the_newest(postgres, collector, enrolled):
    name, pair = enrolled()
    with hirundo.Collector(postgres) as other, Peer(collector, pair) as here, Peer(other, pair, spool=here.spool) as there:
        here.wait_connected()
        there.wait_connected()
        here.send(*heartbeat(here.spool, f5=1))
        hirundo.wait_for(lambda: stored(postgres, name), "the first")
        there.send(*heartbeat(here.spool, f5=2))
        hirundo.wait_for(lambda: stored(postgres, name)[0][1] == 2, "the second")


# ---- real sensors

@pytest.fixture(name="veth")
def fixture_veth():
    if not root_with_namespaces():
        pytest.skip("needs root and network namespaces")
    if not hasattr(os, "setns"):
        setns_by_ctypes()
    with Veth() as veth:
        yield veth


@pytest.fixture(name="inside")
def fixture_inside(postgres, veth):
    with Inside(postgres, veth) as collector:
        yield collector


@pytest.fixture(name="live")
def fixture_live(veth, inside, tmp_path, request):
    sensor = Live(veth, inside, tmp_path, "health-" + re.sub("[^a-z0-9]+", "-", request.node.name.lower())[5:40].rstrip("-"))
    yield sensor
    if sensor.server and sensor.server.process.poll() is None:
        sensor.server.kill()


def wait_state(postgres, name, state):
    hirundo.wait_for(lambda: status(postgres, name)["state"] == state, f"{name} to be {state}")
    return status(postgres, name)["reason"]


@pytest.fixture(name="setting")
def fixture_setting(postgres):
    """A function that changes a setting for this test."""
    before = {}

    def change(name, value):
        before.setdefault(name, postgres.value("select value from hirundo.setting where name = %s", name))
        postgres.query("update hirundo.setting set value = %s where name = %s", value, name)
    yield change
    for name, value in before.items():
        postgres.query("update hirundo.setting set value = %s where name = %s", value, name)


def test_running_sensor_is_online_and_stopped_it_is_late_then_silent(postgres, veth, live, setting):
    live.start().wait_connected()
    veth.send(200)
    live.wait_frames(200)
    assert wait_state(postgres, live.name, "online").startswith("its batches arrive")
    hirundo.wait_for(lambda: stored(postgres, live.name), "a heartbeat")
    version, batches, age, offset, problem, peer, failing = stored(postgres, live.name)[0]
    assert version == hirundo.TOP.joinpath("meson.build").read_text().split("version: '")[1].split("'")[0]
    assert batches < 5 and age < 60 and abs(offset) < 1000 and problem == "" and peer == "127.0.0.1" and not failing
    rss, cap = postgres.query("select rss_kib, spool_cap_bytes from hirundo.heartbeat join hirundo.sensor using (sensor_id) "
                              "where name = %s", live.name)[0]
    assert 1000 < rss < 100000 and cap == 256 << 20
    said = subprocess.run([hirundo.program("hirundo-sensor"), "status", "-c", str(live.conf)], text=True, capture_output=True,
                          check=True).stdout
    assert re.search(r"^clock_offset +-?\d{1,3} ms .*, round trip \d+ ms$", said, re.M) and f"peer            {live.collector.endpoint}" in said
    assert live.server.stop() == 0
    setting("late_after", "1 second")
    assert "no batch and no heartbeat for" in wait_state(postgres, live.name, "late")
    setting("silent_after", "2 seconds")
    assert "nothing since" in wait_state(postgres, live.name, "silent")
    said = postgres.command("status").stdout
    assert re.search(rf"^{live.name} +JP +silent .*nothing since", said, re.M), said
    assert re.search(r"^sensors: \d+ enrolled: .*\b\d+ silent", said, re.M), said


@pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed (Debian: faketime), or a sanitizer is in")
@pytest.mark.parametrize("shift,words", [("-3600", "3600.* s behind"), ("+90", "(89|90).* s ahead of")])
def test_clock_that_is_off_shows(postgres, veth, live, shift, words):
    live.server = hirundo.Server(veth.inside("env", f"LD_PRELOAD={LIBFAKETIME}", f"FAKETIME={shift}",
                                             *(f"{name}={value}" for name, value in hirundo.REAL_MONOTONIC.items()),
                                             hirundo.program("hirundo-sensor"), "run", "-c", str(live.conf))).start()
    live.server.wait_log("connected to collector")
    veth.send(100)
    live.wait_frames(100)
    assert re.search(rf"its clock is {words} the collector", wait_state(postgres, live.name, "clock off"))
    assert live.server.stop() == 0


RELAY = """
import asyncio, sys
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    far = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(copy(reader, far[1]), copy(far[0], writer), return_exceptions=True)
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        print("listening", file=sys.stderr, flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.skipif(not LIBFAKETIME, reason="libfaketime is not installed (Debian: faketime), or a sanitizer is in")
def test_returns_to_the_first_collector_after_a_quarter_of_an_hour(veth, live, tmp_path):
    """The first of the list cannot be reached at first. All clocks of the sensor leap by sixteen minutes, with it at work."""
    first, second = hirundo.free_port(), live.collector.endpoint.rsplit(":", 1)[1]
    live.conf.write_text(live.conf.read_text().replace("endpoint = ", f"endpoint = tcp://127.0.0.1:{first} "))
    leap = tmp_path / "leap"
    leap.write_text("+0\n")
    live.server = hirundo.Server(veth.inside("env", f"LD_PRELOAD={LIBFAKETIME}", f"FAKETIME_TIMESTAMP_FILE={leap}", "FAKETIME_NO_CACHE=1",
                                             hirundo.program("hirundo-sensor"), "run", "-c", str(live.conf))).start()
    live.server.wait_log(f"connected to collector tcp://127.0.0.1:{second}")
    relay = hirundo.Server(veth.inside("/usr/bin/python3", "-c", RELAY, str(first), second)).start()
    try:
        relay.wait_log("listening")
        veth.send(100)
        live.wait_frames(100)
        assert f"connected to collector tcp://127.0.0.1:{first}" not in live.server.log()
        leap.write_text("+960\n")
        live.server.wait_log(f"connected to collector tcp://127.0.0.1:{first}")
        assert "cannot be reached" in live.server.log() and "broke" not in live.server.log()
        veth.send(100, first=100)
        live.wait_frames(200)
        assert live.server.stop() == 0
        assert live.value("select count(*) from hirundo.loss") == 0
    finally:
        relay.stop()


def noisy(_, source=random.Random(1)):
    """A frame like no other: they do not compress."""
    return frame(source.randrange(1 << 17), source.randrange(1 << 16), source.randrange(40, 60))


def noise(path, packets, first):
    """A capture of an hour."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i in range(packets):
            data = noisy(i)
            f.write(struct.pack("<IIII", first + 3600 * i // packets, i * 7919 % 1000000, len(data), len(data)) + data)
    return str(path)


def test_full_spool_is_losing(postgres, veth, inside, live, tmp_path):
    live.conf.write_text(live.conf.read_text().replace("[spool]\n", "[spool]\ncap = 2M\n"))
    inside.stop()
    full = noise(tmp_path / "a.pcap", 300000, int(time.time()) - 7200)
    done = hirundo.Server([hirundo.program("hirundo-sensor"), "replay", "-c", str(live.conf), "--timeout", "4", full]).start()
    assert done.process.wait(60) == 1, done.log()  # it waits for room
    live.start()

    def dropped():  # what is left of the cap takes a few small batches
        veth.send(2000, make=noisy)
        return "batches dropped and declared as lost" in live.server.log()
    hirundo.wait_for(dropped, "the spool to be full", 60)
    inside.start()
    reason = wait_state(postgres, live.name, "losing")
    assert re.search(r"^\d+ batches \(\d+ frames\) declared lost in the last 60 min: ", reason), reason
    hirundo.wait_for(lambda: stored(postgres, live.name), "a heartbeat")
    dropped = postgres.value("select spool_dropped from hirundo.heartbeat join hirundo.sensor using (sensor_id) where name = %s",
                             live.name)
    assert dropped > 0
    assert live.server.stop() == 0


def test_disk_full_under_the_spool_is_losing_at_once_and_over_when_there_is_room(postgres, veth, live, tmp_path):
    disk = tmp_path / "spool"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=True)
    try:
        live.start().wait_connected()
        veth.send(200)
        live.wait_frames(200)
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False, capture_output=True)
        veth.send(30000, first=200)
        reason = wait_state(postgres, live.name, "losing")
        assert reason.startswith("its spool cannot be written") and "No space left on device" in reason, reason
        filler.unlink()
        assert "its batches arrive" in wait_state(postgres, live.name, "online")
        assert live.server.stop() == 0
    finally:
        live.server.signal(signal.SIGKILL)
        subprocess.run(["umount", "-l", str(disk)], check=False)
