-- Which TTLs did packets of these sources have at the sensors of each region?
-- Every flow row that matches counts, of any class: this is the evidence as received. Flood rows have no source and one TTL
-- range for many sources, so they cannot.
create or replace function hirundo.ttl_spread_all(first timestamptz, past timestamptz, codes integer[])
returns setof hirundo.ttl_spread_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
set work_mem = '128MB'
as $$
declare
  v_months date[];
  v_days date[];
  v_rest tstzmultirange;
  v_busy int[];
  v_rare int[];
  v_parts text[];
  v_counted text;
begin
  if codes is null then
    select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'ttl_day') c;
    v_parts := array['hirundo.ttl_day x where x.day = any ($3)', 'late x'];
    v_counted := 'select c.region as item, c.sources from hirundo.sources_by_region($1, $2) c';
  else
    select c.months, c.days, c.rest into v_months, v_days, v_rest
    from hirundo.rollup_cover(first, past, 'source_port_day', null, 'source_port_month,network_port_month') c;
    select k.busy, k.rare into v_busy, v_rare from hirundo.busy_codes(v_months, codes) k;
    v_parts := array['hirundo.source_port_month x where x.month = any ($6) and x.port_code = any ($7)',
                     'hirundo.source_port_day x where x.day = any ($8) and x.port_code = any ($9)',
                     'hirundo.source_port_day x where x.day = any ($3) and x.port_code = any ($5)', 'late x'];
    v_counted := hirundo.sources_by_sql('{}', v_parts, false);
  end if;
  -- millions of rows are read twice rather than kept: the two questions are answered where they are read
  return query execute format($q$
    with flood as materialized (
      select s.country, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods($1, $2, $5, true) f join hirundo.sensor s on s.sensor_id = f.sensor_id
      group by 1
    ), late as materialized (
      select %1$s f.sensor_id, f.ttl, sum(f.packets)::bigint as packets
      from unnest($4) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower($4) and f.ts < upper($4) and ($5 is null or f.port_code = any ($5))) f
      group by %1$s f.sensor_id, f.ttl
    ), by_sensor as (
      select u.sensor_id, u.ttl, sum(u.packets)::bigint as n from (%2$s) u group by 1, 2
    ), by_ttl as (
      select s.country, b.ttl, sum(b.n) as n,
        sum(sum(b.n)) over (partition by s.country order by b.ttl) as upto,
        sum(sum(b.n)) over (partition by s.country) as total
      from by_sensor b
      join hirundo.sensor s on s.sensor_id = b.sensor_id
      group by s.country, b.ttl
    ), by_region as (
      select t.country, min(t.ttl) as lo, max(t.ttl) as hi, min(t.ttl) filter (where t.upto * 2 >= t.total) as mid,
        sum(t.n)::bigint as n
      from by_ttl t
      group by t.country
    ), counted(region, sources) as materialized (
      %3$s
    )
    select r.country::text, r.lo::int, r.hi::int, r.mid::int, c.sources, r.n, (select a.sources from counted a where a.region is null), l.missing,
      coalesce(f.n, 0), f.low, f.high, o.days
    from by_region r
    left join flood f on f.country = r.country
    join counted c on c.region = r.country::text
    left join hirundo.lacking($1, $2, $11, 'region') l on l.item = r.country::text
    left join hirundo.kept_days($1, $2, $11, 'region') o on o.item = r.country::text
    order by r.country::text is distinct from $10, r.country::text collate "C"$q$,
    case when codes is not null then 'f.src,' end,
    (select string_agg('select x.sensor_id, x.ttl, x.packets from ' || p, ' union all ' order by n) from unnest(v_parts) with ordinality t(p, n)), v_counted)
  using first, past, v_days, v_rest, codes, v_months, v_busy, hirundo.month_days(v_months), v_rare, hirundo.home_country(),
    (select c.rest from hirundo.rollup_cover(first, past, case when codes is null then 'ttl_day,source_day' else 'source_port_day' end) c);
end
$$;
----
comment on function hirundo.ttl_spread_all(timestamptz, timestamptz, integer[]) is
  'hirundo.ttl_spread of all sources, of these port codes (NULL: all), from smaller rollups. Example: select * from hirundo.ttl_spread_all(''2023-02-08'', ''2023-02-09'', null).';
