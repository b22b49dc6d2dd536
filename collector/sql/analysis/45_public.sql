-- Figures that anybody may read, since no single sensor moves them further than to its neighbour's place: what the report for the
-- public is made of (docs/sharing.md says what is attacked, docs/decisions/0075-public-report.md why it is done so).
--
-- Each is of the sensor in the middle (hirundo.share_middle) of those that observed at least half of the time; nothing where fewer
-- than three did, or where not more than half of them, and three, received any. Who received nothing counts as 0.
create or replace function hirundo.public_round(v double precision)
returns numeric
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when v > 0 then trim_scale(round(v::numeric, least(1 - floor(log(v::numeric))::int, 4))) else 0 end;
end
$$;
----
comment on function hirundo.public_round(double precision) is
  'Two significant digits, four decimals at most. Example: select hirundo.public_round(1234) gives 1200.';
----
create or replace function hirundo.public_value(reached double precision[], observing bigint)
returns numeric
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when observing >= 3 and cardinality(reached) >= 3 then hirundo.public_round(hirundo.share_middle(reached, observing::int))
              when observing >= 3 then 0 end;
end
$$;
----
comment on function hirundo.public_value(double precision[], bigint) is
  'The value of the sensor in the middle of those that observed, of which these are what the others than 0 have, in ascending order; two significant digits. 0 where not more than half have any, or fewer than three; null where fewer than three observed. Example: select hirundo.public_value(''{1,2,3,4}'', 5) gives 2.';
----
drop function if exists hirundo.public_sensors(timestamptz, timestamptz, text);
----
create or replace function hirundo.public_sensors(first timestamptz, past timestamptz, bucket text default null, grain text default 'port_day')
returns table (bucket_start date, sensor_id smallint, side text, days double precision)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_past timestamptz := least(past, now());
  v_first date := (first at time zone hirundo.time_zone())::date;
  v_home text := hirundo.home_country();
begin
  return query
    with observed as materialized (
      -- time of which the figure's data are gone was not observed for it
      select o.sensor_id, o.day, o.covered_ms
      from hirundo.kept_time(first, v_past, case when grain is not null then (select c.rest from hirundo.rollup_cover(first, v_past, grain) c) end) o
    ), due as materialized (
      -- not what was before any sensor was
      select coalesce(date_trunc(bucket, l.day::timestamp)::date, v_first) as b, count(*) * 43200000 as ms
      from hirundo.local_days(first, v_past) l
      where bucket is not null or l.day >= (select min(o.day) from observed o)
      group by 1
    ), seen as (
      select coalesce(date_trunc(bucket, o.day::timestamp)::date, v_first) as b, o.sensor_id, sum(o.covered_ms) as ms
      from observed o
      group by 1, 2
    )
    select d.b, s.sensor_id, case when n.country::text = v_home then 'home' else 'overseas' end, s.ms::float8 / 86400000
    from due d
    join seen s on s.b = d.b and s.ms >= d.ms
    join hirundo.sensor n on n.sensor_id = s.sensor_id;
end
$$;
----
comment on function hirundo.public_sensors(timestamptz, timestamptz, text, text) is
  'Sensors that observed at least half of [first, past), as far as it is over and from the first day on that any sensor observed, or of each bucket (week, month) of it: bucket_start, sensor_id, side (home, overseas), days (observed, and of which the rollup grain or flow has the data; NULL: whatever is kept). Example: select side, count(*) from hirundo.public_sensors(''2023-01-01'', ''2023-04-01'') group by side.';
----
-- What each sensor received: the parts of all public figures but those of an organisation.
create or replace function hirundo.public_received(kind text, first timestamptz, past timestamptz, bucket text default null, codes integer[] default null)
returns table (bucket_start date, item text, sensor_id smallint, n double precision)
language plpgsql stable rows 10000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_days date[];
  v_rest tstzmultirange;
  v_from date := (first at time zone v_zone)::date; -- the one bucket where none is asked for
