-- How many different sources, over any period? Counts of days do not add up to it, so it is counted anew from the source
-- rollups: whole months, whole days, and flow for the rest.
--
-- Where sensors matter, a source's are bits (source_day.sensors): those of several days and months are or-ed, and compared with
-- each region's. Bits are taken as numbers of 64 of them, which is much faster than bit strings. Months and days are read in
-- the order of their sources and merged, so that millions are grouped one by one: a hash table of them would not fit.
create or replace function hirundo.sources_by_sql(of_bits text[], of_sensors text[], by_sensor boolean)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_bits text;   -- w0, w1, ...: of a bit string
  v_sensor text; -- of a sensor_id
  v_or text;
  v_rows text;
  v_items text[];
  v_counts text;
begin
  select string_agg(format('substring(x.sensors from %s for 64)::bit(64)::bigint as w%s', 64 * k + 1, k), ', '),
    string_agg(format('case when (x.sensor_id - 1) / 64 = %s then 1::bigint << (63 - (x.sensor_id - 1) %% 64) else 0 end as w%s', k, k), ', '),
    string_agg(format('bit_or(u.w%s) as w%s', k, k), ', ')
  into v_bits, v_sensor, v_or
  from generate_series(0, (select (coalesce(max(s.sensor_id), 1) - 1) / 64 from hirundo.sensor s)) k;
  select string_agg(t.part, ' union all ') into v_rows
  from (select format('(select x.src, %s from %s order by x.src)', v_bits, b) as part from unnest(of_bits) b
        union all
        select format('(select x.src, %s from %s)', v_sensor, s) from unnest(of_sensors) s) t;
  select array_agg(i.item order by i.item), string_agg(format(', count(*) filter (where %s <> 0)', i.common), '' order by i.item)
  into v_items, v_counts
  from (select w.item, string_agg(format('(e.w%s & %L::bigint)', w.k, w.bits), ' | ') as common
        from (select case when by_sensor then s.name else s.country::text end as item, (s.sensor_id - 1) / 64 as k,
                bit_or(1::bigint << (63 - (s.sensor_id - 1) % 64)) as bits
              from hirundo.sensor s group by 1, 2) w
        group by w.item) i;
  return format($q$
    select t.item, t.sources
    from (select %L::text[] as items, array[count(*)%s] as counts from (select %s from (%s) u group by u.src) e) c
    cross join lateral unnest(c.items, c.counts) t(item, sources)$q$,
    array[null] || coalesce(v_items, '{}'), v_counts, v_or, v_rows);
end
$$;
----
comment on function hirundo.sources_by_sql(text[], text[], boolean) is
  'Internal to sources_by_group and ttl_spread: the statement that counts sources by sensor (its name) or region; the row without an item counts all. Its arguments follow FROM and call what they name x: what has src and sensors (bits), and what has src and sensor_id. Example: select hirundo.sources_by_sql(array[''hirundo.source_day x where x.day = ''''2023-02-08''''''], ''{}'', false).';
----
create or replace function hirundo.sources_by_group(first timestamptz, past timestamptz, by_sensor boolean)
returns table (item text, sources bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
set work_mem = '128MB'
set enable_hashagg = off
as $$
declare
  v_months date[];
  v_days date[];
  v_rest tstzmultirange;
begin
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(first, past, 'source_day', null, 'source_month') c;
  return query execute hirundo.sources_by_sql(
    array(select format('hirundo.source_month x where x.month = %L', m) from unnest(v_months) m) || text 'hirundo.source_day x where x.day = any ($1)',
    array['unnest($2) r cross join lateral (select f.src, f.sensor_id from hirundo.flow f '
          'where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower($2) and f.ts < upper($2) group by 1, 2) x'],
    by_sensor)
  using v_days, v_rest;
end
$$;
----
comment on function hirundo.sources_by_group(timestamptz, timestamptz, boolean) is
  'Distinct sources of [first, past) seen by each sensor (its name) or by the sensors of each region, exact, any class; the row without an item counts all. Example: select * from hirundo.sources_by_group(''2023-02-08'', ''2023-02-09'', true).';
----
create or replace function hirundo.sources_by_region(first timestamptz, past timestamptz)
returns table (region text, sources bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return query select g.item, g.sources from hirundo.sources_by_group(first, past, false) g;
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
returns table (item text, sources bigint, missing text, flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint, sensor_days numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
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
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(v_first, v_past, 'source_day', null, 'source_month') c;
  if v_by = 'region' then
    return query select r.region, r.sources, l.missing, coalesce(f.n, 0), f.low, f.high, o.days
                 from hirundo.sources_by_region(v_first, v_past) r
                 join hirundo.lacking(v_first, v_past, v_rest, v_by) l on l.item = r.region
                 join hirundo.kept_days(v_first, v_past, v_rest, v_by) o on o.item = r.region
                 left join (select s.country::text as item, sum(x.packets)::bigint as n, max(x.sources_min) as low, sum(x.sources_max)::bigint as high
                            from hirundo.floods(v_first, v_past, null, true) x join hirundo.sensor s on s.sensor_id = x.sensor_id group by 1) f on f.item = r.region
                 where r.sources > 0 order by r.region collate "C";
  elsif v_by = 'sensor' then
    return query select g.item, g.sources, l.missing, coalesce(f.n, 0), f.low, f.high, o.days
                 from hirundo.sources_by_group(v_first, v_past, true) g
                 join hirundo.lacking(v_first, v_past, v_rest, v_by) l on l.item = g.item
                 join hirundo.kept_days(v_first, v_past, v_rest, v_by) o on o.item = g.item
                 left join (select s.name as item, sum(x.packets)::bigint as n, max(x.sources_min) as low, sum(x.sources_max)::bigint as high
                            from hirundo.floods(v_first, v_past, null, true) x join hirundo.sensor s on s.sensor_id = x.sensor_id group by 1) f on f.item = g.item
                 where g.sources > 0 order by g.item collate "C";
  elsif v_by in ('all', 'received', 'class') then
    return query
      select c.item, c.n, (select l.missing from hirundo.lacking(v_first, v_past, v_rest) l), coalesce(f.n, 0), f.low, f.high,
        (select o.days from hirundo.kept_days(v_first, v_past, v_rest) o)
      from (
        select u.item, count(*) as n
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
        group by u.item) c
      left join (select case v_by when 'class' then x.class else v_by end as item, sum(x.packets)::bigint as n, max(x.sources_min) as low, sum(x.sources_max)::bigint as high
                 from hirundo.floods(v_first, v_past) x group by 1) f on f.item = c.item
      order by c.item collate "C";
  else
    raise exception '% is nothing to count sources by', quote_literal(by)
      using errcode = 'invalid_parameter_value', hint = 'Take all, received, class, region or sensor.';
  end if;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, 'no packet with a source came' || hirundo.flood_aside(v_first, v_past));
  end if;
end
$$;
----
comment on function hirundo.distinct_sources(tstzrange, text) is
  'How many different sources sent anything in a period, exact, of any class: by all (one row), received (one row; all but class local, what totals of packets count), class, region (of the sensors) or sensor. Without flood rows, which have no source; nothing has no row, and a NOTICE says why (hirundo.why_no_rows). missing: what the count lacks (of the region or sensor; hirundo.lacking; null: nothing). flood_packets: what came as flood rows beside (of the class, region or sensor); flood_sources_min and flood_sources_max: of how many sources (the largest estimate and the sum of them; null: none); sensor_days: observed (by the region''s sensors, or the sensor; else by all) and of which data are kept. Example: select * from hirundo.distinct_sources(hirundo.quarter(''2023Q1''), ''region'').';
