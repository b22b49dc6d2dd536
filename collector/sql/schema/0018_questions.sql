-- Result rows of functions that have a parameter and a column of one name, and public holidays. As hirundo_owner.
create type hirundo.port_trend_row as (
  bucket timestamp,
  rank integer,
  port text,
  packets bigint,
  flood_packets bigint,
  sensors bigint,
  sensor_days numeric,
  average numeric
);
----
comment on type hirundo.port_trend_row is 'A row of hirundo.port_trend; bucket is the beginning of the hour, day, week, month or quarter on the clocks of the reporting time zone. Example: select bucket, port, average from hirundo.port_trend(hirundo.quarter(''2023Q1''), ''week'', 5).';
----
create table hirundo.holiday (
  country char(2) not null check (country ~ '^[A-Z]{2}$'),
  day date not null,
  name text not null check (length(name) between 1 and 200),
  primary key (country, day)
);
----
comment on table hirundo.holiday is
  'Public holidays by country, from hirundo-collector import holidays FILE: what hirundo.activity_calendar goes by. A year without any row of a country is not known, and its answer says so.';
