"""The commands of docs/operations.md, "Backup and restore": dumped, lost, restored elsewhere, refilled by the sensors."""
import shutil
import subprocess

import hirundo
from test_delivery import FIRST, Replayer, capture


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


def restore_command(of):
    """The line of the page that holds this."""
    page = (hirundo.TOP / "docs" / "operations.md").read_text()
    return next(line for line in page.splitlines() if line.startswith("psql -d hirundo") and of in line)


def sensor_number(pg, name):
    return pg.value("select sensor_id from hirundo.sensor where name = %s", name)


def figures(pg):
    return pg.query("select * from hirundo.top_ports(hirundo.day('2023-02-08'), 10)")


def test_restored_and_refilled(tmp_path):
    sensors, kept = [], tmp_path / "backup"
    kept.mkdir()
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

            roles = run(pg, "pg_dumpall", "--roles-only").stdout
            run(pg, "pg_dump", "-Fc", "-f", str(kept / "hirundo.dump"), pg.database)
            shutil.copy(collector.directory / "collector.key", kept)

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
        done = subprocess.run([f"{pg.bin}/psql", "-X", "-q", "-d", "postgres"], input=roles, env=pg.environment(), capture_output=True,
                              text=True, check=False)
        assert done.stderr.count("ERROR") == 1 and '"hirundo_admin" already exists' in done.stderr  # whom initdb made
        run(pg, "pg_restore", "--exit-on-error", "-d", pg.database, str(kept / "hirundo.dump"))
        assert "nothing to do" in pg.migrate()
        subprocess.run(["sh", "-c", restore_command("sensor_id")], env=dict(pg.environment(), PATH=f"{pg.bin}:/usr/bin:/bin"), check=True,
                       stdout=subprocess.DEVNULL)
        pg.command("sensor", "add", "new", "--country", "JP", "--key", hirundo.Keys(pg, 1, enroll=False).pairs[0][0])
        assert sensor_number(pg, "new") > late_number
        assert pg.value("select pg_has_role('operator', 'hirundo_owner', 'member')")
        assert len(contents(pg)["batch"]) < len(lost["batch"])

        collector = hirundo.Collector(pg)
        shutil.copy(kept / "collector.key", collector.directory / "collector.key")
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
