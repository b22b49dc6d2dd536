-- Observed time by day, so that averages and "nobody observed" over a year do not read a row for each quarter of an hour. As
-- hirundo_owner; the rules of 0003_rollups.sql hold.
create table hirundo.observed_day (
  covered_ms bigint not null,
  day date not null,
  sensor_id smallint not null
);
----
comment on table hirundo.observed_day is
  'Time that each sensor observed by day of the reporting time zone: the sum of hirundo.observation.covered_ms, in ms. No row where that is 0.';
----
create index observed_day_day on hirundo.observed_day (day, sensor_id);
----
insert into hirundo.setting (name, value, meaning) values
  ('retention_observed_day', 'off', 'Age at which rows of hirundo.observed_day are deleted; off: never'),
  ('max_size_observed_day', 'off', 'Size of hirundo.observed_day beyond which its oldest days go; off: no limit');
----
-- For the days that are rolled up, whatever their zone. Observation is never deleted, so none is missing.
insert into hirundo.observed_day (day, sensor_id, covered_ms)
select r.day, o.sensor_id, sum(o.covered_ms)
from (select distinct d.zone from hirundo.rollup_day d) z
cross join hirundo.observation o
join hirundo.rollup_day r on r.zone = z.zone and r.day = (o.slot at time zone z.zone)::date
where o.covered_ms > 0
group by 1, 2
order by 1, 2;
