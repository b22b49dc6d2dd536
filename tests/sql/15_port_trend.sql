-- port_trend and quarter_top, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor('jp', 'JP'), fixture.sensor('tw', 'TW');

-- two weeks: from Monday 6 February; the second has one sensor less, and nobody observes on the 20th and 21st
select fixture.observe('jp', '2023-02-05T15:00Z', '2023-02-19T15:00Z');
select fixture.observe('tw', '2023-02-05T15:00Z', '2023-02-12T15:00Z');
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.1', port => 23, packets => 28);
select fixture.flow('tw', '2023-02-08T01:00Z', '198.18.0.1', port => 23, packets => 14);
select fixture.flow('jp', '2023-02-15T01:00Z', '198.18.0.1', port => 23, packets => 14);
select fixture.flow('jp', '2023-02-08T02:00Z', '198.18.0.2', proto => 47, port => null, packets => 20);
select fixture.flow('jp', '2023-02-08T02:00Z', '198.18.0.2', port => 80, packets => 7);
select fixture.flood('jp', '2023-02-15T02:00Z', 6, 80, 13);
select fixture.flow('jp', '2023-02-15T02:00Z', '198.18.0.2', port => 81, packets => 20, flags => 18); -- backscatter counts
select fixture.flow('jp', '2023-02-15T02:00Z', '198.18.0.2', port => 9, packets => 1000, marks => 16); -- local does not

prepare weeks as select bucket, rank, port, packets, flood_packets, sensors, sensor_days, average from hirundo.port_trend(hirundo.period('2023-02-06..2023-02-27'), 'week', 3);
prepare weeks_answer as values
  ('2023-02-06'::timestamp, 1, '23/TCP', 42::bigint, 0::bigint, 2::bigint, 14::numeric, 3::numeric), ('2023-02-06', 2, '80/TCP', 7, 0, 2, 14, 0.5), ('2023-02-06', 3, '81/TCP', 0, 0, 2, 14, 0),
  ('2023-02-13', 1, '23/TCP', 14, 0, 1, 7, 2), ('2023-02-13', 2, '80/TCP', 13, 13, 1, 7, 1.857143), ('2023-02-13', 3, '81/TCP', 20, 0, 1, 7, 2.857143),
  ('2023-02-20', 1, '23/TCP', null, null, 0, 0, null), ('2023-02-20', 2, '80/TCP', null, null, 0, 0, null), ('2023-02-20', 3, '81/TCP', null, null, 0, 0, null);
select results_eq('weeks', 'weeks_answer', 'by week: divided by observed sensor-days, floods in it and beside, ties by name (81/TCP before GRE), nobody observed is null');
set local timezone = 'America/St_Johns';
select results_eq('weeks', 'weeks_answer', 'in any session time zone');
reset timezone;
select results_eq($$select bucket, port, packets, sensor_days, average from hirundo.port_trend(hirundo.day('2023-02-08'), 'Hour', 1) where bucket < '2023-02-08 02:00' or packets > 0$$,
  $$values ('2023-02-08 00:00'::timestamp, '23/TCP', 0::bigint, 0.083333, 0::numeric), ('2023-02-08 01:00', '23/TCP', 0, 0.083333, 0), ('2023-02-08 10:00', '23/TCP', 42, 0.083333, 504)$$, 'by hour, per day');
