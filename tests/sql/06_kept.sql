-- Days whose data retention has dropped, and which no rollup has: as unknown as an outage, in every figure; and what is missing stands in the row.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW')) v(n, c);
insert into hirundo.organisation (name) values ('Host & Co');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/24' from hirundo.organisation;
select fixture.observe(s.name, '2023-01-31T15:00Z', '2023-03-31T15:00Z') from hirundo.sensor s;

-- kept_time: a day of UTC is parts of two days in Tokyo
create function pg_temp.kept(rest tstzmultirange) returns table (day date, hours numeric) language sql as
$$ select k.day, round(k.covered_ms / 3600000.0, 2) from hirundo.kept_time('2023-02-01T15:00Z', '2023-02-05T15:00Z', rest) k where k.sensor_id = fixture.id('jp') order by 1 $$;
insert into hirundo.flow_dropped values ('2023-02-03');
select results_eq($$select * from pg_temp.kept('{[2023-02-01T15:00Z,2023-02-05T15:00Z)}')$$, $$values ('2023-02-02'::date, 24.00), ('2023-02-03', 9), ('2023-02-04', 15), ('2023-02-05', 24)$$, 'parts of two days are gone');
insert into hirundo.flow_dropped values ('2023-02-04');
select results_eq($$select * from pg_temp.kept('{[2023-02-01T15:00Z,2023-02-05T15:00Z)}')$$, $$values ('2023-02-02'::date, 24.00), ('2023-02-03', 9), ('2023-02-05', 15)$$, 'a whole day, and parts of its neighbours');
select results_eq($$select * from pg_temp.kept('{[2023-02-03T15:00Z,2023-02-04T14:00Z)}')$$, $$values ('2023-02-02'::date, 24.00), ('2023-02-03', 24), ('2023-02-04', 1), ('2023-02-05', 24)$$, 'a rollup has the rest');
select results_eq($$select * from pg_temp.kept('{}')$$, $$values ('2023-02-02'::date, 24.00), ('2023-02-03', 24), ('2023-02-04', 24), ('2023-02-05', 24)$$, 'or all of it');
select results_eq($$select day, hours from pg_temp.kept(null)$$, $$select day, hours from pg_temp.kept('{}')$$, 'null is nothing to be read');
delete from hirundo.flow_dropped;

-- twenty hosts a day on 22/TCP at each sensor for two months in UTC, ten more on weekends
select fixture.zone('UTC');
select fixture.flow(s.name, d + interval '12 hours', ('198.18.0.' || h)::inet, ttl => 50 + s.sensor_id % 8)
from hirundo.sensor s, generate_series('2023-02-01'::timestamptz, '2023-03-31', '1 day') d, generate_series(1, 30) h
where h <= 20 or extract(isodow from d) >= 6;
-- what must not depend on days that are gone
create table pg_temp.calendar as select kind, hosts_per_day, average from hirundo.activity_calendar(hirundo.period('2023-02-27..2023-04-01'), '{198.18.0.0/24}', null, 'JP');
-- 1 February to 26 February are dropped
delete from hirundo.flow where ts < '2023-02-27';
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2023-01-31', '2023-02-26', '1 day') d;

select results_eq($$select day, hosts, packets, sensor_days, missing from hirundo.source_hosts_daily(hirundo.period('2023-02-26..2023-02-28'), '{198.18.0.0/24}', '{22/TCP}')$$,
  $$values ('2023-02-26'::date, null::bigint, null::bigint, 0::numeric, 'data of 1 day gone by retention'), ('2023-02-27', 20, 60, 3.0, null)$$, 'source_hosts_daily: null, not 0');
select is((select hosts from hirundo.source_hosts_daily(hirundo.day('2023-02-20'), null, '{22/TCP}')), null::bigint, '... of all sources too');
select results_eq($$select bucket, sensor_days, average, missing from hirundo.sensor_average(hirundo.month('2023-02'), 'month') where side = 'home'$$,
  $$values ('2023-02-01'::date, 2.0, 20.0, 'data of 26 days gone by retention')$$, 'sensor_average: by what is kept');
select results_eq($$select packets, sensors, sensor_days, average, missing from hirundo.port_trend(hirundo.period('2023-02-20..2023-03-06'), 'week', 1)$$,
  $$values (null::bigint, 0::bigint, 0::numeric, null::numeric, 'data of 7 days gone by retention'), (480, 3, 21, 22.857143, null)$$, 'port_trend: nothing is known of the first week');