begin
  select c.days, c.rest into v_days, v_rest
  from hirundo.rollup_cover(first, past, case kind when 'port' then 'port_day' when 'country' then 'country_day' else 'sensor_day' end) c;
  if kind = 'port' then
    return query
      select coalesce(date_trunc(bucket, u.d::timestamp)::date, v_from), u.code::text, u.sensor_id, sum(u.p)::float8
      from (select d.day as d, d.port_code as code, d.sensor_id, d.packets as p
            from hirundo.port_day d
            where d.day = any (v_days) and d.port_code = any (codes) and d.class <> 'local'
            union all
            select (t.ts at time zone v_zone)::date, t.port_code, t.sensor_id, sum(t.packets)
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.traffic t
              where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest)
                and t.port_code = any (codes) and t.class <> 'local') t
            group by 1, 2, 3) u
      group by 1, 2, 3;
  elsif kind = 'country' then
    return query
      with row as materialized (
        select (f.ts at time zone v_zone)::date as d, f.src, f.sensor_id, sum(f.packets) as p
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.flow_classed f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest) and f.class <> 'local') f
        group by 1, 2, 3
      ), set as materialized (
        select e.d, hirundo.prefix_set_for(e.d) as id from (select distinct w.d from row w) e
      )
      select coalesce(date_trunc(bucket, u.d::timestamp)::date, v_from), u.country, u.sensor_id, sum(u.p)::float8
      from (select c.day as d, c.country, c.sensor_id, c.packets as p
            from hirundo.country_day c where c.day = any (v_days) and c.class <> 'local' and c.country <> ''
            union all
            select w.d, x.country::text, w.sensor_id, w.p
            from row w
            join set s on s.d = w.d
            cross join lateral (
              select n.hi, n.country from hirundo.network n
              where n.set_id = s.id and n.lo <= w.src order by n.lo desc limit 1) x
            where x.hi >= w.src and x.country is not null) u
      group by 1, 2, 3;
  elsif kind = 'total' then
    return query
      select coalesce(date_trunc(bucket, u.d::timestamp)::date, v_from), '', u.sensor_id, sum(u.p)::float8
      from (select s.day as d, s.sensor_id, s.packets as p
            from hirundo.sensor_day s where s.day = any (v_days) and s.class <> 'local'
            union all
            select (t.ts at time zone v_zone)::date, t.sensor_id, sum(t.packets)
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.traffic t
              where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest) and t.class <> 'local') t
            group by 1, 2) u
      group by 1, 3;
  else
    return query
      select coalesce(date_trunc(bucket, u.d::timestamp)::date, v_from), '', u.sensor_id, sum(u.p)::float8
      from (select s.day as d, s.sensor_id, s.source_days as p
            from hirundo.sensor_day s where s.day = any (v_days) and s.class <> 'local' and s.class <> 'backscatter'
            union all
            select (f.ts at time zone v_zone)::date, f.sensor_id, count(distinct (f.class, f.src))
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.flow_classed f
              where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
                and f.class <> 'local' and f.class <> 'backscatter') f
            group by 1, 2) u
      group by 1, 3;
  end if;
end
$$;
----
comment on function hirundo.public_received(text, timestamptz, timestamptz, text, integer[]) is
  'Internal to the public figures: what each sensor received in [first, past), by bucket (week, month; null: all): kind port (packets of these codes), country (of the source; packets), total (packets), sources (distinct per day and class, without backscatter, added up over days): bucket_start, item, sensor_id, n. Without class local. Example: select * from hirundo.public_received(''total'', ''2023-02-01'', ''2023-03-01'').';
----
create or replace function hirundo.public_candidates(first timestamptz, past timestamptz, n integer default 300)
returns integer[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_days date[];
  v_rest tstzmultirange;
begin
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(first, past, 'port_day,network_port_day') c;
  return (
    select coalesce(array_agg(k.code), '{}')
    from (select u.code
          from (select d.port_code as code, d.sensors as s, d.packets as p
                from hirundo.network_port_day d where d.day = any (v_days) and d.class <> 'local'
                union all
                select t.port_code, count(distinct (t.sensor_id, (t.ts at time zone v_zone)::date)), sum(t.packets)
                from unnest(v_rest) r
                cross join lateral (
                  select * from hirundo.traffic t
                  where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest) and t.class <> 'local') t
                group by 1) u
          group by u.code
          order by sum(u.s) desc, sum(u.p) desc, u.code
          limit public_candidates.n) k);
