-- Top services and source countries of a quarter, with the rank they had in the one before.
-- All packets but class local, flood rows included; these have no source, so among countries they stand apart.
create or replace function hirundo.period_before(first timestamptz, past timestamptz, out before_first timestamptz, out before_past timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
  a timestamp := first at time zone v_zone;
  b timestamp := past at time zone v_zone;
  v_months int;
begin
  if first is null or past is null or not isfinite(first) or not isfinite(past) or first >= past then
    return;
  end if;
  if a = date_trunc('month', a) and b = date_trunc('month', b) then
    v_months := (extract(year from b)::int - extract(year from a)::int) * 12 + extract(month from b)::int - extract(month from a)::int;
    before_first := (a - make_interval(months => v_months)) at time zone v_zone;
  elsif a = date_trunc('day', a) and b = date_trunc('day', b) then
    before_first := (a - make_interval(days => b::date - a::date)) at time zone v_zone;
  else
    before_first := first - (past - first);
  end if;
  before_past := first;
end
$$;
----
comment on function hirundo.period_before(timestamptz, timestamptz) is
  'The period just before [first, past) that is as long: so many months where both bounds begin months of the reporting time zone, so many days where they begin days, else so much time. Nulls for one without bounds. Example: select * from hirundo.period_before(''2023-01-01 00:00+09'', ''2023-04-01 00:00+09'').';
----
-- columns and arguments are only appended, which takes a new function
drop function if exists hirundo.country_totals(timestamptz, timestamptz);
----
drop function if exists hirundo.country_totals(timestamptz, timestamptz, boolean);
----
create function hirundo.country_totals(first timestamptz, past timestamptz, by_sensor boolean default false)
returns table (country text, packets bigint, flood_packets bigint, largest bigint, largest_sensor smallint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_days date[];
  v_rest tstzmultirange;
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'country_day,sensor_day') c;
  return query
    with row as materialized (
      select (f.ts at time zone v_zone)::date as d, f.src, case when by_sensor then f.sensor_id end as sensor_id, sum(f.packets) as n
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest) and f.class <> 'local') f
      group by 1, 2, 3
    ), set as materialized (
      select e.d, hirundo.prefix_set_for(e.d) as id from (select distinct w.d from row w) e
    )
    -- an array is as large as its first element: of several as large, the first sensor
    select e.country, e.n, e.flood, e.top[1]::bigint, (-e.top[2])::smallint
    from (
      select i.country, sum(i.n)::bigint as n, sum(i.flood)::bigint as flood, max(array[i.n, -i.sensor_id]) filter (where by_sensor) as top
      from (
        select u.country, u.sensor_id, sum(u.n) as n, sum(u.flood) as flood
        from (
          select c.country, case when by_sensor then c.sensor_id end as sensor_id, c.packets as n, 0::bigint as flood
          from hirundo.country_day c where c.day = any (v_days) and c.class <> 'local'
          union all
          -- in country_day already, under no country
          select '', case when by_sensor then s.sensor_id end, 0, s.flood_packets
          from hirundo.sensor_day s where s.day = any (v_days) and s.class <> 'local' and s.flood_packets > 0
          union all
          select coalesce(n.country::text, ''), w.sensor_id, w.n, 0
          from row w
          join set s on s.d = w.d
          left join lateral (
            select x.hi, x.country from hirundo.network x
            where x.set_id = s.id and x.lo <= w.src order by x.lo desc limit 1) n on n.hi >= w.src
          union all
          select '', case when by_sensor then f.sensor_id end, f.packets, f.packets
          from unnest(v_rest) r
          cross join lateral (
            select * from hirundo.flood_classed f
            where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest) and f.class <> 'local') f) u
        group by 1, 2) i
      group by 1) e;
end
$$;
----
comment on function hirundo.country_totals(timestamptz, timestamptz, boolean) is
  'Packets of [first, past) by country of the source as registered on the day (empty: not known, or from flood rows, which have no source), all sensors together, all but class local; by_sensor: with packets of the one sensor with most and its number, else null. Example: select * from hirundo.country_totals(''2023-02-08'', ''2023-02-09'') order by packets desc limit 5.';
----
-- Which sensor received most of a port? Whole months come from a head, which leaves out sensors with few packets: where one of these
-- could still be the first, port_day is asked (as top_ports does).
create or replace function hirundo.port_largest(first timestamptz, past timestamptz, codes integer[])
returns table (port_code integer, packets bigint, sensor_id smallint)
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
  v_codes int[] := codes;
  v_short bigint; -- what a sensor may have had at most in a month that has none of it
