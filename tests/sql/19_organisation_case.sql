-- organisation_case, section by section, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW')) v(n, c);
insert into hirundo.organisation (name) values ('Host & Co'), ('Empty');
insert into hirundo.organisation_prefix select organisation_id, p::cidr from hirundo.organisation, unnest(array['198.18.0.0/28', '2001:db8::/64']) p where name = 'Host & Co';
-- 1 to 20 February at jp and kr; kr not on the 4th; tw never
select fixture.observe('jp', '2023-01-31T15:00Z', '2023-02-20T15:00Z'), fixture.observe('kr', '2023-01-31T15:00Z', '2023-02-03T15:00Z'),
  fixture.observe('kr', '2023-02-04T15:00Z', '2023-02-20T15:00Z');
-- eight hosts on 22/TCP from the 3rd to the 9th (10:00 in Tokyo) at jp, of these on 5900/TCP from the 6th on at kr; a notice on the 10th
select fixture.flow('jp', format('2023-02-%s 01:00Z', d)::timestamptz, ('198.18.0.' || h)::inet, ttl => 240 + h, packets => 2) from generate_series(3, 9) d, generate_series(1, 8) h;
select fixture.flow('kr', format('2023-02-%s 02:00Z', d)::timestamptz, ('198.18.0.' || h)::inet, port => 5900, ttl => 230) from generate_series(6, 9) d, generate_series(1, 8) h;
select fixture.flow('jp', '2023-02-15T03:00Z', '198.18.0.1', ttl => 100);
update hirundo.flow set duration_ms = 1500 where ts = '2023-02-15T03:00Z';
-- neither: a victim's answer, a broadcast, a neighbour, a flood
select fixture.flow('jp', '2023-02-01T03:00Z', '198.18.0.1', flags => 18), fixture.flow('jp', '2023-02-01T03:00Z', '198.18.0.1', marks => 16),
  fixture.flow('jp', '2023-02-01T03:00Z', '198.18.0.16'), fixture.flood('jp', '2023-02-01T03:00Z', 6, 22, 1000000);
insert into hirundo.notice (organisation_id, sent) select organisation_id, '2023-02-10' from hirundo.organisation where name = 'Host & Co';
create function fixture.case(s text) returns setof hirundo.organisation_case_row language sql as
$$ select * from hirundo.organisation_case('Host & Co', hirundo.period('2023-02-01..2023-02-21')) where section = s $$;

select results_eq($$select item, day, first_seen, last_seen, hosts, packets, sensors, regions, sensor_days, value from fixture.case('summary')$$,
  $$values ('Host & Co', '2023-02-03'::date, '2023-02-03 01:00Z'::timestamptz, '2023-02-15 03:00:01.5Z'::timestamptz, 8::bigint, 145::bigint, 2::bigint, 2::bigint, 39.0, 2.0)$$, 'summary');
select is((select note from fixture.case('summary')), '8 hosts in 2 prefixes sent 145 packets to 2 ports, from 2023-02-03 to 2023-02-15 (Asia/Tokyo); seen by 2 of 2 observing sensors, in 2 regions; to these ports also 1000000 packets of floods not counted, of about 1000 sources', 'in a sentence');

select is((select count(*) from fixture.case('daily')), 60::bigint, 'every day, with every port and all of them');
select results_eq($$select day, port, hosts, packets, sensors, sensor_days from fixture.case('daily') where day in ('2023-02-01', '2023-02-04', '2023-02-06')$$,
  $$values ('2023-02-01'::date, null, 0::bigint, 0::bigint, 0::bigint, 2.0), ('2023-02-01', '22/TCP', 0, 0, 0, 2), ('2023-02-01', '5900/TCP', 0, 0, 0, 2),
    ('2023-02-04', null, 8, 16, 1, 1), ('2023-02-04', '22/TCP', 8, 16, 1, 1), ('2023-02-04', '5900/TCP', 0, 0, 0, 1),
    ('2023-02-06', null, 8, 24, 2, 2), ('2023-02-06', '22/TCP', 8, 16, 1, 2), ('2023-02-06', '5900/TCP', 8, 8, 1, 2)$$, 'hosts, packets, sensors; beside them how much was observed');
select results_eq($$select day, hosts, packets, note from hirundo.organisation_case('Host & Co', hirundo.period('2023-02-20..2023-02-22')) where section = 'daily'$$,
  $$values ('2023-02-20'::date, 0::bigint, 0::bigint, null), ('2023-02-21', null, null, 'nobody observed')$$, 'a day that nobody observed is not a calm one');

