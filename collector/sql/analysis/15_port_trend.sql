-- The weekly graphs: average packets per sensor and day, for the ports that receive most.
-- All packets but class local, flood rows included. Divided by observed sensor-days, so that a gap never looks like calm.
create or replace function hirundo.port_totals(first timestamptz, past timestamptz)
returns table (port_code integer, packets bigint, flood_packets bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_months date[];
  v_days date[];
  v_hours timestamptz[];
  v_rest tstzmultirange;
begin
  select c.months, c.days, c.hours, c.rest into v_months, v_days, v_hours, v_rest
  from hirundo.rollup_cover(first, past, 'network_port_day', 'port_hour', 'network_port_month') c;
  return query
    select u.code, sum(u.n)::bigint, sum(u.flood)::bigint
    from (
      select m.port_code as code, m.packets as n, m.flood_packets as flood
      from hirundo.network_port_month m where m.month = any (v_months) and m.class <> 'local'
      union all
      select d.port_code, d.packets, d.flood_packets
      from hirundo.network_port_day d where d.day = any (v_days) and d.class <> 'local'
      union all
      select h.port_code, h.packets, h.flood_packets
      from hirundo.port_hour h where h.hour = any (v_hours) and h.class <> 'local'
      union all
      select t.port_code, sum(t.packets), coalesce(sum(t.packets) filter (where t.flood), 0)
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.traffic t
        where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest) and t.class <> 'local') t
      group by 1) u
    group by u.code;
end
$$;
----
comment on function hirundo.port_totals(timestamptz, timestamptz) is
  'Packets of [first, past) by port code, all sensors together: all but class local, with those from flood rows (contained in packets) beside. Example: select hirundo.port_label(port_code), packets from hirundo.port_totals(''2023-02-08'', ''2023-02-09'') order by packets desc limit 5.';
----
create or replace function hirundo.port_trend(period tstzrange, bucket text default 'week', n integer default 5)
returns setof hirundo.port_trend_row
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
  v_days date[];
  v_hours timestamptz[];
  v_rest tstzmultirange;
  v_bucket text := lower(btrim(coalesce(bucket, 'week')) collate "C");
  -- what is missing is known by day: an hour has what its day has
  v_lacking text := case v_bucket when 'hour' then 'day' else v_bucket end;
  v_zone text := hirundo.time_zone();
  v_n int := greatest(coalesce(n, 5), 0);
  v_gone tstzmultirange;
  v_own date[]; -- days known by sensor
