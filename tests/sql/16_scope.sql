-- scope, by hand: six sensors in four countries, two sources a day at each, four weeks and then some.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp1', 'JP'), ('jp2', 'JP'), ('kr', 'KR'), ('tw1', 'TW'), ('tw2', 'TW'), ('au', 'AU')) v(n, c);
create function fixture.noon(d date) returns timestamptz language plpgsql stable as $$ begin return (d + time '12:00') at time zone 'Asia/Tokyo'; end $$;
-- n sources from number k on, of this day
create function fixture.hosts(sensor text, d date, k int, n int, port int default 22, packets int default 1) returns void language plpgsql as
$$ begin perform fixture.flow(sensor, fixture.noon(d), '198.18.0.0'::inet + i, port => port, packets => packets) from generate_series(k, k + n - 1) i; end $$;

select is((select verdict || ': ' || reason from hirundo.scope(hirundo.day('2023-03-01'), '22/TCP')),
  'undetermined: no sensor observed half a day of the period or of the days before it', 'nothing is there');
select fixture.observe(s.name, fixture.noon('2023-02-01') - interval '12 hours', fixture.noon('2023-03-10') + interval '12 hours') from hirundo.sensor s;
select fixture.hosts(s.name, g::date, 0, 2) from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-10', '1 day') g;

select results_eq($$select sensor, days_before, days, before, sources, rose, verdict from hirundo.scope(hirundo.day('2023-03-01'), '22/tcp')$$,
  $$select n, 28.00, 1.00, 2.00, 2.00, false, 'no_rise' from unnest(array['au','jp1','jp2','kr','tw1','tw2']) n$$, 'nothing rose, and every sensor has its row');
-- (28 * 2 + 0.5) / 28
select is((select distinct expected || ' ' || mean_expected || ' ' || mean || ' ' || median || ' ' || sensors_rose || ' ' || sensors_compared from hirundo.scope(hirundo.day('2023-03-01'), '22/TCP')),
  '2.02 2.02 2.00 2.00 0 6', 'what was to be expected, and the network''s mean and median');

-- one sensor: 42 sources
select fixture.hosts('kr', '2023-03-02', 100, 40);
select results_eq($$select sensor, sources, rose, share_of_rise from hirundo.scope(hirundo.day('2023-03-02'), '22/TCP') limit 2$$,
  $$values ('kr', 42.00, true, 1.0000), ('au', 2.00, false, 0.0000)$$, 'largest rise first');
select results_eq($$select distinct verdict, sensors_rose, largest_share, mean, median, reason from hirundo.scope(hirundo.day('2023-03-02'), '22/TCP')$$,
  $$values ('local', 1, 1.0000, 8.67, 2.00, '1 of 6 sensors rose, kr, with 100% of the rise; the mean rose with few sensors, the median did not')$$,
  'one sensor alone does not raise the network unnoticed');
-- backscatter, packets and other ports are no sources of it
select fixture.flow('tw1', fixture.noon('2023-03-03'), '198.18.1.0'::inet + i, flags => 18) from generate_series(1, 40) i;
select fixture.hosts('tw2', '2023-03-03', 0, 1, packets => 100000), fixture.hosts('tw1', '2023-03-03', 100, 40, port => 23);
select is((select distinct verdict from hirundo.scope(hirundo.day('2023-03-03'), '22/TCP')), 'no_rise', 'many packets, victims'' answers and another port are no rise');
-- both of Taiwan
select fixture.hosts(n, '2023-03-04', 100, 20) from unnest(array['tw1', 'tw2']) n;
select results_eq($$select distinct verdict, reason from hirundo.scope(hirundo.day('2023-03-04'), '22/TCP')$$, $$values ('regional', '2 of 6 sensors rose, all of them in TW; the mean rose with few sensors, the median did not')$$, 'a region');
-- two of six, in two countries
select fixture.hosts(n, '2023-03-05', 100, 20) from unnest(array['tw1', 'jp1']) n;
select results_eq($$select distinct verdict, sensors_rose, largest_share from hirundo.scope(hirundo.day('2023-03-05'), '22/TCP')$$, $$values ('partial', 2, 0.5000)$$, 'neither one place nor most');
-- all, kr most
select fixture.hosts(s.name, '2023-03-06', 100, case s.name when 'kr' then 40 else 20 end) from hirundo.sensor s;
select results_eq($$select distinct verdict, sensors_rose, sensors_compared, reason from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP')$$,
  $$values ('global', 6, 6, '6 of 6 sensors rose, in 4 of 4 regions, and 6 are up by a quarter or more; the largest share of one sensor is 29%')$$, 'everywhere');
