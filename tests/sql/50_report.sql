-- The report: periods in words, whole weeks, who may see what, CSV; figures against the functions they come from.
begin;
select no_plan();
update hirundo.setting set value = 'Asia/Tokyo' where name = 'time_zone';
update hirundo.setting set value = 'JP' where name = 'home_country';
update hirundo.setting set value = 'off' where name = 'retention_flow';

-- report_label: hirundo.period() reads it back
select is(hirundo.report_label(hirundo.period(p)), p, p || ' is written so')
from unnest(array['2023Q1', '2023-02', '2023-W06', '2023-02-08', '2023-02-03..2023-03-04', '2023-02-03T01:00:00..2023-02-03T02:30:00']) p;
select is(hirundo.report_label(p), null, 'no label without bounds') from unnest(array['(,)', '[-infinity,infinity)', '[2023-01-01Z,)', 'empty', null]::tstzrange[]) p;
select is(hirundo.report_title(hirundo.quarter('2023Q1')), '{"en": "January to March 2023", "ja": "2023年1〜3月"}', 'a quarter in words');
select is(hirundo.report_title(hirundo.month('2023-02')), '{"en": "February 2023", "ja": "2023年2月"}', 'a month');
select is(hirundo.report_title(hirundo.day('2023-02-08')), '{"en": "8 February 2023", "ja": "2023年2月8日"}', 'a day');
select is(hirundo.report_title(hirundo.period('2023-02-03..2023-03-04')), '{"en": "3 February 2023 to 3 March 2023", "ja": "2023年2月3日〜2023年3月3日"}', 'from and to, both inclusive');
select is(hirundo.report_previous(hirundo.quarter('2023Q1')), hirundo.quarter('2022Q4'), 'before a quarter: a quarter');
select is(hirundo.report_previous(hirundo.month('2023-03')), hirundo.month('2023-02'), 'before a month: the shorter month');
select is(hirundo.report_previous(hirundo.week('2023-W06')), hirundo.week('2023-W05'), 'before a week: a week');
select ok(isempty(hirundo.report_previous('(,)')), 'before all time: nothing');

-- whole_weeks
select is(hirundo.whole_weeks(hirundo.quarter('2023Q1')), hirundo.local_range('2023-01-02', '2023-03-27'), 'from Monday to Monday inside');
select is(hirundo.whole_weeks(hirundo.week('2023-W06')), hirundo.week('2023-W06'), 'a week is one');
select ok(isempty(hirundo.whole_weeks(hirundo.period('2023-02-07..2023-02-14'))), 'seven days are none');

