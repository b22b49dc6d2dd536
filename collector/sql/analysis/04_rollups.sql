-- The rollup job, and what the analysis functions ask before they read rollups.
--
-- The job: hirundo-collector serve calls hirundo.rollup_step() again and again, each call one transaction and one unit: the
-- dirty hours of one day, or one dirty day that has ended. It reads the marks with their gen, then flow, and at last deletes
-- the marks whose gen is still the one read. A batch that commits meanwhile has raised gen, or makes a new mark: its hours
-- come again. Marks are locked last, in the order in which the collector upserts them, so that ingest waits only for a commit.
create or replace function hirundo.flow_is_gone(first timestamptz, past timestamptz)
returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
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
create or replace function hirundo.rollup_cover(first timestamptz, past timestamptz, day_table text, hour_table text default null,
                                                out days date[], out hours timestamptz[], out rest tstzmultirange)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_zone text := hirundo.time_zone();
  v_covered tstzmultirange;
begin
  days := '{}';
  hours := '{}';
  rest := '{}';
  if first is null or past is null or first >= past then
    return;
  end if;
  select coalesce(array_agg(d.day order by d.day), '{}'), range_agg(tstzrange(d.first, d.past))
  into days, v_covered
  from hirundo.rollup_day d
  where d.zone = v_zone and d.first >= rollup_cover.first and d.past <= rollup_cover.past
    and d.day >= coalesce((select g.before from hirundo.rollup_gone g where g.name = day_table), '-infinity')
    and not exists (select from hirundo.dirty_day x where x.day = d.day)
    -- a mark is an hour of UTC, which touches two hours or days of some zones
    and not exists (select from hirundo.dirty m where m.hour < d.past and m.hour > d.first - interval '1 hour');
  rest := tstzmultirange(tstzrange(first, past)) - coalesce(v_covered, '{}');
  if hour_table is not null and not isempty(rest) then
    select coalesce(array_agg(h.hour order by h.hour), '{}'), range_agg(tstzrange(h.hour, h.hour + interval '1 hour'))
    into hours, v_covered
    from hirundo.rollup_hour h
    where h.zone = v_zone and h.hour >= rollup_cover.first and h.hour < rollup_cover.past
      and tstzrange(h.hour, h.hour + interval '1 hour') <@ rest
      and h.hour >= coalesce((select g.before::timestamp at time zone v_zone from hirundo.rollup_gone g where g.name = hour_table),
                             '-infinity')
      and not exists (select from hirundo.dirty m
                      where m.hour < h.hour + interval '1 hour' and m.hour > h.hour - interval '1 hour');
    rest := rest - coalesce(v_covered, '{}');
  end if;
end
$$;
----
comment on function hirundo.rollup_cover(timestamptz, timestamptz, text, text) is
  'How to answer for [first, past): whole days that this daily rollup has and nothing of which is dirty, whole hours of the hourly one, and the rest, to be read from flow. Example: select * from hirundo.rollup_cover(''2023-02-03'', ''2023-02-05'', ''port_day'', ''port_hour'').';
