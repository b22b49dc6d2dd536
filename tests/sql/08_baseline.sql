-- Counts and what they are compared with, by hand.
begin;
select no_plan();
\ir include/fixture.psql

select is(round(exp(hirundo.log_gamma(x))::numeric, 6), y, 'the gamma function of ' || x)
from (values (1, 1.0), (2, 1.0), (5, 24.0), (0.5, 1.772454), (11, 3628800.0)) v(x, y);
-- 1 - (1/2)^3 * (1 + 3/2): size 3, probability a half
select is(round(hirundo.count_tail(2, 3, 2)::numeric, 12), 0.6875, 'a negative binomial tail below the mean');
-- sizes 1 are geometric: (1/2)^5
select is(round(hirundo.count_tail(5, 1, 2)::numeric, 12), 0.03125, '... and above');
select is(round(hirundo.count_tail(2, 1, 1)::numeric, 9), 0.264241118, 'Poisson: 1 - 2/e');
select is(array[hirundo.count_tail(0, 3, 2), hirundo.count_tail(-1, 3, 2), hirundo.count_tail(1, 0, 2), hirundo.count_tail(100000, 1, 1), hirundo.count_tail(1, 100000, 2)],
  array[1, 1, 0, 0, 1]::float8[], 'the ends');
select ok(hirundo.count_tail(null, 1, 1) is null, 'nothing of nothing');
select is(hirundo.median('{1,null,4,2,9}'), 3::float8, 'a median of four');
select ok(hirundo.median('{}') is null, '... of none');

-- 28 days of 4: (28 * 4 + 0.5) / 28; phi 1.25 + 1/28
select results_eq($$select days, round(level::numeric, 6), round(phi::numeric, 6), cardinality(weekday), round(weekday[7]::numeric, 6) from hirundo.count_baseline(array_fill(4::float8, array[28]))$$,
  $$values (28, 4.017857, 1.285714, 7, 4.017857)$$, 'the same each day');
select results_eq($$select days, level, phi from hirundo.count_baseline(array_fill(4::float8, array[13]) || array_fill(null::float8, array[15]))$$,
  $$values (13, null::float8, null::float8)$$, 'thirteen days are no baseline');
select results_eq($$select days, round(level::numeric, 6), round(phi::numeric, 6) from hirundo.count_baseline(array_fill(4::float8, array[14]) || array_fill(null::float8, array[14]))$$,
  $$values (14, 4.035714, 1.321429)$$, 'fourteen are: (56 + 0.5) / 14, 1.25 + 1/14');
select results_eq($$select days, level from hirundo.count_baseline('{}')$$, $$values (0, null::float8)$$, 'no days');
select results_eq($$select days, level from hirundo.count_baseline(null)$$, $$values (0, null::float8)$$, 'null');
-- never seen: half a source in 28 days
select results_eq($$select round(level::numeric, 6), round(phi::numeric, 6) from hirundo.count_baseline(array_fill(0::float8, array[28]))$$, $$values (0.017857, 1.285714)$$, 'never seen');
-- a surge of four days a hundred times as high counts nothing: (24 * 4 + 0.5) / 24
select results_eq($$select round(level::numeric, 6), round(weekday[1]::numeric, 6), round(phi::numeric, 6) from hirundo.count_baseline(array_fill(400::float8, array[4]) || array_fill(4::float8, array[24]))$$,
  $$values (4.020833, 4.020833, 1.291667)$$, 'a surge in it is not the measure');
-- a weekly scan of 40 among days of 10 is expected on its weekday alone: (24 * 10 + 0.5) / 24
select is((select weekday[1] || ' ' || round(weekday[2]::numeric, 4) from hirundo.count_baseline(array(select case when g % 7 = 0 then 40 else 10 end::float8 from generate_series(1, 28) g order by g))),
  '40 10.0208', 'a weekday on which more is usual');
select is((select round(weekday[1]::numeric, 4) from hirundo.count_baseline(array(select case when g in (7, 14) then 40 else 10 end::float8 from generate_series(1, 28) g order by g))),
  10.0192, 'two of four such days are a surge: (26 * 10 + 0.5) / 26');
-- spread: ten and thirty in turn, level 20.025, 20 * (100 + 0.025^2) / 19 / 20.025
select is((select round(phi::numeric, 4) from hirundo.count_baseline(array(select case g % 2 when 0 then 10 else 30 end::float8 from generate_series(1, 20) g))),
  round((20 * (100 + 0.025 ^ 2) / 19 / 20.025) * 1.3, 4), 'overdispersion');

-- whole days
select fixture.zone('Asia/Tokyo');
select results_eq($$select day from hirundo.whole_days(tstzrange('2023-02-07T15:00Z', '2023-02-09T14:59Z'))$$, $$values ('2023-02-08'::date)$$, 'days that end within the period');
select is_empty($$select day from hirundo.whole_days(tstzrange('2023-02-07T15:01Z', '2023-02-08T15:00Z'))$$, 'a minute less is no day');
select is((select max(day) from hirundo.whole_days(tstzrange(now() - interval '5 days', now() + interval '5 days'))), (now() at time zone 'Asia/Tokyo')::date - 1, 'today has not ended');
select is_empty($$select day from hirundo.whole_days('empty')$$, 'none of an empty period');
select * from finish();
rollback;
