-- source_hosts_daily, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp1', 'JP'), ('tw', 'TW')) v(n, c);

-- observed on 3, 4 and 6 February (Tokyo); the last only a quarter of an hour of it; nobody on the 5th
select fixture.observe('jp1', '2023-02-02T15:00Z', '2023-02-04T15:00Z');
select fixture.observe('tw', '2023-02-05T15:00Z', '2023-02-05T15:15Z');
select fixture.flow('jp1', '2023-02-02T15:00Z', '198.18.0.1');                        -- first instant of the 3rd
select fixture.flow('jp1', '2023-02-03T14:59:59.999Z', '198.18.0.1', packets => 5);    -- last of the 3rd: the same host
select fixture.flow('tw', '2023-02-03T12:00Z', '198.18.0.2', ttl => 60);               -- a second host, elsewhere
select fixture.flow('tw', '2023-02-03T12:00Z', '198.18.0.2', ttl => 61);               -- its other TTL
select fixture.flow('jp1', '2023-02-03T15:00Z', '198.18.0.3', port => 5900);           -- the 4th
select fixture.flow('jp1', '2023-02-03T16:00Z', '198.18.0.4', flags => 18);            -- backscatter
select fixture.flow('jp1', '2023-02-03T16:00Z', '198.18.0.5', marks => 16);            -- local
select fixture.flow('jp1', '2023-02-03T16:00Z', '100.64.0.1');                         -- somebody else
select fixture.flow('jp1', '2023-02-02T14:59:59.999Z', '198.18.0.6');                  -- before
select fixture.flow('tw', '2023-02-06T15:00Z', '198.18.0.6');                          -- after
select fixture.flood('jp1', '2023-02-03T16:00Z', 6, 22, 1000);