-- backscatter only where it is asked for: the answer of 1 February
select results_eq($$select day, hosts, packets from hirundo.organisation_case('Host & Co', hirundo.period('2023-02-01..2023-02-21'), true) where section = 'summary' or (section = 'daily' and day = '2023-02-01')$$,
  $$values ('2023-02-01'::date, 8::bigint, 146::bigint), ('2023-02-01', 1, 1), ('2023-02-01', 1, 1), ('2023-02-01', 0, 0)$$, 'with backscatter');
select alike((select note from hirundo.organisation_case('Host & Co', hirundo.day('2023-02-01'), true) where section = 'summary'), '1 hosts % sent 1 packets %; answers to others (backscatter) counted too; to these ports also %', '... which it says');
select results_eq($$select section, item, packets from hirundo.organisation_case('Host & Co', hirundo.day('2023-02-01'), true) where section in ('tool', 'evidence')$$,
  $$values ('tool', 'unknown', 1::bigint), ('evidence', '198.18.0.1', 1)$$, '... in its tools and its evidence');
select is((select packets from hirundo.organisation_case('Host & Co', hirundo.day('2023-02-01'), null) where section = 'summary'), 0::bigint, 'null is not');

update hirundo.observation set kernel_dropped = 3 where sensor_id = fixture.id('kr') and slot = '2023-02-05 02:00Z';
select alike((select note from fixture.case('summary')), '8 hosts %; missing: 3 packets dropped', 'with what is missing');
select is((select note from fixture.case('daily') where day = '2023-02-05' and port is null), '3 packets dropped', '... on its day');
update hirundo.observation set kernel_dropped = 0;

select results_eq($$select item, day, hosts, value, note from fixture.case('shift')$$, $$values ('22/TCP to 5900/TCP', '2023-02-06'::date, 8::bigint, 1.0,
  '8 of 8 hosts on 22/TCP sent to 5900/TCP on a later day (median 2023-02-06), 0 the other way round; 0 of them had stopped sending to 22/TCP')$$, 'a shift between ports');
select is((select count(*) from hirundo.organisation_case('Host & Co', hirundo.period('2023-02-06..2023-02-21')) where section = 'shift'), 0::bigint, 'none where both ports begin on one day');

select results_eq($$select item, hosts, packets, low, high, note from fixture.case('origin')$$,
  $$values ('undetermined', null::bigint, null::bigint, null::numeric, null::numeric, 'too few regions: only 0 away with 10 pairs, each a source also seen at home and a sensor there (3 needed)'),
    ('JP', 8, 113, 100, 248, null), ('KR', 8, 32, 230, 230, null)$$, 'the verdict on their origin, with its regions');

select results_eq($$select item, day, hosts, packets, value from fixture.case('tool')$$, $$values ('unknown', '2023-02-03'::date, 8::bigint, 145::bigint, 1.0)$$, 'no tool');
update hirundo.flow set marks = 1 where ts >= '2023-02-06' and ts < '2023-02-07' and sensor_id = fixture.id('kr');
select results_eq($$select item, day, hosts, packets, value, note from fixture.case('tool')$$, $$values ('unknown', '2023-02-03'::date, 8::bigint, 137::bigint, 0.9448, 'from 2023-02-03 to 2023-02-15'),
  ('mirai', '2023-02-06', 8, 8, 0.0552, 'from 2023-02-06 to 2023-02-06')$$, 'Mirai-type on one day');
-- one packet that masscan would send is chance
update hirundo.flow set marks = case when src = '198.18.0.1' then 2 else 0 end where ts >= '2023-02-06' and ts < '2023-02-07' and sensor_id = fixture.id('kr');
select results_eq($$select item, hosts from fixture.case('tool')$$, $$values ('unknown', 8::bigint)$$, 'one packet fits by chance');
update hirundo.flow set packets = 2 where marks = 2;
select results_eq($$select item, hosts, packets from fixture.case('tool')$$, $$values ('unknown', 8::bigint, 144::bigint), ('masscan', 1, 2)$$, 'two do not');
update hirundo.flow set packets = 1, marks = 0 where marks = 2;

select results_eq($$select item, packets, sensor_days, value from fixture.case('calendar') where item in ('Saturday', 'Wednesday')$$,
  $$values ('Wednesday', 25::bigint, 4.0, 6.25), ('Saturday', 16, 3.0, 5.3333)$$, 'by weekday, from its first day to its last, over what was observed');

