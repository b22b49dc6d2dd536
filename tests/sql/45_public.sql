-- Figures for anybody: the sensor in the middle, of what more than half of the sensors received.
begin;
select no_plan();
update hirundo.setting set value = 'UTC' where name = 'time_zone';
update hirundo.setting set value = 'JP' where name = 'home_country';
update hirundo.setting set value = 'off' where name = 'retention_flow';

select results_eq($$select hirundo.public_round(v) from unnest('{0,0.00123,0.5,9.96,12,1249,1250,123456}'::float8[]) v$$,
  $$values (0::numeric), (0.0012), (0.5), (10), (12), (1200), (1300), (120000)$$, 'two digits');
select is(hirundo.public_value('{1,2,3}', 3), 2::numeric, 'the middle of three');
select is(hirundo.public_value('{1,2,3,4}', 4), 2::numeric, 'of four the lower');
select is(hirundo.public_value('{5,6,7}', 5), 5::numeric, 'two of five received nothing');
select is(hirundo.public_value('{5,6,7}', 6), 0::numeric, 'half is not more than half');
select is(hirundo.public_value('{5,6}', 3), 0::numeric, 'two are too few');
select is(hirundo.public_value('{5,6}', 2), null::numeric, 'of two nothing is said');

-- five sensors, of which three at home observe a week, one overseas does, and one observes three days of it
insert into hirundo.sensor (name, country, label_en, label_ja) select 'p-' || n, case when n <= 3 then 'JP' else 'KR' end, 'P' || n, 'P' || n from generate_series(1, 5) n;
create temporary view s as select sensor_id, substring(name from 3)::int as n from hirundo.sensor where name like 'p-%';
insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets, malformed)
select s.sensor_id, t, 900000, 100, 98, 2 from s, generate_series(timestamptz '2023-02-06Z', '2023-02-12 23:45Z', '15 minutes') t where s.n < 5 or t < '2023-02-09Z';
select set_eq($$select s.n, p.side, p.days from hirundo.public_sensors('2023-02-06Z', '2023-02-13Z') p join s on s.sensor_id = p.sensor_id$$,
  $$values (1, 'home', 7::float8), (2, 'home', 7), (3, 'home', 7), (4, 'overseas', 7)$$, 'those that observed at least half');
select is((select count(*) from hirundo.public_sensors('2023-02-06Z', '2023-02-20Z', 'week') p where p.bucket_start = '2023-02-13'), 0::bigint, 'and none in a week that nobody observed');
select hirundo.partition_ensure(d::date) from generate_series(timestamp '2023-02-06', '2023-02-12', '1 day') d;
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select timestamptz '2023-02-07 03:00Z' + f.d * interval '1 day', 0, f.packets, 60, f.port, 40000, s.sensor_id, 1, 6, f.ttl, 2, 0, f.src::inet
from s
join (values (22, 70, 1, 50, '198.18.0.1', 0), (22, 140, 2, 51, '198.18.0.2', 0), (22, 210, 3, 52, '198.18.0.3', 1), (22, 7000, 4, 53, '198.18.0.4', 1),
             (31337, 9999, 1, 9, '198.18.0.9', 0), (31337, 9999, 2, 9, '198.18.0.9', 0), (80, 7, 1, 50, '198.18.0.1', 0), (80, 7, 2, 50, '198.18.0.1', 0),
             (80, 7, 3, 50, '198.18.0.1', 0)) f(port, packets, n, ttl, src, d) on f.n = s.n;
select results_eq($$select * from hirundo.public_top('port', hirundo.week('2023-W06'), null, 10)$$,
  $$values (date '2023-02-06', 1, '22/TCP', 20::numeric), ('2023-02-06', 2, '80/TCP', 1)$$, 'by packets a day in the middle; two sensors'' port is left out');
select results_eq($$select * from hirundo.public_top('port', hirundo.period('2023-01-30..2023-02-13'), 'week', 1)$$,
  $$values (date '2023-01-30', 1, '22/TCP', null::numeric), ('2023-02-06', 1, '22/TCP', 20)$$, 'nobody observed: null and not 0');
select results_eq($$select side, packets, sources from hirundo.public_average(hirundo.week('2023-W06'))$$,
  $$values ('all', 1000::numeric, 0.29::numeric), ('home', 1400, 0.29), ('overseas', null, null)$$, 'three at home, one overseas');
select results_eq($$select * from hirundo.public_top_tens(hirundo.week('2023-W06'))$$, $$values ('22/TCP', 100), ('80/TCP', 75)$$, 'in the top tens of how many');
select results_eq($$select * from hirundo.public_ttl(hirundo.week('2023-W06'), '{198.18.0.0/29}')$$,
  $$values ('home', 50, 51, 51, 2::numeric, 150::numeric)$$, 'TTLs at home');
select is_empty($$select * from hirundo.public_ttl(hirundo.week('2023-W06'), '{198.18.0.9/32}')$$, 'of what two sensors received there are none');
select results_eq($$select * from hirundo.public_source_hosts(hirundo.week('2023-W06'), '{198.18.0.0/24}', 'week', 3)$$,
  $$values (date '2023-02-06', '22/TCP', 0.14::numeric), ('2023-02-06', '80/TCP', 0.14)$$, 'hosts a day');
