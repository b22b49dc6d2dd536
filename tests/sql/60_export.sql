-- Case files: texts of others in pages and in plain text, times, tables; what a case says and when there is none. The files
-- themselves: tests/integration/test_export.py.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');

select is(hirundo.export_escape('<a href="x" id=''y''>&amp;'), '&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;amp;', 'nothing is an element, nor ends an attribute');
select is(hirundo.export_clean(U&'a\0009b\001B[2J\202Ec\2028d\0085\FEFF 期間'), U&'a\FFFDb\FFFD[2J\FFFDc\FFFDd\FFFD\FFFD 期間', 'control characters and marks of direction are shown');
select is(hirundo.export_time('2023-02-08 13:00:00.999+09'), '2023-02-08T04:00:00Z', 'UTC, cut to the second');
set local timezone = 'America/New_York';
set local datestyle = 'German';
select is(hirundo.export_time('2023-02-08T04:00:00Z'), '2023-02-08T04:00:00Z', 'in any session');
reset timezone;
reset datestyle;
select is(hirundo.export_width('期間 ab'), 7, 'letters that take two places');
select is(hirundo.export_text_table('{"columns": ["期間", "n"], "rows": [["a", 1], ["bcdef", 20], [null, null]]}'), e'  期間    n\n  a       1\n  bcdef  20\n\n', 'a table as text');
select is(hirundo.export_html_table('{"rows": [["<k>", "<v>"]]}'), e'<div class="t" tabindex="0"><table><tbody>\n<tr><th scope="row">&lt;k&gt;</th><td>&lt;v&gt;</td></tr>\n</tbody></table></div>\n', 'names and values');
select is(hirundo.export_html_table('{"columns": ["<c>"], "rows": [[1], [null], ["<x>"]]}'),
  e'<div class="t" tabindex="0"><table><thead><tr><th scope="col">&lt;c&gt;</th></tr></thead>\n<tbody>\n<tr><td class="n">1</td></tr>\n<tr><td></td></tr>\n<tr><td>&lt;x&gt;</td></tr>\n</tbody></table></div>\n', 'cells');
select unalike(hirundo.export_html(jsonb_build_array(jsonb_build_object(k, v)), 'en'), '%<script>%', k || ' is text')
from (values ('h1', '"<script>"'::jsonb), ('h2', '"<script>"'), ('mark', '"<script>"'), ('code', '"<script>"'), ('p', '["<script>"]'), ('list', '["<script>"]'),
             ('table', '{"columns": ["<script>"], "rows": [["<script>"]]}')) x(k, v);
select is(hirundo.export_text('[{"h1": "期間"}, {"p": ["a.", "b."]}, {"list": ["c"]}, {"code": "d\ne"}]'), e'期間\n====\n\na.\nb.\n\n- c\n\n    d\n    e\n', 'plain text');
select is(hirundo.export_missing_ja(hirundo.missing_text(hirundo.trouble_text(1, 2, 3, 4, 5600), 7)),
  '取りこぼしたパケット1件、失われたフレーム2件、保留中のフレーム3件、計数が不明な時間4秒、時計のずれ（最大5.6秒）、保存期間を過ぎた記録7日分', 'what is missing, in Japanese: every word of it');
select is(hirundo.export_missing_ja(hirundo.missing_text(null, 1)), '保存期間を過ぎた記録1日分', '... one day');
select isnt(hirundo.export_xarf_missing('{"reporter": "x"}'), null, 'X-ARF without a contact');
select is(hirundo.export_xarf_missing('{"reporter": "x", "contact": "a@example.org"}'), null, '... with one');
select is(count(distinct hirundo.export_marking(l, t)), 10::bigint, 'every mark has its words') from unnest(array['en', 'ja']) l, unnest(array['CLEAR', 'GREEN', 'AMBER', 'AMBER+STRICT', 'RED']) t;

select throws_ok(format('update hirundo.setting set value = %L where name = %L', v, n), '23514', null, n || ' refuses ' || left(hirundo.export_clean(v), 40))
from (values ('reporter_contact', 'nobody'), ('reporter_contact', 'a@b'), ('reporter_contact', 'a@example.org, b@example.org'), ('reporter_contact', e'a@example.org\nBcc: b'),
             ('reporter_contact', 'A <a@example.org>'), ('reporter_name', e'a\tb'), ('reporter_name', repeat('x', 201))) x(n, v);
