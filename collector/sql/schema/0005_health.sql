-- Health: what sensors report of themselves, and settings of how long data is kept, by age and by size. As hirundo_owner.
create table hirundo.heartbeat (
  sensor_id smallint not null primary key,
  received_at timestamptz not null,
  peer text not null,
  version text not null,
  run_id bigint not null,
  uptime_s bigint not null,
  rss_kib bigint not null,
  cpu_ms bigint not null,
  spool_batches bigint not null,
  spool_bytes bigint not null,
  spool_cap_bytes bigint not null,
  spool_age_s bigint not null,
  spool_dropped bigint not null,
  queue_batches bigint not null,
  clock_offset_ms bigint not null,
  round_trip_ms bigint not null,
  frames bigint not null,
  kernel_dropped bigint not null,
  if_dropped bigint not null,
  spool_failing boolean not null,
  problem text not null
) with (fillfactor = 50);
----
comment on table hirundo.heartbeat is
  'What each sensor last reported of itself (every 60 s while it is connected); hirundo.sensor_status says what it means. Written by the collector that received it, by its own clock (received_at).';
----
comment on column hirundo.heartbeat.spool_batches is 'Batches in the sensor''s spool that no collector has acknowledged';
----
comment on column hirundo.heartbeat.spool_age_s is 'For how long the oldest of them has been in the spool, in seconds';
----
comment on column hirundo.heartbeat.spool_dropped is 'Undelivered batches that had to leave the full spool since the sensor''s process started';
----
comment on column hirundo.heartbeat.queue_batches is 'Batches in memory that are not in the spool yet: more than a few when its disk cannot be written';
----
comment on column hirundo.heartbeat.clock_offset_ms is 'Collector''s clock less the sensor''s, corrected by half of the round trip: positive where the sensor''s clock is behind';
----
comment on column hirundo.heartbeat.frames is 'Frames counted in this run (run_id), as are kernel_dropped and if_dropped; up to the last batch spooled';
----
comment on column hirundo.heartbeat.problem is 'The sensor''s present complaint; empty where it has none';
----
create table hirundo.heartbeat_hour (
  sensor_id smallint not null,
  hour timestamptz not null,
  heartbeats integer not null,
  spool_batches bigint not null,
  spool_age_s bigint not null,
  clock_offset_min_ms bigint not null,
  clock_offset_max_ms bigint not null,
  round_trip_ms bigint not null,
  rss_kib bigint not null,
  primary key (sensor_id, hour)
) with (fillfactor = 50);
----
comment on table hirundo.heartbeat_hour is
  'Heartbeats by sensor and hour (UTC, of the collector''s clock): how many came (60 where nothing is wrong), and the largest spool_batches, spool_age_s, round_trip_ms and rss_kib among them. Since when a spool has been growing, or a clock drifting, stands here.';
----
create index heartbeat_hour_hour on hirundo.heartbeat_hour using brin (hour);
----
-- what sensor_status asks of each sensor
create index loss_declared_at on hirundo.loss (sensor_id, declared_at);
----
create index quarantine_open on hirundo.quarantine (sensor_id) where resolved_at is null;
----
-- what retention asks: rows come in this order
create index batch_committed_at on hirundo.batch using brin (committed_at);
----
alter table hirundo.setting add constraint setting_health_check check (
  case when name in ('late_after', 'silent_after', 'losing_for', 'clock_off_after') then value::interval > interval '0'
       when name like 'max\_size\_%' then lower(value) = 'off' or pg_size_bytes(value) > 0
       else true end);
----
insert into hirundo.setting (name, value, meaning) values
  ('late_after', '5 minutes', 'Without a batch for so long a sensor is late; longer than its [flow] window and [batch] max_delay'),
  ('silent_after', '1 hour', 'Without batch and heartbeat for so long a sensor is silent'),
  ('losing_for', '1 hour', 'A sensor that declared a loss, or whose kernel dropped packets, is losing for so long'),
  ('clock_off_after', '5 seconds', 'A sensor whose clock differs from the collector''s by more is clock off'),
  ('retention_batch', '400 days', 'Age at which rows of hirundo.batch (digests of what came) are deleted; off: never'),
  ('retention_quarantine', '400 days', 'Age at which messages in hirundo.quarantine are deleted, resolved or not; off: never'),
  ('retention_heartbeat_hour', '90 days', 'Age at which rows of hirundo.heartbeat_hour are deleted; off: never'),
  ('max_size_database', 'off', 'Size of the database beyond which the collector stops taking data, such as 900 GB: sensors keep theirs in their spools; off: no limit'),
  ('max_size_flow', 'off', 'Size of flow and flood with their indexes beyond which the oldest days go, such as 200 GB, never today; off: no limit'),
  ('max_size_quarantine', '2 GB', 'Size of hirundo.quarantine beyond which the oldest messages go, resolved ones first, never today''s; off: no limit'),
  ('max_size_port_hour', 'off', 'Size of hirundo.port_hour beyond which its oldest days go; off: no limit'),
  ('max_size_port_day', 'off', 'Size of hirundo.port_day beyond which its oldest days go; off: no limit'),
  ('max_size_source_day', 'off', 'Size of hirundo.source_day, the largest rollup, beyond which its oldest days go; off: no limit'),
  ('max_size_scanner_day', 'off', 'Size of hirundo.scanner_day beyond which its oldest days go; off: no limit'),
  ('max_size_country_day', 'off', 'Size of hirundo.country_day beyond which its oldest days go; off: no limit'),
  ('max_size_port_country_day', 'off', 'Size of hirundo.port_country_day beyond which its oldest days go; off: no limit'),
  ('max_size_network_port_day', 'off', 'Size of hirundo.network_port_day beyond which its oldest days go; off: no limit');