select is((select count(*) from fixture.case('evidence')), 16::bigint, 'a row for each host and port');
select results_eq($$select item, day, port, first_seen, last_seen, packets, sensors, regions, low, high from fixture.case('evidence') where item = '198.18.0.1'$$,
  $$values ('198.18.0.1', '2023-02-03'::date, '22/TCP', '2023-02-03 01:00Z'::timestamptz, '2023-02-15 03:00:01.5Z'::timestamptz, 15::bigint, 1::bigint, 1::bigint, 100.0, 241.0),
    ('198.18.0.1', '2023-02-06', '5900/TCP', '2023-02-06 02:00Z', '2023-02-09 02:00Z', 4, 1, 1, 230, 230)$$, 'with times and TTLs');

select results_eq($$select item, packets, value, p_value from fixture.case('calendar') where item in ('weekend', 'off')$$,
  $$select kind, packets, average, p_value from hirundo.activity_calendar(hirundo.period('2023-02-01..2023-02-21'), '{198.18.0.0/28,2001:db8::/64}') where kind in ('weekend', 'off')$$, 'kinds of days as activity_calendar has them');

-- another organisation's smaller prefix: its hosts count for both, and the notes say so; a part of that is its own again
savepoint nested;
insert into hirundo.organisation (name) values ('Small');
insert into hirundo.organisation_prefix select organisation_id, p::cidr from hirundo.organisation, unnest(array['198.18.0.2/31', '198.18.0.4/30', '198.19.0.0/16']) p where name = 'Small';
select is((select string_agg(r::text, ' ') from unnest(hirundo.case_inner('Host & Co', '{198.18.0.0/28,2001:db8::/64}')) r), '[198.18.0.2,198.18.0.3] [198.18.0.4,198.18.0.7]', 'what lookup gives to another');
select results_eq($$select hosts, substring(note from '; . of the hosts.*') from fixture.case('summary')$$,
  $$values (8::bigint, '; 6 of the hosts are in smaller prefixes of Small, and counted there too; to these ports also 1000000 packets of floods not counted, of about 1000 sources')$$, 'hosts that two organisations answer for');
select is((select hosts from hirundo.organisation_case('Small', hirundo.period('2023-02-01..2023-02-21')) where section = 'summary'), 6::bigint, '... and the other''s case');
select unalike((select note from hirundo.organisation_case('Small', hirundo.period('2023-02-01..2023-02-21')) where section = 'summary'), '%smaller prefixes%', '... which has no smaller one in it');
select results_eq($$select distinct item, note from fixture.case('evidence') where item in ('198.18.0.1', '198.18.0.2') order by 1$$, $$values ('198.18.0.1', null), ('198.18.0.2', 'in a smaller prefix of Small')$$, '... by host');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.2/32' from hirundo.organisation where name = 'Host & Co';
select results_eq($$select distinct item, note from fixture.case('evidence') where item in ('198.18.0.2', '198.18.0.3') order by 1$$, $$values ('198.18.0.2', null), ('198.18.0.3', 'in a smaller prefix of Small')$$, 'the smallest decides, as in lookup');
select is(k.organisation, case k.address when '198.18.0.2' then 'Host & Co' else 'Small' end, 'lookup: ' || k.address) from hirundo.lookup('{198.18.0.2,198.18.0.3}') k;
rollback to nested;

-- before: 3 to 9 February, 13 sensor-days with 144 packets; after: 11 to 20, 20 sensor-days with 1
select results_eq($$select item, day, hosts, packets, sensor_days, value from fixture.case('effect')$$,
  $$values ('packets', '2023-02-10'::date, null::bigint, 1::bigint, 20.0, 0.0045), ('hosts', '2023-02-10', 1, null, 20, 0.0074), ('packets of others', '2023-02-10', null, 0, 20, null)$$,
  'after a notice: ratio of the rates per observed sensor-day, its own day left out');
