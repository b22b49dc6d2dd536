-- From an address to what is known about it, as of a day: network and country, organisation under watch, research scanner.
--
-- Ranges are disjoint and have a btree on their low end: the last one that begins at or before the address holds it, or none.
create or replace function hirundo.scanner_set_for(day date)
returns integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce(
    (select s.set_id from hirundo.scanner_set s where s.as_of <= day order by s.as_of desc, s.set_id desc limit 1),
    (select s.set_id from hirundo.scanner_set s order by s.as_of, s.set_id desc limit 1));
end
$$;
----
comment on function hirundo.scanner_set_for(date) is
  'The scanner set that counts for a day: the newest not after it, else the oldest; NULL where none is loaded. Example: select * from hirundo.scanner_range where set_id = hirundo.scanner_set_for(''2023-02-08'') limit 10.';
----
create or replace function hirundo.rollup_restamp(first date, past date)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_days int;
begin
  -- a running step deletes the marks of its day at its end: not those of this
  perform pg_advisory_xact_lock(5207662349051);
  with marked as (
    insert into hirundo.dirty_day as d (sensor_id, day)
    select distinct p.sensor_id, p.day
    from hirundo.port_day p join hirundo.rollup_day r on r.day = p.day
    where p.day >= rollup_restamp.first and p.day < rollup_restamp.past and not hirundo.flow_is_gone(r.first, r.past)
    on conflict do nothing
    returning d.day)
  select count(distinct m.day) into v_days from marked m;
  return v_days;
end
$$;
----
comment on function hirundo.rollup_restamp(date, date) is
  'Marks the days of [first, past) that were rolled up already and whose flow is still there, so that AS, country and scanner of their sources are looked up again; says how many. The import commands call it for the days that a new data set counts for. Example: see hirundo.rollup_step.';
----
-- Organisations have no date: rows of all days get theirs in place, those too whose flow is gone.
create or replace function hirundo.organisation_restamp(prefixes cidr[])
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(coalesce(prefixes, '{0.0.0.0/0,::/0}'));
  v_last inet[] := '{255.255.255.255,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff}';
  v_lo inet[];
  v_hi inet[];
  v_owner int[];
  v_day date;
  v_rows bigint;
  v_days int := 0;
begin
  -- a running step may have read the organisations of before
  perform pg_advisory_xact_lock(5207662349051);
  -- whose is what, between all ends of prefixes: the smallest prefix counts, as in rollup_build_day
  with watched as materialized (
    select p.organisation_id, host(network(p.prefix))::inet as lo, host(broadcast(p.prefix))::inet as hi, masklen(p.prefix) as bits
    from hirundo.organisation_prefix p
  ), ends as (
    select w.lo, w.hi from watched w
    union all
    select lower(r), upper(r) from unnest(v_ranges) r
  ), point as (
    select e.lo as at from ends e
    union
    select e.hi + 1 from ends e where e.hi <> all (v_last)
  ), segment as (
    select p.at as lo, coalesce(lead(p.at) over (partition by family(p.at) order by p.at) - 1, v_last[case family(p.at) when 4 then 1 else 2 end]) as hi
    from point p
  )
  select array_agg(s.lo), array_agg(s.hi), array_agg(o.organisation_id) into v_lo, v_hi, v_owner
  from segment s
  left join lateral (
    select w.organisation_id from watched w where s.lo >= w.lo and s.lo <= w.hi
    order by w.bits desc, w.organisation_id limit 1) o on true
  where s.lo <@ v_ranges;

  for v_day in select r.day from hirundo.rollup_day r order by r.day loop
    -- each range by a descent of the index (day, src); who writes this table holds the lock
    update hirundo.source_day d set organisation_id = s.owner
    from unnest(v_lo, v_hi, v_owner) s(lo, hi, owner)
    cross join lateral (
      select x.ctid as place from hirundo.source_day x
      where x.day = v_day and x.src >= s.lo and x.src <= s.hi and x.organisation_id is distinct from s.owner offset 0) e
    where d.ctid = e.place;
    get diagnostics v_rows = row_count;
    v_days := v_days + (v_rows > 0)::int;
  end loop;
  -- rows that differed by this alone become one
  for v_day in select r.month from hirundo.rollup_month r order by r.month loop
    with changed as materialized (
      select distinct d.src, s.owner
      from unnest(v_lo, v_hi, v_owner) s(lo, hi, owner)
      cross join lateral (
        select x.src from hirundo.source_month x
        where x.month = v_day and x.src >= s.lo and x.src <= s.hi and x.organisation_id is distinct from s.owner offset 0) d
    ), gone as (
      delete from hirundo.source_month d using changed c where d.month = v_day and d.src = c.src
      returning d.src, d.class, d.packets, d.bytes, d.days, d.sensors, d.asn, d.country, d.known_scanner, c.owner
    )
    insert into hirundo.source_month (month, src, class, packets, bytes, days, sensors, asn, country, organisation_id, known_scanner)
    select v_day, g.src, g.class, sum(g.packets), sum(g.bytes), sum(g.days), bit_or(g.sensors), g.asn, g.country, g.owner, g.known_scanner
    from gone g group by g.src, g.class, g.asn, g.country, g.owner, g.known_scanner order by g.src;
  end loop;
  return v_days;