-- three rise, but one of them has nearly all
select fixture.hosts(n, '2023-03-07', 100, k) from (values ('kr', 400), ('tw1', 20), ('jp1', 20)) v(n, k);
select results_eq($$select distinct verdict, reason from hirundo.scope(hirundo.day('2023-03-07'), '22/TCP')$$, $$values ('local', '3 of 6 sensors rose, but kr has 91% of the rise')$$, 'one sensor''s share');
-- thinly everywhere: at no sensor beyond doubt, at all together
select fixture.hosts(s.name, '2023-03-08', 100, 4) from hirundo.sensor s;
select is((select distinct verdict || sensors_rose from hirundo.scope(hirundo.day('2023-03-08'), '22/TCP')), 'global0', 'all are up, though none by itself');
-- days of a week together: the rise of the 4th to the 8th
select is((select distinct verdict || ' ' || days from hirundo.scope(hirundo.period('2023-03-06..2023-03-09'), '22/TCP')), 'global 3.00', 'several days');

-- named is who rose beyond doubt, not who has the most more: on a port where one of them sees anything between a few and hundreds, 8 where 2 are usual
create function fixture.noisy(d date) returns int language plpgsql as $$ begin return case when d >= '2023-03-01' then 60 else (array[10, 150, 20, 90, 5, 60, 30])[1 + extract(day from d)::int % 7 * 3 % 7] end; end $$;
select fixture.hosts(s.name, g::date, 0, case s.name when 'au' then fixture.noisy(g::date) + case when g = '2023-03-02' then 60 else 0 end
                                          when 'kr' then 2 + case when g = '2023-03-02' then 20 else 0 end else 2 end, port => 99)
from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-10', '1 day') g;
select results_eq($$select sensor, sources, rose from hirundo.scope(hirundo.day('2023-03-02'), '99/TCP') limit 2$$, $$values ('au', 120.00, false), ('kr', 22.00, true)$$, 'the largest rise is one of those that come and go');
select results_eq($$select distinct verdict, sensors_rose, reason from hirundo.scope(hirundo.day('2023-03-02'), '99/TCP')$$,
  $$select 'partial', 1, '1 of 6 sensors rose beyond doubt, kr, with only ' || round(100 * share_of_rise) || '% of the rise: neither one place nor most of them; the mean rose with few sensors, the median did not' from hirundo.scope(hirundo.day('2023-03-02'), '99/TCP') where sensor = 'kr'$$,
  'named is the one that rose beyond doubt; with a small share of the rise it is not local');
-- one rises beyond doubt, the others a little each: with half of the rise it is local only where these together do not show it
select fixture.hosts(s.name, g::date, 0, 10 + case when g <> '2023-03-03' then 0 when s.name = 'kr' then 30 else 5 end, port => 98)
from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-10', '1 day') g;
select results_eq($$select distinct sensors_rose, round(largest_share, 2), verdict from hirundo.scope(hirundo.day('2023-03-03'), '98/TCP')$$, $$values (1, 0.55, 'global')$$, 'the others are up by half, taken together beyond doubt');
select fixture.hosts(s.name, g::date, 0, 10 + case when g <> '2023-03-03' then 0 when s.name = 'kr' then 30 when s.name = 'au' then 5 else 1 end, port => 97)
from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-10', '1 day') g;
select results_eq($$select distinct sensors_rose, verdict, reason from hirundo.scope(hirundo.day('2023-03-03'), '97/TCP')$$, $$values (1, 'local', '1 of 6 sensors rose, kr, with 77% of the rise; the mean rose with few sensors, the median did not')$$, '... or hardly, and it is local');
-- a period of many days: its sum beside a level from as many is known half as well as beside a certain one; 28 days of 4, then 28 of 5
select results_eq($$select round(phi::numeric, 6) from unnest(array[1, 7, 28]) m(m) cross join lateral hirundo.count_baseline(array_fill(4::float8, array[28]), m.m)$$, $$values (1.285714), (2.591264), (4.255367)$$,
  'phi for 1, 7 and 28 days: 1.25 + m / 28, and from a week on as much as neighbours may have in common');
