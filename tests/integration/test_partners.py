"""Partners: what each role can read when it really logs in, and what it tries in vain."""
import hashlib
import hmac
import re
import stat
import urllib.request

import psycopg2
import pytest

import hirundo
import sharing
from test_delivery import Replayer, capture


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with hirundo.Postgres(settings=["fsync = off"]) as pg:
        pg.migrate()
        yield pg


@pytest.fixture(name="world", scope="module")
def fixture_world(pg):
    return sharing.World(pg, weeks=4, ports=12)


@pytest.fixture(name="key", scope="module")
def fixture_key(tmp_path_factory):
    return tmp_path_factory.mktemp("office") / "pseudonym.key"


@pytest.fixture(name="partner", scope="module")
def fixture_partner(pg, world, key):
    """A function that runs `partner WORDS`; two partners are there, with passwords, and all is published."""
    def command(*words, check=True):
        more = ["--pseudonym-key", str(key)] if words[0] in ("add", "set") and "--pseudonym-key" not in words else []
        return pg.command("partner", *words, *more, check=check)
    done = command("add", "cert-xx", "--sensors", "s1,s2", "--bucket", "week")
    assert "made the pseudonym key" in done.stderr and "closed" in done.stderr and "pg_hba.conf" in done.stderr
    command("add", "other-org", "--sensors", "s3", "--bucket", "day", "--delay", "30d")
    for role in ("partner_cert_xx", "partner_other_org"):
        pg.query(f"alter role {role} password 'only-for-tests'")
    pg.command("maintain")
    return command


@pytest.fixture(name="ask")
def fixture_ask(pg, partner):
    """Asks as cert-xx, really logged in."""
    conn = sharing.login(pg, "partner_cert_xx")

    def ask(sql):
        with conn.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    yield ask
    conn.close()


# ---- what a partner reads

def test_own_rows_and_figures_of_others(pg, world, ask):
    own = {row[0] for row in ask("select sensor from sensor")}
    assert len(own) == 2 and all(re.fullmatch(r"s-[0-9a-f]{16}", name) for name in own)
    assert {row[0] for row in ask("select distinct sensor from flow")} == own
    whole = pg.value("select sum(packets) from hirundo.flow where sensor_id = any (%s)", [world.ids["s1"], world.ids["s2"]])
    assert ask("select sum(packets) from flow")[0][0] == whole
    assert ask("select count(*) from observation")[0][0] == 2 * 4 * 7 * 96
    assert {row[0] for row in ask("select label_en from sensor")} == {"Label 1", "Label 2"}
    assert len(ask("select * from shared_total")) == 4
    ports = ask("select distinct port from shared_port")
    assert len(ports) == 12
    for packets, sources in ask("select packets, sources from shared_port union all select packets, sources from shared_country"):
        assert all(v == 0 or float(f"{v:.1e}"[:3]) in (1, 1.5, 2, 3, 5, 7) for v in (packets, sources))
    said = str([ask(f"select * from {t}") for t in ("sensor", "flow", "shared_total", "shared_port", "shared_country")])
    assert "203.0.113" not in said and "Hoster" not in said
    assert not re.search(r"\bs\d+\b", said)


