-- Which tool sent it? Rules of hirundo.fingerprint over raw columns of flow, the daily rollup by tool, and doing it again.
--
-- A predicate becomes part of a statement. What it may say is checked by the table itself (0014_tools.sql), and only
-- hirundo_owner writes there.
create or replace function hirundo.fingerprint_rules(day date)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return (
    select md5(coalesce(string_agg(concat_ws('|', r.rank, r.name, r.min_packets, r.predicate), E'\n' order by r.rank), ''))
    from hirundo.fingerprint r
    where coalesce(r.valid_from <= fingerprint_rules.day, true) and coalesce(r.valid_until > fingerprint_rules.day, true));
end
$$;
----
comment on function hirundo.fingerprint_rules(date) is
  'A digest of the rules that are valid on a day: where hirundo.tool_built has another one, rules have changed since. Example: select hirundo.fingerprint_rules(''2023-02-08'').';
----
create or replace function hirundo.fingerprint_case(day date)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce((
    select 'case ' || string_agg(format('when (%s) then %s', r.predicate, r.rank), ' ' order by r.rank) || ' end'
    from hirundo.fingerprint r
    where coalesce(r.valid_from <= fingerprint_case.day, true) and coalesce(r.valid_until > fingerprint_case.day, true)), 'null::integer');
end
$$;
----
comment on function hirundo.fingerprint_case(date) is
  'The rules that are valid on a day as one SQL expression, which gives the rank of the first that fits, or null. Example: select hirundo.fingerprint_case(''2023-02-08'').';
----
create or replace function hirundo.fingerprint_least()
returns table (rank integer, name text, min_packets integer, by_row boolean)
language plpgsql stable rows 10
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  return query
    select r.rank, r.name, r.min_packets, r.predicate ~ '\m(src_port|tcp_window|ip_id|ip_len|options|mss|window_scale)\M' from hirundo.fingerprint r;
end
$$;
----
comment on function hirundo.fingerprint_least() is
  'Internal to tool_cells and organisation_case: how much must fit each rule before its name counts: rank, name, min_packets, by_row (the rule reads columns that are of a row''s first packet alone, so that a row counts as one packet). Example: select * from hirundo.fingerprint_least() order by rank.';
