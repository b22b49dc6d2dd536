-- The report counts the same classes in figures that stand side by side.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP'), fixture.sensor('jp', 'JP');
select fixture.observe('jp', '2023-01-31T15:00Z', '2023-02-28T15:00Z');
insert into hirundo.organisation (name) values ('victim'), ('scanner');
insert into hirundo.organisation_prefix select organisation_id, case name when 'victim' then '198.18.1.0/24' else '198.18.2.0/24' end::cidr from hirundo.organisation;
-- two sources from outside, one on the sensor's own link
select fixture.flow('jp', '2023-02-08T01:00Z', '198.18.1.1', flags => 18, packets => 100), fixture.flow('jp', '2023-02-08T01:00Z', '198.18.2.1', packets => 10),
  fixture.flow('jp', '2023-02-08T01:00Z', '198.18.3.1', marks => 16, packets => 1000);
create function pg_temp.head() returns text language sql as
$$ select (h ->> 'packets') || ' packets of ' || (h ->> 'sources') || ' sources' from hirundo.report_head(hirundo.month('2023-02'), 'internal') h $$;
select is(pg_temp.head(), '110 packets of 2 sources', 'the head: neither has local traffic');
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$;
select is(pg_temp.head(), '110 packets of 2 sources', '... from rollups too');
select is((select e.about -> 'subject' ->> 'en' from hirundo.report_organisations(hirundo.month('2023-02'), 'internal') e where e.id = 'hosts-1'), 'scanner',
  'organisations by what their figures show, not by a victim''s answers');
select * from finish();
rollback;