select lives_ok(format('update hirundo.setting set value = %L where name = %L', v, n), n || ' takes ' || v)
from (values ('reporter_contact', ''), ('reporter_contact', 'abuse+notice@csirt.example.org'), ('reporter_name', '例示CSIRT <&>'), ('reporter_name', '')) x(n, v);

-- one host at two sensors, a day; then when there is no case
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR')) v(n, c);
insert into hirundo.organisation (name, tlp) values ('Host & Co', 'RED'), ('Empty', 'CLEAR');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/28' from hirundo.organisation where name = 'Host & Co';
select fixture.observe('jp', '2023-02-02T15:00Z', '2023-02-04T15:00Z'), fixture.observe('kr', '2023-02-02T15:00Z', '2023-02-04T15:00Z');
select fixture.flow('jp', '2023-02-03T15:00Z', '198.18.0.1', packets => 2), fixture.flow('kr', '2023-02-04T14:59:59.9Z', '198.18.0.1', port => 5900),
  fixture.flow('kr', '2023-02-04T15:00Z', '198.18.0.1'), fixture.flow('kr', '2023-02-04T01:00Z', '198.18.0.16'), fixture.flow('jp', '2023-02-04T01:00Z', '198.18.0.2', flags => 18);
select is(h ->> 'first' || ' ' || (h ->> 'past'), '2023-02-03T15:00:00Z 2023-02-04T15:00:00Z', 'a day of the reporting time zone') from hirundo.export_head('Host & Co', '2023-02-04') h;
select results_eq($$select l from hirundo.export_head('Host & Co', '2023-02-04') h, hirundo.export_events(h, array[fixture.id('jp'), fixture.id('kr')]::int[], '{s-a,s-b}') l$$,
  $$values ('timestamp,protocol,src_ip,src_port,dst_port,icmp_type,icmp_code,tcp_flags,packets,bytes,last_seen,ttl,sensor,tlp'),
    ('2023-02-03T15:00:00Z,tcp,198.18.0.1,40000,22,,,0x02,2,120,2023-02-03T15:00:00Z,50,s-a,RED'), ('2023-02-04T14:59:59Z,tcp,198.18.0.1,40000,5900,,,0x02,1,60,2023-02-04T14:59:59Z,50,s-b,RED')$$,
  'rows of that day, of those addresses, no answers to others');
select results_eq($$select l from hirundo.export_head('Host & Co', '2023-02-04') h, hirundo.export_sources(h) l$$,
  $$values ('timestamp,last_seen,src_ip,protocol,dst_port,packets,sensors,ttl_min,ttl_max,tlp'), ('2023-02-03T15:00:00Z,2023-02-03T15:00:00Z,198.18.0.1,tcp,22,2,1,50,50,RED'),
    ('2023-02-04T14:59:59Z,2023-02-04T14:59:59Z,198.18.0.1,tcp,5900,1,1,50,50,RED')$$, 'hosts and ports');
