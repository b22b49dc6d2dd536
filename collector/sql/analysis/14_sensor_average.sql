-- How many packets does a sensor receive a day, at home and overseas?
-- Packets: all but class local, flood rows included. Divided by observed sensor-days of which data are kept, so that a gap never looks like calm.
create or replace function hirundo.sensor_average(period tstzrange, bucket text default 'month')
returns setof hirundo.sensor_average_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_first timestamptz;
  v_past timestamptz;
  v_days date[];
  v_hours timestamptz[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_bucket text := lower(btrim(coalesce(bucket, 'month')) collate "C");
  v_zone text := hirundo.time_zone();
  v_home text := hirundo.home_country();
begin
  if v_bucket not in ('day', 'week', 'month', 'quarter') then
    raise exception '% is not a bucket', quote_literal(bucket)
      using errcode = 'invalid_parameter_value', hint = 'Take day, week, month or quarter.';
  end if;
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.hours, c.rest, lower(c.rest), upper(c.rest) into v_days, v_hours, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'sensor_day', 'port_hour') c;
  return query
    with received as (
      -- an array is as large as its first element: of several as large, the first sensor
      select e.b, e.side, sum(e.n) as n, sum(e.flood) as flood, max(e.low) as low, sum(e.high)::bigint as high, max(array[e.n, -e.sensor_id]) as top
      from (
        select u.b, u.sensor_id, case when s.country::text = v_home then 'home' else 'overseas' end as side, sum(u.n) as n, sum(u.flood) as flood,
          max(u.low) as low, sum(u.high) as high
        from (
            select date_trunc(v_bucket, d.day::timestamp)::date as b, d.sensor_id, sum(d.packets) as n, sum(d.flood_packets) as flood,
              max(d.flood_sources_min) as low, sum(d.flood_sources_max) as high
            from hirundo.sensor_day d
            where d.day = any (v_days) and d.class <> 'local'
            group by 1, 2
            union all
            select date_trunc(v_bucket, h.hour at time zone v_zone)::date, h.sensor_id, sum(h.packets), sum(h.flood_packets),
              max(h.flood_sources_min), sum(h.flood_sources_max)
            from hirundo.port_hour h
            where h.hour = any (v_hours) and h.class <> 'local'
            group by 1, 2
            union all
            select date_trunc(v_bucket, t.ts at time zone v_zone)::date, t.sensor_id, sum(t.packets), sum(t.packets) filter (where t.flood), null, null
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.traffic t
              where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= v_rest_first and t.ts < v_rest_past and t.class <> 'local') t
            group by 1, 2
            union all
            -- packets of these are in traffic
            select date_trunc(v_bucket, f.day::timestamp)::date, f.sensor_id, 0, 0, max(f.sources_min), sum(f.sources_max)
            from unnest(v_rest) r
            cross join lateral hirundo.floods(lower(r), upper(r), null, true) f
            where not isempty(v_rest)
            group by 1, 2) u
        join hirundo.sensor s on s.sensor_id = u.sensor_id
        group by 1, 2, 3) e
      group by 1, 2
    ), observed as (
      select date_trunc(v_bucket, o.day::timestamp)::date as b,
        case when s.country::text = v_home then 'home' else 'overseas' end as side,
        sum(o.covered_ms) as ms
      from hirundo.kept_time(v_first, v_past, v_rest) o
      join hirundo.sensor s on s.sensor_id = o.sensor_id
      group by 1, 2
    ), trouble as (
      select date_trunc(v_bucket, t.day::timestamp)::date as b, case when s.country::text = v_home then 'home' else 'overseas' end as side,
        hirundo.trouble_text(sum(t.dropped), sum(t.lost), sum(t.quarantined), sum(t.unknown_s), max(t.clock_off_ms)) as what
      from hirundo.trouble(v_first, v_past) t
      join hirundo.sensor s on s.sensor_id = t.sensor_id
      group by 1, 2
    ), gone as (
      select date_trunc(v_bucket, g.day::timestamp)::date as b, count(*) as days from hirundo.flow_gone_days(v_rest) g group by 1
    ), buckets as (
      select distinct date_trunc(v_bucket, l.day::timestamp)::date as b from hirundo.local_days(v_first, v_past) l
      union
      select r.b from received r
    )
    select k.b, e.side, coalesce(r.n, case when o.ms > 0 then 0 end), round(coalesce(o.ms, 0) / 86400000.0, 6),
      round(coalesce(r.n, 0) * 86400000 / nullif(o.ms, 0), 6), coalesce(r.flood, case when coalesce(o.ms, r.n) is not null then 0 end)::bigint,
      hirundo.missing_text(t.what, g.days),
      r.low, r.high, round(r.top[1] / nullif(r.n, 0), 4), z.name
    from buckets k
    cross join (values ('home'), ('overseas')) e(side)
    left join received r on r.b = k.b and r.side = e.side
    left join hirundo.sensor z on z.sensor_id = -r.top[2] and r.n > 0
    left join observed o on o.b = k.b and o.side = e.side
    left join trouble t on t.b = k.b and t.side = e.side
    left join gone g on g.b = k.b
    order by k.b, e.side;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest, 'no packet that counts came (local ones do not)');
  end if;
end
$$;
----
comment on function hirundo.sensor_average(tstzrange, text) is
  'Average packets per sensor and day, home against overseas, by day, week, month or quarter of the reporting time zone: bucket (its first day), side, packets (0: observed, none came; null: nobody of the side observed, or the data are gone), sensor_days (observed and with data kept, not calendar), average (null where there are none), flood_packets (of packets), missing (what the figure lacks: dropped, lost, unknown, gone; clocks that were off), flood_sources_min and flood_sources_max (of how many sources the flood rows were: the largest estimate and the sum of them; null: none), largest_share (of packets, by the one sensor with most) and largest_sensor (its name; both null where none came). All traffic but class local, flood rows included. An empty period has no row, and a NOTICE says so. Example: select * from hirundo.sensor_average(hirundo.quarter(''2023Q1''), ''month'').';
