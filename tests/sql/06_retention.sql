-- Retention by size and of the tables beside flow. Days are of this year: what is too large goes from the oldest on, never today.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC'), fixture.sensor('a', 'JP'), fixture.sensor('b', 'JP');
create function pg_temp.today() returns date language sql as $$ select (now() at time zone 'UTC')::date $$;
create function pg_temp.setting(n text, v text) returns void language sql as $$ update hirundo.setting set value = v where name = n $$;
create function pg_temp.size(n int) returns bigint language sql as
$$ select sum(bytes)::bigint from hirundo.partition_sizes() where day > pg_temp.today() - n $$;

-- flow: ten days of alike size, today and the two made ahead among them
select hirundo.partition_ensure(d::date) from generate_series(pg_temp.today() - 7, pg_temp.today() + 2, interval '1 day') d;
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select d + interval '1 hour', 0, 1, 60, 22, fixture.id('a'), 1, 6, 50, 2, 0, '198.18.0.1'
from generate_series(pg_temp.today() - 7, pg_temp.today(), interval '1 day') d, generate_series(1, 2000);
select is((select count(*) from hirundo.partition_sizes()), 10::bigint, 'a size for each day');
select ok((select bool_and(bytes > 150000) from hirundo.partition_sizes() where day <= pg_temp.today()), 'flow, flood and their indexes');
select is_empty('select hirundo.flow_over_size()', 'off: nothing is too large');
select throws_ok($$select hirundo.partition_drop(pg_temp.today() - 7)$$, '42501', null, 'and nothing can be dropped');
select pg_temp.setting('max_size_flow', pg_temp.size(4)::text); -- room for today, what is ahead, and three days before
select results_eq('select hirundo.flow_over_size()', $$select pg_temp.today() - n from generate_series(7, 4, -1) n$$, 'the oldest go');
select throws_ok($$select hirundo.partition_drop(pg_temp.today() - 3)$$, '42501', null, 'what fits cannot be dropped');
select throws_ok($$select hirundo.partition_drop(pg_temp.today())$$, '42501', null, 'nor today');
select results_eq($$select what, since, until, count, bytes from hirundo.retention_due() where count > 0$$,
  $$select 'flow days', to_char(pg_temp.today() - 7, 'YYYY-MM-DD'), to_char(pg_temp.today() - 4, 'YYYY-MM-DD'), 4::bigint, pg_temp.size(8) - pg_temp.size(4)$$, 'retention_due shows it');
select alike((select why from hirundo.retention_due() where what = 'flow days' and count > 0), 'max_size_flow = %, is %', 'with setting and size');
select pg_temp.setting('retention_flow', '6 days');
select results_eq($$select since, until, count, substring(why from '^\w+') from hirundo.retention_due() where count > 0$$,
  $$select to_char(pg_temp.today() - a, 'YYYY-MM-DD'), to_char(pg_temp.today() - b, 'YYYY-MM-DD'), a - b + 1::bigint, why from (values (7, 7, 'retention_flow'), (6, 4, 'max_size_flow')) v(a, b, why)$$,
  'by age first, by size of the rest: no day twice');
select pg_temp.setting('retention_flow', 'off');
select ok(hirundo.partition_drop(pg_temp.today() - 7), 'one by one');
select results_eq('select hirundo.partition_expire()', $$select pg_temp.today() - n from generate_series(6, 4, -1) n$$, 'or all');
select is((select count(*) from hirundo.flow), 8000::bigint, 'four days are left');
select set_eq('select day from hirundo.flow_dropped', $$select pg_temp.today() - n from generate_series(4, 7) n$$, 'what went is noted');
select is_empty('select hirundo.flow_over_size()', 'the rest fits');
select pg_temp.setting('max_size_flow', '1 kB');
select results_eq('select hirundo.partition_expire()', $$select pg_temp.today() - n from generate_series(3, 1, -1) n$$, 'too small for anything: today stays');
select ok((select count(*) = 2000 from hirundo.flow), 'with its rows');
select fixture.zone('Etc/GMT+12'); -- a day there begins at noon UTC: yesterday (UTC) may be today
delete from hirundo.flow_dropped where day = pg_temp.today() - 1;
select hirundo.partition_ensure(pg_temp.today() - 1);
select is((select count(*) from hirundo.flow_over_size()), (case when extract(hour from now() at time zone 'UTC') < 12 then 0 else 1 end)::bigint, 'today of the reporting zone stays too');
select fixture.zone('UTC'), pg_temp.setting('max_size_flow', 'off');

