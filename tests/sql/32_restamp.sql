-- Organisations have no date: what was rolled up is of those that are known now, in days whose flow is gone, too.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC'), fixture.home('JP'), fixture.sensor('a', 'JP'), fixture.sensor('b', 'TW');
select fixture.observe(s, '2023-02-01', '2023-03-03') from unnest('{a,b}'::text[]) s;
select fixture.flow(s, d + interval '1 hour', src::inet, packets => 2)
from unnest('{a,b}'::text[]) s, generate_series('2023-02-07'::timestamptz, '2023-02-09', '1 day') d, unnest('{198.18.0.1,198.18.1.1,198.18.1.2,2001:db8::1}'::text[]) src;
select fixture.flow('a', '2023-03-01T01:00Z', '198.18.1.1', packets => 2);
create function pg_temp.roll_up() returns void language plpgsql as
$$ begin insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts) from hirundo.flow f; while hirundo.rollup_step() > 0 loop end loop; end $$;
select pg_temp.roll_up();
create function pg_temp.stamps(tab text) returns table (src inet, rows bigint, names text) language plpgsql as
$$ begin return query execute format('select d.src, count(*), string_agg(distinct coalesce(o.name, ''-''), '','') from hirundo.%I d left join hirundo.organisation o using (organisation_id) group by 1 order by 1', tab); end $$;
select results_eq($$select * from pg_temp.stamps('source_day')$$,
  $$values ('198.18.0.1'::inet, 3::bigint, '-'), ('198.18.1.1', 4, '-'), ('198.18.1.2', 3, '-'), ('2001:db8::1', 3, '-')$$, 'nobody is watched yet');
select results_eq($$select * from pg_temp.stamps('source_month')$$,
  $$values ('198.18.0.1'::inet, 1::bigint, '-'), ('198.18.1.1', 2, '-'), ('198.18.1.2', 1, '-'), ('2001:db8::1', 1, '-')$$, '... nor by month');
create temp table sums as select sum(packets) as p, sum(bytes) as b, sum(days) as d from hirundo.source_month;

-- one day's flow goes; its rollups stay
insert into hirundo.flow_dropped values ('2023-02-07');
delete from hirundo.flow where ts < '2023-02-08';
with o as (insert into hirundo.organisation (name) values ('Large'), ('Small') returning organisation_id, name)
insert into hirundo.organisation_prefix (organisation_id, prefix)
select organisation_id, case name when 'Large' then cidr '198.18.0.0/16' else cidr '198.18.1.0/31' end from o;
select is(hirundo.organisation_restamp('{198.18.1.0/31}'), 4, 'of these prefixes alone');
select results_eq($$select * from pg_temp.stamps('source_day')$$,
  $$values ('198.18.0.1'::inet, 3::bigint, '-'), ('198.18.1.1', 4, 'Small'), ('198.18.1.2', 3, '-'), ('2001:db8::1', 3, '-')$$, 'the smallest prefix, in all days');
select is(hirundo.organisation_restamp('{198.18.0.0/16,198.18.1.0/31}'), 3, 'days in which something changed');
select results_eq($$select distinct d.src, o.name from hirundo.source_day d left join hirundo.organisation o using (organisation_id) order by 1$$,
  $$select k.address, k.organisation from hirundo.lookup((select array_agg(d.src) from hirundo.source_day d), '2023-02-08') k order by 1$$, 'as lookup says');
select is(hirundo.organisation_restamp('{198.18.0.0/16}'), 0, 'once');
select is((select array_agg(distinct day order by day) from hirundo.source_day where organisation_id is not null), array['2023-02-07', '2023-02-08', '2023-02-09', '2023-03-01']::date[], 'days without flow, too');
select results_eq($$select * from pg_temp.stamps('source_month')$$,
  $$values ('198.18.0.1'::inet, 1::bigint, 'Large'), ('198.18.1.1', 2, 'Small'), ('198.18.1.2', 1, 'Large'), ('2001:db8::1', 1, '-')$$, 'and months');

-- changed by hand: a day that is rolled up again knows it, the month has two rows
update hirundo.organisation_prefix set prefix = '2001:db8::/32' where prefix = '198.18.0.0/16';
delete from hirundo.dirty_month;
update hirundo.rollup_month set built_at = '2023-06-01';
select fixture.flow('a', '2023-02-09T02:00Z', '198.18.1.2', packets => 2);
select pg_temp.roll_up();
select results_eq($$select * from pg_temp.stamps('source_month')$$,
  $$values ('198.18.0.1'::inet, 2::bigint, '-,Large'), ('198.18.1.1', 2, 'Small'), ('198.18.1.2', 2, '-,Large'), ('2001:db8::1', 2, '-,Large')$$, 'of two minds');
select is(hirundo.organisation_restamp(null), 1, 'all of it, in one call');
select results_eq($$select * from pg_temp.stamps('source_month')$$,
  $$values ('198.18.0.1'::inet, 1::bigint, '-'), ('198.18.1.1', 2, 'Small'), ('198.18.1.2', 1, '-'), ('2001:db8::1', 1, 'Large')$$, 'one row again');
select results_eq('select sum(packets), sum(bytes), sum(days) from hirundo.source_month', 'select p + 2, b + 120, d from sums', 'nothing is lost or added');
select is((select distinct sensors::text from hirundo.source_month where src = '2001:db8::1'),
  (select bit_or(sensors)::text from hirundo.source_day where src = '2001:db8::1'), 'nor sensors');
delete from hirundo.organisation where name = 'Large';
select is(hirundo.organisation_restamp(null), 3, 'an organisation that is no more');
select is((select count(*) from hirundo.source_day where organisation_id is not null and src <> '198.18.1.1'), 0::bigint, 'is in no rollup');

select * from finish();
rollback;
