-- Which TTLs did packets of these sources have at the sensors of each region?
-- Every flow row that matches counts, of any class: this is the evidence as received. Flood rows have no source and one TTL
-- range for many sources, so they cannot.
create or replace function hirundo.ttl_spread_all(first timestamptz, past timestamptz)
returns setof hirundo.ttl_spread_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_first timestamptz := first;
  v_past timestamptz := past;
  v_days date[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_home text := hirundo.home_country();
begin
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'ttl_day') c;
  return query
    with by_sensor as (
      select t.sensor_id, t.ttl, sum(t.packets)::bigint as n
      from hirundo.ttl_day t
      where t.day = any (v_days)
      group by 1, 2
      union all
      select f.sensor_id, f.ttl, sum(f.packets)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past) f
      group by 1, 2
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
    ), counted as materialized (
      select c.region, c.sources from hirundo.sources_by_region(v_first, v_past) c
    )
    select r.country::text, r.lo::int, r.hi::int, r.mid::int, c.sources, r.n, (select a.sources from counted a where a.region is null), l.missing
    from by_region r
    join counted c on c.region = r.country::text
    left join hirundo.lacking(v_first, v_past,
                              (select k.rest from hirundo.rollup_cover(v_first, v_past, 'ttl_day,source_day') k), 'region') l on l.item = r.country::text
    order by r.country::text is distinct from v_home, r.country::text collate "C";
end
$$;
----
comment on function hirundo.ttl_spread_all(timestamptz, timestamptz) is
  'hirundo.ttl_spread of all sources and ports, from smaller rollups. Example: select * from hirundo.ttl_spread_all(''2023-02-08'', ''2023-02-09'').';
----
create or replace function hirundo.ttl_spread(period tstzrange, sources cidr[] default null, ports text[] default null)
returns setof hirundo.ttl_spread_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
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
  v_none bit varying := (select repeat('0', coalesce(max(s.sensor_id), 1))::bit varying from hirundo.sensor s);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  if v_ranges is null and v_codes is null then
    return query select * from hirundo.ttl_spread_all(v_first, v_past);
    return;
  end if;
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
    )
    select r.country::text, r.lo::int, r.hi::int, r.mid::int, c.n, r.n, (select sum(e.n)::bigint from seen e), l.missing
    from by_region r
    join by_source c on c.country = r.country
    left join hirundo.lacking(v_first, v_past,
                              (select k.rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day,source_day') k), 'region') l on l.item = r.country::text
    order by r.country::text is distinct from v_home, r.country::text collate "C";
end
$$;
----
comment on function hirundo.ttl_spread(tstzrange, cidr[], text[]) is
  'TTL range per sensor region (country), for packets from these sources on these ports (NULL: all): region, ttl_min, ttl_max, ttl_median (weighted by packets), sources, packets, all_sources (distinct over all regions, on every row), missing (what the region''s sensors lack: hirundo.lacking; null: nothing). Home first. Example: select * from hirundo.ttl_spread(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