def test_figures_are_the_middle_of_the_others(pg, world, ask):
    """Computed here from flow, not by the functions that publish."""
    rows = pg.query("select (ts at time zone 'UTC')::date - %s::date, port, sensor_id, sum(packets) from hirundo.flow "
                    "where sensor_id <> all (%s) group by 1, 2, 3", world.first.date(), [world.ids["s1"], world.ids["s2"]])
    expected = {}
    for week in range(4):
        for port in world.ports:
            levels = sorted(sum(float(n) for d, p, s, n in rows if d // 7 == week and p == port and s == sensor) / 7
                            for sensor in set(world.ids.values()) - {world.ids["s1"], world.ids["s2"]})
            expected[(week, f"{port}/TCP")] = levels[5]  # of eleven
    found = {((bucket - world.first.date()).days // 7, port): packets for bucket, port, packets in ask("select bucket, port, packets from shared_port")}
    assert found.keys() == expected.keys()
    for cell, level in expected.items():
        assert found[cell] <= level * 1.0001 and level < found[cell] * 1.67, cell


REFUSED = """
select * from hirundo.flow
select * from hirundo.sensor
select * from hirundo.sensor_address
select * from hirundo.port_day
select * from hirundo.partner_pseudonym
select * from hirundo.audit
select * from hirundo.top_ports(null)
select hirundo.setting('time_zone')
select hirundo.share_step()
select hirundo.rollup_step()
select hirundo.partner_build(1::smallint)
select hirundo.audit_add('a', 'b', 'c', 'd')
select * from partner_other_org.flow
select * from partner_other_org.shared_port
select * from published_port
select * from published_total
table partner_other_org.sensor
copy hirundo.flow to stdout
copy published_port to stdout
copy (select * from hirundo.flow) to stdout
copy flow to program 'cat'
copy flow to '/tmp/hirundo-partner'
copy flow from '/etc/passwd'
copy flow from program 'echo'
insert into flow select * from flow
update flow set packets = 0
delete from flow
truncate flow
insert into shared_port select * from shared_port
delete from shared_total
alter table flow disable row level security
drop policy own_sensors on flow
create policy mine on flow for select using (true)
alter view shared_port set (security_barrier = false)
create or replace view shared_port as select 1
drop view shared_port
alter table flow owner to partner_cert_xx
grant select on flow to public
revoke select on flow from partner_cert_xx
create table public.mine (a int)
create table mine (a int)
create temp table mine (a int)
create temp view mine as select * from flow
create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0000001 as $$ begin raise notice '%', $1; return true; end $$
create function public.leak(text) returns boolean language plpgsql as $$ begin return true; end $$
create operator public.=== (leftarg = text, rightarg = text, function = texteq)
create schema mine
create extension pg_trgm
create database mine
create role mine
create event trigger mine on ddl_command_end execute function now()
set role hirundo_owner
set role hirundo_analyst
set role hirundo_collector
set role partner_other_org
set session authorization hirundo_owner
set session authorization partner_other_org
alter role partner_cert_xx superuser
alter role partner_cert_xx bypassrls
alter role partner_other_org password 'x'
grant hirundo_owner to partner_cert_xx
set session_replication_role = replica
alter system set work_mem = '1MB'
alter database hirundo set work_mem = '1MB'
select lo_create(0)
select lo_from_bytea(0, 'x')
select lo_import('/etc/passwd')
select lo_export(1, '/tmp/x')
select pg_read_file('/etc/passwd')
select pg_ls_dir('.')
select * from pg_authid
select * from pg_stat_user_tables
select * from pg_stat_database
select * from pg_stat_activity
select * from pg_stat_wal
select * from pg_locks
select pg_relation_size(c.oid) from pg_class c where relname = 'flow'
select pg_total_relation_size(c.oid) from pg_class c where relname = 'flow'
select pg_database_size(current_database())
select reltuples from pg_class
select relpages from pg_class
select xmin from pg_class
select xmin from pg_attribute
select xmin from flow
select ctid from observation
select datfrozenxid from pg_database
select pg_current_wal_lsn()
select txid_current()
select pg_current_snapshot()
select age('3'::xid)
select pg_export_snapshot()
select pg_try_advisory_lock(5207662349051)
select pg_get_viewdef('shared_port'::regclass)
select definition from pg_views
select * from pg_policies
select * from pg_policy
select * from pg_rewrite
do $$ begin execute 'select * from hirundo.flow'; end $$
prepare q as select * from hirundo.flow
declare c cursor with hold for select * from hirundo.flow
explain select * from hirundo.flow
select * from query_to_xml('select * from hirundo.flow', true, true, '')
select * from table_to_xml('hirundo.flow', true, true, '')
lock table flow in exclusive mode
analyze hirundo.flow
comment on table flow is 'x'
security label on table flow is 'x'
""".strip().splitlines()


@pytest.mark.parametrize("sql", REFUSED)
def test_refused(ask, sql):
    with pytest.raises(psycopg2.Error) as refusal:
        if sql.startswith(("copy", "declare", "lock")):
            ask("begin")
        ask(sql)
    assert refusal.value.pgcode in ("42501", "3F000", "42P01", "42710", "0A000", "22023", "42704"), refusal.value
    assert "foreign" not in str(refusal.value)


def test_what_only_warns_gives_nothing(pg, ask):
    ask("grant usage on schema partner_cert_xx to public")
    assert not pg.value("select has_table_privilege('public', 'partner_cert_xx.flow', 'select') or has_schema_privilege('public', 'partner_cert_xx', 'usage')")
    assert ask("select * from flow limit 1")


def test_partitions_are_refused(pg, ask):
    partitions = [row[0] for row in pg.query("select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid "
                                             "where i.inhparent in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass)")]
    assert partitions
    for name in partitions:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(f"select * from {name}")


def test_pg_stats_tell_nothing(pg, ask):
    pg.query("analyze")
    assert ask("select * from pg_stats where schemaname = 'hirundo' or tablename like 'published%' or schemaname = 'partner_other_org'") == []
    assert ask("select * from pg_stats_ext") == []


def test_session_settings_change_nothing(ask):
    def read():
        return [sorted(map(str, ask(f"select * from partner_cert_xx.{t}"))) for t in ("sensor", "flow", "observation", "shared_total", "shared_port")]
    before = read()
    for setting in ("hirundo.partner = 'other-org'", "hirundo.sensors = '1,2,3'", "search_path = partner_other_org, hirundo", "role = none",
                    "session_authorization = default", "default_transaction_isolation = 'serializable'", "enable_seqscan = off",
                    "plan_cache_mode = force_generic_plan", "jit = on", "check_function_bodies = off", "row_security = on"):
        ask(f"set {setting}")
        assert read() == before, setting
    ask("select set_config('hirundo.partner', 'other-org', false), set_config('search_path', 'hirundo', false)")
    assert read() == before
    ask("set row_security = off")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        ask("select * from partner_cert_xx.flow")


def test_hidden_rows_do_not_show_in_errors(pg, partner, ask):
    """Rows that should never be there: the policy and the view hide them from functions that tell what they saw."""
    pg.query("insert into partner_cert_xx.flow (ts, duration_ms, packets, bytes, dst_no, proto, ttl, tcp_flags, marks, src, sensor) "
             "values (now(), 0, 1, 1, 1, 6, 1, 1, 0, '192.0.2.66', 's-foreign')")
    pg.query("insert into partner_cert_xx.published_port values ('2023-01-02', now() - interval '1 year', 1, 1, 'foreign', 1, 1)")
    pg.query("insert into partner_cert_xx.published_port values ('2023-01-02', now() - interval '1 day', 9, 1, 'foreign-young', 1, 1)")
    try:
        for sql in ("select * from flow where (sensor || 'x')::int = 1 and sensor like 's-foreign%'",
                    "select * from flow where sensor like 's-foreign%' and 1 / (length(sensor) - length(sensor)) = 1",
                    "select * from shared_port where port like 'foreign%' and port::int = 1",
                    "select * from shared_port where 1 / (case when port like 'foreign%' then 0 else 1 end) = 2",
                    "select max(port) from shared_port where port like 'foreign%' and port::inet is not null"):
            try:
                assert ask(sql) in ([], [(None,)]), sql
            except psycopg2.Error as error:
                assert "foreign" not in str(error), sql
        ask("prepare q (text) as select * from shared_port where port like $1 and port::int = 1")
        for _ in range(7):
            assert ask("execute q ('foreign%')") == []
    finally:
        pg.query("delete from partner_cert_xx.flow where sensor = 's-foreign'")
        pg.query("delete from partner_cert_xx.published_port where port like 'foreign%'")


@pytest.fixture(name="logins", scope="module")
def fixture_logins(pg, partner):
    """A login of each kind, as docs/operations.md makes them."""
    del partner
    for role, group in (("plain", ""), ("analyst", " in role hirundo_analyst"), ("service", " in role hirundo_collector"), ("owner", " in role hirundo_owner")):
        pg.query(f"create role {role} login password 'only-for-tests'{group}")


NOBODY = ["copy hirundo.flow to program 'cat'", "copy hirundo.flow to '/tmp/hirundo-role'", "copy hirundo.flow from '/etc/passwd'", "select lo_import('/etc/passwd')",
          "select lo_export(1, '/tmp/hirundo-role')", "select pg_read_file('/etc/passwd')", "select * from pg_authid", "set session_replication_role = replica",
          "set session authorization hirundo_owner", "create role mine", "alter system set work_mem = '1MB'",
          "update hirundo.audit set who = 'x'", "delete from hirundo.audit", "truncate hirundo.audit"]
READERS = NOBODY + ["create extension pg_trgm", "select * from hirundo.sensor_key where revoked_at is null for update", "select * from hirundo.audit", "select * from hirundo.bundle",
                    "copy hirundo.bundle to stdout", "delete from hirundo.flow", "update hirundo.flow set ttl = 1", "truncate hirundo.flow", "drop table hirundo.flow",
                    "alter table hirundo.flow add a int", "create table hirundo.mine (a int)", "create table public.mine (a int)", "create schema mine",
                    "set role hirundo_owner", "select hirundo.partition_drop('2023-01-01')", "select hirundo.partner_build(1::smallint)", "select hirundo.share_publish()",
                    "update hirundo.partner set min_sensors = 3", "insert into hirundo.partner_sensor (partner_id, sensor_id) values (1, 5)",
                    "update hirundo.setting set value = 'off' where name = 'retention_flow'", "select * from partner_cert_xx.flow",
                    "drop policy own_sensors on partner_cert_xx.flow"]
EACH = {
    "plain": READERS + ["select * from hirundo.flow", "select * from hirundo.sensor", "select hirundo.setting('time_zone')", "copy hirundo.flow to stdout"],
    "analyst": READERS + ["select * from hirundo.sensor_key", "copy hirundo.flow from stdin", "insert into hirundo.flow select * from hirundo.flow",
                          "select hirundo.rollup_step()", "select hirundo.audit_add('a', 'b', 'c', 'd')", "set role hirundo_collector"],
    # which reads when a bundle's key may be used first; no secret is in that table
    "service": [sql for sql in READERS if "hirundo.bundle" not in sql] + ["select * from hirundo.flow", "copy hirundo.flow to stdout", "select * from hirundo.traffic", "select * from hirundo.source_day",
                          "select * from hirundo.top_ports(null)", "select * from hirundo.partner_pseudonym", "insert into hirundo.sensor_key values ('', 1)",
                          "select lo_unlink(1)", "set role hirundo_analyst"],
    "owner": NOBODY,
}


@pytest.mark.parametrize("role", EACH)
def test_each_role_tries_what_it_may_not(pg, logins, role):
    """Really logged in; the partitions of both tables beside what is listed."""
    del logins
    partitions = [f"select * from {name}" for name, in pg.query("select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid "
                                                                "where i.inhparent in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass) limit 6")]
    conn = sharing.login(pg, role)
    for sql in EACH[role] + (partitions if role != "owner" else []):
        with conn.cursor() as cursor:
            with pytest.raises(psycopg2.Error) as refusal:
                cursor.execute(sql)
            assert refusal.value.pgcode in ("42501", "42704"), (sql, refusal.value)
    with conn.cursor() as cursor:  # no setting gives more
        for setting in ("search_path = hirundo, partner_cert_xx", "row_security = off", "role = none", "hirundo.partner = 'cert-xx'"):
            cursor.execute(f"set {setting}")
        if role != "owner":
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("select * from partner_cert_xx.flow")
    conn.close()


def test_other_roles_do_not_read_partners_schemas(pg, logins):
    del logins
    for role in ("plain", "analyst", "service"):
        conn = sharing.login(pg, role)
        with conn.cursor() as cursor:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute("select * from partner_cert_xx.flow")
            for group in ("hirundo_owner", "hirundo_partner", "partner_cert_xx"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(f"set role {group}")
            if role == "analyst":  # works as before, with what was closed to the public
                for sql in ("select * from hirundo.top_ports(null)", "select * from hirundo.sensor_status", "create temp table t (a int)",
                            "select pg_total_relation_size('hirundo.sensor')", "select reltuples from pg_class limit 1", "select * from hirundo.partner"):
                    cursor.execute(sql)
            if role == "service":
                cursor.execute("select * from hirundo.retention_due()")
        conn.close()


def test_serve_and_operators_do_not_notice(pg, logins, tmp_path):
    """After the statistics were closed: a collector with a login of its own takes batches, rolls up, looks after sizes; analysts see figures."""
    del logins
    collector = hirundo.Collector(pg)
    collector.conninfo = collector.conninfo.replace("user=hirundo_admin", "user=service")
    with collector:
        sensor = Replayer(collector, tmp_path, "new-one")
        assert sensor.replay(capture(tmp_path / "a.pcap", 300)).returncode == 0
        hirundo.wait_for(lambda: pg.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = 'new-one'"), "rows")
        port = collector.wait_log(r"metrics[^\n]*127\.0\.0\.1:(\d+)").group(1)

        def size():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                return re.search(r"^hirundo_database_bytes [1-9]", page.read().decode(), re.M)
        hirundo.wait_for(size, "the database's size in the metrics", 60)
    assert "permission denied" not in collector.log() and "42501" not in collector.log()
    assert pg.command("status").returncode == 0


# ---- the commands

def test_pseudonyms_are_per_partner_and_the_key_is_nowhere(pg, partner, key):
    secret = key.read_text().strip()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and re.fullmatch("[0-9a-f]{64}", secret)
    names = dict(pg.query("select p.name || '/' || s.name, y.pseudonym from hirundo.partner_pseudonym y join hirundo.partner p using (partner_id) "
                          "join hirundo.sensor s using (sensor_id)"))
    assert len(names) == 26 and len(set(names.values())) == 26
    for both, pseudonym in names.items():
        one, sensor = both.split("/")
        digest = hmac.new(bytes.fromhex(secret), b"\0".join((b"hirundo pseudonym 1", one.encode(), sensor.encode())), hashlib.sha256)
        assert pseudonym == "s-" + digest.hexdigest()[:16]
    tables = [row[0] for row in pg.query("select c.oid::regclass::text from pg_class c where relkind = 'r' and relnamespace::regnamespace::text !~ '^pg_|^information'")]
    for table in tables:
        assert not pg.query(f"select 1 from {table} t where t::text ~ %s limit 1", secret), table
    shown = partner("show", "cert-xx").stdout
    assert names["cert-xx/s1"] in shown and "its own" in shown and names["other-org/s1"] not in shown and secret not in shown


def test_key_file_that_others_read_is_refused(partner, key):
    key.chmod(0o640)
    try:
        done = partner("add", "third", check=False)
        assert done.returncode == 1 and "chmod 600" in done.stderr
        assert "third" not in partner("list").stdout
    finally:
        key.chmod(0o600)
    missing = partner("add", "third", "--pseudonym-key", str(key.parent / "none.key"), check=False)
    assert missing.returncode == 1 and "--make-key" in missing.stderr and not (key.parent / "none.key").exists()
    damaged = key.parent / "damaged.key"
    damaged.write_text("00" * 31 + "\n")
    damaged.chmod(0o600)
    done = partner("add", "third", "--pseudonym-key", str(damaged), check=False)
    assert done.returncode == 1 and "64 hex digits" in done.stderr and "00000000" not in done.stderr


@pytest.mark.parametrize("words, code, said", [
    (("add", "Bad Name"), 2, "lower-case"),
    (("add", "x", "--min-sensors", "2"), 2, "3"),
    (("add", "x", "--delay", "1h"), 2, "1d"),
    (("add", "x", "--bucket", "hour"), 2, "day, week or month"),
    (("add", "x", "--since", "yesterday"), 2, "2023-02-08"),
    (("add", "x", "--sensors", "s1,nobody"), 1, "there is no sensor nobody"),
    (("add", "cert-xx"), 1, "already"),
    (("set", "nobody"), 1, "there is no partner nobody"),
    (("show", "nobody"), 1, "there is no partner nobody"),
    (("drop", "nobody"), 1, "there is no partner nobody"),
    (("drop",), 2, "missing"),
    (("frob",), 2, "unknown command"),
])
def test_bad_words(pg, partner, words, code, said):
    done = partner(*words, check=False)
    assert done.returncode == code and said in done.stderr, done.stderr
    assert pg.value("select count(*) from pg_roles where rolname = 'partner_x'") == 0


def test_set_takes_effect_at_once(pg, partner, world, ask):
    own = dict(ask("select label_en, sensor from sensor"))
    partner("set", "cert-xx", "--sensors", "s1")
    assert {row[0] for row in ask("select distinct sensor from flow")} == {own["Label 1"]}
    quals = pg.query("select qual from pg_policies where schemaname = 'partner_cert_xx'")
    assert len(quals) == 4 and all(own["Label 1"] in q and own["Label 2"] not in q for (q,) in quals)
    partner("set", "cert-xx", "--min-sensors", "12")
    assert ask("select * from shared_port") == [] and ask("select * from shared_total") == []  # eleven others
    partner("set", "cert-xx", "--min-sensors", "5", "--delay", "50d")
    assert 0 < len(ask("select * from shared_total")) < 4
    partner("set", "cert-xx", "--delay", "7d", "--sensors", "s1,s2")
    assert len(ask("select * from shared_total")) == 4
    pg.command("maintain")
    assert {row[0] for row in ask("select distinct sensor from flow")} == set(own.values())
    actions = pg.query("select action, detail, who from hirundo.audit where action like 'partner%' order by audit_id")
    assert [a for a, *_ in actions].count("partner changed") >= 4 and "sensors s1,s2" in actions[-1][1] and "hirundo_admin (" in actions[-1][2]


def test_a_sensor_that_was_its_own_stays_left_out(pg, partner):
    partner("add", "fourth", "--sensors", "s1,s2,s3", "--since", "2020-01-01", "--bucket", "month")
    partner("set", "fourth", "--sensors", "")
    pg.command("maintain")
    assert pg.value("select max(observing) from hirundo.partner_bucket join hirundo.partner using (partner_id) where name = 'fourth'") == 10
    partner("drop", "fourth")
    assert pg.value("select count(*) from pg_roles where rolname = 'partner_fourth'") == 0
    assert pg.value("select count(*) from pg_namespace where nspname = 'partner_fourth'") == 0


def test_what_is_published_stays(pg, partner, world, ask):
    """Late rows change what analysts see, never what was published."""
    before = ask("select * from shared_port order by bucket, port")
    with pg.connect() as conn, conn.cursor() as cursor:
        for name in world.names[2:]:
            world.copy(cursor, list(world.rows(name, world.first, world.ports[0], 5000)))
        sharing.roll_up(cursor)
    assert ask("select * from shared_port order by bucket, port") == before


def test_no_two_buckets_overlap_when_their_length_changes(pg, partner):
    partner("add", "fifth", "--bucket", "week")
    pg.command("maintain")
    partner("set", "fifth", "--bucket", "day")
    pg.command("maintain")
    partner("set", "fifth", "--bucket", "month")
    rows = pg.query("select b.bucket, b.past from hirundo.partner_bucket b join hirundo.partner p using (partner_id) where p.name = 'fifth' order by 1")
    assert len(rows) > 4 and all(a[1] <= b[0] for a, b in zip(rows, rows[1:]))
    partner("drop", "fifth")


def test_who_is_no_superuser_is_told(pg, partner, key):
    """A login that owns the database and makes roles can add partners, once a superuser has closed the statistics."""
    pg.query("create role operator login createrole password 'only-for-tests' in role hirundo_owner")
    environment = dict(pg.environment(), PGUSER="operator")

    def add():
        return hirundo.subprocess.run([hirundo.program("hirundo-collector"), "partner", "add", "sixth", "--pseudonym-key", str(key)],
                                      env=environment, text=True, capture_output=True, check=False, timeout=60)
    pg.query("grant execute on function pg_relation_size(regclass, text) to public")
    done = add()
    assert done.returncode == 1 and "as a superuser" in done.stderr and "docs/sharing.md" in done.stderr
    partner("set", "cert-xx")
    assert add().returncode == 0
    assert "sixth" in partner("list").stdout
    partner("drop", "sixth")


def test_commit_that_nobody_heard_of_leaves_the_key(tmp_path):
    """The connection breaks while the commit waits for a standby: it stands, and its names are nothing without their key."""
    with hirundo.Postgres(settings=["fsync = off"]) as other:
        other.migrate()
        other.command("sensor", "add", "s1", "--country", "JP", "--endpoint", "tcp://127.0.0.1:1", check=False)
        path = tmp_path / "new.key"
        words = [hirundo.program("hirundo-collector"), "partner", "add", "unheard", "--pseudonym-key", str(path)]
        other.query("alter system set synchronous_standby_names = 'nobody'")
        other.query("select pg_reload_conf()")
        with hirundo.subprocess.Popen(words, env=other.environment(), stderr=hirundo.subprocess.PIPE, text=True) as running:
            hirundo.wait_for(lambda: other.value("select count(*) from pg_stat_activity where wait_event = 'SyncRep'"), "the commit")
            other.query("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
            said = running.communicate(timeout=60)[1]
        other.query("alter system reset synchronous_standby_names")
        other.query("select pg_reload_conf()")
        assert running.returncode == 1 and "stays" in said, said
        assert other.value("select count(*) from hirundo.partner_pseudonym") == 1 and path.exists()


def test_migrate_keeps_partners(pg, partner, ask):
    before = ask("select * from shared_port order by bucket, port")
    pg.query("update hirundo.migration set sha256 = 'old' where name like 'analysis/23%'")
    pg.migrate()
    assert ask("select * from shared_port order by bucket, port") == before
