"""hirundo-sensor replay against a real collector and database, with accidents on the way."""
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import pytest

import hirundo

FIRST = 1675836000  # 2023-02-08 06:00 UTC
FILE_HEADER, RECORD = 24, 16 + 60  # bytes, of what capture() writes


def frame(source, port, ttl=50, size=60):
    """An Ethernet frame with an IPv4 TCP SYN."""
    total = size - 14
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, source & 0xffff, 0, ttl, 6, 0,
                     struct.pack("!I", 0xc6120000 + source), b"\xc6\x13\x00\x01")
    tcp = struct.pack("!HHIIBBHHH", 1024 + source % 60000, port, source, 0, 0x50, 2, 1024, 0, 0)
    return (b"\x02" * 12 + b"\x08\x00" + ip + tcp).ljust(size, b"\0")


def capture(path, packets, span_s=3600, sources=5000, first=FIRST, rng=None):
    """A capture file of so many packets, evenly spread; with rng they do not compress."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i in range(packets):
            at = first + i * span_s / packets
            data = frame(rng.randrange(1 << 17), rng.randrange(1 << 16), 40 + rng.randrange(20)) if rng else \
                frame(i * 7919 % sources, (22, 23, 445, 5900)[i % 4], 40 + i % 20)
            f.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(data), len(data)) + data)
    return str(path)


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


@pytest.fixture(name="collector")
def fixture_collector(pg):
    with hirundo.Collector(pg) as collector:
        yield collector


class Replayer:
    """An enrolled sensor's directory with its configuration, and hirundo-sensor commands on it."""

    def __init__(self, collector, directory, name, enroll=True, server_key=None):
        self.collector, self.directory, self.name = collector, pathlib.Path(directory), name
        self.conf = self.directory / "sensor.conf"
        self.configure(server_key)
        done = self.run("keygen", "-c", str(self.conf))
        self.public_key = done.stdout.strip()
        if enroll:
            self.enroll()

    def configure(self, server_key=None, extra=""):
        self.conf.write_text(
            f"[sensor]\nkey = {self.directory}/sensor.key\n"
            f"[collector]\nendpoint = {self.collector.endpoint}\n"
            f"server_key = {server_key or self.collector.server_key}\n"
            f"[spool]\npath = {self.directory}/spool/spool.db\n{extra}")

    def enroll(self):
        self.collector.postgres.command("sensor", "add", self.name, "--country", "JP", "--key", self.public_key)

    @staticmethod
    def run(*words, **options):
        return subprocess.run([hirundo.program("hirundo-sensor"), *words], text=True, capture_output=True,
                              check=False, timeout=120, **options)

    def replay(self, *files, options=()):
        return self.run("replay", "-c", str(self.conf), *options, *files)

    def start_replay(self, *files, options=()):
        return hirundo.Server([hirundo.program("hirundo-sensor"), "replay", "-c", str(self.conf), *options,
                               *files]).start()

    def status(self):
        done = self.run("status", "-c", str(self.conf))
        assert done.returncode == 0, done.stderr
        return dict(line.split(None, 1) for line in done.stdout.splitlines())

    def figures(self):
        """frames, row packets and packets in flow, as the database has them."""
        query = ("select coalesce(sum(o.frames), 0), coalesce(sum(o.row_packets), 0), coalesce(sum(o.lost), 0) "
                 "from hirundo.observation o join hirundo.sensor s using (sensor_id) where s.name = %s")
        frames, rows, lost = self.collector.postgres.query(query, self.name)[0]
        packets = self.collector.postgres.value(
            "select coalesce(sum(f.packets), 0) from hirundo.flow f join hirundo.sensor s using (sensor_id) "
            "where s.name = %s", self.name)
        return int(frames), int(rows), int(packets), int(lost)


