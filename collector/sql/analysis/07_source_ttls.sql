-- Which TTLs did which sources have at which sensors? What ttl_spread and ttl_origin begin with, from the smallest rollup
-- that can tell: months of busy ports, months over all ports, days, and flow for the rest.
create or replace function hirundo.busy_codes(months date[], codes integer[], out busy integer[], out rare integer[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
as $$
declare
  v_months date[] := months;
begin
  busy := '{}';
  rare := '{}';
  if codes is null or cardinality(v_months) = 0 then
    return;
  end if;
  -- in all of the months, or looked up by days
  select coalesce(array_agg(k.code) filter (where b.months = cardinality(v_months)), '{}'),
    coalesce(array_agg(k.code) filter (where b.months is distinct from cardinality(v_months)), '{}')
  into busy, rare
  from unnest(codes) k(code)
  left join (select e.port_code, count(*) as months
             from (select n.month, n.port_code, sum(n.packets) as n from hirundo.network_port_month n
                   where n.month = any (v_months) and n.port_code = any (codes) group by 1, 2) e
             join hirundo.rollup_month m on m.month = e.month and e.n >= m.busy_packets
             group by 1) b on b.port_code = k.code;
end
$$;
----
comment on function hirundo.busy_codes(date[], integer[]) is
  'Which of these port codes hirundo.source_port_month has in each of the months (busy), and which are to be looked up in source_port_day (rare); none where there are no months. Example: select * from hirundo.busy_codes(''{2023-02-01}'', hirundo.port_codes(''{22/TCP}'')).';
----
create or replace function hirundo.source_ttls(first timestamptz, past timestamptz, ranges hirundo.inetmultirange, codes integer[],
                                               evidence boolean)
returns table (src inet, sensor_id smallint, ttl smallint, packets bigint)
language plpgsql stable rows 100000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz := first;
  v_past timestamptz := past;
  v_months date[];
  v_month_days date[];
  v_days date[];
  v_rest tstzmultirange;
  v_ranges hirundo.inetmultirange := ranges;
  v_lo inet := lower(ranges);
  v_hi inet := upper(ranges);
  v_probes hirundo.inetmultirange := hirundo.address_probes(ranges);
  v_codes int[] := codes;
  v_busy int[];
  v_rare int[];
  v_evidence boolean := evidence;
begin
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(v_first, v_past, 'source_port_day', null,
                            case when v_codes is not null or v_evidence then 'source_port_month,source_ttl_month,network_port_month' end) c;
  v_month_days := hirundo.month_days(v_months);
  select k.busy, k.rare into v_busy, v_rare from hirundo.busy_codes(v_months, v_codes) k;
  -- OFFSET 0: look up by source, whatever a port promises
  return query
    select x.src, x.sensor_id, x.ttl, x.packets
    from unnest(v_probes) p
    cross join lateral (
      select * from hirundo.source_port_month x
      where cardinality(v_busy) > 0 and x.month = any (v_months) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
        and x.port_code = any (v_busy)
        and (not v_evidence or (x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment and x.class <> 'backscatter' and x.class <> 'local'))
      offset 0) x
    union all
    select x.src, x.sensor_id, x.ttl, x.packets
    from unnest(v_probes) p
    cross join lateral (
      select * from hirundo.source_ttl_month x
      where v_codes is null and x.month = any (v_months) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
      offset 0) x
    union all
    select x.src, x.sensor_id, x.ttl, x.packets
    from unnest(v_probes) p
    cross join lateral (
      select * from hirundo.source_port_day x
      where x.day = any (v_days) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
        and (v_codes is null or x.port_code = any (v_codes))
        and (not v_evidence or (x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment and x.class <> 'backscatter' and x.class <> 'local'))
      offset 0) x;
  return query
    select x.src, x.sensor_id, x.ttl, x.packets
    from hirundo.source_port_day x
    where cardinality(v_rare) > 0 and x.day = any (v_month_days) and x.port_code = any (v_rare)
      and (v_ranges is null or (x.src >= v_lo and x.src <= v_hi and x.src <@ v_ranges))
      and (not v_evidence or (x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment and x.class <> 'backscatter' and x.class <> 'local'));
  if v_ranges is null then
    return query
      select x.src, x.sensor_id, x.ttl, x.packets
      from hirundo.source_port_month x
      where cardinality(v_busy) > 0 and x.month = any (v_months) and x.port_code = any (v_busy)
        and (not v_evidence or (x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment and x.class <> 'backscatter' and x.class <> 'local'))
      union all
      select x.src, x.sensor_id, x.ttl, x.packets
      from hirundo.source_ttl_month x
      where v_codes is null and x.month = any (v_months)
      union all
      select x.src, x.sensor_id, x.ttl, x.packets
      from hirundo.source_port_day x
      where x.day = any (v_days) and (v_codes is null or x.port_code = any (v_codes))
        and (not v_evidence or (x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment and x.class <> 'backscatter' and x.class <> 'local'));
  end if;
  if not isempty(v_rest) then
    return query
      select f.src, f.sensor_id, f.ttl, sum(f.packets)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and (v_ranges is null or (f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges))
          and (v_codes is null or f.port_code = any (v_codes))
          and (not v_evidence or (f.proto <> 1 and f.proto <> 58 and f.marks & 4 = 0 and f.class <> 'backscatter' and f.class <> 'local'))) f
      group by 1, 2, 3;
  end if;
end
$$;
----
comment on function hirundo.source_ttls(timestamptz, timestamptz, hirundo.inetmultirange, integer[], boolean) is
  'Packets of [first, past) by source, sensor and TTL, in several rows a key; NULL ranges or codes: all. evidence: without ICMP, fragments, backscatter and local traffic. Example: select * from hirundo.source_ttls(''2023-02-08'', ''2023-02-09'', hirundo.address_ranges(''{198.18.0.0/20}''), hirundo.port_codes(''{22/TCP}''), false).';
