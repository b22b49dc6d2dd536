-- Settings and periods.
begin;
select no_plan();
\ir include/fixture.psql

select is(hirundo.setting('time_zone'), (select value from hirundo.setting where name = 'time_zone'), 'setting() reads the table');
select throws_like($$select hirundo.setting('nonsense')$$, '%no setting ''nonsense''%', 'an unknown setting is named');
select throws_like($$select hirundo.setting(null)$$, '%no setting NULL%', 'so is NULL');
select throws_ok($$update hirundo.setting set value = 'Mars/Olympus' where name = 'time_zone'$$, '22023');
select throws_ok($$update hirundo.setting set value = 'Japan' where name = 'home_country'$$, '23514');
select throws_ok($$update hirundo.setting set value = 'soon' where name = 'retention_flow'$$, '22007');
select throws_ok($$update hirundo.setting set value = '1 hour' where name = 'retention_flow'$$, '23514');
select fixture.home('');
select is(hirundo.home_country(), null, 'no home country is NULL');
select fixture.home('JP');
select is(hirundo.home_country(), 'JP', 'home_country()');

select fixture.zone('Asia/Tokyo');
select is(hirundo.time_zone(), 'Asia/Tokyo', 'time_zone()');
select is(hirundo.quarter('2023Q1'), tstzrange('2022-12-31T15:00Z', '2023-03-31T15:00Z'), 'quarter in Tokyo');
select is(hirundo.quarter('2023q4'), tstzrange('2023-09-30T15:00Z', '2023-12-31T15:00Z'), 'the last quarter ends the year');
select is(hirundo.quarter('2023-Q2'), tstzrange('2023-03-31T15:00Z', '2023-06-30T15:00Z'), '2023-Q2 is understood');
select is(hirundo.month('2023-02'), tstzrange('2023-01-31T15:00Z', '2023-02-28T15:00Z'), 'month in Tokyo');
select is(hirundo.month('2024-12'), tstzrange('2024-11-30T15:00Z', '2024-12-31T15:00Z'), 'December');
select is(hirundo.week('2023-W06'), tstzrange('2023-02-05T15:00Z', '2023-02-12T15:00Z'), 'ISO week 6 of 2023 begins on Monday 6 February');
select is(hirundo.week('2021-W01'), tstzrange('2021-01-03T15:00Z', '2021-01-10T15:00Z'), 'week 1 of 2021 begins on 4 January');
select is(hirundo.week('2020-W53'), tstzrange('2020-12-27T15:00Z', '2021-01-03T15:00Z'), '2020 has a week 53');
select is(hirundo.day('2023-02-08'), tstzrange('2023-02-07T15:00Z', '2023-02-08T15:00Z'), 'day in Tokyo');
select is(hirundo.day('2024-02-29'), tstzrange('2024-02-28T15:00Z', '2024-02-29T15:00Z'), 'leap day');
select ok(lower_inc(hirundo.day('2023-02-08')) and not upper_inc(hirundo.day('2023-02-08')), 'periods are [ )');

-- whatever the session's zone is
set local timezone = 'America/Caracas';
select is(hirundo.month('2023-02'), tstzrange('2023-01-31T15:00Z', '2023-02-28T15:00Z'), 'the session''s zone does not matter');
set local datestyle = 'SQL, DMY';
select is(hirundo.day('2023-02-08'), tstzrange('2023-02-07T15:00Z', '2023-02-08T15:00Z'), 'nor does its date style');
select is(hirundo.period('2023-02-03..2023-02-05'), tstzrange('2023-02-02T15:00Z', '2023-02-04T15:00Z'), 'not in FROM..TO either');
reset datestyle;
reset timezone;

-- zones with half and quarter hours, and with changing clocks
select fixture.zone('Asia/Kathmandu');
select is(hirundo.day('2023-02-08'), tstzrange('2023-02-07T18:15Z', '2023-02-08T18:15Z'), '+05:45');
select fixture.zone('Asia/Kolkata');
select is(hirundo.day('2023-02-08'), tstzrange('2023-02-07T18:30Z', '2023-02-08T18:30Z'), '+05:30');
select fixture.zone('Europe/Berlin');
select is(hirundo.day('2023-03-26'), tstzrange('2023-03-25T23:00Z', '2023-03-26T22:00Z'), 'a day of 23 hours');
select is(hirundo.day('2023-10-29'), tstzrange('2023-10-28T22:00Z', '2023-10-29T23:00Z'), 'a day of 25 hours');
select is(hirundo.quarter('2023Q1'), tstzrange('2022-12-31T23:00Z', '2023-03-31T22:00Z'), 'a quarter across the change');
select fixture.zone('UTC');

select throws_like(format('select hirundo.quarter(%L)', v), '%is not a quarter%', 'quarter ' || v)
from unnest(array['2023', '2023Q5', '2023Q0', '23Q1', '2023-01', '', '0000Q1']) v;
select throws_like(format('select hirundo.month(%L)', v), '%is not a month%', 'month ' || v)
from unnest(array['2023-13', '2023-00', '2023-1', '2023Q1', '', '0000-01']) v;
select throws_like(format('select hirundo.week(%L)', v), '%is not an ISO week%', 'week ' || v)
from unnest(array['2023-W53', '2023-W00', '2023-W54', '2023-6', '', '0000-W01']) v;
select throws_like(format('select hirundo.day(%L)', v), '%is not a day%', 'day ' || v)
from unnest(array['2023-02-29', '2023-02-30', '2023-13-01', '2023-2-8', '08.02.2023', '', '0000-01-01']) v;
select throws_like(format('select hirundo.period(%L)', v[1]), v[2], 'period ' || v[1])
from (values (array['yesterday', '%is not a period%']), (array['2023', '%is not a period%']),
             (array['2023-02-05..2023-02-03', '%ends before it begins%']), (array['2023-02-05..2023-02-05', '%ends before it begins%']),
             (array['2023-02-05..soon', '%neither a day nor a time%']), (array['2023-14', '%is not a month%'])) t(v);
select is(hirundo.quarter(null), null, 'NULL in, NULL out');

select is(hirundo.period('2023Q1'), hirundo.quarter('2023Q1'), 'period: quarter');
select is(hirundo.period('2023-02'), hirundo.month('2023-02'), 'period: month');
select is(hirundo.period('2023-W06'), hirundo.week('2023-W06'), 'period: week');
select is(hirundo.period('2023-02-08'), hirundo.day('2023-02-08'), 'period: day');
select is(hirundo.period('2023-02-03T12:00..2023-02-05'), tstzrange('2023-02-03T12:00Z', '2023-02-05T00:00Z'), 'period: FROM..TO with a time');

select results_eq($$select (b).first, (b).past from (select hirundo.period_bounds(p) as b from unnest(array[
  null::tstzrange, tstzrange(null, '2023-01-01Z'), tstzrange('-infinity', 'infinity')]) p) x$$,
  $$values ('-infinity'::timestamptz, 'infinity'::timestamptz), ('-infinity', '2023-01-01Z'), ('-infinity', 'infinity')$$,
  'bounds of periods without bounds');
select ok((select b.first is null and b.past is null from hirundo.period_bounds('empty') b), 'an empty period has null bounds');

select * from finish();
rollback;