select fixture.hosts('kr', g::date, 0, 4 + case when g >= '2023-02-25' then 1 else 0 end, port => 96) from generate_series('2023-02-01'::timestamp, '2023-03-10', '1 day') g;
select ok(e.p_value > 1.5 * hirundo.count_tail(e.total::bigint, e.wanted, 1.25 + 1 / 24.0), 'so the chance of a fortnight''s rise is larger')
from hirundo.scope_sensors(hirundo.port_codes('{96/TCP}'), '{2023-02-25}', '{2023-03-10}') e where e.sensor_id = fixture.id('kr');

-- who did not observe is left out by name
delete from hirundo.observation o where o.sensor_id = fixture.id('kr') and o.slot >= fixture.noon('2023-03-06') - interval '12 hours' and o.slot < fixture.noon('2023-03-06') + interval '10 hours';
delete from hirundo.observation o where o.sensor_id = fixture.id('au') and o.slot < fixture.noon('2023-02-21') - interval '12 hours';
select results_eq($$select sensor, days_before, days, expected, rose from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP') where expected is null$$,
  $$values ('au', 13.00, 1.00, null::numeric, null::boolean), ('kr', 28.00, 0.00, null, null)$$, 'thirteen days before, two hours within: not compared');
select results_eq($$select distinct sensors_rose, sensors_compared, sensors_left_out, note from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP')$$,
  $$values (4, 4, 2, 'left out: au, kr (fewer than 14 days observed before, or none within)')$$, '... and said');
select is((select distinct verdict || ': ' || reason from hirundo.scope(hirundo.day('2023-02-10'), '22/TCP')), 'undetermined: too few sensors: 0 observed the period and 14 days or more before it', 'a cold start');
-- floods are named, and drops
update hirundo.observation o set kernel_dropped = 7 where o.sensor_id = fixture.id('jp2') and o.slot in (fixture.noon('2023-02-28'), fixture.noon('2023-03-01'), fixture.noon('2023-03-02'));
select fixture.flood('jp1', fixture.noon('2023-03-01'), 6, 22, 1000);
select is((select distinct note from hirundo.scope(hirundo.day('2023-03-01'), '22/TCP') where sensors_left_out = 1), 'left out: au (fewer than 14 days observed before, or none within); 1 sensors had floods, 1000 packets whose sources are not counted; 7 packets of all ports were dropped or lost within the period', 'floods and drops');

select is((select reason from hirundo.scope(tstzrange('2023-03-01T01:00Z', '2023-03-01T09:00Z'), '22/TCP')), 'no whole day of the reporting time zone that has ended lies in the period', 'a part of a day');
select is((select reason from hirundo.scope(hirundo.day('2023-03-01'), null)), 'no port is asked about', 'no port');
select throws_ok($$select * from hirundo.scope(hirundo.day('2023-03-01'), 'ssh')$$, '22023', '''ssh'' is not a port', 'nonsense');
select is((select distinct verdict from hirundo.scope(hirundo.day('2023-03-06'), '99/TCP')), 'no_rise', 'a port nobody asks for');
select is(hirundo.scope_base_days(d), b, d || ' days against ' || b) from (values (1, 28), (28, 28), (29, 35), (90, 91), (366, 91)) v(d, b);

-- rollups answer, and flow is not read
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
create table fixture.first as select * from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP');
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
select results_eq($$select * from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP')$$, $$select * from fixture.first$$, 'the same from rollups');
create table fixture.read as select fixture.reads($$select * from hirundo.scope(hirundo.day('2023-03-06'), '22/TCP')$$) as tables;
select ok(tables @> '{port_day,observed_day}' and not tables && '{flow,flood}', 'of which port_day is read, and not flow: ' || tables::text) from fixture.read;
select * from finish();
rollback;
