-- Everything for a notice to an organisation, and whether traffic fell after one: rows of one shape, by section.
--
-- What its hosts did comes from source_port_day, looked up by source; times, TTLs and tools from flow, of the days on which it did
-- something. Left out as in source_hosts_daily: backscatter (an argument counts it too), class local, flood rows.
drop function if exists hirundo.source_hits(timestamptz, timestamptz, hirundo.inetmultirange);
----
create or replace function hirundo.source_hits(first timestamptz, past timestamptz, ranges hirundo.inetmultirange,
                                               with_backscatter boolean default false)
returns table (day date, port_code integer, src inet, sensor_id smallint, packets bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_days date[];
  v_rest tstzmultirange;
  v_ranges hirundo.inetmultirange := ranges;
  v_zone text := hirundo.time_zone();
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'source_port_day') c;
  return query
    select u.day, u.port_code, u.src, u.sensor_id, sum(u.packets)::bigint
    from (
      select x.day, x.port_code, x.src, x.sensor_id, x.packets
      from unnest(hirundo.address_probes(v_ranges)) p
      cross join lateral (
        select * from hirundo.source_port_day x
        where x.day = any (v_days) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
          and (with_backscatter or x.class <> 'backscatter') and x.class <> 'local'
        offset 0) x
      union all
      select (f.ts at time zone v_zone)::date, f.port_code, f.src, f.sensor_id, f.packets
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and f.src >= lower(v_ranges) and f.src <= upper(v_ranges) and f.src <@ v_ranges
          and (with_backscatter or f.class <> 'backscatter') and f.class <> 'local') f) u
    group by 1, 2, 3, 4;
end
$$;
----
comment on function hirundo.source_hits(timestamptz, timestamptz, hirundo.inetmultirange, boolean) is
  'Packets of these sources by day (reporting time zone), port, source and sensor, without local traffic and flood rows, and without backscatter unless with_backscatter. Example: select * from hirundo.source_hits(''2023-02-08'', ''2023-02-09'', hirundo.address_ranges(''{198.18.0.0/24}'')).';
