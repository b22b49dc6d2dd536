-- activity_calendar and its test, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor('jp', 'JP');

-- rotation_test: one week of seven, two marked and highest: one rotation of seven reaches that
select results_eq($$select round(p_value::numeric, 10), informative from hirundo.rotation_test(array_fill(date '2023-02-06', array[7]), '{1,1,1,1,1,9,8}', '{f,f,f,f,f,t,t}')$$, $$values (round(1 / 7.0, 10), 1)$$, 'one week: 1/7');
select results_eq($$select round(p_value::numeric, 10), informative from hirundo.rotation_test(array_fill(date '2023-02-06', array[7]) || array_fill(date '2023-02-13', array[7]),
  '{1,1,1,1,1,9,8,0,0,0,0,0,1,1}', '{f,f,f,f,f,t,t,f,f,f,f,f,t,t}')$$, $$values (round(1 / 49.0, 10), 2)$$, 'two weeks: 1/49');
-- ranks 7 5 1 1 1 1 1 doubled: 14 12 6 6 6 6 6; marked days 6, 7; the sums of the rotations: 12 18 26 20 12 12 12, the one seen is 12
select is((select p_value from hirundo.rotation_test(array_fill(date '2023-02-06', array[7]), '{9,8,1,1,1,1,1}', '{f,f,f,f,f,t,t}')), 1::double precision, 'low on marked days: 1');
-- marked days are Monday and Sunday; a rotation keeps days that follow one another together
select results_eq($$select round(p_value::numeric, 10) from hirundo.rotation_test(array_fill(date '2023-02-06', array[4]), '{3,1,1,2}', '{t,f,f,t}')$$, $$values (0.25)$$, 'four days of a week');
select results_eq($$select p_value, informative from hirundo.rotation_test(array_fill(date '2023-02-06', array[7]), '{5,5,5,5,5,5,5}', '{f,f,f,f,f,t,t}')$$, $$values (null::double precision, 0)$$, 'equal days cannot tell');
select results_eq($$select p_value, informative from hirundo.rotation_test(array_fill(date '2023-02-06', array[7]), '{1,2,3,4,5,6,7}', '{t,t,t,t,t,t,t}')$$, $$values (null::double precision, 0)$$, 'nor can a week of marked days');
select results_eq($$select p_value, informative from hirundo.rotation_test(null, null, null)$$, $$values (null::double precision, 0)$$, 'nor nothing');

insert into hirundo.holiday values ('JP', '2023-02-11', 'Foundation Day'), ('JP', '2023-02-23', 'Birthday of the Emperor'), ('TW', '2023-02-28', 'Peace Memorial Day');
select results_eq($$select d::date, hirundo.day_kind(d::date, 'jp') from unnest(array['2023-02-10', '2023-02-11', '2023-02-12', '2023-02-23', '2023-02-25', '2023-02-26', '2023-02-27', '2023-02-28', '2023-03-01']::date[]) d$$,
  $$values ('2023-02-10'::date, 'weekday'), ('2023-02-11', 'holiday'), ('2023-02-12', 'weekend'), ('2023-02-23', 'holiday'), ('2023-02-25', 'weekend'), ('2023-02-26', 'weekend'),
    ('2023-02-27', 'month_end'), ('2023-02-28', 'month_end'), ('2023-03-01', 'weekday')$$, 'a holiday before a weekend before the month''s end');
select is(hirundo.day_kind('2023-02-28', 'TW'), 'holiday', 'each country has its own');

