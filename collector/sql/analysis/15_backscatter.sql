-- Who was flooded under forged addresses? A victim answers the addresses that were forged, and some of them are sensors.
--
-- Answers are class backscatter: SYN-ACK and RST of TCP, ICMP and ICMPv6 answers, UDP from port 53. The port that was attacked is
-- the one that answers, the source port. Whole days come from backscatter_day, the rest from flow.
create or replace view hirundo.backscatter_flow with (security_invoker = true) as
select f.ts, f.ts + f.duration_ms * interval '1 millisecond' as last_ts, f.sensor_id, f.src as victim,
  case f.proto when 6 then case when f.tcp_flags & 4 <> 0 then 'RST' else 'SYN-ACK' end when 17 then 'UDP' else 'ICMP' end as kind,
  f.proto * 131072 + case when f.proto in (6, 17) then coalesce(f.src_port, 65537) else 0 end as port_code,
  f.packets, f.bytes
from hirundo.flow_classed f
where f.class = 'backscatter';
----
comment on view hirundo.backscatter_flow is
  'hirundo.flow as answers to packets somebody sent under a forged address: time of the first and last packet, victim (the source), kind (SYN-ACK, RST, ICMP, UDP), port_code of the victim''s port (that of the flow''s first packet). Example: select victim, sum(packets) from hirundo.backscatter_flow where ts >= ''2023-02-08'' and ts < ''2023-02-09'' group by victim order by 2 desc limit 10.';
----
create or replace function hirundo.rollup_build_backscatter(day date, first timestamptz, past timestamptz, sensors smallint[])
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
declare
  v_day date := day;
begin
  delete from hirundo.backscatter_day x where x.day = v_day and x.sensor_id = any (sensors);
  insert into hirundo.backscatter_day (packets, bytes, first_ts, last_ts, day, port_code, sensor_id, kind, victim)
  select sum(f.packets), sum(f.bytes), min(f.ts), max(f.last_ts), v_day, f.port_code, f.sensor_id, f.kind, f.victim
  from hirundo.backscatter_flow f
  where f.ts >= first and f.ts < past and f.sensor_id = any (sensors)
  group by f.victim, f.sensor_id, f.kind, f.port_code
  order by f.victim;
end
$$;
----
comment on function hirundo.rollup_build_backscatter(date, timestamptz, timestamptz, smallint[]) is
  'Part of hirundo.rollup_step: rebuilds hirundo.backscatter_day for sensors of a day. Example: see hirundo.rollup_step.';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.backscatter(tstzrange, bigint);