----
create or replace function hirundo.case_time(first timestamptz, past timestamptz)
returns table (sensor_id smallint, day date, covered_ms bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return query
    select o.sensor_id, o.day, o.covered_ms
    from hirundo.rollup_cover(case_time.first, case_time.past, 'source_port_day') c
    cross join lateral hirundo.kept_time(case_time.first, case_time.past, c.rest) o;
end
$$;
----
comment on function hirundo.case_time(timestamptz, timestamptz) is
  'Internal to organisation_case: observed time for which hirundo.source_hits can answer. Example: select * from hirundo.case_time(''2023-02-08'', ''2023-02-09'').';
----
-- Days in order: a run of bad days is one event, so that days are not independent. Weeks show that, and the larger of both
-- dispersions counts.
create or replace function hirundo.rate_ratio(counts numeric[], times numeric[], is_after boolean[],
                                              out ratio numeric, out low numeric, out high numeric, out dispersion numeric)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  b record;
  d record;
  z float8 := 1.959963984540054;
  t float8;
  v_df float8;
  v_phi float8 := 1;
  v_width float8;
  v_rate_before float8;
begin
  select coalesce(sum(u.y) filter (where not u.later), 0)::float8 as y0, coalesce(sum(u.y) filter (where u.later), 0)::float8 as y1,
    coalesce(sum(u.e) filter (where not u.later), 0)::float8 as e0, coalesce(sum(u.e) filter (where u.later), 0)::float8 as e1,
    count(*) filter (where not u.later) as n0, count(*) filter (where u.later) as n1
  into b from unnest(counts, times, is_after) u(y, e, later) where u.e > 0;
  if b.n0 < 3 or b.n1 < 3 or b.y0 = 0 then
    return;
  end if;
  for d in
    with cell as (
      select u.later, u.y::float8 as y, u.e::float8 as e, (row_number() over (partition by u.later order by u.place) - 1) / 7 as week
      from unnest(counts, times, is_after) with ordinality u(y, e, later, place) where u.e > 0
    ), block as (
      select 'day' as kind, c.later, c.y, c.e from cell c
      union all
      select 'week', c.later, sum(c.y), sum(c.e) from cell c group by c.later, c.week
    )
    select k.kind, count(*) - 2 as df,
      sum((k.y - k.e * k.rate) ^ 2 / nullif(k.e * k.rate, 0)) / nullif(count(*) - 2, 0) as phi
    from (select x.*, case when x.later then b.y1 / b.e1 else b.y0 / b.e0 end as rate from block x) k
    group by k.kind order by k.kind
  loop
    if d.kind = 'day' or (d.df >= 3 and d.phi > v_phi) then
      v_phi := greatest(d.phi, v_phi);
      v_df := d.df;
    end if;
  end loop;
  -- the 97.5% point of Student's t, from that of the normal distribution (Cornish-Fisher)
  t := z + (z ^ 3 + z) / (4 * v_df) + (5 * z ^ 5 + 16 * z ^ 3 + 3 * z) / (96 * v_df ^ 2)
    + (3 * z ^ 7 + 19 * z ^ 5 + 17 * z ^ 3 - 15 * z) / (384 * v_df ^ 3);
  v_rate_before := b.y0 / b.e0;
  -- none at all afterwards: the bound is that of half an event. A single day of 130,000 packets and none after makes it wider
  -- than a number can be; beyond 10^21 it says nothing anyway.
  v_width := exp(least(t * sqrt(v_phi * (1 / b.y0 + 1 / greatest(b.y1, 0.5))), 50));
  ratio := round((b.y1 / b.e1 / v_rate_before)::numeric, 4);
  low := round((b.y1 / b.e1 / v_rate_before / v_width)::numeric, 4);
  high := round((greatest(b.y1, 0.5) / b.e1 / v_rate_before * v_width)::numeric, 4);
  dispersion := round(v_phi::numeric, 2);
end
$$;
----
comment on function hirundo.rate_ratio(numeric[], numeric[], boolean[]) is
  'How a rate changed: counts and observed times of days in order, and whether each is after the change. The ratio of the rates (after by before) with a 95% interval that is as much wider as the counts vary more than by chance (quasi-Poisson, the larger dispersion of days and weeks, at least 1; Student''s t). Nulls: fewer than 3 observed days on a side, or nothing before. Example: select * from hirundo.rate_ratio(''{20,24,22,2,3,1}'', ''{1,1,1,1,1,1}'', ''{f,f,f,t,t,t}'').';
----
-- Addresses of its prefixes that lookup gives to another organisation: the smaller prefix wins, and of two that are equal the organisation that came first.
create or replace function hirundo.case_inner(name text, prefixes cidr[])
returns hirundo.inetmultirange
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v hirundo.inetmultirange := hirundo.inetmultirange();
  p record;
begin
  if name is null then
    return v;
  end if;
  for p in
    select hirundo.address_ranges(array[x.prefix]) as range, o.name = case_inner.name as own
    from hirundo.organisation_prefix x
    join hirundo.organisation o on o.organisation_id = x.organisation_id
    where x.prefix <<= any (prefixes)
    order by masklen(x.prefix), x.organisation_id desc
  loop
    v := case when p.own then v - p.range else v + p.range end;
  end loop;
  return v;
end
$$;
----
comment on function hirundo.case_inner(text, cidr[]) is
  'Internal to organisation_case: addresses in these prefixes of an organisation that hirundo.lookup gives to another one, which has a smaller prefix. Example: select hirundo.case_inner(''Example Hosting'', ''{198.19.16.0/22}'').';
----
drop function if exists hirundo.case_summary(text, cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_summary(name text, prefixes cidr[], first timestamptz, past timestamptz,
                                                with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(prefixes);
  v_zone text := hirundo.time_zone();
  h record;
  v_a timestamptz;
  v_b timestamptz;
  v_from timestamptz;
  v_to timestamptz;
  v_observed numeric;
  v_sensors bigint;
  v_missing text;
  v_flood text;
  v_inner hirundo.inetmultirange := hirundo.case_inner(name, prefixes);
  v_others text;
begin
  select count(distinct t.src) as hosts, sum(t.packets)::bigint as packets, count(distinct t.port_code) as ports, count(distinct t.sensor_id) as sensors,
    count(distinct s.country) as regions, min(t.day) as first_day, max(t.day) as last_day, array_agg(distinct t.port_code) as codes,
    array_agg(distinct t.src) filter (where t.src <@ v_inner) as inner_hosts
  into h
  from hirundo.source_hits(case_summary.first, case_summary.past, v_ranges, with_backscatter) t join hirundo.sensor s on s.sensor_id = t.sensor_id;
  select round(coalesce(sum(o.covered_ms), 0) / 86400000.0, 6), count(distinct o.sensor_id) into v_observed, v_sensors
  from hirundo.case_time(case_summary.first, case_summary.past) o;
  select l.missing into v_missing
  from hirundo.rollup_cover(case_summary.first, case_summary.past, 'source_port_day') c
  cross join lateral hirundo.lacking(case_summary.first, case_summary.past, c.rest) l;
  select hirundo.flood_text(sum(f.packets)::bigint, max(f.sources_min), sum(f.sources_max)::bigint) into v_flood
  from hirundo.floods(case_summary.first, case_summary.past, coalesce(h.codes, '{}')) f where with_backscatter or f.class <> 'backscatter';
  select string_agg(distinct k.organisation collate "C", ', ') into v_others from hirundo.lookup(h.inner_hosts, h.last_day) k;
  if h.hosts > 0 then
    -- times of day, where flow still has them; bounds are computed once, not for each row
    select greatest(case_summary.first, lower(r)), least(case_summary.past, upper(r)) into v_a, v_b from hirundo.local_range(h.first_day, h.first_day + 1) r;
    -- of a day whose beginning is gone the first is not known: what is left came later
    if not hirundo.flow_is_gone(v_a, v_b) then
      select min(f.ts) into v_from from hirundo.flow_classed f
      where f.ts >= v_a and f.ts < v_b and f.src >= lower(v_ranges) and f.src <= upper(v_ranges) and f.src <@ v_ranges
        and (with_backscatter or f.class <> 'backscatter') and f.class <> 'local';
    end if;
    select greatest(case_summary.first, lower(r)), least(case_summary.past, upper(r)) into v_a, v_b from hirundo.local_range(h.last_day, h.last_day + 1) r;
    select max(f.ts + f.duration_ms * interval '1 millisecond') into v_to from hirundo.flow_classed f
    where f.ts >= v_a and f.ts < v_b and f.src >= lower(v_ranges) and f.src <= upper(v_ranges) and f.src <@ v_ranges
      and (with_backscatter or f.class <> 'backscatter') and f.class <> 'local';
  end if;
  return query select 'summary', case_summary.name, h.first_day, null::text, v_from, v_to, h.hosts, coalesce(h.packets, 0), h.sensors, h.regions, v_observed,
    cardinality(prefixes)::numeric, null::numeric, null::numeric, null::float8,
    case when v_observed = 0 and h.hosts = 0 then 'no sensor observed anything in this period' || case when v_missing like '%gone%' then ', or the data are gone' else '' end
         when h.hosts = 0 then format('nothing from its %s prefixes in %s observed sensor-days', cardinality(prefixes), round(v_observed, 1))
         else format('%s hosts in %s prefixes sent %s packets to %s ports, from %s to %s (%s); seen by %s of %s observing sensors, in %s regions',
                     h.hosts, cardinality(prefixes), h.packets, h.ports, to_char(h.first_day, 'YYYY-MM-DD'), to_char(h.last_day, 'YYYY-MM-DD'), v_zone,
                     h.sensors, v_sensors, h.regions)
              || case when v_from is null or v_to is null then '; times of day are not kept any more' else '' end
              || case when with_backscatter then '; answers to others (backscatter) counted too' else '' end
              || case when h.inner_hosts is not null then format('; %s of the hosts are in smaller prefixes of %s, and counted there too', cardinality(h.inner_hosts), v_others) else '' end end
    || coalesce('; to these ports also ' || v_flood, '') || coalesce('; missing: ' || v_missing, '');
end
$$;
----
comment on function hirundo.case_summary(text, cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: section summary. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_daily(cidr[], timestamptz, timestamptz, integer[]);
----
create or replace function hirundo.case_daily(prefixes cidr[], first timestamptz, past timestamptz, codes integer[],
                                              with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
    with hit as materialized (
      select * from hirundo.source_hits(case_daily.first, case_daily.past, hirundo.address_ranges(prefixes), with_backscatter)
    ), got as (
      select h.day, h.port_code, count(distinct h.src) as hosts, sum(h.packets)::bigint as packets, count(distinct h.sensor_id) as sensors
      from hit h where h.port_code = any (codes) group by 1, 2
      union all
      select h.day, null, count(distinct h.src), sum(h.packets)::bigint, count(distinct h.sensor_id) from hit h group by 1
    ), flood as (
      -- of all its ports together on the row without one
      select f.day, k.code, hirundo.flood_text(sum(f.packets)::bigint, max(f.sources_min), sum(f.sources_max)::bigint) as what
      from hirundo.floods(case_daily.first, case_daily.past, codes) f
      cross join lateral (select f.port_code as code union all select null) k
      where with_backscatter or f.class <> 'backscatter'
      group by 1, 2
    ), observed as (
      select o.day, round(sum(o.covered_ms) / 86400000.0, 6) as days from hirundo.case_time(case_daily.first, case_daily.past) o group by 1
    ), lacking as (
      select l.* from hirundo.rollup_cover(case_daily.first, case_daily.past, 'source_port_day') c
      cross join lateral hirundo.lacking_days(case_daily.first, case_daily.past, c.rest) l
    ), days as (
      select l.day from hirundo.local_days(case_daily.first, case_daily.past) l union select g.day from got g
    )
    select 'daily', null::text, d.day, hirundo.port_label(k.code), null::timestamptz, null::timestamptz,
      coalesce(g.hosts, case when o.days > 0 then 0 end), coalesce(g.packets, case when o.days > 0 then 0 end), coalesce(g.sensors, 0),
      null::bigint, coalesce(o.days, 0), null::numeric, null::numeric, null::numeric, null::float8,
      nullif(concat_ws(', ', case when o.days is null and g.hosts is null and l.gone is not true then 'nobody observed' end, l.missing, f.what), '')
    from days d
    cross join (select unnest(codes) as code union all select null) k
    left join got g on g.day = d.day and g.port_code is not distinct from k.code
    left join observed o on o.day = d.day
    left join lacking l on l.day = d.day
    left join flood f on f.day = d.day and f.code is not distinct from k.code
    order by d.day, hirundo.port_label(k.code) collate "C" nulls first;
end
$$;
----
comment on function hirundo.case_daily(cidr[], timestamptz, timestamptz, integer[], boolean) is
  'Internal to organisation_case: section daily. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_shifts(cidr[], timestamptz, timestamptz, integer[]);
----
create or replace function hirundo.case_shifts(prefixes cidr[], first timestamptz, past timestamptz, codes integer[],
                                               with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
    with used as materialized (
      select h.src, h.port_code as code, min(h.day) as since, max(h.day) as until
      from hirundo.source_hits(case_shifts.first, case_shifts.past, hirundo.address_ranges(prefixes), with_backscatter) h
      where h.port_code = any (codes) group by 1, 2
    ), pair as (
      select a.code as a, b.code as b, count(*) filter (where a.since < b.since) as moved, count(*) filter (where a.since > b.since) as back,
        count(*) filter (where a.since < b.since and a.until < b.since) as left_it,
        percentile_disc(0.5) within group (order by b.since) filter (where a.since < b.since) as at
      from used a join used b on b.src = a.src and b.code <> a.code
      group by a.code, b.code
    )
    select 'shift', hirundo.port_label(p.a) || ' to ' || hirundo.port_label(p.b), p.at, hirundo.port_label(p.b), null::timestamptz, null::timestamptz,
      p.moved, null::bigint, null::bigint, null::bigint, null::numeric, round(p.moved::numeric / n.hosts, 4), null::numeric, null::numeric,
      hirundo.sign_test_p(p.moved, p.moved + p.back),
      format('%s of %s hosts on %s sent to %s on a later day (median %s), %s the other way round; %s of them had stopped sending to %s', p.moved, n.hosts,
             hirundo.port_label(p.a), hirundo.port_label(p.b), to_char(p.at, 'YYYY-MM-DD'), p.back, p.left_it, hirundo.port_label(p.a))
    from pair p
    join (select u.code, count(*) as hosts from used u group by 1) n on n.code = p.a
    where p.moved >= 5 and p.moved * 10 >= n.hosts and hirundo.sign_test_p(p.moved, p.moved + p.back) < 0.01
    order by p.moved desc, p.at, p.a, p.b;
end
$$;
----
comment on function hirundo.case_shifts(cidr[], timestamptz, timestamptz, integer[], boolean) is
  'Internal to organisation_case: section shift. Example: see hirundo.organisation_case.';
----
create or replace function hirundo.case_origin(prefixes cidr[], first timestamptz, past timestamptz)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return query
    with origin as materialized (
      select o.*, row_number() over () as place
      from hirundo.ttl_origin(case when case_origin.first < case_origin.past then tstzrange(case_origin.first, case_origin.past) else 'empty' end, prefixes) o
    )
    select 'origin', u.item, null::date, null::text, null::timestamptz, null::timestamptz, u.sources, u.packets, null::bigint, null::bigint, null::numeric,
      u.median_d, u.lo, u.hi, u.p_value, u.note
    from (
      select 0 as place, o.verdict as item, null::bigint as sources, null::bigint as packets, null::numeric as median_d, null::numeric as lo,
        null::numeric as hi, null::float8 as p_value, o.reason as note
      from origin o where o.place = 1
      union all
      select o.place, o.region, o.sources, o.packets, o.median_d, o.ttl_min, o.ttl_max, o.p_value,
        case when o.weak then 'weak: its hops lie within home''s' end
      from origin o where o.region is not null) u
    order by u.place;
end
$$;
----
comment on function hirundo.case_origin(cidr[], timestamptz, timestamptz) is
  'Internal to organisation_case: section origin. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_calendar(cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_calendar(prefixes cidr[], first timestamptz, past timestamptz, with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
begin
  return query
    with hit as materialized (
      select h.day, h.src, h.packets from hirundo.source_hits(case_calendar.first, case_calendar.past, hirundo.address_ranges(prefixes), with_backscatter) h
    ), observed as materialized (
      select o.day, sum(o.covered_ms) / 86400000.0 as days from hirundo.case_time(case_calendar.first, case_calendar.past) o group by 1
    ), per_day as materialized (
      select o.day, o.days, coalesce(g.n, 0) as n, extract(isodow from o.day)::int as dow
      from observed o left join (select h.day, sum(h.packets) as n from hit h group by 1) g on g.day = o.day
    ), span as (
      -- from its first day to its last: before and after it was not there
      select p.* from per_day p where p.day >= (select min(h.day) from hit h) and p.day <= (select max(h.day) from hit h)
    ), weekday as (
      select p.dow, sum(p.n)::bigint as n, sum(p.days) as days from span p group by 1
    ), hosts as (
      select extract(isodow from h.day)::int as dow, count(distinct h.src) as hosts from hit h group by 1
    )
    select 'calendar', (array['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[w.dow], null::date, null::text,
      null::timestamptz, null::timestamptz, coalesce(h.hosts, 0), w.n, null::bigint, null::bigint, round(w.days, 6),
      round(w.n / w.days, 4), null::numeric, null::numeric, null::float8, null::text
    from weekday w left join hosts h on h.dow = w.dow
    union all
    select 'calendar', a.kind, null, null, null, null, null, a.packets, null, null, a.sensor_days, a.average, null, null, a.p_value,
      nullif(concat_ws('; ', case when a.kind in ('weekend', 'holiday', 'month_end', 'off') and a.ratio is not null
                                  then format('%s times the hosts of a weekday', round(a.ratio, 2)) end, a.reason), '')
    from hirundo.activity_calendar(case when case_calendar.first < case_calendar.past then tstzrange(case_calendar.first, case_calendar.past) else 'empty' end,
                                   prefixes, null, null, with_backscatter) a
    where exists (select from hit h);
end
$$;
----
comment on function hirundo.case_calendar(cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: section calendar. Example: see hirundo.organisation_case.';
----
-- By the rules of hirundo.fingerprint, day by day, over the organisation's own rows of flow.
drop function if exists hirundo.case_tool_hosts(cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_tool_hosts(prefixes cidr[], first timestamptz, past timestamptz, with_backscatter boolean default false)
returns table (day date, src inet, tool text, packets bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(prefixes);
  d record;
begin
  for d in
    select f.day, f.first, f.past
    from (select distinct h.day from hirundo.source_hits(case_tool_hosts.first, case_tool_hosts.past, v_ranges, with_backscatter) h) h
    join hirundo.flow_days(tstzmultirange(tstzrange(case_tool_hosts.first, case_tool_hosts.past))) f on f.day = h.day
    order by f.first
  loop
    return query execute format($q$
      with hit as materialized (
        select x.src, x.rule, sum(x.packets)::bigint as p, count(*) as rows
        from (
          select y.src, y.packets, %s as rule
          from (
            select f.src, f.packets, f.proto, f.port, f.src_port, f.ttl, f.tcp_flags, f.marks, f.tcp_window, f.ip_id, f.ip_len,
              o.layout as options, o.mss, o.window_scale
            from hirundo.flow_classed f
            left join hirundo.tcp_options o on o.options_id = f.options_id
            where f.ts >= $1 and f.ts < $2 and f.src >= $3 and f.src <= $4 and f.src <@ $5
              and ($7 or f.class <> 'backscatter') and f.class <> 'local') y) x
        group by 1, 2
      )
      select $6, h.src, coalesce(r.name, 'unknown'), sum(h.p)::bigint
      from hit h
      left join hirundo.fingerprint_least() r on r.rank = h.rule and case when r.by_row then h.rows else h.p end >= r.min_packets
      group by 2, 3$q$, hirundo.fingerprint_case(d.day))
    using d.first, d.past, lower(v_ranges), upper(v_ranges), v_ranges, d.day, with_backscatter;
  end loop;
end
$$;
----
comment on function hirundo.case_tool_hosts(cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: packets by day, source and tool (hirundo.fingerprint), of days of which flow is kept. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_tools(cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_tools(prefixes cidr[], first timestamptz, past timestamptz, with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_gone bigint;
  v_row hirundo.organisation_case_row;
begin
  select count(*) into v_gone
  -- offset 0: a question for each day, not for each row
  from (select distinct h.day from hirundo.source_hits(case_tools.first, case_tools.past, hirundo.address_ranges(prefixes), with_backscatter) h offset 0) h
  where hirundo.flow_is_gone(lower(hirundo.local_range(h.day, h.day + 1)), upper(hirundo.local_range(h.day, h.day + 1)));
  return query
    select 'tool', t.tool, min(t.day), null::text, null::timestamptz, null::timestamptz, count(distinct t.src), sum(t.packets)::bigint, null::bigint, null::bigint,
      null::numeric, round(sum(t.packets) / sum(sum(t.packets)) over (), 4), null::numeric, null::numeric, null::float8,
      format('from %s to %s', to_char(min(t.day), 'YYYY-MM-DD'), to_char(max(t.day), 'YYYY-MM-DD'))
        || case when v_gone > 0 then format('; of %s further days flow is not kept any more', v_gone) else '' end
    from hirundo.case_tool_hosts(prefixes, case_tools.first, case_tools.past, with_backscatter) t
    group by t.tool
    order by sum(t.packets) desc, t.tool collate "C";
  if not found and v_gone > 0 then
    v_row.section := 'tool';
    v_row.note := format('flow of its %s days is not kept any more', v_gone);
    return next v_row;
  end if;
end
$$;
----
comment on function hirundo.case_tools(cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: section tool. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_evidence(cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_evidence(prefixes cidr[], first timestamptz, past timestamptz, with_backscatter boolean default false,
                                                 name text default null)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(prefixes);
  v_inner hirundo.inetmultirange := hirundo.case_inner(name, prefixes);
begin
  return query
    with hit as materialized (
      select h.src, h.port_code as code, min(h.day) as since, max(h.day) as until, sum(h.packets)::bigint as packets,
        count(distinct h.sensor_id) as sensors, count(distinct s.country) as regions
      from hirundo.source_hits(case_evidence.first, case_evidence.past, v_ranges, with_backscatter) h join hirundo.sensor s on s.sensor_id = h.sensor_id
      group by 1, 2
    ), theirs as (
      select k.address as src, k.organisation from hirundo.lookup((select array_agg(distinct h.src) from hit h where h.src <@ v_inner)) k
    ), day as materialized (
      -- the first and last day of each: the times in between are not asked
      select e.day, e.a, e.b, hirundo.flow_is_gone(e.a, e.b) as gone
      from (select u.day, greatest(case_evidence.first, lower(r)) as a, least(case_evidence.past, upper(r)) as b
            from (select h.since as day from hit h union select h.until from hit h) u
            cross join lateral hirundo.local_range(u.day, u.day + 1) r) e
    ), flow as materialized (
      -- retention takes the beginning of a day first: what is left tells its last packet, neither its first nor all its TTLs
      select f.src, f.port_code as code, d.day, min(f.ts) filter (where not d.gone) as a, max(f.ts + f.duration_ms * interval '1 millisecond') as b,
        min(f.ttl) filter (where not d.gone) as lo, max(f.ttl) filter (where not d.gone) as hi
      from day d
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= d.a and f.ts < d.b and f.src >= lower(v_ranges) and f.src <= upper(v_ranges) and f.src <@ v_ranges
          and (with_backscatter or f.class <> 'backscatter') and f.class <> 'local') f
      group by 1, 2, 3
    )
    select 'evidence', host(h.src), h.since, hirundo.port_label(h.code), a.a, b.b, 1::bigint, h.packets, h.sensors, h.regions, null::numeric,
      null::numeric, least(a.lo, b.lo)::numeric, greatest(a.hi, b.hi)::numeric, null::float8,
      nullif(concat_ws('; ', case when a.a is null or b.b is null then 'times of day are not kept any more; last seen on ' || to_char(h.until, 'YYYY-MM-DD') end,
                       'in a smaller prefix of ' || t.organisation), '')
    from hit h
    left join flow a on a.src = h.src and a.code = h.code and a.day = h.since
    left join flow b on b.src = h.src and b.code = h.code and b.day = h.until
    left join theirs t on t.src = h.src
    order by h.packets desc, h.src, h.code;
end
$$;
----
comment on function hirundo.case_evidence(cidr[], timestamptz, timestamptz, boolean, text) is
  'Internal to organisation_case: section evidence, of the organisation of this name. Example: see hirundo.organisation_case.';
----
-- One notice: the days after `since` and from its first sighting on, to before it; and from after it to before `until`; the day itself is neither.
drop function if exists hirundo.case_effect_of(cidr[], timestamptz, timestamptz, integer[], date, date, date);
----
drop function if exists hirundo.case_effect_of(cidr[], timestamptz, timestamptz, integer[], date, date, date, text, text);
----
create or replace function hirundo.case_effect_of(prefixes cidr[], first timestamptz, past timestamptz, codes integer[], sent date, since date, until date,
                                                  ports text, reference text, with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_days date[];
  v_rest tstzmultirange;
  v_codes int[] := codes;
  v_sent date := sent;
  v_zone text := hirundo.time_zone();
  v_unknown tstzmultirange;
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(case_effect_of.first, case_effect_of.past, 'port_day') c;
  -- both its own counts and those of others must be known
  select v_rest + c.rest into v_unknown from hirundo.rollup_cover(case_effect_of.first, case_effect_of.past, 'source_port_day') c;
  return query
    with seen as materialized (
      select h.day, h.src, h.sensor_id, h.packets
      from hirundo.source_hits(case_effect_of.first, case_effect_of.past, hirundo.address_ranges(prefixes), with_backscatter) h
      where h.port_code = any (v_codes)
    ), hit as materialized (
      select h.day, sum(h.packets) as packets, count(distinct (h.src, h.sensor_id)) as hosts from seen h group by 1
    ), observed as materialized (
      -- before means since it was first seen: what was not there yet did not fall
      select o.day, sum(o.covered_ms) / 86400000.0 as days
      from hirundo.kept_time(case_effect_of.first, case_effect_of.past, v_unknown) o
      where o.day <> v_sent and (since is null or o.day > since) and (until is null or o.day < until)
        and o.day >= (select min(h.day) from hit h)
      group by 1
    ), total as (
      select u.day, sum(u.n) as n
      from (select x.day, x.packets - x.flood_packets as n from hirundo.port_day x
            where x.day = any (v_days) and x.port_code = any (v_codes) and (with_backscatter or x.class <> 'backscatter') and x.class <> 'local'
            union all
            select (f.ts at time zone v_zone)::date, f.packets
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.flow_classed f
              where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
                and f.port_code = any (v_codes) and (with_backscatter or f.class <> 'backscatter') and f.class <> 'local') f) u
      group by 1
    ), cell as (
      select o.day, o.days, coalesce(h.packets, 0) as packets, coalesce(h.hosts, 0) as hosts, greatest(coalesce(t.n, 0) - coalesce(h.packets, 0), 0) as others
      from observed o left join hit h on h.day = o.day left join total t on t.day = o.day
    ), series as (
      select k.place, k.item, array_agg(k.y order by c.day) as y, array_agg(c.days order by c.day) as e, array_agg(c.day > v_sent order by c.day) as later,
        sum(k.y) filter (where c.day > v_sent) as y1, sum(c.days) filter (where c.day > v_sent) as e1,
        sum(k.y) filter (where c.day < v_sent) as y0, sum(c.days) filter (where c.day < v_sent) as e0
      from cell c
      cross join lateral (values (1, 'packets', c.packets), (2, 'hosts', c.hosts), (3, 'packets of others', c.others)) k(place, item, y)
      group by 1, 2
    ), answer as (
      select s.*, r.*, max(r.low) filter (where s.place = 3) over () as others_low
      from series s cross join lateral hirundo.rate_ratio(s.y, s.e, s.later) r
    ), told as (
      select a.place, a.item,
        case when a.item = 'hosts' then (select count(distinct e.src) from seen e join observed o on o.day = e.day where e.day > v_sent) end as hosts,
        case when a.item <> 'hosts' then coalesce(a.y1, 0)::bigint end as packets, round(coalesce(a.e1, 0), 6) as days, a.ratio, a.low, a.high,
        case when a.ratio is null then
               format('too little data: %s observed sensor-days before, with %s %s, and %s after', round(coalesce(a.e0, 0), 1), coalesce(a.y0, 0),
                      case a.item when 'hosts' then 'hosts by sensor and day' else 'packets' end, round(coalesce(a.e1, 0), 1))
             else
               case when a.high < 1 then 'fell' when a.low > 1 then 'rose' else 'no clear change' end
               || format(': %s per sensor and day before, %s after; the notice''s day is left out', round(a.y0 / a.e0, 3), round(a.y1 / a.e1, 3))
               || case when a.place = 3 or a.high >= 1 or a.others_low is null then ''
                       when a.high < a.others_low then '; more than that of other sources on these ports'
                       else '; that of other sources on these ports fell as well' end
        end as note
      from answer a
      union all
      select 1, 'packets', null, 0, 0, null, null, null,
        case when exists (select from hit) then 'no day was observed but the notice''s own: nothing to compare'
             else 'nothing was seen on these ports in this period: nothing that could fall' end
      where not exists (select from answer)
    )
    select 'effect', t.item, v_sent, case_effect_of.ports, null::timestamptz, null::timestamptz, t.hosts, t.packets,
      null::bigint, null::bigint, t.days, t.ratio, t.low, t.high, null::float8, coalesce('notice ' || nullif(case_effect_of.reference, '') || ': ', '') || t.note
    from told t
    order by t.place;
end
$$;
----
comment on function hirundo.case_effect_of(cidr[], timestamptz, timestamptz, integer[], date, date, date, text, text, boolean) is
  'Internal to organisation_case: section effect, of one notice. Example: see hirundo.organisation_case.';
----
-- The ports that matter: most source-days.
drop function if exists hirundo.case_ports(cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_ports(prefixes cidr[], first timestamptz, past timestamptz, with_backscatter boolean default false)
returns integer[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return (
    select coalesce(array_agg(t.port_code order by t.place), '{}')
    from (select u.port_code, row_number() over (order by count(*) desc, u.port_code) as place
          from (select distinct h.day, h.src, h.port_code
                from hirundo.source_hits(case_ports.first, case_ports.past, hirundo.address_ranges(prefixes), with_backscatter) h) u
          group by 1) t
    where t.place <= 10);
end
$$;
----
comment on function hirundo.case_ports(cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: codes of the ten ports with most source-days. Example: see hirundo.organisation_case.';
----
drop function if exists hirundo.case_effects(integer, cidr[], timestamptz, timestamptz, integer[]);
----
drop function if exists hirundo.case_effects(integer, cidr[], timestamptz, timestamptz);
----
create or replace function hirundo.case_effects(organisation_id integer, prefixes cidr[], first timestamptz, past timestamptz,
                                                with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
  v_all int[];
  n record;
begin
  for n in
    select c.sent, c.ports is null as all_ports, hirundo.port_codes(c.ports) as codes, array_to_string(c.ports, ', ') as ports, c.reference,
      -- of other days: what was sent on one day is judged side by side
      max(c.sent) over (order by c.sent range between unbounded preceding and interval '1 day' preceding) as since,
      min(c.sent) over (order by c.sent range between interval '1 day' following and unbounded following) as until
    from hirundo.notice c
    where c.organisation_id = case_effects.organisation_id
      and (c.sent + 1)::timestamp at time zone v_zone > case_effects.first and c.sent::timestamp at time zone v_zone < case_effects.past
    order by c.sent, c.notice_id
  loop
    if n.all_ports and v_all is null then
      -- all that its hosts sent to, not the busiest alone: who turns to another port has not ended
      v_all := array(select distinct h.port_code from hirundo.source_hits(case_effects.first, case_effects.past, hirundo.address_ranges(prefixes), with_backscatter) h);
    end if;
    return query
      select * from hirundo.case_effect_of(prefixes, case_effects.first, case_effects.past, case when n.all_ports then v_all else n.codes end, n.sent, n.since, n.until, n.ports, n.reference, with_backscatter);
  end loop;
end
$$;
----
comment on function hirundo.case_effects(integer, cidr[], timestamptz, timestamptz, boolean) is
  'Internal to organisation_case: section effect, of all notices of a period; those that name no ports are about all ports. Example: see hirundo.organisation_case.';
----
-- arguments are only appended, which takes a new function
drop function if exists hirundo.organisation_case(text, tstzrange);
----
drop function if exists hirundo.organisation_case(text, tstzrange, boolean);
----
create function hirundo.organisation_case(organisation text, period tstzrange, with_backscatter boolean default false)
returns setof hirundo.organisation_case_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_variable
declare
  v_first timestamptz;
  v_past timestamptz;
  v_id int;
  v_prefixes cidr[];
  v_codes int[];
  v_row hirundo.organisation_case_row;
begin
  with_backscatter := coalesce(with_backscatter, false);
  select o.organisation_id, coalesce(array_agg(p.prefix order by p.prefix) filter (where p.prefix is not null), '{}') into v_id, v_prefixes
  from hirundo.organisation o left join hirundo.organisation_prefix p on p.organisation_id = o.organisation_id
  where o.name = organisation group by o.organisation_id;
  if v_id is null then
    v_row.section := 'summary';
    v_row.item := organisation;
    v_row.note := 'there is no organisation of this name: select name from hirundo.organisation lists them';
    return next v_row;
    return;
  end if;
  -- nothing lies between one moment and itself
  select coalesce(b.first, 'infinity'), coalesce(b.past, 'infinity') into v_first, v_past from hirundo.period_bounds(period) b;
  v_codes := hirundo.case_ports(v_prefixes, v_first, v_past, with_backscatter);
  return query select * from hirundo.case_summary(organisation, v_prefixes, v_first, v_past, with_backscatter);
  return query select * from hirundo.case_daily(v_prefixes, v_first, v_past, v_codes, with_backscatter);
  return query select * from hirundo.case_shifts(v_prefixes, v_first, v_past, v_codes, with_backscatter);
  return query select * from hirundo.case_origin(v_prefixes, v_first, v_past);
  return query select * from hirundo.case_tools(v_prefixes, v_first, v_past, with_backscatter);
  return query select * from hirundo.case_calendar(v_prefixes, v_first, v_past, with_backscatter);
  return query select * from hirundo.case_evidence(v_prefixes, v_first, v_past, with_backscatter, organisation);
  return query select * from hirundo.case_effects(v_id, v_prefixes, v_first, v_past, with_backscatter);
  if not found then
    v_row.section := 'effect';
    v_row.note := 'no notice in this period';
    return next v_row;
  end if;
end
$$;
----
comment on function hirundo.organisation_case(text, tstzrange, boolean) is
  'Everything about one organisation under watch, for a notice and after it, in rows by section: summary (first and last seen, hosts, packets, sensors, regions), daily (hosts by day and port, port null: all ports; hosts null: nobody observed, or data gone), shift (hosts that turned from one port to another), origin (verdict of ttl_origin, then its regions: value hops farther, low and high TTLs), tool (by the rules of hirundo.fingerprint; value: share of packets), calendar (weekdays, then the kinds of days of activity_calendar; value: packets per sensor and day), evidence (by host and port, with times, low and high TTLs; never a sensor''s address), effect (after each notice, port: what it was about: value ratio of packets, hosts and others'' packets per sensor and day, low and high its 95% interval; packets and distinct hosts after it). Without local traffic and flood rows, and without backscatter unless with_backscatter (what a victim among its hosts answered; origin never counts that). Hosts in a smaller prefix of another organisation count for both, where hirundo.lookup names the smaller alone: the notes of summary and evidence say which. Notes of summary and daily say what came as floods to these ports (hirundo.flood_text). Example: select day, port, hosts, sensor_days from hirundo.organisation_case(''Example Hosting'', hirundo.quarter(''2023Q1'')) where section = ''daily''.';
