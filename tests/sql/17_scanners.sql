-- scanners and scanner_organisations, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor('jp', 'JP'), fixture.sensor('tw', 'TW');
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 1, 1);
insert into hirundo.network select s.set_id, '198.18.0.0', '198.18.0.9', 64500, 'US' from hirundo.prefix_set s where s.source = 'test';
insert into hirundo.as_name values (64500, 'EXAMPLE');
insert into hirundo.scanner_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 1, 1);
insert into hirundo.scanner_range select s.set_id, '198.18.0.2', '198.18.0.3', 'research' from hirundo.scanner_set s where s.source = 'test';
insert into hirundo.organisation (name) values ('watched');
insert into hirundo.organisation_prefix select o.organisation_id, '198.18.0.3/32' from hirundo.organisation o where o.name = 'watched';

-- ports of a source on 8 February; GRE and ICMP are one each
select fixture.flow(case g % 2 when 0 then 'jp' else 'tw' end, '2023-02-08T01:00Z', '198.18.0.1', port => g, packets => 2) from generate_series(1, 11) g;
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.2', port => g) from generate_series(1, 10) g; -- ten: not more than ten
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.3', port => g) from generate_series(1, 9) g;
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.3', proto => 47, port => null);
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.3', proto => 1, port => g * 256 + 0) from unnest(array[8, 13]) g;
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.4', port => g, flags => 18) from generate_series(1, 20) g; -- a victim's answers
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.0.5', port => g, marks => 16) from generate_series(1, 20) g; -- local
select fixture.flow('jp', '2023-02-08T14:00Z', '198.18.0.6', port => g) from generate_series(1, 6) g; -- six before midnight, six after
select fixture.flow('jp', '2023-02-08T16:00Z', '198.18.0.6', port => g) from generate_series(7, 12) g;
select fixture.flow('jp', '2023-02-08T01:00Z', '100.64.0.1', port => g) from generate_series(1, 11) g; -- nobody's
select fixture.observe('jp', '2023-02-07T15:00Z', '2023-02-08T15:00Z'), fixture.observe('tw', '2023-02-07T15:00Z', '2023-02-08T03:00Z'), fixture.observe('jp', '2023-02-09T15:00Z', '2023-02-10T15:00Z');

prepare listed as select day, src, ports, sensors, packets, asn, as_name, country, organisation, scanner, missing from hirundo.scanners(hirundo.period('2023-02-08..2023-02-11'), 10);
prepare list as values
  ('2023-02-08'::date, '100.64.0.1'::inet, 11::bigint, 1::bigint, 11::bigint, null::bigint, null::text, null::text, null::text, null::text, null::text),
  ('2023-02-08', '198.18.0.1', 11, 2, 22, 64500, 'EXAMPLE', 'US', null, null, null), ('2023-02-08', '198.18.0.3', 11, 1, 12, 64500, 'EXAMPLE', 'US', 'watched', 'research', null);
select results_eq('listed', 'list', 'strictly more than ten, within a day, over all sensors; ICMP is one port, GRE another');
prepare counted as select day, organisation, kind, hosts, ports, packets, sensor_days from hirundo.scanner_organisations(hirundo.period('2023-02-08..2023-02-11'), 9);
prepare count as values
  ('2023-02-08'::date, 'AS64500 EXAMPLE', 'as', 1::bigint, 11::bigint, 22::bigint, 1.5), ('2023-02-08', 'research', 'research', 1, 10, 10, 1.5), ('2023-02-08', 'unknown', 'unknown', 1, 11, 11, 1.5),
  ('2023-02-08', 'watched', 'watched', 1, 11, 12, 1.5), ('2023-02-08', 'total', 'total', 4, 11, 55, 1.5), ('2023-02-09', 'total', 'total', null, null, null, 0), ('2023-02-10', 'total', 'total', 0, 0, 0, 1);
select results_eq('counted', 'count', 'by organisation; nobody observed is null, observed and none is 0');
set local timezone = 'America/St_Johns';
select results_eq('listed', 'list', 'in any session time zone');
select results_eq('counted', 'count', 'in any session time zone, by organisation');
reset timezone;
select results_eq($$select src, ports from hirundo.scanners(hirundo.day('2023-02-08'), 5)  where src = '198.18.0.6'$$, $$values ('198.18.0.6'::inet, 6::bigint)$$, 'a day ends at its midnight');
select is((select count(*) from hirundo.scanners(hirundo.day('2023-02-08'), 0)), 5::bigint, 'more than none: every source');
select is((select count(*) from hirundo.scanners(hirundo.day('2023-02-08'), null)), 3::bigint, 'NULL: ten');
select is((select count(*) from hirundo.scanners(null, 10)), 3::bigint, 'all time, day by day');
select is_empty($$select * from hirundo.scanners('empty', 10)$$, 'empty period');
select results_eq($$select src, ports, packets from hirundo.scanners(hirundo.day('2023-02-08'), 10, true) where src = '198.18.0.4'$$, $$values ('198.18.0.4'::inet, 20::bigint, 20::bigint)$$, 'a victim''s answers, if asked for');
select is((select hosts from hirundo.scanner_organisations(hirundo.day('2023-02-08'), 10, true) where kind = 'total'), 4::bigint, '... by organisation');
create temp table answers as select * from hirundo.scanners(hirundo.day('2023-02-08'), 10, true);
create temp table few as select * from hirundo.scanners(hirundo.day('2023-02-08'), 2);
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select results_eq('listed', 'list', 'from rollups');
select results_eq('counted', 'count', 'from rollups, by organisation');
select set_eq($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 2)$$, 'select * from few', 'few ports, from another rollup');
select set_eq($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 10, true)$$, 'select * from answers', 'with backscatter');
select ok(fixture.reads($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 10)$$) @> '{scanner_day}' and not fixture.reads($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 10)$$) && '{flow,flood,source_port_day}',
  'reads scanner_day, not flow');
select ok(fixture.reads($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 3)$$) @> '{source_port_day}' and not fixture.reads($$select * from hirundo.scanners(hirundo.day('2023-02-08'), 3)$$) && '{flow,flood}', 'or source_port_day');

update hirundo.observation set lost = 5, frames = 5 where slot = '2023-02-08T01:00Z' and sensor_id = fixture.id('jp');
select results_eq($$select distinct day, missing from hirundo.scanner_organisations(hirundo.period('2023-02-08..2023-02-11'), 9) order by 1$$,
  $$values ('2023-02-08'::date, '5 frames lost'), ('2023-02-09', null), ('2023-02-10', null)$$, 'what is missing stands in the row');
select * from finish();
rollback;