select is((select count(*) from hirundo.port_trend(hirundo.day('2023-02-08'), 'hour', 1)), 24::bigint, 'a day has 24 hours');
select results_eq($$select bucket, average from hirundo.port_trend(hirundo.quarter('2023Q1'), 'quarter', 1)$$, $$values ('2023-01-01'::timestamp, round(56 / 21.0, 6))$$, 'by quarter');
select results_eq($$select distinct bucket from hirundo.port_trend(hirundo.quarter('2023Q1'), 'month', 1) order by 1$$, $$values ('2023-01-01'::timestamp), ('2023-02-01'), ('2023-03-01')$$, 'by month');
select is((select count(*) from hirundo.port_trend(hirundo.quarter('2023Q1'), null, null)), 14 * 4::bigint, 'NULL: by week, five ports');
select is_empty($$select * from hirundo.port_trend('empty', 'day', 3)$$, 'empty period');
select is_empty($$select * from hirundo.port_trend(hirundo.quarter('2023Q1'), 'day', 0)$$, 'the top none');
select throws_like($$select * from hirundo.port_trend(null, 'year')$$, '%''year'' is not a bucket%', 'a bucket that is none');
select fixture.zone('America/New_York');
select fixture.flow('jp', '2023-03-12T12:00Z', '198.18.0.2', port => 7);
select results_eq($$select count(*), sum(sensor_days) from hirundo.port_trend(hirundo.day('2023-03-12'), 'hour', 1)$$, $$values (23::bigint, 0::numeric)$$, 'a day of 23 hours');
delete from hirundo.flow where port = 7;
select fixture.zone('Asia/Tokyo');

-- quarter_top: US and GB by address; February with January before
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 2, 2);
insert into hirundo.network select s.set_id, lo, hi, 64500, c from hirundo.prefix_set s, (values ('198.18.0.1'::inet, '198.18.0.1'::inet, 'US'), ('198.18.0.2', '198.18.0.2', 'GB')) v(lo, hi, c) where s.source = 'test';
select results_eq($$select kind, rank, item, packets, share, average, previous_rank, previous, previous_packets, flood_packets, sensor_days, previous_sensor_days from hirundo.quarter_top(hirundo.month('2023-02'), 3)$$,
  $$values ('service', 1, '23/TCP', 56::bigint, 0.4828, round(56 / 21.0, 6), null::int, null, null::bigint, 0::bigint, 21::numeric, 0::numeric),
    ('service', 2, '80/TCP', 20, 0.1724, round(20 / 21.0, 6), null, null, null, 13, 21, 0), ('service', 3, '81/TCP', 20, 0.1724, round(20 / 21.0, 6), null, null, null, 0, 21, 0),
    ('country', 1, 'US', 56, 0.4828, round(56 / 21.0, 6), null, null, null, 0, 21, 0), ('country', 2, 'GB', 47, 0.4052, round(47 / 21.0, 6), null, null, null, 0, 21, 0),
    ('country', null, 'unknown', 13, 0.1121, round(13 / 21.0, 6), null, null, null, 13, 21, 0)$$, 'nobody observed the month before: no previous rank; floods have no country');
select fixture.observe('jp', '2023-01-09T15:00Z', '2023-01-10T15:00Z');
select fixture.flow('jp', '2023-01-10T02:00Z', '198.18.0.2', port => 1000 + g, packets => 20 - g) from generate_series(1, 10) g;
select fixture.flow('jp', '2023-01-10T02:00Z', '198.18.0.2', port => 23, packets => 9);
select fixture.flow('jp', '2023-01-10T02:00Z', '198.18.0.2', proto => 47, port => null, packets => 15);
select results_eq($$select kind, rank, item, previous_rank, previous, previous_packets from hirundo.quarter_top(hirundo.month('2023-02'), 4)$$,
  $$values ('service', 1, '23/TCP', null::int, '-', 9::bigint), ('service', 2, '80/TCP', null, '-', 0), ('service', 3, '81/TCP', null, '-', 0), ('service', 4, 'GRE', 6, '6', 15),
    ('country', 1, 'US', null, '-', 0), ('country', 2, 'GB', 1, '1', 169), ('country', null, 'unknown', null, null, 0)$$, 'outside the first ten: -; GRE has its place, after 1005/TCP with as many');
