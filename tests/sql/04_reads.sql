-- What ttl_spread, ttl_origin, source_hosts_daily and sensor_average read: flow as long as nothing is rolled up, then rollups alone. By what was read, not by a plan:
-- EXPLAIN does not show the statements of a function.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR')) v(n, c);
select fixture.observe(s.name, '2023-02-01T00:00Z', '2023-03-01T00:00Z') from hirundo.sensor s;
-- busy enough for the monthly heads: 22/TCP, and 80/TCP not
select fixture.flow(s.name, d, '198.18.0.1', packets => 100), fixture.flow(s.name, d, '198.18.0.2', port => 80)
from hirundo.sensor s, generate_series('2023-02-01T12:00Z'::timestamptz, '2023-02-28T12:00Z', '1 day') d;
create table fixture.asked (question text, reads text[]);
insert into fixture.asked values
  ($$ttl_spread(hirundo.day('2023-02-08'), '{198.18.0.0/24}', '{22/TCP}')$$, '{source_port_day}'),
  ($$ttl_spread(hirundo.month('2023-02'), '{198.18.0.0/24}')$$, '{source_port_day}'),
  ($$ttl_spread(hirundo.month('2023-02'), '{198.18.0.0/24}', '{22/TCP}')$$, '{source_port_month}'),
  ($$ttl_spread(hirundo.month('2023-02'), null, '{22/TCP,80/TCP}')$$, '{source_port_month,source_port_day}'),
  ($$ttl_spread(hirundo.month('2023-02'))$$, '{ttl_day,source_month}'),
  ($$ttl_spread(hirundo.day('2023-02-08'))$$, '{ttl_day,source_day}'),
  ($$ttl_origin(hirundo.day('2023-02-08'), '{198.18.0.0/24}', '{22/TCP}')$$, '{source_port_day}'),
  ($$ttl_origin(hirundo.month('2023-02'), '{198.18.0.0/24}')$$, '{source_ttl_month}'),
  ($$ttl_origin(hirundo.month('2023-02'), '{198.18.0.0/24}', '{22/TCP}')$$, '{source_port_month}'),
  ($$source_hosts_daily(hirundo.month('2023-02'), '{198.18.0.0/24}', '{22/TCP}')$$, '{source_port_day,observed_day}'),
  ($$source_hosts_daily(hirundo.month('2023-02'), null, '{22/TCP}')$$, '{network_port_day,observed_day}'),
  ($$sensor_average(hirundo.month('2023-02'), 'month')$$, '{sensor_day,observed_day}'),
  ($$sensor_average(hirundo.period('2023-02-08T06:00..2023-02-08T18:00'), 'day')$$, '{port_hour}');
select ok(fixture.reads('select * from hirundo.' || a.question) @> '{flow}', a.question || ' reads flow') from fixture.asked a;
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
create table fixture.found as select a.*, fixture.reads('select * from hirundo.' || a.question) as found from fixture.asked a;
select ok(f.found @> f.reads and not f.found && '{flow,flood}', f.question || ' reads ' || f.reads::text || ' and not flow: ' || f.found::text) from fixture.found f;
select * from finish();
rollback;
