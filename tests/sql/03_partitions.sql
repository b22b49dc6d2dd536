-- Partitions: made on demand, dropped only past retention.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.sensor('a', 'JP');

select ok(hirundo.partition_ensure('2023-02-08'), 'made');
select ok(not hirundo.partition_ensure('2023-02-08'), 'there already');
select has_table('hirundo', 'flow_20230208', 'flow''s partition');
select has_table('hirundo', 'flood_20230208', 'flood''s partition');
select table_owner_is('hirundo', 'flow_20230208', 'hirundo_owner', 'owned by hirundo_owner');
select is((select array_agg(a.amname::text) from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
  where i.indrelid = 'hirundo.flow_20230208'::regclass), '{brin}', 'one BRIN index');
-- days are UTC days, whatever the session's zone
set local timezone = 'Asia/Tokyo';
select ok(hirundo.partition_ensure('2023-02-10'), 'made in a session in Tokyo');
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select t, 0, 1, 40, 22, fixture.id('a'), 1, 6, 50, 2, 0, '198.18.0.1'
from unnest(array['2023-02-08T00:00Z', '2023-02-08T23:59:59.999Z', '2023-02-10T00:00Z', '2023-02-10T23:59:59.999Z']::timestamptz[]) t;
reset timezone;
select is((select count(*) from hirundo.flow_20230208), 2::bigint, 'from midnight to midnight UTC');
select throws_like($$insert into hirundo.flow select '2023-02-09T00:00Z', 0, 1, 40, 22, 1, 1, 1, 1, null, 1, 1, 6, 50, 2, 0, '198.18.0.1'$$, 'no partition of relation %', 'the next day has no partition');
select results_eq('select day from hirundo.partition_days()', $$values ('2023-02-08'::date), ('2023-02-10')$$, 'partition_days');
select throws_ok('select hirundo.partition_ensure(null)', '22004');
select throws_like($$select hirundo.partition_ensure('1999-12-31')$$, '%outside the accepted times%', 'before accept_from');
select throws_like('select hirundo.partition_ensure(current_date + 30)', '%outside the accepted times%', 'too far ahead');
select ok(hirundo.partition_ensure(((now() at time zone 'UTC')::date + 7)), 'a week ahead');

-- retention off
select throws_ok($$select hirundo.partition_drop('2023-02-08')$$, '42501', null, 'with retention off nothing is dropped');
select is_empty('select hirundo.partition_expire()', 'nor expires');
-- retention so that the 8th has just ended outside and the 10th not
update hirundo.setting set value = (now() - '2023-02-09T00:00:00Z'::timestamptz)::text where name = 'retention_flow';
select throws_ok($$select hirundo.partition_drop('2023-02-10')$$, '42501', null, 'inside retention: refused');
select throws_ok($$select hirundo.partition_drop(current_date)$$, '42501', null, 'today: refused');
select throws_ok('select hirundo.partition_drop(null)', '22004');
select throws_like($$select hirundo.partition_ensure('2023-02-07')$$, '%past retention_flow%', 'a day past retention is not made');
select results_eq('select hirundo.partition_expire()', $$values ('2023-02-08'::date)$$, 'expires what ended before');
select hasnt_table('hirundo', 'flow_20230208', 'gone');
select hasnt_table('hirundo', 'flood_20230208', 'with its flood rows');
select has_table('hirundo', 'flow_20230210', 'the other stays');
select ok(not hirundo.partition_drop('2023-02-07'), 'dropping a day that never was');
update hirundo.setting set value = (now() - '2023-02-11T00:00:00Z'::timestamptz)::text where name = 'retention_flow';
select ok(hirundo.partition_drop('2023-02-10'), 'dropped by day');
update hirundo.setting set value = 'off' where name = 'retention_flow';
select throws_like($$select hirundo.partition_ensure('2023-02-10')$$, 'retention has dropped flow of 2023-02-10%', 'what went is not begun again');
delete from hirundo.flow_dropped where day = '2023-02-10';
select ok(hirundo.partition_ensure('2023-02-10'), 'unless its owner forgets that it went');
select is((select count(*) from hirundo.flow), 0::bigint, 'its rows are gone');

-- values that are none
select throws_ok(format('update hirundo.setting set value = %L where name = %L', v, n), '23514', null, format('%s = %s: refused', n, v))
from (values ('retention_flow', '10000 years'), ('retention_port_day', '10000 years'), ('accept_ahead', '10000 years'), ('losing_for', '10000 years'),
  ('accept_from', 'infinity'), ('accept_from', '-infinity'), ('retention_flow', '0'), ('retention_flow', '-1 day'), ('retention_flow', '23:59')) x(n, v);
select throws_ok($$update hirundo.setting set value = '5 apples' where name = 'retention_flow'$$, '22007');
-- a day to the check, and in truth four days to come
update hirundo.setting set value = '-1 years 361 days' where name in ('retention_flow', 'retention_port_day');
select hirundo.partition_ensure((now() at time zone 'UTC')::date);
select ok(hirundo.retention_cutoff() <= date_trunc('day', now(), 'UTC'), 'a cutoff is never in today');
select throws_ok($$select hirundo.partition_drop((now() at time zone 'UTC')::date)$$, '42501', null, 'today stays');
select is((select before from hirundo.rollup_retention() where name = 'port_day'), (now() at time zone hirundo.time_zone())::date, 'of rollups, too');

select * from finish();
rollback;
