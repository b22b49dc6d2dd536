"""/metrics: read with Prometheus' own parsers, and no hazard to what the collector is for."""
import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import threading

import pytest

from hirundo import TOP, WAIT_S, Collector, wait_for
from peer import Peer, heartbeat, zigzag

parser = pytest.importorskip("prometheus_client.parser", reason="python3-prometheus-client is not installed")
PROMTOOL = shutil.which("promtool")


def address(collector):
    found = collector.wait_log(r"metrics at http://(127\.0\.0\.1):(\d+)/metrics")
    return found.group(1), int(found.group(2))


def request(collector, method="GET", path="/metrics", body=None, timeout=30):
    connection = http.client.HTTPConnection(*address(collector), timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def families(text):
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} twice"
        assert family.documentation and family.type != "unknown", family.name
        found[family.name] = family
    return found


def samples(collector):
    """{name: {labels: value}} of all there is."""
    status, headers, text = request(collector)
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in families(text).values():
        for s in family.samples:
            labels = tuple(sorted(s.labels.items()))
            assert labels not in found.setdefault(s.name, {}), f"{s.name}{labels} twice"
            found[s.name][labels] = s.value
    return found


def value(collector, name, **labels):
    return samples(collector).get(name, {}).get(tuple(sorted(labels.items())))


def test_collector_and_sensor_are_told(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1, flows=50)
        peer.deliver(1, flows=50)
        peer.send_message("loss", 2)
        peer.wait_ack(2)
        peer.send_message("poison", 3)
        peer.wait_ack(3)
        peer.send_message("batch", 9)
        peer.wait_reply("nack")
        peer.send(*heartbeat(peer.spool, f1='0.1"\\0', f2=100, f3=9000, f5=12, f6=2048, f7=4096, f8=90, f9=zigzag(-1500), f10=20, f11=3, f12=1))
        wait_for(lambda: postgres.value("select count(*) from hirundo.heartbeat join hirundo.sensor using (sensor_id) where name = %s",
                                        name), "the heartbeat")
        found = samples(collector)
        for metric, labels, wanted in (
                ("hirundo_received_messages_total", {"kind": "batch"}, 4), ("hirundo_received_messages_total", {"kind": "loss"}, 1),
                ("hirundo_received_messages_total", {"kind": "heartbeat"}, 1), ("hirundo_committed_batches_total", {}, 1),
                ("hirundo_committed_losses_total", {}, 1), ("hirundo_quarantined_messages_total", {}, 1),
                ("hirundo_duplicate_messages_total", {}, 1), ("hirundo_gaps_total", {}, 1), ("hirundo_committed_rows_total", {}, 50),
                ("hirundo_commit_seconds_count", {}, 3), ("hirundo_database_up", {"writer": "1"}, 1),
                ("hirundo_database_up", {"writer": "2"}, 1), ("hirundo_database_connects_total", {}, 2), ("hirundo_forks_total", {}, 0),
                ("hirundo_ingest_paused", {}, 0), ("hirundo_queue_bytes", {}, 0), ("hirundo_queue_limit_bytes", {}, 64 << 20),
                ("hirundo_connections_cut_total", {}, 0)):
            assert found[metric][tuple(sorted(labels.items()))] == wanted, (metric, labels)
        assert found["hirundo_refused_handshakes_total"][()] == 1  # the collector's own test at its start
        assert found["process_resident_memory_bytes"][()] > 1 << 20 and found["process_open_fds"][()] > 10
        wait_for(lambda: value(collector, "hirundo_connections") == 1, "the connection to be counted")
    # what the database has is read every few seconds
    collector.stop()
    with Collector(postgres) as again:
        wait_for(lambda: value(again, "hirundo_sensor_spool_batches", sensor=name) == 12, "the sensor's figures")
        found = samples(again)
        key = (("sensor", name),)
        assert found["hirundo_sensor_clock_offset_seconds"][key] == -1.5
        assert found["hirundo_sensor_spool_limit_bytes"][key] == 4096 and found["hirundo_sensor_spool_failing"][key] == 1
        assert found["hirundo_sensor_spool_dropped_batches_total"][key] == 3
        assert (("country", "JP"), ("sensor", name), ("version", "0.1'/0")) in found["hirundo_sensor_info"]
        assert found["hirundo_sensor_state"][(("sensor", name), ("state", "losing"))] == 1
        assert found["hirundo_quarantine_open"][()] >= 1 and found["hirundo_database_bytes"][()] > 1 << 20
        assert "hirundo_rollup_lag_seconds" in found


def test_revoked_sensors_are_not_told(postgres, collector, enrolled):
    name, _ = enrolled()
    postgres.command("sensor", "revoke", name)
    collector.stop()
    with Collector(postgres) as again:
        wait_for(lambda: "hirundo_sensor_state" in samples(again), "the sensors")
        assert name not in request(again)[2]