----
-- [first, past) lies within the day: what is asked is named by what is in it.
create or replace function hirundo.tool_cells(day date, first timestamptz, past timestamptz)
returns table (port_code integer, tool text, country text, packets bigint, sources integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_sort = off
set enable_nestloop = off
set enable_mergejoin = off
as $$
begin
  return query execute format($q$
    with hit as materialized (
      select f.src, f.code, f.rule, sum(f.packets)::bigint as p, count(*) as rows
      from (
        select x.src, x.code, x.packets, %s as rule
        from (
          select f.src, f.port_code as code, f.packets, f.proto, f.port, f.src_port, f.ttl, f.tcp_flags, f.marks, f.tcp_window,
            f.ip_id, f.ip_len, o.layout as options, o.mss, o.window_scale
          from hirundo.flow_classed f
          left join hirundo.tcp_options o on o.options_id = f.options_id
          where f.ts >= $1 and f.ts < $2 and f.class <> 'backscatter' and f.class <> 'local') x) f
      group by 1, 2, 3
    ), sure as materialized (
      select e.src, e.rule, r.name
      from (select h.src, h.rule, sum(h.p) as p, sum(h.rows) as rows from hit h where h.rule is not null group by 1, 2) e
      join hirundo.fingerprint_least() r on r.rank = e.rule
      where case when r.by_row then e.rows else e.p end >= r.min_packets
    ), named as materialized (
      select h.src, h.code, coalesce(s.name, 'unknown') as tool, sum(h.p)::bigint as p
      from hit h left join sure s on s.src = h.src and s.rule = h.rule
      group by 1, 2, 3
    ), known as materialized (
      select e.src, coalesce(n.country::text, '') as country
      from (select distinct h.src from hit h) e
      left join lateral (
        select w.hi, w.country from hirundo.network w
        where w.set_id = $3 and w.lo <= e.src order by w.lo desc limit 1) n on n.hi >= e.src
    )
    select n.code, n.tool, k.country, sum(n.p)::bigint, count(*)::integer
    from named n join known k on k.src = n.src
    group by 1, 2, 3
    union all
    select null, n.tool, k.country, sum(n.p)::bigint, count(*)::integer
    from (select n.src, n.tool, sum(n.p) as p from named n group by 1, 2) n join known k on k.src = n.src
    group by 2, 3$q$, hirundo.fingerprint_case(day))
  using first, past, hirundo.prefix_set_for(day);
end
$$;
----
comment on function hirundo.tool_cells(date, timestamptz, timestamptz) is
  'Packets and distinct sources of [first, past), which lies within this day, by port, tool and country of the source, all sensors together; rows without a port count all ports. Without backscatter, local traffic and flood rows. Example: select * from hirundo.tool_cells(''2023-02-08'', ''2023-02-08 00:00+09'', ''2023-02-09 00:00+09'') where port_code is null.';
----
create or replace function hirundo.rollup_build_tools(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_day date := day;
begin
  -- distinct sources do not add: the whole day, whichever sensors are new
  delete from hirundo.tool_day t where t.day = v_day;
  insert into hirundo.tool_day (packets, day, port_code, sources, tool, country)
  select c.packets, v_day, c.port_code, c.sources, c.tool, c.country
  from hirundo.tool_cells(v_day, first, past) c
  order by c.port_code, c.tool, c.country;
  insert into hirundo.tool_built as b (day, rules) values (v_day, hirundo.fingerprint_rules(v_day))
  on conflict on constraint tool_built_pkey do update set rules = excluded.rules;
end
$$;
----
comment on function hirundo.rollup_build_tools(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds hirundo.tool_day for a day, by the rules that hirundo.fingerprint has now. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.retag(period tstzrange default null)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  r record;
  v_first timestamptz;
  v_past timestamptz;
  v_done int := 0;
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  -- waits for the rollup job, which then waits for this; and keeps retention from dropping what is read
  perform pg_advisory_xact_lock(5207662349051);
  lock table only hirundo.flow in access share mode;
  for r in
    select d.day, d.first, d.past from hirundo.rollup_day d
    left join hirundo.tool_built b on b.day = d.day
    where d.past > v_first and d.first < v_past and d.zone = hirundo.time_zone()
      and b.rules is distinct from hirundo.fingerprint_rules(d.day)
      and d.day >= hirundo.rollup_gone_before('tool_day')
      and not hirundo.flow_is_gone(d.first, d.past)
    order by d.day
  loop
    perform hirundo.rollup_build_tools(r.day, r.first, r.past, null);
    v_done := v_done + 1;
  end loop;
  return v_done;
end
$$;
----
comment on function hirundo.retag(tstzrange) is
  'Names the tools of a period (NULL: all time) anew, after rules of hirundo.fingerprint have changed: rebuilds hirundo.tool_day for the days that were built with others and whose flow is kept, and says how many. Figures are right meanwhile, from flow. For hirundo_owner; the rollup job waits, so take a long history month by month. Example: see hirundo.tool_built for what the days were built with.';
----
create or replace function hirundo.tool_cover(first timestamptz, past timestamptz, out days date[], out rest tstzmultirange)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_stale tstzmultirange;
begin
  select c.days, c.rest into days, rest from hirundo.rollup_cover(first, past, 'tool_day') c;
  select coalesce(array_agg(x.day order by x.day) filter (where x.good), '{}'), coalesce(range_agg(tstzrange(x.first, x.past)) filter (where not x.good), '{}')
  into days, v_stale
  from (select d.day, d.first, d.past,
          b.day is not null and (b.rules = hirundo.fingerprint_rules(d.day) or hirundo.flow_is_gone(d.first, d.past)) as good
        from hirundo.rollup_day d
        left join hirundo.tool_built b on b.day = d.day
        where d.day = any (days)) x;
  rest := rest + v_stale;
end
$$;
----
comment on function hirundo.tool_cover(timestamptz, timestamptz) is
  'As hirundo.rollup_cover, for hirundo.tool_day: days that it has, built with the rules of today or, where their flow is gone, with those of their time; the rest is to be read from flow. Example: select * from hirundo.tool_cover(''2023-02-03'', ''2023-02-05'').';
----
create or replace function hirundo.flow_days(ranges tstzmultirange)
returns table (day date, first timestamptz, past timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
begin
  return query
    select e.day, x.first, x.past
    from (select distinct ((p.day::timestamp at time zone 'UTC' + g * interval '6 hours') at time zone v_zone)::date as day
          from hirundo.partition_days() p cross join generate_series(0, 4) g) e
    cross join lateral (select tstzmultirange(hirundo.local_range(e.day, e.day + 1)) * ranges as r) m
    cross join lateral (select lower(u) as first, upper(u) as past from unnest(m.r) u) x
    order by 1, 2;
end
$$;
----
comment on function hirundo.flow_days(tstzmultirange) is
  'The parts of these ranges by day of the reporting time zone, of days of which flow has partitions. Example: select * from hirundo.flow_days(''{[2023-02-08 00:00+09,2023-02-10 00:00+09)}'').';
