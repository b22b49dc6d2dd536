-- backscatter: victims, their ports and times, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('jp2', 'JP'), ('kr', 'KR')) v(n, c);
select fixture.observe('jp', '2023-02-07T15:00Z', '2023-02-08T15:00Z'), fixture.observe('kr', '2023-02-07T15:00Z', '2023-02-08T03:00Z');

-- 198.18.0.1: a SYN flood on 80/TCP and 443/TCP, over midnight in Tokyo (15:00Z)
select fixture.flow('jp', '2023-02-08T14:58:00Z', '198.18.0.1', port => 50001, flags => 18, src_port => 80, packets => 3);
select fixture.flow('kr', '2023-02-08T14:50:00Z', '198.18.0.1', port => 50002, flags => 4, src_port => 80);
select fixture.flow('jp2', '2023-02-08T15:01:00Z', '198.18.0.1', port => 50003, flags => 18, src_port => 443);
update hirundo.flow set duration_ms = 2500 where packets = 3;
-- 198.18.0.2: by ICMP alone; .3: a name server; .4: with RST and SYN-ACK at once; IPv6
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.2', proto => 1, port => 3 * 256 + 1, packets => 2, src_port => null);
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.3', proto => 17, port => 4444, src_port => 53);
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.4', port => 4444, flags => 22, src_port => null);
select fixture.flow('kr', '2023-02-08T01:00Z', '2001:db8::1', proto => 58, port => 256, src_port => null);
-- not victims: a scan, a ping, a later fragment, a broadcast
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.9');
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.9', proto => 1, port => 2048);
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.9', port => null, flags => 18, marks => 4);
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.9', flags => 18, marks => 16);
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 1, 1);
insert into hirundo.network (set_id, lo, hi, asn, country) select set_id, '198.18.0.0', '198.18.0.255', 64500, 'US' from hirundo.prefix_set;

prepare two_days as select victim, first_seen, last_seen, packets, bytes, days, kinds, ports, port_count, sensors, regions, asn, country from hirundo.backscatter(hirundo.period('2023-02-08..2023-02-10'));
select results_eq('two_days', $$values
  ('198.18.0.1'::inet, '2023-02-08 14:50:00Z'::timestamptz, '2023-02-08 15:01:00Z'::timestamptz, 5::bigint, 300::bigint, 2::bigint, '{RST,SYN-ACK}'::text[], '{80/TCP,443/TCP}'::text[], 2::bigint, 3::bigint, 2::bigint, 64500::bigint, 'US'),
  ('198.18.0.2', '2023-02-08 01:00Z', '2023-02-08 01:00Z', 2, 120, 1, '{ICMP}', '{ICMP}', 1, 1, 1, 64500, 'US'),
  ('198.18.0.3', '2023-02-08 01:00Z', '2023-02-08 01:00Z', 1, 60, 1, '{UDP}', '{53/UDP}', 1, 1, 1, 64500, 'US'),
  ('198.18.0.4', '2023-02-08 01:00Z', '2023-02-08 01:00Z', 1, 60, 1, '{RST}', '{TCP/unknown}', 1, 1, 1, 64500, 'US'),
  ('2001:db8::1', '2023-02-08 01:00Z', '2023-02-08 01:00Z', 1, 60, 1, '{ICMP}', '{ICMPv6}', 1, 1, 1, null, null)$$, 'victims, by packets and address; the port is the victim''s');
select results_eq($$select last_seen, packets, days, ports, sensors, sensor_days from hirundo.backscatter(hirundo.day('2023-02-08')) where victim = '198.18.0.1'$$,
  $$values ('2023-02-08 14:58:02.5Z'::timestamptz, 4::bigint, 1::bigint, '{80/TCP}'::text[], 2::bigint, 1.5)$$, 'a day of the reporting zone ends with its last packet; time observed');
select results_eq($$select victim from hirundo.backscatter(hirundo.day('2023-02-08'), 2)$$, $$values ('198.18.0.1'::inet), ('198.18.0.2')$$, 'at least two packets');
select alike((select note from hirundo.backscatter(hirundo.day('2023-02-08')) where victim = '198.18.0.2'), 'ICMP answers alone: %router%', 'ICMP may be a router''s');

update hirundo.observation set lost = 4 where sensor_id = fixture.id('kr') and slot = '2023-02-07 15:00Z';
select results_eq($$select distinct missing from hirundo.backscatter(hirundo.day('2023-02-08'))$$, $$values ('4 frames lost')$$, 'what is missing, on every row');
update hirundo.observation set lost = 0;

-- more than ten ports: the first ten, and how many
select fixture.flow('jp', '2023-02-11T01:00Z', '198.18.1.1', port => 5000, ttl => i, flags => 18, src_port => i, packets => 100 - i) from generate_series(1, 12) i;
select results_eq($$select ports, port_count from hirundo.backscatter(hirundo.day('2023-02-11'))$$,
  $$values ('{1/TCP,2/TCP,3/TCP,4/TCP,5/TCP,6/TCP,7/TCP,8/TCP,9/TCP,10/TCP}'::text[], 12::bigint)$$, 'ten ports, most packets first');

-- flood rows have no victim
select fixture.flood('jp', '2023-02-12T01:00Z', 6, 5000, 1000000, 18), fixture.flood('kr', '2023-02-12T02:00Z', 6, 22, 7);
select results_eq($$select victim, first_seen, packets, days, sensors, note from hirundo.backscatter(hirundo.day('2023-02-12'))$$,
  $$values (null::inet, null::timestamptz, 1000000::bigint, 1::bigint, 1::bigint, 'came as flood rows: victims, times and ports are not known; about 1000 victims')$$, 'flooded answers are not forgotten');

-- from rollups: the same, and the plan reads no flow
create table fixture.before as select row_number() over () as n, b.* from hirundo.backscatter(hirundo.month('2023-02')) b;
insert into hirundo.dirty (sensor_id, hour)
select f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f union select f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flood f
union select o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop end loop; end $$;
select cmp_ok((select count(*) from hirundo.backscatter_day), '>', 15::bigint, 'rolled up');
select results_eq('select row_number() over (), b.* from hirundo.backscatter(hirundo.month(''2023-02'')) b', 'select * from fixture.before', 'the same from rollups');
delete from hirundo.flow;
delete from hirundo.flood;
select is((select count(*) from hirundo.backscatter(hirundo.period('2023-02-08..2023-02-09'))), 5::bigint, 'whole days that are rolled up need no flow');
select is((select packets from hirundo.backscatter(hirundo.day('2023-02-12'))), 1000000::bigint, 'nor do flood rows');
select * from finish();
rollback;
