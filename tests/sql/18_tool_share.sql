-- fingerprint, tool_share and retag, by hand.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor('jp', 'JP'), fixture.sensor('tw', 'TW');

-- predicates: what the table takes, and what it refuses
create function pg_temp.taken(p text) returns boolean language plpgsql as
$$
declare v boolean;
begin
  insert into hirundo.fingerprint (rank, name, version, predicate, source) values (1000, 'try', '1', p, 'test');
  execute 'select ' || hirundo.fingerprint_case('2023-02-08') || $q$ from (select 6 as proto, 22 as port, 1 as src_port, 50::smallint as ttl, 2::smallint as tcp_flags,
    0::smallint as marks, 1024 as tcp_window, 1 as ip_id, 44 as ip_len, 1460 as mss, 7::smallint as window_scale, 'mss,sok'::text as options) x$q$;
  delete from hirundo.fingerprint where name = 'try';
  return true;
exception when check_violation then
  return false;
end
$$;
select ok(pg_temp.taken(p), 'a predicate: ' || p) from unnest(array['proto = 6', 'marks & 1 = 1', 'ip_id = src_port', 'tcp_window % 1024 = 0', 'port in (22, 2222)', 'options = ''mss,nop,ws,nop,nop,sok''',
  'options is null', 'mss is not null', 'proto = 6 and port = 22 or proto = 17 and port = 53', 'options <> '''' or ttl > 128', 'window_scale <= 255', 'options = ''?30,mss''']) p;
select ok(not pg_temp.taken(p), 'no predicate: ' || replace(p, E'\n', ' ')) from unnest(array['', 'true', 'proto', '1 = 1', 'proto = 6;', 'proto = 6 --', 'proto = 6) or (1 = 1', 'proto = -1', 'proto = 6 and', 'and proto = 6',
  'proto = 6 or or port = 1', 'pg_sleep(1) = 1', 'port = (select 1)', 'options = ''a'' or ''b''', 'options = ''''''', 'options like ''x''', 'src = 1', 'ts is null', 'port in ()', 'port in (select 1)', 'tcp_window % 0 = 0',
  'proto = 6  and port = 1', 'PROTO = 6', 'proto = 6 and (port = 1)', 'proto::text = 6', 'proto = 99999999999', E'proto = 6\nor 1 = 1', 'proto = 6 and port', 'hirundo.setting = 1', 'options = E''a''', 'options = ''a\''''', 'proto = 6 or pg_catalog = 1',
  'proto = 6/**/', 'proto = 6 and port = 1 or', 'proto = 6 andport = 1', 'port = $1', 'port in (1,2)', 'options = ''A''', repeat('proto = 6 and ', 100) || 'port = 1']) p;
select throws_ok($$insert into hirundo.fingerprint (rank, name, version, predicate, source) values (1001, 'unknown', '1', 'proto = 6', 'test')$$, '23514', null, 'unknown stays unknown');
select throws_ok($$insert into hirundo.fingerprint (rank, name, version, predicate, source, valid_from, valid_until) values (1001, 'a', '1', 'proto = 6', 'test', '2023-02-02', '2023-02-01')$$, '23514', null, 'valid until after valid from');
select is_empty($$select name from hirundo.fingerprint where source = '' or (predicate ~ 'ip_id|marks & 2|window' and min_packets < 2)$$, 'shipped rules name their source; those that fit by chance need two packets');
create role hirundo_test_reader in role hirundo_analyst;
set role hirundo_test_reader;
select throws_ok(q, '42501', null, 'an analyst may not: ' || q) from unnest(array[$$insert into hirundo.fingerprint (rank, name, version, predicate, source) values (1, 'a', '1', 'proto = 6', 'x')$$,
  $$update hirundo.fingerprint set predicate = 'proto = 6'$$, 'delete from hirundo.fingerprint', 'select hirundo.retag()', 'insert into hirundo.tool_built values (''2023-01-01'', ''x'')']) q;
select lives_ok($$select * from hirundo.fingerprint$$, 'an analyst reads rules');
reset role;
set role hirundo_collector;
select throws_ok(q, '42501', null, 'the collector may not: ' || q) from unnest(array[$$insert into hirundo.fingerprint (rank, name, version, predicate, source) values (1, 'a', '1', 'proto = 6', 'x')$$, 'select hirundo.retag()']) q;
reset role;

