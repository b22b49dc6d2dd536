-- What each role may, and above all what it may not. Login roles as an operator would make them.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.home('JP'), fixture.sensor('a', 'JP');
select hirundo.partition_ensure('2023-02-08');
select fixture.flow('a', '2023-02-08T12:00Z', '198.18.0.1');
select hirundo.partition_ensure((now() at time zone 'UTC')::date);
insert into hirundo.sensor_key (public_key, sensor_id) values (decode(repeat('ab', 32), 'hex'), fixture.id('a'));
update hirundo.setting set value = '400 days' where name = 'retention_flow';
create role hirundo_test_analyst login in role hirundo_analyst;
create role hirundo_test_collector login in role hirundo_collector;
create role hirundo_test_stranger login;

select isnt_superuser(r, r || ' is no superuser') from unnest(array['hirundo_owner', 'hirundo_collector', 'hirundo_analyst']) r;
select is_empty($$select rolname from pg_roles where rolname in ('hirundo_owner', 'hirundo_collector', 'hirundo_analyst')
  and (rolcanlogin or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)$$, 'none logs in or has powers of its own');
select is_empty($$select p.oid::regprocedure from pg_proc p where pronamespace = 'hirundo'::regnamespace and prosecdef
  and not exists (select from unnest(proconfig) c where c = 'search_path=pg_catalog, pg_temp')$$, 'security definer functions pin their search_path');
select set_eq($$select p.proname::text from pg_proc p where pronamespace = 'hirundo'::regnamespace and prosecdef$$,
  array['partition_ensure', 'partition_drop', 'partition_expire', 'rollup_step', 'surge_step', 'rollup_expire', 'maintenance_due', 'rollup_over_size', 'rollup_shrink', 'quarantine_over_size', 'table_expire', 'retention_due', 'audit_add', 'key_used'], 'no other function runs as the owner');
select is_empty($$select c.relname from pg_class c where relnamespace = 'hirundo'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')
  and relowner <> 'hirundo_owner'::regrole$$, 'hirundo_owner owns every table and view');
select is_empty($$select p.oid::regprocedure from pg_proc p where pronamespace = 'hirundo'::regnamespace and proowner <> 'hirundo_owner'::regrole
  and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'i')$$, 'and every function');
-- every table is either for analysts or deliberately not
select set_eq($$select c.relname::text from pg_class c where relnamespace = 'hirundo'::regnamespace and relkind in ('r', 'p', 'v') and not relispartition
  and not has_table_privilege('hirundo_analyst', c.oid, 'select')$$, array['sensor_key', 'unknown_key', 'bundle', 'collector_endpoint', 'audit'], 'analysts read all but keys and enrolment');
select is_empty($$select c.relname from pg_class c where relnamespace = 'hirundo'::regnamespace and relispartition and
  (has_table_privilege('hirundo_analyst', c.oid, 'select,insert,update,delete') or has_table_privilege('hirundo_collector', c.oid, 'select,insert,update,delete'))$$,
  'nobody has rights on partitions');

set session authorization hirundo_test_analyst;
select isnt_empty('select * from hirundo.flow', 'analyst: reads flow');
select lives_ok(q, 'analyst: ' || q) from unnest(array[
  'select * from hirundo.ttl_spread(null)', 'select * from hirundo.ttl_origin(null)', 'select * from hirundo.source_hosts_daily(null)',
  'select * from hirundo.top_ports(null)', 'select * from hirundo.sensor_average(null)', 'select * from hirundo.accounting(null)',
  'select * from hirundo.accounting_check(null)', 'select * from hirundo.sensor_status', 'select * from hirundo.traffic',
  'select * from hirundo.loss, hirundo.quarantine, hirundo.batch, hirundo.ledger, hirundo.network, hirundo.organisation']) q;
select throws_ok(q, '42501', null, 'analyst may not: ' || q) from unnest(array[
  'select * from hirundo.sensor_key', 'delete from hirundo.flow', 'update hirundo.flow set ttl = 1', 'truncate hirundo.flow',
  $$insert into hirundo.flow select * from hirundo.flow$$, 'insert into hirundo.flood select * from hirundo.flood',
  $$update hirundo.setting set value = 'US' where name = 'home_country'$$, 'update hirundo.observation set lost = 0', 'delete from hirundo.loss',
  $$insert into hirundo.sensor (name, country, label_en, label_ja) values ('x', 'JP', '', '')$$, 'update hirundo.sensor set revoked_at = null',
  'delete from hirundo.ledger', 'drop table hirundo.flow', 'select * from hirundo.flow_20230208', 'drop table hirundo.flow_20230208',
  $$select hirundo.partition_ensure('2026-01-01')$$, $$select hirundo.partition_drop('2023-02-08')$$, 'select hirundo.partition_expire()',
  'create table hirundo.mine (a int)', $$create function hirundo.mine() returns int language sql as 'select 1'$$, 'set role hirundo_owner', 'set role hirundo_collector']) q;

