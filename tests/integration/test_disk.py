"""Ingest stops before the database's disk is full, and goes on by itself; a database that hangs is noticed."""
import os
import signal
import subprocess

import pytest

import hirundo
from peer import Peer
from test_delivery import Replayer, summary
from test_health import noise

MIB = 1 << 20


class SmallDisk(hirundo.Postgres):
    """A cluster on a tmpfs, with a file on it that can be deleted to make room."""

    def __init__(self, size_mib, ballast_mib):
        super().__init__(settings=["max_wal_size = 64MB", "min_wal_size = 32MB"])
        self.size_mib, self.ballast_mib, self.ballast = size_mib, ballast_mib, self.directory / "ballast"

    def __enter__(self):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self.size_mib}m", "tmpfs", str(self.directory)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            os.rmdir(self.directory)
            pytest.skip("a small disk can be mounted by root only")
        try:
            with open(self.ballast, "wb") as f:
                os.posix_fallocate(f.fileno(), 0, self.ballast_mib * MIB)
            return super().__enter__()
        except BaseException:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
            raise

    def __exit__(self, *_):
        self.stop("immediate")
        subprocess.run(["umount", "-l", str(self.directory)], check=False)
        os.rmdir(self.directory)

    def free(self):
        st = os.statvfs(self.directory)
        return st.f_bavail * st.f_frsize


class Guarded(hirundo.Collector):
    """Keeps so many bytes free on a directory's disk."""

    def __init__(self, postgres, disk, min_free):
        super().__init__(postgres)
        self.disk, self.min_free = disk, min_free

    def configure(self):
        super().configure()
        with open(self.conf, "a", encoding="utf-8") as f:
            f.write(f"[database]\ndisk = {self.disk}\nmin_free = {self.min_free}\n")


def metric(collector, name):
    import urllib.request
    found = collector.wait_log(r"metrics at (http://\S+)").group(1)
    with urllib.request.urlopen(found, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                return float(line.rsplit(" ", 1)[1])
    return None


def test_ingest_stops_before_the_disk_is_full_and_goes_on_when_there_is_room(tmp_path):
    with SmallDisk(420, 120) as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        min_free = pg.free() - 30 * MIB
        assert min_free > 60 * MIB, pg.free()
        path = noise(tmp_path / "a.pcap", 600000, 1675836000)  # 57 MB of rows, and as much of WAL
        with Guarded(pg, pg.directory, min_free) as collector:
            sensor = Replayer(collector, tmp_path, "full")
            replay = sensor.start_replay(path, options=["--progress"])
            collector.wait_log(r"no data is taken: .* free, \[database\] min_free is", 60)
            assert metric(collector, "hirundo_ingest_paused") == 1
            hirundo.wait_for(lambda: metric(collector, "hirundo_disk_free_bytes") < min_free, "the metric")
            replay.wait_log("^progress 600000 ", 60)  # the sensor goes on, into its spool
            hirundo.wait_for(lambda: not sensor.status()["waiting"].startswith("0 batches"), "a backlog")
            with Peer(collector, hirundo.Keys(pg, 1).pairs[0]) as peer:  # a ping is answered, and says why
                collector.wait_log(r"\b2 keys are enrolled")
                peer.send_message("ping", 0)
                pong = peer.wait_reply("pong")
                assert not pong.db_ok and pong.credit == 0
                peer.send_message("batch", 1)
                seen = []

                def settled():
                    """What was in hand is committed, which takes its time on a busy machine."""
                    assert peer.receive(2) is None
                    seen.append(sensor.figures()[0])
                    return len(seen) > 2 and len(set(seen[-3:])) == 1
                hirundo.wait_for(settled, "what was in hand to be committed", 60)
                assert peer.receive(2) is None
            assert sensor.figures()[0] == seen[-1] < 600000
            assert pg.value("select count(*) from hirundo.sensor") == 2  # the database lives
            pg.ballast.unlink()
            collector.wait_log("there is room again")
            assert replay.process.wait(120) == 0, replay.log()
        assert sensor.figures() == (600000, 600000, 600000, 0) and summary(path)["frames"] == 600000
        assert "No space left" not in (pg.directory / "log").read_text()


def test_size_of_the_database_is_a_limit_too(postgres, tmp_path):
    size = postgres.value("select pg_database_size(current_database())")
    postgres.query("update hirundo.setting set value = %s where name = 'max_size_database'", f"{size - MIB} bytes")
    with hirundo.Collector(postgres) as collector:
        collector.wait_log("no data is taken: the database has .*, the setting max_size_database is")
        sensor = Replayer(collector, tmp_path, "large")
        replay = sensor.start_replay(noise(tmp_path / "a.pcap", 1000, 1675836000), options=["--progress"])
        replay.wait_log("^progress 1000 0 ")
        assert "of " + f"{size - MIB} bytes (max_size_database) at most" in postgres.command("status").stdout
        postgres.query("update hirundo.setting set value = 'off' where name = 'max_size_database'")
        collector.wait_log("there is room again")
        assert replay.process.wait(2 * hirundo.WAIT_S) == 0, replay.log()
    assert sensor.figures()[0] == 1000


def test_directory_that_is_not_there_is_told_and_stops_nothing(postgres, tmp_path):
    with Guarded(postgres, tmp_path / "nowhere", 10 * MIB) as collector:
        collector.wait_log("nowhere: No such file or directory: its free space is not watched")
        with Peer(collector, hirundo.Keys(postgres, 1, prefix="nowhere").pairs[0]) as peer:
            peer.wait_connected()
            peer.deliver(1)


def test_frozen_database_is_told_before_it_is_given_up(postgres, collector, enrolled):
    name, pair = enrolled()
    pids = [int(pid) for pid, in postgres.query("select pid from pg_stat_activity where application_name = 'hirundo-collector'")]
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            peer.send_message("batch", 2)

            def pong():
                peer.send_message("ping", 0)
                return peer.wait_reply("pong")
            told = hirundo.wait_for(lambda: not (p := pong()).db_ok and p, "a pong that says the database hangs")
            assert told.credit == 0 and "no answer within" not in collector.log()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        peer.wait_ack(2)
        assert hirundo.wait_for(lambda: (p := pong()).db_ok and p, "a pong that says all is well").credit > 0
    assert postgres.value("select count(*) from hirundo.batch join hirundo.sensor using (sensor_id) where name = %s", name) == 2
