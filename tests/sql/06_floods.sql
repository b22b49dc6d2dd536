-- What came as flood rows stands in the row of each figure, with bounds of how many sources it may have had: by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR')) v(n, c);
select fixture.observe(s.name, '2023-02-01T00:00Z', '2023-02-03T00:00Z') from hirundo.sensor s;
insert into hirundo.organisation (name) values ('Host & Co');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/24' from hirundo.organisation;
-- a host at both sensors on both days; it answers somebody on the second
select fixture.flow(s.name, d, '198.18.0.1') from hirundo.sensor s, generate_series('2023-02-01T12:00Z'::timestamptz, '2023-02-02T12:00Z', '1 day') d;
select fixture.flow('kr', '2023-02-02T12:00Z', '198.18.0.1', flags => 18);
-- floods: two windows at jp, one at kr that was not estimated; on the second day echo requests at kr, and answers at jp
select fixture.flood('jp', '2023-02-01T13:00Z', 6, 22, 5000), fixture.flood('jp', '2023-02-01T13:01Z', 6, 22, 3000), fixture.flood('kr', '2023-02-01T14:00Z', 6, 22, 1000),
  fixture.flood('kr', '2023-02-02T10:00Z', 1, 2048, 700), fixture.flood('jp', '2023-02-02T10:00Z', 6, 22, 900, flags => 18);
update hirundo.flood f set sources_estimate = v.n from (values (5000, 100), (3000, 300), (1000, null), (700, 50), (900, 40)) v(packets, n) where f.packets = v.packets;

create function pg_temp.figures() returns table (what text, item text, packets bigint, low bigint, high bigint) language plpgsql as
$$
declare
  p tstzrange := hirundo.period('2023-02-01..2023-02-03');
begin
  return query select 'source_hosts_daily', f.day::text, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.source_hosts_daily(p, null, '{22/TCP}') f;
  return query select 'of a company, backscatter too', f.day::text, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.source_hosts_daily(p, '{198.18.0.0/24}', '{22/TCP}', true) f;
  return query select 'sensor_average', f.side, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.sensor_average(p, 'month') f;
  return query select 'of a part of a day', f.side, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.sensor_average(hirundo.period('2023-02-01T13:01..2023-02-02T10:30'), 'quarter') f;
  return query select 'top_ports', f.sensor || ' ' || f.port, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.top_ports(p, 1) f;
  return query select 'port_trend', to_char(f.bucket, 'MM-DD ') || f.port, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.port_trend(p, 'day', 2) f;
  return query select 'by hour', to_char(f.bucket, 'HH24'), f.flood_packets, f.flood_sources_min, f.flood_sources_max
               from hirundo.port_trend(hirundo.period('2023-02-01T12:00..2023-02-01T15:00'), 'hour', 1) f;
  return query select 'quarter_top', f.item, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.quarter_top(p, 2) f;
  return query select 'scope', f.sensor, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.scope(hirundo.day('2023-02-01'), '22/TCP') f;
  return query select 'surges', f.reason, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.surges(p) f;
  return query select 'ttl_spread', f.region, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.ttl_spread(p) f;
  return query select 'of a port', f.region, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.ttl_spread(p, null, '{22/TCP}') f;
  return query select 'of some sources', f.region, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.ttl_spread(p, '{198.18.0.0/24}', '{ICMP,22/TCP}') f;
  return query select 'ttl_origin', f.region, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.ttl_origin(p, '{198.18.0.0/24}') f;
  return query select 'without evidence', f.region, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.ttl_origin(p, '{203.0.113.0/24}') f;
  return query select 'scanners', f.day::text, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.scanners(p, 0) f;
  return query select 'backscatter too', f.day::text, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.scanners(p, 0, true) f;
  return query select 'scanner_organisations', f.day::text, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.scanner_organisations(p, 10) f;
  return query select 'activity_calendar', f.kind, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.activity_calendar(p) f where f.kind in ('weekday', 'weekend', 'all');
  return query select 'of ports', f.kind, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.activity_calendar(p, null, '{22/TCP}', null, true) f where f.kind = 'all';
  return query select 'tool_share', to_char(f.day, 'MM-DD ') || f.item, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.tool_share(p, null, 'port', 1) f;
  return query select 'distinct_sources ' || b, f.item, f.flood_packets, f.flood_sources_min, f.flood_sources_max
               from unnest(array['all', 'class', 'region', 'sensor']) b cross join lateral hirundo.distinct_sources(p, b) f;
  return query select 'source_top_ports', f.port, f.flood_packets, f.flood_sources_min, f.flood_sources_max from hirundo.source_top_ports(p, '{198.18.0.0/24}') f;