prepare asked as select day, port, hosts, packets, sensors from hirundo.source_hosts_daily(hirundo.period('2023-02-03..2023-02-07'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}');
prepare answer as values
  ('2023-02-03'::date, '22/TCP', 2::bigint, 8::bigint, 2::bigint), ('2023-02-03', '5900/TCP', 0, 0, 0),
  ('2023-02-04', '22/TCP', 0, 0, 0), ('2023-02-04', '5900/TCP', 1, 1, 1),
  ('2023-02-05', '22/TCP', null, null, 0), ('2023-02-05', '5900/TCP', null, null, 0),
  ('2023-02-06', '22/TCP', 0, 0, 0), ('2023-02-06', '5900/TCP', 0, 0, 0);
select results_eq('asked', 'answer', 'every day and port; 0 observed none, null nobody observed');
set local timezone = 'Asia/Kathmandu';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;

select results_eq($$select port, hosts from hirundo.source_hosts_daily(hirundo.day('2023-02-04'))$$,
  $$values ('22/TCP', 1::bigint), ('5900/TCP', 1)$$, 'NULL: all sources, the ports that occur, without backscatter and local');
select results_eq($$select day, hosts from hirundo.source_hosts_daily(tstzrange(null, null), '{198.18.0.1}', '{22/TCP}')$$,
  $$values ('2023-02-03'::date, 1::bigint), ('2023-02-04', 0), ('2023-02-05', null), ('2023-02-06', 0)$$,
  'without bounds: the days that were observed');
select results_eq($$select day, hosts from hirundo.source_hosts_daily(tstzrange(null, null), '{198.18.0.6}', '{22/TCP}')$$,
  $$values ('2023-02-02'::date, 1::bigint), ('2023-02-03', 0), ('2023-02-04', 0), ('2023-02-05', null), ('2023-02-06', 0), ('2023-02-07', 1)$$,
  '... and those with rows: what was seen is shown');
select is_empty($$select * from hirundo.source_hosts_daily('empty', null, '{22/TCP}')$$, 'an empty period has no days');
select results_eq($$select day, port, hosts, packets, sensors from hirundo.source_hosts_daily(hirundo.day('2999-01-01'), null, '{22/TCP}')$$,
  $$values ('2999-01-01'::date, '22/TCP', null::bigint, null::bigint, 0::bigint)$$, 'a future day: nobody observed');
select is_empty($$select * from hirundo.source_hosts_daily(hirundo.day('2999-01-01'))$$, 'and no port occurs');

-- a slot of which nothing was covered is not observed
insert into hirundo.observation (sensor_id, slot, covered_ms, lost) values (fixture.id('tw'), '2023-02-05T01:00Z', 0, 7);
select ok((select hosts is null from hirundo.source_hosts_daily(hirundo.day('2023-02-05'), '{198.18.0.0/24}', '{22/TCP}')), 'losses alone are no observation');

-- a zone where 23 packets a day, one an hour, fall on a day of 23 hours
select fixture.zone('Europe/Berlin');
select fixture.flow('jp1', g, ('198.18.2.' || extract(epoch from g - '2023-03-25T00:30Z')::int / 3600)::inet)
from generate_series('2023-03-25T00:30Z'::timestamptz, '2023-03-27T23:30Z', '1 hour') g;
select results_eq($$select day, hosts from hirundo.source_hosts_daily(hirundo.period('2023-03-26..2023-03-28'), '{198.18.2.0/24}', '{22/TCP}')$$,
  $$values ('2023-03-26'::date, 23::bigint), ('2023-03-27', 24)$$, 'a day of 23 hours');
-- +05:45: a day ends at 18:15 UTC
select fixture.zone('Asia/Kathmandu');
select fixture.flow('tw', '2023-05-01T18:14:59Z', '198.18.3.1');
select fixture.flow('tw', '2023-05-01T18:15:00Z', '198.18.3.2');
select results_eq($$select day, hosts from hirundo.source_hosts_daily(hirundo.period('2023-05-01..2023-05-03'), '{198.18.3.0/24}', '{22/TCP}')$$,
  $$values ('2023-05-01'::date, 1::bigint), ('2023-05-02', 1)$$, 'a zone of quarter hours');

-- with backscatter
select fixture.zone('Asia/Tokyo');
update hirundo.observation set lost = 0;
select results_eq($$select day, hosts from hirundo.source_hosts_daily(hirundo.day('2023-02-04'), null, '{22/TCP}', true)$$, $$values ('2023-02-04'::date, 2::bigint)$$, 'backscatter counted too, of all sources');
select results_eq($$select day, hosts from hirundo.source_hosts_daily(hirundo.day('2023-02-04'), '{198.18.0.0/24}', '{22/TCP}', true)$$, $$values ('2023-02-04'::date, 1::bigint)$$, '... of some');

-- how much was observed, and what is missing, beside the figure
select results_eq($$select distinct day, sensor_days, missing from hirundo.source_hosts_daily(hirundo.period('2023-02-03..2023-02-07'), '{198.18.0.0/24}', '{22/TCP}') order by 1$$,
  $$values ('2023-02-03'::date, 1.0, null), ('2023-02-04', 1, null), ('2023-02-05', 0, null), ('2023-02-06', 0.010417, null)$$, 'observed sensor-days');
update hirundo.observation set kernel_dropped = 100, if_dropped = 20, lost = 7 where slot in ('2023-02-03 14:45Z', '2023-02-03 15:00Z');
update hirundo.observation set quarantined = 5 where slot = '2023-02-05 15:00Z';
insert into hirundo.loss (sensor_id, spool_id, seq, kind, first_window, last_window, reason, declared_at)
values (fixture.id('jp1'), '00000000-0000-0000-0000-000000000001', 1, 'unknown', '2023-02-04 14:59Z', '2023-02-05 14:00Z', 'test', now()),
  (fixture.id('jp1'), '00000000-0000-0000-0000-000000000001', 2, 'unknown', '2023-02-04 14:59Z', '2023-02-04 15:00:30Z', 'test', now());
insert into hirundo.heartbeat_hour (sensor_id, hour, heartbeats, spool_batches, spool_age_s, clock_offset_min_ms, clock_offset_max_ms, round_trip_ms, rss_kib)
values (fixture.id('tw'), '2023-02-05 20:00Z', 60, 0, 0, -12300, 10, 1, 1), (fixture.id('tw'), '2023-02-05 21:00Z', 60, 0, 0, -4000, 5000, 1, 1);
select results_eq($$select day, missing from hirundo.source_hosts_daily(hirundo.period('2023-02-03..2023-02-07'), '{198.18.0.0/24}', '{22/TCP}') order by 1$$,
  $$values ('2023-02-03'::date, '120 packets dropped, 7 frames lost'), ('2023-02-04', '120 packets dropped, 7 frames lost, counts of 60 s unknown'),
    ('2023-02-05', 'counts of 82800 s unknown'), ('2023-02-06', '5 frames in quarantine, clock off by up to 12.3 s')$$, 'what is missing');
select results_eq($$select sensor, missing from hirundo.top_ports(hirundo.period('2023-02-03..2023-02-07'), 1)$$,
  $$values ('jp1', '240 packets dropped, 14 frames lost, counts of 82860 s unknown'), ('tw', '5 frames in quarantine, clock off by up to 12.3 s')$$, 'by sensor');
select results_eq($$select bucket, side, flood_packets, missing from hirundo.sensor_average(hirundo.period('2023-02-04..2023-02-05'), 'day')$$,
  $$values ('2023-02-04'::date, 'home', 1000::bigint, '120 packets dropped, 7 frames lost, counts of 60 s unknown'), ('2023-02-04', 'overseas', null, null)$$, 'by side, with what came as flood rows');
-- days whose flow retention has dropped, and which no rollup has, are not calm either
insert into hirundo.flow_dropped (day) values ('2023-02-03');
select results_eq($$select day, missing like '%data of 1 day gone by retention' from hirundo.source_hosts_daily(hirundo.period('2023-02-02..2023-02-06'), '{198.18.0.0/24}', '{22/TCP}') where missing is not null$$,
  $$values ('2023-02-03'::date, true), ('2023-02-04', true), ('2023-02-05', false)$$, 'a dropped day of UTC is part of two days in Tokyo');
select alike((select missing from hirundo.sensor_average(hirundo.month('2023-02'), 'month') where side = 'overseas'), '%data of 2 days gone by retention', 'in an average');
select alike((select missing from hirundo.top_ports(hirundo.month('2023-02'), 1) where sensor = 'tw'), '%data of 2 days gone by retention', 'in a ranking');

select * from finish();
rollback;