select results_eq($$select distinct extract(day from bucket), packets from hirundo.port_trend(hirundo.period('2023-02-26T22:00..2023-02-27T02:00'), 'hour', 1) order by 1$$,
  $$select null::numeric, null::bigint where false$$, '... no port, no row');
select results_eq($$select distinct extract(day from bucket), packets, sensors from hirundo.port_trend(hirundo.period('2023-02-26T22:00..2023-02-27T13:00'), 'hour', 1) where extract(hour from bucket) in (22, 10) order by 1$$,
  $$values (26::numeric, null::bigint, 0::bigint), (27, 0, 3)$$, '... by hour');
select results_eq($$select previous, previous_rank, previous_packets, previous_sensor_days, sensor_days, missing from hirundo.quarter_top(hirundo.week('2023-W09'), 1) where kind = 'service'$$,
  $$values (null::text, null::int, null::bigint, 0::numeric, 21::numeric, 'of the period before: data of 7 days gone by retention')$$, 'quarter_top: the week before is not known');
select results_eq($$select sensor_days, missing from hirundo.top_ports(hirundo.month('2023-02'), 1) where sensor = 'jp'$$, $$values (2.0, 'data of 26 days gone by retention')$$, 'top_ports');
select results_eq($$select kind, hosts_per_day, average from hirundo.activity_calendar(hirundo.period('2023-02-01..2023-04-01'), '{198.18.0.0/24}', null, 'JP')$$, 'select * from pg_temp.calendar',
  'activity_calendar: as if the period began where data do');
select results_eq($$select day, hosts, sensor_days, note from hirundo.organisation_case('Host & Co', hirundo.period('2023-02-26..2023-02-28')) where section = 'daily' and port is null$$,
  $$values ('2023-02-26'::date, null::bigint, 0::numeric, 'data of 1 day gone by retention'), ('2023-02-27', 20, 3, null)$$, 'organisation_case, by day');
select alike((select note from hirundo.organisation_case('Host & Co', hirundo.day('2023-02-20')) where section = 'summary'),
  'no sensor observed anything in this period, or the data are gone; missing: data of 1 day gone by retention', '... in its summary');
select is((select sensor_days from hirundo.organisation_case('Host & Co', hirundo.month('2023-02')) where section = 'summary'), 6.0, '... and its denominator');
select is((select string_agg(item || ' ' || value, ', ' order by item) from hirundo.organisation_case('Host & Co', hirundo.month('2023-02')) where section = 'calendar' and item in ('Monday', 'Tuesday')),
  'Monday 20.0000, Tuesday 20.0000', '... and its calendar');

-- partitions that nobody filled are dropped as well: days that nobody observed are not gone
savepoint nobody;
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2023-01-20', '2023-01-30', '1 day') d;
select results_eq($$select sensor_days, missing from hirundo.sensor_average(hirundo.month('2023-01'), 'month') where side = 'home'$$, $$values (0::numeric, 'data of 1 day gone by retention')$$, 'what nobody observed has not gone');
select results_eq($$select hosts, missing from hirundo.source_hosts_daily(hirundo.day('2023-01-25'), null, '{22/TCP}')$$, $$values (null::bigint, null::text)$$, '... on its day');
select is((select missing from hirundo.quarter_top(hirundo.period('2023-02-27..2023-04-01'), 1) where kind = 'service'), 'of the period before: data of 27 days gone by retention', '... nor in the period before');
select is((select note from hirundo.organisation_case('Host & Co', hirundo.day('2023-01-25')) where section = 'daily'), 'nobody observed', '... and a case says so');
rollback to nobody;

-- twenty sources a day are none too many on 8 March, though of the 28 days before nine are kept
select results_eq($$select distinct verdict, sensors_compared, days_before, missing from hirundo.scope(hirundo.day('2023-03-08'), '22/TCP')$$,
  $$values ('undetermined', 0, 9.00, 'of the days before: data of 19 days gone by retention')$$, 'scope: days that are gone are no history');
