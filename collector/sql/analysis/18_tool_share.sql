-- How much do Mirai-type bots and other tools send, by port or source country and day?
-- Without backscatter, local traffic and flood rows (which have no marks and no source; they stand beside).
--
-- All three parts of a row's sum come from hirundo.tool_day, or for days that it has not from flow by the same rules.
create or replace function hirundo.tool_share(period tstzrange, ports text[] default null, by text default 'port', n integer default 5,
                                              tool text default null)
returns setof hirundo.tool_share_row
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
  v_flood_days date[];
  v_flood_rest tstzmultirange;
  v_codes int[] := hirundo.port_codes(ports);
  v_by text := lower(btrim(coalesce(by, 'port')) collate "C");
  v_n int := greatest(coalesce(n, 5), 0);
  v_tool text := lower(btrim(tool) collate "C");
  v_zone text := hirundo.time_zone();
begin
  if v_by not in ('port', 'country') then
    raise exception '% is nothing to divide by', quote_literal(by)
      using errcode = 'invalid_parameter_value', hint = 'Take port or country.';
  end if;
  if v_tool <> 'unknown' and not exists (select from hirundo.fingerprint r where r.name = v_tool)
     and not exists (select from hirundo.tool_day t where t.tool = v_tool) then
    raise exception '% is not a tool', quote_literal(tool)
      using errcode = 'invalid_parameter_value', hint = 'select distinct name from hirundo.fingerprint lists them; unknown is all else.';
  end if;
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.tool_cover(v_first, v_past) c;
  select c.days, c.rest into v_flood_days, v_flood_rest from hirundo.rollup_cover(v_first, v_past, 'network_port_day') c;
  return query
    with cell as materialized (
      select t.day as d, t.port_code as code, t.tool, t.country, t.packets as p, t.sources as s
      from hirundo.tool_day t
      where t.day = any (v_days) and (v_codes is null or t.port_code = any (v_codes))
      union all
      select e.day, c.port_code, c.tool, c.country, c.packets, c.sources
      from hirundo.flow_days(v_rest) e
      cross join lateral hirundo.tool_cells(e.day, e.first, e.past) c
      where v_codes is null or c.port_code = any (v_codes)
    ), item as materialized (
      -- names are made for those that are shown; hosts of several ports do not add: of all ports they stand on the rows without one
      select c.d, case v_by when 'port' then c.code::text else c.country end as key, c.tool, sum(c.p)::bigint as p,
        case when v_by = 'port' or cardinality(v_codes) = 1 then sum(c.s)::bigint end as hosts
      from cell c where c.code is not null
      group by 1, 2, 3
    ), everything as materialized (
      select c.d, c.tool, sum(c.p)::bigint as p, case when v_codes is null or cardinality(v_codes) = 1 then sum(c.s)::bigint end as hosts
      from cell c
      where case when v_codes is null then c.code is null else c.code is not null end
      group by 1, 2
    ), head as materialized (
      -- with all that tie for the last place
      select i.key, i.p
      from (select i.key, sum(i.p) as p, rank() over (order by sum(i.p) desc) as r
            from item i where v_tool is null or i.tool = v_tool group by i.key) i
      where i.r <= v_n
    ), shown as materialized (
      select e.key, e.label, e.r
      from (select h.key, l.label, row_number() over (order by h.p desc, l.label collate "C")::int as r
            from head h
            cross join lateral (
              select case v_by when 'port' then hirundo.port_label(h.key::int) else coalesce(nullif(h.key, ''), 'unknown') end as label
              offset 0) l) e
      where e.r <= v_n
      union all
      select null, 'total', null
    ), value as materialized (
      select i.d, s.label, i.tool, i.p, coalesce(i.hosts, a.hosts) as hosts, sum(i.p) over (partition by i.d, s.label)::bigint as all_p
      from shown s
      join item i on i.key = s.key
      left join (
        select c.d, c.country, c.tool, sum(c.s)::bigint as hosts
        from cell c where v_by = 'country' and v_codes is null and c.code is null
        group by 1, 2, 3) a on a.d = i.d and a.country = s.key and a.tool = i.tool
      union all
      select e.d, 'total', e.tool, e.p, e.hosts, sum(e.p) over (partition by e.d)::bigint from everything e
    ), flood as materialized (
      select f.d, f.code, sum(f.p)::bigint as p, max(f.low) as low, sum(f.high)::bigint as high
      from (
        select x.day as d, x.port_code as code, x.flood_packets as p, x.flood_sources_min as low, x.flood_sources_max as high
        from hirundo.network_port_day x
        where x.day = any (v_flood_days) and x.flood_packets > 0 and x.class <> 'backscatter' and x.class <> 'local'
          and (v_codes is null or x.port_code = any (v_codes))
        union all
        select (f.ts at time zone v_zone)::date, f.port_code, f.packets, f.sources_estimate, f.sources_estimate
        from unnest(v_flood_rest) r
        cross join lateral (
          select * from hirundo.flood_classed f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_flood_rest) and f.ts < upper(v_flood_rest)
            and f.class <> 'backscatter' and f.class <> 'local' and (v_codes is null or f.port_code = any (v_codes))) f) f
      group by 1, 2
    ), observed as materialized (
      -- what is neither rolled up by tool nor in flow any more is not in it
      select o.day as d, sum(o.covered_ms) as ms from hirundo.kept_time(v_first, v_past, v_rest) o group by 1
    ), flood_gone as materialized (
      -- floods are of another rollup
      select g.day as d from hirundo.flow_gone_days(v_flood_rest) g
    ), days as (
      select l.day as d from hirundo.local_days(v_first, v_past) l
      union
      select e.d from everything e
      union
      select f.d from flood f
    ), tools as (
      select distinct e.tool from everything e where v_tool is null
      union
      select v_tool where v_tool is not null
    )
    select d.d, o.label, o.r, t.tool, coalesce(v.p, zero.n), case when v.p is null then zero.n else v.hosts end,
      coalesce(every.p, zero.n), round(coalesce(v.p, zero.n)::numeric / nullif(every.p, 0), 4),
      case when o.r is null or v_by = 'port' then coalesce(f.p, case when d.d not in (select g.d from flood_gone g) then zero.n end) end,
      round(coalesce(w.ms, 0) / 86400000.0, 6), l.missing, f.low, f.high
    from days d
    cross join shown o
    cross join tools t
    left join value v on v.d = d.d and v.label = o.label and v.tool = t.tool
    left join (select v.d, v.label, max(v.all_p) as p from value v group by 1, 2) every on every.d = d.d and every.label = o.label
    left join (
      select f.d, s.label, sum(f.p)::bigint as p, max(f.low) as low, sum(f.high)::bigint as high
      from flood f join shown s on s.key is null or (v_by = 'port' and s.key = f.code::text)
      group by 1, 2) f on f.d = d.d and f.label = o.label
    left join observed w on w.d = d.d
    left join hirundo.lacking_days(v_first, v_past, v_rest + v_flood_rest) l on l.day = d.d
    cross join lateral (
      -- nothing of it seen: 0 where somebody observed and it is still known, else null
      select case when w.ms > 0 then 0::bigint end as n) zero
    order by d.d, o.r nulls last, t.tool collate "C";
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, case when cardinality(v_codes) = 0 then 'no ports are asked about'
      else 'no packet that is asked about came with a source, so no tool was seen' || hirundo.flood_aside(v_first, v_past, v_codes) end);
  end if;
end
$$;
----
comment on function hirundo.tool_share(tstzrange, text[], text, integer, text) is
  'Packets of each tool (hirundo.fingerprint; unknown: no rule fits), by day and by port or country (of the source, as registered), for the n with most packets of the tool (NULL: of any) in the period and their total: day, item (total: all ports asked for), rank (null: total), tool, packets, hosts (distinct; null where they cannot be told: several ports by country), all_packets (of the item and day), share, flood_packets (not in the others: no tool is known of them), sensor_days (observed, and of which data are kept), missing (what the day lacks: hirundo.trouble; null: nothing), flood_sources_min and flood_sources_max (of how many sources the flood rows were: the largest estimate and the sum of them; null: none). packets 0: observed, none seen; null: nobody observed, or gone. Without tool, and where none was seen: no row, and a NOTICE says why (hirundo.why_no_rows). Without backscatter, local traffic and flood rows. Example: select day, item, packets, share from hirundo.tool_share(hirundo.month(''2023-02''), null, ''port'', 5, ''mirai'').';