def test_names_follow_the_rules(postgres, collector):
    wait_for(lambda: "hirundo_rollup_lag_seconds" in samples(collector), "what the database has")
    _, _, text = request(collector)
    for family in families(text).values():
        assert re.fullmatch(r"(hirundo|process)_[a-z0-9_]+", family.name), family.name
        for s in family.samples:
            if family.type == "counter":
                assert s.name.endswith("_total"), s.name
            elif family.type == "gauge":
                assert not s.name.endswith(("_total", "_count", "_sum", "_bucket")), s.name
            assert not re.search(r"_(ms|kib|milliseconds|minutes)(_|$)", s.name), f"{s.name}: seconds and bytes"
    documented = (TOP / "docs/operations.md").read_text()
    rules = (TOP / "deploy/prometheus/alerts.yml").read_text()
    for alert in re.findall(r"alert: (\w+)", rules):
        assert f"`{alert}`" in documented, f"{alert} is not in docs/operations.md"
    told = set(re.findall(r"^# TYPE (\w+)", text, re.M)) | {"hirundo_commit_seconds_sum", "hirundo_commit_seconds_count"}
    sensors = set(re.findall(r'"(hirundo_sensor_\w+)"', (TOP / "collector/metrics.c").read_text()))
    disks = {"hirundo_disk_free_bytes", "hirundo_disk_min_free_bytes"}
    for metric in re.findall(r"\b((?:hirundo|process)_[a-z_]+)\b", rules):
        assert metric in told | sensors | disks, f"an alert asks for {metric}, which nobody tells"


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing_wrong(collector):
    wait_for(lambda: "hirundo_rollup_lag_seconds" in samples(collector), "what the database has")
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=request(collector)[2], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (["check", "rules", "deploy/prometheus/alerts.yml"], ["test", "rules", "tests/prometheus/alerts_test.yml"]):
        done = subprocess.run([PROMTOOL, *words], cwd=TOP, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_else_is_answered(collector):
    for method, path, wanted in (("POST", "/metrics", 405), ("DELETE", "/metrics", 405), ("HEAD", "/metrics", 405), ("GET", "/", 404),
                                 ("GET", "/metrics/../../etc/passwd", 404), ("PUT", "/x", 405)):
        assert request(collector, method, path, b"x" * 100000 if method in ("POST", "PUT") else None)[0] == wanted, (method, path)
    assert request(collector, "GET", "/metrics?name=x")[0] == 200


def test_idle_and_broken_clients_hold_up_nothing(collector, enrolled):
    _, pair = enrolled()
    many = [socket.create_connection(address(collector)) for _ in range(40)]
    for i, s in enumerate(many):
        try:
            s.sendall([b"", b"GET /metr", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20000, b"\xff" * 1000][i % 4])
        except OSError:
            pass  # refused already: there are more than it serves at a time
    with Peer(collector, pair) as peer:
        peer.deliver(1)
    # each has a deadline: Prometheus gets its turn again while they are still there

    def answered():
        try:
            return request(collector, timeout=2)[0] == 200
        except (OSError, http.client.HTTPException):
            return False
    wait_for(answered, "an answer beside idle clients", 60)
    for s in many:
        s.close()


def test_slow_clients_keep_nobody_out(collector):
    """Connections enough to take all places, each with a byte of a request now and then: never idle, never done."""
    many = [socket.create_connection(address(collector)) for _ in range(20)]
    over = threading.Event()

    def drip():
        for letter in b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
            for client in many:
                with contextlib.suppress(OSError):
                    client.send(bytes([letter]))
            if over.wait(0.2):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        for _ in range(5):
            assert request(collector, timeout=WAIT_S)[0] == 200
    finally:
        over.set()
        thread.join()
        for client in many:
            client.close()


def test_taken_port_is_told_and_costs_no_data(postgres, collector, enrolled):
    _, pair = enrolled()
    port = address(collector)[1]

    class Second(Collector):
        def configure(self):
            super().configure()
            self.conf.write_text(self.conf.read_text().replace("listen = 127.0.0.1:0", f"listen = 127.0.0.1:{port}"))
    with Second(postgres) as second:
        second.wait_log(rf"metrics cannot be served on 127.0.0.1:{port}: .*in use; going on without")
        with Peer(second, pair) as peer:
            peer.deliver(1)


def test_off_and_wrong_addresses(postgres):
    class With(Collector):
        def __init__(self, listen):
            super().__init__(postgres)
            self.listen = listen

        def configure(self):
            super().configure()
            self.conf.write_text(self.conf.read_text().replace("listen = 127.0.0.1:0", f"listen = {self.listen}"))
    with With("off") as quiet:
        assert "metrics" not in quiet.log()
    for wrong in ("localhost:4456", "127.0.0.1", "127.0.0.1:99999", "::1:4456", ":4456", "127.0.0.1:http"):
        one = With(wrong)
        one.configure()
        done = subprocess.run(one.command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 1 and "[metrics] listen" in done.stderr and str(one.conf) in done.stderr, (wrong, done.stderr)
        shutil.rmtree(one.directory)
