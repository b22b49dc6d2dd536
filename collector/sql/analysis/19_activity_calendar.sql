-- Does somebody's activity keep to weekends, public holidays, the end of the month?
--
-- A day is the first that fits: holiday (hirundo.holiday of the country), weekend (Saturday, Sunday), month_end (the last three
-- days of a month), weekday. off: holiday, weekend and month_end together. Hosts are distinct sources of a day; without
-- backscatter, local traffic and flood rows.
--
-- The test, for each kind: within each week (from Monday) days are ranked by their hosts, and the statistic is the sum of ranks
-- on days of the kind. Were the kind of no matter, the week's activity could as well have begun on another of its days: each
-- rotation of the week is as likely. The chance of a sum at least as large follows exactly, by convolving the weeks. Ranks, so
-- that one burst cannot decide; rotations, so that days which follow one another stay together; weeks, so that a rise or fall over
-- the quarter does not matter.
create or replace function hirundo.rotation_test(weeks date[], hosts bigint[], marked boolean[], out p_value double precision, out informative integer)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count int := coalesce(cardinality(weeks), 0);
  i int := 1;
  k int;
  v_rank int[];
  v_sum int[];
  v_least int;
  v_most int;
  v_seen int := 0;
  v_dist double precision[] := '{1}';
  v_next double precision[];
begin
  informative := 0;
  while i <= v_count loop
    k := 1;
    while i + k <= v_count and weeks[i + k] = weeks[i] loop
      k := k + 1;
    end loop;
    v_rank := '{}';
    v_sum := '{}';
    for a in 0..k - 1 loop
      -- twice the mean rank of its equals
      v_rank[a] := 1;
      for b in 0..k - 1 loop
        v_rank[a] := v_rank[a] + case when hosts[i + b] < hosts[i + a] then 2 when hosts[i + b] = hosts[i + a] then 1 else 0 end;
      end loop;
    end loop;
    for r in 0..k - 1 loop
      v_sum[r] := 0;
      for a in 0..k - 1 loop
        if marked[i + a] then
          v_sum[r] := v_sum[r] + v_rank[(a + r) % k];
        end if;
      end loop;
    end loop;
    select min(s), max(s) into v_least, v_most from unnest(v_sum) s;
    if v_least < v_most then
      informative := informative + 1;
      v_seen := v_seen + v_sum[0] - v_least;
      v_next := array_fill(0::double precision, array[cardinality(v_dist) + v_most - v_least]);
      for r in 0..k - 1 loop
        for x in 1..cardinality(v_dist) loop
          v_next[x + v_sum[r] - v_least] := v_next[x + v_sum[r] - v_least] + v_dist[x] / k;
        end loop;
      end loop;
      v_dist := v_next;
    end if;
    i := i + k;
  end loop;
  if informative > 0 then
    p_value := 0;
    for x in reverse cardinality(v_dist)..v_seen + 1 loop
      p_value := p_value + v_dist[x];
    end loop;
  end if;
end
$$;
----
comment on function hirundo.rotation_test(date[], bigint[], boolean[]) is
  'Whether hosts are many on marked days: of days in order, the week each belongs to, its hosts, whether it is marked. p_value: the chance of a sum of ranks on marked days at least as large, if each rotation of each week were as likely (exact, one-sided); null where informative, the number of weeks that can tell, is 0. Example: select * from hirundo.rotation_test(array_fill(date ''2023-02-06'', array[7]), ''{1,1,1,1,1,9,8}'', ''{f,f,f,f,f,t,t}'').';