begin
  select c.months, c.days, c.hours, c.rest into v_months, v_days, v_hours, v_rest
  from hirundo.rollup_cover(first, past, 'port_day', 'port_hour', 'port_month') c;
  if exists (select g.day from hirundo.flow_gone_days(v_rest) g
             except select g.day from hirundo.rollup_cover(first, past, 'network_port_day', 'port_hour') c cross join lateral hirundo.flow_gone_days(c.rest) g) then
    return; -- retention has taken days by sensor, and left them of all
  end if;
  select coalesce(max(m.head_packets) - 1, 0) into v_short from hirundo.rollup_month m where m.month = any (v_months);
  return query
    with known as materialized (
      select u.code, u.sensor_id, sum(u.n) as n, coalesce(sum(u.n) filter (where u.month is not null), 0) as in_months, count(distinct u.month) as months
      from (
        select m.port_code as code, m.sensor_id, m.month, m.packets as n
        from hirundo.port_month m
        where m.month = any (v_months) and m.port_code = any (v_codes) and m.class <> 'local'
        union all
        select d.port_code, d.sensor_id, null, d.packets
        from hirundo.port_day d
        where d.day = any (v_days) and d.port_code = any (v_codes) and d.class <> 'local'
        union all
        select h.port_code, h.sensor_id, null, h.packets
        from hirundo.port_hour h
        where h.hour = any (v_hours) and h.port_code = any (v_codes) and h.class <> 'local'
        union all
        select t.port_code, t.sensor_id, null, sum(t.packets)
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.traffic t
          where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest)
            and t.port_code = any (v_codes) and t.class <> 'local') t
        group by 1, 2) u
      group by 1, 2
    ), best as (
      select k.code, max(k.n) as n from known k group by 1
    ), open as materialized (
      select c.code from unnest(v_codes) c(code)
      left join best b on b.code = c.code
      where cardinality(v_months) > 0 and v_short > 0
        and (coalesce(b.n, 0) <= cardinality(v_months) * v_short
             or exists (select from known k where k.code = c.code and k.months < cardinality(v_months)
                        and k.n + (cardinality(v_months) - k.months) * v_short >= b.n))
    ), total as (
      select k.code, k.sensor_id, k.n from known k where k.code not in (select o.code from open o)
      union all
      select e.code, e.sensor_id, sum(e.n)
      from (
        select d.port_code as code, d.sensor_id, d.packets as n
        from hirundo.port_day d
        where d.day = any (hirundo.month_days(v_months)) and d.port_code = any (array(select o.code from open o)) and d.class <> 'local'
        union all
        select k.code, k.sensor_id, k.n - k.in_months from known k where k.code in (select o.code from open o)) e
      group by 1, 2
    )
    select b.code, b.top[1]::bigint, (-b.top[2])::smallint
    from (select t.code, max(array[t.n, -t.sensor_id]) as top from total t where t.n > 0 group by 1) b;
end
$$;
----
comment on function hirundo.port_largest(timestamptz, timestamptz, integer[]) is
  'Of each of these port codes the sensor that received most packets of [first, past), the first of several, and how many: all but class local. None where retention has taken days by sensor that are known of all together. Example: select hirundo.port_label(port_code), packets, sensor_id from hirundo.port_largest(''2023-02-08'', ''2023-02-09'', hirundo.port_codes(''{22/TCP,23/TCP}'')).';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.quarter_top(tstzrange, integer);
