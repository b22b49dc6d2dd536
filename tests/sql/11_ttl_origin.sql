-- ttl_origin, case by case. Each case has a day of its own.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp1', 'JP'), ('jp2', 'JP'), ('my', 'MY'), ('tw', 'TW'), ('bn', 'BN'), ('au', 'AU'), ('us', 'US')) v(n, c);

-- sources first..last of net send to each sensor with the given number of hops
create function fixture.send(day text, net text, first int, last int, hops jsonb, t0 int default 255, packets int default 1, port int default 22)
returns void language sql as
$$
  select fixture.flow(h.key, (day || ' 12:00Z')::timestamptz, (net || i)::inet, port => port, ttl => t0 - h.value::int, packets => packets)
  from generate_series(first, last) i, jsonb_each_text(hops) h
$$;
-- the prefix set: 198.18.0.0/16 is JP
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 2, 2);
insert into hirundo.network (set_id, lo, hi, asn, country)
select set_id, n.lo, n.hi, 64500, n.c from hirundo.prefix_set, (values ('198.18.0.0'::inet, '198.18.255.255'::inet, 'JP'),
  ('198.19.0.0', '198.19.255.255', 'US'), ('2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'JP')) n(lo, hi, c);
create function fixture.verdict(day text, home text default null) returns text language sql as
$$ select string_agg(distinct verdict || ': ' || reason, ' | ') from hirundo.ttl_origin(hirundo.day(day), '{198.18.0.0/24,2001:db8:1::/48}', '{22/TCP}', home) $$;

-- 1 -- consistent, MY inside home's range
select fixture.send('2023-03-01', '198.18.0.', 1, 12, '{"jp1": 8, "jp2": 10, "my": 9, "tw": 15, "bn": 13, "au": 19}');
select fixture.send('2023-03-01', '198.18.7.', 1, 20, '{"jp1": 8, "jp2": 11, "my": 10, "tw": 15, "bn": 12, "au": 20}', port => 443);
prepare asked as select region, pairs, median_d, share_positive, p_value, ttl_min, ttl_max, sources, packets, weak, verdict
from hirundo.ttl_origin(hirundo.day('2023-03-01'), '{198.18.0.0/24}', '{22/TCP}');
prepare answer as values
  ('JP', 0::bigint, null::int, null::numeric, null::float8, 245, 247, 12::bigint, 24::bigint, false, 'consistent_with_home'),
  ('AU', 12, 11, 1.0000, 0.000244140625, 236, 236, 12, 12, false, 'consistent_with_home'),
  ('BN', 12, 5, 1.0000, 0.000244140625, 242, 242, 12, 12, false, 'consistent_with_home'),
  ('MY', 12, 1, 1.0000, 0.000244140625, 246, 246, 12, 12, true, 'consistent_with_home'),
  ('TW', 12, 7, 1.0000, 0.000244140625, 240, 240, 12, 12, false, 'consistent_with_home');
select results_eq('asked', 'answer', 'consistent, with its evidence; d is against the lower median of home''s sensors; only MY weak');
select is(fixture.verdict('2023-03-01'), 'consistent_with_home: 4 of 4 regions are farther from the sources than JP is, none nearer; like 20 other sources of JP', 'the sentence, equal on all rows');
set local timezone = 'Pacific/Chatham';
select results_eq('asked', 'answer', 'in any session time zone');
reset timezone;
select is(fixture.verdict('2023-03-01', 'tw'), 'contradicts_home: 3 of 4 regions are nearer to the sources than TW is: BN, JP, MY', 'the same packets against a claimed home in Taiwan');
select is(fixture.verdict('2023-03-01', 'KR'), 'undetermined: no home sensor: none stands in KR', 'a home without sensors');
select is((select count(*) from hirundo.ttl_origin(hirundo.day('2023-03-01'), '{198.18.0.0/24}', '{22/TCP}', 'KR')), 5::bigint, '... still shows the evidence');
-- one control fewer
delete from hirundo.flow where src = '198.18.7.20' and ts >= '2023-03-01';
select alike(fixture.verdict('2023-03-01'), 'home_nearest: 4 of 4 regions are farther % too few controls: 19 other sources of JP (20 needed)%', '19 controls');
-- the sources themselves, and home's addresses outside the country's prefixes, are no controls
select fixture.send('2023-03-01', '198.18.0.', 100, 160, '{"jp1": 8, "my": 10, "tw": 15, "bn": 12, "au": 20}', port => 443);
select fixture.send('2023-03-01', '198.19.0.', 100, 160, '{"jp1": 8, "my": 10, "tw": 15, "bn": 12, "au": 20}', port => 443);
select alike(fixture.verdict('2023-03-01'), 'home_nearest: %19 other sources%', 'sources asked about and foreign ones are no controls');
-- nor are others of another initial TTL, or that no home sensor saw
select fixture.send('2023-03-01', '198.18.8.', 1, 20, '{"jp1": 8, "my": 10, "tw": 15, "bn": 12, "au": 20}', t0 => 64, port => 443);
select fixture.send('2023-03-01', '198.18.9.', 1, 20, '{"my": 10, "tw": 15, "bn": 12, "au": 20}', port => 443);
select alike(fixture.verdict('2023-03-01'), 'home_nearest: %19 other sources%', 'nor those of another initial TTL or not seen at home');
-- backscatter, ICMP, fragments do not make a control
select fixture.flow('jp1', '2023-03-01T13:00Z', '198.18.10.1', ttl => 247, flags => 18);
select fixture.flow('jp1', '2023-03-01T13:00Z', '198.18.10.2', ttl => 247, proto => 1, port => 2048);
select fixture.flow('jp1', '2023-03-01T13:00Z', '198.18.10.3', ttl => 247, marks => 4);
select alike(fixture.verdict('2023-03-01'), 'home_nearest: %19 other sources%', 'nor backscatter, ICMP and fragments');
select fixture.send('2023-03-01', '198.18.10.', 20, 20, '{"jp1": 8}', port => 443);
select alike(fixture.verdict('2023-03-01'), 'consistent_with_home: %like 20 other sources%', 'one more at home is enough');
-- sources NULL: the controls are those that did not send to the port
select is((select distinct verdict from hirundo.ttl_origin(hirundo.day('2023-03-01'), null, '{22/TCP}')), 'consistent_with_home', 'NULL sources: controls are the others');
select alike((select distinct verdict || reason from hirundo.ttl_origin(hirundo.day('2023-03-01'))), 'home_nearest%too few controls: 0 %', 'all sources and ports: nobody is left as a control');

-- 2 -- unlike the controls: home 3 hops away for 20 of them, sources 8
select fixture.send('2023-03-02', '198.18.0.', 1, 12, '{"jp1": 8, "tw": 15, "bn": 13, "au": 19}');
select fixture.send('2023-03-02', '198.18.7.', 1, 20, '{"jp1": 7, "tw": 15, "bn": 13, "au": 19}', port => 443);
select is(fixture.verdict('2023-03-02'), 'undetermined: unlike other sources of JP', 'farther at home than the controls'' 95th percentile');
select fixture.send('2023-03-02', '198.18.7.', 21, 21, '{"jp1": 9, "tw": 15, "bn": 13, "au": 19}', port => 443);
select is(fixture.verdict('2023-03-02'), 'undetermined: unlike other sources of JP', '1 of 21 is beyond the 95th percentile');
select fixture.send('2023-03-02', '198.18.7.', 22, 22, '{"jp1": 8, "tw": 15, "bn": 13, "au": 19}', port => 443);
select alike(fixture.verdict('2023-03-02'), 'consistent_with_home%', '2 of 22: the 95th percentile is 8');
-- regions: two thirds within 2 hops
update hirundo.flow set ttl = ttl - 3 where src << '198.18.7.0/24' and sensor_id = fixture.id('tw') and ts >= '2023-03-02' and ts < '2023-03-03';
select alike(fixture.verdict('2023-03-02'), 'consistent_with_home%', 'two of three regions alike are enough');
update hirundo.flow set ttl = ttl + 2 where src << '198.18.7.0/24' and sensor_id = fixture.id('au') and ts >= '2023-03-02' and ts < '2023-03-03';
select alike(fixture.verdict('2023-03-02'), 'consistent_with_home%', '2 hops are within');
update hirundo.flow set ttl = ttl + 1 where src << '198.18.7.0/24' and sensor_id = fixture.id('au') and ts >= '2023-03-02' and ts < '2023-03-03';
select is(fixture.verdict('2023-03-02'), 'undetermined: unlike other sources of JP', 'one of three is not');

-- 3 -- contradicts: two regions nearer
select fixture.send('2023-03-03', '198.18.0.', 1, 12, '{"jp1": 15, "tw": 8, "my": 9, "bn": 15, "au": 19}');
select is(fixture.verdict('2023-03-03'), 'contradicts_home: 2 of 4 regions are nearer to the sources than JP is: MY, TW', 'two nearer regions');
-- 4 -- one nearer: home addresses forged in the US
select fixture.send('2023-03-04', '198.18.0.', 1, 12, '{"jp1": 15, "us": 4, "my": 18, "bn": 19, "au": 22, "tw": 17}');
select fixture.send('2023-03-04', '198.18.7.', 1, 20, '{"jp1": 15, "us": 4, "my": 18, "bn": 19, "au": 22, "tw": 17}', port => 443);
select is(fixture.verdict('2023-03-04'), 'undetermined: closer: US', 'one nearer region rules out home');
-- 5 -- nearer, but not beyond chance: 9 pairs are no evidence, 10 are
select fixture.send('2023-03-05', '198.18.0.', 1, 12, '{"jp1": 8, "my": 18, "bn": 19, "au": 22}');
select fixture.send('2023-03-05', '198.18.0.', 1, 9, '{"us": 3}');
select alike(fixture.verdict('2023-03-05'), 'home_nearest: 3 of 3 regions%', '9 pairs are not judged');
select is((select pairs from hirundo.ttl_origin(hirundo.day('2023-03-05'), '{198.18.0.0/24}', '{22/TCP}') where region = 'US'), 9::bigint, '... but shown');
select fixture.send('2023-03-05', '198.18.0.', 10, 10, '{"us": 3}');
select is(fixture.verdict('2023-03-05'), 'undetermined: closer: US', '10 pairs are');
-- 6 -- too few away regions
select fixture.send('2023-03-06', '198.18.0.', 1, 12, '{"jp1": 8, "my": 18, "bn": 19}');
select fixture.send('2023-03-06', '198.18.0.', 1, 9, '{"au": 20}');
select is(fixture.verdict('2023-03-06'), 'undetermined: too few regions: only 2 away with 10 pairs, each a source also seen at home and a sensor there (3 needed)', 'two regions');
-- 7 -- seen away only, at home only, nowhere
select fixture.send('2023-03-07', '198.18.0.', 1, 12, '{"tw": 8, "my": 18, "bn": 19}');
select alike(fixture.verdict('2023-03-07'), 'undetermined: too few regions: only 0 away%', 'never seen at home');
select fixture.send('2023-03-08', '198.18.0.', 1, 12, '{"jp1": 8}');
select alike(fixture.verdict('2023-03-08'), 'undetermined: too few regions: only 0 away%', 'seen at home only');
select results_eq($$select * from hirundo.ttl_origin(hirundo.day('2023-03-09'), '{198.18.0.0/24}', '{22/TCP}')$$,
  $$values (null::text, 0::bigint, null::int, null::numeric, null::float8, null::int, null::int, 0::bigint, 0::bigint, false, 'undetermined',
    'no packets that count from these sources on these ports in this period', null::text, 0::bigint, null::bigint, null::bigint, 0::numeric)$$, 'nothing: one row, region null');
-- 10 -- randomised TTLs: more than a fifth of the cells of several packets spread by more than 4 hops
select fixture.send('2023-03-10', '198.18.0.', 1, 20, '{"jp1": 8, "my": 18, "bn": 19, "au": 22}', packets => 2);
select alike(fixture.verdict('2023-03-10'), 'home_nearest%', 'not randomised');
select fixture.send('2023-03-10', '198.18.0.', 1, 16, '{"jp1": 13}'); -- 16 of 80 cells spread by 5
select fixture.send('2023-03-10', '198.18.0.', 1, 20, '{"au": 26}'); -- by 4
select alike(fixture.verdict('2023-03-10'), 'home_nearest%', 'a fifth spread by more than 4 hops');
select fixture.send('2023-03-10', '198.18.0.', 17, 17, '{"jp1": 13}');
select is(fixture.verdict('2023-03-10'), 'undetermined: randomised TTLs: 17 of 80 cells of several packets spread by more than 4 hops', 'more than a fifth');
-- 11 -- neither nearer nor farther: the same hop count everywhere (one spoofer near an exchange, anycast)
select fixture.send('2023-03-11', '198.18.0.', 1, 30, '{"jp1": 12, "my": 12, "bn": 12, "au": 12, "tw": 12}');
select is(fixture.verdict('2023-03-11'), 'undetermined: home is not clearly nearest: 0 of 4 regions are farther (at least 3 and 60% needed)', 'the same hops everywhere');
select results_eq($$select pairs, median_d, share_positive, p_value, weak from hirundo.ttl_origin(hirundo.day('2023-03-11'), '{198.18.0.0/24}', '{22/TCP}') where region = 'TW'$$,
  $$values (30::bigint, 0, 0::numeric, 1::float8, true)$$, 'ties are dropped from the sign test');
-- 12 -- 3 of 6 regions farther are 50%
select fixture.sensor(n, c) from (values ('kr', 'KR'), ('hk', 'HK')) v(n, c);
select fixture.send('2023-03-12', '198.18.0.', 1, 12, '{"jp1": 12, "my": 18, "bn": 18, "au": 18, "tw": 12, "kr": 12, "hk": 12}');
select is(fixture.verdict('2023-03-12'), 'undetermined: home is not clearly nearest: 3 of 6 regions are farther (at least 3 and 60% needed)', 'half is too little');
select fixture.send('2023-03-13', '198.18.0.', 1, 12, '{"jp1": 12, "my": 18, "bn": 18, "au": 18, "tw": 12, "kr": 12}');
select alike(fixture.verdict('2023-03-13'), 'home_nearest: 3 of 5 regions%', '60% is enough');
-- 14 -- cells: TTL 64 is 0 hops from 64, TTL 65 is 63 from 128 and left out; medians weighted by packets; several initial TTLs
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.1', ttl => 64);
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.2', ttl => 65);
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.3', ttl => 88); -- 40 hops: the last that counts
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.4', ttl => 87);
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.5', ttl => 60, packets => 2); -- median of 4, 4, 14, 15 hops is 4
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.5', ttl => 50);
select fixture.flow('jp1', '2023-03-14T01:00Z', '198.18.0.5', ttl => 49);
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.5', ttl => 255, packets => 7); -- another system behind the same address
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.6', ttl => 32);
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.6', ttl => 0);
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.7', ttl => 40, flags => 20); -- backscatter
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.7', ttl => 41, marks => 4);  -- a first fragment
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.7', ttl => 42, marks => 16); -- local
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.7', ttl => 43, proto => 1, port => 2048);
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.7', ttl => 44, proto => 58, port => 32768);
select fixture.flow('jp1', '2023-03-14T02:00Z', '198.18.0.8', ttl => 45, proto => 47, port => null);
select results_eq($$select src, t0, hops, packets, ttl_min, ttl_max from hirundo.ttl_cells('2023-03-14T00:00Z', '2023-03-15T00:00Z', null, null) order by src, t0$$,
  $$values ('198.18.0.1'::inet, 64, 0, 1::bigint, 64, 64), ('198.18.0.3', 128, 40, 1, 88, 88), ('198.18.0.5', 64, 4, 4, 49, 60),
    ('198.18.0.5', 255, 0, 7, 255, 255), ('198.18.0.6', 32, 0, 2, 0, 32), ('198.18.0.8', 64, 19, 1, 45, 45)$$, 'cells');
-- 15 -- IPv6
select fixture.send('2023-03-15', '2001:db8:1::', 1, 12, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64);
select fixture.send('2023-03-15', '2001:db8:2::', 1, 25, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64, port => 443);
select alike(fixture.verdict('2023-03-15'), 'consistent_with_home%', 'IPv6');
select is((select distinct verdict from hirundo.ttl_origin(hirundo.day('2023-03-15'), '{198.18.0.0/15}', '{22/TCP}')), 'undetermined', '... is not IPv4');
-- pairs are of one initial TTL: 64 at home, 128 away make none
select fixture.send('2023-03-16', '198.18.0.', 1, 12, '{"jp1": 8}', t0 => 64);
select fixture.send('2023-03-16', '198.18.0.', 1, 12, '{"my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 128);
select is((select sum(pairs) from hirundo.ttl_origin(hirundo.day('2023-03-16'), '{198.18.0.0/24}', '{22/TCP}')), 0::numeric, 'no pairs across initial TTLs');

-- two nearer of eleven are less than a fifth; two of ten are a fifth
select fixture.sensor(lower(c), c) from unnest(array['GH', 'LK', 'MA', 'DE']) c;
select fixture.send('2023-03-17', '198.18.0.', 1, 12, '{"jp1": 12, "my": 18, "tw": 18, "bn": 18, "au": 18, "us": 18, "kr": 18, "hk": 18, "gh": 18, "lk": 6, "ma": 6}');
select alike(fixture.verdict('2023-03-17'), 'contradicts_home: 2 of 10 regions are nearer % LK, MA', 'a fifth of ten');
select fixture.send('2023-03-17', '198.18.0.', 1, 12, '{"de": 18}');
select is(fixture.verdict('2023-03-17'), 'undetermined: closer: LK, MA', 'less than a fifth of eleven');

-- 18 -- several initial TTLs behind one address (NAT, mixed systems): compared each with its own controls
select fixture.send('2023-03-18', '198.18.0.', 1, 12, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => t) from unnest(array[64, 255]) t;
select fixture.send('2023-03-18', '198.18.7.', 1, 20, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 255, port => 443);
select is((select pairs from hirundo.ttl_origin(hirundo.day('2023-03-18'), '{198.18.0.0/24}', '{22/TCP}') where region = 'AU'), 24::bigint, 'a pair for each initial TTL of a source');
select alike(fixture.verdict('2023-03-18'), 'home_nearest: % too few controls: 0 other sources%', 'no controls for one of the initial TTLs');
select fixture.send('2023-03-18', '198.18.7.', 1, 20, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64, port => 443);
select alike(fixture.verdict('2023-03-18'), 'consistent_with_home: 4 of 4 regions%', 'controls for both');
-- 19 -- the same addresses from home (initial TTL 64) and forged near AU, TW and MY (128): no majority, no verdict
select fixture.send('2023-03-19', '198.18.0.', 1, 30, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64);
select fixture.send('2023-03-19', '198.18.0.', 1, 30, '{"jp1": 16, "my": 9, "tw": 8, "bn": 16, "au": 5}', t0 => 128);
select alike(fixture.verdict('2023-03-19'), 'undetermined: home is not clearly nearest: % of 4 regions are farther%', 'half from home, half forged');
-- 20 -- forged in a country without a sensor that is about as far from everybody as home is: the controls tell
select fixture.send('2023-03-20', '198.18.0.', 1, 30, '{"jp1": 12, "my": 14, "tw": 14, "bn": 15, "au": 20}');
select alike(fixture.verdict('2023-03-20'), 'home_nearest: 4 of 4%', 'without controls it looks like home, and is not called so');
select fixture.send('2023-03-20', '198.18.7.', 1, 30, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', port => 443);
select is(fixture.verdict('2023-03-20'), 'undetermined: unlike other sources of JP', '... with controls');
-- 21 -- each source seen by one sensor alone
select fixture.send('2023-03-21', '198.18.0.', 1 + 20 * i, 20 + 20 * i, format('{"%s": %s}', s, 8 + i)::jsonb) from unnest(array['jp1', 'my', 'tw', 'bn', 'au']) with ordinality v(s, o), lateral (select o::int - 1) n(i);
select is(fixture.verdict('2023-03-21'), 'undetermined: too few regions: only 0 away with 10 pairs, each a source also seen at home and a sensor there (3 needed)', 'sources seen by one sensor only');
-- 22 -- 64 and 65: a TTL of 64 at home is no hop from 64, one of 65 is 63 hops from 128, which is no path
select fixture.send('2023-03-22', '198.18.0.', 1, 12, '{"jp1": 0, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64);
select alike(fixture.verdict('2023-03-22'), 'home_nearest: 4 of 4%', '64 at home');
select fixture.send('2023-03-23', '198.18.0.', 1, 12, '{"jp1": -1, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64);
select alike(fixture.verdict('2023-03-23'), 'undetermined: too few regions: only 0 away%', '65 at home');
-- 24 -- IPv6 home addresses forged in one foreign country
select fixture.send('2023-03-24', '2001:db8:1::', 1, 12, '{"jp1": 15, "us": 4, "my": 18, "bn": 19, "au": 22, "tw": 17}', t0 => 64);
select fixture.send('2023-03-24', '2001:db8:2::', 1, 25, '{"jp1": 8, "my": 12, "tw": 15, "bn": 13, "au": 19}', t0 => 64, port => 443);
select is(fixture.verdict('2023-03-24'), 'undetermined: closer: US', 'IPv6 forged abroad');
-- 25 -- one TTL for each packet, drawn at random: few of a source's packets are a path's length
select fixture.flow(s, '2023-03-25 12:00Z', ('198.18.0.' || i)::inet, ttl => 100 + (i * 37 + k * 53 + o::int * 91) % 156) from generate_series(1, 60) i, generate_series(1, 4) k, unnest(array['jp1', 'my', 'tw', 'bn', 'au']) with ordinality v(s, o);
select alike(fixture.verdict('2023-03-25'), 'undetermined: randomised TTLs: % of % cells%', 'random TTLs');

-- home not set, empty and strange arguments
select is((select string_agg(verdict || ': ' || reason, '') from hirundo.ttl_origin('empty')), 'undetermined: no packets that count from these sources on these ports in this period', 'empty period');
select is((select count(*) from hirundo.ttl_origin(hirundo.day('2999-01-01'))), 1::bigint, 'future');
select is((select count(*) from hirundo.ttl_origin(hirundo.day('2023-03-01'), '{}', '{22/TCP}')), 1::bigint, 'no sources');
select is((select count(*) from hirundo.ttl_origin(hirundo.day('2023-03-01'), null, '{}')), 1::bigint, 'no ports');
select ok((select count(*) > 1 from hirundo.ttl_origin(null)), 'all time');
select fixture.home('');
select is(fixture.verdict('2023-03-01'), 'undetermined: no home sensor: no home country is set or given', 'no home country');
select alike(fixture.verdict('2023-03-01', 'JP'), 'consistent_with_home%', 'home given');
-- no prefixes loaded: no controls
delete from hirundo.network;
select alike(fixture.verdict('2023-03-01', 'JP'), 'home_nearest%too few controls: 0%', 'no prefixes loaded');

-- the sign test
select ok(abs(hirundo.sign_test_p(k, n) / p - 1) < 1e-9, format('sign test %s of %s', k, n))
from (values (9::bigint, 10::bigint, 11 / 1024.0::float8), (10, 10, 1 / 1024.0), (5, 10, 638 / 1024.0), (0, 10, 1), (1, 10, 1023 / 1024.0),
  (12, 12, 1 / 4096.0), (0, 0, 1), (310, 310, 2.0::float8 ^ -310), (300, 310, 9.671182555948822e-76), (1500, 2600, 2.2479012797504134e-15),
  (50100, 100000, 0.2645786470400966)) v(k, n, p);
select is(hirundo.sign_test_p(100000, 100000), 0::float8, 'far beyond what a double can hold');
select is(hirundo.sign_test_p(11, 10), 0::float8, 'more positives than cases');

select * from finish();
rollback;
