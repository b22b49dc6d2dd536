-- The source of every figure: flow and flood with port code and class. Analysis functions read these views and never the
-- tables, so that rollups can take their place. security_invoker: the reader's own rights and row policies hold.
create or replace view hirundo.flow_classed with (security_invoker = true) as
select f.ts, f.sensor_id, f.src, f.proto, f.port, f.src_port, f.ttl, f.tcp_flags, f.marks, f.packets, f.bytes,
  -- as hirundo.port_name
  case when f.proto in (6, 17)
       then f.proto * 131072 + coalesce(f.port, case when f.marks & 4 <> 0 then 65536 else 65537 end)
       else f.proto * 131072 end as port_code,
  -- as hirundo.traffic_class
  case when f.marks & 16 <> 0 then 'local'
       when f.port is null and f.marks & 4 <> 0 and f.proto in (1, 6, 17, 58) then 'fragment'
       when f.proto = 6 then case when f.tcp_flags & 18 = 18 or f.tcp_flags & 4 <> 0 then 'backscatter'
                                  when f.tcp_flags & 18 = 2 then 'scan' else 'other' end
       when f.proto = 17 then case when f.src_port = 53 then 'backscatter' else 'scan' end
       when f.proto = 1 then case when f.port >> 8 in (0, 3, 4, 5, 11, 12, 14, 16, 18) then 'backscatter'
                                  when f.port >> 8 in (8, 13, 15, 17) then 'scan' else 'other' end
       when f.proto = 58 then case when f.port >> 8 in (1, 2, 3, 4, 129) then 'backscatter'
                                   when f.port >> 8 in (128, 139) then 'scan' else 'other' end
       else 'other' end as class,
  f.duration_ms, f.tcp_window, f.ip_id, f.ip_len, f.options_id
from hirundo.flow f;
----
comment on view hirundo.flow_classed is
  'hirundo.flow with port_code (hirundo.port_label names it) and class (hirundo.traffic_class). Example: select class, sum(packets) from hirundo.flow_classed where ts >= ''2023-02-08'' and ts < ''2023-02-09'' group by class.';
----
create or replace view hirundo.flood_classed with (security_invoker = true) as
select f.ts, f.sensor_id, f.packets, f.bytes, f.sources_estimate, f.ttl_min, f.ttl_max,
  case when f.proto in (6, 17) then f.proto * 131072 + coalesce(f.port, 65537) else f.proto * 131072 end as port_code,
  -- a flood row has neither marks nor source port
  case f.proto
    when 6 then case when f.tcp_flags & 18 = 18 or f.tcp_flags & 4 <> 0 then 'backscatter'
                     when f.tcp_flags & 18 = 2 then 'scan' else 'other' end
    when 17 then 'scan'
    when 1 then case when f.port >> 8 in (0, 3, 4, 5, 11, 12, 14, 16, 18) then 'backscatter'
                     when f.port >> 8 in (8, 13, 15, 17) then 'scan' else 'other' end
    when 58 then case when f.port >> 8 in (1, 2, 3, 4, 129) then 'backscatter'
                      when f.port >> 8 in (128, 139) then 'scan' else 'other' end
    else 'other' end as class
from hirundo.flood f;
----
comment on view hirundo.flood_classed is
  'hirundo.flood with port_code and class: never local or fragment, since flood rows have no marks. Example: select class, sum(packets) from hirundo.flood_classed where ts >= ''2023-02-08'' and ts < ''2023-02-09'' group by class.';
----
create or replace view hirundo.traffic with (security_invoker = true) as
select f.ts, f.sensor_id, f.proto, f.port_code, f.class, f.packets::bigint as packets, f.bytes::bigint as bytes, false as flood
from hirundo.flow_classed f
union all
select f.ts, f.sensor_id, (f.port_code >> 17)::smallint, f.port_code, f.class, f.packets, f.bytes, true
from hirundo.flood_classed f;
----
comment on view hirundo.traffic is
  'Every packet, flow and flood rows alike, with port_code and class: for totals, which flood rows belong to. Flood rows have no source and no marks: they are never class local or fragment. Example: select hirundo.port_label(port_code), sum(packets) from hirundo.traffic where ts >= ''2023-02-08'' and ts < ''2023-02-09'' and class <> ''local'' group by 1 order by 2 desc limit 10.';