end
$$;
----
comment on function hirundo.public_candidates(timestamptz, timestamptz, integer) is
  'Internal to hirundo.public_top: codes of the ports that most sensors received on most days, by which alone they are chosen: what a single sensor received moves a port by a place at most. Example: select hirundo.port_label(c) from unnest(hirundo.public_candidates(''2023-02-01'', ''2023-03-01'', 20)) c.';
----
create or replace function hirundo.public_top(kind text, period tstzrange, bucket text default null, n integer default 10)
returns table (bucket_start date, rank integer, item text, average numeric)
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
  v_codes int[];
  v_kind text := lower(btrim(coalesce(kind, 'port')) collate "C");
  v_grain text := case v_kind when 'port' then 'port_day,network_port_day' else 'country_day' end;
begin
  if v_kind not in ('port', 'country') then
    raise exception '% is no kind of public figure', quote_literal(kind)
      using errcode = 'invalid_parameter_value', hint = 'Take port or country.';
  end if;
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  v_codes := case when v_kind = 'port' then hirundo.public_candidates(v_first, v_past) end;
  return query
    with got as materialized (
      select * from hirundo.public_received(v_kind, v_first, v_past, bucket, v_codes)
    ), watch as materialized (
      select * from hirundo.public_sensors(v_first, v_past, null, v_grain)
    ), watches as materialized (
      select * from hirundo.public_sensors(v_first, v_past, bucket, v_grain)
    ), whole as (
      select e.item, hirundo.public_value(array_agg(e.v order by e.v), (select count(*) from watch)) as v
      from (select g.item, sum(g.n) / w.days as v
            from got g join watch w on w.sensor_id = g.sensor_id
            group by g.item, g.sensor_id, w.days) e
      group by e.item
    ), head as materialized (
      -- with all that tie for the last place: names are made for these alone
      select h.item, h.v from (select w.*, rank() over (order by w.v desc) as r from whole w where w.v > 0) h where h.r <= public_top.n
    ), top as materialized (
      select t.item, t.label, t.r
      from (select h.item, l.label, row_number() over (order by h.v desc, l.label collate "C")::int as r
            from head h
            cross join lateral (select case v_kind when 'port' then hirundo.port_label(h.item::int) else h.item end as label offset 0) l) t
      where t.r <= public_top.n
    ), part as materialized (
      select e.b, e.item, array_agg(e.v order by e.v) as v
      from (select g.bucket_start as b, g.item, g.n / w.days as v
            from got g
            join watches w on w.bucket_start = g.bucket_start and w.sensor_id = g.sensor_id
            where g.item in (select t.item from top t)) e
      group by e.b, e.item
    ), due as (
      select distinct coalesce(date_trunc(bucket, l.day::timestamp)::date, (v_first at time zone hirundo.time_zone())::date) as b
      from hirundo.local_days(v_first, v_past) l
    )
    select d.b, t.r, t.label, hirundo.public_value(coalesce(p.v, '{}'), (select count(*) from watches w where w.bucket_start = d.b))
    from due d
    cross join top t
    left join part p on p.b = d.b and p.item = t.item
    order by d.b, t.r;
end
$$;
----
comment on function hirundo.public_top(text, tstzrange, text, integer) is
  'For anybody: the n ports (kind port) or countries of registration (country) with most packets a day at the sensor in the middle, by bucket (week, month; null: the period as a whole): bucket_start, rank (over the whole period, ties by name), item, average (packets a day; 0: not more than half of the sensors received any; null: fewer than three observed half of the bucket). All traffic but class local, floods included; these have no country. No column missing: exact counts of what was dropped or lost are single sensors''; hirundo.public_accounting has their shares. Example: select * from hirundo.public_top(''port'', hirundo.quarter(''2023Q1''), ''week'', 5).';
