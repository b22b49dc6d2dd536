-- What arrived from one sensor, whenever its packets were captured. Variable: sensor.
\pset border 0
\pset null '-'
-- Always one row, which \gset wants; a null leaves its variable unset.
select min(sensor_id) as sensor_id,
  case when count(*) > 0 then tstzrange(min(slot), max(slot) + interval '15 minutes') end as period
from hirundo.observation join hirundo.sensor using (sensor_id)
where name = :'sensor'
\gset
\if :{?period}
\echo What sensor :sensor brought:
select lower(:'period'::tstzrange) as from_, upper(:'period'::tstzrange) as to_, sum(frames) as frames,
  sum(row_packets) as rows, sum(flood_packets) as flood, sum(non_ip) as non_ip,
  sum(malformed) as malformed, sum(quarantined) as quarantined, sum(difference) as difference
from hirundo.accounting(:'period')
where sensor = :'sensor';

\pset border 1
\echo Its ports with most packets:
select rank, port, packets
from hirundo.top_ports(:'period', 10)
where sensor = :'sensor'
order by rank;

\echo Its sources with most packets:
select src, count(distinct (proto, port)) as ports, sum(packets) as packets, min(ttl) as ttl_min,
  max(ttl) as ttl_max
from hirundo.flow
where sensor_id = :sensor_id and ts >= lower(:'period'::tstzrange) and ts < upper(:'period'::tstzrange)
group by src
order by sum(packets) desc, src
limit 10;
\else
\echo Nothing arrived from sensor :sensor in any window.
\endif
select count(*) > 0 as any_quarantined
from hirundo.quarantine join hirundo.sensor using (sensor_id)
where name = :'sensor'
\gset
\if :any_quarantined
\echo Batches that were set aside (hirundo-collector quarantine show):
select quarantine_id, reason, frames
from hirundo.quarantine join hirundo.sensor using (sensor_id)
where name = :'sensor'
order by quarantine_id;
\endif
