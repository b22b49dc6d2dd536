-- surges, by hand: four sensors, five sources a day on 22/TCP and twelve on 25/TCP, four weeks and then some.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select is((select reason || '|' || days_judged || '|' || days_asked from hirundo.surges(hirundo.day('2023-03-01'))), 'no day could be judged: each needs 14 observed days among the 28 before it|0|1', 'an empty database');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW'), ('au', 'AU')) v(n, c);
create function fixture.noon(d date) returns timestamptz language plpgsql stable as $$ begin return (d + time '12:00') at time zone 'Asia/Tokyo'; end $$;
create function fixture.hosts(sensor text, d date, k int, n int, port int default 22, packets int default 1, flags int default 2) returns void language plpgsql as
$$ begin perform fixture.flow(sensor, fixture.noon(d), '198.18.0.0'::inet + i, port => port, packets => packets, flags => flags) from generate_series(k, k + n - 1) i; end $$;
select fixture.observe(s.name, fixture.noon('2023-02-01') - interval '12 hours', fixture.noon('2023-03-14') + interval '12 hours') from hirundo.sensor s;
select fixture.hosts(s.name, g::date, 0, 5), fixture.hosts(s.name, g::date, 0, 12, port => 25)
from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-14', '1 day') g;

select results_eq($$select port, reason, days_judged, days_asked from hirundo.surges(hirundo.period('2023-02-01..2023-03-01'))$$, $$values (null::text, 'no port rose', 14, 28)$$,
  'no surge has one row, which says how many days had a history');
-- 22/TCP: 40 more sources, the same at each sensor, on the 1st, 2nd and 5th: one surge. (28 * 5 + 0.5) / 28 were expected.
select fixture.hosts(s.name, d, 100, 40) from hirundo.sensor s, unnest(array['2023-03-01', '2023-03-02', '2023-03-05']::date[]) d;
-- 5900/TCP, never seen before: 30 sources at one sensor; 8080/TCP: 9 sources, too few
select fixture.hosts('kr', '2023-03-03', 200, 30, port => 5900), fixture.hosts('tw', '2023-03-03', 300, 9, port => 8080);
-- 23/TCP: 40 victims' answers; 80/TCP: one source with many packets
select fixture.hosts('au', '2023-03-03', 400, 40, port => 23, flags => 18), fixture.hosts('au', '2023-03-03', 500, 1, port => 80, packets => 1000000);
select results_eq($$select port, first_day, last_day, days, peak_day, hosts, expected, ratio, sensor_days, sensors_rose, sensors_compared, largest_share, verdict from hirundo.surges(hirundo.month('2023-03'))$$,
  $$values ('22/TCP', '2023-03-01'::date, '2023-03-05'::date, 3, '2023-03-01'::date, 45, 5.02, 8.97, 4.00, 4, 4, 0.2500, 'global'),
    ('5900/TCP', '2023-03-03', '2023-03-03', 1, '2023-03-03', 30, 0.02, 1680.00, 4.00, 1, 4, 1.0000, 'local')$$, 'sources rise, packets and victims do not count');
select results_eq($$select p_value < 1e-12, p_corrected = p_value * ports_looked_at, ports_looked_at, days_judged, days_asked from hirundo.surges(hirundo.month('2023-03')) where port = '22/TCP'$$,
  $$values (true, true, 2::bigint, 14, 31)$$, 'corrected for the ports of the day; days that nobody observed are not judged');
select is((select count(*) from hirundo.surges(hirundo.month('2023-03'), 0) where port is not null), 0::bigint, 'no false alarm at all is no alarm');
select is((select string_agg(port, ' ') from hirundo.surges(hirundo.day('2023-03-03'), null, 9)), '5900/TCP 8080/TCP', 'fewer sources, if asked for');
select is((select count(*) from hirundo.surges(hirundo.day('2023-03-03'), null, 31) where port is not null), 0::bigint, 'or more');
select is((select count(*) from hirundo.surges(hirundo.day('2023-03-03'), 1e9, -5) where port is not null), 2::bigint, 'strange numbers');

-- a single huge day does not hide smaller rises in the four weeks after it: 5,000 sources on the 1st, 60 where 5 are usual on the 6th
select fixture.hosts(s.name, g::date, 0, case g::date when '2023-03-01' then 2500 when '2023-03-06' then 60 else 5 end, port => 2323)
from hirundo.sensor s, generate_series('2023-02-01'::timestamp, '2023-03-14', '1 day') g where s.name in ('jp', 'tw');
select results_eq($$select first_day, last_day, hosts from hirundo.surges(hirundo.month('2023-03')) where port = '2323/TCP'$$,
  $$values ('2023-03-01'::date, '2023-03-01'::date, 2500), ('2023-03-06', '2023-03-06', 60)$$, 'a smaller rise after a huge day');
-- but where bursts are usual, in three of four weeks, the next is none
select fixture.hosts('jp', g::date, 0, case when (date '2023-03-08' - g::date) % 8 = 0 then 60 else 5 end, port => 2324) from generate_series('2023-02-01'::timestamp, '2023-03-14', '1 day') g;
select is((select count(*) from hirundo.surges(hirundo.day('2023-03-08')) where port = '2324/TCP'), 1::bigint, 'bursts eight days apart are surges each');

-- more sensors are not more sources: a new one sees a port that no other sees
select fixture.sensor('new', 'GH');
select fixture.observe('new', fixture.noon('2023-03-10') - interval '12 hours', fixture.noon('2023-03-14') + interval '12 hours');
select fixture.hosts('new', g::date, 600, 40, port => 37215) from generate_series('2023-03-10'::timestamp, '2023-03-14', '1 day') g;
select is((select reason from hirundo.surges(hirundo.period('2023-03-10..2023-03-15'))), 'no port rose', 'what only a new sensor sees is no surge');
-- fewer sensors: the others are down on the 12th, and the same sources still come
delete from hirundo.observation o where o.slot >= fixture.noon('2023-03-12') - interval '12 hours' and o.slot < fixture.noon('2023-03-12') + interval '12 hours' and o.sensor_id in (fixture.id('jp'), fixture.id('kr'), fixture.id('au'));
select ok((select hosts > 1.9 * expected from hirundo.surge_days(hirundo.day('2023-03-12')) where port_code = 6 * 131072 + 25), 'by sensor time they would be twice as many');
select is((select reason from hirundo.surges(hirundo.day('2023-03-12'))), 'no port rose', '... but no sensor has more of them');

-- rollups answer, and flow is not read
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
create table fixture.first as select * from hirundo.surges(hirundo.period('2023-03-01..2023-03-15'));
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
select results_eq($$select * from hirundo.surges(hirundo.period('2023-03-01..2023-03-15'))$$, $$select * from fixture.first$$, 'the same from rollups');
create table fixture.read as select fixture.reads($$select * from hirundo.surges(hirundo.period('2023-03-01..2023-03-15'))$$) as tables;
select ok(tables @> '{network_port_day,port_day,observed_day}' and not tables && '{flow,flood,source_port_day}', 'of which the network-wide one is read, and not flow: ' || tables::text) from fixture.read;
select * from finish();
rollback;
