-- Which sources send to many ports within a day, and whose are they?
-- Distinct ports over all sensors; without backscatter, local traffic and flood rows (which have no source).
create or replace function hirundo.scanners_table(min_ports integer, with_backscatter boolean)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- scanner_day has sources with five ports and more, without backscatter
  return case when coalesce(min_ports, 10) >= 4 and not coalesce(with_backscatter, false) then 'scanner_day' else 'source_port_day' end;
end
$$;
----
comment on function hirundo.scanners_table(integer, boolean) is
  'Internal to scanners: the rollup it reads. Example: select hirundo.scanners_table(10, false) gives scanner_day.';
----
-- columns and arguments are only appended, which takes a new function
drop function if exists hirundo.scanners(tstzrange, integer);
----
drop function if exists hirundo.scanners(tstzrange, integer, boolean);
----
drop function if exists hirundo.scanner_rows(tstzrange, integer, boolean);
----
create function hirundo.scanner_rows(period tstzrange, min_ports integer, with_backscatter boolean)
returns table (day date, src inet, ports bigint, sensors bigint, packets bigint, asn bigint, as_name text, country text, organisation text,
               scanner text, missing text, flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint, sensor_days numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set enable_hashjoin = on
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_days date[];
  v_rest tstzmultirange;
  v_zone text := hirundo.time_zone();
  v_min int := greatest(coalesce(min_ports, 10), 0);
  v_back boolean := coalesce(with_backscatter, false);
  v_table text := hirundo.scanners_table(min_ports, with_backscatter);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(v_first, v_past, v_table) c;
  return query
    with hit as materialized (
      select s.day as d, s.src, s.ports::bigint as ports, s.sensors::bigint as sensors, s.packets as p
      from hirundo.scanner_day s
      where v_table = 'scanner_day' and s.day = any (v_days) and s.ports > v_min
      union all
      select x.day, x.src, count(distinct x.port_code), count(distinct x.sensor_id), sum(x.packets)::bigint
      from hirundo.source_port_day x
      where v_table = 'source_port_day' and x.day = any (v_days) and (v_back or x.class <> 'backscatter') and x.class <> 'local'
      group by 1, 2
      having count(distinct x.port_code) > v_min
      union all
      select (f.ts at time zone v_zone)::date, f.src, count(distinct f.port_code), count(distinct f.sensor_id), sum(f.packets)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and (v_back or f.class <> 'backscatter') and f.class <> 'local') f
      group by 1, 2
      having count(distinct f.port_code) > v_min
    ), lacking as materialized (
      select l.* from hirundo.lacking_days(v_first, v_past, v_rest) l
    ), flood as (
      select f.day, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past) f where v_back or f.class <> 'backscatter' group by 1
    ), observed as (
      select o.day, round(sum(o.covered_ms) / 86400000.0, 6) as days from hirundo.kept_time(v_first, v_past, v_rest) o group by 1
    )
    select e.d, e.src, e.ports, e.sensors, e.p, e.asn, e.as_name, e.country, e.organisation, e.scanner, l.missing,
      coalesce(f.n, case when e.src is not null or o.days > 0 then 0 end), f.low, f.high, coalesce(o.days, 0)
    from (
      select h.d, h.src, h.ports, h.sensors, h.p, k.asn, k.as_name, k.country, k.organisation, k.scanner
      from (select i.d, array_agg(i.src) as sources from hit i group by i.d) g
      cross join lateral hirundo.lookup(g.sources, g.d) k
      join hit h on h.d = g.d and h.src = k.address
      union all
      -- whom a day had whose data are gone is not known: it was not a day without
      select w.day, null, null, null, null, null, null, null, null, null
      from lacking w where w.gone and w.day not in (select i.d from hit i)) e
    left join lacking l on l.day = e.d
    left join flood f on f.day = e.d
    left join observed o on o.day = e.d
    order by e.d, e.ports desc, e.src;
end
$$;
----
comment on function hirundo.scanner_rows(tstzrange, integer, boolean) is
  'Internal to scanners and scanner_organisations: the rows of hirundo.scanners. Example: select count(src) from hirundo.scanner_rows(hirundo.day(''2023-02-08''), 10, false).';