----
create or replace function hirundo.ttl_spread_none(first timestamptz, past timestamptz, ranges hirundo.inetmultirange, codes integer[])
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  perform hirundo.say_no_rows(first, past,
    (select c.rest from hirundo.rollup_cover(first, past, case when ranges is null and codes is null then 'ttl_day,source_day' else 'source_port_day' end) c),
    case when isempty(ranges) then 'no sources are asked about' when cardinality(codes) = 0 then 'no ports are asked about'
         else 'no packet that is asked about came with a source' || hirundo.flood_aside(first, past, codes) end);
end
$$;
----
comment on function hirundo.ttl_spread_none(timestamptz, timestamptz, hirundo.inetmultirange, integer[]) is
  'Internal to ttl_spread: says why it has no row. Example: see hirundo.why_no_rows.';
----
create or replace function hirundo.ttl_spread(period tstzrange, sources cidr[] default null, ports text[] default null)
returns setof hirundo.ttl_spread_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_first timestamptz;
  v_past timestamptz;
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_codes int[] := hirundo.port_codes(ports);
  v_home text := hirundo.home_country();
  v_rest tstzmultirange;
  v_none bit varying := (select repeat('0', coalesce(max(s.sensor_id), 1))::bit varying from hirundo.sensor s);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  if v_ranges is null then
    return query select * from hirundo.ttl_spread_all(v_first, v_past, v_codes);
    if not found then
      perform hirundo.ttl_spread_none(v_first, v_past, v_ranges, v_codes);
    end if;
    return;
  end if;
  select c.rest into v_rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c;
  return query
    with hit as materialized (
      select u.src, u.sensor_id, u.ttl, u.packets as n
      from hirundo.source_ttls(v_first, v_past, v_ranges, v_codes, false) u
    ), mark as materialized (
      select s.sensor_id, s.country, set_bit(v_none, s.sensor_id - 1, 1) as bit from hirundo.sensor s
    ), by_ttl as (
      select m.country, h.ttl, sum(h.n) as n,
        sum(sum(h.n)) over (partition by m.country order by h.ttl) as upto,
        sum(sum(h.n)) over (partition by m.country) as total
      from (select h.sensor_id, h.ttl, sum(h.n)::bigint as n from hit h group by 1, 2) h
      join mark m on m.sensor_id = h.sensor_id
      group by m.country, h.ttl
    ), by_region as (
      -- percentile_disc(0.5) with packets as weights: the first TTL up to which half of the packets lie
      select t.country, min(t.ttl) as lo, max(t.ttl) as hi, min(t.ttl) filter (where t.upto * 2 >= t.total) as mid,
        sum(t.n)::bigint as n
      from by_ttl t
      group by t.country
    ), seen as materialized (
      -- sources by the set of sensors that saw them
      select e.sensors, count(*) as n
      from (select h.src, bit_or(m.bit) as sensors from hit h join mark m on m.sensor_id = h.sensor_id group by h.src) e
      group by e.sensors
    ), by_source as (
      select r.country, (sum(e.n) filter (where e.sensors & r.sensors <> v_none))::bigint as n
      from (select m.country, bit_or(m.bit) as sensors from mark m group by m.country) r
      cross join seen e
      group by r.country
    ), flood as materialized (
      select m.country, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past, v_codes, true) f join mark m on m.sensor_id = f.sensor_id
      group by 1
    )
    select r.country::text, r.lo::int, r.hi::int, r.mid::int, c.n, r.n, (select sum(e.n)::bigint from seen e), l.missing,
      coalesce(f.n, 0), f.low, f.high, o.days
    from by_region r
    left join flood f on f.country = r.country
    join by_source c on c.country = r.country
    left join hirundo.lacking(v_first, v_past, v_rest, 'region') l on l.item = r.country::text
    left join hirundo.kept_days(v_first, v_past, v_rest, 'region') o on o.item = r.country::text
    order by r.country::text is distinct from v_home, r.country::text collate "C";
  if not found then
    perform hirundo.ttl_spread_none(v_first, v_past, v_ranges, v_codes);
  end if;
end
$$;
----
comment on function hirundo.ttl_spread(tstzrange, cidr[], text[]) is
  'TTL range per sensor region (country), for packets from these sources on these ports (NULL: all): region, ttl_min, ttl_max, ttl_median (weighted by packets), sources, packets, all_sources (distinct over all regions, on every row), missing (what the region''s sensors lack: hirundo.lacking; null: nothing), flood_packets (to these ports at the region''s sensors as flood rows: these have no source, and are in no other column), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none), sensor_days (observed by the region''s sensors, and of which data are kept). Home first. A region that saw none has no row; where none did, a NOTICE says why (hirundo.why_no_rows). Example: select * from hirundo.ttl_spread(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
