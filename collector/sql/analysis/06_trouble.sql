-- What is missing from a figure: packets that were dropped, frames that were lost, time whose counts nobody knows, clocks that were wrong.
-- Rows only where something is.
create or replace function hirundo.trouble(first timestamptz, past timestamptz)
returns table (sensor_id smallint, day date, dropped bigint, lost bigint, quarantined bigint, unknown_s numeric, clock_off_ms bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
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
-- A figure knows of a time only what a rollup of its grain or flow still has. What neither has was observed once, and is as unknown now as an
-- outage: never calm. Every function that divides by observed time, or tells 0 from null by it, asks hirundo.kept_time.
create or replace function hirundo.gone_time(rest tstzmultirange)
returns tstzmultirange
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  if rest is null or isempty(rest) then
    return '{}';
  end if;
  return coalesce(
    (select range_agg(tstzrange(g.day::timestamp at time zone 'UTC', (g.day + 1)::timestamp at time zone 'UTC')) from hirundo.flow_dropped g), '{}') * rest;
end
$$;
----
comment on function hirundo.gone_time(tstzmultirange) is
  'The part of what a figure would have to read from flow (rest of hirundo.rollup_cover) that retention has dropped. Example: select hirundo.gone_time(''{[2023-02-03 00:00Z,2023-02-05 00:00Z)}'').';
----
create or replace function hirundo.observed_within(first timestamptz, past timestamptz)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_first timestamptz := date_bin('15 minutes', observed_within.first, timestamptz '2000-01-01 00:00:00+00');
  v_sensor smallint;
begin
  -- by sensor, as observation has its key; one at a time, which Citus finds on one node
  for v_sensor in select s.sensor_id from hirundo.sensor s loop
    if exists (select 1 from hirundo.observation o
               where o.sensor_id = v_sensor and o.slot >= v_first and o.slot < observed_within.past
                 and (o.covered_ms > 0 or o.row_packets > 0 or o.flood_packets > 0)) then
      return true;
    end if;
  end loop;
  return false;
end
$$;
----
comment on function hirundo.observed_within(timestamptz, timestamptz) is
  'Whether any sensor observed or delivered anything in [first, past). Example: select hirundo.observed_within(''2023-02-08'', ''2023-02-09'').';
----
create or replace function hirundo.flow_gone_days(rest tstzmultirange)
returns table (day date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return query
    select distinct l.day
    from unnest(hirundo.gone_time(rest)) r
    cross join lateral hirundo.local_days(lower(r), upper(r)) l
    cross join lateral (select hirundo.local_range(l.day, l.day + 1) * r as part offset 0) p
    -- a partition that nobody filled takes nothing with it
    where hirundo.observed_within(lower(p.part), upper(p.part));
end
$$;
----
comment on function hirundo.flow_gone_days(tstzmultirange) is
  'Days of the reporting time zone of which hirundo.gone_time has a part that somebody observed: they count as not observed for that part, and the column missing says so. What nobody observed was never there to go. Example: select * from hirundo.flow_gone_days(''{[2023-02-03 00:00Z,2023-02-05 00:00Z)}'').';
----
create or replace function hirundo.kept_time(first timestamptz, past timestamptz, rest tstzmultirange)
returns table (sensor_id smallint, day date, covered_ms bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_gone tstzmultirange := hirundo.gone_time(rest);
  v_whole date[];
begin
  if isempty(v_gone) then
    return query select * from hirundo.observed_time(kept_time.first, kept_time.past);
    return;
  end if;
  -- of days that are gone as a whole nothing is looked up
  select coalesce(array_agg(d.day), '{}'), v_gone - coalesce(range_agg(d.span), '{}') into v_whole, v_gone
  from (select l.day, hirundo.local_range(l.day, l.day + 1) as span from hirundo.flow_gone_days(rest) l) d
  where v_gone @> d.span * tstzrange(kept_time.first, kept_time.past);
  return query
    select u.sensor_id, u.day, sum(u.ms)::bigint
    from (select o.sensor_id, o.day, o.covered_ms as ms
          from hirundo.observed_time(kept_time.first, kept_time.past) o where o.day <> all (v_whole)
          union all
          select o.sensor_id, (o.slot at time zone v_zone)::date, -o.covered_ms
          from unnest(v_gone) r
          cross join lateral (
            select * from hirundo.observation o
            where o.slot >= date_bin('15 minutes', lower(r), timestamptz '2000-01-01 00:00:00+00') and o.slot < upper(r)
              and o.slot >= kept_time.first and o.slot < kept_time.past and o.covered_ms > 0) o) u
    group by 1, 2
    having sum(u.ms) > 0;
end
$$;
----
comment on function hirundo.kept_time(timestamptz, timestamptz, tstzmultirange) is
  'hirundo.observed_time without the time of which a figure''s data are gone (hirundo.gone_time of rest, what it would have to read from flow): what its counts are to be divided by. Example: select o.* from hirundo.rollup_cover(''2023-02-03'', ''2023-02-05'', ''port_day'') c cross join lateral hirundo.kept_time(''2023-02-03'', ''2023-02-05'', c.rest) o.';
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
----
create or replace function hirundo.lacking(first timestamptz, past timestamptz, rest tstzmultirange, by text default 'all')
returns table (item text, missing text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    with place as (
      select s.sensor_id, case lacking.by when 'region' then s.country::text when 'sensor' then s.name else 'all' end as item from hirundo.sensor s
    ), item as (
      select p.item from place p union select 'all' where lacking.by = 'all'
    ), trouble as (
      select p.item, hirundo.trouble_text(sum(t.dropped), sum(t.lost), sum(t.quarantined), sum(t.unknown_s), max(t.clock_off_ms)) as what
      from hirundo.trouble(lacking.first, lacking.past) t join place p on p.sensor_id = t.sensor_id
      group by 1
    ), gone as (
      select count(*) as days from hirundo.flow_gone_days(lacking.rest)
    )
    select i.item, hirundo.missing_text(t.what, g.days)
    from item i cross join gone g left join trouble t on t.item = i.item;
end
$$;
----
comment on function hirundo.lacking(timestamptz, timestamptz, tstzmultirange, text) is
  'What a figure of [first, past) lacks, by all (one row), region or sensor: hirundo.trouble, and the days of rest (of hirundo.rollup_cover) whose data are gone; null: nothing. For columns called missing. Example: select * from hirundo.lacking(''2023-02-03'', ''2023-02-05'', ''{}'', ''sensor'') where missing is not null.';
----
create or replace function hirundo.lacking_days(first timestamptz, past timestamptz, rest tstzmultirange)
returns table (day date, missing text, gone boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  return query
    select coalesce(t.day, g.day), hirundo.missing_text(t.what, case when g.day is not null then 1 end), g.day is not null
    from (select x.day, hirundo.trouble_text(sum(x.dropped), sum(x.lost), sum(x.quarantined), sum(x.unknown_s), max(x.clock_off_ms)) as what
          from hirundo.trouble(lacking_days.first, lacking_days.past) x group by 1) t
    full join hirundo.flow_gone_days(lacking_days.rest) g on g.day = t.day;
end
$$;
----
comment on function hirundo.lacking_days(timestamptz, timestamptz, tstzmultirange) is
  'hirundo.lacking by day of the reporting time zone, over all sensors: day, missing, gone (whether data of the day are); rows only for days that lack something. Example: select * from hirundo.lacking_days(''2023-02-03'', ''2023-02-05'', ''{}'').';
----
create or replace function hirundo.kept_days(first timestamptz, past timestamptz, rest tstzmultirange, by text default 'all')
returns table (item text, days numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
begin
  return query
    with kept as (
      select k.sensor_id, sum(k.covered_ms) as ms from hirundo.kept_time(kept_days.first, kept_days.past, kept_days.rest) k group by 1
    ), item as (
      select case kept_days.by when 'region' then s.country::text when 'sensor' then s.name else 'all' end as item, k.ms
      from hirundo.sensor s left join kept k on k.sensor_id = s.sensor_id
      union all
      select 'all', 0 where kept_days.by = 'all'
    )
    select i.item, round(coalesce(sum(i.ms), 0) / 86400000.0, 6) from item i group by i.item;
end
$$;
----
comment on function hirundo.kept_days(timestamptz, timestamptz, tstzmultirange, text) is
  'hirundo.kept_time in days, by all (one row), region or sensor: for columns called sensor_days, where an outage is less of it. Example: select * from hirundo.kept_days(''2023-02-03'', ''2023-02-05'', ''{}'', ''region'').';
----
-- No row may mean that nobody observed, that nothing came, or that it is gone. Functions whose rows are of something that was seen say which.
create or replace function hirundo.why_no_rows(first timestamptz, past timestamptz, rest tstzmultirange, nothing text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  -- a quarter of an hour that the period begins in counts too
  v_slot timestamptz := date_bin('15 minutes', why_no_rows.first, timestamptz '2000-01-01 00:00:00+00');
  v_sensors bigint;
  v_ms numeric;
  v_left bigint; -- whose data are kept
  v_kept numeric;
  v_gone text;
  v_trouble text;
begin
  if first is null or past is null or first >= past then
    return 'no row: the period is empty';
  end if;
  select count(distinct o.sensor_id), coalesce(sum(o.covered_ms), 0) into v_sensors, v_ms
  from hirundo.observed_time(v_slot, why_no_rows.past) o;
  if v_ms = 0 then
    return case
      when not exists (select from hirundo.sensor s) then 'no row: there is no sensor yet'
      when why_no_rows.first > now() then 'no row: the period is in the future'
      else 'no row: no sensor observed anything in the period' end;
  end if;
  select format(case g.n when 1 then 'data of 1 day (%2$s) gone by retention' else 'data of %1$s days (%2$s to %3$s) gone by retention' end,
    g.n, to_char(g.a, 'YYYY-MM-DD'), to_char(g.b, 'YYYY-MM-DD'))
  into v_gone
  from (select count(*) as n, min(d.day) as a, max(d.day) as b from hirundo.flow_gone_days(why_no_rows.rest) d) g where g.n > 0;
  select count(distinct o.sensor_id), coalesce(sum(o.covered_ms), 0) into v_left, v_kept
  from hirundo.kept_time(v_slot, why_no_rows.past, why_no_rows.rest) o;
  if v_kept = 0 then
    return format('no row: the period was observed (%s), and is not known any more: %s', hirundo.sensor_days_text(v_sensors, v_ms), v_gone);
  end if;
  select hirundo.trouble_text(sum(t.dropped), sum(t.lost), sum(t.quarantined), sum(t.unknown_s), max(t.clock_off_ms)) into v_trouble
  from hirundo.trouble(why_no_rows.first, why_no_rows.past) t;
  return format('no row: the period was observed (%s), and %s', hirundo.sensor_days_text(v_left, v_kept), nothing)
    || coalesce('; missing: ' || nullif(concat_ws(', ', v_trouble, v_gone), ''), '');
end
$$;
----
comment on function hirundo.why_no_rows(timestamptz, timestamptz, tstzmultirange, text) is
  'Why a figure of [first, past) has no row, in one sentence that begins with "no row: ": an empty period, no sensor yet, the future, nobody observed, all of it gone by retention (rest of hirundo.rollup_cover), or observed by so many sensors, and nothing of what is asked (its last argument) came; then it says what is missing, too. Example: select hirundo.why_no_rows(''2023-02-08'', ''2023-02-09'', ''{}'', ''nothing came'').';
----
create or replace function hirundo.sensor_days_text(sensors bigint, ms numeric)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_days numeric := greatest(round(ms / 86400000.0, 2), 0.01);
begin
  return format('%s by %s', case v_days when 1 then '1.00 sensor-day' else v_days || ' sensor-days' end,
    case sensors when 1 then '1 sensor' else sensors || ' sensors' end);
end
$$;
----
comment on function hirundo.sensor_days_text(bigint, numeric) is
  'Observed milliseconds of so many sensors as people write them. Example: select hirundo.sensor_days_text(3, 259200000) gives 3.00 sensor-days by 3 sensors.';
----
create or replace function hirundo.say_no_rows(first timestamptz, past timestamptz, rest tstzmultirange, nothing text)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  raise notice using errcode = '02000', message = hirundo.why_no_rows(first, past, rest, nothing);
end
$$;
----
comment on function hirundo.say_no_rows(timestamptz, timestamptz, tstzmultirange, text) is
  'Internal to functions that may have no row: hirundo.why_no_rows as a NOTICE, SQLSTATE 02000 (no data). Example: see hirundo.why_no_rows.';
----
create or replace function hirundo.flood_aside(first timestamptz, past timestamptz, codes integer[] default null)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce((select format('; %s packets came as flood rows, which have no source', sum(f.packets)) from hirundo.floods(first, past, codes) f having sum(f.packets) > 0), '');
end
$$;
----
comment on function hirundo.flood_aside(timestamptz, timestamptz, integer[]) is
  'For hirundo.why_no_rows of figures by source: how many packets of [first, past), of these port codes (NULL: all), came as flood rows; empty where none did. Example: select hirundo.flood_aside(''2023-02-08'', ''2023-02-09'').';
