"""What takes long: a database away for ten minutes, one restored from a day-old dump, a week's backlog, 200 sensors that
drain at once. Figures go to outages.txt in $RESULTS. HIRUNDO_OUTAGE_S and HIRUNDO_BACKLOG set the sizes.

Run by tests/suites/outages.sh in network and mount namespaces of their own, but for the last one."""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import campaign  # noqa: E402
import check  # noqa: E402
import faults  # noqa: E402
import world as worlds  # noqa: E402

hirundo = worlds.hirundo

OUTAGE_S = int(os.environ.get("HIRUNDO_OUTAGE_S", "600"))
BACKLOG = int(os.environ.get("HIRUNDO_BACKLOG", "10000"))
BACKLOG_FLOWS = 300
DAY = 1440  # batches
AS_MANY_AS_FIT = 100000
DAY_FLOWS = 50
DRAIN_S = 1800
COLLECTOR_MIB = 128  # its budget: 64 MiB of batches that wait, and itself


def note(text):
    print(text)
    with open(pathlib.Path(os.environ.get("RESULTS", ".")) / "outages.txt", "a", encoding="utf-8") as f:
        f.write(text + "\n")


def resident_mib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s*(\d+)", status).group(1)) / 1024


class Memory:
    """The most that each process held while this was entered."""

    def __init__(self, processes):
        self.processes, self.peak, self.over = processes, {}, threading.Event()

    def _run(self):
        while not self.over.wait(0.3):
            for process in self.processes:
                with contextlib.suppress(OSError, AttributeError):
                    name = getattr(process, "name", "collector")
                    self.peak[name] = max(self.peak.get(name, 0), resident_mib(process.process.pid))

    def __enter__(self):
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def most(self, letter):
        return max(value for name, value in self.peak.items() if name.startswith(letter))