select ok((select low < value and value < high and high < 1 and note like 'fell: 11.077 per sensor and day before, 0.050 after;%' from fixture.case('effect') where item = 'packets'), 'it fell');
select alike((select note from fixture.case('effect') where item = 'packets of others'), 'too little data: 13.0 observed sensor-days before, with 0 packets, and 20.0 after', 'nothing to compare with');
-- others on these ports as many before as after
select fixture.flow('jp', format('2023-02-%s 05:00Z', d)::timestamptz, '198.19.0.1', packets => 10) from generate_series(1, 20) d;
select alike((select note from fixture.case('effect') where item = 'packets'), 'fell: %; more than that of other sources on these ports', '... more than others did');
update hirundo.notice set ports = '{5900/TCP}';
select results_eq($$select packets, value, low, high > 0 and high < 1 from fixture.case('effect') where item = 'packets'$$, $$values (0::bigint, 0.0, 0.0, true)$$, 'about one port; none at all after has an upper bound all the same');
-- a second notice: its "before" begins after the first
insert into hirundo.notice (organisation_id, sent) select organisation_id, '2023-02-13' from hirundo.organisation where name = 'Host & Co';
select results_eq($$select distinct day, note from fixture.case('effect') where item = 'hosts'$$,
  $$values ('2023-02-10'::date, 'too little data: 8.0 observed sensor-days before, with 32 hosts by sensor and day, and 4.0 after'),
    ('2023-02-13', 'too little data: 4.0 observed sensor-days before, with 0 hosts by sensor and day, and 14.0 after')$$, 'between notices: two days are too few');
-- two of one day, and one about ports that were never seen: each is judged, and named by its ports and reference; times between days are those of other days
delete from hirundo.notice where sent = '2023-02-13';
insert into hirundo.notice (organisation_id, sent, ports, reference) select organisation_id, '2023-02-10', p, r from hirundo.organisation, (values ('{22/TCP}'::text[], 'T-2'), ('{23/TCP,80/TCP}', 'T-3')) v(p, r) where name = 'Host & Co';
select results_eq($$select item, day, port, hosts, packets, value, note from fixture.case('effect') where item <> 'packets of others'$$,
  $$values ('packets', '2023-02-10'::date, '5900/TCP', null::bigint, 0::bigint, 0.0, 'fell: 4.000 per sensor and day before, 0.000 after; the notice''s day is left out'),
    ('hosts', '2023-02-10', '5900/TCP', 0, null, 0.0, 'fell: 4.000 per sensor and day before, 0.000 after; the notice''s day is left out'),
    ('packets', '2023-02-10', '22/TCP', null, 1, 0.0058, 'notice T-2: fell: 8.615 per sensor and day before, 0.050 after; the notice''s day is left out; more than that of other sources on these ports'),
    ('hosts', '2023-02-10', '22/TCP', 1, null, 0.0116, 'notice T-2: fell: 4.308 per sensor and day before, 0.050 after; the notice''s day is left out; more than that of other sources on these ports'),
    ('packets', '2023-02-10', '23/TCP, 80/TCP', null, 0, null, 'notice T-3: nothing was seen on these ports in this period: nothing that could fall')$$, 'several of one day');
delete from hirundo.notice;
select is((select note from fixture.case('effect')), 'no notice in this period', 'none');
-- hosts after it are counted, not added up by day and sensor: the same two on three days at two sensors
insert into hirundo.notice (organisation_id, sent) select organisation_id, '2023-02-10' from hirundo.organisation where name = 'Host & Co';
savepoint hosts;
select fixture.flow(s, format('2023-02-%s 03:00Z', d)::timestamptz, ('198.18.0.' || h)::inet) from unnest(array['jp', 'kr']) s, unnest(array[12, 13, 14]) d, unnest(array[2, 3]) h;
select results_eq($$select hosts, round(value, 4) from fixture.case('effect') where item = 'hosts'$$, $$values (3::bigint, round(13 / 20.0 / (88 / 13.0), 4))$$, 'distinct hosts; their ratio by sensor and day');
rollback to hosts;
-- a notice about no port in particular is about all: hosts that turn to an eleventh one have not ended
select fixture.flow('jp', format('2023-02-%s 03:00Z', d)::timestamptz, ('198.18.0.' || h)::inet, port => 1000 + p) from generate_series(3, 9) d, generate_series(1, 2) h, generate_series(1, 9) p;
select fixture.flow('jp', '2023-02-12T03:00Z', '198.18.0.1', port => 2000, packets => 7);
select results_eq($$select item, packets, hosts from fixture.case('effect') where item <> 'packets of others'$$, $$values ('packets', 8::bigint, null::bigint), ('hosts', null, 1)$$, 'not of the ten busiest ports alone');
rollback to hosts;
-- a notice of the day after the period is not within; nor is any in an empty period, which has no days either
update hirundo.notice set sent = '2023-02-21';
select is((select note from fixture.case('effect')), 'no notice in this period', 'the day after is not within');
update hirundo.notice set sent = '2023-02-10';
select results_eq($$select section, note from hirundo.organisation_case('Host & Co', 'empty') where section in ('summary', 'daily', 'effect')$$,
  $$values ('summary', 'no sensor observed anything in this period'), ('effect', 'no notice in this period')$$, 'an empty period has no days');