-- Monday 20 February to Sunday 26: nothing observed on Tuesday, an hour on Friday, else whole days
select fixture.observe('jp', a, b) from (values ('2023-02-19T15:00Z'::timestamptz, '2023-02-20T15:00Z'::timestamptz), ('2023-02-21T15:00Z', '2023-02-23T15:00Z'), ('2023-02-23T15:00Z', '2023-02-23T16:00Z'), ('2023-02-24T15:00Z', '2023-02-26T15:00Z')) v(a, b);
select fixture.flow('jp', '2023-02-20T01:00Z', '198.18.0.1', packets => 3);
select fixture.flow('jp', '2023-02-20T01:00Z', '198.18.0.1', port => 5900, packets => 2); -- the same host
select fixture.flow('jp', '2023-02-23T01:00Z', ('198.18.0.' || g)::inet) from generate_series(1, 4) g;
select fixture.flow('jp', '2023-02-24T01:00Z', '198.18.0.1', packets => 9);
select fixture.flow('jp', '2023-02-25T01:00Z', ('198.18.0.' || g)::inet) from generate_series(1, 6) g;
select fixture.flow('jp', '2023-02-26T01:00Z', ('198.18.0.' || g)::inet) from generate_series(1, 5) g;
select fixture.flow('jp', '2023-02-25T01:00Z', '198.18.1.1', packets => 7); -- not asked for
select fixture.flow('jp', '2023-02-25T01:00Z', '198.18.0.9', flags => 18); -- backscatter
prepare asked as select kind, days, compared_days, sensor_days, hosts_per_day, packets, average, ratio, round(p_value::numeric, 6), weeks, reason
from hirundo.activity_calendar(hirundo.week('2023-W08'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}');
-- compared: Monday 1, Wednesday 0, Thursday 4 (holiday), Saturday 6, Sunday 5. Ranks doubled 4 2 6 10 8.
-- weekend: sums of the five rotations 18 6 ... the one seen (18) is the largest: 1/5; off: 24, the largest: 1/5; holiday: 6 of 4 2 6 10 8: 3/5
prepare answer as values
  ('weekday', 4::bigint, 2::bigint, 2.041667, 0.5, 14::bigint, round(14 / 2.0416666667, 6), 1.0, null::numeric, null::int, null::text),
  ('weekend', 2, 2, 2, 5.5, 11, 5.5, 11, 0.2, 1, null), ('holiday', 1, 1, 1, 4, 4, 4, 8, 0.6, 1, null),
  ('month_end', 0, 0, 0, null, null, null, null, null, 0, 'no such day in the period'), ('off', 3, 3, 3, 5, 15, 5, 10, 0.2, 1, null),
  ('all', 7, 5, 5.041667, 3.2, 29, round(29 / 5.0416666667, 6), 6.4, null, null, null);
select results_eq('asked', 'answer', 'by kinds of days; a day half observed is not compared, hosts of two ports are counted once');
set local timezone = 'America/St_Johns';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;
select results_eq($$select hosts_per_day, packets from hirundo.activity_calendar(hirundo.week('2023-W08'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}', null, true) where kind = 'weekend'$$, $$values (6.0, 12::bigint)$$, 'a victim''s answers, if asked for');
select results_eq($$select reason from hirundo.activity_calendar(hirundo.week('2023-W08'), null, null, 'us') where kind = 'holiday'$$,
  $$values ('holidays of US in 2023 are not known: hirundo-collector import holidays')$$, 'a country whose holidays are not known says so');
select fixture.home('');
select results_eq($$select days, reason from hirundo.activity_calendar(hirundo.week('2023-W08')) where kind = 'off'$$, $$values (2::bigint, 'no holidays: setting home_country is empty, and no country was given')$$, 'no home country');
select fixture.home('JP');
select results_eq($$select kind, days, packets, average, reason from hirundo.activity_calendar(hirundo.week('2023-W06')) where kind in ('weekday', 'weekend')$$,
  $$values ('weekday', 5::bigint, null::bigint, null::numeric, 'nobody observed'), ('weekend', 1, null, null, 'nobody observed')$$, 'nobody observed: null');
select results_eq($$select packets, hosts_per_day from hirundo.activity_calendar(hirundo.day('2023-02-22'), '{198.18.0.0/24}') where kind = 'weekday'$$, $$values (0::bigint, 0::numeric)$$, 'observed and none: 0');
select is_empty($$select * from hirundo.activity_calendar('empty')$$, 'empty period');
select throws_like($$select * from hirundo.activity_calendar(null, null, null, 'Japan')$$, '%''Japan'' is not a country%', 'a country that is none');
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select results_eq('asked', 'answer', 'from rollups');
select ok(fixture.reads($$select * from hirundo.activity_calendar(hirundo.day('2023-02-25'), '{198.18.0.0/24}', '{22/TCP}')$$) @> '{source_port_day}'
  and not fixture.reads($$select * from hirundo.activity_calendar(hirundo.day('2023-02-25'), '{198.18.0.0/24}', '{22/TCP}')$$) && '{flow}', 'reads the rollup, not flow');

update hirundo.observation set kernel_dropped = 9 where slot = '2023-02-25T01:00Z';
select results_eq($$select kind, missing from hirundo.activity_calendar(hirundo.week('2023-W08'))$$, $$values ('weekday', null), ('weekend', '9 packets dropped'), ('holiday', null), ('month_end', null),
  ('off', '9 packets dropped'), ('all', '9 packets dropped')$$, 'what is missing stands in the row');
select * from finish();
rollback;
