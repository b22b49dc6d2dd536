-- What hirundo.rollup_step builds. Each part deletes what it makes anew and inserts it in one pass.
--
-- The planner knows nothing of rows that the same transaction wrote, and would take nested loops over and sort what fits
-- into a hash table: so joins and groups are hashed (enable_*); an ORDER BY still sorts.
create or replace function hirundo.rollup_build_observed(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_day date := day;
begin
  delete from hirundo.observed_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.observed_day (day, sensor_id, covered_ms)
  select v_day, o.sensor_id, sum(o.covered_ms)
  from hirundo.observation o
  where o.sensor_id = any (sensors) and o.slot >= first and o.slot < past and o.covered_ms > 0
  group by o.sensor_id order by o.sensor_id;
end
$$;
----
comment on function hirundo.rollup_build_observed(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds hirundo.observed_day for sensors of a day. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_head_packets()
returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 10;
end
$$;
----
comment on function hirundo.rollup_head_packets() is
  'Ports that received fewer packets at a sensor in a month are left out of hirundo.port_month. Example: select hirundo.rollup_head_packets().';
----
create or replace function hirundo.rollup_busy_packets()
returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 1000;
end
$$;
----
comment on function hirundo.rollup_busy_packets() is
  'Ports that received fewer packets at all sensors together in a month are left out of hirundo.source_port_month. Example: select hirundo.rollup_busy_packets().';
----
-- Port, hour and class of these (sensor, hour) pairs, hours of the zone.
create or replace function hirundo.rollup_build_hours(sensors smallint[], hours timestamptz[], zone text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_nestloop = off
set enable_mergejoin = off
set enable_sort = off
as $$
declare
  v_first timestamptz;
  v_past timestamptz;
begin
  -- an hour in which clocks go back by thirty minutes has ninety
  select min(h), max(h) + interval '2 hours' into v_first, v_past from unnest(hours) h;
  delete from hirundo.port_hour p using unnest(sensors, hours) u(s, h)
  where p.sensor_id = u.s and p.hour = u.h and p.hour >= v_first and p.hour < v_past;
  insert into hirundo.port_hour (sensor_id, hour, port_code, class, packets, bytes, flood_packets, source_hours,
                                 flood_sources_min, flood_sources_max, ttl_min, ttl_max)
  select t.s, t.h, t.code, t.class, sum(t.packets)::bigint, sum(t.bytes)::bigint, sum(t.flood)::bigint, sum(t.sources)::bigint,
    max(t.low), sum(t.high)::bigint, min(t.ttl_min), max(t.ttl_max)
  from (
    -- one row a source: counting them is then counting rows
    select e.s, e.h, e.code, e.class, e.packets, e.bytes, 0::bigint as flood, 1 as sources, null::bigint as low,
      null::bigint as high, e.ttl_min, e.ttl_max
    from (select f.sensor_id as s, date_trunc('hour', f.ts, zone) as h, f.port_code as code, f.class, f.src,
            sum(f.packets) as packets, sum(f.bytes) as bytes, min(f.ttl) as ttl_min, max(f.ttl) as ttl_max
          from hirundo.flow_classed f
          where f.ts >= v_first and f.ts < v_past and f.sensor_id = any (sensors)
          group by 1, 2, 3, 4, 5) e
    union all
    select f.sensor_id, date_trunc('hour', f.ts, zone), f.port_code, f.class, f.packets, f.bytes, f.packets, 0,
      f.sources_estimate, f.sources_estimate, f.ttl_min, f.ttl_max
    from hirundo.flood_classed f
    where f.ts >= v_first and f.ts < v_past and f.sensor_id = any (sensors)) t
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
create or replace function hirundo.rollup_build_sources(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_sort = off
as $$
declare
  v_day date := day;
begin
  delete from hirundo.source_port_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.source_port_day (packets, bytes, day, port_code, sensor_id, ttl, fragment, class, src)
  select sum(f.packets), sum(f.bytes), v_day, f.port_code, f.sensor_id, f.ttl, f.marks & 4 <> 0, f.class, f.src
  from hirundo.flow_classed f
  where f.ts >= first and f.ts < past and f.sensor_id = any (sensors)
  group by f.port_code, f.sensor_id, f.ttl, f.marks & 4 <> 0, f.class, f.src
  order by f.port_code, f.src;
end
$$;
----
comment on function hirundo.rollup_build_sources(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds hirundo.source_port_day for sensors of a day. Example: see hirundo.rollup_step.';
----
-- All other daily tables, from source_port_day (just built) and flood, in one statement. Tables by sensor are rebuilt for
-- these sensors; those of all sensors together for the whole day, since distinct counts do not add.
create or replace function hirundo.rollup_build_day(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_nestloop = off
set enable_mergejoin = off
set enable_sort = off
as $$
declare
  v_day date := day;
  v_table text;
  v_set int := hirundo.prefix_set_for(day);
  v_scanners int := hirundo.scanner_set_for(day);
  v_watched hirundo.inetmultirange :=
    (select hirundo.address_ranges(array_agg(p.prefix)) from hirundo.organisation_prefix p);
  v_bits int := (select (coalesce(max(s.sensor_id), 1) + 7) / 8 * 8 from hirundo.sensor s);
begin
  foreach v_table in array array['port_day', 'sensor_day', 'ttl_day', 'country_day'] loop
    execute format('delete from hirundo.%I x where x.day = $1 and x.sensor_id = any ($2)', v_table) using v_day, sensors;
  end loop;
  foreach v_table in array array['source_day', 'port_country_day', 'network_port_day', 'scanner_day'] loop
    execute format('delete from hirundo.%I x where x.day = $1', v_table) using v_day;
  end loop;

  with row as materialized (
    select x.sensor_id as s, x.port_code as code, x.class, x.src, sum(x.packets)::bigint as p, sum(x.bytes)::bigint as b, min(x.ttl) as lo, max(x.ttl) as hi
    from hirundo.source_port_day x
    where x.day = v_day
    group by 1, 2, 3, 4
  ), flood as materialized (
    select f.sensor_id as s, f.port_code as code, f.class, sum(f.packets)::bigint as p, sum(f.bytes)::bigint as b, max(f.sources_estimate) as low,
      sum(f.sources_estimate)::bigint as high, min(f.ttl_min) as lo, max(f.ttl_max) as hi
    from hirundo.flood_classed f
    where f.ts >= first and f.ts < past
    group by 1, 2, 3
  ), port as materialized (
    -- by sensor and port; n counts sources
    select t.s, t.code, t.class, sum(t.p)::bigint as p, sum(t.b)::bigint as b, sum(t.f)::bigint as f, sum(t.n) as n, max(t.low) as low, sum(t.high)::bigint as high,
      min(t.lo) as lo, max(t.hi) as hi
    from (select r.s, r.code, r.class, r.p, r.b, 0::bigint as f, 1 as n, null::bigint as low, null::bigint as high, r.lo, r.hi from row r
          union all
          select f.s, f.code, f.class, f.p, f.b, f.p, 0, f.low, f.high, f.lo, f.hi from flood f) t
    group by 1, 2, 3
  ), source_port as materialized (
    -- all sensors together
    select r.code, r.class, r.src, sum(r.p)::bigint as p, sum(r.b)::bigint as b from row r group by 1, 2, 3
  ), source_sensor as materialized (
    select r.s, r.src, r.class, sum(r.p)::bigint as p, sum(r.b)::bigint as b from row r group by 1, 2, 3
  ), host_port as materialized (
    -- one row a port and host, whatever its classes
    select r.code, r.src, min(r.class) as class, sum(r.p)::bigint as p
    from source_port r where r.class <> 'backscatter' and r.class <> 'local'
    group by 1, 2
  ), watched as materialized (
    select p.organisation_id, host(network(p.prefix))::inet as lo, host(broadcast(p.prefix))::inet as hi, masklen(p.prefix) as bits
    from hirundo.organisation_prefix p
  ), known as materialized (
    -- at most one row a source, whatever the imported data overlap
    select e.src, n.asn, n.country::text as country, o.organisation_id, c.hi is not null as known_scanner
    from (select distinct q.src from source_sensor q) e
    left join lateral (
      select w.hi, w.asn, w.country from hirundo.network w
      where w.set_id = v_set and w.lo <= e.src order by w.lo desc limit 1) n on n.hi >= e.src
    left join lateral (
      select w.hi from hirundo.scanner_range w
      where w.set_id = v_scanners and w.lo <= e.src order by w.lo desc limit 1) c on c.hi >= e.src
    left join lateral (
      -- the most specific prefix
      select w.organisation_id from watched w
      where e.src <@ v_watched and e.src >= w.lo and e.src <= w.hi
      order by w.bits desc, w.organisation_id limit 1) o on true
  ), mark as materialized (
    select s.sensor_id as s, set_bit(repeat('0', v_bits)::bit varying, s.sensor_id - 1, 1) as bit from hirundo.sensor s
  ), source_mark as materialized (
    select q.src, q.class, bit_or(m.bit) as sensors from source_sensor q join mark m on m.s = q.s group by 1, 2
  ), into_port_day as (
    insert into hirundo.port_day (day, sensor_id, port_code, class, packets, bytes, flood_packets, source_days, flood_sources_min,
                                  flood_sources_max, ttl_min, ttl_max)
    select v_day, p.s, p.code, p.class, p.p, p.b, p.f, p.n, p.low, p.high, p.lo, p.hi
    from port p where p.s = any (sensors) order by p.code
  ), into_network_port_day as (
    insert into hirundo.network_port_day (day, port_code, class, packets, bytes, flood_packets, sources, flood_sources_min,
                                          flood_sources_max, sensors, hosts, host_sensors)
    select v_day, t.code, t.class, sum(t.p), sum(t.b), sum(t.f), sum(t.n), max(t.low), sum(t.high), sum(t.sensors), sum(t.hosts), sum(t.hs)
    from (select p.code, p.class, p.p, p.b, p.f, 0 as n, p.low, p.high, 1 as sensors, 0 as hosts, 0 as hs from port p
          union all
          select r.code, r.class, 0, 0, 0, 1, null, null, 0, 0, 0 from source_port r
          union all
          select h.code, min(h.class), 0, 0, 0, 0, null, null, 0, count(*), 0 from host_port h group by h.code
          union all
          select p.code, min(p.class), 0, 0, 0, 0, null, null, 0, 0, count(distinct p.s) from port p
          where p.n > 0 and p.class <> 'backscatter' and p.class <> 'local' group by p.code) t
    group by t.code, t.class order by t.code
  ), into_port_country_day as (
    insert into hirundo.port_country_day (day, port_code, class, country, packets, bytes, sources)
    select v_day, t.code, t.class, t.country, sum(t.p), sum(t.b), sum(t.n)
    from (select r.code, r.class, coalesce(k.country, '') as country, r.p, r.b, 1 as n from source_port r join known k on k.src = r.src
          union all
          select f.code, f.class, '', f.p, f.b, 0 from flood f) t
    group by t.code, t.class, t.country order by t.code
  ), into_country_day as (
    insert into hirundo.country_day (day, sensor_id, class, country, packets, bytes, source_days)
    select v_day, t.s, t.class, t.country, sum(t.p), sum(t.b), sum(t.n)
    from (select q.s, q.class, coalesce(k.country, '') as country, q.p, q.b, 1 as n from source_sensor q join known k on k.src = q.src
          union all
          select f.s, f.class, '', f.p, f.b, 0 from flood f) t
    where t.s = any (sensors)
    group by t.s, t.class, t.country
  ), into_sensor_day as (
    insert into hirundo.sensor_day (day, sensor_id, class, packets, bytes, flood_packets, source_days, flood_sources_min, flood_sources_max)
    select v_day, t.s, t.class, sum(t.p), sum(t.b), sum(t.f), sum(t.n), max(t.low), sum(t.high)
    from (select q.s, q.class, q.p, q.b, 0 as f, 1 as n, null::bigint as low, null::bigint as high from source_sensor q
          union all
          select f.s, f.class, f.p, f.b, f.p, 0, f.low, f.high from flood f) t
    where t.s = any (sensors)
    group by t.s, t.class
  ), into_ttl_day as (
    insert into hirundo.ttl_day (day, sensor_id, ttl, class, packets)
    select v_day, x.sensor_id, x.ttl, x.class, sum(x.packets)
    from hirundo.source_port_day x where x.day = v_day and x.sensor_id = any (sensors)
    group by 2, 3, 4
  ), into_scanner_day as (
    insert into hirundo.scanner_day (day, src, ports, sensors, packets)
    select v_day, h.src, h.ports, bit_count(m.sensors), h.p
    from (select h.src, count(*) as ports, sum(h.p)::bigint as p from host_port h group by h.src having count(*) >= 5) h
    join (select m.src, bit_or(m.sensors) as sensors from source_mark m
          where m.class <> 'backscatter' and m.class <> 'local' group by m.src) m on m.src = h.src
  )
  insert into hirundo.source_day (day, src, class, packets, bytes, ports, sensors, asn, country, organisation_id, known_scanner)
  select v_day, t.src, t.class, t.p, t.b, t.ports, m.sensors, k.asn, k.country, k.organisation_id, k.known_scanner
  from (select r.src, r.class, sum(r.p)::bigint as p, sum(r.b)::bigint as b, count(*) as ports from source_port r group by r.src, r.class) t
  join source_mark m on m.src = t.src and m.class = t.class
  join known k on k.src = t.src
  order by t.src;
end
$$;
----
comment on function hirundo.rollup_build_day(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds all daily rollups but source_port_day for a day, those by sensor for these sensors. Example: see hirundo.rollup_step.';
----
create or replace function hirundo.rollup_build_month_totals(month date, first timestamptz, past timestamptz)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
set enable_sort = off
as $$
declare
  v_month date := month;
  v_next date := month + interval '1 month';
  v_head int := hirundo.rollup_head_packets();
  v_busy int := hirundo.rollup_busy_packets();
  v_bits int := (select (coalesce(max(s.sensor_id), 1) + 7) / 8 * 8 from hirundo.sensor s);
begin
  delete from hirundo.port_month x where x.month = v_month;
  insert into hirundo.port_month (month, sensor_id, port_code, class, packets, bytes, flood_packets, source_days)
  with port as materialized (
    select d.sensor_id as s, d.port_code as code, d.class, sum(d.packets) as p, sum(d.bytes) as b, sum(d.flood_packets) as f,
      sum(d.source_days) as n
    from hirundo.port_day d where d.day >= v_month and d.day < v_next
    group by 1, 2, 3
  )
  select v_month, p.s, p.code, p.class, p.p, p.b, p.f, p.n
  from port p
  where (p.s, p.code) in (select q.s, q.code from port q where q.class <> 'local' group by 1, 2 having sum(q.p) >= v_head);

  delete from hirundo.network_port_month x where x.month = v_month;
  insert into hirundo.network_port_month (month, port_code, class, packets, bytes, flood_packets, source_days)
  select v_month, d.port_code, d.class, sum(d.packets), sum(d.bytes), sum(d.flood_packets), sum(d.sources)
  from hirundo.network_port_day d where d.day >= v_month and d.day < v_next
  group by 2, 3 order by 2;

  delete from hirundo.source_month x where x.month = v_month;
  -- sensors were fewer on some days, and their bits shorter
  execute format(
    'insert into hirundo.source_month (month, src, class, packets, bytes, days, sensors, asn, country, organisation_id, known_scanner) '
    'select $1, d.src, d.class, sum(d.packets), sum(d.bytes), count(*), bit_or(d.sensors::bit(%s)), d.asn, d.country, d.organisation_id, d.known_scanner '
    'from hirundo.source_day d where d.day >= $1 and d.day < $2 '
    'group by d.src, d.class, d.asn, d.country, d.organisation_id, d.known_scanner order by d.src', v_bits)
  using v_month, v_next;

  insert into hirundo.rollup_month as r (month, zone, first, past, head_packets, busy_packets, built_at)
  values (v_month, hirundo.time_zone(), rollup_build_month_totals.first, rollup_build_month_totals.past, v_head, v_busy, clock_timestamp())
  on conflict on constraint rollup_month_pkey
    do update set zone = excluded.zone, first = excluded.first, past = excluded.past, head_packets = excluded.head_packets,
                  busy_packets = excluded.busy_packets, built_at = excluded.built_at;
end
$$;
----
comment on function hirundo.rollup_build_month_totals(date, timestamptz, timestamptz) is
  'Part of hirundo.rollup_step: rebuilds the monthly rollups that are added up from daily totals, and enters the month as built. Example: see hirundo.rollup_step.';
----
-- What is added up from all source rows of a month, most of a month's work.
create or replace function hirundo.rollup_build_month_sources(month date)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
declare
  v_month date := month;
  v_next date := month + interval '1 month';
  v_busy int := hirundo.rollup_busy_packets();
  v_codes int[];
begin
  select coalesce(array_agg(b.code), '{}') into v_codes
  from (select n.port_code as code from hirundo.network_port_month n where n.month = v_month group by 1 having sum(n.packets) >= v_busy) b;
  delete from hirundo.source_port_month x where x.month = v_month;
  insert into hirundo.source_port_month (month, port_code, src, sensor_id, ttl, fragment, class, packets)
  select v_month, d.port_code, d.src, d.sensor_id, d.ttl, d.fragment, d.class, sum(d.packets)
  from hirundo.source_port_day d
  where d.day >= v_month and d.day < v_next and d.port_code = any (v_codes)
  group by 2, 3, 4, 5, 6, 7 order by 2, 3;

  delete from hirundo.source_ttl_month x where x.month = v_month;
  insert into hirundo.source_ttl_month (month, src, sensor_id, ttl, packets)
  select v_month, d.src, d.sensor_id, d.ttl, sum(d.packets)
  from hirundo.source_port_day d
  where d.day >= v_month and d.day < v_next
    and d.port_code >> 17 <> 1 and d.port_code >> 17 <> 58 and not d.fragment and d.class <> 'backscatter' and d.class <> 'local'
  group by 2, 3, 4 order by 2;
end
$$;
----
comment on function hirundo.rollup_build_month_sources(date) is
  'Part of hirundo.rollup_step: rebuilds hirundo.source_port_month and source_ttl_month; after rollup_build_month_totals, whose network_port_month tells busy ports. Example: see hirundo.rollup_step.';
