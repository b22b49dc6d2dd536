-- How many hosts of these sources were seen per day and port?
-- Left out: backscatter (a victim's answers are not its scans; an argument counts them too), class local (from the sensor's own link), and flood rows
-- (they have no sources). hosts 0: some sensor observed that day and saw none; null: nobody observed, or the day's data are gone.
-- columns and arguments are only appended, which takes a new function
drop function if exists hirundo.source_hosts_daily(tstzrange, cidr[], text[]);
----
drop function if exists hirundo.source_hosts_daily(tstzrange, cidr[], text[], boolean);
----
create function hirundo.source_hosts_daily(period tstzrange, sources cidr[] default null, ports text[] default null,
                                           with_backscatter boolean default false)
returns table (day date, port text, hosts bigint, packets bigint, sensors bigint, sensor_days numeric, missing text,
               flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint, hosts_alone bigint, largest_sensor text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
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
  v_probes hirundo.inetmultirange := hirundo.address_probes(v_ranges);
  v_codes int[] := hirundo.port_codes(ports);
  v_zone text := hirundo.time_zone();
  v_back boolean := coalesce(with_backscatter, false);
  v_asked boolean := sources is not null;
begin
  if v_back and v_ranges is null then
    -- no rollup has all hosts with it
    v_ranges := hirundo.address_ranges('{0.0.0.0/0,::/0}');
    v_lo := lower(v_ranges);
    v_hi := upper(v_ranges);
    v_probes := hirundo.address_probes(v_ranges);
  end if;
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, case when v_ranges is null then 'network_port_day' else 'source_port_day' end) c;
  return query
    with hit as materialized (
      select x.day as d, x.port_code as code, x.src, x.sensor_id, sum(x.packets)::bigint as n
      from unnest(v_probes) p
      cross join lateral (
        select * from hirundo.source_port_day x
        where x.day = any (v_days) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
          and (v_codes is null or x.port_code = any (v_codes))
          and (v_back or x.class <> 'backscatter') and x.class <> 'local'
        offset 0) x
      group by 1, 2, 3, 4
      union all
      select (f.ts at time zone v_zone)::date, f.port_code, f.src, f.sensor_id, sum(f.packets)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
          and (v_ranges is null or (f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges))
          and (v_codes is null or f.port_code = any (v_codes))
          and (v_back or f.class <> 'backscatter') and f.class <> 'local') f
      group by 1, 2, 3, 4
    ), host as materialized (
      -- a day is wholly in the rollup or in the rest
      select h.d, h.code, h.src, sum(h.n) as n, case count(*) when 1 then min(h.sensor_id) end as alone from hit h group by h.d, h.code, h.src
    ), lone as (
      -- an array is as large as its first element: of several as large, the first sensor
      select e.d, e.code, max(array[e.n, -e.alone]) as top
      from (select n.d, n.code, n.alone, count(*) as n from host n where v_asked and n.alone is not null group by 1, 2, 3) e
      group by 1, 2
    ), by_port as materialized (
      select n.d, n.code, count(*) as hosts, sum(n.n)::bigint as packets, null::bigint as sensors
      from host n
      group by n.d, n.code
      union all
      -- of all sources: added up already
      select x.day, x.port_code, sum(x.hosts), sum(x.packets - x.flood_packets)::bigint, sum(x.host_sensors)
      from hirundo.network_port_day x
      where v_ranges is null and not v_back and x.day = any (v_days) and (v_codes is null or x.port_code = any (v_codes))
        and x.class <> 'backscatter' and x.class <> 'local'
      group by 1, 2 having sum(x.hosts) > 0
    ), by_sensor as (
      select h.d, h.code, count(*) as sensors from (select distinct h.d, h.code, h.sensor_id from hit h) h group by h.d, h.code
    ), days as (
      select l.day as d from hirundo.local_days(v_first, v_past) l
      union
      select h.d from by_port h
    ), codes as (
      select unnest(v_codes) as code
      union
      select h.code from by_port h
    ), flood as (
      select f.day as d, f.port_code as code, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past, v_codes) f
      where v_back or f.class <> 'backscatter'
      group by 1, 2
    ), observed as (
      -- a quarter of an hour that the period begins in counts too
      select o.day as d, round(sum(o.covered_ms) / 86400000.0, 6) as days from hirundo.kept_time(date_bin('15 minutes', v_first, timestamptz '2000-01-01 00:00:00+00'), v_past, v_rest) o
      group by 1
    )
    select d.d, hirundo.port_label(c.code),
      coalesce(s.hosts, case when o.d is not null then 0 end),
      coalesce(s.packets, case when o.d is not null then 0 end),
      coalesce(s.sensors, n.sensors, 0), coalesce(o.days, 0), l.missing,
      coalesce(f.n, case when o.d is not null then 0 end), f.low, f.high,
      case when v_asked then coalesce(a.top[1], case when coalesce(s.hosts, case when o.d is not null then 0 end) is not null then 0 end) end, z.name
    from days d
    cross join codes c
    left join by_port s on s.d = d.d and s.code = c.code
    left join by_sensor n on n.d = d.d and n.code = c.code
    left join flood f on f.d = d.d and f.code = c.code
    left join lone a on a.d = d.d and a.code = c.code
    left join hirundo.sensor z on z.sensor_id = -a.top[2]
    left join observed o on o.d = d.d
    left join hirundo.lacking_days(v_first, v_past, v_rest) l on l.day = d.d
    order by d.d, hirundo.port_label(c.code) collate "C";
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, case when cardinality(v_codes) = 0 then 'no ports are asked about'
      else 'no packet that is asked about came with a source' || hirundo.flood_aside(v_first, v_past, v_codes) end);
  end if;
end
$$;
----
comment on function hirundo.source_hosts_daily(tstzrange, cidr[], text[], boolean) is
  'Source hosts per day (reporting time zone) and port: every day and port asked for (NULL: those that occur), hosts, packets, sensors that saw them, sensor_days (observed that day by all sensors, of which data are kept), missing (what the figures lack: dropped, lost, unknown, gone; clocks that were off), flood_packets (to the port that day as flood rows, in no other column), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none), hosts_alone (hosts that one sensor alone saw, of the sensor that has most of them: without it hosts were as many fewer; null where sources is NULL, of which rollups do not know it: hirundo.scope) and largest_sensor (its name). hosts 0: observed, none seen; null: no sensor observed, or the day''s data are gone. No row (of no port, where NULL asks for those that occur): a NOTICE says why (hirundo.why_no_rows). Without local traffic and flood rows, and without backscatter unless with_backscatter. Example: select day, hosts from hirundo.source_hosts_daily(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP}'').';
