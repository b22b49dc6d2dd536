-- From an address to network, country, organisation and scanner as of a day; old data sets.
begin;
select no_plan();
\ir include/fixture.psql

select is(hirundo.prefix_set_for('2023-02-08'), null, 'no prefix set: null');
select is(hirundo.scanner_set_for('2023-02-08'), null, 'no scanner set: null');
select results_eq($$select host(address), asn, as_name, country, organisation, scanner from hirundo.lookup('{198.18.0.7,NULL}', '2023-02-08')$$,
  $$values ('198.18.0.7', null::bigint, null, null, null, null)$$, 'nothing is loaded: a row of nulls; a null address has none');

create function fixture.prefixes(day date) returns int language sql as
$$ insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values (day, 'test', 1, 1) returning set_id $$;
create function fixture.scanners(day date) returns int language sql as
$$ insert into hirundo.scanner_set (as_of, source, prefixes, ranges) values (day, 'test', 1, 1) returning set_id $$;
create temp table made as select fixture.prefixes('2023-01-01') as old, fixture.prefixes('2023-03-01') as new,
  fixture.scanners('2023-01-01') as old_scanners, fixture.scanners('2023-03-01') as new_scanners;
insert into hirundo.network (set_id, lo, hi, asn, country)
select m.old, v.lo::inet, v.hi::inet, v.asn, v.country from made m, (values
  ('198.18.0.0', '198.18.3.255', 64496, 'JP'), ('198.18.4.0', '198.18.4.255', null, 'TW'), ('198.18.6.0', '198.18.6.0', 1, null),
  ('255.255.255.255', '255.255.255.255', 2, 'ZZ'), ('2001:db8::', '2001:db8:0:ffff:ffff:ffff:ffff:ffff', 64496, 'US')) v(lo, hi, asn, country);
insert into hirundo.network (set_id, lo, hi, asn, country) select m.new, '198.18.0.0', '198.18.0.255', 64497, 'KR' from made m;
insert into hirundo.scanner_range (set_id, lo, hi, name) select m.old_scanners, '198.18.1.0', '198.18.1.127', 'census' from made m;
insert into hirundo.scanner_range (set_id, lo, hi, name) select m.new_scanners, '198.18.1.128', '198.18.1.255', 'survey' from made m;
insert into hirundo.as_name (asn, name) values (64496, 'Example'), (64497, 'Other');
with o as (insert into hirundo.organisation (name) values ('Large'), ('Small') returning organisation_id, name)
insert into hirundo.organisation_prefix (organisation_id, prefix)
select organisation_id, case name when 'Large' then cidr '198.18.0.0/16' else cidr '198.18.1.0/24' end from o;

create function fixture.looked_up(a inet[], day date) returns setof text language sql as
$$
  select concat_ws(' ', host(l.address), coalesce('AS' || l.asn, '-'), coalesce(l.as_name, '-'), coalesce(l.country, '-'),
    coalesce(l.organisation, '-'), coalesce(l.scanner, '-'))
  from hirundo.lookup(a, day) l order by l.address
$$;
select results_eq($$select * from fixture.looked_up('{198.17.255.255,198.18.0.0,198.18.3.255,198.18.4.0,198.18.5.0,198.18.6.0,198.18.6.1,255.255.255.255,2001:db8::1,::1}', '2023-02-08')$$,
  $$values ('198.17.255.255 - - - - -'), ('198.18.0.0 AS64496 Example JP Large -'), ('198.18.3.255 AS64496 Example JP Large -'),
    ('198.18.4.0 - - TW Large -'), ('198.18.5.0 - - - Large -'), ('198.18.6.0 AS1 - - Large -'), ('198.18.6.1 - - - Large -'),
    ('255.255.255.255 AS2 - ZZ - -'), ('::1 - - - - -'), ('2001:db8::1 AS64496 Example US - -')$$,
  'ends of ranges, gaps, both versions');
select results_eq($$select * from fixture.looked_up('{198.18.1.127,198.18.1.128,198.18.1.1,198.18.1.1,198.18.1.1/24}', '2023-02-08')$$,
  $$values ('198.18.1.1 AS64496 Example JP Small census'), ('198.18.1.127 AS64496 Example JP Small census'), ('198.18.1.128 AS64496 Example JP Small -')$$,
  'the most specific organisation; scanners; an address given twice is one row, its length does not matter');
insert into hirundo.organisation (name) values ('A later one');
insert into hirundo.organisation_prefix (organisation_id, prefix) select o.organisation_id, '198.18.1.0/24' from hirundo.organisation o where o.name = 'A later one';
select is((select l.organisation from hirundo.lookup('{198.18.1.1}', '2023-02-08') l), 'Small', 'of two with the same prefix the first, whatever its name, as in the rollups');
delete from hirundo.organisation_prefix p using hirundo.organisation o where o.organisation_id = p.organisation_id and o.name = 'A later one';
-- few and many addresses take different ways: every edge of every range, and beside it
create function fixture.edges(kind text, day date) returns setof text language plpgsql as
$$
declare asked inet[] := array(select distinct x from hirundo.network w, unnest(array[w.lo, w.hi, w.lo + 1, w.hi - 1]) x
                              union select distinct x from hirundo.scanner_range w, unnest(array[w.lo, w.hi, w.lo - 1, w.hi + 1]) x
                              union select unnest('{0.0.0.0,198.17.255.255,::,ffff::}'::inet[]));