----
create or replace function hirundo.public_average(period tstzrange, bucket text default null)
returns table (bucket_start date, side text, packets numeric, sources numeric)
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
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with watch as materialized (
      select w.*, e.side as of from hirundo.public_sensors(v_first, v_past, bucket, 'sensor_day') w
      cross join lateral (values (w.side), ('all')) e(side)
    ), side as (
      select d.b, e.side, count(w.sensor_id) as n
      from (select distinct coalesce(date_trunc(bucket, l.day::timestamp)::date, (v_first at time zone hirundo.time_zone())::date) as b
            from hirundo.local_days(v_first, v_past) l) d
      cross join (values ('all'), ('home'), ('overseas')) e(side)
      left join watch w on w.bucket_start = d.b and w.of = e.side
      group by 1, 2
    ), got as materialized (
      select k.kind, w.bucket_start as b, w.of as side, array_agg(g.n / w.days order by g.n / w.days) as v
      from (values ('total'), ('sources')) k(kind)
      cross join lateral hirundo.public_received(k.kind, v_first, v_past, bucket) g
      join watch w on w.bucket_start = g.bucket_start and w.sensor_id = g.sensor_id
      where g.n > 0
      group by 1, 2, 3
    )
    select s.b, s.side, hirundo.public_value(coalesce(r.v, '{}'), s.n), hirundo.public_value(coalesce(o.v, '{}'), s.n)
    from side s
    left join got r on r.kind = 'total' and r.b = s.b and r.side = s.side
    left join got o on o.kind = 'sources' and o.b = s.b and o.side = s.side
    order by s.b, s.side;
end
$$;
----
comment on function hirundo.public_average(tstzrange, text) is
  'For anybody: packets and source addresses a day at the sensor in the middle, by bucket (week, month; null: the period as a whole) and side: bucket_start, side (all, home, overseas), packets (all but class local), sources (distinct per day and class, without backscatter); null where fewer than three sensors of that side observed half of the bucket. No column missing: exact counts of what was dropped or lost are single sensors''; hirundo.public_accounting has their shares. Example: select * from hirundo.public_average(hirundo.quarter(''2023Q1''), ''month'').';
----
create or replace function hirundo.public_ttl(period tstzrange, sources cidr[] default null, ports text[] default null)
returns table (side text, ttl_min integer, ttl_max integer, ttl_median integer, hosts numeric, packets numeric)
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
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_codes int[] := hirundo.port_codes(ports);
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with watch as materialized (
      select * from hirundo.public_sensors(v_first, v_past, null, 'source_port_day,source_day')
    ), hit as materialized (
      select u.src, u.sensor_id, u.ttl, sum(u.packets) as n
      from hirundo.source_ttls(v_first, v_past, v_ranges, v_codes, false) u
      group by 1, 2, 3
    ), by_ttl as (
      select h.sensor_id, h.ttl, sum(h.n) as n, sum(sum(h.n)) over (partition by h.sensor_id order by h.ttl) as upto,
        sum(sum(h.n)) over (partition by h.sensor_id) as total
      from hit h group by h.sensor_id, h.ttl
    ), by_sensor as (
      select w.side, t.sensor_id, min(t.ttl) as lo, max(t.ttl) as hi, min(t.ttl) filter (where t.upto * 2 >= t.total) as mid, sum(t.n) as n,
        (select count(distinct h.src) from hit h where h.sensor_id = t.sensor_id) as hosts
      from by_ttl t join watch w on w.sensor_id = t.sensor_id
      group by w.side, t.sensor_id
    )
    select b.side, (percentile_disc(0.5) within group (order by b.lo))::int, (percentile_disc(0.5) within group (order by b.hi))::int,
      (percentile_disc(0.5) within group (order by b.mid))::int,
      hirundo.public_round((percentile_disc(0.5) within group (order by b.hosts))::float8),
      hirundo.public_round((percentile_disc(0.5) within group (order by b.n))::float8)
    from by_sensor b
    group by b.side
    having count(*) >= 3 and count(*) * 2 > (select count(*) from watch w where w.side = b.side)
    order by b.side;