-- batch, quarantine, heartbeat_hour by age
insert into hirundo.batch (sensor_id, spool_id, seq, digest, committed_at, frames, flows, floods, payload_bytes, outcome)
select fixture.id('a'), gen_random_uuid(), n, decode(repeat('00', 32), 'hex'), now() - make_interval(days => n), 0, 0, 0, 0, 'committed' from generate_series(0, 500, 50) n;
insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload, resolved_at, resolution)
select fixture.id('a'), gen_random_uuid(), n, now() - make_interval(days => n), '', '', 0, '', decode(repeat('ab', 2000), 'hex'),
  case when n % 2 = 1 then now() end, case when n % 2 = 1 then 'dropped' end from generate_series(0, 19) n;
insert into hirundo.heartbeat_hour select fixture.id('a'), date_trunc('hour', now()) - make_interval(days => n), 1, 0, 0, 0, 0, 0, 0 from generate_series(0, 100, 10) n;
select results_eq($$select what, count from hirundo.retention_due() where count > 0 order by 1$$, $$values ('batch rows', 2::bigint), ('heartbeat_hour rows', 2)$$, 'due by age');
select results_eq($$select what, count from hirundo.table_expire() where count > 0 order by 1$$, $$values ('batch', 2::bigint), ('heartbeat_hour', 2)$$, 'and deleted');
select is_empty($$select what from hirundo.retention_due() where count > 0$$, 'then nothing is due');
select is((select count(*) from hirundo.table_expire() where count > 0), 0::bigint, 'nor deleted');
select pg_temp.setting('retention_batch', 'off'), pg_temp.setting('retention_quarantine', '9.5 days');
select results_eq($$select what, count from hirundo.table_expire() where count > 0$$, $$values ('quarantine', 10::bigint)$$, 'days 10 to 19; batch is off');

-- quarantine by size: resolved ones first, the oldest of them first, none of today
select pg_temp.setting('max_size_quarantine', '14000');
select results_eq($$select what, since, until, count, bytes, why from hirundo.retention_due() where count > 0$$,
  $$values ('quarantine rows', to_char(pg_temp.today() - 9, 'YYYY-MM-DD'), to_char(pg_temp.today() - 3, 'YYYY-MM-DD'), 4::bigint, 9200::bigint, 'max_size_quarantine = 14000, is 22 kB')$$, 'due by size');
select is((select count(*) from hirundo.quarantine_over_size()), 4::bigint, 'six of 2,300 bytes fit');
delete from hirundo.quarantine q using hirundo.quarantine_over_size() o where q.quarantine_id = o.quarantine_id;
select set_eq('select seq::int from hirundo.quarantine', array[0, 2, 4, 6, 8, 1], 'unresolved ones stay, then the newest');
insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload)
select fixture.id('b'), gen_random_uuid(), 100, now() - interval '9 days', '', '', 0, '', decode(repeat('ab', 2000), 'hex');
select pg_temp.setting('max_size_quarantine', '9500');
delete from hirundo.quarantine q using hirundo.quarantine_over_size() o where q.sensor_id = o.sensor_id and q.quarantine_id = o.quarantine_id;
select set_eq('select seq::int from hirundo.quarantine', array[0, 2, 4, 100], 'the sensor that has most gives way, not the one with the oldest');
select pg_temp.setting('max_size_quarantine', '1000');
select is((select count from hirundo.table_expire() where why = 'max_size_quarantine'), 3::bigint, 'too small for any');
select set_eq('select seq::int from hirundo.quarantine', array[0], 'today''s stays');