select is((select count(*) from hirundo.organisation_case('Host & Co', p) where section = 'daily'), 0::bigint, p || ' has no days')
from unnest(array['[infinity,infinity]', '[-infinity,-infinity]', '(,2000-01-01Z)', '[2999-01-01Z,)']::tstzrange[]) p;
delete from hirundo.notice;

-- from rollups the same, with flow gone but for times
create table fixture.before as select row_number() over () as n, c.* from hirundo.organisation_case('Host & Co', hirundo.month('2023-02')) c;
insert into hirundo.dirty (sensor_id, hour)
select f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f union select f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flood f
union select o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop end loop; end $$;
select results_eq('select row_number() over (), c.* from hirundo.organisation_case(''Host & Co'', hirundo.month(''2023-02'')) c', 'select * from fixture.before', 'the same from rollups');
delete from hirundo.flow;
select results_eq($$select section, item, day, port, hosts, packets, sensors, regions, sensor_days, value from hirundo.organisation_case('Host & Co', hirundo.month('2023-02')) where section <> 'tool'$$,
  $$select section, item, day, port, hosts, packets, sensors, regions, sensor_days, value from fixture.before where section <> 'tool' order by n$$, 'without flow: all but the times of day and the tools');
insert into hirundo.flow_dropped (day) select d::date from generate_series(timestamp '2023-02-02', '2023-02-08', interval '1 day') d;
select is((select note from fixture.case('tool')), 'flow of its 7 days is not kept any more', '... and tools cannot be told');
delete from hirundo.flow_dropped;
-- retention takes days of UTC: of the first day in Tokyo what is left is not its first packet, nor all of its TTLs
savepoint gone;
insert into hirundo.flow_dropped values ('2023-02-02');
select fixture.flow('jp', '2023-02-03T05:00Z', '198.18.0.1', ttl => 99);
select results_eq($$select first_seen, low, high from fixture.case('summary') union all select first_seen, low, high from fixture.case('evidence') where item = '198.18.0.1' and port = '22/TCP'$$,
  $$values (null::timestamptz, null::numeric, null::numeric), (null, null, null)$$, '... nor is the beginning of a day of which retention took a part');
rollback to gone;
select alike((select note from fixture.case('evidence') where item = '198.18.0.1' and port = '22/TCP'), 'times of day are not kept any more; last seen on 2023-02-15', '... and says so');

-- nothing, nobody
select is((select note from hirundo.organisation_case('Empty', hirundo.day('2023-02-08')) where section = 'summary'), 'nothing from its 0 prefixes in 2.0 observed sensor-days', 'nothing seen is said with how much was observed');
select is((select note from hirundo.organisation_case('Empty', hirundo.day('2022-02-08')) where section = 'summary'), 'no sensor observed anything in this period', 'nor is nobody looking');
select results_eq($$select section, item, note from hirundo.organisation_case('Nobody', hirundo.day('2023-02-08'))$$,
  $$values ('summary', 'Nobody', 'there is no organisation of this name: select name from hirundo.organisation lists them')$$, 'a name that is none');

-- the interval: 66 in 3 days and 6 in 3, no more scattered than by chance; t of 4 degrees of freedom is 2.776
select ok(r.ratio = 0.0909 and r.dispersion = 1 and abs(r.low - 0.0909 / 3.267) < 0.0005 and abs(r.high - 0.0909 * 3.267) < 0.003, 'by hand: ' || r::text)
from hirundo.rate_ratio('{20,24,22,2,3,1}', '{1,1,1,1,1,1}', '{f,f,f,t,t,t}') r;
select is(r.ratio, 0.1818, 'half the time before') from hirundo.rate_ratio('{20,24,22,2,3,1}', '{2,2,2,1,1,1}', '{f,f,f,t,t,t}') r;
select ok(r.high > 1 and r.dispersion > 20, 'more scattered: ' || r::text) from hirundo.rate_ratio('{2,1,63,0,5,0}', '{1,1,1,1,1,1}', '{f,f,f,t,t,t}') r;
select is(r.ratio, null, 'two days are too few') from hirundo.rate_ratio('{20,24,22,2,3,9}', '{1,1,1,1,1,0}', '{f,f,f,t,t,t}') r;
select is(r.ratio, null, 'nothing before') from hirundo.rate_ratio('{0,0,0,2,3,9}', '{1,1,1,1,1,1}', '{f,f,f,t,t,t}') r;
select is(r.ratio, null, 'nothing at all') from hirundo.rate_ratio(null, null, null) r;
select * from finish();
rollback;