end
$$;
----
comment on function hirundo.organisation_restamp(cidr[]) is
  'Writes the organisation as imported now into source_day and source_month, for the sources in these prefixes (NULL: all) and all days, and says in how many days something changed. import organisations calls it for the prefixes that changed; call it after organisations were changed by hand. Example: select hirundo.organisation_restamp(null).';
----
create or replace function hirundo.data_sets_expire()
returns table (what text, as_of date)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_keep text := hirundo.setting('keep_data_sets');
  v_loaded timestamptz;
  v_oldest date;
  v_prefixes date;
  v_scanners date;
begin
  if lower(v_keep collate "C") = 'off' then
    return;
  end if;
  v_loaded := now() - v_keep::interval;
  -- a day of flow may be older: replayed captures
  v_oldest := least((v_loaded at time zone hirundo.time_zone())::date, (select min(p.day) - 1 from hirundo.partition_days() p));
  select max(x.as_of) into v_prefixes from hirundo.prefix_set x where x.as_of <= v_oldest;
  select max(x.as_of) into v_scanners from hirundo.scanner_set x where x.as_of <= v_oldest;
  delete from hirundo.network n using hirundo.prefix_set s
  where n.set_id = s.set_id and s.as_of < v_prefixes and s.loaded_at < v_loaded;
  delete from hirundo.scanner_range n using hirundo.scanner_set s
  where n.set_id = s.set_id and s.as_of < v_scanners and s.loaded_at < v_loaded;
  return query
    delete from hirundo.prefix_set s where s.as_of < v_prefixes and s.loaded_at < v_loaded returning 'prefixes', s.as_of;
  return query
    delete from hirundo.scanner_set s where s.as_of < v_scanners and s.loaded_at < v_loaded returning 'scanners', s.as_of;
end
$$;
----
comment on function hirundo.data_sets_expire() is
  'Deletes the sets of prefixes and scanners that were loaded longer ago than setting keep_data_sets and that no younger day needs, nor any day of flow; says which. The import commands call it. Example: see hirundo.prefix_set_for.';
----
-- Many addresses at once: addresses and ranges in one order, in which the last range before an address is the number of ranges
-- before it. One sort instead of a descent of each index for each address.
create or replace function hirundo.lookup_many(addresses inet[], networks integer, scanners integer)
returns table (address inet, asn bigint, country text, scanner text)
language plpgsql stable rows 1000000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_nestloop = off
as $$
#variable_conflict use_column
begin
  return query
    with network as materialized (
      select row_number() over (order by w.lo) as i, w.hi, w.asn, w.country from hirundo.network w where w.set_id = networks
    ), scanner as materialized (
      select row_number() over (order by w.lo) as i, w.hi, w.name from hirundo.scanner_range w where w.set_id = scanners
    ), placed as (
      select u.address, u.kind, count(*) filter (where u.kind = 0) over o as network, count(*) filter (where u.kind = 1) over o as scanner
      from (select w.lo as address, 0 as kind from hirundo.network w where w.set_id = networks
            union all
            select w.lo, 1 from hirundo.scanner_range w where w.set_id = scanners
            union all
            select a, 2 from unnest(addresses) a) u
      window o as (order by u.address, u.kind rows unbounded preceding)
    )
    select p.address, n.asn, n.country::text, c.name
    from placed p
    left join network n on n.i = p.network and n.hi >= p.address
    left join scanner c on c.i = p.scanner and c.hi >= p.address
    where p.kind = 2;
