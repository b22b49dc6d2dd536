-- Rollups that answer fast: sources apart from ports, months, heads. As hirundo_owner; the rules of 0003_rollups.sql hold.
--
-- What flow still has is rolled up anew into these tables. Of days whose flow is gone, the tables that stay keep what they
-- have; new ones do not answer for such days (rollup_gone).
drop function if exists hirundo.rollup_cover(timestamptz, timestamptz, text, text);
----
drop function if exists hirundo.ttl_cells(timestamptz, timestamptz, hirundo.inetmultirange, integer[]);
----
drop function if exists hirundo.rollup_build_sources(date, timestamptz, timestamptz, smallint[]);
----
drop function if exists hirundo.rollup_build_ports(date, timestamptz, timestamptz, smallint[]);
----
drop function if exists hirundo.rollup_build_network(date, timestamptz, timestamptz);
----
-- Keys are kept by the job, which deletes before it inserts what it grouped by them. Indexes are what figures look up and
-- what a step deletes by: few distinct values, so that they stay small; a primary key was two thirds as large as the row.
alter table hirundo.port_hour drop constraint port_hour_pkey;
----
create index port_hour_hour on hirundo.port_hour (hour, sensor_id);
----
alter table hirundo.port_day drop constraint port_day_pkey;
----
drop index hirundo.port_day_day;
----
create index port_day_day on hirundo.port_day (day, port_code);
----
create index port_day_sensor on hirundo.port_day (sensor_id, day);
----
drop table hirundo.port_country_day;
----
create table hirundo.port_country_day (
  packets bigint not null,
  bytes bigint not null,
  day date not null,
  port_code integer not null,
  sources integer not null,
  class text not null,
  country text not null
);
----
create index port_country_day_day on hirundo.port_country_day (day, port_code);
----
comment on table hirundo.port_country_day is
  'Traffic of all sensors together by day, port, class and country of the source as known on that day (empty: not known, or a flood row, which has no source). sources: distinct within the row.';
----
alter table hirundo.network_port_day
  drop constraint network_port_day_pkey,
  add column hosts integer not null default 0,
  add column host_sensors integer not null default 0;
----
comment on column hirundo.network_port_day.hosts is
  'Distinct sources over all classes but backscatter and local, on one row of each day and port and 0 on its others: add it up over classes, never over days or ports.';
----
comment on column hirundo.network_port_day.host_sensors is 'Sensors that received packets of these hosts, on the row that has hosts';
----
create index network_port_day_day on hirundo.network_port_day (day, port_code);
----
create index network_port_day_busy on hirundo.network_port_day (day, hosts) where hosts >= 5;
----
-- The old source_day has all keys in one table; its rows without the stamps go on as source_port_day.
alter table hirundo.source_day rename to source_day_before;
----
create table hirundo.source_port_day (
  packets bigint not null,
  bytes bigint not null,
  day date not null,
  port_code integer not null,
  sensor_id smallint not null,
  ttl smallint not null,
  fragment boolean not null,
  class text not null,
  src inet not null
);
----
comment on table hirundo.source_port_day is
  'Flow rows by sensor, day, source, port, class, TTL and fragment mark, within a day in the order of port and source. The finest rollup and by far the largest, with nearly as many rows as flow. Without flood rows, which have no source.';
----
insert into hirundo.source_port_day (packets, bytes, day, port_code, sensor_id, ttl, fragment, class, src)
select s.packets, s.bytes, s.day, s.port_code, s.sensor_id, s.ttl, s.fragment, s.class, s.src
from hirundo.source_day_before s
where s.day <= (select max(d.day) + 1 from hirundo.flow_dropped d)
order by s.day, s.port_code, s.src;
----
create index source_port_day_port on hirundo.source_port_day (day, port_code);
----
create index source_port_day_src on hirundo.source_port_day (day, src);
----
drop table hirundo.source_day_before;
----
create table hirundo.source_day (
  packets bigint not null,
  bytes bigint not null,
  asn bigint,
  day date not null,
  ports integer not null,
  organisation_id integer,
  known_scanner boolean not null,
  class text not null,
  src inet not null,
  country text,
  sensors bit varying not null
);
----
comment on table hirundo.source_day is
  'The daily source rollup: one row per day, source and class over all sensors. ports: distinct within the row; sensors: bit s, counted from 1 at the left, is set where sensor_id s received some. AS, country, organisation and known_scanner are of that day. Exact distinct counts over any days come from here. Without flood rows, which have no source.';
----
comment on column hirundo.source_day.known_scanner is 'Whether the source is in the list of known research scanners that counts for the day (hirundo.scanner_set_for)';
----
create index source_day_day on hirundo.source_day (day, src);
----
create index source_day_country on hirundo.source_day (country, day);
----
create index source_day_organisation on hirundo.source_day (organisation_id, day) where organisation_id is not null;
----
create index source_day_backscatter on hirundo.source_day (day) where class = 'backscatter';
----
create table hirundo.sensor_day (
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  flood_sources_min bigint,
  flood_sources_max bigint,
  day date not null,
  source_days integer not null,
  sensor_id smallint not null,
  class text not null
);
----
comment on table hirundo.sensor_day is
  'Traffic by sensor, day and class, flood rows included. source_days: distinct sources of its flow rows, over all ports.';
