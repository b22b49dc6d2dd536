-- Ports as people write them, classes of traffic, and that the views hold to both.
begin;
select no_plan();
\ir include/fixture.psql

select is(hirundo.port_name(6, 22), '22/TCP', 'TCP');
select is(hirundo.port_name(17, 123), '123/UDP', 'UDP');
select is(hirundo.port_name(6, 0), '0/TCP', 'port 0 is a port');
select is(hirundo.port_name(17, 65535), '65535/UDP', 'the last port');
select is(hirundo.port_name(1, 8 * 256), 'ICMP', 'ICMP, any type');
select is(hirundo.port_name(1, 3 * 256 + 3), 'ICMP', 'ICMP unreachable');
select is(hirundo.port_name(58, 128 * 256), 'ICMPv6', 'ICMPv6');
select is(hirundo.port_name(47, null), 'GRE', 'GRE');
select is(hirundo.port_name(50, null), 'IP/50', 'ESP has no name here');
select is(hirundo.port_name(0, null), 'IP/0', 'protocol 0');
select is(hirundo.port_name(255, null), 'IP/255', 'protocol 255');
select is(hirundo.port_name(6, null, 4), 'TCP/fragment', 'a non-first fragment of TCP');
select is(hirundo.port_name(17, null, 4), 'UDP/fragment', 'a non-first fragment of UDP');
select is(hirundo.port_name(17, 53, 4), '53/UDP', 'a first fragment has its port');
select is(hirundo.port_name(6, null, 8), 'TCP/unknown', 'cut short before the port');
select is(hirundo.port_name(1, null, 4), 'ICMP', 'a fragment of ICMP is ICMP');

select is(hirundo.port_codes(null), null, 'NULL ports stay NULL');
select is(hirundo.port_codes('{}'), '{}', 'no ports stay none');
select is(hirundo.port_codes('{22/tcp, 22/TCP, NULL}'), '{786454}', 'letter case, spaces, NULLs and repetition do not matter');
select is((select array_agg(hirundo.port_label(c)) from unnest(hirundo.port_codes(
  '{22/TCP,123/udp,icmp,IcmpV6,gre,ip/50,tcp/fragment,UDP/Fragment,UDP/unknown,IP/47,IP/1,0/TCP}')) c),
  '{22/TCP,123/UDP,ICMP,ICMPv6,GRE,IP/50,TCP/fragment,UDP/fragment,UDP/unknown,0/TCP}', 'every way to write a port');
select throws_like(format('select hirundo.port_codes(array[''22/TCP'', %L])', v), '%' || quote_literal(v) || ' is not a port%', 'not a port: ' || v)
from unnest(array['22', 'TCP', '65536/TCP', '99999/UDP', '-1/TCP', '22/SCTP', 'IP/6', 'IP/17', 'IP/256', '', 'ssh', '22/TCP/UDP', '22 TCP']) v;

-- classes, by hand
select is(hirundo.traffic_class(proto, port, flags, marks, src_port), class, format('%s %s flags %s marks %s from %s: %s', proto, port, flags, marks, src_port, class))
from (values
  (6, 22, 2, 0, 4000, 'scan'), (6, 22, 2 + 64 + 128, 0, 4000, 'scan'), (6, 22, 18, 0, 80, 'backscatter'), (6, 22, 4, 0, 80, 'backscatter'),
  (6, 22, 20, 0, 80, 'backscatter'), (6, 22, 6, 0, 80, 'backscatter'), (6, 22, 16, 0, 80, 'other'), (6, 22, 0, 0, 80, 'other'),
  (6, 22, 1, 0, 80, 'other'), (6, null, 0, 4, null, 'fragment'), (6, 22, 2, 4, 4000, 'scan'), (6, 22, 2, 16, 4000, 'local'),
  (6, null, 0, 20, null, 'local'), (6, null, 0, 8, null, 'other'), (17, 5353, 0, 16, 5353, 'local'), (17, 40000, 0, 0, 53, 'backscatter'),
  (17, 53, 0, 0, 40000, 'scan'), (17, null, 0, 4, null, 'fragment'), (17, null, 0, 8, null, 'scan'), (1, 8 * 256, 0, 0, null, 'scan'), (1, 13 * 256, 0, 0, null, 'scan'),
  (1, 0, 0, 0, null, 'backscatter'), (1, 3 * 256 + 13, 0, 0, null, 'backscatter'), (1, 11 * 256, 0, 0, null, 'backscatter'),
  (1, 18 * 256, 0, 0, null, 'backscatter'), (1, 9 * 256, 0, 0, null, 'other'), (1, null, 0, 4, null, 'fragment'),
  (58, 128 * 256, 0, 0, null, 'scan'), (58, 129 * 256, 0, 0, null, 'backscatter'), (58, 1 * 256 + 4, 0, 0, null, 'backscatter'),
  (58, 4 * 256, 0, 0, null, 'backscatter'), (58, 135 * 256, 0, 0, null, 'other'), (47, null, 0, 0, null, 'other'),
  (47, null, 0, 4, null, 'other'), (132, null, 0, 0, null, 'other')
) t(proto, port, flags, marks, src_port, class);

