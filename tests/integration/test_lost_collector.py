"""docs/operations.md on a collector that is gone and on one that moves, word by word, on two machines that are network namespaces."""
import os

import pytest

import hirundo
from manual import blocks, serve
from test_backup import finish_rollups, run
from test_delivery import FIRST, capture
from test_live import ip, root_with_namespaces
from test_walkthrough import fixture_postgres, fixture_veth, fixture_vps, follow, owners_terminal

__all__ = ["fixture_postgres", "fixture_veth", "fixture_vps"]  # found by name

pytestmark = [pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces"),
              pytest.mark.skipif(bool(os.environ.get("ASAN_OPTIONS")), reason="other tests do the same with a sanitizer")]

LOST, MOVED = "### Losing the collector for a month", "### Moving to another host"
ELSEWHERE = "198.51.100.1"


class World:
    """The owner's terminal, the sensor's, and the collector's service, which may be another one tomorrow."""

    def __init__(self, postgres, veth, owner, vps, directory):
        self.postgres, self.veth, self.directory = postgres, veth, directory
        self.terminals = {"owner": owner, "vps": vps, "office": owner, "sensor": vps, "anew-office": owner, "anew-sensor": vps,
                          "moved-sensor": vps}
        self.service, self.sent, self.captures = None, 0, 0

    def follow(self, typed):
        return [shown for shown, _ in follow(typed, self.terminals, self.directory / "owner", self.directory / "vps")]

    def set_up(self):
        """The manual's first block; old captures are to be taken."""
        self.follow(blocks("owner")[:1])
        self.postgres.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")

    def start(self, address=None):
        self.service = serve(self.postgres, self.veth, self.directory, address).start()
        key = self.service.wait_log(r"ready: listening .*server key (\S{40})").group(1)
        hirundo.wait_for(lambda: self.postgres.value("select count(*) from hirundo.collector_endpoint where public_key = %s and endpoint = %s",
                                                     hirundo.z85_decode(key), f"tcp://{address or '192.0.2.1'}:4455"), "the service to note its key")

    def stop(self):
        if self.service:
            print(self.service.log())
            assert self.service.stop() == 0
            self.service = None

    def lose_database(self):
        with self.postgres.connect("postgres") as conn, conn.cursor() as cursor:
            cursor.execute("drop database hirundo with (force)")

    def replay(self, packets, options="--timeout 30"):
        """So many packets of a new hour reach the sensor."""
        self.captures += 1
        path = capture(self.directory / f"{self.captures}.pcap", packets, first=FIRST + 3600 * self.captures)
        self.sent += packets
        return self.terminals["vps"].type(f"hirundo-sensor replay -c /etc/hirundo/sensor.conf {path} {options}")

    def check(self):
        """All that was ever sent is in the database, once, and the books say so."""
        finish_rollups(self.postgres)
        assert self.postgres.value("select sum(packets) from hirundo.flow") == self.sent
        assert self.postgres.query("select sum(frames), sum(lost), sum(abs(difference)) from hirundo.accounting(hirundo.day('2023-02-08'))") == [
            (self.sent, 0, 0)]
        assert self.postgres.value("select count(*) from hirundo.loss") == 0


@pytest.fixture(name="world")
def fixture_world(postgres, veth, vps, tmp_path):
    ip("-n", veth.there, "address", "add", f"{ELSEWHERE}/32", "dev", "far")
    with owners_terminal(postgres, veth, tmp_path, "owner") as owner:
        world = World(postgres, veth, owner, vps, tmp_path)
        yield world
        if world.service:
            print(world.service.log())
            world.service.stop()


def test_collector_that_is_lost_and_one_that_moves(world, postgres, tmp_path):
    world.set_up()
    world.start()
    world.follow(blocks("anew-office", "anew-sensor"))  # the same commands enrol it the first time
    world.replay(3000)
    world.check()
    run(postgres, "pg_dump", "-Fc", "-f", str(tmp_path / "hirundo.dump"), postgres.database)
    world.replay(2000)  # and this the backup does not have

    # a month without a collector, and its machine is gone with its key
    world.stop()
    (tmp_path / "collector.key").unlink()
    world.lose_database()
    assert "no acknowledgement for 2 s: given up" in world.replay(1000, "--timeout 2 || true")
    assert "waiting" in world.terminals["vps"].type("hirundo-sensor status -c /etc/hirundo/sensor.conf")

    # from the backup, with another key, at another address
    with postgres.connect("postgres") as conn, conn.cursor() as cursor:
        cursor.execute("create database hirundo")
    run(postgres, "pg_restore", "--exit-on-error", "-d", postgres.database, str(tmp_path / "hirundo.dump"))
    world.start(ELSEWHERE)
    world.follow(blocks("office", "sensor", section=LOST))
    world.replay(500)
    world.check()

    # from nothing, at the first address again
    world.stop()
    (tmp_path / "collector.key").unlink()
    world.lose_database()
    world.terminals["owner"].type("psql -q -d postgres -c 'drop role hirundo_service'")
    (tmp_path / "owner" / "tokyo-1.bundle").unlink()
    world.set_up()
    world.start()
    world.follow(blocks("anew-office", "anew-sensor", section=LOST))
    world.replay(400)
    world.check()

    # and to another host, with its database and its key
    world.stop()
    world.start(ELSEWHERE)
    world.follow(blocks("moved-sensor", section=MOVED))
    world.replay(300)
    world.check()
    assert "alarm" not in world.service.log()
