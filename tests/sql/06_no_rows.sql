-- An answer without rows says why; a sensor that was out, and a day whose data are gone, have a row that says so; how long sensors observed stands in each row.
-- (test_every_function.py looks for the one NOTICE of every function in every situation.)
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
create function pg_temp.why(period tstzrange, nothing text default 'nothing came') returns text language sql as
$$ select hirundo.why_no_rows(b.first, b.past, c.rest, nothing)
   from hirundo.period_bounds(period) b cross join lateral hirundo.rollup_cover(b.first, b.past, 'network_port_day', 'port_hour') c $$;
select is(pg_temp.why('empty'), 'no row: the period is empty', 'empty');
select is(pg_temp.why(tstzrange('2023-02-08', '2023-02-08')), 'no row: the period is empty', '... both ends the same');
select is(pg_temp.why(null), 'no row: there is no sensor yet', 'no sensor');
select is(pg_temp.why('[2999-01-01Z,2999-01-02Z)'), 'no row: there is no sensor yet', '... in the future neither');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW'), ('old', 'TW'), ('new', 'DE')) v(n, c);
select is(pg_temp.why(null), 'no row: no sensor observed anything in the period', 'sensors, and nobody observed');
select is(pg_temp.why('[2999-01-01Z,)'), 'no row: the period is in the future', 'the future');

-- 8 February: jp and kr; 9 February: jp for half of it; 10 February: nobody; old ended on 7 February, new begins on 11 February
select fixture.observe('old', '2023-02-06T15:00Z', '2023-02-07T15:00Z'), fixture.observe('jp', '2023-02-07T15:00Z', '2023-02-09T03:00Z'),
  fixture.observe('kr', '2023-02-07T15:00Z', '2023-02-08T15:00Z'), fixture.observe('new', '2023-02-10T15:00Z', '2023-02-11T15:00Z');
update hirundo.sensor set revoked_at = '2023-02-07T15:00Z' where name = 'old';
select is(pg_temp.why(hirundo.day('2023-02-08')), 'no row: the period was observed (2.00 sensor-days by 2 sensors), and nothing came', 'observed, and quiet');
select is(pg_temp.why(hirundo.day('2023-02-09')), 'no row: the period was observed (0.50 sensor-days by 1 sensor), and nothing came', '... a part of it');
select is(pg_temp.why(tstzrange('2023-02-08T01:07Z', '2023-02-08T01:08Z')), 'no row: the period was observed (0.02 sensor-days by 2 sensors), and nothing came',
  '... of the quarter of an hour that it begins in');
select is(pg_temp.why(hirundo.day('2023-02-10')), 'no row: no sensor observed anything in the period', 'nobody, between days that were observed');
savepoint trouble;
update hirundo.observation set lost = 7, frames = 7 where slot = '2023-02-08T01:00Z' and sensor_id = fixture.id('jp');
select is(pg_temp.why(hirundo.day('2023-02-08')), 'no row: the period was observed (2.00 sensor-days by 2 sensors), and nothing came; missing: 7 frames lost', 'and what is missing');
rollback to trouble;
set local timezone = 'America/Los_Angeles';
set local datestyle = 'German';
insert into hirundo.flow_dropped values ('2023-02-07'), ('2023-02-08');
select is(pg_temp.why(hirundo.day('2023-02-08')), 'no row: the period was observed (2.00 sensor-days by 2 sensors), and is not known any more: data of 1 day (2023-02-08) gone by retention', 'gone, in any session');
select is(pg_temp.why(hirundo.period('2023-02-08..2023-02-10')),
  'no row: the period was observed (0.13 sensor-days by 1 sensor), and nothing came; missing: data of 2 days (2023-02-08 to 2023-02-09) gone by retention', 'a part of it gone');
reset datestyle;
reset timezone;
delete from hirundo.flow_dropped;
select fixture.flood('jp', '2023-02-08T03:00Z', 6, 80, 500);
select is(hirundo.flood_aside('2023-02-07T15:00Z', '2023-02-08T15:00Z'), '; 500 packets came as flood rows, which have no source', 'a flood has no source');
select is(hirundo.flood_aside('2023-02-07T15:00Z', '2023-02-08T15:00Z', hirundo.port_codes('{22/TCP}')), '', '... of another port');
select is(hirundo.sensor_days_text(1, 86400000), '1.00 sensor-day by 1 sensor', 'one');
select is(hirundo.sensor_days_text(2, 1), '0.01 sensor-days by 2 sensors', 'little is not nothing');

-- sensors that were out have a row in top_ports: not one that had ended, nor one that had not begun, nor one that received nothing
prepare top as select sensor, rank, port, packets, sensor_days, flood_packets from hirundo.top_ports(hirundo.day('2023-02-09'), 3);
select results_eq('top', $$values ('kr', null::int, null::text, null::bigint, 0::numeric, null::bigint)$$, 'top_ports: kr was out; jp received nothing, tw never began, old has ended');
select fixture.flow('jp', '2023-02-09T01:00Z', '198.18.0.1', packets => 3);
select results_eq('top', $$values ('jp', 1, '22/TCP', 3::bigint, 0.5, 0::bigint), ('kr', null, null, null, 0, null)$$, '... beside others');
select results_eq($$select sensor, rank from hirundo.top_ports(hirundo.day('2023-02-08'), 1)$$, $$values ('jp', 1)$$, '... kr observed 8 February and received nothing');
select results_eq($$select sensor, rank from hirundo.top_ports(hirundo.period('2023-02-09..2023-02-12'), 1)$$, $$values ('jp', 1), ('kr', null)$$, '... new has begun within the period and received nothing');
select is_empty($$select * from hirundo.top_ports(hirundo.day('2023-02-09'), 0)$$, '... but none where none is asked for');
select is_empty($$select * from hirundo.top_ports(hirundo.day('2023-02-01'), 1)$$, '... nor before all data');
select is_empty($$select * from hirundo.top_ports(hirundo.day('2999-02-01'), 1)$$, '... nor in the future');
select results_eq($$select s.name from unnest(hirundo.sensors_out('2023-02-06T15:00Z', '2023-02-07T15:00Z', '{}')) o join hirundo.sensor s on s.sensor_id = o order by 1$$, $$values ('old')$$,
  'sensors_out: who had begun, and ended within');