select results_eq($$select * from hirundo.public_source_hosts(hirundo.week('2023-W06'), null, 'week', 1, '{22/TCP}')$$,
  $$values (date '2023-02-06', '22/TCP', 0.14::numeric)$$, 'of a port');
select results_eq($$select row_share, malformed_share, difference_share from hirundo.public_accounting(hirundo.week('2023-W06'))$$, $$values (98.0, 2.0, 0.0)$$, 'where frames went');
select is_empty($$select * from hirundo.public_accounting(hirundo.week('2023-W10'))$$, 'where nobody observed, nothing');
select throws_ok($$select * from hirundo.public_top('ports', hirundo.week('2023-W06'))$$, '22023', '''ports'' is no kind of public figure');

-- the same from the rollups
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f;
insert into hirundo.dirty_day (sensor_id, day) select s.sensor_id, d::date from s, generate_series(timestamp '2023-02-06', '2023-02-12', '1 day') d;
do $$ begin while hirundo.rollup_step() > 0 loop end loop; end $$;
select is((select count(*) from hirundo.rollup_day), 7::bigint, 'rolled up');
select results_eq($$select rank, item, average from hirundo.public_top('port', hirundo.week('2023-W06'))$$, $$values (1, '22/TCP', 20::numeric), (2, '80/TCP', 1)$$, 'ports, from rollups');
select results_eq($$select side, packets, sources from hirundo.public_average(hirundo.week('2023-W06'))$$,
  $$values ('all', 1000::numeric, 0.29::numeric), ('home', 1400, 0.29), ('overseas', null, null)$$, 'averages');
select results_eq($$select * from hirundo.public_top_tens(hirundo.week('2023-W06'))$$, $$values ('22/TCP', 100), ('80/TCP', 75)$$, 'top tens');
select results_eq($$select * from hirundo.public_ttl(hirundo.week('2023-W06'), '{198.18.0.0/29}')$$, $$values ('home', 50, 51, 51, 2::numeric, 150::numeric)$$, 'TTLs');
select results_eq($$select * from hirundo.public_source_hosts(hirundo.week('2023-W06'), null, 'week', 1, '{22/TCP}')$$,
  $$values (date '2023-02-06', '22/TCP', 0.14::numeric)$$, 'hosts of a port');

-- where retention has taken the week, nobody can say: null and not 0; the books are kept
savepoint gone;
delete from hirundo.flow;
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2023-02-06', '2023-02-12', '1 day') d;
select results_eq($$select side, packets, sources from hirundo.public_average(hirundo.week('2023-W06'))$$,
  $$values ('all', 1000::numeric, 0.29::numeric), ('home', 1400, 0.29), ('overseas', null, null)$$, 'flow gone, rollups there: the same');
select hirundo.rollup_delete('source_port_day', '2023-02-13');
select results_eq($$select * from hirundo.public_source_hosts(hirundo.week('2023-W06'), null, 'week', 1, '{22/TCP}')$$,
  $$values (date '2023-02-06', '22/TCP', 0.14::numeric)$$, 'hosts of all sources need their own rollup alone');
select is_empty($$select * from hirundo.public_source_hosts(hirundo.week('2023-W06'), '{198.18.0.0/24}')$$, 'hosts of some have gone with theirs');
select hirundo.rollup_delete(t, '2023-02-13') from unnest(array['sensor_day', 'port_day']) t;
select results_eq($$select side, packets, sources from hirundo.public_average(hirundo.week('2023-W06'))$$,
  $$values ('all', null::numeric, null::numeric), ('home', null, null), ('overseas', null, null)$$, 'both gone: no calm');
select results_eq($$select row_share, malformed_share from hirundo.public_accounting(hirundo.week('2023-W06'))$$, $$values (98.0, 2.0)$$, 'where frames went is known');
rollback to gone;

-- an extra edition's parts
select is(hirundo.report_port(p), '22/TCP') from unnest('{22,22/tcp," 22 "}'::text[]) p;
select throws_ok($$select hirundo.report_port('ssh')$$, '22023', '''ssh'' is not a port');
select results_eq($$select count(*), sum(packets)::bigint from hirundo.port_sources(hirundo.week('2023-W06'), '22/TCP')$$, $$values (4::bigint, 7420::bigint)$$, 'who sent');
select results_eq($$select * from hirundo.port_origins(hirundo.week('2023-W06'), '22/TCP')$$, $$values ('', 4::bigint, 7420::bigint, null::text, 1::numeric, null::text)$$, 'from where');
select results_eq($$select what, share, middle from hirundo.port_is_not(hirundo.week('2023-W06'), '22/TCP')$$,
  $$values ('backscatter', 0.0, 0::numeric), ('flood', 0.0, 0), ('scanners', 0.0, 0), ('one_source', 94.3, 100), ('one_sensor', 25.0, null)$$, 'what it is not');

select * from finish();
rollback;
