"""The same SQL, the same collector, on a coordinator and two workers."""
import os
import re
import subprocess
import urllib.request

import pytest

from hirundo import TOP, Collector, Keys, program, wait_for

SQL = TOP / "tests" / "sql"
# What a test's one transaction needs and no deployment does: it makes partitions, writes and asks in one go.
OPTIONS = ("-c role=hirundo_owner -c citus.multi_shard_modify_mode=sequential -c citus.max_adaptive_executor_pool_size=1 "
           "-c client_min_messages=warning")
NOT_HERE = {
    "06_retention.sql": "it drops days and asks for sizes in one transaction; test_retention does it in several, as a deployment",
    "32_lookups.sql": "it writes and deletes data sets in one transaction; look-ups are in the test of the collector",
    "30_roles.sql": "it makes logins, as a superuser, in the transaction in which the owner makes partitions",
    "18_tool_share.sql": "it makes a login in the transaction in which the owner makes partitions",
    "04_reads.sql": "it asks one node's statistics what was read; the collector's test below compares the figures",
}


def test_what_is_where(citus):
    kinds = dict(citus.query("select citus_table_type, array_agg(replace(table_name::text, 'hirundo.', '')) from citus_tables group by 1"))
    assert {"setting", "sensor", "sensor_key", "tcp_options", "prefix_set", "network", "organisation", "organisation_prefix",
            "scanner_set", "scanner_range", "as_name", "fingerprint", "holiday"} == set(kinds["reference"])
    assert {"ledger", "batch", "observation", "loss", "quarantine", "sensor_address", "flow", "flood", "heartbeat", "heartbeat_hour",
            } == {name for name in kinds["distributed"] if not name[-8:].isdigit()}
    assert citus.query("select count(distinct colocation_id), min(distribution_column), max(distribution_column) from citus_tables "
                       "where citus_table_type = 'distributed'") == [(1, "sensor_id", "sensor_id")]


@pytest.mark.parametrize("path", sorted(SQL.glob("[0-9]*.sql")), ids=lambda p: p.name)
def test_sql(citus, path):
    if path.name in NOT_HERE:
        pytest.skip(NOT_HERE[path.name])
    env = dict(citus.environment(), HIRUNDO_SQL_DB=citus.database, PGOPTIONS=OPTIONS, PATH=os.environ["PATH"])
    citus.query("create extension if not exists pgtap")
    done = subprocess.run([str(SQL / "run"), str(path)], env=env, capture_output=True, text=True, check=False, timeout=1200)
    output = done.stdout + done.stderr
    failed = set(re.findall(r'^# Failed test \d+: "(.*)"$', output, re.M))
    assert not failed and "ERROR" not in re.sub("^#.*", "", output, flags=re.M), output
    assert done.returncode == 0, output


