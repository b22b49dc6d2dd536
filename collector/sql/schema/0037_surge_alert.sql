-- Surges that were raised, each once. As hirundo_owner; filled by hirundo.surge_step() alone.
create table hirundo.surge_alert (
  alert_id integer generated always as identity primary key,
  port text not null,
  first_day date not null,
  last_day date not null,
  peak_day date not null,
  hosts integer not null,
  expected numeric not null,
  ratio numeric,
  p_corrected double precision not null,
  sensors_rose integer not null,
  sensors_compared integer not null,
  largest_share numeric,
  verdict text not null,
  reason text not null,
  raised_at timestamptz not null default clock_timestamp(),
  unique (port, first_day)
);
----
comment on table hirundo.surge_alert is
  'Surges (hirundo.surges, day by day) that the collector raised, each once: port, first_day to last_day (so far), and of its peak_day hosts, expected, ratio, p_corrected, sensors_rose of sensors_compared, largest_share, verdict, reason. Days of a port that are three or fewer apart are one surge. A figure of it goes out by NOTIFY hirundo_surge and as a metric.';
----
create table hirundo.surge_judged (
  day date primary key,
  built_at timestamptz not null
);
----
comment on table hirundo.surge_judged is
  'Days that hirundo.surge_step has judged, and as of which rollup (hirundo.rollup_day.built_at): late data for a day make it judge again.';
----
insert into hirundo.setting (name, value, meaning) values
  ('surge_alert_age', '7 days', 'How long after its end a day may still raise an alarm of a new surge (late data, the first start); off: none is raised');
----
alter table hirundo.setting add constraint setting_surge_alert_age check (
  case when name = 'surge_alert_age' then lower(value) = 'off' or value::interval >= interval '1 day' else true end);
