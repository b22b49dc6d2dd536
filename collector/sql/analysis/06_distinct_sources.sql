-- How many different sources, over any period? Counts of days do not add up to it, so it is counted anew from the source
-- rollups: whole months, whole days, and flow for the rest.
--
-- Where sensors matter, a source's are bits (source_day.sensors): those of several days and months are or-ed, and sources with
-- the same sensors are counted together before anything is compared with a region's.
create or replace function hirundo.source_sensors(first timestamptz, past timestamptz, bits integer)
returns table (sensors bit varying, sources bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
declare
  v_first timestamptz := first;
  v_past timestamptz := past;
  v_months date[];
  v_days date[];
  v_rest tstzmultirange;
begin
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(v_first, v_past, 'source_day', null, 'source_month') c;
  -- a statement made here, since the number of bits is part of a type
  return query execute format($q$
    select e.sensors, count(*)
    from (
      select u.src, bit_or(u.sensors::bit(%1$s))::bit varying as sensors
      from (
        select m.src, m.sensors from hirundo.source_month m where m.month = any ($1)
        union all
        select d.src, d.sensors from hirundo.source_day d where d.day = any ($2)
        union all
        select f.src, set_bit(repeat('0', %1$s)::bit varying, f.sensor_id - 1, 1)
        from unnest($3) r
        cross join lateral (
          select f.src, f.sensor_id from hirundo.flow f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower($3) and f.ts < upper($3)
          group by 1, 2) f) u
      group by u.src) e
    group by e.sensors$q$, bits)
  using v_months, v_days, v_rest;
end
$$;
----
comment on function hirundo.source_sensors(timestamptz, timestamptz, integer) is
  'Distinct sources of [first, past), counted by the set of sensors that received any of their packets: bit s from the left stands for sensor_id s, bits is at least the largest sensor_id. Example: select * from hirundo.source_sensors(''2023-02-08'', ''2023-02-09'', 8).';
----
create or replace function hirundo.sources_by_region(first timestamptz, past timestamptz)
returns table (region text, sources bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_bits int := (select (coalesce(max(s.sensor_id), 1) + 7) / 8 * 8 from hirundo.sensor s);
  v_none bit varying := repeat('0', v_bits)::bit varying;
begin
  return query
    with seen as materialized (
      select e.sensors, e.sources from hirundo.source_sensors(first, past, v_bits) e
    ), region as (
      select s.country::text as country, bit_or(set_bit(v_none, s.sensor_id - 1, 1)) as sensors from hirundo.sensor s group by 1
    )
    select r.country, (sum(e.sources) filter (where e.sensors & r.sensors <> v_none))::bigint
    from region r cross join seen e
    group by r.country
    union all
    select null, coalesce(sum(e.sources), 0)::bigint from seen e;
end
$$;
----
comment on function hirundo.sources_by_region(timestamptz, timestamptz) is
  'Distinct sources of [first, past) seen by the sensors of each region, exact, any class; the row without a region counts all. Example: select * from hirundo.sources_by_region(''2023-02-08'', ''2023-02-09'').';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.distinct_sources(tstzrange, text);
----
create function hirundo.distinct_sources(period tstzrange, by text default 'all')
returns table (item text, sources bigint, missing text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
#variable_conflict use_column
declare
  v_by text := lower(btrim(coalesce(by, 'all')) collate "C");
  v_first timestamptz;
  v_past timestamptz;
  v_months date[];
  v_days date[];
  v_rest tstzmultirange;
  v_bits int := (select (coalesce(max(s.sensor_id), 1) + 7) / 8 * 8 from hirundo.sensor s);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(v_first, v_past, 'source_day', null, 'source_month') c;
  if v_by = 'region' then
    return query select r.region, r.sources, l.missing
                 from hirundo.sources_by_region(v_first, v_past) r
                 join hirundo.lacking(v_first, v_past, v_rest, v_by) l on l.item = r.region
                 where r.sources > 0 order by r.region collate "C";
  elsif v_by = 'sensor' then
    return query
      select s.name, n.n, l.missing
      from hirundo.sensor s
      join hirundo.lacking(v_first, v_past, v_rest, v_by) l on l.item = s.name
      join (select g as sensor_id, sum(e.sources)::bigint as n
            from hirundo.source_sensors(v_first, v_past, v_bits) e
            cross join lateral generate_series(1, v_bits) g
            where get_bit(e.sensors, g - 1) = 1
            group by g) n on n.sensor_id = s.sensor_id
      order by s.name collate "C";
  elsif v_by in ('all', 'received', 'class') then
    return query
      select u.item, count(*), (select l.missing from hirundo.lacking(v_first, v_past, v_rest) l)
      from (
        select case v_by when 'class' then m.class else v_by end as item, m.src from hirundo.source_month m
        where m.month = any (v_months) and (v_by <> 'received' or m.class <> 'local')
        union
        select case v_by when 'class' then d.class else v_by end, d.src from hirundo.source_day d
        where d.day = any (v_days) and (v_by <> 'received' or d.class <> 'local')
        union
        select case v_by when 'class' then f.class else v_by end, f.src
        from unnest(v_rest) r
        cross join lateral (
          select f.class, f.src from hirundo.flow_classed f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
            and (v_by <> 'received' or f.class <> 'local')) f) u
      group by u.item
      order by u.item collate "C";
  else
    raise exception '% is nothing to count sources by', quote_literal(by)
      using errcode = 'invalid_parameter_value', hint = 'Take all, received, class, region or sensor.';
  end if;
end
$$;
----
comment on function hirundo.distinct_sources(tstzrange, text) is
  'How many different sources sent anything in a period, exact, of any class: by all (one row), received (one row; all but class local, what totals of packets count), class, region (of the sensors) or sensor. Without flood rows, which have no source; nothing has no row. missing: what the count lacks (of the region or sensor; hirundo.lacking; null: nothing). Example: select * from hirundo.distinct_sources(hirundo.quarter(''2023Q1''), ''region'').';