end
$$;
----
comment on function hirundo.lookup_many(inet[], integer, integer) is
  'Part of hirundo.lookup: network and scanner of each of many addresses, in sets of prefixes and scanners; reads all of both. Example: select * from hirundo.lookup_many(''{198.18.0.7}'', hirundo.prefix_set_for(''2023-02-08''), hirundo.scanner_set_for(''2023-02-08'')).';
----
-- Few addresses: each descends the index.
create or replace function hirundo.lookup_few(addresses inet[], networks integer, scanners integer)
returns table (address inet, asn bigint, country text, scanner text)
language plpgsql stable rows 1000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    select a.address, n.asn, n.country::text, c.name
    from unnest(addresses) a(address)
    left join lateral (
      select w.hi, w.asn, w.country from hirundo.network w
      where w.set_id = networks and w.lo <= a.address order by w.lo desc limit 1) n on n.hi >= a.address
    left join lateral (
      select w.hi, w.name from hirundo.scanner_range w
      where w.set_id = scanners and w.lo <= a.address order by w.lo desc limit 1) c on c.hi >= a.address;
end
$$;
----
comment on function hirundo.lookup_few(inet[], integer, integer) is
  'Part of hirundo.lookup: what hirundo.lookup_many gives, by a descent of each index for each address. Example: select * from hirundo.lookup_few(''{198.18.0.7}'', hirundo.prefix_set_for(''2023-02-08''), hirundo.scanner_set_for(''2023-02-08'')).';
----
-- A view needs no array; this is for addresses from elsewhere: a log, another table (array_agg).
create or replace function hirundo.lookup(addresses inet[], day date default null)
returns table (address inet, asn bigint, as_name text, country text, organisation text, scanner text)
language plpgsql stable rows 1000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_day date := coalesce(day, (now() at time zone hirundo.time_zone())::date);
  v_networks int := hirundo.prefix_set_for(v_day);
  v_scanners int := hirundo.scanner_set_for(v_day);
  v_watched hirundo.inetmultirange := (select hirundo.address_ranges(array_agg(p.prefix)) from hirundo.organisation_prefix p);
  -- in order: neighbours share pages of the index
  v_asked inet[] := array(select distinct set_masklen(a, case family(a) when 4 then 32 else 128 end)
                          from unnest(addresses) a where a is not null order by 1);
  -- a descent costs as much as passing over some ten ranges
  v_many boolean := cardinality(v_asked) * 10 > (select s.ranges from hirundo.prefix_set s where s.set_id = v_networks);
begin
  return query
    with found as (
      select f.* from hirundo.lookup_many(v_asked, v_networks, v_scanners) f where v_many
      union all
      select f.* from hirundo.lookup_few(v_asked, v_networks, v_scanners) f where v_many is not true
    ), watched as materialized (
      select o.name, o.organisation_id as id, host(network(p.prefix))::inet as lo, host(broadcast(p.prefix))::inet as hi, masklen(p.prefix) as bits
      from hirundo.organisation_prefix p join hirundo.organisation o on o.organisation_id = p.organisation_id
    )
    select f.address, f.asn, s.name, f.country,
      case when f.address <@ v_watched
        then (select w.name from watched w where f.address >= w.lo and f.address <= w.hi order by w.bits desc, w.id limit 1) end,
      f.scanner
    from found f
    left join hirundo.as_name s on s.asn = f.asn;
end
$$;
----
comment on function hirundo.lookup(inet[], date) is
  'What is known about addresses as of a day (NULL: today): AS and its name, country of registration, organisation under watch, known research scanner; one row per distinct address, nulls where nothing is known. Example: select * from hirundo.lookup(''{198.18.0.7,2001:db8::1}'', ''2023-02-08'').';
----
create or replace function hirundo.as_label(asn bigint)
returns text
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return 'AS' || asn || coalesce(' ' || (select a.name from hirundo.as_name a where a.asn = as_label.asn), '');
end
$$;
----
comment on function hirundo.as_label(bigint) is
  'An AS as people write it, with its name where one is known. Example: select hirundo.as_label(13335).';