----
create function hirundo.scanners(period tstzrange, min_ports integer default 10, with_backscatter boolean default false)
returns table (day date, src inet, ports bigint, sensors bigint, packets bigint, asn bigint, as_name text, country text, organisation text,
               scanner text, missing text, flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint, sensor_days numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
begin
  return query select * from hirundo.scanner_rows(scanners.period, scanners.min_ports, scanners.with_backscatter);
  if not found then
    select b.first, b.past into v_first, v_past from hirundo.period_bounds(scanners.period) b;
    perform hirundo.say_no_rows(v_first, v_past,
      (select c.rest from hirundo.rollup_cover(v_first, v_past, hirundo.scanners_table(min_ports, with_backscatter)) c),
      format('no source sent to more than %s ports within a day', greatest(coalesce(min_ports, 10), 0)) || hirundo.flood_aside(v_first, v_past));
  end if;
end
$$;
----
comment on function hirundo.scanners(tstzrange, integer, boolean) is
  'Sources that sent to strictly more than min_ports different ports within a day (of the reporting time zone; a part of a day counts as what it holds), over all sensors: day, src, ports, sensors (that saw it), packets, and as of that day asn, as_name, country (of registration), organisation (under watch), scanner (known research scanner), missing (what the day lacks: hirundo.trouble; null: nothing), flood_packets (of the day, over all ports, as flood rows: scanners among their sources are not known), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none), sensor_days (observed that day by all sensors, and of which data are kept). Most ports first. A day whose data are gone has one row, without src: count(src), not count(*), counts sources. No row: a NOTICE says why (hirundo.why_no_rows). Without local traffic and flood rows, and without backscatter unless with_backscatter (a victim that answers to many ports counts then). Example: select day, src, ports, organisation from hirundo.scanners(hirundo.week(''2023-W06''), 10).';
----
-- columns and arguments are only appended, which takes a new function
drop function if exists hirundo.scanner_organisations(tstzrange, integer);
----
drop function if exists hirundo.scanner_organisations(tstzrange, integer, boolean);
----
create function hirundo.scanner_organisations(period tstzrange, min_ports integer default 10, with_backscatter boolean default false)
returns table (day date, organisation text, kind text, hosts bigint, ports bigint, packets bigint, sensor_days numeric, missing text,
               flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_rest tstzmultirange;
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.rest into v_rest from hirundo.rollup_cover(v_first, v_past, hirundo.scanners_table(min_ports, with_backscatter)) c;
  return query
    with hit as materialized (
      select s.day as d, s.ports as n, s.packets as p,
        case when s.organisation is not null then 'watched' when s.scanner is not null then 'research' when s.asn is not null then 'as' else 'unknown' end as kind,
        coalesce(s.organisation, s.scanner, 'AS' || s.asn || coalesce(' ' || s.as_name, ''), 'unknown') as name
      from hirundo.scanner_rows(period, min_ports, with_backscatter) s
      where s.src is not null
    ), observed as (
      select o.day as d, sum(o.covered_ms) as ms from hirundo.kept_time(v_first, v_past, v_rest) o group by 1
    ), total as (
      select h.d, count(*) as hosts, max(h.n) as n, sum(h.p)::bigint as p from hit h group by h.d
    ), days as (
      select l.day as d from hirundo.local_days(v_first, v_past) l
      union
      select t.d from total t
    )
    select e.d, e.name, e.kind, e.hosts, e.n, e.p, round(coalesce(o.ms, 0) / 86400000.0, 6), l.missing,
      coalesce(f.n, case when o.ms > 0 then 0 end), f.low, f.high
    from (
      select h.d, h.name, h.kind, count(*) as hosts, max(h.n) as n, sum(h.p)::bigint as p from hit h group by 1, 2, 3
      union all
      select d.d, 'total', 'total', coalesce(t.hosts, case when w.ms > 0 then 0 end), coalesce(t.n, case when w.ms > 0 then 0 end),
        coalesce(t.p, case when w.ms > 0 then 0 end)
      from days d
      left join total t on t.d = d.d
      left join observed w on w.d = d.d) e
    left join observed o on o.d = e.d
    left join hirundo.lacking_days(v_first, v_past, v_rest) l on l.day = e.d
    left join (select f.day, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
               from hirundo.floods(v_first, v_past) f where coalesce(with_backscatter, false) or f.class <> 'backscatter' group by 1) f on f.day = e.d
    order by e.d, e.kind = 'total', e.hosts desc, e.name collate "C", e.kind collate "C";
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, null);
  end if;
end
$$;
----
comment on function hirundo.scanner_organisations(tstzrange, integer, boolean) is
  'The sources of hirundo.scanners counted by day and whose they are: day, organisation (under watch, else the research scanner''s name, else the AS, else unknown), kind (watched, research, as, unknown, total), hosts, ports (most of one host), packets, sensor_days (observed, and of which data are kept), missing (what the day lacks: hirundo.trouble; null: nothing), flood_packets (of the day, over all ports, as flood rows: whose they are is not known), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none). Each day has a row total, its hosts 0 where somebody observed and saw none, null where nobody observed or the day''s data are gone. Example: select day, organisation, hosts from hirundo.scanner_organisations(hirundo.week(''2023-W06''), 10).';
