-- What came as flood rows: packets whose sources nobody kept. Figures have them in their own rows, so that a reader sees what a count of
-- sources lacks: how many packets, and between which bounds their sources may lie.
--
-- Estimates do not add up: of several the largest is the lower bound, and their sum the upper one.
create or replace function hirundo.floods(first timestamptz, past timestamptz, codes integer[] default null, by_sensor boolean default false)
returns table (day date, sensor_id smallint, port_code integer, class text, packets bigint, sources_min bigint, sources_max bigint)
language plpgsql stable rows 100
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
  v_zone text := hirundo.time_zone();
begin
  select c.days, c.rest into v_days, v_rest
  from hirundo.rollup_cover(floods.first, floods.past, case when by_sensor then 'port_day' else 'network_port_day' end) c;
  if by_sensor then
    return query
      select x.day, x.sensor_id, x.port_code, x.class, x.flood_packets, x.flood_sources_min, x.flood_sources_max
      from hirundo.port_day x
      where x.day = any (v_days) and x.flood_packets > 0 and (v_codes is null or x.port_code = any (v_codes));
  else
    return query
      select x.day, null::smallint, x.port_code, x.class, x.flood_packets, x.flood_sources_min, x.flood_sources_max
      from hirundo.network_port_day x
      where x.day = any (v_days) and x.flood_packets > 0 and (v_codes is null or x.port_code = any (v_codes));
  end if;
  if not isempty(v_rest) then
    return query
      select (f.ts at time zone v_zone)::date, case when by_sensor then f.sensor_id end, f.port_code, f.class, sum(f.packets)::bigint,
        max(f.sources_estimate), sum(f.sources_estimate)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flood_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and (v_codes is null or f.port_code = any (v_codes))) f
      group by 1, 2, 3, 4;
  end if;
end
$$;
----
comment on function hirundo.floods(timestamptz, timestamptz, integer[], boolean) is
  'What came as flood rows in [first, past), by day of the reporting time zone, port and class, and by sensor if asked (else sensor_id is null), where anything did: packets (exact), sources_min and sources_max (of how many sources, between the largest estimate and the sum of them; null: none was estimated). Of several rows the greatest sources_min and the sum of sources_max hold. NULL codes: all ports. Days of which retention has taken both the rollup (port_day by sensor, else network_port_day) and the flood rows have none. Columns flood_packets, flood_sources_min and flood_sources_max have it. Example: select hirundo.port_label(port_code), sum(packets), max(sources_min), sum(sources_max) from hirundo.floods(''2023-02-08'', ''2023-02-09'') group by 1.';
----
create or replace function hirundo.flood_text(packets bigint, sources_min bigint, sources_max bigint)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when packets > 0 then packets || ' packets of floods not counted'
    || case when sources_max is null then ', of unknown sources' when sources_min = sources_max then format(', of about %s sources', sources_max)
            else format(', of about %s to %s sources', sources_min, sources_max) end end;
end
$$;
----
comment on function hirundo.flood_text(bigint, bigint, bigint) is
  'What hirundo.floods found as one line; null where that is nothing. Example: select hirundo.flood_text(1000, 100, 300) gives 1000 packets of floods not counted, of about 100 to 300 sources.';
