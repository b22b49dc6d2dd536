-- ttl_spread, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp1', 'JP'), ('jp2', 'JP'), ('au', 'AU'), ('tw', 'TW'), ('kr', 'KR')) v(n, c);

-- JP: TTL 243 x 1, 245 x 2, 249 x 1 -> weights 1 2 1, half of 4 is reached at 245
select fixture.flow('jp1', '2023-02-08T01:00Z', '198.18.0.1', ttl => 243);
select fixture.flow('jp1', '2023-02-08T02:00Z', '198.18.0.2', ttl => 245, packets => 2);
select fixture.flow('jp2', '2023-02-08T03:00Z', '198.18.0.1', ttl => 249, port => 5900);
-- AU: 234 x 1, 238 x 1: lower median
select fixture.flow('au', '2023-02-08T04:00Z', '198.18.0.1', ttl => 238);
select fixture.flow('au', '2023-02-08T05:00Z', '198.18.0.3', ttl => 234);
-- TW: one packet at 230 against 1,000 at 240
select fixture.flow('tw', '2023-02-08T06:00Z', '198.18.0.1', ttl => 240, packets => 1000);
select fixture.flow('tw', '2023-02-08T07:00Z', '198.18.0.1', ttl => 230);
-- not asked for: another port, another source, an edge outside, another day
select fixture.flow('jp1', '2023-02-08T08:00Z', '198.18.0.9', port => 23, ttl => 1);
select fixture.flow('jp1', '2023-02-08T08:00Z', '198.18.1.0', ttl => 2);
select fixture.flow('jp1', '2023-02-08T08:00Z', '198.17.255.255', ttl => 3);
select fixture.flow('jp1', '2023-02-08T15:00Z', '198.18.0.1', ttl => 4);
select fixture.flow('jp1', '2023-02-07T14:59:59.999Z', '198.18.0.1', ttl => 5);
select fixture.flow('kr', '2023-02-08T08:00Z', '198.18.0.1', proto => 17, port => 22, ttl => 6);
-- flood rows have no source
select fixture.flood('jp1', '2023-02-08T08:00Z', 6, 22, 1000000);

prepare asked as select region, ttl_min, ttl_max, ttl_median, sources, packets, all_sources, missing from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}');
prepare answer as values ('JP', 243, 249, 245, 2::bigint, 4::bigint, 3::bigint, null::text), ('AU', 234, 238, 234, 2, 2, 3, null), ('TW', 230, 240, 240, 1, 1001, 3, null);
select results_eq('asked', 'answer', 'home first, then by region; weighted lower medians; distinct sources over all regions');
set local timezone = 'America/St_Johns';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;
select results_eq($$select region, ttl_min, ttl_max, ttl_median, sources, packets, all_sources, missing from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{198.18.0.0/25,198.18.0.0/24,198.18.0.1}', '{22/tcp,5900/tcp}')$$, 'answer',
  'overlapping prefixes count once');
select fixture.home('TW');
select results_eq($$select region from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}')$$, array['TW', 'AU', 'JP'], 'another home');
select fixture.home('');
select results_eq($$select region from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{198.18.0.0/24}', '{22/TCP,5900/TCP}')$$, array['AU', 'JP', 'TW'], 'no home');
select results_eq($$select region, ttl_min, packets from hirundo.ttl_spread(hirundo.day('2023-02-08'))$$,
  $$values ('AU', 234, 2::bigint), ('JP', 1, 7), ('KR', 6, 1), ('TW', 230, 1001)$$, 'NULL: all sources and ports');
select results_eq($$select region, ttl_max from hirundo.ttl_spread(hirundo.day('2023-02-08'), null, '{22/UDP}')$$, $$values ('KR', 6)$$, 'UDP is not TCP');
select is_empty($$select * from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{}', null)$$, 'no sources: nothing');
select is_empty($$select * from hirundo.ttl_spread(hirundo.day('2023-02-08'), null, '{}')$$, 'no ports: nothing');
select is_empty($$select * from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{2001:db8::/32}', null)$$, 'no IPv6 yet');
select fixture.flow('tw', '2023-02-08T04:00Z', '2001:db8::1', ttl => 57);
select fixture.flow('jp1', '2023-02-08T04:00Z', '2001:db8:ffff::1', ttl => 60);
select fixture.flow('jp1', '2023-02-08T04:00Z', '2001:db9::', ttl => 61);
select results_eq($$select region, ttl_median, sources, all_sources from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{2001:db8::/32}')$$,
  $$values ('JP', 60, 1::bigint, 2::bigint), ('TW', 57, 1, 2)$$, 'IPv6');
select is((select all_sources from hirundo.ttl_spread(hirundo.day('2023-02-08'), '{2001:db8::/32,198.18.0.1}') limit 1), 3::bigint, 'both families in one call');

select * from finish();
rollback;