def test_collector_rollups_and_figures(citus, tmp_path):
    """Batches of several sensors, each counted once; imports; the rollup job; the same figures before and after it."""
    citus.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
    (tmp_path / "prefixes.tsv").write_text("0.0.0.0/1\t1\tJP\n128.0.0.0/1\t2\tTW\n")
    citus.command("import", "prefixes", str(tmp_path / "prefixes.tsv"), "--as-of", "2023-01-01")
    keys = Keys(citus, 6)
    keys.write(tmp_path / "keys")
    with Collector(citus) as collector:
        collector.wait_log(r"\b6 keys (are )?enrolled")
        done = subprocess.run([program("hirundo-load"), "run", collector.endpoint, collector.server_key, str(tmp_path / "keys"),
                               "5", "200", "1675814400000", "2"], capture_output=True, text=True, check=False, timeout=300, input="\n\n")
        assert done.returncode == 0, done.stderr + collector.log()
        wait_for(lambda: citus.value("select count(*) from hirundo.batch") == 60, "60 batches:\n" + collector.log())
        # states of the sensors, as people and as Prometheus read them
        at = collector.wait_log(r"metrics at (http://127\.0\.0\.1:\d+/metrics)").group(1)

        def states():
            with urllib.request.urlopen(at, timeout=30) as page:
                return re.findall(r'^hirundo_sensor_state\{sensor="([^"]+)".* 1$', page.read().decode(), re.M)
        wait_for(lambda: len(states()) == 6, "the six sensors in the metrics")
        told = citus.command("status").stdout
        assert "sensors: 6 enrolled: 6 online" in told, told
    assert citus.value("select count(*) from hirundo.flow") == 6 * 2 * 5 * 200
    assert citus.value("select count(*) from hirundo.accounting('[2023-02-01,2023-03-01)') where difference <> 0") == 0
    nodes = citus.value("select count(distinct nodeport) from citus_shards where table_name = 'hirundo.ledger'::regclass")
    assert nodes == 2

    def figures():
        return [citus.query(f"select * from hirundo.{call}") for call in (
            "top_ports('[2023-02-08,2023-02-09)', 5)", "sensor_average('[2023-02-08,2023-02-09)', 'day')",
            "ttl_spread('[2023-02-08,2023-02-09)')", "source_hosts_daily('[2023-02-08,2023-02-09)') order by day, port collate \"C\"")]
    assert citus.query("select host(address), asn, country from hirundo.lookup('{1.2.3.4,200.1.1.1}', '2023-02-08') order by 1") == [
        ("1.2.3.4", 1, "JP"), ("200.1.1.1", 2, "TW")]
    before = figures()
    assert all(before)
    # Times go to the nodes as text, written as the session writes them.
    asked = "select to_jsonb(t) from hirundo.top_ports('[2023-02-08,2023-02-09)') t"
    assert citus.query(f"set datestyle = German; set timezone = 'UTC'; {asked}") == citus.query(asked) != []
    citus.query("select hirundo.rollup_step()")
    while citus.value("select hirundo.rollup_step()"):
        pass
    assert citus.value("select count(*) from hirundo.rollup_day") > 0
    assert figures() == before
    # organisations are those of days before, too
    source = citus.value("select host(min(src)) from hirundo.source_day")
    (tmp_path / "organisations.csv").write_text(f"name,prefixes,contacts,tlp\nLate,{source}/32,,\n")
    told = citus.command("import", "organisations", str(tmp_path / "organisations.csv")).stdout
    assert "they count for all days: 1 that were rolled up name them now" in told, told
    assert citus.query("select distinct host(src) from hirundo.source_day where organisation_id is not null") == [(source,)]