----
create or replace function hirundo.day_kind(day date, country text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return case
    when exists (select from hirundo.holiday h where h.country = upper(day_kind.country collate "C")::char(2) and h.day = day_kind.day) then 'holiday'
    when extract(isodow from day) >= 6 then 'weekend'
    when extract(day from day + 3) <= 3 then 'month_end'
    else 'weekday' end;
end
$$;
----
comment on function hirundo.day_kind(date, text) is
  'What a day is in a country, the first that fits: holiday (hirundo.holiday), weekend (Saturday, Sunday), month_end (the last three days of a month), weekday. Example: select hirundo.day_kind(''2023-02-23'', ''JP'').';
----
drop function if exists hirundo.activity_days(timestamptz, timestamptz, cidr[], text[]);
----
create or replace function hirundo.activity_days(first timestamptz, past timestamptz, sources cidr[], ports text[], with_backscatter boolean default false)
returns table (day date, hosts bigint, packets bigint)
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
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_lo inet := lower(v_ranges);
  v_hi inet := upper(v_ranges);
  v_probes hirundo.inetmultirange := hirundo.address_probes(v_ranges);
  v_codes int[] := hirundo.port_codes(ports);
  v_zone text := hirundo.time_zone();
  v_back boolean := coalesce(with_backscatter, false);
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'source_port_day,source_day') c;
  return query
    with hit as (
      -- of all sources and ports
      select s.day as d, s.src, sum(s.packets) as n
      from hirundo.source_day s
      where v_ranges is null and v_codes is null and s.day = any (v_days) and (v_back or s.class <> 'backscatter') and s.class <> 'local'
      group by 1, 2
      union all
      select x.day, x.src, sum(x.packets)
      from hirundo.source_port_day x
      where v_ranges is null and x.day = any (v_days) and x.port_code = any (v_codes) and (v_back or x.class <> 'backscatter') and x.class <> 'local'
      group by 1, 2
      union all
      select x.day, x.src, sum(x.packets)
      from unnest(v_probes) p
      cross join lateral (
        select * from hirundo.source_port_day x
        where x.day = any (v_days) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
          and (v_codes is null or x.port_code = any (v_codes))
          and (v_back or x.class <> 'backscatter') and x.class <> 'local'
        offset 0) x
      group by 1, 2
      union all
      select (f.ts at time zone v_zone)::date, f.src, sum(f.packets)
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and (v_ranges is null or (f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges))
          and (v_codes is null or f.port_code = any (v_codes))
          and (v_back or f.class <> 'backscatter') and f.class <> 'local') f
      group by 1, 2
    )
    select h.d, count(*), sum(h.n)::bigint from hit h group by h.d;
end
$$;
----
comment on function hirundo.activity_days(timestamptz, timestamptz, cidr[], text[], boolean) is
  'Distinct sources and packets of [first, past) by day, over all ports asked for together; days with none have no row. Without local traffic and flood rows, and without backscatter unless with_backscatter. Example: select * from hirundo.activity_days(''2023-02-08'', ''2023-02-10'', ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
----
-- columns and arguments are only appended, which takes a new function
drop function if exists hirundo.activity_calendar(tstzrange, cidr[], text[], text);
----
drop function if exists hirundo.activity_calendar(tstzrange, cidr[], text[], text, boolean);
----
create function hirundo.activity_calendar(period tstzrange, sources cidr[] default null, ports text[] default null, country text default null,
                                          with_backscatter boolean default false)
returns table (kind text, days bigint, compared_days bigint, sensor_days numeric, hosts_per_day numeric, packets bigint, average numeric, ratio numeric,
               p_value double precision, weeks integer, reason text, missing text, flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint)
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
  v_country text := upper(btrim(coalesce(country, hirundo.home_country())) collate "C");
  v_unknown text;
  v_rest tstzmultirange;
