-- One sensor that raises the network's figure shows in its row: largest_share and largest_sensor, hosts_alone.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('zz-jp', 'JP'), ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW')) v(n, c);
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 1, 1);
insert into hirundo.network select s.set_id, '198.18.0.0', '198.18.0.255', 64500, 'US' from hirundo.prefix_set s where s.source = 'test';
insert into hirundo.network select s.set_id, '198.19.0.0', '198.19.0.255', 64501, 'NL' from hirundo.prefix_set s where s.source = 'test';
-- January and the first days of February
select fixture.observe(s.name, '2022-12-31T15:00Z', '2023-02-04T15:00Z') from hirundo.sensor s;
-- 22/TCP: everywhere alike, ten packets a day; on 20 January thirty times as much at tw alone
select fixture.flow(s.name, d, '198.18.0.1', packets => 10) from hirundo.sensor s, generate_series('2023-01-01T03:00Z'::timestamptz, '2023-02-04', '1 day') d;
select fixture.flow('tw', '2023-01-20T04:00Z', '198.18.0.2', packets => 1200);
-- 80/TCP: a flood at kr on 2 February; 443/TCP: from the other country, as much at two sensors
select fixture.flood('kr', '2023-02-02T04:00Z', 6, 80, 5000);
select fixture.flow(n, '2023-02-02T04:00Z', '198.19.0.1', port => 443, packets => 40) from unnest(array['kr', 'jp']) n;
-- 53/UDP: at each sensor few in each month, below the monthly head; most at zz-jp
select fixture.flow(s.name, d, '198.19.0.2', proto => 17, port => 53, packets => case s.name when 'zz-jp' then 6 else 5 end)
from hirundo.sensor s, unnest(array['2023-01-10T03:00Z', '2023-02-03T03:00Z']::timestamptz[]) d;
-- 123/UDP: nine at jp in January, which the head leaves out, and two in February; ten at kr in January, which it has
select fixture.flow('jp', '2023-01-10T05:00Z', '198.19.0.3', proto => 17, port => 123, packets => 9), fixture.flow('jp', '2023-02-03T05:00Z', '198.19.0.3', proto => 17, port => 123, packets => 2),
  fixture.flow('kr', '2023-01-10T05:00Z', '198.19.0.3', proto => 17, port => 123, packets => 10);
-- local is in no figure
select fixture.flow('jp', '2023-02-02T04:00Z', '198.18.0.9', packets => 100000, marks => 16);

prepare trend as select bucket::date, port, packets, largest_share, largest_sensor from hirundo.port_trend(hirundo.period('2023-01-16..2023-01-30'), 'week', 1);
prepare trends as values ('2023-01-16'::date, '22/TCP', 1480::bigint, round(1270 / 1480.0, 4), 'tw'), ('2023-01-23', '22/TCP', 280, 0.25, 'zz-jp');
prepare hours as select bucket::time, port, packets, largest_share, largest_sensor from hirundo.port_trend(hirundo.period('2023-01-20T12:00..2023-01-20T15:00'), 'hour', 1);
prepare hour as values ('12:00'::time, '22/TCP', 40::bigint, 0.25, 'zz-jp'), ('13:00', '22/TCP', 1200, 1, 'tw'), ('14:00', '22/TCP', 0, null, null);
prepare top as select kind, item, packets, largest_share, largest_sensor from hirundo.quarter_top(hirundo.period('2023-01-01..2023-02-05'), 9);
prepare tops as values ('service', '80/TCP', 5000::bigint, 1::numeric, 'kr'), ('service', '22/TCP', 2560, round(1540 / 2560.0, 4), 'tw'), ('service', '443/TCP', 80, 0.5, 'jp'),
  ('service', '53/UDP', 42, round(12 / 42.0, 4), 'zz-jp'), ('service', '123/UDP', 21, round(11 / 21.0, 4), 'jp'),
  ('country', 'US', 2560, round(1540 / 2560.0, 4), 'tw'), ('country', 'NL', 143, round(61 / 143.0, 4), 'jp'), ('country', 'unknown', 5000, 1, 'kr');
prepare average as select bucket, side, packets, largest_share, largest_sensor from hirundo.sensor_average(hirundo.period('2023-01-20..2023-01-22'), 'day');
prepare averages as values ('2023-01-20'::date, 'home', 20::numeric, 0.5, 'zz-jp'), ('2023-01-20', 'overseas', 1220, round(1210 / 1220.0, 4), 'tw'),
  ('2023-01-21', 'home', 20, 0.5, 'zz-jp'), ('2023-01-21', 'overseas', 20, 0.5, 'kr');