def fill(sensor, batches, flows, from_s, seed, cap_mib=256):
    """Puts so many minutes' batches into a sensor's spool; the packets they count."""
    done = subprocess.run([hirundo.program("hirundo-fill-spool"), str(sensor.spool), str(cap_mib), str(batches), str(flows),
                           str(int(from_s)), str(seed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    there, packets = done.stdout.split()
    assert int(there) == batches or batches == AS_MANY_AS_FIT
    return int(packets)


def counted(world, before):
    """Frames of the batches whose windows end before that time; `whole` compares them with flow."""
    return int(world.database.value("select coalesce(sum(frames), 0) from hirundo.batch where outcome = 'committed' "
                                    "and last_window < to_timestamp(%s)", before))


def whole(world, since=0):
    """Everything that was sent is there, and nothing is declared lost."""
    assert campaign.drain(world, DRAIN_S) == []
    report = check.check(world, since)
    assert report.errors == []
    assert report.figures["missing"] == report.figures["not observed"]
    assert report.figures["loss rows"] == 0
    return report


@pytest.fixture(name="place")
def fixture_place():
    with tempfile.TemporaryDirectory(prefix="hirundo-outages-", dir="/var/tmp") as directory:
        yield pathlib.Path(directory)


def test_quarantined_batches_through_accidents(place):
    """The database refuses rows for a while; in that time a collector is killed, and a sensor is set back to a copy of itself,
    which forks. What was put aside comes in afterwards, and once."""
    with worlds.World(0, place / "world", place / "template") as world:
        world.traffic.start()
        time.sleep(3)
        sensor = world.sensors[1]
        with sensor.lock:
            sensor.copy_spool()
        time.sleep(3)
        world.database.query("alter table hirundo.flow add constraint refusal check (ttl < 0) not valid")
        open_ones = "select count(*) from hirundo.quarantine where resolved_at is null"
        hirundo.wait_for(lambda: world.database.value(open_ones) >= 10, "batches to be put aside")
        faults.kill_and_start(world.collectors[0], 0.5)
        with sensor.lock:
            sensor.kill()
            sensor.restore_spool(sensor.copies[-1])
            sensor.start()
        aside = world.database.value(open_ones)
        hirundo.wait_for(lambda: world.database.value(open_ones) >= aside + 10, "more to be put aside")
        hirundo.wait_for(lambda: world.database.value("select count(*) from hirundo.audit where action = 'alarm fork'"), "the fork")
        world.database.query("alter table hirundo.flow drop constraint refusal")
        time.sleep(2)
        world.traffic.stop()
        assert campaign.drain(world, DRAIN_S) == []
        aside = world.database.value(open_ones)
        done = world.database.command("quarantine", "retry", "--all")
        assert f"{aside} messages taken in" in done.stdout
        report = check.check(world)
        assert report.errors == [] and report.figures["quarantined"] == report.figures["lost"] == 0
        note(f"quarantined, killed, set back: {report.figures['sent']} packets sent, {aside} batches taken in from quarantine, "
             f"{report.figures['duplicated']} duplicated, {report.figures['undeclared']} missing undeclared")


def test_database_away(place):
    with worlds.World(0, place / "world", place / "template", cap="256M", spool_disk="300m") as world:
        world.traffic.start()
        time.sleep(5)
        with Memory(world.processes()[:-1]) as memory:
            with world.database.lock:
                world.database.stop()
                time.sleep(OUTAGE_S)
                world.database.start()
            began = time.monotonic()
            world.traffic.stop()
            report = whole(world)
            seconds = time.monotonic() - began
        assert campaign.end(world) == []
    note(f"database away for {OUTAGE_S} s, 5 sensors: {report.figures['sent']} packets sent, {report.figures['rows']} rows, "
         f"0 missing, 0 duplicated, all there {seconds:.0f} s after; at most {memory.most('c'):.0f} MiB in a collector, "
         f"{memory.most('s'):.0f} MiB in a sensor")
    assert memory.most("c") <= COLLECTOR_MIB


def test_restored_from_a_day_old_dump(place):
    now = time.time()
    packets = []

    def first_day(sensor):
        packets.append(fill(sensor, DAY, DAY_FLOWS, now - 2 * 86400 - 600, sensor.number))
    with worlds.World(1, place / "world", place / "template", sensors=3, cap="256M", spool_disk="300m",
                      database_disk="2g", prepare=first_day) as world:
        world.traffic.start()
        time.sleep(3)
        world.traffic.stop()
        assert campaign.drain(world, DRAIN_S) == []
        world.database.dump(place / "dump")
        for sensor in world.sensors:  # the day since
            with sensor.lock:
                sensor.end()
                packets.append(fill(sensor, DAY, DAY_FLOWS, now - 86400 - 600, 100 + sensor.number))
                sensor.start()
        assert campaign.drain(world, DRAIN_S) == []
        assert counted(world, now - 60) == sum(packets)
        began = time.monotonic()
        with world.database.lock:
            world.database.restore(place / "dump", aside=False)
        missing = sum(packets) - counted(world, now - 60)
        report = whole(world, now - 60)
        seconds = time.monotonic() - began
        assert counted(world, now - 60) == sum(packets)
        assert campaign.end(world) == []
    note(f"dropped and restored from a day-old dump, 3 sensors: {missing} of {sum(packets)} packets were missing, all there "
         f"{seconds:.0f} s later, none twice, {report.figures['loss rows']} loss rows")


def test_backlog_of_a_week(place):
    now = time.time()
    packets = []

    def week(sensor):
        packets.append(fill(sensor, BACKLOG, BACKLOG_FLOWS, now - 60 * BACKLOG - 120, 5))
    with worlds.World(3, place / "world", place / "template", sensors=1, collectors=1, cap="256M", spool_disk="400m",
                      database_disk="3g", prepare=week) as world:
        began = time.monotonic()
        world.traffic.start()
        with Memory(world.processes()[:-1]) as memory:
            hirundo.wait_for(lambda: counted(world, now - 60) == sum(packets), "the backlog to be there", 2400)
            seconds = time.monotonic() - began
            time.sleep(3)
            world.traffic.stop()
            whole(world, now - 60)
        # In order: no number was committed before one that is lower.
        assert world.database.value(
            "select count(*) from (select committed_at < lag(committed_at) over (order by seq) as early "
            "from hirundo.batch) b where early") == 0
        reference = direct(world, place / "keys", max(1, BACKLOG // 10))
        assert campaign.end(world) == []
    rows = BACKLOG * BACKLOG_FLOWS
    note(f"backlog of {BACKLOG} batches, {rows} rows, of one sensor: {seconds:.1f} s, {rows / seconds:.0f} rows/s, "
         f"{BACKLOG / seconds:.0f} batches/s (sent from memory straight away: {reference:.0f} rows/s), new data in order behind "
         f"it; at most {memory.most('c'):.0f} MiB in the collector, "
         f"{memory.most('s'):.0f} MiB in the sensor")


def test_spool_overflows(place):
    """What had to make room is declared with its counts, the oldest first, and nothing else is missing."""
    now = time.time()
    packets = []

    def full(sensor):
        sensor.world.links[0][0].refuse = True
        packets.append(fill(sensor, AS_MANY_AS_FIT, BACKLOG_FLOWS, now - 86400, 9, cap_mib=2))
    with worlds.World(4, place / "world", place / "template", sensors=1, collectors=1, prepare=full) as world:
        link = world.links[0][0]
        world.traffic.start()
        world.sensors[0].wait_log("undelivered batches dropped and declared as lost", 120)
        time.sleep(10)
        link.refuse = False
        world.traffic.stop()
        assert campaign.drain(world, DRAIN_S) == []
        report = check.check(world, now - 60)
        assert report.errors == [] and report.figures["missing"] == 0
        rows = world.database.query("select frames, last_window from hirundo.loss where kind = 'lost' order by seq")
        lost = sum(row[0] for row in rows)
        assert rows and world.database.value("select count(*) from hirundo.loss") == len(rows)
        assert counted(world, now - 60) + lost == sum(packets)
        assert world.database.value("select sum(lost) from hirundo.observation") == lost
        assert world.database.value("select max(l.last_window) < min(b.last_window) from hirundo.loss l, hirundo.batch b "
                                    "where b.outcome = 'committed' and b.seq > l.seq")
        assert campaign.end(world) == []
    note(f"spool of 2 MiB overflows: {len(rows)} batches with {lost} packets declared lost, all others there")


def direct(world, path, batches):
    """Rows a second of a sender without a spool, one sensor with as large batches, into the same database."""
    keys = hirundo.Keys(world.database, 1, prefix="direct")
    keys.write(path)
    collector = world.collectors[0]
    collector.wait_log(r"\b2 keys are enrolled")
    key = re.search(r"server key (\S{40})", collector.log()).group(1)
    done = subprocess.run([hirundo.program("hirundo-load"), "run", f"tcp://127.0.0.1:{collector.port}", key, str(path),
                           str(batches), str(BACKLOG_FLOWS)], capture_output=True, text=True, check=True, input="go\n")
    return float(re.search(r"(\d+) rows/s", done.stdout).group(1))


def test_two_hundred_sensors_drain_at_once(place):
    sensors, batches, flows = 200, BACKLOG // 200, 500
    with hirundo.Postgres(settings=["shared_buffers = 256MB"]) as postgres:
        postgres.migrate()
        postgres.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        with hirundo.Collector(postgres) as collector:
            keys = hirundo.Keys(postgres, sensors)
            keys.write(place / "keys")
            collector.wait_log(rf"{sensors} keys are enrolled")
            with Memory([collector]) as memory:
                done = subprocess.run([hirundo.program("hirundo-load"), "run", collector.endpoint, collector.server_key,
                                       str(place / "keys"), str(batches), str(flows)], capture_output=True,
                                      text=True, check=True, input="go\n")
            assert postgres.value("select count(*) from hirundo.flow") == sensors * batches * flows
            assert postgres.value("select count(*) from hirundo.batch") == sensors * batches
    note(f"200 sensors drain at once: {done.stdout.strip().splitlines()[-1]}; at most {memory.most('c'):.0f} MiB in the collector")
    assert memory.most("c") <= COLLECTOR_MIB
