-- What the quickstart shows of January to March 2023. Variables: prefixes (the hosting company's, cidr[]),
-- sent (rows (sensor, frames) that went in).
\set period 'hirundo.quarter(''2023Q1'')'
\set ports '{22/TCP,5900/TCP}'
\pset border 1
\pset null '-'

\echo Addresses of one hosting company, 22/TCP and 5900/TCP, as the sensors of each region see them:
select region, ttl_min, ttl_max, ttl_median, sources, packets, all_sources
from hirundo.ttl_spread(:period, :'prefixes', :'ports');

\echo Are they where their prefixes say? Hops farther than home (median_d):
select region, pairs, median_d, share_positive, to_char(p_value, '9.9EEEE') as p_value, weak
from hirundo.ttl_origin(:period, :'prefixes', :'ports', 'JP');
select distinct 'verdict: ' || verdict || E'\nreason:  ' || reason
from hirundo.ttl_origin(:period, :'prefixes', :'ports', 'JP')
\g (format=unaligned tuples_only=on)
\echo

\echo Its source hosts, day by day:
\pset format unaligned
\pset tuples_only on
with d as (
  select day, coalesce(max(hosts) filter (where port = '22/TCP'), 0) as ssh,
    coalesce(max(hosts) filter (where port = '5900/TCP'), 0) as vnc
  from hirundo.source_hosts_daily(:period, :'prefixes', :'ports')
  group by day
), shown as (
  select d.*, max(greatest(ssh, vnc)) over () as most,
    min(day) filter (where ssh + vnc > 0) over () as first,
    max(day) filter (where ssh + vnc > 0) over () as last
  from d
)
select '               22/TCP                             5900/TCP'
union all
(select format('  %s  %s %s  %s %s', day,
    lpad(ssh::text, 3), rpad(repeat('█', (ssh * 28.0 / most)::int), 29),
    lpad(vnc::text, 3), repeat('█', (vnc * 28.0 / most)::int))
  from shown where day between first and last order by day);
\echo

\echo The ten most received ports of each sensor:
with top as (
  select sensor, label_en, country, string_agg(port, '  ' order by rank) as ports
  from hirundo.top_ports(:period, 10)
  group by sensor, label_en, country
)
select format('  %s %s  %s', country, rpad(label_en, 18), ports)
from top
order by country <> 'JP', regexp_replace(label_en, '\d+$', ''),
  coalesce(substring(label_en from '\d+$'), '0')::int;
\echo
\pset tuples_only off
\pset format aligned

\echo Average packets a sensor and day, home against overseas:
select to_char(bucket, 'YYYY-MM') as month, side, packets, round(sensor_days, 1) as sensor_days,
  round(average, 1) as average
from hirundo.sensor_average(:period, 'month')
order by 1, 2;

\echo Where every frame went:
\pset border 0
select sensor, sent.frames as sent, sum(a.frames) as frames, sum(row_packets) as rows,
  sum(flood_packets) as flood, sum(non_ip) as non_ip, sum(malformed) as malformed,
  sum(quarantined) as quarantined, sum(lost) as lost, sum(abs(difference)) as difference
from hirundo.accounting(:period) a
join (values :sent) as sent (sensor, frames) using (sensor)
group by sensor, sent.frames
order by sensor;
