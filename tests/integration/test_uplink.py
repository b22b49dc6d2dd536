"""The uplink over a wire that is measured and stalled: bandwidth, failover, return of a connection."""
import pathlib
import shutil
import sys
import time

import pytest

import hirundo
from test_delivery import Replayer
from test_health import noise

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "faults"))
from proxy import Proxy  # noqa: E402


@pytest.fixture(name="proxy")
def fixture_proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


def port(collector):
    return int(collector.endpoint.rsplit(":", 1)[1])


def test_bandwidth_stays_within_the_limit_while_a_backlog_drains_and_heartbeats_pass(postgres, collector, proxy, tmp_path):
    limit_kbit = 800
    sensor = Replayer(collector, tmp_path, "narrow")
    path = noise(tmp_path / "a.pcap", 70000, 1675836000)
    collector.stop()
    first = sensor.start_replay(path, options=["--timeout", "3"])
    assert first.process.wait(60) == 1, first.log()
    waiting = int(sensor.status()["waiting"].split()[2])
    assert waiting > 400000, "a backlog"
    collector.start()
    route = proxy.route(port(collector))
    sensor.conf.write_text(sensor.conf.read_text().replace(collector.endpoint, f"tcp://127.0.0.1:{route.port}") +
                           f"[uplink]\nmax_kbit = {limit_kbit}\n")
    replay = sensor.start_replay(noise(tmp_path / "b.pcap", 10, 1675846000))
    hirundo.wait_for(lambda: route.bytes_up > 0, "the first byte")
    begun = time.monotonic()
    beats = ("select max(spool_batches) from hirundo.heartbeat_hour join hirundo.sensor using (sensor_id) where name = 'narrow'")
    hirundo.wait_for(lambda: postgres.value(beats), "a heartbeat while it drains", 60)
    assert postgres.value(beats) > 0 and replay.process.poll() is None
    assert replay.process.wait(60) == 0, replay.log()
    elapsed = time.monotonic() - begun
    print(f"{route.bytes_up} bytes in {elapsed:.2f} s: {route.bytes_up * 8 / 1000 / elapsed:.0f} kbit/s of {limit_kbit}")
    assert route.bytes_up > waiting
    # a slower machine makes the average smaller: this is no timing
    assert route.bytes_up * 8 <= limit_kbit * 1000 * elapsed
    assert sensor.figures()[:3] == (70010, 70010, 70010)


def test_stalled_collector_is_left_for_the_next_and_nothing_is_doubled(postgres, collector, proxy, tmp_path):
    """Missing pongs, not missing acks: the connection stands, nothing passes."""
    sensor = Replayer(collector, tmp_path, "stalled")
    second = hirundo.Collector(postgres)
    shutil.copy(collector.directory / "collector.key", second.directory)  # collectors of one deployment share it
    with second:
        route = proxy.route(port(collector))
        sensor.conf.write_text(sensor.conf.read_text().replace(
            f"endpoint = {collector.endpoint}", f"endpoint = tcp://127.0.0.1:{route.port} {second.endpoint}") +
            "[uplink]\nmax_kbit = 400\n")  # so that there is something left to send
        replay = sensor.start_replay(noise(tmp_path / "a.pcap", 20000, 1675836000))
        replay.wait_log("connected to collector")
        route.hold(False, True)  # it takes everything, and its answers do not come back
        second.wait_log("sensor stalled connects from", 30 + hirundo.WAIT_S)  # the pong's timeout
        assert replay.process.wait(60) == 0, replay.log()
        assert sensor.status()["peer"] == second.endpoint
    assert sensor.figures() == (20000, 20000, 20000, 0)


def test_cut_connection_is_made_again(collector, proxy, tmp_path):
    sensor = Replayer(collector, tmp_path, "cut")
    route = proxy.route(port(collector))
    sensor.conf.write_text(sensor.conf.read_text().replace(collector.endpoint, f"tcp://127.0.0.1:{route.port}"))
    route.refuse = True
    replay = sensor.start_replay(noise(tmp_path / "a.pcap", 200000, 1675836000), options=["--progress"])
    replay.wait_log("cannot be reached|refuses the handshake")
    route.refuse = False
    for _ in range(3):
        before = route.bytes_up
        hirundo.wait_for(lambda: route.bytes_up > before + 50000 or replay.process.poll() is not None, "data on the way")  # noqa: B023
        route.cut()
    assert replay.process.wait(120) == 0, replay.log()
    assert sensor.figures() == (200000, 200000, 200000, 0)
