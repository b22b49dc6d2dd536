-- What a row costs in a real daily partition, its share of the index included, with all columns filled.
begin;
select plan(3);
update hirundo.setting set value = 'off' where name = 'retention_flow';
select hirundo.partition_ensure(d) from unnest(array[date '2023-02-08', '2023-02-09']) d;
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, options_id, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select timestamptz '2023-02-08 00:00Z' + i * interval '1 second', 3000, 3, 180, 23, 40000 + i % 1000, 64240, i % 65536, 60, 1 + i % 80, 1 + i % 100, 1, 6, 50, 2, 1,
  inet '100.64.0.0' + i
from generate_series(1, 65000) i;
insert into hirundo.flow (ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, options_id, sensor_id, dst_no, proto, ttl, tcp_flags, marks, src)
select timestamptz '2023-02-09 00:00Z' + i * interval '1 second', 3000, 3, 180, 23, 40000 + i % 1000, 64240, i % 65536, 60, 1 + i % 80, 1 + i % 100, 1, 6, 50, 2, 1,
  inet '2001:db8::' + i
from generate_series(1, 65000) i;
create function pg_temp.row_size(part regclass) returns numeric language plpgsql as
$$ declare n bigint; begin execute format('select count(*) from %s', part) into n; return round(pg_total_relation_size(part)::numeric / n, 1); end $$;
select cmp_ok(pg_temp.row_size('hirundo.flow_20230208'), '<=', 95.0, 'IPv4: at most 95 bytes a row');
select cmp_ok(pg_temp.row_size('hirundo.flow_20230209'), '<=', 112.0, 'IPv6: at most 112 bytes a row');
select diag('bytes a row: IPv4 ' || pg_temp.row_size('hirundo.flow_20230208') || ', IPv6 ' || pg_temp.row_size('hirundo.flow_20230209'));
select is((select count(*) from pg_index i where i.indrelid = 'hirundo.flow_20230208'::regclass), 1::bigint, 'with its index');
select * from finish();
rollback;