prepare hosts as select day, port, hosts, sensors, hosts_alone, largest_sensor from hirundo.source_hosts_daily(hirundo.period('2023-01-20..2023-01-22'), '{198.18.0.0/24,198.19.0.0/24}', '{22/TCP,443/TCP}');
prepare host as values ('2023-01-20'::date, '22/TCP', 2::bigint, 4::bigint, 1::bigint, 'tw'), ('2023-01-20', '443/TCP', 0, 0, 0, null), ('2023-01-21', '22/TCP', 1, 4, 0, null), ('2023-01-21', '443/TCP', 0, 0, 0, null);
select results_eq('trend', 'trends', 'port_trend: a week that one sensor made');
select results_eq('hours', 'hour', '... by hour; nothing came, nobody''s');
select results_eq('top', 'tops', 'quarter_top: services and countries, floods too; the first of several');
select results_eq('average', 'averages', 'sensor_average, by side');
select results_eq('hosts', 'host', 'source_hosts_daily: a host that one sensor alone saw');
select is_empty($$select * from hirundo.source_hosts_daily(hirundo.day('2023-01-20')) where hosts_alone is not null or largest_sensor is not null$$, '... not known of all sources');
select results_eq($$select distinct largest_share, largest_sensor from hirundo.sensor_average(hirundo.day('2023-02-20'), 'day')$$, $$values (null::numeric, null::text)$$, 'nobody observed: nobody''s');

insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.traffic f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select is((select count(*) from hirundo.rollup_month where month = '2023-01-01'), 1::bigint, '... a month of it');
select is((select count(*) from hirundo.port_month where port_code = any (hirundo.port_codes('{53/UDP}'))), 0::bigint, '... with a head that leaves out a port');
select results_eq('trend', 'trends', 'port_trend from rollups');
select results_eq('hours', 'hour', '... by hour');
select results_eq('top', 'tops', 'quarter_top from rollups: what the head leaves out is looked up');
select results_eq('average', 'averages', 'sensor_average from rollups');
select results_eq('hosts', 'host', 'source_hosts_daily from rollups');
select is_empty($$select * from hirundo.source_hosts_daily(hirundo.day('2023-01-20'), null, null, true) where hosts_alone is not null$$, '... not known of all sources, with backscatter neither');
select ok(not fixture.reads('execute trend') && '{flow,flood}', 'port_trend: without flow');
select ok(fixture.reads($$select * from hirundo.port_largest('2022-12-31T15:00Z', '2023-02-03T15:00Z', hirundo.port_codes('{22/TCP,53/UDP}'))$$) @> '{port_month,port_day}'
  and not fixture.reads($$select * from hirundo.port_largest('2022-12-31T15:00Z', '2023-02-03T15:00Z', hirundo.port_codes('{22/TCP,53/UDP}'))$$) && '{flow,flood}', 'port_largest: without flow');
savepoint month;
delete from hirundo.port_day where day < '2023-02-01';
prepare largest as select hirundo.port_label(port_code), packets, sensor_id = fixture.id('tw') from hirundo.port_largest('2022-12-31T15:00Z', '2023-01-31T15:00Z', hirundo.port_codes('{22/TCP,53/UDP}'));
select results_eq('largest', $$values ('22/TCP', 1510::bigint, true)$$, '... of a busy port by months alone');
rollback to month;

-- retention has taken what is known by sensor, and left what is known of all
delete from hirundo.flow; delete from hirundo.flood;
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2022-12-31', '2023-02-04', '1 day') d;
select hirundo.rollup_delete('port_day', '2023-01-22');
select results_eq('trend', $$values ('2023-01-16'::date, '22/TCP', 1480::bigint, null::numeric, null::text), ('2023-01-23', '22/TCP', 280, 0.25, 'zz-jp')$$, 'port_trend: not known any more, of that week');
select results_eq($$select item, packets, largest_share, largest_sensor from hirundo.quarter_top(hirundo.period('2023-01-01..2023-02-05'), 1) where rank is not null$$,
  $$values ('80/TCP', 5000::bigint, null::numeric, null::text), ('US', 2560, round(1540 / 2560.0, 4), 'tw')$$, 'quarter_top: of services not known any more, of countries it is');
select * from finish();
rollback;
