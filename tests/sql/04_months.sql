-- Monthly rollups where flow is kept for less than a month: they are added up from days.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.sensor('a', 'JP'), fixture.sensor('b', 'TW');
create function pg_temp.roll() returns void language plpgsql as $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
create function pg_temp.mark(past timestamptz) returns void language plpgsql as $$ begin
  insert into hirundo.dirty (sensor_id, hour)
  with gone as materialized (select g.day from hirundo.flow_dropped g), seen as materialized (select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') as hour from hirundo.observation o where o.slot < past)
  select s.sensor_id, s.hour from seen s where not exists (select from gone g where g.day = (s.hour at time zone 'UTC')::date) on conflict do nothing;
end $$;
-- February from the 3rd on; the 10th is an outage of all
select fixture.observe(s.name, '2023-02-02T15:00Z', '2023-02-09T15:00Z'), fixture.observe(s.name, '2023-02-10T15:00Z', '2023-02-28T15:00Z') from hirundo.sensor s;
select fixture.flow(s.name, d, '198.18.0.1') from hirundo.sensor s, generate_series('2023-02-03T03:00Z'::timestamptz, '2023-02-28T03:00Z', '1 day') d where d <> '2023-02-10T03:00Z';
-- the first weeks are rolled up, their flow goes, then the others come
select pg_temp.mark('2023-02-14T15:00Z'), pg_temp.roll();
delete from hirundo.rollup_month;
insert into hirundo.dirty_month values ('2023-02-01') on conflict do nothing;
delete from hirundo.flow where ts < '2023-02-14';
insert into hirundo.flow_dropped select d::date from generate_series(timestamp '2023-01-31', '2023-02-13', '1 day') d;
select pg_temp.mark('2023-03-01'), pg_temp.roll();
select results_eq('select month from hirundo.rollup_month', $$values ('2023-02-01'::date)$$, 'the month is built, though flow of its first days is gone');
select is((select sum(packets) from hirundo.network_port_month), 50::numeric, '... of all its days');
select ok(fixture.reads($$select * from hirundo.top_ports(hirundo.month('2023-02'), 3)$$) @> '{port_month}', 'and answers');
select results_eq($$select sensor, packets, missing from hirundo.top_ports(hirundo.month('2023-02'), 3)$$, $$values ('a', 25::bigint, null), ('b', 25, null)$$, '... in full');
-- a day that was not rolled up before its flow went: the month cannot be added up
delete from hirundo.rollup_month;
insert into hirundo.dirty_month values ('2023-02-01');
delete from hirundo.rollup_day where day = '2023-02-08';
select pg_temp.roll();
select is_empty('select * from hirundo.rollup_month', 'not without one of its days');
select is_empty('select * from hirundo.dirty_month', '... and not tried again');
select * from finish();
rollback;