select is((select tstzrange(b.before_first, b.before_past) from hirundo.period_before(lower(p), upper(p)) b), want, what)
from (values (hirundo.quarter('2023Q1'), hirundo.quarter('2022Q4'), 'before a quarter'), (hirundo.month('2023-03'), hirundo.month('2023-02'), 'before a month'),
  (hirundo.week('2023-W06'), hirundo.week('2023-W05'), 'before a week'), (hirundo.day('2023-02-08'), hirundo.day('2023-02-07'), 'before a day'),
  (hirundo.period('2022-01-01..2023-01-01'), hirundo.period('2021-01-01..2022-01-01'), 'before a year'),
  (hirundo.period('2023-02-08T12:00..2023-02-08T18:00'), hirundo.period('2023-02-08T06:00..2023-02-08T12:00'), 'before some hours')) v(p, want, what);
select is_empty($$select * from hirundo.quarter_top('empty', 3)$$, 'empty period');
select results_eq($$select distinct previous, previous_sensor_days from hirundo.quarter_top(null, 3)$$, $$values (null::text, 0::numeric)$$, 'all time has nothing before it');
select is((select count(*) from hirundo.quarter_top(hirundo.month('2023-02'), 0) where rank is not null), 0::bigint, 'the top none');

-- rolled up, the same, and from rollups
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from (select ts, sensor_id from hirundo.flow union all select ts, sensor_id from hirundo.flood) f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
create temp table before as select 1 as q, t.* from hirundo.quarter_top(hirundo.month('2023-02'), 4) t;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select results_eq('weeks', 'weeks_answer', 'port_trend from rollups');
select set_eq($$select 1 as q, t.* from hirundo.quarter_top(hirundo.month('2023-02'), 4) t$$, 'select * from before', 'quarter_top from rollups');
-- a day without packets is no day of a rollup: flow has a partition for it, with nothing inside
select ok(fixture.reads('select * from hirundo.port_trend(hirundo.period(''2023-02-08..2023-02-09''), ''day'', 3)') @> '{network_port_day}'
  and not fixture.reads('select * from hirundo.port_trend(hirundo.period(''2023-02-08..2023-02-09''), ''day'', 3)') && '{flow,flood}', 'port_trend reads rollups, not flow');
select ok(fixture.reads('select * from hirundo.port_trend(hirundo.period(''2023-02-08T10:00..2023-02-08T12:00''), ''hour'', 3)') @> '{port_hour}'
  and not fixture.reads('select * from hirundo.port_trend(hirundo.period(''2023-02-08T10:00..2023-02-08T12:00''), ''hour'', 3)') && '{flow,flood}', 'by hour too');
select ok(fixture.reads('select * from hirundo.quarter_top(hirundo.day(''2023-02-15''), 3)') @> '{network_port_day,country_day}', 'quarter_top reads rollups');

-- what is missing stands in the row
update hirundo.observation set kernel_dropped = 5 where slot = '2023-02-15T01:00Z';
insert into hirundo.observation (sensor_id, slot, row_packets) select min(s.sensor_id), g, 1 from hirundo.sensor s, unnest(array['2023-02-21 01:00Z', '2023-02-21 20:00Z']::timestamptz[]) g group by g;
insert into hirundo.flow_dropped values ('2023-02-21');
select results_eq($$select distinct bucket::date, missing from hirundo.port_trend(hirundo.period('2023-02-06..2023-02-27'), 'week', 3) order by 1$$,
  $$values ('2023-02-06'::date, null), ('2023-02-13', '5 packets dropped'), ('2023-02-20', 'data of 2 days gone by retention')$$, 'port_trend says what is missing');
select results_eq($$select distinct missing from hirundo.port_trend(hirundo.day('2023-02-15'), 'hour', 1)$$, $$values ('5 packets dropped')$$, 'by hour what the day lacks');
select results_eq($$select distinct missing from hirundo.quarter_top(hirundo.month('2023-02'), 3)$$, $$values ('5 packets dropped, data of 2 days gone by retention')$$, 'so does quarter_top');
select * from finish();
rollback;