-- the views compute in line what the functions say: every protocol with every interesting value
select fixture.sensor('a', 'JP');
select hirundo.partition_ensure('2023-01-01');
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select '2023-01-01T12:00Z', 0, 1, 60, port, src_port, fixture.id('a'), 1, proto, 64, flags, marks, '198.18.0.1'
from unnest(array[0, 1, 6, 17, 47, 50, 58, 132, 255]) proto,
  (select null as port union all select 53 union all select 65535 union all select generate_series(0, 20) * 256 + 1
   union all select generate_series(126, 140) * 256) p,
  unnest(array[0, 2, 4, 6, 16, 18, 20, 22, 24, 194]) flags, unnest(array[0, 1, 4, 8, 12, 16, 20, 31]) marks, unnest(array[null, 0, 53, 80]) src_port
where proto = 6 or flags = 0;
select cmp_ok((select count(*) from hirundo.flow), '>', 20000::bigint, 'many combinations');
select is_empty($$select proto, port, tcp_flags, marks, src_port, class, port_code from hirundo.flow_classed
  where class is distinct from hirundo.traffic_class(proto, port, tcp_flags, marks, src_port)
     or hirundo.port_label(port_code) is distinct from hirundo.port_name(proto, port, marks)$$,
  'flow_classed agrees with traffic_class and port_name');
insert into hirundo.flood (ts, packets, bytes, port, sensor_id, dst_no, proto, tcp_flags, ttl_min, ttl_max)
select '2023-01-01T12:00Z', 3000000000, 1, port, fixture.id('a'), 1, proto, flags, 1, 2
from unnest(array[0, 1, 6, 17, 47, 50, 58, 132, 255]) proto,
  (select null as port union all select 53 union all select generate_series(0, 20) * 256 + 1 union all select generate_series(126, 140) * 256) p,
  unnest(array[0, 2, 4, 6, 16, 18, 20, 22, 24, 194]) flags
where proto = 6 or flags = 0;
select results_eq(
  $$select port_code, class, count(*), sum(packets) from hirundo.traffic where flood group by 1, 2 order by 1, 2$$,
  $$select case when proto in (6, 17) then proto * 131072 + coalesce(port, 65537) else proto * 131072 end,
      hirundo.traffic_class(proto, port, tcp_flags, 0, null), count(*), sum(packets) from hirundo.flood group by 1, 2 order by 1, 2$$,
  'traffic classes flood rows as flow rows without marks and source port');
select is((select sum(packets) from hirundo.traffic), (select sum(packets) from hirundo.flow) + (select sum(packets) from hirundo.flood),
  'traffic holds every packet once');

-- address ranges
select is(hirundo.address_ranges(null), null, 'NULL sources stay NULL');
select ok(isempty(hirundo.address_ranges('{}')), 'no sources are none');
select is(hirundo.address_ranges('{198.18.0.0/24,198.18.0.128/25,2001:db8::/32,198.18.9.9}')::text,
  '{[198.18.0.0,198.18.0.255],[198.18.9.9,198.18.9.9],[2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]}', 'prefixes become disjoint ranges');
select ok('198.18.0.255'::inet <@ r and '198.18.0.0'::inet <@ r and not '198.18.1.0'::inet <@ r and not '198.17.255.255'::inet <@ r, 'edges of a prefix')
from hirundo.address_ranges('{198.18.0.0/24}') r;

select * from finish();
rollback;
