-- Which ports receive most, at each sensor?
-- All packets but class local, flood rows included. A sensor that observed and received nothing has no rows; one that was out has one, without a port.
--
-- Whole months come from a head, which leaves out ports with few packets. So it gives a lower bound for each port, and for
-- each month in which a port is missing at most head_packets - 1 are missing too. Ports that could still be among the n are
-- looked up in port_day; where even a port that is in no head could be, all of the sensor's are.
-- columns are only appended, which takes a new function
drop function if exists hirundo.top_ports(tstzrange, integer);
----
create or replace function hirundo.sensors_out(first timestamptz, past timestamptz, observed smallint[])
returns smallint[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v record;
  v_out smallint[] := '{}';
begin
  if first is null or past is null or first >= past or first > now() then
    return v_out;
  end if;
  -- one at a time, which Citus finds on one node
  for v in select s.sensor_id, s.revoked_at from hirundo.sensor s where s.sensor_id <> all (observed) order by s.sensor_id loop
    if exists (select 1 from hirundo.observation o where o.sensor_id = v.sensor_id and o.slot < sensors_out.past)
       and (v.revoked_at is null or exists (select 1 from hirundo.observation o where o.sensor_id = v.sensor_id and o.slot >= sensors_out.first)) then
      v_out := v_out || v.sensor_id;
    end if;
  end loop;
  return v_out;
end
$$;
----
comment on function hirundo.sensors_out(timestamptz, timestamptz, smallint[]) is
  'Sensors that might have observed in [first, past) and are not among these: they had begun by its end, and were not revoked before it (a sensor whose last data is older, and that is revoked, has ended). None in the future. Example: select hirundo.sensors_out(''2023-02-08'', ''2023-02-09'', ''{}'').';
----
create function hirundo.top_ports(period tstzrange, n integer default 10)
returns table (sensor text, label_en text, label_ja text, country text, rank integer, port text, packets bigint, sensor_days numeric, missing text,
               flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint)
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
  v_months date[];
  v_month_days date[];
  v_missing bigint;
  v_days date[];
  v_hours timestamptz[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_n int := greatest(coalesce(n, 10), 0);
  v_sensors smallint[]; -- that observed, and for how many days
  v_observed numeric[];
  v_out smallint[];
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.months, c.days, c.hours, c.rest, lower(c.rest), upper(c.rest)
  into v_months, v_days, v_hours, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'port_day,sensor_day', 'port_hour', 'port_month') c;
  v_month_days := hirundo.month_days(v_months);
  select max(m.head_packets) - 1 into v_missing from hirundo.rollup_month m where m.month = any (v_months);
  select coalesce(array_agg(o.sensor_id), '{}'), coalesce(array_agg(o.days), '{}') into v_sensors, v_observed
  from (select k.sensor_id, round(sum(k.covered_ms) / 86400000.0, 6) as days from hirundo.kept_time(v_first, v_past, v_rest) k group by 1) o;
  v_out := case when v_n > 0 then hirundo.sensors_out(v_first, v_past, v_sensors) else '{}' end;
  return query
    with known as materialized (
      select u.sensor_id, u.code, sum(u.n)::bigint as n, coalesce(sum(u.n) filter (where u.month is not null), 0)::bigint as in_months,
        array_agg(u.month) filter (where u.month is not null) as months
      from (
        select p.sensor_id, p.port_code as code, p.month, sum(p.packets)::bigint as n
        from hirundo.port_month p
        where p.month = any (v_months) and p.class <> 'local'
        group by 1, 2, 3
        union all
        select d.sensor_id, d.port_code, null::date, sum(d.packets)::bigint
        from hirundo.port_day d
        where d.day = any (v_days) and d.class <> 'local'
        group by 1, 2
        union all
        select h.sensor_id, h.port_code, null, sum(h.packets)::bigint
        from hirundo.port_hour h
        where h.hour = any (v_hours) and h.class <> 'local'
        group by 1, 2
        union all
        select t.sensor_id, t.port_code, null, sum(t.packets)::bigint
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.traffic t
          where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= v_rest_first and t.ts < v_rest_past and t.class <> 'local') t
        group by 1, 2) u
      group by u.sensor_id, u.code
    ), place as materialized (
      -- what the last of the n has at least
      select k.sensor_id, min(k.n) as n, count(*) as ports
      from (select k.*, row_number() over (partition by k.sensor_id order by k.n desc) as r from known k) k
      where k.r <= v_n
      group by k.sensor_id
    ), open as materialized (
      select s.sensor_id
      from (select distinct d.sensor_id from hirundo.sensor_day d where d.day = any (v_month_days) and d.class <> 'local') s
      left join place p on p.sensor_id = s.sensor_id
      where coalesce(p.ports, 0) < v_n or p.n <= cardinality(v_months) * v_missing
    ), total as (
      select k.sensor_id, k.code, k.n + coalesce(m.n, 0) as n
      from known k
      join place p on p.sensor_id = k.sensor_id
      left join lateral (
        select sum(d.packets)::bigint as n from hirundo.port_day d
        where cardinality(k.months) is distinct from cardinality(v_months)
          and d.day = any (v_month_days) and d.port_code = k.code and d.sensor_id = k.sensor_id and d.class <> 'local'
          and date_trunc('month', d.day::timestamp)::date <> all (coalesce(k.months, '{}'))) m on true
      where k.n + (cardinality(v_months) - coalesce(cardinality(k.months), 0)) * coalesce(v_missing, 0) >= p.n
        and k.sensor_id not in (select o.sensor_id from open o)
      union all
      select e.sensor_id, e.code, sum(e.n)::bigint
      from (
        select o.sensor_id, d.port_code as code, sum(d.packets)::bigint as n
        from open o
        join hirundo.port_day d on d.sensor_id = o.sensor_id and d.day = any (v_month_days) and d.class <> 'local'
        group by 1, 2
        union all
        -- what known has beside the months
        select k.sensor_id, k.code, k.n - k.in_months
        from known k join open o on o.sensor_id = k.sensor_id) e
      group by 1, 2
    ), head as (
      -- with all that tie for the last place: names are made for these alone
      select k.sensor_id, k.code, k.n
      from (select t.*, rank() over (partition by t.sensor_id order by t.n desc) as r from total t where t.n > 0) k
      where k.r <= v_n
    ), flood as (
      select f.sensor_id, f.port_code as code, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past, array(select distinct h.code from head h), true) f
      group by 1, 2
    ), ranked as (
      select t.sensor_id, t.code, l.label, t.n,
        row_number() over (partition by t.sensor_id order by t.n desc, l.label collate "C") as r
      from head t
      cross join lateral (select hirundo.port_label(t.code) as label) l
    ), observed as (
      select * from unnest(v_sensors, v_observed) o(sensor_id, days)
    )
    select s.name, s.label_en, s.label_ja, s.country::text, r.r::int, r.label, r.n, coalesce(o.days, 0), l.missing,
      coalesce(f.n, case when r.n is not null then 0 end), f.low, f.high
    from (select w.sensor_id, w.code, w.label, w.n, w.r from ranked w where w.r <= v_n
          union all
          select u.sensor_id, null, null, null, null from unnest(v_out) u(sensor_id) where u.sensor_id not in (select w.sensor_id from ranked w)) r
    join hirundo.sensor s on s.sensor_id = r.sensor_id
    left join observed o on o.sensor_id = r.sensor_id
    left join flood f on f.sensor_id = r.sensor_id and f.code = r.code
    left join hirundo.lacking(v_first, v_past, v_rest, 'sensor') l on l.item = s.name
    order by s.name collate "C", r.r;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, case v_n when 0 then 'n asks for no port' else 'no packet that counts came (local ones do not)' end);
  end if;
end
$$;
----
comment on function hirundo.top_ports(tstzrange, integer) is
  'The n ports with most packets at each sensor, ICMP and ICMPv6 one row each, ties by port: sensor, label_en, label_ja, country, rank, port, packets, sensor_days (that the sensor observed, and of which data are kept), missing (what the figure lacks: dropped, lost, unknown, gone; a clock that was off), flood_packets (of packets, those that came as flood rows), flood_sources_min and flood_sources_max (of how many sources these were: the largest estimate and the sum of them; null: none). All traffic but class local, flood rows included. A sensor that had begun by the end of the period and observed nothing in it, or whose data are gone, has one row, rank, port and packets null; one that observed and received nothing has none. No row at all: a NOTICE says why (hirundo.why_no_rows). Example: select sensor, rank, port from hirundo.top_ports(hirundo.quarter(''2023Q1''), 10).';
