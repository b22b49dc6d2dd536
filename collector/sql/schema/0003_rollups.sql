-- Rollups: what analysts ask most, added up ahead, and the marks that say where it is out of date. As hirundo_owner.
-- Hours and days are of the reporting time zone. Every table has class in its key (hirundo.traffic_class). Port codes are
-- those of hirundo.traffic. Counts called source_days or source_hours were distinct within their row and count a source
-- again in the next: adding them gives source-days, never sources. flood_packets are contained in packets; of a flood's
-- sources only bounds are known: the largest estimate of its rows and the sum of all.
-- Filled by hirundo.rollup_step() alone; the rules of 0001_base.sql hold, network-wide tables have no sensor.
alter table hirundo.setting drop constraint setting_check;
----
alter table hirundo.setting add constraint setting_check check (
  case when name = 'time_zone' then timestamptz '2023-01-01 00:00:00+00' at time zone value is not null
       when name = 'home_country' then value ~ '^([A-Z]{2})?$'
       when name = 'accept_from' then value::date is not null
       when name = 'accept_ahead' then value::interval >= interval '0'
       when name like 'retention_%' then lower(value) = 'off' or value::interval >= interval '1 day'
       else true end);
----
insert into hirundo.setting (name, value, meaning) values
  ('retention_port_hour', 'off', 'Age at which rows of hirundo.port_hour are deleted; off: never'),
  ('retention_port_day', 'off', 'Age at which rows of hirundo.port_day are deleted; off: never'),
  ('retention_source_day', 'off', 'Age at which rows of hirundo.source_day, the largest rollup, are deleted; off: never'),
  ('retention_scanner_day', 'off', 'Age at which rows of hirundo.scanner_day are deleted; off: never'),
  ('retention_country_day', 'off', 'Age at which rows of hirundo.country_day are deleted; off: never'),
  ('retention_port_country_day', 'off', 'Age at which rows of hirundo.port_country_day are deleted; off: never'),
  ('retention_network_port_day', 'off', 'Age at which rows of hirundo.network_port_day are deleted; off: never');
----
create table hirundo.dirty (
  sensor_id smallint not null,
  hour timestamptz not null,
  gen bigint not null default 1,
  primary key (sensor_id, hour)
) with (fillfactor = 50);
----
comment on table hirundo.dirty is
  'Hours (UTC) of a sensor whose rollups are out of date, marked in the transaction that adds the rows: gen = gen + 1. The rollup job deletes a mark only where gen is the one it read before it read flow.';
----
create table hirundo.dirty_day (
  sensor_id smallint not null,
  day date not null,
  primary key (sensor_id, day)
);
----
comment on table hirundo.dirty_day is
  'Days of a sensor whose daily rollups are to be rebuilt, once the day has ended and none of its hours is dirty. Written by the rollup job alone, so it needs no gen.';
----
create table hirundo.rollup_hour (
  hour timestamptz primary key,
  zone text not null
);
----
comment on table hirundo.rollup_hour is
  'Hours that port_hour answers for, where none is dirty: those of 60 minutes that were rolled up in this time zone.';
----
create table hirundo.rollup_day (
  day date primary key,
  zone text not null,
  first timestamptz not null,
  past timestamptz not null,
  built_at timestamptz not null
);
----
comment on table hirundo.rollup_day is
  'Days that the daily rollups answer for, where nothing of them is dirty: [first, past) was rolled up as this day of this time zone.';
----
create table hirundo.rollup_gone (
  name text primary key,
  before date not null
);
----
comment on table hirundo.rollup_gone is
  'How far retention has gone: days before this were deleted from the rollup of this name, which does not answer for them any more.';
----
create table hirundo.flow_dropped (
  day date primary key
);
----
comment on table hirundo.flow_dropped is
  'Days (UTC) whose partitions retention has dropped: what was rolled up of them stays as it is, since it cannot be computed again.';
----
create table hirundo.port_hour (
  hour timestamptz not null,
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  source_hours bigint not null,
  flood_sources_min bigint,
  flood_sources_max bigint,
  port_code integer not null,
  sensor_id smallint not null,
  ttl_min smallint not null,
  ttl_max smallint not null,
  class text not null,
  primary key (sensor_id, hour, port_code, class)
);
----
comment on table hirundo.port_hour is
  'Traffic by sensor, hour, port and class, flood rows included. source_hours: distinct sources of its flow rows.';
----
create table hirundo.port_day (
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  source_days bigint not null,
  flood_sources_min bigint,
  flood_sources_max bigint,
  day date not null,
  port_code integer not null,
  sensor_id smallint not null,
  ttl_min smallint not null,
  ttl_max smallint not null,
  class text not null,
  primary key (sensor_id, day, port_code, class)
);
----
comment on table hirundo.port_day is
  'Traffic by sensor, day, port and class, flood rows included. source_days: distinct sources of its flow rows.';
----
-- not BRIN: pages that nobody summarised yet would be read by every step
create index port_day_day on hirundo.port_day (day);
----
create table hirundo.source_day (
  packets bigint not null,
  bytes bigint not null,
  asn bigint,
  day date not null,
  port_code integer not null,
  organisation_id integer,
  sensor_id smallint not null,
  ttl smallint not null,
  fragment boolean not null,
  class text not null,
  src inet not null,
  country char(2)
);
----
comment on table hirundo.source_day is
  'Flow rows by sensor, day, source, port, class, TTL and fragment mark; AS, country and organisation of the source as known on that day. Exact distinct counts over any days come from here. Without flood rows, which have no source.';
----
create index source_day_day on hirundo.source_day (day, sensor_id);
----
create index source_day_src on hirundo.source_day (src);
----
create table hirundo.scanner_day (
  packets bigint not null,
  day date not null,
  ports integer not null,
  sensors integer not null,
  src inet not null,
  primary key (day, src)
);
----
comment on table hirundo.scanner_day is
  'Sources that sent to at least 5 ports within a day, over all sensors: ports and sensors are distinct counts. Without backscatter, local traffic and flood rows.';
----
create table hirundo.country_day (
  packets bigint not null,
  bytes bigint not null,
  source_days bigint not null,
  day date not null,
  sensor_id smallint not null,
  class text not null,
  country text not null,
  primary key (sensor_id, day, country, class)
);
----
comment on table hirundo.country_day is
  'Traffic by sensor, day, class and country of the source as known on that day (empty: not known, or a flood row, which has no source).';
----
create table hirundo.port_country_day (
  packets bigint not null,
  bytes bigint not null,
  source_days bigint not null,
  day date not null,
  port_code integer not null,
  sensor_id smallint not null,
  class text not null,
  country text not null,
  primary key (sensor_id, day, port_code, country, class)
);
----
comment on table hirundo.port_country_day is
  'Traffic by sensor, day, port, class and country of the source as known on that day (empty: not known, or a flood row, which has no source).';
----
create table hirundo.network_port_day (
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  sources bigint not null,
  flood_sources_min bigint,
  flood_sources_max bigint,
  day date not null,
  port_code integer not null,
  sensors integer not null,
  class text not null,
  primary key (day, port_code, class)
);
----
comment on table hirundo.network_port_day is
  'Traffic of all sensors together by day, port and class, flood rows included. sources: distinct over all sensors within the day, of flow rows; sensors: how many received any.';
----
-- what is in flow already is to be rolled up
insert into hirundo.dirty (sensor_id, hour)
select distinct u.sensor_id, date_trunc('hour', u.ts, 'UTC')
from (select f.sensor_id, f.ts from hirundo.flow f union all select f.sensor_id, f.ts from hirundo.flood f) u;
