"""docs/operations.md, "Backup and restore", word by word: dumped, lost, restored elsewhere, refilled by the sensors."""
import os
import subprocess

import hirundo
import manual
from test_delivery import FIRST, Replayer, capture


def type_block(pg, directory, machine, places=()):
    """The page's block for this machine, typed in this directory; places: (as the page has it, as it is here)."""
    (_, text), = manual.blocks(machine)
    for place, here in places:
        assert place in text, f"{place} is not in the block:\n{text}"
        text = text.replace(place, str(here))
    ours = os.path.dirname(hirundo.program("hirundo-collector"))
    environment = pg.environment() | {"PATH": f"{ours}:{pg.bin}:/usr/sbin:/usr/bin:/sbin:/bin"}
    del environment["PGDATABASE"]
    done = subprocess.run(["bash", "-e", "-c", text], cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def run(pg, *words, **options):
    """A program of PostgreSQL's on this cluster."""
    done = subprocess.run([f"{pg.bin}/{words[0]}", *words[1:]], env=pg.environment(), capture_output=True, text=True, check=False,
                          timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done


def contents(pg):
    """What matters of the database, in an order of its own."""
    queries = {
        "flow": "select s.name, f.ts, f.packets, f.bytes, f.port, f.src_port, f.proto, f.ttl, f.tcp_flags, f.src, o.layout from hirundo.flow f "
                "join hirundo.sensor s using (sensor_id) left join hirundo.tcp_options o using (options_id)",
        "batch": "select s.name, b.spool_id, b.seq, encode(b.digest, 'hex'), b.frames, b.outcome from hirundo.batch b join hirundo.sensor s using (sensor_id)",
        "ledger": "select s.name, l.spool_id, l.next_seq from hirundo.ledger l join hirundo.sensor s using (sensor_id)",
        "observation": "select s.name, o.slot, o.covered_ms, o.frames, o.row_packets, o.lost from hirundo.observation o "
                       "join hirundo.sensor s using (sensor_id)",
        "network": "select lo, hi, asn, country from hirundo.network",
        "setting": "select name, value from hirundo.setting",
    }
    return {name: sorted(map(repr, pg.query(query))) for name, query in queries.items()}


def finish_rollups(pg):
    while pg.value("select hirundo.rollup_step()"):
        pass


def sensor_number(pg, name):
    return pg.value("select sensor_id from hirundo.sensor where name = %s", name)


def figures(pg):
    return pg.query("select * from hirundo.top_ports(hirundo.day('2023-02-08'), 10)")


def test_restored_and_refilled(tmp_path):
    sensors, owner = [], tmp_path / "owner"
    (owner / "BACKUP").mkdir(parents=True)
    (owner / "owner.conf").write_text("[database]\nconnection = dbname=hirundo\n")
    with hirundo.Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        (tmp_path / "prefixes.tsv").write_text("198.18.0.0/15\t64496\tJP\n")
        pg.command("import", "prefixes", str(tmp_path / "prefixes.tsv"), "--as-of", "2023-01-01")
        pg.query("create role operator login password 'only-for-tests' in role hirundo_owner")
        with hirundo.Collector(pg) as collector:
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
                sensors.append(Replayer(collector, tmp_path / name, name))
            for sensor in sensors:
                assert sensor.replay(capture(tmp_path / "a.pcap", 20000)).returncode == 0
            finish_rollups(pg)

            type_block(pg, owner, "old")
            type_block(pg, owner, "old-root", [("/var/lib/hirundo/", f"{collector.directory}/"), ("/etc/hirundo/collector.conf", collector.conf)])

            for i, sensor in enumerate(sensors):  # what the backup does not have
                for part in range(3):
                    path = capture(tmp_path / "b.pcap", 9000, first=FIRST + 3600 * (1 + part + i))
                    assert sensor.replay(path).returncode == 0
            finish_rollups(pg)
            pg.command("sensor", "add", "late", "--country", "JP", "--key", hirundo.Keys(pg, 1, enroll=False).pairs[0][0])
            late_number = sensor_number(pg, "late")
            endpoint = collector.endpoint
        lost, lost_figures = contents(pg), figures(pg)
    assert len(lost["batch"]) > 10

    with hirundo.Postgres() as pg:
        with pg.connect("postgres") as conn, conn.cursor() as cursor:
            cursor.execute("drop database hirundo")
        shown = type_block(pg, owner, "new")
        assert shown.count("ERROR") == 1 and '"hirundo_admin" already exists' in shown  # whom initdb made
        assert "nothing to do" in shown
        pg.command("sensor", "add", "new", "--country", "JP", "--key", hirundo.Keys(pg, 1, enroll=False).pairs[0][0])
        assert sensor_number(pg, "new") > late_number
        assert pg.value("select pg_has_role('operator', 'hirundo_owner', 'member')")
        assert len(contents(pg)["batch"]) < len(lost["batch"])

        collector = hirundo.Collector(pg)
        type_block(pg, owner, "new-root", [("-o hirundo_service ", ""), ("/var/lib/hirundo", collector.directory), ("/etc/hirundo/", tmp_path)])
        assert (tmp_path / collector.conf.name).read_text() and (collector.directory / "collector.key").stat().st_mode & 0o777 == 0o600
        collector.endpoint = endpoint
        with collector:
            assert collector.server_key == sensors[0].collector.server_key
            for sensor in sensors:  # the next batch tells the sensor where the database stands
                sensor.collector = collector
                assert sensor.replay(capture(tmp_path / "c.pcap", 10, first=FIRST + 86400)).returncode == 0
            finish_rollups(pg)
            assert pg.value("select count(*) from hirundo.loss") == 0
            pg.query("delete from hirundo.flow where ts >= to_timestamp(%s)", FIRST + 86400)
            pg.query("delete from hirundo.observation where slot >= to_timestamp(%s)", FIRST + 86400)
            found = contents(pg)
            for name in ("flow", "observation", "network", "setting"):
                assert found[name] == lost[name], name
            assert set(lost["batch"]) < set(found["batch"]) and len(found["batch"]) == len(lost["batch"]) + 2
            assert figures(pg) == lost_figures
            assert pg.value("select count(*) from hirundo.batch b join hirundo.ledger l using (sensor_id, spool_id) "
                            "where b.seq >= l.next_seq") == 0