-- a part of the prefix is another organisation's
savepoint nested;
insert into hirundo.organisation (name) values ('Small');
insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/30' from hirundo.organisation where name = 'Small';
select is(hirundo.export_case(hirundo.export_head('Host & Co', '2023-02-04')) #>> '{summary,inner}', '1', 'hosts that another organisation answers for');
select ok(hirundo.export_text(hirundo.export_blocks(hirundo.export_case(hirundo.export_head('Host & Co', '2023-02-04') || '{"operator": "f"}'), l, true, false)) ~ w, 'a case says so: ' || l)
from (values ('en', 'Hosts in smaller prefixes that another organisation answers for: 1\.'), ('ja', '送信元のうち1ホストは')) x(l, w);
rollback to nested;
select unalike(hirundo.export_text(hirundo.export_blocks(hirundo.export_case(hirundo.export_head('Host & Co', '2023-02-04') || '{"operator": "f"}'), 'en', true, false)), '%smaller prefixes%', '... and else nothing');
create temp table reports as select l::jsonb as r from hirundo.export_head('Host & Co', '2023-02-04') h,
  hirundo.export_xarf(h || '{"reporter": "R", "contact": "r@example.org"}', array[fixture.id('jp'), fixture.id('kr')]::int[], '{s-a,s-b}') l;
set local timezone = 'America/New_York';
set local datestyle = 'German';
select set_eq($$select l::jsonb from hirundo.export_head('Host & Co', '2023-02-04') h,
  hirundo.export_xarf(h || '{"reporter": "R", "contact": "r@example.org"}', array[fixture.id('jp'), fixture.id('kr')]::int[], '{s-a,s-b}') l$$, 'select r from reports', 'reports, with their numbers, are the same in any session');
reset timezone;
reset datestyle;
select is((select jsonb_agg(jsonb_build_array(r ->> 'source_identifier', r -> 'destination_port', r ->> 'timestamp', convert_from(decode(r #>> '{evidence,0,payload}', 'base64'), 'UTF8'))
    order by r -> 'destination_port') from reports),
  '[["198.18.0.1", 22, "2023-02-03T15:00:00Z", "timestamp,src_ip,src_port,protocol,dst_port,packets,ttl,sensor\n2023-02-03T15:00:00Z,198.18.0.1,40000,tcp,22,2,50,s-a\n"],
    ["198.18.0.1", 5900, "2023-02-04T14:59:59Z", "timestamp,src_ip,src_port,protocol,dst_port,packets,ttl,sensor\n2023-02-04T14:59:59Z,198.18.0.1,40000,tcp,5900,1,50,s-b\n"]]', 'X-ARF with its evidence');
select is(c -> 'ports', '[["22/TCP", 1, 2], ["5900/TCP", 1, 1]]', 'ports of a case') from hirundo.export_head('Host & Co', '2023-02-04') h, hirundo.export_case(h || '{"operator": "f"}') c;
select throws_ok(format('select hirundo.export_head(%L, %L)', o, p), s, m, m)
from (values ('Nobody', '2023-02-04', '22023', 'there is no organisation "Nobody" under watch'), ('Host & Co', 'x', '22023', '''x'' is not a period'),
             ('Host & Co', '2999Q1', '22023', 'the period 2999Q1 has not begun'), ('Host & Co', '2023-01', 'P0002', 'no sensor observed anything in the period 2023-01'),
             ('Host & Co', '2023-02-03', 'P0002', 'nothing to report: in 2.0 observed sensor-days nothing came from the prefix of "Host & Co"'),
             ('Empty', '2023-02-04', 'P0002', 'nothing to report: in 2.0 observed sensor-days nothing came from the 0 prefixes of "Empty"')) x(o, p, s, m);
-- what is missing stands in the documents; notices of one day by what they were about
update hirundo.observation set kernel_dropped = 5 where sensor_id = fixture.id('kr') and slot = '2023-02-04 02:00Z';
select matches(hirundo.export_text(hirundo.export_blocks(c, l, true, true)), m, l || ': missing') from (values ('en', 'Missing: 5 packets dropped'), ('ja', '取りこぼしたパケット5件')) x(l, m),
  hirundo.export_head('Host & Co', '2023-02-04') h, hirundo.export_case(h || '{"operator": "f"}') c;
select fixture.observe('jp', '2023-02-04T15:00Z', '2023-02-20T15:00Z');
select fixture.flow('jp', format('2023-02-%s 01:00Z', d)::timestamptz, '198.18.0.1', packets => 10) from generate_series(5, 12) d;
insert into hirundo.notice (organisation_id, sent, ports, reference) select organisation_id, '2023-02-13', p, r from hirundo.organisation, (values ('{22/TCP}'::text[], 'a'), ('{80/TCP}', 'b')) x(p, r)
where name = 'Host & Co';
select results_eq($$select e ->> 1, e ->> 2, (e ->> 3)::numeric from hirundo.export_head('Host & Co', '2023-02') h, hirundo.export_case(h) c, jsonb_array_elements(c -> 'effects') e$$,
  $$values ('22/TCP', 'packets', 0.0), ('22/TCP', 'hosts', 0.0)$$, 'after notices: of ports that were seen');
select * from finish();
rollback;