begin
  return query execute format('select f::text from hirundo.lookup_%s($1, hirundo.prefix_set_for($2), hirundo.scanner_set_for($2)) f order by f.address', kind) using asked, day;
end
$$;
update hirundo.network set hi = '255.255.255.254', lo = '255.255.255.254' where lo = '255.255.255.255';
select cmp_ok((select count(*) from fixture.edges('few', '2023-02-08')), '>', 15::bigint, 'some addresses');
select results_eq($$select * from fixture.edges('many', '2023-02-08')$$, $$select * from fixture.edges('few', '2023-02-08')$$, 'both ways give the same');
select results_eq($$select * from fixture.edges('many', '2023-03-01')$$, $$select * from fixture.edges('few', '2023-03-01')$$, 'of other sets too');
update hirundo.network set hi = '255.255.255.255', lo = '255.255.255.255' where lo = '255.255.255.254';
update hirundo.prefix_set set ranges = 1000;
select results_eq($$select * from fixture.looked_up('{198.18.1.127,198.18.4.0,198.18.6.1}', '2023-02-08')$$,
  $$values ('198.18.1.127 AS64496 Example JP Small census'), ('198.18.4.0 - - TW Large -'), ('198.18.6.1 - - - Large -')$$, 'of few addresses among many ranges');
select results_eq($$select * from fixture.looked_up('{198.18.0.1,198.18.1.200}', '2023-03-01')$$,
  $$values ('198.18.0.1 AS64497 Other KR Large -'), ('198.18.1.200 - - - Small survey')$$, 'the newest set not after the day');
select results_eq($$select * from fixture.looked_up('{198.18.1.1}', '2022-01-01')$$,
  $$values ('198.18.1.1 AS64496 Example JP Small census')$$, 'before the first set: the oldest');
select results_eq($$select * from fixture.looked_up('{198.18.0.1}', null)$$, $$values ('198.18.0.1 AS64497 Other KR Large -')$$, 'no day: today');
select is_empty($$select * from hirundo.lookup(null, null)$$, 'no addresses: no rows');
select is_empty($$select * from hirundo.lookup('{}', null)$$, 'an empty array: no rows');
select is(hirundo.as_label(64496), 'AS64496 Example');
select is(hirundo.as_label(7), 'AS7', 'a name that is not known is left out');
select is(hirundo.as_label(null), null);

-- a look-up descends the index: the least a plan over many ranges may read
insert into hirundo.network (set_id, lo, hi, asn, country)
select m.new, inet '100.64.0.0' + 256 * i, inet '100.64.0.0' + (256 * i + 255), i, 'JP' from made m, generate_series(0, 9999) i;
analyze hirundo.network;
create function fixture.plan(q text) returns text language plpgsql as
$$
declare line text; out text := '';
begin
  for line in execute 'explain (costs off) ' || q loop out := out || line || E'\n'; end loop;
  return out;
end
$$;
select unalike(fixture.plan($$select n.asn from unnest('{100.64.1.1,100.80.0.1}'::inet[]) a(address) left join lateral (
  select w.hi, w.asn from hirundo.network w where w.set_id = 2 and w.lo <= a.address order by w.lo desc limit 1) n on n.hi >= a.address$$),
  '%Seq Scan on network%', 'a look-up is a descent of the btree');

-- retention of sets
update hirundo.setting set value = '100 days' where name = 'keep_data_sets';
select fixture.prefixes('2010-01-01'), fixture.prefixes('2010-02-01'), fixture.scanners('2010-01-01'), fixture.scanners('2010-02-01');
select is_empty('select * from hirundo.data_sets_expire()', 'what was loaded lately stays, however old it is');
update hirundo.prefix_set set loaded_at = as_of;
update hirundo.scanner_set set loaded_at = as_of;
select hirundo.partition_ensure('2010-01-20');
select is_empty('select * from hirundo.data_sets_expire()', 'what a day of flow needs stays');
update hirundo.setting set value = '1 day' where name = 'retention_flow';
select hirundo.partition_drop('2010-01-20');
select results_eq('select what, as_of from hirundo.data_sets_expire() order by 1, 2',
  $$values ('prefixes', date '2010-01-01'), ('prefixes', date '2010-02-01'), ('prefixes', date '2023-01-01'),
           ('scanners', date '2010-01-01'), ('scanners', date '2010-02-01'), ('scanners', date '2023-01-01')$$,
  'the newest set before the horizon counts for the days after it, older ones go');
select is((select count(*) from hirundo.network), 10001::bigint, 'with their ranges');
select is((select count(*) from hirundo.scanner_range), 1::bigint);
select is_empty('select * from hirundo.data_sets_expire()', 'once');
update hirundo.setting set value = 'off' where name = 'keep_data_sets';
select is_empty('select * from hirundo.data_sets_expire()', 'off: never');
select throws_ok($$update hirundo.setting set value = '1 hour' where name = 'keep_data_sets'$$, '23514');
select throws_ok($$update hirundo.setting set value = 'often' where name = 'keep_data_sets'$$, '22007');

select * from finish();
rollback;