----
-- Port, hour and class of these (sensor, hour) pairs, hours of the zone.
create or replace function hirundo.rollup_build_hours(sensors smallint[], hours timestamptz[], zone text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_first timestamptz;
  v_past timestamptz;
begin
  -- an hour in which clocks go back by thirty minutes has ninety
  select min(h), max(h) + interval '2 hours' into v_first, v_past from unnest(hours) h;
  delete from hirundo.port_hour p using unnest(sensors, hours) u(s, h) where p.sensor_id = u.s and p.hour = u.h;
  insert into hirundo.port_hour (sensor_id, hour, port_code, class, packets, bytes, flood_packets, source_hours,
                                 flood_sources_min, flood_sources_max, ttl_min, ttl_max)
  select t.s, t.h, t.code, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.flood)::bigint, sum(t.sources)::bigint,
    max(t.low), sum(t.high)::bigint, min(t.ttl_min), max(t.ttl_max)
  from (
    select f.sensor_id as s, date_trunc('hour', f.ts, zone) as h, f.port_code as code, f.class,
      sum(f.packets) as packets, sum(f.bytes) as bytes, 0 as flood, count(distinct f.src) as sources,
      null::bigint as low, null::bigint as high, min(f.ttl) as ttl_min, max(f.ttl) as ttl_max
    from hirundo.flow_classed f
    where f.ts >= v_first and f.ts < v_past and f.sensor_id = any (sensors)
    group by 1, 2, 3, 4
    union all
    select f.sensor_id, date_trunc('hour', f.ts, zone), f.port_code, f.class, sum(f.packets), sum(f.bytes), sum(f.packets), 0,
      max(f.sources_estimate), sum(f.sources_estimate)::bigint, min(f.ttl_min), max(f.ttl_max)
    from hirundo.flood_classed f
    where f.ts >= v_first and f.ts < v_past and f.sensor_id = any (sensors)
    group by 1, 2, 3, 4) t
  where (t.s, t.h) in (select u.s, u.h from unnest(sensors, hours) u(s, h))
  group by t.s, t.h, t.code, t.class;
  -- hours that clocks change in are not answered for: they are not the sixty minutes from their beginning
  insert into hirundo.rollup_hour as r (hour, zone)
  select distinct h, zone from unnest(hours) h
  where date_trunc('hour', h, zone) = h and date_trunc('hour', h + interval '1 hour' - interval '1 microsecond', zone) = h
  on conflict (hour) do update set zone = excluded.zone;
end
$$;
----
comment on function hirundo.rollup_build_hours(smallint[], timestamptz[], text) is
  'Part of hirundo.rollup_step: rebuilds hirundo.port_hour for pairs of sensor and hour. Example: see hirundo.rollup_step.';