begin
  if v_bucket not in ('hour', 'day', 'week', 'month', 'quarter') then
    raise exception '% is not a bucket', quote_literal(bucket)
      using errcode = 'invalid_parameter_value', hint = 'Take hour, day, week, month or quarter.';
  end if;
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.hours, c.rest into v_days, v_hours, v_rest
  from hirundo.rollup_cover(v_first, v_past, case when v_bucket <> 'hour' then 'network_port_day' end, 'port_hour') c;
  v_gone := hirundo.gone_time(v_rest);
  select array(select unnest(c.days) intersect select unnest(v_days)) into v_own from hirundo.rollup_cover(v_first, v_past, 'port_day') c;
  return query
    with head as materialized (
      -- with all that tie for the last place: names are made for these alone
      select k.port_code, k.packets
      from (select t.port_code, t.packets, rank() over (order by t.packets desc) as r
            from hirundo.port_totals(v_first, v_past) t where t.packets > 0) k
      where k.r <= v_n
    ), top as materialized (
      select t.port_code as code, t.label, t.r
      from (select h.port_code, l.label, row_number() over (order by h.packets desc, l.label collate "C")::int as r
            from head h cross join lateral (select hirundo.port_label(h.port_code) as label offset 0) l) t
      where t.r <= v_n
    ), part as materialized (
      -- what is by sensor anyhow
      select date_trunc(v_bucket, h.hour at time zone v_zone) as b, h.port_code as code, h.sensor_id, sum(h.packets) as n, sum(h.flood_packets) as flood,
        max(h.flood_sources_min) as low, sum(h.flood_sources_max) as high
      from hirundo.port_hour h
      where h.hour = any (v_hours) and h.port_code = any (array(select t.code from top t)) and h.class <> 'local'
      group by 1, 2, 3
      union all
      select date_trunc(v_bucket, t.ts at time zone v_zone), t.port_code, t.sensor_id, sum(t.packets), coalesce(sum(t.packets) filter (where t.flood), 0), null, null
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.traffic t
        where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest)
          and t.port_code = any (array(select t.code from top t)) and t.class <> 'local') t
      group by 1, 2, 3
      union all
      -- packets of these are in traffic
      select date_trunc(v_bucket, f.ts at time zone v_zone), f.port_code, f.sensor_id, 0, 0, max(f.sources_estimate), sum(f.sources_estimate)
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flood_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and f.port_code = any (array(select t.code from top t)) and f.class <> 'local') f
      group by 1, 2, 3
    ), received as materialized (
      select u.b, u.code, sum(u.n)::bigint as n, sum(u.flood)::bigint as flood, max(u.low) as low, sum(u.high)::bigint as high
      from (
        select date_trunc(v_bucket, d.day::timestamp) as b, d.port_code as code, d.packets as n, d.flood_packets as flood,
          d.flood_sources_min as low, d.flood_sources_max as high
        from hirundo.network_port_day d
        where d.day = any (v_days) and d.port_code = any (array(select t.code from top t)) and d.class <> 'local'
        union all
        select p.b, p.code, p.n, p.flood, p.low, p.high from part p) u
      group by 1, 2
    ), largest as materialized (
      -- an array is as large as its first element: of several as large, the first sensor
      select e.b, e.code, sum(e.n) as n, max(array[e.n, -e.sensor_id]) as top
      from (
        select u.b, u.code, u.sensor_id, sum(u.n) as n
        from (
          select date_trunc(v_bucket, d.day::timestamp) as b, d.port_code as code, d.sensor_id, d.packets as n
          from hirundo.port_day d
          where d.day = any (v_own) and d.port_code = any (array(select t.code from top t)) and d.class <> 'local'
          union all
          select p.b, p.code, p.sensor_id, p.n from part p) u
        group by 1, 2, 3) e
      group by 1, 2
    ), observed as materialized (
      select o.b, sum(o.ms) as ms, count(distinct o.sensor_id) as sensors
      from (
        select date_trunc(v_bucket, d.day::timestamp) as b, d.sensor_id, d.covered_ms as ms
        from hirundo.kept_time(v_first, v_past, v_rest) d where v_bucket <> 'hour'
        union all
        select date_trunc('hour', s.slot at time zone v_zone), s.sensor_id, s.covered_ms
        from hirundo.observation s
        where v_bucket = 'hour' and s.slot >= v_first and s.slot < v_past and s.covered_ms > 0 and not s.slot <@ v_gone) o
      group by 1
    ), trouble as (
      select date_trunc(v_lacking, t.day::timestamp) as b,
        hirundo.trouble_text(sum(t.dropped), sum(t.lost), sum(t.quarantined), sum(t.unknown_s), max(t.clock_off_ms)) as what
      from hirundo.trouble(v_first, v_past) t group by 1
    ), gone as (
      select date_trunc(v_lacking, g.day::timestamp) as b, count(*) as days
      from hirundo.flow_gone_days(v_rest) g group by 1
    ), buckets as (
      select distinct date_trunc(v_bucket, l.day::timestamp) as b from hirundo.local_days(v_first, v_past) l where v_bucket <> 'hour'
      union
      -- hours that the clock of the zone shows
      select h.b
      from hirundo.local_days(v_first, v_past) l
      cross join lateral generate_series(l.day::timestamp, l.day + interval '23 hours', interval '1 hour') h(b)
      where v_bucket = 'hour' and h.b at time zone v_zone at time zone v_zone = h.b
        and h.b at time zone v_zone + interval '1 hour' > v_first and h.b at time zone v_zone < v_past
      union
      select r.b from received r
      union
      select o.b from observed o
    )
    select k.b, t.r, t.label, coalesce(r.n, case when o.ms > 0 then 0 end), coalesce(r.flood, case when o.ms > 0 then 0 end),
      coalesce(o.sensors, 0), round(coalesce(o.ms, 0) / 86400000.0, 6), round(coalesce(r.n, 0) * 86400000.0 / nullif(o.ms, 0), 6),
      hirundo.missing_text(b.what, g.days), r.low, r.high, round(l.top[1] / nullif(l.n, 0), 4), z.name
    from buckets k
    cross join top t
    left join received r on r.b = k.b and r.code = t.code
    -- where retention has taken days by sensor, and left them of all, nobody knows whose they were
    left join largest l on l.b = k.b and l.code = t.code and l.n = r.n
    left join hirundo.sensor z on z.sensor_id = -l.top[2] and l.n > 0
    left join observed o on o.b = k.b
    left join trouble b on b.b = date_trunc(v_lacking, k.b)
    left join gone g on g.b = date_trunc(v_lacking, k.b)
    order by k.b, t.r;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, case v_n when 0 then 'n asks for no port' else 'no packet that counts came (local ones do not)' end);
  end if;
end
$$;
----
comment on function hirundo.port_trend(tstzrange, text, integer) is
  'Average packets per sensor and day of the n ports that receive most in the period, by hour, day, week (from Monday), month or quarter: bucket (its beginning by the clocks of the reporting time zone), rank (over the whole period), port, packets, flood_packets (contained in packets; exact), sensors (that observed), sensor_days (observed and with data kept, not calendar), average (per observed sensor-day, whatever the bucket), missing (what the bucket lacks, of an hour what its day lacks: hirundo.trouble; null: nothing), flood_sources_min and flood_sources_max (of how many sources the flood rows were: the largest estimate and the sum of them; null: none), largest_share (of the row''s packets, by the one sensor with most) and largest_sensor (its name; both null where none came, or retention has taken what is known by sensor): what one sensor alone received shows there. Nobody observed, or data gone: packets and average null. All traffic but class local. No port received anything: no row, and a NOTICE says why (hirundo.why_no_rows). Example: select bucket, port, average from hirundo.port_trend(hirundo.quarter(''2023Q1''), ''week'', 5).';