def summary(path):
    done = Replayer.run("flows", "--summary", path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_replay_delivers_every_frame(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "plain")
    files = [capture(tmp_path / "a.pcap", 30000), capture(tmp_path / "b.pcap", 20000, first=FIRST + 7200)]
    done = sensor.replay(*files, options=["--progress"])
    assert done.returncode == 0, done.stderr
    assert sensor.figures() == (50000, 50000, 50000, 0)
    assert re.search(r"^progress 50000 (\d+) \1$", done.stderr, re.M), done.stderr
    status = sensor.status()
    assert status["waiting"].startswith("0 batches")
    assert status["peer"] == collector.endpoint


def test_same_file_again_is_new_data(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "again")
    path = capture(tmp_path / "a.pcap", 1000)
    for _ in range(2):
        assert sensor.replay(path).returncode == 0
    assert sensor.figures()[0] == 2000


def test_collector_killed_half_way(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "killed")
    path = capture(tmp_path / "a.pcap", 400000, sources=200000)
    replay = sensor.start_replay(path, options=["--progress"])
    replay.wait_log(r"^progress \d+ [1-9]\d* \d+")
    collector.kill()
    replay.wait_log("broke|cannot be reached")
    collector.start()
    assert replay.process.wait(2 * hirundo.WAIT_S) == 0, replay.log()
    assert sensor.figures() == (400000, 400000, 400000, 0)


@contextlib.contextmanager
def half_written(path, pipe):
    """Half of a capture is in the pipe, and the rest does not come. The time of the last frame that is there whole, in ms."""
    def reader_is_there():
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None
    fd = hirundo.wait_for(reader_is_there, "somebody to read the pipe")
    os.set_blocking(fd, True)
    with open(fd, "wb") as f:
        data = pathlib.Path(path).read_bytes()
        f.write(data[:len(data) // 2])
        f.flush()
        record = len(data) // 2 - (len(data) // 2 - FILE_HEADER) % RECORD - RECORD
        seconds, micros = struct.unpack_from("<II", data, record)
        yield seconds * 1000 + micros // 1000


def test_sensor_killed_half_way_loses_nothing_spooled(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "selfkilled")
    path = capture(tmp_path / "a.pcap", 400000, sources=200000)
    pipe = tmp_path / "half.pcap"
    os.mkfifo(pipe)
    replay = sensor.start_replay(pipe)
    with half_written(path, pipe) as last_ms:
        lock = sensor.directory / "spool/spool.db.lock"  # there it is noted how far a replay has read
        hirundo.wait_for(lambda: lock.exists() and lock.read_text().endswith(f" {last_ms}") and int(sensor.status()["acked_through"]) > 5,
                         "half of it to be read", 4 * hirundo.WAIT_S)
        replay.kill()
    more = capture(tmp_path / "b.pcap", 1000, first=FIRST + 86400)
    assert sensor.replay(more).returncode == 0
    status = sensor.status()
    frames, rows, packets, lost = sensor.figures()
    batches = collector.postgres.value(
        "select count(*) from hirundo.batch b join hirundo.sensor s using (sensor_id) where s.name = %s",
        sensor.name)
    assert batches == int(status["next_seq"]) - 1 == int(status["acked_through"])
    assert frames == rows == packets and lost == 0
    assert 1000 < frames <= 401000
    assert_declared_unknown(collector, sensor, "a replay ended before all")


def assert_declared_unknown(collector, sensor, reason):
    """One loss row, of a time within the capture, which begins with the last window that came: it need not be all of it."""
    losses = collector.postgres.query(
        "select l.kind, extract(epoch from l.first_window), extract(epoch from l.last_window), l.reason, (select "
        "extract(epoch from b.last_window) from hirundo.batch b where b.sensor_id = l.sensor_id and b.spool_id = l.spool_id "
        "and b.seq = l.seq - 1) from hirundo.loss l join hirundo.sensor s using (sensor_id) where s.name = %s", sensor.name)
    assert len(losses) == 1, losses
    kind, first, last, said, end = losses[0]
    assert kind == "unknown" and reason in said
    assert FIRST < first == end - 60 < last <= FIRST + 86400


class Still:
    """Whether a value has stood for four seconds: a sanitizer reads slowly. For what nothing tells that it is over."""

    def __init__(self):
        self.value, self.since = None, time.monotonic()

    def stands(self, value):
        if value != self.value:
            self.value, self.since = value, time.monotonic()
        return time.monotonic() - self.since > 4


def test_replay_told_to_end_declares_what_its_full_spool_did_not_take(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "fullspool")
    sensor.configure(extra="cap = 2M\n")
    path = capture(tmp_path / "a.pcap", 400000, span_s=86400, rng=random.Random(4))
    collector.stop()
    replay = sensor.start_replay(path)
    replay.wait_log("cannot be reached")  # its spool is there by then
    used = Still()
    hirundo.wait_for(lambda: used.stands(int(sensor.status()["used"].split()[0])) and used.value > 1700000, "the spool to be full",
                     4 * hirundo.WAIT_S)
    replay.signal(signal.SIGTERM)
    assert replay.process.wait(2 * hirundo.WAIT_S) == 1
    replay.wait_log("the next start with it declares that time as unknown|could not be written to the spool")
    collector.start()
    more = capture(tmp_path / "b.pcap", 1000, first=FIRST + 2 * 86400)
    assert sensor.replay(more).returncode == 0
    frames, rows, packets, lost = sensor.figures()
    assert frames == rows == packets and lost == 0 and 1000 < frames < 401000
    assert_declared_unknown(collector, sensor, "a replay ended before all")


def test_no_collector_times_out_and_keeps_all(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "waits")
    path = capture(tmp_path / "a.pcap", 1000)
    collector.stop()
    done = sensor.replay(path, options=["--timeout", "2"])
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr and "given up" in done.stderr
    assert "wait in the spool" in done.stderr
    assert not sensor.status()["waiting"].startswith("0 batches")
    collector.start()
    more = capture(tmp_path / "b.pcap", 500, first=FIRST + 7200)
    assert sensor.replay(more).returncode == 0
    assert sensor.figures() == (1500, 1500, 1500, 0)


def test_interrupted_says_how_far(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "interrupted")
    path = capture(tmp_path / "a.pcap", 400000, sources=200000)
    collector.stop()
    replay = sensor.start_replay(path, options=["--progress"])
    replay.wait_log("cannot be reached")
    replay.signal(signal.SIGINT)
    assert replay.process.wait(20) == 1
    replay.wait_log("wait in the spool")


def test_key_approved_later_gets_through_without_restart(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "approved", enroll=False)
    replay = sensor.start_replay(capture(tmp_path / "a.pcap", 1000))
    line = replay.wait_log("refuses the handshake").string
    assert sensor.public_key in line and "sensor add" in line
    sensor.enroll()
    assert replay.process.wait(2 * hirundo.WAIT_S) == 0, replay.log()
    assert sensor.figures()[0] == 1000
    assert replay.log().count("refuses the handshake") == 1  # however often it was tried


def test_wrong_server_key_is_named(collector, tmp_path):
    wrong = Replayer.run("keygen", str(tmp_path / "other.key")).stdout.strip()
    sensor = Replayer(collector, tmp_path, "wrongkey", server_key=wrong)
    done = sensor.replay(capture(tmp_path / "a.pcap", 10), options=["--timeout", "3"])
    assert done.returncode == 1
    assert "server_key" in done.stderr


def test_damaged_capture_delivers_what_was_read(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "torn")
    path = capture(tmp_path / "a.pcap", 1000)
    os.truncate(path, os.path.getsize(path) - 30)
    done = sensor.replay(path)
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if "a.pcap" in line]) == 1, done.stderr
    assert sensor.figures()[0] == 999


def test_unreadable_capture_sends_nothing(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "unreadable")
    good = capture(tmp_path / "a.pcap", 10)
    done = sensor.replay(good, str(tmp_path / "missing.pcap"))
    assert done.returncode == 1 and "missing.pcap" in done.stderr
    assert sensor.figures()[0] == 0


def test_restored_database_is_refilled(pg, collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "refill")
    assert sensor.replay(capture(tmp_path / "a.pcap", 1000)).returncode == 0
    before = pg.value("select max(next_seq) from hirundo.ledger l join hirundo.sensor s using (sensor_id) "
                      "where s.name = 'refill'")
    # As a backup from before would have it.
    for table in ("ledger", "batch", "observation", "flow"):
        pg.query(f"delete from hirundo.{table} where sensor_id = (select sensor_id from hirundo.sensor "
                 "where name = 'refill')")
    collector.stop()
    collector.start()
    more = capture(tmp_path / "b.pcap", 500, first=FIRST + 7200)
    assert sensor.replay(more).returncode == 0
    assert sensor.figures() == (1500, 1500, 1500, 0)
    assert pg.value("select max(next_seq) from hirundo.ledger l join hirundo.sensor s using (sensor_id) "
                    "where s.name = 'refill'") > before


def test_old_copy_of_the_spool_forks(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "fork")
    spool = tmp_path / "spool" / "spool.db"
    assert sensor.replay(capture(tmp_path / "a.pcap", 1000)).returncode == 0
    copy = spool.read_bytes()
    first_id = sensor.status()["spool_id"]
    assert sensor.replay(capture(tmp_path / "b.pcap", 500, first=FIRST + 7200)).returncode == 0
    spool.write_bytes(copy)
    done = sensor.replay(capture(tmp_path / "c.pcap", 200, first=FIRST + 14400))
    assert done.returncode == 0, done.stderr
    assert "new spool" in done.stderr
    assert sensor.status()["spool_id"] != first_id
    assert sensor.figures() == (1700, 1700, 1700, 0)


def test_spool_of_another_sensor_is_not_delivered_again(collector, tmp_path):
    """An image of a machine, put on another one that has a key of its own: what the first has delivered is its own."""
    directories = [tmp_path / name for name in ("first", "second")]
    for directory in directories:
        directory.mkdir()
    first, second = (Replayer(collector, directory, f"image-{directory.name}") for directory in directories)
    assert first.replay(capture(tmp_path / "a.pcap", 20000)).returncode == 0
    shutil.copytree(directories[0] / "spool", directories[1] / "spool")
    done = second.replay(capture(tmp_path / "b.pcap", 1000, first=FIRST + 7200))
    assert done.returncode == 0, done.stderr
    assert second.figures() == (1000, 1000, 1000, 0)
    collector.wait_log(r"alarm fork: sensor image-second .* from a spool of another sensor")
    assert second.status()["spool_id"] != first.status()["spool_id"]
    assert first.replay(capture(tmp_path / "c.pcap", 500, first=FIRST + 14400)).returncode == 0
    assert first.figures() == (20500, 20500, 20500, 0)
    assert second.replay(capture(tmp_path / "d.pcap", 300, first=FIRST + 14400)).returncode == 0
    assert second.figures() == (1300, 1300, 1300, 0)


def test_damaged_spool_is_set_aside_and_declared(pg, collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "damaged")
    assert sensor.replay(capture(tmp_path / "a.pcap", 1000)).returncode == 0
    spool = tmp_path / "spool" / "spool.db"
    with open(spool, "r+b") as f:
        f.seek(0)
        f.write(b"not a database any more")
    done = sensor.replay(capture(tmp_path / "b.pcap", 500, first=FIRST + 7200))
    assert done.returncode == 0, done.stderr
    assert "set aside" in done.stderr
    assert (tmp_path / "spool" / "spool.db.damaged").exists()
    assert sensor.figures()[:3] == (1500, 1500, 1500)
    assert pg.value("select count(*) from hirundo.loss l join hirundo.sensor s using (sensor_id) "
                    "where s.name = 'damaged' and l.kind = 'unknown'") == 1


@pytest.fixture(name="small_disk")
def fixture_small_disk(tmp_path):
    """A directory on a disk far smaller than the spool's cap."""
    path = tmp_path / "spool"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_disk_smaller_than_the_cap_gives_up_what_was_delivered(collector, small_disk, tmp_path):
    assert small_disk
    sensor = Replayer(collector, tmp_path, "smalldisk")
    path = capture(tmp_path / "a.pcap", 400000, span_s=86400, sources=200000)
    collector.stop()
    replay = sensor.start_replay(path, options=["--progress"])
    replay.wait_log("^progress 400000 0 ")
    collector.start()
    assert replay.process.wait(2 * hirundo.WAIT_S) == 0, replay.log()
    assert sensor.figures() == (400000, 400000, 400000, 0)
    assert int(sensor.status()["delivered_kept"]) < int(sensor.status()["acked_through"])


def test_two_processes_on_one_spool(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "twice")
    collector.stop()
    path = capture(tmp_path / "a.pcap", 10)
    first = sensor.start_replay(path)
    first.wait_log("cannot be reached")
    done = sensor.replay(path)
    assert done.returncode == 1 and "in use by another" in done.stderr
    first.kill()


def test_failover_to_the_second_collector(pg, collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "failover")
    dead = hirundo.free_port()
    sensor.conf.write_text(sensor.conf.read_text().replace(
        "endpoint = ", f"endpoint = tcp://127.0.0.1:{dead} "))
    done = sensor.replay(capture(tmp_path / "a.pcap", 100), options=["--timeout", "20"])
    assert done.returncode == 0, done.stderr
    assert sensor.figures()[0] == 100
    assert pg.value("select count(*) from hirundo.sensor where name = 'failover'") == 1


def test_speed_half_a_million_frames(collector, tmp_path):
    sensor = Replayer(collector, tmp_path, "speed")
    path = capture(tmp_path / "a.pcap", 500000, span_s=86400, sources=50000)
    begin = time.monotonic()
    done = sensor.replay(path)
    assert done.returncode == 0, done.stderr
    print(f"{time.monotonic() - begin:.2f} s, {sensor.status()['next_seq']} batches, "
          f"{summary(path)['flows']} flows")
    assert sensor.figures()[0] == 500000


def test_excluded_sources_are_left_out_of_a_replay(collector, tmp_path):
    """As of a live capture, behind tags too; the log says how many frames that were."""
    def tagged(data, *tags):
        return data[:12] + b"".join(struct.pack(">HH", tag, 7) for tag in tags) + data[12:]

    path = tmp_path / "x.pcap"
    frames = [tagged(frame(source, 22), *tags) for source in (5, 300, 600)
              for tags in ((), (0x8100,), (0x88a8, 0x8100), (0x88a8, 0x8100, 0x8100))]
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            f.write(struct.pack("<IIII", FIRST, 0, len(data), len(data)) + data)
    sensor = Replayer(collector, tmp_path, "excluding")
    sensor.configure(extra="[capture]\nexclude = 198.18.0.0/24, 198.18.1.44/32:tcp/22, 198.18.2.0/24:tcp/23\n")
    done = sensor.replay(str(path))
    assert done.returncode == 0, done.stderr
    assert "8 frames were left out" in done.stderr and "4 frames in 1 batches delivered" in done.stderr
    assert sensor.figures() == (4, 4, 4, 0)