----
-- The sources of a day with their network and organisation; at most one row for each key, whatever the imported data overlap.
create or replace function hirundo.rollup_build_sources(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_day date := day;
  v_set int := hirundo.prefix_set_for(day);
  v_watched hirundo.inetmultirange :=
    (select hirundo.address_ranges(array_agg(p.prefix)) from hirundo.organisation_prefix p);
begin
  delete from hirundo.source_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.source_day (sensor_id, day, src, port_code, class, ttl, fragment, packets, bytes, asn, country, organisation_id)
  with seen as materialized (
    select f.sensor_id, f.src, f.port_code, f.class, f.ttl, f.marks & 4 <> 0 as fragment, sum(f.packets) as packets,
      sum(f.bytes) as bytes
    from hirundo.flow_classed f
    where f.ts >= first and f.ts < past and f.sensor_id = any (sensors)
    group by 1, 2, 3, 4, 5, 6
  ), watched as materialized (
    select p.organisation_id, host(network(p.prefix))::inet as lo, host(broadcast(p.prefix))::inet as hi, masklen(p.prefix) as bits
    from hirundo.organisation_prefix p
  ), known as materialized (
    select s.src, n.asn, n.country, o.organisation_id
    from (select distinct e.src from seen e) s
    left join lateral (
      select w.hi, w.asn, w.country from hirundo.network w
      where w.set_id = v_set and w.lo <= s.src order by w.lo desc limit 1) n on n.hi >= s.src
    left join lateral (
      -- the most specific prefix
      select w.organisation_id from watched w
      where s.src <@ v_watched and s.src >= w.lo and s.src <= w.hi
      order by w.bits desc, w.organisation_id limit 1) o on true
  )
  select e.sensor_id, v_day, e.src, e.port_code, e.class, e.ttl, e.fragment, e.packets, e.bytes, k.asn, k.country,
    k.organisation_id
  from seen e
  join known k on k.src = e.src
  order by e.src, e.sensor_id;
end
$$;
----
comment on function hirundo.rollup_build_sources(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds hirundo.source_day for sensors of a day. Example: see hirundo.rollup_step.';
----
-- What comes from source_day (just built for this day) and flood, by sensor.
create or replace function hirundo.rollup_build_ports(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_day date := day;
begin
  delete from hirundo.port_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.port_day (sensor_id, day, port_code, class, packets, bytes, flood_packets, source_days, flood_sources_min,
                                flood_sources_max, ttl_min, ttl_max)
  select t.s, v_day, t.code, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.flood)::bigint, sum(t.sources)::bigint,
    max(t.low), sum(t.high)::bigint, min(t.ttl_min), max(t.ttl_max)
  from (
    select x.sensor_id as s, x.port_code as code, x.class, sum(x.packets) as packets, sum(x.bytes) as bytes, 0 as flood,
      count(distinct x.src) as sources, null::bigint as low, null::bigint as high, min(x.ttl) as ttl_min, max(x.ttl) as ttl_max
    from hirundo.source_day x
    where x.day = v_day and x.sensor_id = any (sensors)
    group by 1, 2, 3
    union all
    select f.sensor_id, f.port_code, f.class, sum(f.packets), sum(f.bytes), sum(f.packets), 0, max(f.sources_estimate),
      sum(f.sources_estimate)::bigint, min(f.ttl_min), max(f.ttl_max)
    from hirundo.flood_classed f
    where f.ts >= first and f.ts < past and f.sensor_id = any (sensors)
    group by 1, 2, 3) t
  group by t.s, t.code, t.class;

  delete from hirundo.port_country_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.port_country_day (sensor_id, day, port_code, country, class, packets, bytes, source_days)
  select t.s, v_day, t.code, t.country, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.sources)::bigint
  from (
    select x.sensor_id as s, x.port_code as code, coalesce(x.country, '')::text as country, x.class, sum(x.packets) as packets,
      sum(x.bytes) as bytes, count(distinct x.src) as sources
    from hirundo.source_day x
    where x.day = v_day and x.sensor_id = any (sensors)
    group by 1, 2, 3, 4
    union all
    select p.sensor_id, p.port_code, '', p.class, p.packets, p.bytes, 0
    from (select f.sensor_id, f.port_code, f.class, sum(f.packets) as packets, sum(f.bytes) as bytes
          from hirundo.flood_classed f
          where f.ts >= first and f.ts < past and f.sensor_id = any (sensors)
          group by 1, 2, 3) p) t
  group by 1, 2, 3, 4, 5;

  delete from hirundo.country_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.country_day (sensor_id, day, country, class, packets, bytes, source_days)
  select t.s, v_day, t.country, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.sources)::bigint
  from (
    select p.sensor_id as s, p.country, p.class, sum(p.packets) as packets, sum(p.bytes) as bytes, 0 as sources
    from hirundo.port_country_day p
    where p.day = v_day and p.sensor_id = any (sensors)
    group by 1, 2, 3
    union all
    -- distinct over ports
    select x.sensor_id, coalesce(x.country, '')::text, x.class, 0, 0, count(distinct x.src)
    from hirundo.source_day x
    where x.day = v_day and x.sensor_id = any (sensors)
    group by 1, 2, 3) t
  group by 1, 2, 3, 4;