----
create function hirundo.quarter_top(period tstzrange, n integer default 10)
returns table (kind text, rank integer, item text, packets bigint, share numeric, average numeric, previous_rank integer, previous text,
               previous_packets bigint, flood_packets bigint, sensor_days numeric, previous_sensor_days numeric, missing text,
               flood_sources_min bigint, flood_sources_max bigint, largest_share numeric, largest_sensor text)
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
  v_before_first timestamptz;
  v_before_past timestamptz;
  v_n int := greatest(coalesce(n, 10), 0);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  if v_first is null then
    perform hirundo.say_no_rows(v_first, v_past, '{}', null);
    return;
  end if;
  select p.before_first, p.before_past into v_before_first, v_before_past from hirundo.period_before(v_first, v_past) p;
  return query
    with observed as materialized (
      -- each kind as its own rollups know it
      select k.kind, (select coalesce(sum(o.covered_ms), 0) from hirundo.kept_time(v_first, v_past, c.rest) o) as ms,
        (select coalesce(sum(o.covered_ms), 0) from hirundo.kept_time(v_before_first, v_before_past, b.rest) o) as before_ms,
        nullif(concat_ws('; ', (select l.missing from hirundo.lacking(v_first, v_past, c.rest) l),
          (select 'of the period before: ' || hirundo.missing_text(null, count(*)) from hirundo.flow_gone_days(b.rest) g)), '') as missing
      from (values ('service', 'network_port_day', 'port_hour'), ('country', 'country_day,sensor_day', null)) k(kind, days, hours)
      cross join lateral hirundo.rollup_cover(v_first, v_past, k.days, k.hours) c
      cross join lateral hirundo.rollup_cover(v_before_first, v_before_past, k.days, k.hours) b
    ), now as materialized (
      select 'service' as kind, t.port_code::text as key, t.packets as p, t.flood_packets as flood, null::bigint as largest, null::smallint as sensor_id
      from hirundo.port_totals(v_first, v_past) t
      union all
      select 'country', t.country, t.packets, t.flood_packets, t.largest, t.largest_sensor from hirundo.country_totals(v_first, v_past, true) t
    ), before as materialized (
      select 'service' as kind, t.port_code::text as key, t.packets as p from hirundo.port_totals(v_before_first, v_before_past) t
      union all
      select 'country', t.country, t.packets from hirundo.country_totals(v_before_first, v_before_past) t
    ), head as materialized (
      -- with all that tie for the last place: names are made for these alone; what has no country has no place
      select e.side, e.kind, e.key, e.p,
        case e.kind when 'service' then hirundo.port_label(e.key::int) else e.key end as label
      from (select k.side, k.kind, k.key, k.p, rank() over (partition by k.side, k.kind order by k.p desc) as r
            from (select 'now' as side, w.kind, w.key, w.p from now w
                  union all
                  select 'before', b.kind, b.key, b.p from before b) k
            where k.key <> '' and k.p > 0) e
      where e.r <= case e.side when 'now' then v_n else 10 end
    ), ranked as materialized (
      select h.*, row_number() over (partition by h.side, h.kind order by h.p desc, h.label collate "C")::int as r from head h
    ), place as materialized (
      -- few: very many may tie for the last one
      select * from ranked r where r.r <= case r.side when 'now' then v_n else 10 end
    ), shown as materialized (
      select w.kind, w.key, w.p, w.flood, r.r, r.label, w.largest, w.sensor_id
      from place r join now w on w.kind = r.kind and w.key = r.key
      where r.side = 'now'
      union all
      select w.kind, w.key, w.p, w.flood, null, null, w.largest, w.sensor_id from now w where w.key = '' and w.p > 0
    ), total as (
      select w.kind, sum(w.p) as p from now w group by w.kind
    ), service as (
      select g.port_code::text as key, g.packets, g.sensor_id
      from hirundo.port_largest(v_first, v_past, array(select w.key::int from shown w where w.kind = 'service')) g
    ), bound as (
      -- of what has no country, those of all ports
      select k.kind, case k.kind when 'service' then f.port_code::text else '' end as key, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past) f
      cross join (values ('service'), ('country')) k(kind)
      group by 1, 2
    )
    select w.kind, w.r, coalesce(w.label, 'unknown'), w.p, round(w.p / nullif(t.p, 0), 4), round(w.p * 86400000.0 / nullif(o.ms, 0), 6),
      l.r, case when o.before_ms > 0 and w.r is not null then coalesce(l.r::text, '-') end,
      coalesce(b.p, case when o.before_ms > 0 then 0 end), w.flood,
      round(o.ms / 86400000.0, 6), round(o.before_ms / 86400000.0, 6), o.missing, m.low, m.high,
      round(coalesce(w.largest, g.packets) / nullif(w.p, 0)::numeric, 4), z.name
    from shown w
    join observed o on o.kind = w.kind
    left join place l on l.side = 'before' and l.kind = w.kind and l.key = w.key and o.before_ms > 0
    left join before b on b.kind = w.kind and b.key = w.key
    join total t on t.kind = w.kind
    left join service g on g.key = w.key and w.kind = 'service'
    left join hirundo.sensor z on z.sensor_id = coalesce(w.sensor_id, g.sensor_id)
    left join bound m on m.kind = w.kind and m.key = w.key and w.flood > 0
    order by w.kind desc, w.r nulls last;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, (select c.rest from hirundo.rollup_cover(v_first, v_past, 'network_port_day', 'port_hour') c),
      case v_n when 0 then 'n asks for no place' else 'no packet that counts came (local ones do not)' end);
  end if;
end
$$;
----
comment on function hirundo.quarter_top(tstzrange, integer) is
  'The n services (ports; any IP protocol is one) and source countries (where the address is registered) with most packets, all sensors together: kind (service, country), rank (ties by name), item, packets, share (of all packets of the kind), average (per observed sensor-day), previous_rank (in the period before that is as long, null outside its first ten or where nobody observed it, or its data are gone), previous (the same to print: - outside the first ten, null where nobody observed), previous_packets, flood_packets (contained in packets; exact), sensor_days and previous_sensor_days (observed, and of which data are kept), missing (what the period lacks: hirundo.trouble, and how many days'' data of the period before are gone; null: nothing), flood_sources_min and flood_sources_max (of how many sources the flood rows were: the largest estimate and the sum of them; null: none), largest_share (of packets, by the one sensor with most) and largest_sensor (its name; both null where retention has taken what is known by sensor): what one sensor alone received shows there. Packets without a country, those of floods among them, stand last without a rank. All traffic but class local. Nothing received: no row, and a NOTICE says why (hirundo.why_no_rows). Example: select kind, rank, item, previous from hirundo.quarter_top(hirundo.quarter(''2023Q1''), 10).';