----
create or replace function hirundo.address_ranges(sources cidr[])
returns hirundo.inetmultirange
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select range_agg(hirundo.inetrange(host(network(c))::inet, host(broadcast(c))::inet, '[]'))
     from unnest(sources) c where c is not null),
    hirundo.inetmultirange());
end
$$;
----
comment on function hirundo.address_ranges(cidr[]) is
  'Prefixes as disjoint ranges of addresses, IPv4 and IPv6 together; NULL for NULL, empty for none. Example: select hirundo.address_ranges(''{198.18.0.0/24,2001:db8::/32}'').';
----
create or replace function hirundo.address_probes(ranges hirundo.inetmultirange)
returns hirundo.inetmultirange
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if (select count(*) from unnest(ranges)) <= 64 or isempty(ranges) then
    return ranges;
  end if;
  return hirundo.inetmultirange(hirundo.inetrange(lower(ranges), upper(ranges), '[]'));
end
$$;
----
comment on function hirundo.address_probes(hirundo.inetmultirange) is
  'The ranges to look up in an index for these: themselves if they are few, else one that holds all. Example: select hirundo.address_probes(hirundo.address_ranges(''{198.18.0.0/24}'')).';
----
create or replace function hirundo.period_bounds(period tstzrange, out first timestamptz, out past timestamptz)
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  if isempty(period) then
    return; -- nulls: no row qualifies
  end if;
  first := coalesce(lower(period), '-infinity');
  past := coalesce(upper(period), 'infinity');
end
$$;
----
comment on function hirundo.period_bounds(tstzrange) is
  'The bounds of a period for ts >= first and ts < past: infinite where it has none (NULL: all time), nulls where it is empty. Example: select * from hirundo.period_bounds(hirundo.month(''2023-02'')).';
----
create or replace function hirundo.local_days(first timestamptz, past timestamptz)
returns table (day date)
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  z text := hirundo.time_zone();
  a timestamptz := first;
  b timestamptz := past;
begin
  if a = '-infinity' then
    select min(o.slot) into a from hirundo.observation o;
  end if;
  if b = 'infinity' and first < past then
    select max(o.slot) + interval '15 minutes' into b from hirundo.observation o;
  end if;
  if a < b then
    return query
      select g::date
      from generate_series((a at time zone z)::date::timestamp,
                           ((b - interval '1 microsecond') at time zone z)::date::timestamp, interval '1 day') g;
  end if;
end
$$;
----
comment on function hirundo.local_days(timestamptz, timestamptz) is
  'The days of the reporting time zone that [first, past) touches; an infinite bound ends where observation does. Example: select * from hirundo.local_days(''2023-02-03T00:00Z'', ''2023-02-05T00:00Z'').';
----
create or replace function hirundo.prefix_set_for(day date)
returns integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce(
    (select s.set_id from hirundo.prefix_set s where s.as_of <= day order by s.as_of desc, s.set_id desc limit 1),
    (select s.set_id from hirundo.prefix_set s order by s.as_of, s.set_id desc limit 1));
end
$$;
----
comment on function hirundo.prefix_set_for(date) is
  'The prefix set that counts for a day: the newest not after it, else the oldest; NULL where none is loaded. Example: select * from hirundo.network where set_id = hirundo.prefix_set_for(''2023-02-08'') limit 10.';
----
create or replace function hirundo.country_ranges(country text, day date)
returns hirundo.inetmultirange
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return coalesce(
    (select range_agg(hirundo.inetrange(n.lo, n.hi, '[]'))
     from hirundo.network n
     where n.set_id = hirundo.prefix_set_for(country_ranges.day) and n.country = country_ranges.country::char(2)),
    hirundo.inetmultirange());
end
$$;
----
comment on function hirundo.country_ranges(text, date) is
  'The address ranges registered in a country, by the prefix set of the day; empty where none is known. Example: select ''198.18.0.7''::inet <@ hirundo.country_ranges(''JP'', ''2023-02-08'').';