end
$$;
prepare answer as values
  ('source_hosts_daily', '2023-02-01', 9000::bigint, 300::bigint, 400::bigint), ('source_hosts_daily', '2023-02-02', 0, null, null),
  ('of a company, backscatter too', '2023-02-01', 9000, 300, 400), ('of a company, backscatter too', '2023-02-02', 900, 40, 40),
  ('sensor_average', 'home', 8900, 300, 440), ('sensor_average', 'overseas', 1700, 50, 50),
  ('of a part of a day', 'home', 3900, 300, 340), ('of a part of a day', 'overseas', 1700, 50, 50),
  ('top_ports', 'jp 22/TCP', 8900, 300, 440), ('top_ports', 'kr 22/TCP', 1000, null, null),
  ('port_trend', '02-01 22/TCP', 9000, 300, 400), ('port_trend', '02-01 ICMP', 0, null, null), ('port_trend', '02-02 22/TCP', 900, 40, 40), ('port_trend', '02-02 ICMP', 700, 50, 50),
  ('by hour', '12', 0, null, null), ('by hour', '13', 8000, 300, 400), ('by hour', '14', 1000, null, null),
  ('quarter_top', '22/TCP', 9900, 300, 440), ('quarter_top', 'ICMP', 700, 50, 50), ('quarter_top', 'unknown', 10600, 300, 490),
  ('scope', 'jp', 8000, 300, 400), ('scope', 'kr', 1000, null, null),
  ('surges', 'no day could be judged: each needs 14 observed days among the 28 before it', 9700, 300, 450),
  ('ttl_spread', 'JP', 8900, 300, 440), ('ttl_spread', 'KR', 1700, 50, 50), ('of a port', 'JP', 8900, 300, 440), ('of a port', 'KR', 1000, null, null),
  ('of some sources', 'JP', 8900, 300, 440), ('of some sources', 'KR', 1700, 50, 50),
  ('ttl_origin', 'JP', 8000, 300, 400), ('ttl_origin', 'KR', 1000, null, null), ('without evidence', null, 9000, 300, 400),
  ('scanners', '2023-02-01', 9000, 300, 400), ('scanners', '2023-02-02', 700, 50, 50), ('backscatter too', '2023-02-01', 9000, 300, 400), ('backscatter too', '2023-02-02', 1600, 50, 90),
  ('scanner_organisations', '2023-02-01', 9000, 300, 400), ('scanner_organisations', '2023-02-02', 700, 50, 50),
  ('activity_calendar', 'weekday', 9700, 300, 450), ('activity_calendar', 'weekend', null, null, null), ('activity_calendar', 'all', 9700, 300, 450), ('of ports', 'all', 9900, 300, 440),
  ('tool_share', '02-01 22/TCP', 9000, 300, 400), ('tool_share', '02-01 total', 9000, 300, 400), ('tool_share', '02-02 22/TCP', 0, null, null), ('tool_share', '02-02 total', 700, 50, 50),
  ('distinct_sources all', 'all', 10600, 300, 490), ('distinct_sources class', 'backscatter', 900, 40, 40), ('distinct_sources class', 'scan', 9700, 300, 450),
  ('distinct_sources region', 'JP', 8900, 300, 440), ('distinct_sources region', 'KR', 1700, 50, 50), ('distinct_sources sensor', 'jp', 8900, 300, 440), ('distinct_sources sensor', 'kr', 1700, 50, 50),
  ('source_top_ports', '22/TCP', 9000, 300, 400);
select results_eq('select * from pg_temp.figures()', 'answer', 'from flood');

create function pg_temp.notes() returns setof text language plpgsql as
$$
declare
  p tstzrange := hirundo.period('2023-02-01..2023-02-03');
begin
  return query select substring(c.note from '; to these.*') from hirundo.organisation_case('Host & Co', p) c where c.section = 'summary';
  return query select concat_ws(' ', c.day, c.port, c.note) from hirundo.organisation_case('Host & Co', p) c where c.section = 'daily';
  return query select c.note from hirundo.organisation_case('Host & Co', p, true) c where c.section = 'daily' and c.day = '2023-02-02' and c.port = '22/TCP';
  return query select b.note from hirundo.backscatter(p) b where b.victim is null;
end
$$;
prepare notes as values ('; to these ports also 9000 packets of floods not counted, of about 300 to 400 sources'),
  ('2023-02-01 9000 packets of floods not counted, of about 300 to 400 sources'), ('2023-02-01 22/TCP 9000 packets of floods not counted, of about 300 to 400 sources'),
  ('2023-02-02'), ('2023-02-02 22/TCP'), ('900 packets of floods not counted, of about 40 sources'), ('came as flood rows: victims, times and ports are not known; about 40 victims');
select results_eq('select * from pg_temp.notes()', 'notes', 'in the notes of a case, and of victims');
select is(hirundo.flood_text(5, null, null), '5 packets of floods not counted, of unknown sources', 'not estimated');

-- the same from rollups, with the day between them and flood read beside, and without flood
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o where o.slot < '2023-02-02Z';
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o where o.slot >= '2023-02-02Z';
select results_eq('select * from pg_temp.figures()', 'answer', 'a day from rollups, a day from flood');
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
select results_eq('select * from pg_temp.figures()', 'answer', 'from rollups');
select results_eq('select * from pg_temp.notes()', 'notes', 'notes, too');
select ok(fixture.reads('select * from hirundo.floods(''2023-02-01Z'', ''2023-02-03Z'')') @> '{network_port_day}'
  and not fixture.reads('select * from hirundo.floods(''2023-02-01Z'', ''2023-02-03Z'')') && '{flow,flood,port_day}', 'network-wide rollups where sensors do not matter');
select ok(fixture.reads('select * from hirundo.floods(''2023-02-01Z'', ''2023-02-03Z'', null, true)') @> '{port_day}'
  and not fixture.reads('select * from hirundo.floods(''2023-02-01Z'', ''2023-02-03Z'', null, true)') && '{flow,flood}', 'by sensor');
select * from finish();
rollback;