select results_eq($$select distinct verdict, sensors_compared, days_before from hirundo.scope(hirundo.day('2023-03-14'), '22/TCP')$$, $$values ('no_rise', 3, 15.00)$$, '... fifteen that are kept are');
select results_eq($$select port, reason, days_judged, missing from hirundo.surges(hirundo.period('2023-03-06..2023-03-09'))$$,
  $$values (null::text, 'no day could be judged: each needs 14 observed days among the 28 before it', 0, 'of the days before: data of 21 days gone by retention')$$, 'surges: nor here');
select results_eq($$select port, reason, days_judged from hirundo.surges(hirundo.period('2023-03-06..2023-04-01'))$$, $$values (null::text, 'no port rose', 19)$$, '... and no rise comes of them');
select is((select string_agg(distinct missing, '|') from hirundo.scope(hirundo.day('2023-02-20'), '22/TCP')), 'data of 1 day gone by retention; of the days before: data of 20 days gone by retention', 'a day that is gone itself');

-- and when days are rolled up first, nothing is gone
delete from hirundo.flow_dropped;
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
delete from hirundo.flow;
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2023-01-31', '2023-03-31', '1 day') d;
select results_eq($$select distinct day, hosts, sensor_days, missing from hirundo.source_hosts_daily(hirundo.period('2023-02-26..2023-03-01'), '{198.18.0.0/24}', '{22/TCP}') order by 1$$,
  $$values ('2023-02-26'::date, 0::bigint, 3.0, null), ('2023-02-27', 20, 3, null), ('2023-02-28', 20, 3, null)$$, 'a rollup answers for the day, which had none when it was made');
-- of one grain alone: the others go
select hirundo.rollup_delete(t, '2023-03-15') from unnest(array['source_port_day', 'port_day']) t;
select results_eq($$select h.a, h.b from (select (select hosts from hirundo.source_hosts_daily(hirundo.day('2023-03-10'), '{198.18.0.0/24}', '{22/TCP}')) as a, (select hosts from hirundo.source_hosts_daily(hirundo.day('2023-03-10'), null, '{22/TCP}')) as b) h$$,
  $$values (null::bigint, 20::bigint)$$, 'all sources are known, these are not');
select is((select string_agg(distinct verdict, '|') from hirundo.scope(hirundo.day('2023-03-20'), '22/TCP')), 'undetermined', 'by sensor five days are left');
select is((select reason from hirundo.surges(hirundo.day('2023-03-20'))), 'no port rose', 'over all sensors all of them');
select hirundo.rollup_delete('tool_day', '2023-03-15');
select results_eq($$select day, packets, sensor_days, missing from hirundo.tool_share(hirundo.period('2023-03-14..2023-03-16'), null, 'port', 0, 'unknown')$$,
  $$values ('2023-03-14'::date, null::bigint, 0::numeric, 'data of 1 day gone by retention'), ('2023-03-15', 60, 3, null)$$, 'tool_share: a day that is gone is in no denominator');
savepoint floods;
select hirundo.rollup_delete('network_port_day', '2023-03-17');
select results_eq($$select day, packets, flood_packets, missing from hirundo.tool_share(hirundo.period('2023-03-16..2023-03-18'), null, 'port', 0, 'unknown')$$,
  $$values ('2023-03-16'::date, 60::bigint, null::bigint, 'data of 1 day gone by retention'), ('2023-03-17', 60, 0, null)$$, '... and floods that are gone are not none');
rollback to floods;

-- what is missing stands in the rows that lacked it
update hirundo.observation set kernel_dropped = 5 where slot = '2023-03-20T01:00Z' and sensor_id = fixture.id('kr');
select results_eq($$select region, missing from hirundo.ttl_spread(hirundo.day('2023-03-20'))$$, $$values ('JP', null), ('KR', '5 packets dropped'), ('TW', null)$$, 'ttl_spread, by region');
select results_eq($$select region, missing from hirundo.ttl_spread(hirundo.day('2023-03-20'), '{198.18.0.0/24}')$$, $$values ('JP', null), ('KR', '5 packets dropped'), ('TW', null)$$, '... of some sources');
select results_eq($$select region, missing from hirundo.ttl_origin(hirundo.day('2023-03-20'), '{198.18.0.0/24}')$$, $$values ('JP', null), ('KR', '5 packets dropped'), ('TW', null)$$, 'ttl_origin');
select results_eq($$select region, missing from hirundo.ttl_origin(hirundo.day('2023-03-20'), '{198.19.0.0/24}')$$, $$values (null::text, '5 packets dropped')$$, '... without evidence');
select results_eq($$select b.b, d.item, d.sources, d.missing from unnest(array['all', 'received', 'class', 'region', 'sensor']) b(b) cross join lateral hirundo.distinct_sources(hirundo.day('2023-03-20'), b.b) d where d.item not in ('JP', 'TW', 'jp', 'tw')$$,
  $$values ('all', 'all', 20::bigint, '5 packets dropped'), ('received', 'received', 20, '5 packets dropped'), ('class', 'scan', 20, '5 packets dropped'), ('region', 'KR', 20, '5 packets dropped'), ('sensor', 'kr', 20, '5 packets dropped')$$, 'distinct_sources');
