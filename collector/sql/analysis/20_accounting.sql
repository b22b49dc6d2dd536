-- Where did every frame go?
create or replace function hirundo.accounting(period tstzrange)
returns table (sensor text, hour timestamptz, frames bigint, row_packets bigint, flood_packets bigint, non_ip bigint,
               malformed bigint, quarantined bigint, lost bigint, unknown_s numeric, kernel_dropped bigint,
               if_dropped bigint, difference bigint)
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
  v_zone text := hirundo.time_zone();
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with booked as (
      select o.sensor_id, date_trunc('hour', o.slot, v_zone) as h, sum(o.frames)::bigint as frames,
        sum(o.row_packets)::bigint as row_packets, sum(o.flood_packets)::bigint as flood_packets,
        sum(o.non_ip)::bigint as non_ip, sum(o.malformed)::bigint as malformed, sum(o.quarantined)::bigint as quarantined,
        sum(o.lost)::bigint as lost, sum(o.kernel_dropped)::bigint as kernel_dropped, sum(o.if_dropped)::bigint as if_dropped
      from hirundo.observation o
      where o.slot >= v_first and o.slot < v_past
      group by 1, 2
    ), gap as (
      -- unknown intervals inside the period, joined where they overlap
      select l.sensor_id,
        range_agg(tstzrange(greatest(l.first_window, v_first), least(l.last_window, v_past), '[)')) as gaps
      from hirundo.loss l
      where l.kind = 'unknown' and l.first_window < l.last_window and l.first_window < v_past and l.last_window > v_first
      group by l.sensor_id
    ), unknown as (
      -- by quarter of an hour, which no hour of any zone straddles
      select p.sensor_id, date_trunc('hour', q.slot, v_zone) as h,
        sum(extract(epoch from least(upper(p.r), q.slot + interval '15 minutes') - greatest(lower(p.r), q.slot))) as s
      from (select g.sensor_id, unnest(g.gaps) as r from gap g) p
      cross join lateral generate_series(date_bin('15 minutes', lower(p.r), timestamptz '2000-01-01 00:00:00+00'),
                                         upper(p.r) - interval '1 microsecond', interval '15 minutes') q(slot)
      group by 1, 2
    ), merged as (
      select coalesce(b.sensor_id, u.sensor_id) as sensor_id, coalesce(b.h, u.h) as h,
        coalesce(b.frames, 0) as frames, coalesce(b.row_packets, 0) as row_packets,
        coalesce(b.flood_packets, 0) as flood_packets, coalesce(b.non_ip, 0) as non_ip,
        coalesce(b.malformed, 0) as malformed, coalesce(b.quarantined, 0) as quarantined, coalesce(b.lost, 0) as lost,
        round(coalesce(u.s, 0), 3) as unknown_s, coalesce(b.kernel_dropped, 0) as kernel_dropped,
        coalesce(b.if_dropped, 0) as if_dropped
      from booked b
      full join unknown u on u.sensor_id = b.sensor_id and u.h = b.h
    )
    select s.name, m.h, m.frames, m.row_packets, m.flood_packets, m.non_ip, m.malformed, m.quarantined, m.lost, m.unknown_s,
      m.kernel_dropped, m.if_dropped,
      m.frames - (m.row_packets + m.flood_packets + m.non_ip + m.malformed + m.quarantined + m.lost)
    from merged m
    join hirundo.sensor s on s.sensor_id = m.sensor_id
    order by s.name collate "C", m.h;
end
$$;
----
comment on function hirundo.accounting(tstzrange) is
  'Where every frame went, by sensor and hour of the reporting time zone: frames = row_packets + flood_packets + non_ip + malformed + quarantined + lost, or difference shows by how much not. unknown_s: seconds whose counts died with the sensor''s process or spool. Dropped frames are not in frames. Hours that nobody observed have no row. Example: select * from hirundo.accounting(hirundo.day(''2023-02-08'')) where difference <> 0.';
----
-- Are the packets that were booked really there as rows? Reads all of flow in the period.
create or replace function hirundo.accounting_check(period tstzrange)
returns table (sensor text, hour timestamptz, row_packets bigint, flow_packets bigint, flood_packets bigint,
               flood_row_packets bigint, difference bigint)
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
  v_zone text := hirundo.time_zone();
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with there as materialized (
      select d.day from hirundo.partition_days() d
    ), booked as (
      select o.sensor_id, date_trunc('hour', o.slot, v_zone) as h, sum(o.row_packets)::bigint as n,
        sum(o.flood_packets)::bigint as floods
      from hirundo.observation o
      where o.slot >= v_first and o.slot < v_past
        and (o.row_packets + o.flood_packets = 0 or (o.slot at time zone 'UTC')::date >= (select min(t.day) from there t))
      group by 1, 2
    ), found as (
      select t.sensor_id, date_trunc('hour', t.ts, v_zone) as h, (sum(t.packets) filter (where not t.flood))::bigint as n,
        (sum(t.packets) filter (where t.flood))::bigint as floods
      from hirundo.traffic t
      where t.ts >= v_first and t.ts < v_past
      group by 1, 2
    ), compared as (
      select coalesce(b.sensor_id, f.sensor_id) as sensor_id, coalesce(b.h, f.h) as h, coalesce(b.n, 0) as n,
        coalesce(f.n, 0) as flow_n, coalesce(b.floods, 0) as floods, coalesce(f.floods, 0) as flood_n
      from booked b
      full join found f on f.sensor_id = b.sensor_id and f.h = b.h
    )
    select coalesce(s.name, 'sensor_id ' || c.sensor_id), c.h, c.n, c.flow_n, c.floods, c.flood_n,
      c.n - c.flow_n + c.floods - c.flood_n
    from compared c
    left join hirundo.sensor s on s.sensor_id = c.sensor_id
    order by s.name collate "C", c.sensor_id, c.h;
end
$$;
----
comment on function hirundo.accounting_check(tstzrange) is
  'Compares the books with the rows, by sensor and hour: row_packets against the packets in flow, flood_packets against flood; days dropped by retention are left out. The period should begin and end on a quarter of an hour. Example: select * from hirundo.accounting_check(hirundo.quarter(''2023Q1'')) where row_packets <> flow_packets or flood_packets <> flood_row_packets.';
