-- On which ports do sources surge? Sources, not packets, day by day against the 28 days before.
--
-- The method, its constants and how often it errs: docs/methods/surge.md. Sources are distinct over all sensors and all classes but
-- backscatter and local: network_port_day.hosts, and flow for days that it does not answer for.
drop function if exists hirundo.surge_days(tstzrange, integer);
----
create or replace function hirundo.surge_days(period tstzrange, min_hosts integer default 10, level double precision default null)
returns table (day date, port_code integer, hosts integer, expected double precision, p_value double precision, ports bigint,
               sensor_days double precision)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_least int := greatest(coalesce(min_hosts, 10), 5); -- what network_port_day has an index for
  v_first date;
  v_last date;
  v_asked date[];
  v_days date[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
begin
  select min(d.day), max(d.day) into v_first, v_last from hirundo.whole_days(period) d;
  if v_first is null then
    return;
  end if;
  v_asked := array(select g::date from generate_series(v_first - interval '28 days', v_last::timestamp, interval '1 day') g);
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover((v_first - 28)::timestamp at time zone v_zone, (v_last + 1)::timestamp at time zone v_zone, 'network_port_day') c;
  return query
    with fresh as materialized (
      -- what the rollup does not answer for
      select f.d, f.port_code as code, count(*) as n
      from (select distinct (f.ts at time zone v_zone)::date as d, f.port_code, f.src
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.flow_classed f
              where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
                and f.class <> 'backscatter' and f.class <> 'local') f) f
      group by 1, 2
    ), observed as materialized (
      -- a day of which retention has left a part is none
      select o.day as d, sum(o.covered_ms)::float8 as ms
      from hirundo.kept_time((v_first - 28)::timestamp at time zone v_zone, (v_last + 1)::timestamp at time zone v_zone, v_rest) o
      where o.day not in (select g.day from hirundo.flow_gone_days(v_rest) g)
      group by 1
    ), looked_at as materialized (
      select n.d, sum(n.n)::bigint as n,
        -- what the chance asked for is in standard deviations of a normal distribution, and somewhat less
        (select case when t > 4 then sqrt(t - ln(t) - ln(2 * pi())) else 0 end from (select -2 * ln(greatest(surge_days.level, 1e-300) / sum(n.n)::float8) as t) t) as z
      from (select x.day as d, count(*) as n from hirundo.network_port_day x
            where x.day = any (v_days) and x.day >= v_first and x.hosts > 0 group by 1
            union all
            select f.d, count(*) from fresh f where f.d >= v_first group by 1) n
      group by 1
    ), busy as materialized (
      select x.day as d, x.port_code as code, x.hosts as n from hirundo.network_port_day x
      where x.day = any (v_days) and x.day >= v_first and x.hosts >= 5 and x.hosts >= v_least
      union all
      select f.d, f.code, f.n::int from fresh f where f.d >= v_first and f.n >= v_least
    ), codes as materialized (
      select distinct b.code from busy b
    ), counted as (
      select x.port_code as code, x.day as d, x.hosts as n
      from hirundo.network_port_day x
      where x.day = any (v_days) and x.hosts > 0 and x.port_code in (select c.code from codes c)
      union all
      select f.code, f.d, f.n from fresh f where f.code in (select c.code from codes c)
    ), grid as (
      select c.code, a.i, case when o.ms > 0 then coalesce(n.n, 0)::float8 end as n
      from codes c
      cross join unnest(v_asked) with ordinality a(d, i)
      left join observed o on o.d = a.d
      left join counted n on n.code = c.code and n.d = a.d
    ), path as materialized (
      -- the element i + 1 of upto has the sum of the first i days
      select g.code, array_agg(g.n order by g.i) as n, 0::float8 || array_agg(g.upto order by g.i) as upto
      from (select g.*, sum(coalesce(g.n, 0)) over (partition by g.code order by g.i rows unbounded preceding) as upto from grid g) g
      group by g.code
    ), clock as materialized (
      select array_agg(e.ms order by e.i) as ms, 0::float8 || array_agg(e.upto order by e.i) as upto
      from (select a.i, o.ms, sum(coalesce(o.ms, 0)) over (order by a.i) as upto
            from unnest(v_asked) with ordinality a(d, i) left join observed o on o.d = a.d) e
    ), week as (
      -- a cheap look first: sources a day of each of the four weeks before
      select b.d, b.code, b.n, k.ms[e.i] as ms, e.i, p.n as counts, k.ms as times,
        (p.upto[e.i] - p.upto[e.i - 7]) / nullif(k.upto[e.i] - k.upto[e.i - 7], 0) as w1,
        (p.upto[e.i - 7] - p.upto[e.i - 14]) / nullif(k.upto[e.i - 7] - k.upto[e.i - 14], 0) as w2,
        (p.upto[e.i - 14] - p.upto[e.i - 21]) / nullif(k.upto[e.i - 14] - k.upto[e.i - 21], 0) as w3,
        (p.upto[e.i - 21] - p.upto[e.i - 28]) / nullif(k.upto[e.i - 21] - k.upto[e.i - 28], 0) as w4
      from busy b
      join path p on p.code = b.code
      cross join clock k
      cross join lateral (select b.d - v_asked[1] + 1 as i) e
    ), candidate as (
      select w.*, l.n as ports
      from week w
      join looked_at l on l.d = w.d
      cross join lateral (select coalesce(least(w.w1, w.w2, w.w3, w.w4), 0) * w.ms * 0.75 as n) low
      where w.ms > 0
        -- so few more than three quarters of the lowest of them come too often by chance to matter, as phi is 1.25 at least
        and (surge_days.level is null or w.n - 0.5 > low.n + l.z * sqrt(1.25 * low.n))
        -- half as many again as in the second lowest of them: a burst in one of them does not hide the next
        and w.n >= 1.5 * w.ms * case
          when w.w1 + w.w2 + w.w3 + w.w4 is not null
          then least(greatest(least(w.w1, w.w2), least(w.w3, w.w4)), least(greatest(w.w1, w.w2), greatest(w.w3, w.w4)))
          else (select coalesce(percentile_disc(0.5) within group (order by u), 0) from unnest(array[w.w1, w.w2, w.w3, w.w4]) u) end
    )
    select c.d, c.code, c.n::int, b.weekday[1], hirundo.count_tail(c.n::bigint, b.weekday[1], b.phi), c.ports, c.ms / 86400000
    from candidate c
    cross join lateral hirundo.count_baseline(array(
      -- scaled to the day's exposure; days on which far fewer observed tell too little
      select case when c.times[c.i - g] >= c.ms / 4 then c.counts[c.i - g] / c.times[c.i - g] * c.ms end
      from generate_series(1, 28) g order by g)) b
    where b.level is not null;