end
$$;
----
comment on function hirundo.rollup_build_ports(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds the daily rollups by port and country for sensors of a day. Example: see hirundo.rollup_step.';
----
-- All sensors together: rebuilt for the whole day, since distinct counts do not add.
create or replace function hirundo.rollup_build_network(day date, first timestamptz, past timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v_day date := day;
begin
  delete from hirundo.network_port_day x where x.day = v_day;
  insert into hirundo.network_port_day (day, port_code, class, packets, bytes, flood_packets, sources, flood_sources_min,
                                        flood_sources_max, sensors)
  -- added up, not joined: of a day that is new nothing is known to the planner, who would take a nested loop
  select v_day, t.code, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.flood)::bigint, sum(t.sources)::bigint,
    max(t.low), sum(t.high)::bigint, sum(t.sensors)::int
  from (
    select p.port_code as code, p.class, sum(p.packets) as packets, sum(p.bytes) as bytes, sum(p.flood_packets) as flood,
      0 as sources, max(p.flood_sources_min) as low, sum(p.flood_sources_max) as high, count(*) as sensors
    from hirundo.port_day p where p.day = v_day group by 1, 2
    union all
    select x.port_code, x.class, 0, 0, 0, count(distinct x.src), null, null, 0
    from hirundo.source_day x where x.day = v_day group by 1, 2) t
  group by 1, 2, 3;

  delete from hirundo.scanner_day x where x.day = v_day;
  insert into hirundo.scanner_day (day, src, ports, sensors, packets)
  select v_day, x.src, count(distinct x.port_code), count(distinct x.sensor_id), sum(x.packets)::bigint
  from hirundo.source_day x
  where x.day = v_day and x.class <> 'backscatter' and x.class <> 'local'
  group by x.src
  having count(distinct x.port_code) >= 5;

  insert into hirundo.rollup_day as r (day, zone, first, past, built_at)
  select v_day, hirundo.time_zone(), rollup_build_network.first, rollup_build_network.past, clock_timestamp()
  on conflict on constraint rollup_day_pkey
    do update set zone = excluded.zone, first = excluded.first, past = excluded.past, built_at = excluded.built_at;
end
$$;
----
comment on function hirundo.rollup_build_network(date, timestamptz, timestamptz) is
  'Part of hirundo.rollup_step: rebuilds the daily rollups of all sensors together and enters the day as built. Example: see hirundo.rollup_step.';
----
-- The reporting time zone has changed: what flow still has is rolled up again, the rest stays what it was and is not used.
create or replace function hirundo.rollup_rezone(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_days date[];
  v_hours timestamptz[];
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
  foreach v_table in array array['port_day', 'source_day', 'scanner_day', 'country_day', 'port_country_day', 'network_port_day', 'rollup_day'] loop
    execute format('delete from hirundo.%I where day = any ($1)', v_table) using v_days;
  end loop;
  delete from hirundo.rollup_hour h where h.hour = any (v_hours);
  delete from hirundo.port_hour p
  where not exists (select from hirundo.flow_dropped g
                    where g.day in ((p.hour at time zone 'UTC')::date, ((p.hour + interval '59 minutes') at time zone 'UTC')::date));
  -- every window with rows has its observation
  insert into hirundo.dirty as d (sensor_id, hour)
  select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC')
  from hirundo.observation o
  where (o.row_packets > 0 or o.flood_packets > 0)
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
create or replace function hirundo.rollup_step_day(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day date;
  v_first timestamptz;
  v_past timestamptz;
  v_sensors smallint[];
  v_count int;
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
  select array_agg(d.sensor_id) into v_sensors from hirundo.dirty_day d where d.day = v_day;
  v_count := cardinality(v_sensors);
  if not hirundo.flow_is_gone(v_first, v_past) then
    if v_day < (select g.before from hirundo.rollup_gone g where g.name = 'source_day')
       or v_day < (select g.before from hirundo.rollup_gone g where g.name = 'port_day') then
      -- late data for a day whose sources are gone from the rollup: what is built from them needs all of the day's
      select array_agg(distinct t.sensor_id) into v_sensors from hirundo.traffic t where t.ts >= v_first and t.ts < v_past;
    end if;
    perform hirundo.rollup_build_sources(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_ports(v_day, v_first, v_past, v_sensors);
    perform hirundo.rollup_build_network(v_day, v_first, v_past);
  end if;
  delete from hirundo.dirty_day d where d.day = v_day;
  return v_count;
end
$$;
----
comment on function hirundo.rollup_step_day(text) is
  'Part of hirundo.rollup_step: the oldest dirty day that has ended. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_step_hours(zone text)
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- five minutes more, for the last batches of an hour
  v_until timestamptz := now() - interval '65 minutes';
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
  -- an hour of UTC touches one hour of most zones, two of some
  select array_agg(h.sensor_id), array_agg(h.hour) into v_build_sensors, v_build_hours
  from (select distinct u.s as sensor_id, date_trunc('hour', u.h + q * interval '15 minutes', zone) as hour
        from unnest(v_sensors, v_hours) u(s, h) cross join generate_series(0, 3) q) h
  where not hirundo.flow_is_gone(h.hour, h.hour + interval '1 hour');
  if v_build_sensors is not null then
    perform hirundo.rollup_build_hours(v_build_sensors, v_build_hours, zone);
  end if;
  insert into hirundo.dirty_day as d (sensor_id, day)
  select distinct u.s, ((u.h + q * interval '15 minutes') at time zone zone)::date
  from unnest(v_sensors, v_hours) u(s, h) cross join generate_series(0, 3) q
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
  return v_done;
end
$$;
----
comment on function hirundo.rollup_step() is
  'Rolls up one unit, in the caller''s transaction: the dirty hours of one day, or one dirty day that has ended. Returns how many marks it worked on: 0 if nothing is left to do (hours that ended less than five minutes ago wait), null if another session is at it. Call it until 0, each time in a transaction of its own. Example: select hirundo.rollup_step().';
----
create or replace function hirundo.rollup_retention()
returns table (name text, setting text, before date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
begin
  return query
    select substring(s.name from 'retention_(.*)'), s.value,
      case when lower(s.value collate "C") <> 'off' then ((now() - s.value::interval) at time zone v_zone)::date end
    from hirundo.setting s
    where s.name like 'retention\_%' and s.name not in ('retention_flow', 'retention_batch', 'retention_quarantine', 'retention_heartbeat_hour')
    order by s.name collate "C";
end
$$;
----
comment on function hirundo.rollup_retention() is
  'The retention of each rollup: its setting, and the day before which its rows go (null: none). Example: select * from hirundo.rollup_retention().';
----
create or replace function hirundo.rollup_expire()
returns table (name text, before date, deleted bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  r record;
  v_zone text := hirundo.time_zone();
begin
  if not pg_try_advisory_xact_lock(5207662349051) then
    return; -- the rollup job is at it; the next run
  end if;
  for r in select x.name, x.before from hirundo.rollup_retention() x where x.before is not null loop
    if r.name = 'port_hour' then
      delete from hirundo.port_hour p where p.hour < r.before::timestamp at time zone v_zone;
    else
      execute format('delete from hirundo.%I where day < $1', r.name) using r.before;
    end if;
    get diagnostics deleted = row_count;
    insert into hirundo.rollup_gone as g (name, before) values (r.name, r.before)
    on conflict on constraint rollup_gone_pkey do update set before = greatest(g.before, excluded.before);
    name := r.name;
    before := r.before;
    return next;
  end loop;
end
$$;
----
comment on function hirundo.rollup_expire() is
  'Deletes from each rollup what is past its retention, and says how many rows; from then on the days before are answered from flow. Example: see hirundo.rollup_retention for what it would delete.';
----
create or replace function hirundo.maintenance_due()
returns table (what text, until text, count bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  r record;
  v_zone text := hirundo.time_zone();
begin
  return query
    select 'dirty hours', to_char(max(m.hour) at time zone v_zone, 'YYYY-MM-DD HH24:MI'), count(*) from hirundo.dirty m
    union all
    select 'dirty days', to_char(max(d.day), 'YYYY-MM-DD'), count(*) from hirundo.dirty_day d
    union all
    select 'flow days past retention', to_char(max(p.day), 'YYYY-MM-DD'), count(*)
    from hirundo.partition_days() p where (p.day + 1)::timestamp at time zone 'UTC' <= hirundo.retention_cutoff();
  for r in select x.name, x.before from hirundo.rollup_retention() x where x.before is not null loop
    what := r.name || ' rows past retention';
    until := to_char(r.before - 1, 'YYYY-MM-DD');
    if r.name = 'port_hour' then
      select count(*) into count from hirundo.port_hour p where p.hour < r.before::timestamp at time zone v_zone;
    else
      execute format('select count(*) from hirundo.%I where day < $1', r.name) into count using r.before;
    end if;
    return next;
  end loop;
end
$$;
----
comment on function hirundo.maintenance_due() is
  'What hirundo-collector maintain would do now: marks to roll up, days of flow and rows of rollups past retention, up to when. Example: select * from hirundo.maintenance_due().';
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
