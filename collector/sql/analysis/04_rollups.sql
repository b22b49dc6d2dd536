-- The rollup job, and what the analysis functions ask before they read rollups.
--
-- The job: hirundo-collector serve calls hirundo.rollup_step() again and again, each call one transaction and one unit: the
-- dirty hours of one day, one dirty day or month that has ended. It reads the marks with their gen, then flow, and at last deletes
-- the marks whose gen is still the one read. A batch that commits meanwhile has raised gen, or makes a new mark: its hours
-- come again. Marks are locked last, in the order in which the collector upserts them, so that ingest waits only for a commit.
create or replace function hirundo.flow_is_gone(first timestamptz, past timestamptz)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return exists (
    select from hirundo.flow_dropped d
    where d.day >= (first at time zone 'UTC')::date and d.day <= ((past - interval '1 microsecond') at time zone 'UTC')::date);
end
$$;
----
comment on function hirundo.flow_is_gone(timestamptz, timestamptz) is
  'Whether retention has dropped rows of flow in [first, past): then rollups of it are never computed again. Example: select hirundo.flow_is_gone(''2021-01-01'', ''2021-01-02'').';
----
create or replace function hirundo.rollup_gone_before(tables text)
returns date
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce((select max(g.before) from hirundo.rollup_gone g where g.name = any (string_to_array(tables, ','))), '-infinity');
end
$$;
----
comment on function hirundo.rollup_gone_before(text) is
  'The day before which one of these rollups (separated by commas) does not answer any more; -infinity where retention deleted nothing. Example: select hirundo.rollup_gone_before(''source_day,ttl_day'').';
----
-- Figures read flow from where the rest begins to where it ends. A part of which there is nothing (before the first sensor came, while nobody observed, what
-- is yet to come) would make them read all days in between, which rollups have. Every window with rows has its observation, so flow need not be asked.
create or replace function hirundo.rest_observed(rest tstzmultirange)
returns tstzmultirange
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce((select range_agg(r) from unnest(rest) r where hirundo.observed_within(lower(r), upper(r))), '{}');
end
$$;
----
comment on function hirundo.rest_observed(tstzmultirange) is
  'Part of hirundo.rollup_cover: the ranges in which any sensor observed or delivered anything, the others left out. Example: select hirundo.rest_observed(''{[1999-01-01,1999-01-02),[2023-02-03,2023-02-04)}'').';