-- rollups by size
insert into hirundo.port_day (packets, bytes, flood_packets, source_days, day, port_code, sensor_id, ttl_min, ttl_max, class)
select 1, 60, 0, 1, pg_temp.today() - d, p, fixture.id('a'), 50, 50, 'scan' from generate_series(0, 9) d, generate_series(1, 1000) p;
select is_empty('select * from hirundo.rollup_over_size()', 'off');
select pg_temp.setting('max_size_port_day', '1 GB');
select is_empty('select * from hirundo.rollup_over_size()', 'within its size');
select pg_temp.setting('max_size_port_day', (pg_total_relation_size('hirundo.port_day') / 2)::text);
create temp table over as select * from hirundo.rollup_over_size();
select ok((select name = 'port_day' and before between pg_temp.today() - 6 and pg_temp.today() - 3 from over), 'about half of the days fit');
select ok((select bytes::numeric / pg_total_relation_size('hirundo.port_day') between 0.6 and 1.2 from over), 'the size reckoned from rows is near the table''s');
select results_eq($$select what, since, until, count from hirundo.retention_due() where count > 0$$,
  $$select 'port_day rows', to_char(pg_temp.today() - 9, 'YYYY-MM-DD'), to_char(before - 1, 'YYYY-MM-DD'), 1000 * (before - (pg_temp.today() - 9))::bigint from over$$, 'due by size');
select pg_temp.setting('retention_port_day', '8 days');
select results_eq($$select since, until, count, substring(why from '^\w+') from hirundo.retention_due() where count > 0$$,
  $$select to_char(pg_temp.today() - 9, 'YYYY-MM-DD'), to_char(pg_temp.today() - 9, 'YYYY-MM-DD'), 1000::bigint, 'retention_port_day'
    union all select to_char(pg_temp.today() - 8, 'YYYY-MM-DD'), to_char(before - 1, 'YYYY-MM-DD'), 1000 * (before - (pg_temp.today() - 8))::bigint, 'max_size_port_day' from over$$,
  'by age first, by size of the rest');
select ok((select bool_and(bytes between 50 * count and 300 * count) from hirundo.retention_due() where count > 0), 'and its size');
select pg_temp.setting('retention_port_day', 'off');
select results_eq('select name, before, deleted from hirundo.rollup_shrink()', $$select name, before, 1000 * (before - (pg_temp.today() - 9))::bigint from over$$, 'the oldest days go');
select is((select min(day) from hirundo.port_day), (select before from over), 'the others stay');
select is((select before from hirundo.rollup_gone where name = 'port_day'), (select before from over), 'figures know from when on it answers');
select is_empty('select * from hirundo.rollup_shrink()', 'once, though the table is as large on disk as before');
select pg_temp.setting('max_size_port_day', '1 kB');
select results_eq('select name, before from hirundo.rollup_shrink()', $$values ('port_day', pg_temp.today())$$, 'too small for anything');
select is((select count(*) from hirundo.port_day where day = pg_temp.today()), 1000::bigint, 'today stays');
insert into hirundo.port_hour (hour, packets, bytes, flood_packets, source_hours, port_code, sensor_id, ttl_min, ttl_max, class)
select date_trunc('day', now(), 'UTC') - make_interval(hours => h), 1, 60, 0, 1, p, fixture.id('a'), 50, 50, 'scan' from generate_series(0, 49) h, generate_series(1, 200) p;
select pg_temp.setting('max_size_port_hour', '1 kB');
select results_eq('select name, before, deleted from hirundo.rollup_shrink()', $$values ('port_hour', pg_temp.today(), 49 * 200::bigint)$$, 'hours go by days');

select * from finish();
rollback;
