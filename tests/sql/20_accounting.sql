-- accounting and accounting_check, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Kolkata'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('a', 'JP'), ('b', 'TW'), ('c', 'KR')) v(n, c);

-- hours of +05:30 begin at :30 UTC
insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets, flood_packets, non_ip, malformed, quarantined, lost, kernel_dropped, if_dropped)
values (fixture.id('a'), '2023-02-08T00:30Z', 900000, 100, 60, 20, 5, 4, 3, 8, 7, 6),
       (fixture.id('a'), '2023-02-08T01:15Z', 900000, 10, 10, 0, 0, 0, 0, 0, 0, 1),
       (fixture.id('a'), '2023-02-08T01:30Z', 900000, 10, 9, 0, 0, 0, 0, 0, 0, 0),
       (fixture.id('b'), '2023-02-08T00:30Z', 900000, 0, 0, 0, 0, 0, 0, 0, 0, 0);
insert into hirundo.loss (sensor_id, spool_id, seq, kind, first_window, last_window, frames, reason, declared_at)
values (fixture.id('b'), gen_random_uuid(), 1, 'unknown', '2023-02-08T01:20Z', '2023-02-08T01:40Z', 0, 'killed', now()),
       (fixture.id('b'), gen_random_uuid(), 1, 'unknown', '2023-02-08T01:35Z', '2023-02-08T01:45:00.5Z', 0, 'killed', now()), -- overlaps
       (fixture.id('b'), gen_random_uuid(), 2, 'lost', '2023-02-08T00:30Z', '2023-02-08T02:30Z', 5, 'spool full', now()), -- not unknown
       (fixture.id('c'), gen_random_uuid(), 1, 'unknown', '2023-02-08T00:00Z', '2023-02-08T03:00Z', 0, 'damaged spool', now());
prepare asked as select * from hirundo.accounting(tstzrange('2023-02-08T00:30Z', '2023-02-08T02:30Z'));
prepare answer as values
  ('a', '2023-02-08T00:30Z'::timestamptz, 110::bigint, 70::bigint, 20::bigint, 5::bigint, 4::bigint, 3::bigint, 8::bigint, 0::numeric, 7::bigint, 7::bigint, 0::bigint),
  ('a', '2023-02-08T01:30Z', 10, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1),
  ('b', '2023-02-08T00:30Z', 0, 0, 0, 0, 0, 0, 0, 600, 0, 0, 0),
  ('b', '2023-02-08T01:30Z', 0, 0, 0, 0, 0, 0, 0, 900.5, 0, 0, 0),
  ('c', '2023-02-08T00:30Z', 0, 0, 0, 0, 0, 0, 0, 3600, 0, 0, 0),
  ('c', '2023-02-08T01:30Z', 0, 0, 0, 0, 0, 0, 0, 3600, 0, 0, 0);
select results_eq('asked', 'answer', 'hours of the reporting zone, unknown seconds once, difference shown');
set local timezone = 'America/New_York';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;
select is((select count(*) from hirundo.accounting(null)), 8::bigint, 'NULL: all time');
select is((select sum(unknown_s) from hirundo.accounting(null) where sensor = 'c'), 10800::numeric, 'all of an unknown interval');
select is_empty($$select * from hirundo.accounting('empty')$$, 'empty period');
select is_empty($$select * from hirundo.accounting(hirundo.day('2999-01-01'))$$, 'future');
select is_empty($$select * from hirundo.accounting(null) a where (frames, row_packets, flood_packets, non_ip, malformed, quarantined, lost, unknown_s, kernel_dropped, if_dropped, difference) is null
  or not (a is not null)$$, 'no null anywhere');
select fixture.zone('Australia/Lord_Howe');
-- clocks go back by half an hour there: nothing may be lost or doubled
select fixture.observe('c', '2023-04-01T10:00Z', '2023-04-01T20:00Z');
update hirundo.observation set frames = 1, row_packets = 1 where sensor_id = fixture.id('c');
select is((select sum(frames) from hirundo.accounting(tstzrange('2023-04-01T00:00Z', '2023-04-02T00:00Z'))), 40::numeric, 'a change by half an hour');

-- the books against the rows
select fixture.zone('UTC');
select fixture.flow('a', '2023-02-08T00:31Z', '198.18.0.1', packets => 60);
select fixture.flood('a', '2023-02-08T00:31Z', 6, 22, 20);
select fixture.flow('a', '2023-02-08T01:20Z', '198.18.0.1', packets => 10);
select fixture.flow('a', '2023-02-08T01:31Z', '198.18.0.1', packets => 8);
select results_eq($$select sensor, hour, row_packets, flow_packets, flood_packets, flood_row_packets, difference
  from hirundo.accounting_check(hirundo.day('2023-02-08')) where sensor = 'a'$$,
  $$values ('a', '2023-02-08T00:00Z'::timestamptz, 60::bigint, 60::bigint, 20::bigint, 20::bigint, 0::bigint), ('a', '2023-02-08T01:00Z', 19, 18, 0, 0, 1)$$,
  'one packet is booked and not there');

select * from finish();
rollback;