def test_retention(citus):
    """By size and by age: what the shards hold counts, days go on all nodes, and `maintain` does it."""
    citus.query("update hirundo.setting set value = '3 days' where name = 'retention_batch'")
    citus.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
    citus.query("insert into hirundo.sensor (name, country, label_en, label_ja) values ('r1', 'JP', '', ''), ('r2', 'TW', '', '')")
    today = citus.value("select (now() at time zone 'UTC')::date")
    citus.query("select hirundo.partition_ensure(%s - n) from generate_series(0, 6) n", today)
    citus.query("insert into hirundo.flow (ts, duration_ms, packets, bytes, port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src) "
                "select d + interval '1 hour', 0, 1, 60, 22, s.sensor_id, 1, 6, 50, 2, 0, '198.18.0.1' from hirundo.sensor s, "
                "generate_series(%s - 6, %s, interval '1 day') d, generate_series(1, 3000) where s.name in ('r1', 'r2')", today, today)
    citus.query("insert into hirundo.batch (sensor_id, spool_id, seq, digest, committed_at, frames, flows, floods, payload_bytes, outcome) "
                "select s.sensor_id, gen_random_uuid(), n, sha256(''), now() - make_interval(days => n), 0, 0, 0, 0, 'committed' "
                "from hirundo.sensor s, generate_series(0, 9) n where s.name in ('r1', 'r2')")
    citus.query("insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload) "
                "select s.sensor_id, gen_random_uuid(), n, now() - make_interval(days => n), '', '', 0, '', decode(repeat('ab', 20000), 'hex') "
                "from hirundo.sensor s, generate_series(0, 9) n where s.name in ('r1', 'r2')")
    sizes = dict(citus.query("select day, bytes from hirundo.partition_sizes() where day >= %s - 6 and day <= %s", today, today))
    # 6,000 rows of 94 bytes a day, and 128 shards and indexes of hardly anything
    assert len(sizes) == 7 and min(sizes.values()) > 6000 * 94
    assert citus.value("select hirundo.database_bytes()") > 2 * citus.value("select pg_database_size(current_database())")
    days = [day for day, in citus.query("select day from hirundo.partition_days() day(day) where day < %s - 3 order by 1", today)]
    ahead = citus.value("select coalesce(sum(bytes), 0) from hirundo.partition_sizes() where day >= %s - 3", today)
    citus.query("update hirundo.setting set value = %s where name = 'max_size_flow'", str(ahead))
    citus.query("update hirundo.setting set value = '150 kB' where name = 'max_size_quarantine'")
    due = dict(citus.query("select what, sum(count)::int from hirundo.retention_due() where count > 0 group by 1"))
    assert due["flow days"] == len(days) and due["batch rows"] >= 12 and due["quarantine rows"] == 13, due
    told = citus.command("maintain", "--dry-run").stdout
    assert f"to drop: {len(days)} days of flow and flood, {days[0]} to {days[-1]}, frees " in told and "(by size: max_size_flow = " in told, told
    assert "to delete: 13 rows of quarantine, " in told and "(by size: max_size_quarantine = 150 kB, is " in told, told
    assert "rows of batch, " in told and "(by age: retention_batch = 3 days)" in told, told
    told = citus.command("maintain").stdout
    assert f"{len(days)} days of flow dropped" in told, told
    assert citus.query("select hirundo.flow_over_size()") == [] and citus.query("select * from hirundo.retention_due() where count > 0") == []
    assert citus.value("select min(day) from hirundo.partition_days() day(day)") == citus.value("select %s - 3", today)
    assert citus.value("select count(*) from hirundo.flow") == 4 * 6000
    assert citus.value("select count(*) from hirundo.batch where committed_at < now() - interval '4 days'") == 0
    # a shard of a day that is gone is on no node
    left = citus.query("select result from run_command_on_all_nodes($$select count(*) from pg_class where relname ~ %s$$)",
                       f"^flow_{days[-1]:%Y%m%d}")
    assert {n for n, in left} == {"0"}
    # by age
    citus.query("update hirundo.setting set value = 'off' where name = 'max_size_flow'")
    citus.query("update hirundo.setting set value = '2 days' where name = 'retention_flow'")
    assert "1 days of flow dropped" in citus.command("maintain").stdout
    assert citus.value("select count(*) from hirundo.flow") == 3 * 6000


def test_life_of_a_key(citus, tmp_path):
    """Added with a key, a next key, withdrawn, another, revoked; who was never approved is counted apart."""
    def sensor(*words):
        return subprocess.run([program("hirundo-sensor"), *map(str, words)], capture_output=True, text=True, check=True).stdout.strip()

    conf = tmp_path / "sensor.conf"
    conf.write_text(f"[sensor]\nname = keys-1\nkey = {tmp_path}/sensor.key\n[collector]\nendpoint = tcp://127.0.0.1:1\n"
                    f"server_key = {sensor('keygen', tmp_path / 'server.key').split()[-1]}\n[spool]\npath = {tmp_path}/spool.db\n")
    citus.command("sensor", "add", "keys-1", "--country", "JP", "--key", sensor("keygen", "-c", conf).split()[-1])
    request = sensor("rotate", "-c", conf)
    citus.command("sensor", "rotate", "keys-1", request)
    assert "withdrawn" in citus.command("sensor", "rotate", "keys-1", "--cancel").stdout
    assert citus.command("sensor", "rotate", "keys-1", "--cancel", check=False).returncode == 1
    assert citus.query("select count(*), count(k.revoked_at) from hirundo.sensor_key k join hirundo.sensor s using (sensor_id) where "
                       "s.name = 'keys-1'") == [(2, 1)]

    def not_approved():
        told = re.search(r"^sensors: \d+ enrolled: .*; (\d+) not approved yet", citus.command("status").stdout, re.M)
        return int(told.group(1)) if told else 0
    before = not_approved()  # sensors of other tests
    citus.command("sensor", "add", "keys-2", "--country", "JP")
    assert not_approved() == before + 1
    citus.command("sensor", "revoke", "keys-1")
    assert [action for action, in citus.query("select action from hirundo.audit where sensor = 'keys-1' order by audit_id")] == [
        "sensor added", "next key approved", "next key withdrawn", "sensor revoked"]