select is((select string_agg(distinct missing, '|') from hirundo.distinct_sources(hirundo.day('2023-03-20'), 'sensor') where item <> 'kr'), null, '... of others nothing');
select results_eq($$select distinct day, missing from hirundo.scanners(hirundo.period('2023-03-19..2023-03-22'), 0) order by 1$$, $$values ('2023-03-19'::date, null), ('2023-03-20', '5 packets dropped'), ('2023-03-21', null)$$, 'scanners, by day');
select results_eq($$select sensor, missing from hirundo.scope(hirundo.day('2023-03-20'), '22/TCP') order by 1$$, $$values ('jp', 'of the days before: data of 23 days gone by retention'), ('kr', '5 packets dropped; of the days before: data of 23 days gone by retention'), ('tw', 'of the days before: data of 23 days gone by retention')$$, 'scope, by sensor');
select is((select missing from hirundo.surges(hirundo.day('2023-03-20'))), '5 packets dropped', 'surges');
select results_eq($$select s.name, p.missing, count(*) from hirundo.port_sources(hirundo.day('2023-03-20'), '22/TCP') p join hirundo.sensor s on s.sensor_id = p.sensor_id group by 1, 2 order by 1$$,
  $$values ('jp', null::text, 20::bigint), ('kr', '5 packets dropped', 20), ('tw', null, 20)$$, 'port_sources, by sensor');
select results_eq($$select hosts, missing from hirundo.port_origins(hirundo.day('2023-03-20'), '22/TCP')$$, $$values (20::bigint, '5 packets dropped')$$, 'port_origins');
select results_eq($$select what, missing from hirundo.port_is_not(hirundo.period('2023-03-14..2023-03-21'), '22/TCP')$$,
  $$select w, '5 packets dropped, data of 1 day gone by retention' from unnest(array['backscatter', 'flood', 'scanners', 'one_source', 'one_sensor']) w$$, 'port_is_not');
-- each figure as the rollups know it that it is made of
savepoint grains;
select hirundo.rollup_delete('port_day', '2023-03-21');
select results_eq($$select what, missing from hirundo.port_is_not(hirundo.day('2023-03-20'), '22/TCP') where what in ('flood', 'scanners')$$,
  $$values ('flood', '5 packets dropped, data of 1 day gone by retention'), ('scanners', '5 packets dropped')$$, 'packets that are gone, and sources that are not');
select hirundo.rollup_delete('source_day', '2023-03-22');
select results_eq($$select sources, missing from hirundo.ttl_spread(hirundo.day('2023-03-21'), null, '{22/TCP}') where region = 'JP'$$, $$values (20::bigint, null::text)$$, 'ttl_spread of ports does not need source_day');
select results_eq($$select sources, missing from hirundo.ttl_spread(hirundo.day('2023-03-21'), '{198.18.0.0/24}') where region = 'JP'$$, $$values (20::bigint, null::text)$$, '... nor of sources');
select results_eq($$select sources, missing from hirundo.ttl_origin(hirundo.day('2023-03-21'), '{198.18.0.0/24}') where region = 'JP'$$, $$values (20::bigint, null::text)$$, '... nor does ttl_origin');
rollback to grains;
select results_eq($$select port, hosts, missing from hirundo.source_top_ports(hirundo.day('2023-03-20'), '{198.18.0.0/24}')$$, $$values ('22/TCP', 20::bigint, '5 packets dropped')$$, 'source_top_ports');
select * from finish();
rollback;