----
create function hirundo.backscatter(period tstzrange, min_packets bigint default 1)
returns table (victim inet, first_seen timestamptz, last_seen timestamptz, packets bigint, bytes bigint, days bigint, kinds text[],
               ports text[], port_count bigint, sensors bigint, regions bigint, asn bigint, country text, organisation text,
               sensor_days numeric, note text, missing text)
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
  v_min bigint := coalesce(min_packets, 1);
  v_zone text := hirundo.time_zone();
  v_known date;
  v_sensor_days numeric;
  v_missing text;
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(v_first, v_past, 'backscatter_day,port_day') c;
  v_known := (case when isfinite(v_past) then v_past - interval '1 microsecond' else now() end at time zone v_zone)::date;
  select o.days into v_sensor_days from hirundo.kept_days(v_first, v_past, v_rest) o;
  select l.missing into v_missing from hirundo.lacking(v_first, v_past, v_rest) l;
  return query
    with part as materialized (
      select x.victim, x.kind, x.port_code as code, x.sensor_id, x.day, x.first_ts, x.last_ts, x.packets, x.bytes
      from hirundo.backscatter_day x
      where x.day = any (v_days)
      union all
      select f.victim, f.kind, f.port_code, f.sensor_id, (f.ts at time zone v_zone)::date, min(f.ts), max(f.last_ts), sum(f.packets)::bigint,
        sum(f.bytes)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.backscatter_flow f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)) f
      group by 1, 2, 3, 4, 5
    ), whole as materialized (
      select p.victim, min(p.first_ts) as first_ts, max(p.last_ts) as last_ts, sum(p.packets)::bigint as packets, sum(p.bytes)::bigint as bytes,
        count(distinct p.day) as days, array_agg(distinct p.kind order by p.kind) as kinds, count(distinct p.sensor_id) as sensors,
        count(distinct s.country) as regions
      from part p
      join hirundo.sensor s on s.sensor_id = p.sensor_id
      group by p.victim
      having sum(p.packets) >= v_min
    ), port as (
      select p.victim, p.code, sum(p.packets) as n
      from part p join whole w on w.victim = p.victim
      group by p.victim, p.code
    ), ports as (
      select r.victim, array_agg(hirundo.port_label(r.code) order by r.place) filter (where r.place <= 10) as ports, count(*) as port_count
      from (select q.*, row_number() over (partition by q.victim order by q.n desc, q.code) as place from port q) r
      group by r.victim
    ), known as (
      select k.* from hirundo.lookup((select array_agg(w.victim) from whole w), v_known) k
    ), flood as (
      select sum(u.n)::bigint as packets, sum(u.b)::bigint as bytes, count(distinct u.day) as days, count(distinct u.sensor_id) as sensors,
        count(distinct s.country) as regions,
        max(u.low) as low, sum(u.high)::bigint as high
      from (
        -- bytes of flood rows alone are in no rollup
        select d.day, d.sensor_id, d.flood_packets as n, null::bigint as b, d.flood_sources_min as low, d.flood_sources_max as high
        from hirundo.port_day d
        where d.day = any (v_days) and d.class = 'backscatter' and d.flood_packets > 0
        union all
        select (f.ts at time zone v_zone)::date, f.sensor_id, f.packets, null, f.sources_estimate, f.sources_estimate
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.flood_classed f
          where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest) and f.class = 'backscatter') f) u
      join hirundo.sensor s on s.sensor_id = u.sensor_id
    )
    select w.victim, w.first_ts, w.last_ts, w.packets, w.bytes, w.days, w.kinds, p.ports, p.port_count, w.sensors, w.regions,
      k.asn, k.country, k.organisation, v_sensor_days,
      case when w.kinds = '{ICMP}' then 'ICMP answers alone: of the victim, or of a router on the way to it' end, v_missing
    from whole w
    join ports p on p.victim = w.victim
    left join known k on k.address = w.victim
    union all
    select null, null, null, f.packets, f.bytes, f.days, null, null, null, f.sensors, f.regions, null, null, null, v_sensor_days,
      'came as flood rows: victims, times and ports are not known'
        || case when f.high is null then '' when f.low = f.high then format('; about %s victims', f.high) else format('; about %s to %s victims', f.low, f.high) end,
      v_missing
    from flood f
    where f.packets > 0
    order by 4 desc, 1;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest,
      case when v_min > 1 then format('no victim answered with %s packets or more', v_min) else 'no answer to a forged packet came' end);
  end if;
end
$$;
----
comment on function hirundo.backscatter(tstzrange, bigint) is
  'Victims of floods under forged addresses, as seen by their answers at all sensors, most packets first: victim, first_seen and last_seen (first and last packet), packets, bytes, days (of the reporting time zone with any), kinds (SYN-ACK, RST, ICMP, UDP), ports (the victim''s; at most 10, most packets first; ICMP does not tell which), port_count, sensors, regions, AS, country of registration and organisation as of the period''s last day, sensor_days (observed in the period, and of which data are kept; on every row), note, missing (what the figures lack: dropped, lost, unknown, gone; clocks that were off). min_packets leaves out victims with fewer. A row without victim: packets in flood rows; its note says between which bounds the number of victims may lie. UDP from port 53 may also be somebody who scans from that port. No row: a NOTICE says why (hirundo.why_no_rows). Example: select victim, first_seen, ports, packets, sensors from hirundo.backscatter(hirundo.quarter(''2023Q1''), 10) limit 20.';