end
$$;
----
comment on function hirundo.public_ttl(tstzrange, cidr[], text[]) is
  'For anybody: TTLs of packets from these sources on these ports (NULL: all), at home and overseas: side, ttl_min, ttl_max and ttl_median (the middle one of the sensors'' least, greatest and median TTL), hosts and packets (in the period, of the sensor in the middle of those that received any). No row for a side where fewer than three sensors, or not more than half, received any. No column missing: exact counts of what was dropped or lost are single sensors''; hirundo.public_accounting has their shares. Example: select * from hirundo.public_ttl(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'').';
----
create or replace function hirundo.public_source_hosts(period tstzrange, sources cidr[] default null, bucket text default 'week', n integer default 3,
                                                       ports text[] default null)
returns table (bucket_start date, port text, hosts numeric)
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
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_grain text := case when v_ranges is null then 'port_day' else 'source_port_day' end;
  v_codes int[] := hirundo.port_codes(ports);
  v_zone text := hirundo.time_zone();
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(v_first, v_past, v_grain) c;
  return query
    with daily as materialized (
      select h.day as d, h.port_code as code, h.sensor_id, count(*) as k
      from hirundo.source_hits(v_first, v_past, v_ranges) h
      where v_ranges is not null and (v_codes is null or h.port_code = any (v_codes))
      group by 1, 2, 3
      union all
      -- of all sources: added up already, those of several classes for each
      select x.day, x.port_code, x.sensor_id, sum(x.source_days)
      from hirundo.port_day x
      where v_ranges is null and x.day = any (v_days) and x.port_code = any (v_codes) and x.class <> 'backscatter' and x.class <> 'local'
      group by 1, 2, 3
      union all
      select (f.ts at time zone v_zone)::date, f.port_code, f.sensor_id, count(distinct (f.class, f.src))
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where v_ranges is null and f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and f.port_code = any (v_codes) and f.class <> 'backscatter' and f.class <> 'local') f
      group by 1, 2, 3
    ), watch as materialized (
      select * from hirundo.public_sensors(v_first, v_past, null, v_grain)
    ), watches as materialized (
      select * from hirundo.public_sensors(v_first, v_past, bucket, v_grain)
    ), whole as (
      select e.code, hirundo.public_value(array_agg(e.v order by e.v), (select count(*) from watch)) as v
      from (select d.code, sum(d.k)::float8 / w.days as v from daily d join watch w on w.sensor_id = d.sensor_id group by d.code, d.sensor_id, w.days) e
      group by e.code
    ), top as materialized (
      select t.code, t.label
      from (select w.code, l.label, row_number() over (order by w.v desc, l.label collate "C") as r
            from whole w cross join lateral (select hirundo.port_label(w.code) as label offset 0) l
            where w.v > 0) t
      where t.r <= public_source_hosts.n
    ), part as materialized (
      select e.b, e.code, array_agg(e.v order by e.v) as v
      from (select date_trunc(bucket, d.d::timestamp)::date as b, d.code, sum(d.k)::float8 / w.days as v
            from daily d
            join watches w on w.bucket_start = date_trunc(bucket, d.d::timestamp)::date and w.sensor_id = d.sensor_id
            group by 1, 2, d.sensor_id, w.days) e
      group by 1, 2
    ), due as (
      select distinct date_trunc(bucket, l.day::timestamp)::date as b from hirundo.local_days(v_first, v_past) l
    )
    select d.b, t.label, hirundo.public_value(coalesce(p.v, '{}'), (select count(*) from watches w where w.bucket_start = d.b))
    from due d
    cross join top t
    left join part p on p.b = d.b and p.code = t.code
    order by d.b, t.label collate "C";