end
$$;
----
comment on function hirundo.surge_days(tstzrange, integer, double precision) is
  'Internal to surges: the days and ports with min_hosts sources (at least 5) or more, half as many again as in the second lowest of the four weeks before: hosts, expected (for that weekday and sensor_days), p_value (of as many by chance, one port), ports looked at on that day; level: leaves out days whose p_value times ports cannot be below it. Example: select * from hirundo.surge_days(hirundo.day(''2023-02-08'')).';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.surges(tstzrange, double precision, integer);
----
create function hirundo.surges(period tstzrange, alarms_a_month double precision default 0.3, min_hosts integer default 10)
returns table (port text, first_day date, last_day date, days integer, peak_day date, hosts integer, expected numeric, ratio numeric,
               p_value double precision, p_corrected double precision, ports_looked_at bigint, sensor_days numeric, sensors_rose integer,
               sensors_compared integer, largest_share numeric, verdict text, reason text, note text, days_judged integer, days_asked integer,
               missing text, flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  -- so many false alarms a day over all ports: Bonferroni's bound, whatever depends on what
  v_level float8 := greatest(coalesce(alarms_a_month, 0.3), 0) * 12 / 365.25;
  v_asked date[] := array(select d.day from hirundo.whole_days(period) d order by 1);
  v_judged int;
  v_from timestamptz := (v_asked[1] - 28)::timestamp at time zone v_zone;
  v_past timestamptz := (v_asked[cardinality(v_asked)] + 1)::timestamp at time zone v_zone;
  v_rest tstzmultirange := (select c.rest from hirundo.rollup_cover(v_from, v_past, 'network_port_day') c);
begin
  with observed as materialized (
    select o.day, sum(o.covered_ms)::float8 as ms
    from hirundo.kept_time(v_from, v_past, v_rest) o
    where o.day not in (select g.day from hirundo.flow_gone_days(v_rest) g)
    group by 1
  )
  select count(*)::int into v_judged
  from (select t.day from unnest(v_asked) a(d)
        join observed t on t.day = a.d
        join observed o on o.day < t.day and o.day >= t.day - 28 and o.ms >= t.ms / 4
        group by t.day having count(*) >= 14) j;
  return query
    with alarm as materialized (
      select s.*, least(s.p_value * s.ports, 1) as corrected
      from hirundo.surge_days(period, min_hosts, v_level) s
      where s.p_value * s.ports < v_level and s.hosts >= 1.5 * s.expected
    ), numbered as (
      -- days of a port with at most two quiet ones between them are one surge
      select a.*, count(*) filter (where a.gap) over (partition by a.port_code order by a.day) as n
      from (select a.*, a.day - lag(a.day) over (partition by a.port_code order by a.day) > 3 as gap from alarm a) a
    ), surge as materialized (
      select row_number() over (order by min(a.day), a.port_code)::int as i, a.port_code as code, min(a.day) as f, max(a.day) as l, count(*)::int as days,
        (array_agg(a.day order by a.p_value, a.hosts desc, a.day))[1] as peak
      from numbered a group by a.port_code, a.n
    ), place as materialized (
      select distinct on (e.item) e.*
      from hirundo.scope_items(array(select s.code from surge s order by s.i), array(select s.f from surge s order by s.i),
                               array(select s.l from surge s order by s.i)) e
      order by e.item
    )
    select hirundo.port_label(s.code), s.f, s.l, s.days, s.peak, a.hosts, round(a.expected::numeric, 2), round((a.hosts / a.expected)::numeric, 2),
      a.p_value, a.corrected, a.ports, round(a.sensor_days::numeric, 2), p.sensors_rose, p.sensors_compared, round(p.largest_share::numeric, 4),
      p.verdict, p.reason, p.note, v_judged, cardinality(v_asked), m.missing, coalesce(f.n, 0), f.low, f.high
    from surge s
    join alarm a on a.port_code = s.code and a.day = s.peak
    -- others are more or fewer sensors, not more sources at any that can be compared
    join place p on p.item = s.i and p.risen
    cross join lateral hirundo.compared_lacking(s.f::timestamp at time zone v_zone, (s.l + 1)::timestamp at time zone v_zone,
                                                (s.f - 28)::timestamp at time zone v_zone, v_rest) m
    cross join lateral (
      select sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(s.f::timestamp at time zone v_zone, (s.l + 1)::timestamp at time zone v_zone, array[s.code]) f
      where f.class <> 'backscatter') f
    order by s.f, hirundo.port_label(s.code) collate "C";
  if not found then
    reason := case when cardinality(v_asked) = 0 then 'no whole day of the reporting time zone that has ended lies in the period'
      when v_judged = 0 then 'no day could be judged: each needs 14 observed days among the 28 before it'
      else 'no port rose' end;
    days_judged := v_judged;
    days_asked := cardinality(v_asked);
    select m.missing into missing from hirundo.compared_lacking(v_asked[1]::timestamp at time zone v_zone, v_past, v_from, v_rest) m;
    select coalesce(sum(f.packets), 0), max(f.sources_min), sum(f.sources_max) into flood_packets, flood_sources_min, flood_sources_max
    from hirundo.floods(v_asked[1]::timestamp at time zone v_zone, v_past) f where f.class <> 'backscatter';
    return next;
  end if;
end
$$;
----
comment on function hirundo.surges(tstzrange, double precision, integer) is
  'Ports whose sources rise beyond the 28 days before, one row per surge: port, first_day to last_day, days (that stand out by themselves), and of peak_day hosts (distinct sources, all sensors, without backscatter and local), expected (for that weekday and the sensor_days observed), ratio, p_value, p_corrected (times ports_looked_at that day); sensors_rose of sensors_compared, largest_share, verdict and reason as in hirundo.scope. alarms_a_month: how many false ones to bear over all ports; min_hosts: fewer sources (at least 5) are no surge. At least one row: port null where there is none, with the reason. days_judged of days_asked had enough history; missing: what the surge''s days lack, or all days asked about where there is none (hirundo.lacking; null: nothing), and days before whose data are gone. Sources of floods are not known and not counted: flood_packets (to the port on the surge''s days as flood rows; where there is no surge, to all ports), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none). Example: select port, first_day, last_day, hosts, expected, verdict from hirundo.surges(hirundo.quarter(''2023Q1'')).';
