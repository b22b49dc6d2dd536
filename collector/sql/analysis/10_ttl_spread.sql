-- Which TTLs did packets of these sources have at the sensors of each region?
-- Every flow row that matches counts, of any class: this is the evidence as received. Flood rows have no source and one TTL
-- range for many sources, so they cannot.
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
  v_days date[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_lo inet := lower(v_ranges);
  v_hi inet := upper(v_ranges);
  v_codes int[] := hirundo.port_codes(ports);
  v_home text := hirundo.home_country();
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'source_day') c;
  return query
    with hit as materialized (
      select s.country, u.src, u.ttl, sum(u.n)::bigint as n
      from (
        select x.sensor_id, x.src, x.ttl, sum(x.packets) as n
        from hirundo.source_day x
        where x.day = any (v_days)
          and (v_ranges is null or (x.src >= v_lo and x.src <= v_hi and x.src <@ v_ranges))
          and (v_codes is null or x.port_code = any (v_codes))
        group by 1, 2, 3
        union all
        select f.sensor_id, f.src, f.ttl, sum(f.packets)
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.flow_classed f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
            and (v_ranges is null or (f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges))
            and (v_codes is null or f.port_code = any (v_codes))
) f
        group by 1, 2, 3) u
      join hirundo.sensor s on s.sensor_id = u.sensor_id
      group by s.country, u.src, u.ttl
    ), by_ttl as (
      select h.country, h.ttl, sum(h.n) as n,
        sum(sum(h.n)) over (partition by h.country order by h.ttl) as upto,
        sum(sum(h.n)) over (partition by h.country) as total
      from hit h
      group by h.country, h.ttl
    ), by_region as (
      -- percentile_disc(0.5) with packets as weights: the first TTL up to which half of the packets lie
      select t.country, min(t.ttl) as lo, max(t.ttl) as hi, min(t.ttl) filter (where t.upto * 2 >= t.total) as mid,
        sum(t.n)::bigint as n
      from by_ttl t
      group by t.country
    ), by_source as (
      select d.country, count(*) as n
      from (select distinct h.country, h.src from hit h) d
      group by d.country
    )
    select r.country::text, r.lo::int, r.hi::int, r.mid::int, c.n, r.n, (select count(distinct h.src) from hit h)
    from by_region r
    join by_source c on c.country = r.country
    order by r.country::text is distinct from v_home, r.country::text collate "C";
end
$$;
----
comment on function hirundo.ttl_spread(tstzrange, cidr[], text[]) is
  'TTL range per sensor region (country), for packets from these sources on these ports (NULL: all): region, ttl_min, ttl_max, ttl_median (weighted by packets), sources, packets, all_sources (distinct over all regions, on every row). Home first. Example: select * from hirundo.ttl_spread(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