----
create or replace function hirundo.rollup_cover(first timestamptz, past timestamptz, day_table text, hour_table text default null,
                                                month_table text default null, out days date[], out hours timestamptz[],
                                                out rest tstzmultirange, out months date[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
  v_gone date := hirundo.rollup_gone_before(day_table);
  v_covered tstzmultirange;
begin
  months := '{}';
  days := '{}';
  hours := '{}';
  rest := '{}';
  if first is null or past is null or first >= past then
    return;
  end if;
  rest := tstzmultirange(tstzrange(first, past));
  if month_table is not null then
    select coalesce(array_agg(m.month order by m.month), '{}'), range_agg(tstzrange(m.first, m.past))
    into months, v_covered
    from hirundo.rollup_month m
    where m.zone = v_zone and m.first >= rollup_cover.first and m.past <= rollup_cover.past
      -- what a head leaves out is looked up in the daily tables
      and m.month >= greatest(hirundo.rollup_gone_before(month_table), v_gone)
      and not exists (select from hirundo.dirty_month x where x.month = m.month)
      and not exists (select from hirundo.dirty_day x where x.day >= m.month and x.day < m.month + interval '1 month')
      and not exists (select from hirundo.dirty x where x.hour < m.past and x.hour > m.first - interval '1 hour');
    rest := rest - coalesce(v_covered, '{}');
  end if;
  select coalesce(array_agg(d.day order by d.day), '{}'), range_agg(tstzrange(d.first, d.past))
  into days, v_covered
  from hirundo.rollup_day d
  where day_table is not null and d.zone = v_zone and d.first >= rollup_cover.first and d.past <= rollup_cover.past
    and d.day >= v_gone
    and date_trunc('month', d.day::timestamp)::date <> all (months)
    and not exists (select from hirundo.dirty_day x where x.day = d.day)
    -- a mark is an hour of UTC, which touches two hours or days of some zones
    and not exists (select from hirundo.dirty m where m.hour < d.past and m.hour > d.first - interval '1 hour');
  rest := rest - coalesce(v_covered, '{}');
  if hour_table is not null and not isempty(rest) then
    select coalesce(array_agg(h.hour order by h.hour), '{}'), range_agg(tstzrange(h.hour, h.hour + interval '1 hour'))
    into hours, v_covered
    from hirundo.rollup_hour h
    where h.zone = v_zone and h.hour >= rollup_cover.first and h.hour < rollup_cover.past
      and tstzrange(h.hour, h.hour + interval '1 hour') <@ rest
      and h.hour >= hirundo.rollup_gone_before(hour_table)::timestamp at time zone v_zone
      and not exists (select from hirundo.dirty m
                      where m.hour < h.hour + interval '1 hour' and m.hour > h.hour - interval '1 hour');
    rest := rest - coalesce(v_covered, '{}');
  end if;
  if (select count(*) from unnest(rest)) > 1 then
    rest := hirundo.rest_observed(rest);
  end if;
end
$$;
----
comment on function hirundo.rollup_cover(timestamptz, timestamptz, text, text, text) is
  'How to answer for [first, past): whole months that this monthly rollup has, whole days of the daily one outside of these, whole hours of the hourly one, nothing of them dirty (a table that is NULL has none); and the rest, to be read from flow (of several ranges those in which anybody observed). Several tables of a kind are separated by commas. Example: select * from hirundo.rollup_cover(''2023-02-03'', ''2023-02-05'', ''port_day'', ''port_hour'', ''port_month'').';
----
create or replace function hirundo.observed_time(first timestamptz, past timestamptz)
returns table (sensor_id smallint, day date, covered_ms bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_days date[];
  v_rest tstzmultirange;
  v_zone text := hirundo.time_zone();
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'observed_day') c;
  return query
    select u.sensor_id, u.day, sum(u.ms)::bigint
    from (select x.sensor_id, x.day, x.covered_ms as ms from hirundo.observed_day x where x.day = any (v_days)
          union all
          select o.sensor_id, (o.slot at time zone v_zone)::date, o.covered_ms
          from unnest(v_rest) r
          cross join lateral (
            select * from hirundo.observation o
            where o.slot >= lower(r) and o.slot < upper(r) and o.slot >= lower(v_rest) and o.slot < upper(v_rest) and o.covered_ms > 0) o) u
    group by 1, 2;
end
$$;
----
comment on function hirundo.observed_time(timestamptz, timestamptz) is
  'Milliseconds that each sensor observed in [first, past), by day of the reporting time zone; a quarter of an hour counts where it begins. No row where that is 0. Example: select * from hirundo.observed_time(''2023-02-03'', ''2023-02-05'').';
----
create or replace function hirundo.month_days(months date[])
returns date[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce((select array_agg(d::date order by d)
                   from unnest(months) m cross join generate_series(m::timestamp, m + interval '1 month' - interval '1 day', interval '1 day') d), '{}');
end
$$;
----
comment on function hirundo.month_days(date[]) is
  'The days of these months (their first days), for look-ups in daily rollups. Example: select cardinality(hirundo.month_days(''{2023-02-01}'')) gives 28.';
----
-- The reporting time zone has changed: what flow still has is rolled up again, the rest stays what it was and is not used.
create or replace function hirundo.rollup_rezone(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_days date[];
  v_hours timestamptz[];
  v_months date[];
  v_table text;
  v_marks int := 0;
begin
  select array_agg(d.day) into v_days from hirundo.rollup_day d
  where d.zone <> rollup_rezone.zone and not hirundo.flow_is_gone(d.first, d.past);
  select array_agg(h.hour) into v_hours from hirundo.rollup_hour h
  where h.zone <> rollup_rezone.zone and not hirundo.flow_is_gone(h.hour, h.hour + interval '1 hour');
  if v_days is null and v_hours is null then
    return 0;
  end if;
  foreach v_table in array hirundo.rollup_day_tables() || array['rollup_day'] loop
    execute format('delete from hirundo.%I where day = any ($1)', v_table) using v_days;
  end loop;
  select array_agg(m.month) into v_months from hirundo.rollup_month m
  where m.zone <> rollup_rezone.zone and not hirundo.flow_is_gone(m.first, m.past);
  foreach v_table in array hirundo.rollup_month_tables() || array['rollup_month'] loop
    execute format('delete from hirundo.%I where month = any ($1)', v_table) using v_months;
  end loop;
  delete from hirundo.rollup_hour h where h.hour = any (v_hours);
  delete from hirundo.port_hour p
  where not exists (select from hirundo.flow_dropped g
                    where g.day in ((p.hour at time zone 'UTC')::date, ((p.hour + interval '59 minutes') at time zone 'UTC')::date));
  -- every window with rows has its observation
  insert into hirundo.dirty as d (sensor_id, hour)
  select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC')
  from hirundo.observation o
  where (o.row_packets > 0 or o.flood_packets > 0 or o.covered_ms > 0)
    and not exists (select from hirundo.flow_dropped g where g.day = (o.slot at time zone 'UTC')::date)
  order by 1, 2
  on conflict (sensor_id, hour) do update set gen = d.gen + 1;
  get diagnostics v_marks = row_count;
  return greatest(v_marks, 1);
end
$$;
----
comment on function hirundo.rollup_rezone(text) is
  'Part of hirundo.rollup_step: where rollups are of another time zone than the setting, marks all that flow still has. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_day_tables()
returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array['port_day', 'source_port_day', 'source_day', 'sensor_day', 'ttl_day', 'country_day', 'port_country_day', 'network_port_day', 'scanner_day', 'observed_day',
    'backscatter_day', 'tool_day'];
end
$$;
----
comment on function hirundo.rollup_day_tables() is 'The daily rollups. Example: select unnest(hirundo.rollup_day_tables()).';
----
create or replace function hirundo.rollup_month_tables()
returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array['port_month', 'network_port_month', 'source_month', 'source_port_month', 'source_ttl_month'];
end
$$;
----
comment on function hirundo.rollup_month_tables() is 'The monthly rollups. Example: select unnest(hirundo.rollup_month_tables()).';
----
create or replace function hirundo.rollup_step_day(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_day date;
  v_first timestamptz;
  v_past timestamptz;
  v_marked smallint[];
  v_sensors smallint[];
begin
  select x.day, x.first, x.past into v_day, v_first, v_past
  from (select d.day, d.day::timestamp at time zone rollup_step_day.zone as first,
               (d.day + 1)::timestamp at time zone rollup_step_day.zone as past
        from (select distinct y.day from hirundo.dirty_day y) d) x
  where x.past <= now()
    and not exists (select from hirundo.dirty m where m.hour < x.past and m.hour > x.first - interval '1 hour')
  order by x.day limit 1;
  if not found then
    return 0;
  end if;
  select array_agg(d.sensor_id) into v_marked from hirundo.dirty_day d where d.day = v_day;
  v_sensors := v_marked;
  if hirundo.flow_is_gone(v_first, v_past) then
    -- observation stays when flow goes
    perform hirundo.rollup_build_observed(v_day, v_first, v_past, v_marked);
  else
    if not exists (select from hirundo.rollup_day r where r.day = v_day and r.zone = rollup_step_day.zone)
       or v_day < hirundo.rollup_gone_before(array_to_string(hirundo.rollup_day_tables(), ',')) then
      -- new, or late data for a day of which retention has deleted: what is of all sensors needs all of them
      select v_marked || array_agg(s.sensor_id) into v_sensors from hirundo.sensor s where s.sensor_id <> all (v_marked);
    end if;
    perform hirundo.rollup_build_sources(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_day(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_tools(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_backscatter(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_observed(v_day, v_first, v_past, v_sensors);
    insert into hirundo.rollup_day as r (day, zone, first, past, built_at, prefix_set)
    values (v_day, rollup_step_day.zone, v_first, v_past, clock_timestamp(), hirundo.prefix_set_for(v_day))
    on conflict on constraint rollup_day_pkey
      do update set zone = excluded.zone, first = excluded.first, past = excluded.past, built_at = excluded.built_at,
                    prefix_set = excluded.prefix_set;
    insert into hirundo.dirty_month (month) values (date_trunc('month', v_day::timestamp)::date) on conflict do nothing;
  end if;
  delete from hirundo.dirty_day d where d.day = v_day;
  return cardinality(v_marked);
end
$$;
----
comment on function hirundo.rollup_step_day(text) is
  'Part of hirundo.rollup_step: the oldest dirty day that has ended, none of whose hours is dirty. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_step_month(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_month date;
  v_first timestamptz;
  v_past timestamptz;
  v_lost tstzmultirange;
begin
  select x.month, x.first, x.past into v_month, v_first, v_past
  from (select d.month, d.month::timestamp at time zone rollup_step_month.zone as first,
               (d.month + interval '1 month') at time zone rollup_step_month.zone as past
        from hirundo.dirty_month d) x
  where x.past <= now()
    and not exists (select from hirundo.dirty m where m.hour < x.past and m.hour > x.first - interval '1 hour')
    and not exists (select from hirundo.dirty_day y where y.day >= x.month and y.day < x.month + interval '1 month')
    -- late data may come for days on end: figures read its days meanwhile
    and not exists (select from hirundo.rollup_month r where r.month = x.month and r.built_at > now() - interval '1 hour')
  order by x.month limit 1;
  if not found then
    return 0;
  end if;
  -- days alone are read: flow may have gone, but not before it was rolled up
  v_lost := (
    select coalesce(range_agg(tstzrange(e.a, e.b)), '{}')
    from (select l.day, lower(hirundo.local_range(l.day, l.day + 1)) as a, upper(hirundo.local_range(l.day, l.day + 1)) as b
          from hirundo.local_days(v_first, v_past) l) e
    where not exists (select from hirundo.rollup_day r where r.day = e.day and r.zone = rollup_step_month.zone)
      and hirundo.flow_is_gone(e.a, e.b));
  if v_month >= hirundo.rollup_gone_before('port_day,network_port_day,source_day,source_port_day')
     and not exists (select 1 from hirundo.observation o where o.slot >= lower(v_lost) and o.slot < upper(v_lost) and o.slot <@ v_lost) then
    perform hirundo.rollup_build_month_totals(v_month, v_first, v_past);
    perform hirundo.rollup_build_month_sources(v_month);
  else
    -- it cannot be added up from its days any more, so it does not answer any more
    delete from hirundo.rollup_month r where r.month = v_month;
  end if;
  delete from hirundo.dirty_month d where d.month = v_month;
  return 1;
end
$$;
----
comment on function hirundo.rollup_step_month(text) is
  'Part of hirundo.rollup_step: the oldest dirty month that has ended, and all days of which are rolled up; not twice within an hour. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_step_hours(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  -- five minutes more, for the last batches of an hour
  v_until timestamptz := now() - interval '65 minutes';
  v_kept timestamptz := coalesce((select r.before::timestamp at time zone zone from hirundo.rollup_retention() r where r.name = 'port_hour'), '-infinity');
  v_past timestamptz;
  v_sensors smallint[];
  v_hours timestamptz[];
  v_gens bigint[];
  v_build_sensors smallint[];
  v_build_hours timestamptz[];
begin
  -- the day of the oldest mark
  select ((min(m.hour) at time zone rollup_step_hours.zone)::date + 1)::timestamp at time zone rollup_step_hours.zone
  into v_past from hirundo.dirty m where m.hour <= v_until;
  select array_agg(m.sensor_id), array_agg(m.hour), array_agg(m.gen) into v_sensors, v_hours, v_gens
  from hirundo.dirty m where m.hour <= v_until and m.hour < v_past;
  if v_sensors is null then
    return 0;
  end if;
  -- an hour of UTC touches one hour of most zones, two of some; hours past their retention are not built to be deleted
  select array_agg(h.sensor_id), array_agg(h.hour) into v_build_sensors, v_build_hours
  from (select distinct u.s as sensor_id, date_trunc('hour', u.h + q * interval '15 minutes', zone) as hour
        from unnest(v_sensors, v_hours) u(s, h) cross join generate_series(0, 3) q) h
  where h.hour >= v_kept and not hirundo.flow_is_gone(h.hour, h.hour + interval '1 hour');
  if v_build_sensors is not null then
    perform hirundo.rollup_build_hours(v_build_sensors, v_build_hours, zone);
  end if;
  insert into hirundo.dirty_day as d (sensor_id, day)
  select distinct u.s, ((u.h + q * interval '15 minutes') at time zone zone)::date
  from unnest(v_sensors, v_hours) u(s, h) cross join generate_series(0, 3) q
  on conflict do nothing;
  insert into hirundo.partner_due (partner_id, sensor_id, hour)
  select p.partner_id, u.s, u.h
  from unnest(v_sensors, v_hours) u(s, h)
  join hirundo.partner_sensor p on p.sensor_id = u.s and p.removed_at is null
  on conflict do nothing;
  -- last, so that ingest of the same hours waits for no more than the commit; in its order
  perform from hirundo.dirty m
  join unnest(v_sensors, v_hours, v_gens) u(s, h, g) on m.sensor_id = u.s and m.hour = u.h and m.gen = u.g
  order by m.sensor_id, m.hour
  for update of m;
  delete from hirundo.dirty m using unnest(v_sensors, v_hours, v_gens) u(s, h, g)
  where m.sensor_id = u.s and m.hour = u.h and m.gen = u.g;
  return cardinality(v_sensors);
end
$$;
----
comment on function hirundo.rollup_step_hours(text) is
  'Part of hirundo.rollup_step: the dirty hours of one day. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_step()
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
  v_done int;
begin
  if not pg_try_advisory_xact_lock(5207662349051) then
    return null;
  end if;
  -- keeps retention from dropping a partition between the look and the read
  lock table only hirundo.flow, only hirundo.flood in access share mode;
  v_done := hirundo.rollup_rezone(v_zone);
  if v_done = 0 then
    v_done := hirundo.rollup_step_day(v_zone);
  end if;
  if v_done = 0 then
    v_done := hirundo.rollup_step_hours(v_zone);
  end if;
  if v_done = 0 then
    v_done := hirundo.rollup_step_month(v_zone);
  end if;
  if v_done = 0 then
    v_done := hirundo.share_step();
  end if;
  return v_done;
end
$$;
----
comment on function hirundo.rollup_step() is
  'Rolls up one unit, in the caller''s transaction: one dirty day that has ended, the dirty hours of one day, one dirty month that has ended, or what partners are to get (hirundo.share_step). Returns how many marks it worked on: 0 if nothing is left to do (hours that ended less than five minutes ago wait), null if another session is at it. Call it until 0, each time in a transaction of its own. Example: select hirundo.rollup_step().';
----
create or replace function hirundo.rollup_retention()
returns table (name text, setting text, before date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
begin
  return query
    select substring(s.name from 'retention_(.*)'), s.value,
      case when lower(s.value collate "C") <> 'off' then least(((now() - s.value::interval) at time zone v_zone)::date, (now() at time zone v_zone)::date) end
    from hirundo.setting s
    where s.name like 'retention\_%' and s.name not in ('retention_flow', 'retention_batch', 'retention_quarantine', 'retention_heartbeat_hour')
    order by s.name collate "C";
end
$$;
----
comment on function hirundo.rollup_retention() is
  'The retention of each rollup: its setting, and the day before which its rows go (null: none). Example: select * from hirundo.rollup_retention().';
----
-- The rows of a rollup before a day, which rollup_delete deletes and rollup_count_before counts.
create or replace function hirundo.rollup_rows_before(name text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return format('from hirundo.%I where ', name) || case
    when name like '%\_hour' then format('hour < $1::timestamp at time zone %L', hirundo.time_zone())
    -- a month goes when all of it is before
    when name like '%\_month' then 'month + interval ''1 month'' <= $1'
    else 'day < $1' end;
end
$$;
----
comment on function hirundo.rollup_rows_before(text) is
  'SQL that finds the rows of a rollup whose hour, day or month is before the day $1. Example: select hirundo.rollup_rows_before(''port_day'').';
----
drop function if exists hirundo.rollup_count_before(text, date);
----
create or replace function hirundo.rollup_found_before(name text, before date, kept date, out count bigint, out since date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_rows text := hirundo.rollup_rows_before(name);
begin
  execute format('select count(*), min(%s) ', case when name like '%\_hour' then format('(hour at time zone %L)::date', hirundo.time_zone())
                                                   when name like '%\_month' then 'month' else 'day' end)
    || v_rows || case when kept is null then '' else ' and not (' || replace(substring(v_rows from ' where (.*)$'), '$1', '$2') || ')' end
  into count, since using before, kept;
end
$$;
----
comment on function hirundo.rollup_found_before(text, date, date) is
  'Part of hirundo.retention_due: how many rows of a rollup are before a day, but for those before the day kept (NULL: all), and since when. Example: select * from hirundo.rollup_found_before(''port_day'', ''2023-02-08'', null).';
----
create or replace function hirundo.rollup_delete(name text, before date)
returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_rows bigint;
begin
  execute 'delete ' || hirundo.rollup_rows_before(name) using before;
  get diagnostics v_rows = row_count;
  insert into hirundo.rollup_gone as g (name, before) values (rollup_delete.name, rollup_delete.before)
  on conflict on constraint rollup_gone_pkey do update set before = greatest(g.before, excluded.before);
  return v_rows;
end
$$;
----
comment on function hirundo.rollup_delete(text, date) is
  'Deletes the rows of a rollup before a day, notes that it does not answer for these any more, and says how many there were. Part of rollup_expire and rollup_shrink. Example: select hirundo.rollup_delete(''port_day'', ''2023-02-08'').';
----
create or replace function hirundo.rollup_expire()
returns table (name text, before date, deleted bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  if not pg_try_advisory_xact_lock(5207662349051) then
    return; -- the rollup job is at it; the next run
  end if;
  return query
    select r.name, r.before, hirundo.rollup_delete(r.name, r.before) from hirundo.rollup_retention() r where r.before is not null;
end
$$;
----
comment on function hirundo.rollup_expire() is
  'Deletes from each rollup what is past its retention, and says how many rows; from then on the days before are answered from flow. Example: see hirundo.rollup_retention for what it would delete.';
----
drop function if exists hirundo.maintenance_due();
----
create function hirundo.maintenance_due()
returns table (what text, until text, count bigint, since text, waiting bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
begin
  return query
    select 'dirty hours', to_char(max(m.hour) at time zone v_zone, 'YYYY-MM-DD HH24:MI'), count(*), to_char(min(m.hour) at time zone v_zone, 'YYYY-MM-DD HH24:MI'),
      count(*) filter (where m.hour > now() - interval '65 minutes')
    from hirundo.dirty m
    union all
    select 'dirty days', to_char(max(d.day), 'YYYY-MM-DD'), count(*), to_char(min(d.day), 'YYYY-MM-DD'),
      count(*) filter (where (d.day + 1)::timestamp at time zone v_zone > now())
    from hirundo.dirty_day d
    union all
    select 'dirty months', to_char(max(d.month), 'YYYY-MM'), count(*), to_char(min(d.month), 'YYYY-MM'),
      count(*) filter (where (d.month + interval '1 month') at time zone v_zone > now())
    from hirundo.dirty_month d;
end
$$;
----
comment on function hirundo.maintenance_due() is
  'What is to be rolled up: hours and days (each of a sensor) and months that are marked, from when to when in the reporting time zone, and how many of them wait for their end. Example: select what, count, since, until, waiting from hirundo.maintenance_due().';
----
create or replace view hirundo.rollup_lag with (security_invoker = true) as
select s.name as sensor, count(m.hour) as dirty_hours,
  (select count(*) from hirundo.dirty_day d where d.sensor_id = s.sensor_id) as dirty_days,
  min(m.hour) as oldest_hour,
  -- an hour waits until five minutes after its end
  case when min(m.hour) is not null then greatest(now() - (min(m.hour) + interval '65 minutes'), interval '0') end as lag
from hirundo.sensor s
left join hirundo.dirty m on m.sensor_id = s.sensor_id
group by s.sensor_id, s.name;
----
comment on view hirundo.rollup_lag is
  'How far the rollups are behind, by sensor: dirty hours and days, the oldest dirty hour, and for how long it has been due (null: no hour is dirty). Figures are right meanwhile: what is dirty is read from flow. Example: select * from hirundo.rollup_lag where lag > interval ''10 minutes''.';