-- rows, with what their first packets had
insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 2, 2);
insert into hirundo.network select s.set_id, lo, hi, 64500, c from hirundo.prefix_set s, (values ('198.18.0.0'::inet, '198.18.0.99'::inet, 'US'), ('198.18.1.0', '198.18.1.255', 'DE')) v(lo, hi, c) where s.source = 'test';
create function pg_temp.seen(sensor text, at timestamptz, src inet, port int, packets int, marks int default 0, tcp_window int default 29200, ip_id int default 7, options text default '', flags int default 2, mss int default null, ws int default null)
returns void language plpgsql as
$$
declare v_id int;
begin
  perform fixture.flow(sensor, at, src, port => port, packets => packets, marks => marks, flags => flags);
  select t.options_id into v_id from hirundo.tcp_options t where t.layout = options and t.mss is not distinct from seen.mss and t.window_scale is not distinct from seen.ws;
  if not found then
    insert into hirundo.tcp_options (layout, mss, window_scale) values (options, mss, ws) returning options_id into v_id;
  end if;
  update hirundo.flow f set tcp_window = seen.tcp_window, ip_id = seen.ip_id, ip_len = 40, options_id = v_id
  where f.ts = at and f.src = seen.src and f.port = seen.port and f.sensor_id = fixture.id(sensor);
end
$$;
select pg_temp.seen('jp', '2023-02-08T01:00Z', '198.18.0.1', 23, 5, marks => 1);                      -- Mirai: one packet is enough
select pg_temp.seen('jp', '2023-02-08T01:01Z', '198.18.0.1', 2323, 2, marks => 1, tcp_window => 5656); -- the first rule counts
select pg_temp.seen('tw', '2023-02-08T01:00Z', '198.18.1.1', 23, 1, marks => 1);
select pg_temp.seen('jp', '2023-02-08T02:00Z', '198.18.0.2', 23, 1, marks => 2);                      -- masscan: at two sensors, so it counts
select pg_temp.seen('tw', '2023-02-08T02:00Z', '198.18.0.2', 80, 1, marks => 2);
select pg_temp.seen('jp', '2023-02-08T02:00Z', '198.18.0.3', 23, 1, marks => 2);                      -- once: chance
select pg_temp.seen('jp', '2023-02-08T02:00Z', '198.18.0.4', 23, 2, marks => 2);                      -- the mark is of each packet: two
select pg_temp.seen('jp', '2023-02-08T03:00Z', '198.18.0.5', 23, 4, ip_id => 54321);                  -- of the first packet: one is known to fit
select pg_temp.seen('jp', '2023-02-08T03:00Z', '198.18.0.6', 80, 4, ip_id => 54321);
select pg_temp.seen('tw', '2023-02-08T03:00Z', '198.18.0.6', 80, 1, ip_id => 54321);
select pg_temp.seen('tw', '2023-02-08T03:01Z', '198.18.0.6', 80, 3);                                  -- the same source, another header
select pg_temp.seen('jp', '2023-02-08T03:00Z', '198.18.0.7', 23, 9, marks => 1, flags => 18);         -- backscatter
select pg_temp.seen('jp', '2023-02-08T03:00Z', '198.18.0.7', 9, 9, marks => 17);                      -- local
select pg_temp.seen(s, '2023-02-08T04:00Z', '198.18.2.1', 80, 1, tcp_window => 65535, options => 'mss,nop,ws,nop,nop,sok', mss => 1460, ws => 8) from unnest(array['jp', 'tw']) s; -- not before 2024-03-21
select fixture.flood('jp', '2023-02-08T05:00Z', 6, 23, 1000);
select fixture.observe('jp', '2023-02-07T15:00Z', '2023-02-08T15:00Z'), fixture.observe('tw', '2023-02-08T03:00Z', '2023-02-08T15:00Z');
-- the next day nobody observed; the day after, one sensor did and saw nothing
select fixture.observe('jp', '2023-02-09T15:00Z', '2023-02-10T15:00Z');