----
create index sensor_day_day on hirundo.sensor_day (day, sensor_id);
----
create table hirundo.ttl_day (
  packets bigint not null,
  day date not null,
  sensor_id smallint not null,
  ttl smallint not null,
  class text not null
);
----
comment on table hirundo.ttl_day is 'Packets of flow rows by sensor, day, class and TTL, over all sources and ports.';
----
create index ttl_day_day on hirundo.ttl_day (day, sensor_id);
----
alter table hirundo.rollup_day add column prefix_set integer;
----
comment on column hirundo.rollup_day.prefix_set is 'The data set of prefixes from which AS and country of its sources come';
----
create table hirundo.dirty_month (
  month date primary key
);
----
comment on table hirundo.dirty_month is
  'Months (their first days) whose monthly rollups are to be rebuilt, once the month has ended and nothing of it is dirty. Written by the rollup job alone.';
----
create table hirundo.rollup_month (
  month date primary key,
  zone text not null,
  first timestamptz not null,
  past timestamptz not null,
  head_packets integer not null,
  busy_packets integer not null,
  built_at timestamptz not null
);
----
comment on table hirundo.rollup_month is
  'Months that the monthly rollups answer for, where nothing of them is dirty: [first, past) was rolled up as this month of this time zone. head_packets: ports with fewer packets at a sensor are not in its port_month; busy_packets: ports with fewer at all sensors together are not in its source_port_month.';
----
create table hirundo.port_month (
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  source_days bigint not null,
  month date not null,
  port_code integer not null,
  sensor_id smallint not null,
  class text not null
);
----
comment on table hirundo.port_month is
  'A head: traffic by sensor, month, port and class, flood rows included, of the ports that received at least rollup_month.head_packets (all classes but local) at that sensor in that month. Take candidates from it, not answers: what a port received in a month where it is missing is in port_day.';
----
create index port_month_month on hirundo.port_month (month, sensor_id);
----
create table hirundo.network_port_month (
  packets bigint not null,
  bytes bigint not null,
  flood_packets bigint not null,
  source_days bigint not null,
  month date not null,
  port_code integer not null,
  class text not null
);
----
comment on table hirundo.network_port_month is
  'Traffic of all sensors together by month, port and class, flood rows included; every port, no head. source_days: the sum of the daily distinct sources.';
----
create index network_port_month_month on hirundo.network_port_month (month, port_code);
----
create table hirundo.source_month (
  packets bigint not null,
  bytes bigint not null,
  asn bigint,
  month date not null,
  days integer not null,
  organisation_id integer,
  known_scanner boolean not null,
  class text not null,
  src inet not null,
  country text,
  sensors bit varying not null
);
----
comment on table hirundo.source_month is
  'hirundo.source_day by month: one row per month, source, class and what was known of it (two, where that changed within the month). days: on how many days it was seen; sensors as in source_day.';
----
create index source_month_month on hirundo.source_month (month, src);
----
create index source_month_country on hirundo.source_month (country, month);
----
create table hirundo.source_port_month (
  packets bigint not null,
  month date not null,
  port_code integer not null,
  sensor_id smallint not null,
  ttl smallint not null,
  fragment boolean not null,
  class text not null,
  src inet not null
);
----
comment on table hirundo.source_port_month is
  'hirundo.source_port_day by month, of busy ports alone: those with at least rollup_month.busy_packets in hirundo.network_port_month, all classes and sensors together. Other ports are to be looked up in source_port_day.';
----
create index source_port_month_port on hirundo.source_port_month (month, port_code);
----
create index source_port_month_src on hirundo.source_port_month (month, src);
----
create table hirundo.source_ttl_month (
  packets bigint not null,
  month date not null,
  sensor_id smallint not null,
  ttl smallint not null,
  src inet not null
);
----
comment on table hirundo.source_ttl_month is
  'Packets by month, source, sensor and TTL over all ports, of what tells of distance: without ICMP, ICMPv6, fragments, backscatter and local traffic (so its classes are scan and other).';
----
create index source_ttl_month_src on hirundo.source_ttl_month (month, src);
----
create index network_port_month_busy on hirundo.network_port_month (month, packets) where packets >= 100;
----
insert into hirundo.setting (name, value, meaning)
select 'retention_' || t, 'off', 'Age at which rows of hirundo.' || t || ' are deleted; off: never'
from unnest(array['source_port_day', 'sensor_day', 'ttl_day', 'port_month', 'network_port_month', 'source_month', 'source_port_month', 'source_ttl_month']) t;
----
update hirundo.setting set meaning = 'Age at which rows of hirundo.source_day are deleted; off: never' where name = 'retention_source_day';
----
insert into hirundo.rollup_gone (name, before)
select 'source_port_day', g.before from hirundo.rollup_gone g where g.name = 'source_day';
----
insert into hirundo.rollup_gone (name, before)
select t, (select max(d.day) + 2 from hirundo.flow_dropped d)
from unnest(array['source_day', 'sensor_day', 'ttl_day', 'port_country_day', 'port_month', 'network_port_month', 'source_month', 'source_port_month', 'source_ttl_month', 'network_port_day']) t
where exists (select from hirundo.flow_dropped)
on conflict (name) do update set before = greatest(excluded.before, hirundo.rollup_gone.before);
----
-- whatever flow still has is rolled up again: every window with rows has its observation
delete from hirundo.rollup_day r
where not exists (select from hirundo.flow_dropped d where d.day in ((r.first at time zone 'UTC')::date, ((r.past - interval '1 microsecond') at time zone 'UTC')::date));
----
insert into hirundo.dirty as d (sensor_id, hour)
select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC')
from hirundo.observation o
where (o.row_packets > 0 or o.flood_packets > 0)
  and not exists (select from hirundo.flow_dropped g where g.day = (o.slot at time zone 'UTC')::date)
on conflict (sensor_id, hour) do update set gen = d.gen + 1;