set session authorization hirundo_test_collector;
select lives_ok(q, 'collector: ' || q) from unnest(array[
  'select public_key, sensor_id, revoked_at from hirundo.sensor_key', 'select * from hirundo.sensor', $$select hirundo.setting('accept_from')$$,
  $$insert into hirundo.ledger (sensor_id, spool_id, next_seq, first_at, last_batch_at, run_id) values (1, gen_random_uuid(), 2, now(), now(), 1) on conflict (sensor_id, spool_id) do update set next_seq = excluded.next_seq where ledger.next_seq = 1$$,
  $$insert into hirundo.batch values (1, gen_random_uuid(), 1, decode(repeat('00', 32), 'hex'), now(), null, null, 0, 0, 0, 0, 'committed')$$,
  $$update hirundo.batch set outcome = 'committed'$$,
  $$insert into hirundo.observation (sensor_id, slot) values (1, '2023-02-08T00:00Z') on conflict (sensor_id, slot) do update set frames = observation.frames + excluded.frames$$,
  $$insert into hirundo.loss values (1, gen_random_uuid(), 1, 'lost', now(), now(), 0, 'full', now())$$,
  $$insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload) values (1, gen_random_uuid(), 1, now(), 'p', 'r', 0, '', '') returning quarantine_id$$,
  $$update hirundo.quarantine set resolved_at = now(), resolution = 'dropped'$$,
  $$insert into hirundo.sensor_address (sensor_id, dst_no, address) values (1, 1, '192.0.2.1') on conflict do nothing$$,
  $$insert into hirundo.tcp_options (layout, mss, window_scale) values ('mss', 1460, null) on conflict do nothing returning options_id$$,
  'select * from hirundo.tcp_options', 'select hirundo.partition_ensure((now() at time zone ''UTC'')::date + 1)',
  $$insert into hirundo.flow values (now(), 0, 1, 40, 22, 1, 1, 1, 1, null, 1, 1, 6, 50, 2, 0, '198.18.0.1')$$,
  $$insert into hirundo.flood values (now(), 1, 40, null, 22, 1, 1, 6, 2, 1, 2)$$,
  $$insert into hirundo.dirty as d (sensor_id, hour) values (1, '2023-02-08T00:00Z') on conflict (sensor_id, hour) do update set gen = d.gen + 1$$,
  'select hirundo.rollup_step()', 'select * from hirundo.rollup_expire()', 'select * from hirundo.maintenance_due()', 'select * from hirundo.rollup_lag',
  $$select * from hirundo.accounting(null)$$, 'select * from hirundo.sensor_status', 'select * from hirundo.partition_days()']) q;
select throws_ok(q, '42501', null, 'collector may not: ' || q) from unnest(array[
  'delete from hirundo.flow', 'update hirundo.flow set ttl = 1', 'select * from hirundo.flow', 'truncate hirundo.flow', 'delete from hirundo.flood',
  'delete from hirundo.dirty', 'select * from hirundo.source_day', 'delete from hirundo.port_day', $$select hirundo.rollup_rezone('UTC')$$,
  'delete from hirundo.ledger', 'delete from hirundo.batch', 'delete from hirundo.observation', 'delete from hirundo.loss', 'delete from hirundo.quarantine', 'truncate hirundo.ledger',
  $$update hirundo.setting set value = 'off' where name = 'retention_flow'$$, 'update hirundo.sensor set country = ''US''', 'update hirundo.sensor_key set revoked_at = null',
  $$insert into hirundo.sensor_key values (decode(repeat('cd', 32), 'hex'), 1)$$,
  $$insert into hirundo.sensor (name, country, label_en, label_ja) values ('x', 'JP', '', '')$$,
  'select hirundo.partition_drop((now() at time zone ''UTC'')::date)', 'drop table hirundo.flow_20230208', 'drop table hirundo.flow', 'alter table hirundo.flow detach partition hirundo.flow_20230208',
  'select * from hirundo.flow_20230208', 'create table hirundo.mine (a int)', 'set role hirundo_owner', 'select * from hirundo.ttl_spread(null)', 'delete from hirundo.network']) q;
select results_eq('select hirundo.partition_expire()', $$values ('2023-02-08'::date)$$, 'collector: expires what is past retention');

set session authorization hirundo_test_stranger;
select throws_ok(q, '42501', null, 'a stranger may not: ' || q) from unnest(array[
  'select * from hirundo.flow', 'select * from hirundo.setting', $$select hirundo.quarter('2023Q1')$$, 'select hirundo.partition_expire()', 'select * from hirundo.sensor_status']) q;
reset session authorization;

select * from finish();
rollback;