begin
  if v_country !~ '^[A-Z]{2}$' then
    raise exception '% is not a country', quote_literal(country)
      using errcode = 'invalid_parameter_value', hint = 'Write the two letters of ISO 3166-1, such as JP; NULL for setting home_country.';
  end if;
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.rest into v_rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day,source_day') c;
  -- a year without any holiday was not imported
  select case when v_country is null then 'no holidays: setting home_country is empty, and no country was given'
              when y.years is not null then 'holidays of ' || v_country || ' in ' || y.years || ' are not known: hirundo-collector import holidays' end
  into v_unknown
  from (select string_agg(e.year::text, ', ' order by e.year) as years
        from (select distinct extract(year from l.day)::int as year from hirundo.local_days(v_first, v_past) l) e
        where not exists (select from hirundo.holiday h
                          where h.country = v_country::char(2) and h.day >= make_date(e.year, 1, 1) and h.day < make_date(e.year + 1, 1, 1))) y;
  return query
    with observed as materialized (
      select o.day as d, sum(o.covered_ms) as ms from hirundo.kept_time(v_first, v_past, v_rest) o group by 1
    ), seen as materialized (
      select a.day as d, a.hosts, a.packets from hirundo.activity_days(v_first, v_past, sources, ports, with_backscatter) a
    ), usual as (
      select percentile_disc(0.5) within group (order by o.ms) as ms from observed o
    ), day as materialized (
      select e.d, hirundo.day_kind(e.d, v_country) as kind, o.ms, s.packets, coalesce(s.hosts, 0) as hosts,
        -- a day of which much less was observed than of others is no day with few hosts
        coalesce(o.ms * 2 >= u.ms, false) as compared
      from (select l.day as d from hirundo.local_days(v_first, v_past) l union select s.d from seen s) e
      left join observed o on o.d = e.d
      left join seen s on s.d = e.d
      cross join usual u
    ), kinds as (
      select * from (values (1, 'weekday', '{weekday}'::text[]), (2, 'weekend', '{weekend}'), (3, 'holiday', '{holiday}'), (4, 'month_end', '{month_end}'),
        (5, 'off', '{weekend,holiday,month_end}'), (6, 'all', '{weekday,weekend,holiday,month_end}')) v(no, kind, kinds)
      where exists (select from day)
    ), figure as materialized (
      select k.no, k.kind, count(d.d) as days, count(*) filter (where d.compared) as compared, coalesce(sum(d.ms), 0) as ms,
        avg(d.hosts) filter (where d.compared) as hosts, sum(d.packets)::bigint as packets
      from kinds k left join day d on d.kind = any (k.kinds)
      group by k.no, k.kind
    ), trouble as materialized (
      select t.* from hirundo.trouble(v_first, v_past) t
    ), gone as materialized (
      select g.day from hirundo.flow_gone_days(v_rest) g
    ), lacking as (
      select k.no, hirundo.missing_text(
        (select hirundo.trouble_text(sum(t.dropped), sum(t.lost), sum(t.quarantined), sum(t.unknown_s), max(t.clock_off_ms))
         from trouble t join day d on d.d = t.day where d.kind = any (k.kinds)),
        (select count(*) from gone g join day d on d.d = g.day where d.kind = any (k.kinds))) as what
      from kinds k
    ), flood as (
      select k.no, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past, hirundo.port_codes(ports)) f
      join day d on d.d = f.day
      join kinds k on d.kind = any (k.kinds)
      where coalesce(with_backscatter, false) or f.class <> 'backscatter'
      group by 1
    ), tested as (
      select k.no, t.p_value, t.informative
      from kinds k
      cross join lateral (
        select array_agg(date_trunc('week', d.d::timestamp)::date order by d.d) as weeks, array_agg(d.hosts order by d.d) as hosts,
          array_agg(d.kind = any (k.kinds) order by d.d) as marked
        from day d where d.compared) a
      cross join lateral hirundo.rotation_test(a.weeks, a.hosts, a.marked) t
      where k.kind in ('weekend', 'holiday', 'month_end', 'off')
    )
    select f.kind, f.days, f.compared, round(f.ms / 86400000.0, 6), round(f.hosts, 4), coalesce(f.packets, case when f.ms > 0 then 0 end),
      round(coalesce(f.packets, 0) * 86400000.0 / nullif(f.ms, 0), 6), round(f.hosts / nullif(w.hosts, 0), 4), t.p_value, t.informative,
      case when f.kind in ('holiday', 'off') and v_unknown is not null then v_unknown
           when f.ms = 0 and f.days > 0 then case when exists (select from gone) then 'nobody observed, or the data are gone' else 'nobody observed' end
           when f.days = 0 then 'no such day in the period'
           when t.informative = 0 then 'no week of the period can tell' end, m.what,
      coalesce(x.n, case when f.ms > 0 then 0 end), x.low, x.high
    from figure f
    left join figure w on w.kind = 'weekday'
    left join tested t on t.no = f.no
    left join lacking m on m.no = f.no
    left join flood x on x.no = f.no
    order by f.no;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, null);
  end if;
end
$$;
----
comment on function hirundo.activity_calendar(tstzrange, cidr[], text[], text, boolean) is
  'Activity of sources by what its days are in a country (NULL: setting home_country): kind (weekday, weekend, holiday, month_end: the last three days, the first that fits of holiday, weekend, month_end; off: those three together; all), days (of the calendar), compared_days (observed for at least half as long as the median day), sensor_days (observed, and of which data are kept), hosts_per_day (distinct sources a compared day), packets, average (packets per observed sensor-day), ratio (hosts_per_day to that of weekdays), p_value (exact one-sided rotation test that hosts are not more on such days; hirundo.rotation_test), weeks (that can tell), reason (what limits the answer), missing (what these days lack: hirundo.trouble; null: nothing), flood_packets (to these ports on these days as flood rows, in no other column), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none). Nobody observed, or data gone: null, never 0. Four tests at once: of one below 0.05 little follows. An empty period has no row, and a NOTICE says so. Without local traffic and flood rows, and without backscatter unless with_backscatter. Example: select kind, hosts_per_day, p_value from hirundo.activity_calendar(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