prepare by_port as select day, item, rank, tool, packets, hosts, all_packets, share, flood_packets, sensor_days from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 2);
prepare by_port_answer as values
  ('2023-02-08'::date, '23/TCP', 1, 'masscan', 3::bigint, 2::bigint, 14::bigint, 0.2143, 1000::bigint, 1.5),
  ('2023-02-08', '23/TCP', 1, 'mirai', 6, 2, 14, 0.4286, 1000, 1.5), ('2023-02-08', '23/TCP', 1, 'unknown', 5, 2, 14, 0.3571, 1000, 1.5), ('2023-02-08', '23/TCP', 1, 'zmap', 0, 0, 14, 0, 1000, 1.5),
  ('2023-02-08', '80/TCP', 2, 'masscan', 1, 1, 11, 0.0909, 0, 1.5), ('2023-02-08', '80/TCP', 2, 'mirai', 0, 0, 11, 0, 0, 1.5),
  ('2023-02-08', '80/TCP', 2, 'unknown', 5, 2, 11, 0.4545, 0, 1.5), ('2023-02-08', '80/TCP', 2, 'zmap', 5, 1, 11, 0.4545, 0, 1.5),
  ('2023-02-08', 'total', null, 'masscan', 4, 2, 27, 0.1481, 1000, 1.5), ('2023-02-08', 'total', null, 'mirai', 8, 2, 27, 0.2963, 1000, 1.5),
  ('2023-02-08', 'total', null, 'unknown', 10, 4, 27, 0.3704, 1000, 1.5), ('2023-02-08', 'total', null, 'zmap', 5, 1, 27, 0.1852, 1000, 1.5);
select results_eq('by_port', 'by_port_answer', 'by port, with total, floods beside, backscatter and local left out');
set local timezone = 'America/St_Johns';
select results_eq('by_port', 'by_port_answer', 'in any session time zone');
reset timezone;
prepare by_country as select day, item, rank, packets, hosts, all_packets, share, flood_packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'Country', 9, 'Mirai');
prepare by_country_answer as values ('2023-02-08'::date, 'US', 1, 7::bigint, 1::bigint, 24::bigint, 0.2917, null::bigint),
  ('2023-02-08', 'DE', 2, 1, 1, 1, 1, null), ('2023-02-08', 'total', null, 8, 2, 27, 0.2963, 1000);
select results_eq('by_country', 'by_country_answer', 'one tool by country; floods have no country');
select results_eq($$select item, packets, hosts from hirundo.tool_share(hirundo.day('2023-02-08'), '{23/TCP,2323/TCP}', 'country', 1, 'mirai')$$,
  $$values ('US', 7::bigint, null::bigint), ('total', 8, null)$$, 'hosts of several ports are not added up by country');
select results_eq($$select item, packets, hosts, all_packets from hirundo.tool_share(hirundo.day('2023-02-08'), '{23/tcp}', 'country', 1, 'mirai')$$,
  $$values ('US', 5::bigint, 1::bigint, 13::bigint), ('total', 6, 2, 14)$$, 'of one port they are known');
select results_eq($$select day, item, packets, hosts, all_packets, share, flood_packets, sensor_days from hirundo.tool_share(hirundo.period('2023-02-08..2023-02-11'), null, 'port', 1, 'mirai')$$,
  $$values ('2023-02-08'::date, '23/TCP', 6::bigint, 2::bigint, 14::bigint, 0.4286, 1000::bigint, 1.5), ('2023-02-08', 'total', 8, 2, 27, 0.2963, 1000, 1.5),
    ('2023-02-09', '23/TCP', null, null, null, null, null, 0), ('2023-02-09', 'total', null, null, null, null, null, 0),
    ('2023-02-10', '23/TCP', 0, 0, 0, null, 0, 1), ('2023-02-10', 'total', 0, 0, 0, null, 0, 1)$$, 'nobody observed: null; observed and none seen: 0');
select results_eq($$select item, packets from hirundo.tool_share(tstzrange('2023-02-08T01:30Z', '2023-02-08T02:30Z'), null, 'port', 1)  where tool = 'masscan'$$,
  $$values ('23/TCP', 3::bigint), ('total', 4)$$, 'part of a day');
