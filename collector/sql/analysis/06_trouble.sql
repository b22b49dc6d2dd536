-- What is missing from a figure: packets that were dropped, frames that were lost, time whose counts nobody knows, clocks that were wrong.
-- Rows only where something is.
create or replace function hirundo.trouble(first timestamptz, past timestamptz)
returns table (sensor_id smallint, day date, dropped bigint, lost bigint, quarantined bigint, unknown_s numeric, clock_off_ms bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_off bigint := extract(epoch from hirundo.setting('clock_off_after')::interval) * 1000;
begin
  return query
    with gap as (
      -- unknown intervals, joined where they overlap
      select l.sensor_id, range_agg(tstzrange(greatest(l.first_window, trouble.first), least(l.last_window, trouble.past), '[)')) as gaps
      from hirundo.loss l
      where l.kind = 'unknown' and l.first_window < l.last_window and l.first_window < trouble.past and l.last_window > trouble.first
      group by l.sensor_id
    ), part as (
      select o.sensor_id, (o.slot at time zone v_zone)::date as day, o.kernel_dropped + o.if_dropped as dropped, o.lost, o.quarantined,
        0::numeric as unknown_s, null::bigint as off
      from hirundo.observation o
      where o.slot >= trouble.first and o.slot < trouble.past
        and (o.kernel_dropped > 0 or o.if_dropped > 0 or o.lost > 0 or o.quarantined > 0)
      union all
      select p.sensor_id, d.day, 0, 0, 0,
        extract(epoch from upper(x.r) - lower(x.r))::numeric, null
      from (select g.sensor_id, unnest(g.gaps) as r from gap g) p
      cross join lateral hirundo.local_days(lower(p.r), upper(p.r)) d
      cross join lateral (select hirundo.local_range(d.day, d.day + 1) * p.r as r) x
      union all
      select h.sensor_id, (h.hour at time zone v_zone)::date, 0, 0, 0, 0, greatest(abs(h.clock_offset_min_ms), abs(h.clock_offset_max_ms))
      from hirundo.heartbeat_hour h
      where h.hour >= trouble.first and h.hour < trouble.past and greatest(abs(h.clock_offset_min_ms), abs(h.clock_offset_max_ms)) > v_off
    )
    select p.sensor_id, p.day, sum(p.dropped)::bigint, sum(p.lost)::bigint, sum(p.quarantined)::bigint, round(sum(p.unknown_s), 3), max(p.off)
    from part p
    group by 1, 2;
end
$$;
----
comment on function hirundo.trouble(timestamptz, timestamptz) is
  'What went wrong in [first, past), by sensor and day of the reporting time zone, where anything did: packets dropped by kernel and interface, frames declared lost, frames in quarantine, unknown_s (seconds whose counts died with a process or a spool), clock_off_ms (largest difference of the clocks beyond setting clock_off_after; by the collector''s clock). An outage is no row here: it is time that was not observed. Example: select * from hirundo.trouble(''2023-02-01'', ''2023-03-01'').';
----
create or replace function hirundo.trouble_text(dropped numeric, lost numeric, quarantined numeric, unknown_s numeric, clock_off_ms bigint)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(concat_ws(', ',
    case when dropped > 0 then dropped || ' packets dropped' end,
    case when lost > 0 then lost || ' frames lost' end,
    case when quarantined > 0 then quarantined || ' frames in quarantine' end,
    case when unknown_s > 0 then 'counts of ' || round(unknown_s) || ' s unknown' end,
    case when clock_off_ms > 0 then 'clock off by up to ' || round(clock_off_ms / 1000.0, 1) || ' s' end), '');
end
$$;
----
comment on function hirundo.trouble_text(numeric, numeric, numeric, numeric, bigint) is
  'What hirundo.trouble found as one line; null where that is nothing. Columns called missing have it. Example: select hirundo.trouble_text(120, 0, 0, 30, null) gives 120 packets dropped, counts of 30 s unknown.';
----
create or replace function hirundo.flow_gone_days(rest tstzmultirange)
returns table (day date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select distinct l.day
    from hirundo.flow_dropped g
    cross join lateral unnest(tstzmultirange(tstzrange(g.day::timestamp at time zone 'UTC', (g.day + 1)::timestamp at time zone 'UTC')) * rest) r
    cross join lateral hirundo.local_days(lower(r), upper(r)) l;
end
$$;
----
comment on function hirundo.flow_gone_days(tstzmultirange) is
  'Days of the reporting time zone of which a figure would have to read flow (rest of hirundo.rollup_cover) that retention has dropped: they count as nothing received, and the column missing says so. Example: select * from hirundo.flow_gone_days(''{[2023-02-03 00:00Z,2023-02-05 00:00Z)}'').';
----
create or replace function hirundo.missing_text(trouble text, gone bigint)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return nullif(concat_ws(', ', trouble, case when gone > 0 then 'data of ' || gone || case gone when 1 then ' day' else ' days' end || ' gone by retention' end), '');
end
$$;
----
comment on function hirundo.missing_text(text, bigint) is
  'hirundo.trouble_text together with the number of days whose data are gone; null where nothing is missing. Example: select hirundo.missing_text(''30 frames lost'', 2) gives 30 frames lost, data of 2 days gone by retention.';
