-- top_ports and sensor_average, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp2', 'JP'), ('jp1', 'JP'), ('tw', 'TW'), ('silent', 'KR')) v(n, c);

select fixture.flow('jp1', '2023-02-08T01:00Z', '198.18.0.1', port => 23, packets => 5);
select fixture.flow('jp1', '2023-02-08T02:00Z', '198.18.0.2', port => 23, packets => 5);
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', port => 445, packets => 6, flags => 18); -- backscatter counts
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', proto => 1, port => 2048, packets => 4);
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', proto => 1, port => 771, packets => 3);
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', port => 9, packets => 6);
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', port => 80, packets => 6);
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', port => 5353, proto => 17, packets => 1000, marks => 16); -- local does not
select fixture.flow('jp1', '2023-02-08T03:00Z', '198.18.0.2', proto => 47, port => null, packets => 2);
select fixture.flow('jp1', '2023-02-08T15:00Z', '198.18.0.2', port => 22, packets => 1000); -- the next day
select fixture.flow('tw', '2023-02-08T03:00Z', '198.18.0.2', proto => 17, port => 123);
select fixture.flood('tw', '2023-02-08T03:00Z', 6, 80, 5000000000);

prepare asked as select sensor, label_en, label_ja, country, rank, port, packets from hirundo.top_ports(hirundo.day('2023-02-08'), 5);
prepare answer as values
  ('jp1', 'Sensor jp1', 'センサー jp1', 'JP', 1, '23/TCP', 10::bigint), ('jp1', 'Sensor jp1', 'センサー jp1', 'JP', 2, 'ICMP', 7),
  ('jp1', 'Sensor jp1', 'センサー jp1', 'JP', 3, '445/TCP', 6), ('jp1', 'Sensor jp1', 'センサー jp1', 'JP', 4, '80/TCP', 6),
  ('jp1', 'Sensor jp1', 'センサー jp1', 'JP', 5, '9/TCP', 6),
  ('tw', 'Sensor tw', 'センサー tw', 'TW', 1, '80/TCP', 5000000000), ('tw', 'Sensor tw', 'センサー tw', 'TW', 2, '123/UDP', 1);
select results_eq('asked', 'answer', 'flood and backscatter count, local does not, ICMP is one row, ties by port');
set local timezone = 'Pacific/Auckland';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;
select is((select count(*) from hirundo.top_ports(hirundo.day('2023-02-08'), null) where sensor = 'jp1'), 6::bigint, 'n NULL: ten at most');
select is_empty($$select * from hirundo.top_ports(hirundo.day('2023-02-08'), 0)$$, 'the top none');
select is_empty($$select * from hirundo.top_ports(hirundo.day('2023-02-08'), -1)$$, 'fewer than none');
select is_empty($$select * from hirundo.top_ports('empty', 5)$$, 'empty period');
select is((select packets from hirundo.top_ports(null, 1) where sensor = 'jp1'), 1000::bigint, 'NULL period: all time');
select is((select packets from hirundo.top_ports(tstzrange('-infinity', 'infinity'), 1) where sensor = 'jp1'), 1000::bigint, 'so is an infinite one');

-- sensor_average: jp1 observed 2 days of February, jp2 1.5; tw a quarter of an hour
select fixture.observe('jp1', '2023-02-07T15:00Z', '2023-02-09T15:00Z');
select fixture.observe('jp2', '2023-02-07T15:00Z', '2023-02-09T03:00Z');
select fixture.observe('tw', '2023-02-07T15:00Z', '2023-02-07T15:15Z');
-- February at home: 10 + 6 + 7 + 6 + 6 + 2 + 1000 = 1037 over 3.5 days; overseas 5000000001 over 1/96 day
prepare average as select bucket, side, packets, sensor_days, average from hirundo.sensor_average(hirundo.quarter('2023Q1'), 'month');
prepare averages as values ('2023-01-01'::date, 'home', null::numeric, 0::numeric, null::numeric), ('2023-01-01', 'overseas', null, 0, null),
  ('2023-02-01', 'home', 1037, 3.5, 296.285714), ('2023-02-01', 'overseas', 5000000001, 0.010417, 480000000096),
  ('2023-03-01', 'home', null, 0, null), ('2023-03-01', 'overseas', null, 0, null);
select results_eq('average', 'averages', 'by observed sensor-days; nothing observed is null, not 0');
set local timezone = 'America/Los_Angeles';
select results_eq('average', 'averages', 'in any session time zone');
reset timezone;
select results_eq($$select bucket, packets, sensor_days, average from hirundo.sensor_average(hirundo.period('2023-02-08..2023-02-10'), 'day') where side = 'home'$$,
  $$values ('2023-02-08'::date, 37::numeric, 2::numeric, 18.5), ('2023-02-09', 1000, 1.5, 666.666667)$$, 'by day');
select results_eq($$select bucket, packets from hirundo.sensor_average(hirundo.week('2023-W06'), 'Week') where side = 'home'$$,
  $$values ('2023-02-06'::date, 1037::numeric)$$, 'by ISO week');
select results_eq($$select bucket, packets, sensor_days from hirundo.sensor_average(hirundo.quarter('2023Q1'), 'quarter') where side = 'home'$$,
  $$values ('2023-01-01'::date, 1037::numeric, 3.5)$$, 'by quarter');
select is((select average from hirundo.sensor_average(hirundo.quarter('2023Q1'), null) where bucket = '2023-02-01' and side = 'home'), 296.285714, 'bucket NULL: month');
select throws_like($$select * from hirundo.sensor_average(hirundo.quarter('2023Q1'), 'year')$$, '%''year'' is not a bucket%', 'a bucket that is none');
select results_eq($$select bucket, side from hirundo.sensor_average(null, 'month')$$, $$values ('2023-02-01'::date, 'home'), ('2023-02-01', 'overseas')$$, 'all time is what was observed');
select is_empty($$select * from hirundo.sensor_average('empty', 'month')$$, 'empty period');
select is((select count(*) from hirundo.sensor_average(hirundo.day('2999-01-01'), 'day') where average is null), 2::bigint, 'future: no average');
select fixture.home('');
select results_eq($$select side, packets, average from hirundo.sensor_average(hirundo.month('2023-02'), 'month')$$,
  $$values ('home', null::numeric, null::numeric), ('overseas', 5000001038, round(5000001038 * 96 / 337.0, 6))$$, 'no home: all is overseas');

select * from finish();
rollback;