select is_empty($$select * from hirundo.tool_share('empty')$$, 'empty period');
select is((select packets from hirundo.tool_share(null, null, null, null, 'mirai') where day = '2023-02-08' and rank is null), 8::bigint, 'NULL everywhere: all time, by port');
select throws_like($$select * from hirundo.tool_share(null, null, 'sensor')$$, '%''sensor'' is nothing to divide by%', 'by what is none');
select throws_like($$select * from hirundo.tool_share(null, null, 'port', 5, 'miria')$$, '%''miria'' is not a tool%', 'a tool that is none');

select ok(fixture.reads('execute by_port') @> '{flow,flood}', 'reads flow and flood as long as nothing is rolled up');
-- rolled up, the same; then rules change
insert into hirundo.dirty (sensor_id, hour) select distinct f.sensor_id, date_trunc('hour', f.ts, 'UTC') from hirundo.flow f;
create function pg_temp.roll() returns int language plpgsql as $$ declare n int := 0; begin while coalesce(hirundo.rollup_step(), 0) > 0 loop n := n + 1; end loop; return n; end $$;
select cmp_ok(pg_temp.roll(), '>', 0, 'rolled up');
select results_eq($$select days, isempty(rest) from hirundo.tool_cover('2023-02-07T15:00Z', '2023-02-08T15:00Z')$$, $$values ('{2023-02-08}'::date[], true)$$, 'the day comes from the rollup');
select results_eq('by_port', 'by_port_answer', 'the same by port from the rollup');
select results_eq('by_country', 'by_country_answer', 'the same by country from the rollup');
select ok(fixture.reads('execute by_port') @> '{tool_day,network_port_day}' and not fixture.reads('execute by_port') && '{flow,flood}', 'reads the rollups and neither flow nor flood');
update hirundo.fingerprint set valid_until = '2023-02-08' where name = 'mirai';
select results_eq($$select days, isempty(rest) from hirundo.tool_cover('2023-02-07T15:00Z', '2023-02-08T15:00Z')$$, $$values ('{}'::date[], false)$$, 'other rules: from flow until it is named anew');
select is((select sum(packets) from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0) where tool = 'mirai'), null, 'a rule holds until the day before valid_until');
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0) where tool = 'window-5656'), null, 'one packet of the window is too few');
update hirundo.fingerprint set min_packets = 1 where name = 'window-5656';
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0) where tool = 'window-5656'), 2::bigint, 'with one it is enough');
select is(hirundo.retag(hirundo.month('2023-01')), 0, 'nothing to name anew there');
select is(hirundo.retag(hirundo.month('2023-02')), 1, 'one call names history anew');
select is(hirundo.retag(), 0, 'once');
select results_eq($$select days from hirundo.tool_cover('2023-02-07T15:00Z', '2023-02-08T15:00Z')$$, $$values ('{2023-02-08}'::date[])$$, 'from the rollup again');
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0) where tool = 'window-5656'), 2::bigint, 'with the same figures');
update hirundo.fingerprint set valid_from = '2024-01-01', valid_until = null where name = 'mirai';
select is((select count(*) from hirundo.tool_share(hirundo.day('2023-02-08')) where tool = 'mirai'), 0::bigint, 'nor before valid_from');
update hirundo.fingerprint set valid_from = null where name = 'zmap';
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0, 'zmap')), 7::bigint, 'two versions of a tool have one name');
-- flow gone: what was rolled up stays, whatever rules say now
insert into hirundo.flow_dropped values ('2023-02-07'), ('2023-02-08');
delete from hirundo.flow;
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0, 'window-5656')), 2::bigint, 'flow gone: by the rules of its time');
select is(hirundo.retag(), 0, 'and it stays');
delete from hirundo.tool_built;
select is((select packets from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0, 'window-5656')), null, 'neither rolled up by tool nor in flow: not known, not 0');
update hirundo.observation set if_dropped = 7 where slot = '2023-02-08T05:00Z' and sensor_id = fixture.id('jp');
select results_eq($$select distinct missing from hirundo.tool_share(hirundo.day('2023-02-08'), null, 'port', 0, 'mirai')$$, $$values ('7 packets dropped, data of 1 day gone by retention')$$, 'and what is missing stands in the row');

select * from finish();
rollback;
