-- Types of the analysis functions.
create type hirundo.inetrange as range (subtype = inet, multirange_type_name = hirundo.inetmultirange);
----
comment on type hirundo.inetrange is
  'A range of addresses. Example: select ''198.18.0.7''::inet <@ hirundo.inetrange(''198.18.0.0'', ''198.18.0.255'', ''[]'').';
----
comment on type hirundo.inetmultirange is
  'Disjoint ranges of addresses: tells by binary search whether an address is in any of thousands of prefixes. Example: select hirundo.address_ranges(''{198.18.0.0/24}'').';
----
-- Result rows of functions that have a parameter and a column of one name (columns are append-only: alter type ... add
-- attribute in a later migration).
create type hirundo.ttl_spread_row as (
  region text,
  ttl_min integer,
  ttl_max integer,
  ttl_median integer,
  sources bigint,
  packets bigint,
  all_sources bigint
);
----
comment on type hirundo.ttl_spread_row is 'A row of hirundo.ttl_spread. Example: select region, ttl_median from hirundo.ttl_spread(hirundo.quarter(''2023Q1'')).';
----
create type hirundo.ttl_origin_row as (
  region text,
  pairs bigint,
  median_d integer,
  share_positive numeric,
  p_value double precision,
  ttl_min integer,
  ttl_max integer,
  sources bigint,
  packets bigint,
  weak boolean,
  verdict text,
  reason text
);
----
comment on type hirundo.ttl_origin_row is 'A row of hirundo.ttl_origin. Example: select distinct verdict, reason from hirundo.ttl_origin(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'').';
----
create type hirundo.sensor_average_row as (
  bucket date,
  side text,
  packets numeric,
  sensor_days numeric,
  average numeric
);
----
comment on type hirundo.sensor_average_row is 'A row of hirundo.sensor_average; bucket is the first day of the day, week, month or quarter. Example: select bucket, average from hirundo.sensor_average(hirundo.quarter(''2023Q1''), ''month'') where side = ''home''.';