-- how long sensors observed stands in each row
select fixture.flow('kr', '2023-02-08T01:00Z', '198.18.0.1'), fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.1');
create function pg_temp.days(p tstzrange) returns table (what text, item text, days numeric) language plpgsql as
$$
begin
  return query select 'ttl_spread', f.region, f.sensor_days from hirundo.ttl_spread(p) f;
  return query select 'of a port', f.region, f.sensor_days from hirundo.ttl_spread(p, null, '{22/TCP}') f;
  return query select 'of sources', f.region, f.sensor_days from hirundo.ttl_spread(p, '{198.18.0.0/24}') f;
  return query select 'ttl_origin', f.region, f.sensor_days from hirundo.ttl_origin(p, '{198.18.0.0/24}') f;
  return query select 'no evidence', f.region, f.sensor_days from hirundo.ttl_origin(p, '{198.19.0.0/24}') f;
  return query select 'sources', f.item, f.sensor_days from hirundo.distinct_sources(p) f;
  return query select 'by class', f.item, f.sensor_days from hirundo.distinct_sources(p, 'class') f;
  return query select 'by region', f.item, f.sensor_days from hirundo.distinct_sources(p, 'region') f;
  return query select 'by sensor', f.item, f.sensor_days from hirundo.distinct_sources(p, 'sensor') f;
  return query select 'scanners', f.day || ' ' || host(f.src), f.sensor_days from hirundo.scanners(p, 0) f;
  return query select 'source_top_ports', f.port, f.sensor_days from hirundo.source_top_ports(p, '{198.18.0.0/24}') f;
end
$$;
prepare days as select * from pg_temp.days(hirundo.period('2023-02-08..2023-02-10'));
prepare wanted as values ('ttl_spread', 'JP', 1.5), ('ttl_spread', 'KR', 1), ('of a port', 'JP', 1.5), ('of a port', 'KR', 1), ('of sources', 'JP', 1.5), ('of sources', 'KR', 1),
  ('ttl_origin', 'JP', 1.5), ('ttl_origin', 'KR', 1), ('no evidence', null, 2.5), ('sources', 'all', 2.5), ('by class', 'scan', 2.5), ('by region', 'JP', 1.5), ('by region', 'KR', 1),
  ('by sensor', 'jp', 1.5), ('by sensor', 'kr', 1), ('scanners', '2023-02-08 198.18.0.1', 2), ('scanners', '2023-02-09 198.18.0.1', 0.5), ('source_top_ports', '22/TCP', 2.5);
select results_eq('days', 'wanted', 'sensor_days: kr was out on 9 February');
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.traffic f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select results_eq('days', 'wanted', '... from rollups');

-- a day whose data are gone was not a day without scanners
select hirundo.rollup_delete('scanner_day', '2023-02-09'), hirundo.rollup_delete('source_port_day', '2023-02-09');
delete from hirundo.flow where ts < '2023-02-08T15:00Z';
delete from hirundo.flood;
insert into hirundo.flow_dropped values ('2023-02-07'), ('2023-02-08');
-- 9 February has no flow of its first hours any more, but its rollups
select results_eq($$select day, src, ports, missing, sensor_days from hirundo.scanners(hirundo.period('2023-02-08..2023-02-11'), 0)$$,
  $$values ('2023-02-08'::date, null::inet, null::bigint, 'data of 1 day gone by retention', 0::numeric), ('2023-02-09', '198.18.0.1', 1, null, 0.5)$$, 'scanners: a row without a source');
select results_eq($$select day, src from hirundo.scanners(hirundo.period('2023-02-08..2023-02-11'), 10)$$, $$values ('2023-02-08'::date, null::inet)$$, '... from another rollup');
select results_eq($$select day, kind, hosts from hirundo.scanner_organisations(hirundo.period('2023-02-08..2023-02-11'), 0)$$,
  $$values ('2023-02-08'::date, 'total', null::bigint), ('2023-02-09', 'unknown', 1), ('2023-02-09', 'total', 1), ('2023-02-10', 'total', null)$$, '... that is nobody''s');
select is((select string_agg(day || ' ' || coalesce(hosts::text, '-'), ', ' order by day) from hirundo.scanner_organisations(hirundo.period('2023-02-08..2023-02-11'), 10)), '2023-02-08 -, 2023-02-09 0, 2023-02-10 -', '... nor counted');
select results_eq($$select bucket, side, packets, flood_packets, sensor_days from hirundo.sensor_average(hirundo.period('2023-02-08..2023-02-11'), 'day')$$,
  $$values ('2023-02-08'::date, 'home', 501::numeric, 500::bigint, 1::numeric), ('2023-02-08', 'overseas', 1, 0, 1), ('2023-02-09', 'home', 3, 0, 0.5), ('2023-02-09', 'overseas', null, null, 0),
    ('2023-02-10', 'home', null, null, 0), ('2023-02-10', 'overseas', null, null, 0)$$, 'sensor_average: nobody observed is null, not 0');
select * from finish();
rollback;