-- who may ask for what
select throws_ok(format($$select hirundo.report(hirundo.period(%L), 'public')$$, p), '22023', null, 'public refuses ' || p)
from unnest(array['2023-02-08', '2023-02-03..2023-02-09', '2023-02-03T01:00..2023-02-20', '2023-02-03..2023-03-04', '2023-02-06..2023-03-01']) p;
select is(hirundo.report_check(hirundo.period(p), 'public'), 'public', 'public takes ' || p) from unnest(array['2023Q1', '2023-W06', '2023-02-06..2023-02-20', '2023-01-01..2023-03-01']) p;
select lives_ok($$select hirundo.report(hirundo.day('2023-02-08'), 'internal')$$, 'internal takes a day');
select throws_ok($$select hirundo.report(hirundo.quarter('2023Q1'), 'all')$$, '22023', '''all'' is not an audience');
select throws_ok($$select hirundo.report('(,)', 'internal')$$, '22023', 'a report needs a period that begins and ends');
select throws_ok(format($$select hirundo.report(hirundo.period('2099Q1'), %L)$$, a), '22023', 'the period 2099Q1 has not begun', a || ' refuses what is yet to come') from unnest(array['public', 'internal']) a;
select is(hirundo.report_head(tstzrange(date_trunc('day', now(), 'Asia/Tokyo'), date_trunc('day', now(), 'Asia/Tokyo') + interval '1 day'), 'internal') -> 'complete', 'false', 'takes what has begun, and says that it is not over');
select throws_ok($$select hirundo.report_figure(hirundo.quarter('2023Q1'), 'public', 'x')$$, '22023', null, 'no such figure');

-- CSV
select is(hirundo.report_csv('{"columns": [{"key": "a"}, {"key": "b"}], "rows": [["x,\"y\"", 1.50], ["=1", null], [-1, true], ["-1", "\n"]]}'),
  e'a,b\r\n"x,""y""",1.50\r\n''=1,\r\n-1,true\r\n''-1,"\n"\r\n', 'quotes, formulas, numbers, nulls');
select is(hirundo.report_csv('{"columns": [{"key": "a"}], "rows": [["＝1"], ["＋1"], ["－1"], ["＠A"], ["－"]]}'), e'a\r\n''＝1\r\n''＋1\r\n''－1\r\n''＠A\r\n－\r\n',
  'formulas in wide letters, which spreadsheets in Japanese take');
select is(hirundo.report_csv('{"columns": [{"key": "a"}], "rows": []}'), e'a\r\n', 'a header without rows');

-- three sensors, a port that two alone receive, and a label that is the name
insert into hirundo.sensor (name, country, label_en, label_ja) values ('jp-9', 'JP', 'First', '第1'), ('kr-9', 'KR', 'kr-9', 'kr-9'), ('my-9', 'MY', 'Third', '第3');
select hirundo.partition_ensure('2023-02-08');
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select '2023-02-08 03:00Z', 0, n.packets, 60, n.port, s.sensor_id, 1, 6, 50, 2, 0, '198.18.0.1'
from hirundo.sensor s cross join (values (22, 5), (31337, 9)) n(port, packets)
where s.name in ('jp-9', 'kr-9', 'my-9') and (n.port = 22 or s.name <> 'my-9');
insert into hirundo.observation (sensor_id, slot, covered_ms) select s.sensor_id, t, 900000 from hirundo.sensor s, generate_series(timestamptz '2023-02-05 15:00Z', '2023-02-08 14:45Z', '15 minutes') t;
select is(hirundo.report_figure(hirundo.month('2023-02'), 'internal', 'top_ports') -> 'rows',
  '[["First", "第1", "JP", 1, "31337/TCP", 9], ["First", "第1", "JP", 2, "22/TCP", 5], ["Third", "第3", "MY", 1, "22/TCP", 5], ["kr-9", "kr-9", "KR", 1, "31337/TCP", 9], ["kr-9", "kr-9", "KR", 2, "22/TCP", 5]]', 'internal: everything');
select is(hirundo.report_figure(hirundo.month('2023-02'), 'public', 'top_ports') -> 'rows', '[]', 'public: nothing of sensors that observed three days of a month');
select ok(r not like '%-9%' and r like '%"Sensor %"センサー%', 'public: no name') from (select (hirundo.report_figure(hirundo.month('2023-02'), 'public', 'coverage') -> 'rows')::text as r) x;
select set_eq($$select sensor, covered, missing_hours from hirundo.report_coverage(hirundo.week('2023-W06'), 'week')$$, $$values ('jp-9', 0.4286, 96.0), ('kr-9', 0.4286, 96.0), ('my-9', 0.4286, 96.0)$$, 'coverage of a week: three days of seven');
select results_eq($$select bucket_start, covered from hirundo.report_coverage(hirundo.week('2023-W06'), 'day') where sensor = 'jp-9'$$,
  $$values (date '2023-02-06', 1.0000), ('2023-02-07', 1), ('2023-02-08', 1), ('2023-02-09', 0), ('2023-02-10', 0), ('2023-02-11', 0), ('2023-02-12', 0)$$, 'coverage of days');
select ok(bool_and(covered is null), 'before the first window nothing is expected') from hirundo.report_coverage(hirundo.period('2023-02-01..2023-02-06'), 'day');
select is((hirundo.report_figure(hirundo.week('2023-W06'), 'internal', 'average_change') -> 'rows')::text, '[["home", 4.7, null, null], ["overseas", 3.2, null, null]]', 'packets by observed sensor-days');
insert into hirundo.organisation (name) values ('A <b>');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/24' from hirundo.organisation where name = 'A <b>';
select results_eq($$select port, hosts, packets, sensors from hirundo.source_top_ports(hirundo.day('2023-02-08'), '{198.18.0.0/24}', 9)$$, $$values ('31337/TCP', 1::bigint, 18::bigint, 2::bigint), ('22/TCP', 1, 15, 3)$$, 'source_top_ports');
select ok(hirundo.report(hirundo.month('2023-02'), 'internal')::text like '%A <b>%', 'internal: the organisation''s name');
select ok(r not like '%A <b>%' and r like '%Organisation A%' and r not like '%198.18%', 'public: without it, and without its prefixes') from (select hirundo.report(hirundo.month('2023-02'), 'public')::text as r) x;

-- each figure says all that the page needs, in both languages
select is_empty(format($$
  select f ->> 'id', w from jsonb_array_elements(hirundo.report(hirundo.month('2023-02'), %L) -> 'figures') f, unnest(array['title', 'lead', 'method', 'caveat']) w, unnest(array['en', 'ja']) l
  where coalesce(f -> w ->> l, '') = ''$$, a), 'texts, ' || a) from unnest(array['public', 'internal']) a;
select is_empty(format($$
  select f ->> 'id' from jsonb_array_elements(hirundo.report(hirundo.month('2023-02'), %L) -> 'figures') f, jsonb_array_elements(f -> 'columns') c
  where coalesce(c ->> 'key', '') = '' or coalesce(c ->> 'type', '') = '' or coalesce(c ->> 'en', '') = '' or coalesce(c ->> 'ja', '') = ''$$, a), 'columns, ' || a) from unnest(array['public', 'internal']) a;
select is_empty(format($$
  select f ->> 'id' from jsonb_array_elements(hirundo.report(hirundo.month('2023-02'), %L) -> 'figures') f, jsonb_array_elements(f -> 'columns') c
  group by 1 having bool_or(c ->> 'key' like 'label%%') and bool_or(c ->> 'type' = 'country')$$, a), 'no label beside a country: ' || a) from unnest(array['public']) a;

select * from finish();
rollback;