end
$$;
----
comment on function hirundo.public_source_hosts(tstzrange, cidr[], text, integer, text[]) is
  'For anybody: hosts of these sources that an average day of each bucket (week, month) brought to the sensor in the middle, for the n ports with most: bucket_start, port, hosts (0: not more than half of the sensors received any; null: fewer than three observed). All sources (NULL) need ports. Without backscatter, local traffic and floods. No column missing: exact counts of what was dropped or lost are single sensors''; hirundo.public_accounting has their shares. Example: select * from hirundo.public_source_hosts(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'').';
----
create or replace function hirundo.public_top_tens(period tstzrange)
returns table (port text, share integer)
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
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with watch as materialized (
      select w.sensor_id from hirundo.public_sensors(v_first, v_past, null, 'port_day,network_port_day') w
    ), got as materialized (
      select g.item, g.sensor_id, g.n
      from hirundo.public_received('port', v_first, v_past, null, hirundo.public_candidates(v_first, v_past)) g
      where g.sensor_id in (select w.sensor_id from watch w)
    ), shared as (
      -- what one sensor alone received takes no other port's place
      select g.item from got g group by g.item having count(*) >= 3 and count(*) * 2 > (select count(*) from watch)
    ), ranked as (
      select g.item, rank() over (partition by g.sensor_id order by g.n desc) as r from got g where g.item in (select s.item from shared s)
    )
    select hirundo.port_label(r.item::int), (floor(4.0 * count(*) / (select count(*) from watch)) * 25)::int
    from ranked r
    where r.r <= 10
    group by r.item
    having count(*) >= 3 and count(*) * 2 > (select count(*) from watch)
    order by 2 desc, 1;
end
$$;
----
comment on function hirundo.public_top_tens(tstzrange) is
  'For anybody: of the ports that more than half of the sensors received (of those that observed half of the period; and three), those that are among the ten most received of these at more than half of them: port, share (of these sensors, in percent, rounded down to 50, 75 or 100). No column missing: exact counts of what was dropped or lost are single sensors''; hirundo.public_accounting has their shares. Example: select * from hirundo.public_top_tens(hirundo.quarter(''2023Q1'')).';
----
create or replace function hirundo.public_accounting(period tstzrange)
returns table (row_share numeric, flood_share numeric, non_ip_share numeric, malformed_share numeric, quarantined_share numeric, lost_share numeric,
               difference_share numeric)
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
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with each as (
      select o.sensor_id, sum(o.frames)::float8 as n, sum(o.row_packets) as r, sum(o.flood_packets) as f, sum(o.non_ip) as i, sum(o.malformed) as m,
        sum(o.quarantined) as q, sum(o.lost) as l
      from hirundo.observation o
      where o.slot >= v_first and o.slot < v_past
        and o.sensor_id in (select w.sensor_id from hirundo.public_sensors(v_first, v_past, null, null) w)
      group by 1
      having sum(o.frames) > 0
    )
    select round((percentile_disc(0.5) within group (order by e.r / e.n) * 100)::numeric, 1), round((percentile_disc(0.5) within group (order by e.f / e.n) * 100)::numeric, 1),
      round((percentile_disc(0.5) within group (order by e.i / e.n) * 100)::numeric, 1), round((percentile_disc(0.5) within group (order by e.m / e.n) * 100)::numeric, 1),
      round((percentile_disc(0.5) within group (order by e.q / e.n) * 100)::numeric, 1), round((percentile_disc(0.5) within group (order by e.l / e.n) * 100)::numeric, 1),
      round((percentile_disc(0.5) within group (order by (e.n - e.r - e.f - e.i - e.m - e.q - e.l) / e.n) * 100)::numeric, 1)
    from each e
    having count(*) >= 3;
end
$$;
----
comment on function hirundo.public_accounting(tstzrange) is
  'For anybody: which part of its frames went where, in percent, each of the sensor in the middle, so that they need not add up to 100: rows, floods, not IP, malformed, quarantined, lost, and what is unexplained. No row where fewer than three sensors had frames. Example: select * from hirundo.public_accounting(hirundo.quarter(''2023Q1'')).';
