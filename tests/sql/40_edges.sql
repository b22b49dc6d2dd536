-- Every analysis function with strange arguments, on an empty database and on one with data, in several session zones:
-- an answer, no error.
begin;
select no_plan();
\ir include/fixture.psql
create table fixture.call (q text);
insert into fixture.call
select format(f, p) from unnest(array[
    'select * from hirundo.ttl_spread(%s, null, null)', 'select * from hirundo.ttl_spread(%s, ''{}'', ''{}'')',
    'select * from hirundo.ttl_spread(%s, ''{::/0,0.0.0.0/0,NULL}'', ''{22/TCP,NULL}'')',
    'select * from hirundo.ttl_origin(%s, null, null, null)', 'select * from hirundo.ttl_origin(%s, ''{198.18.0.1}'', ''{icmp}'', ''zz'')',
    'select * from hirundo.ttl_origin(%s, ''{::/0,0.0.0.0/0}'', null, ''JP'')',
    'select * from hirundo.source_hosts_daily(%s, null, null)', 'select * from hirundo.source_hosts_daily(%s, ''{198.18.0.0/15}'', ''{22/TCP,ICMP}'')',
    'select * from hirundo.top_ports(%s, 3)', 'select * from hirundo.top_ports(%s, null)', 'select * from hirundo.top_ports(%s, 2147483647)',
    'select * from hirundo.sensor_average(%s, ''day'')', 'select * from hirundo.sensor_average(%s, null)',
    'select * from hirundo.accounting(%s)', 'select * from hirundo.accounting_check(%s)']) f,
  unnest(array['null', '''empty''', 'tstzrange(null, null)', 'tstzrange(''-infinity'', ''infinity'')', 'tstzrange(null, ''2023-02-09Z'')',
    'tstzrange(''2023-02-08Z'', null)', 'tstzrange(''2999-01-01Z'', ''2999-02-01Z'')', 'tstzrange(''1999-12-01Z'', ''2000-01-01Z'')',
    'tstzrange(''2023-02-08Z'', ''2023-02-09Z'', ''[]'')', 'hirundo.day(''2023-02-08'')', 'tstzrange(''2023-02-08 12:00:00.001Z'', ''2023-02-08 12:00:00.002Z'')']) p;

create function fixture.failures(zone text) returns setof text language plpgsql as
$$
declare c text;
begin
  perform set_config('timezone', zone, true);
  for c in select q from fixture.call loop
    begin
      execute c;
    exception when others then
      return next c || ': ' || sqlerrm;
    end;
  end loop;
end
$$;
select is((select count(*) from fixture.call), 165::bigint, 'many calls');
select is_empty($$select fixture.failures('UTC')$$, 'empty database');
select fixture.zone('Asia/Tokyo'), fixture.home('JP');
select fixture.sensor('jp', 'JP');
select is_empty($$select fixture.failures('Asia/Kathmandu')$$, 'one sensor without data');
select fixture.flow('jp', '2023-02-08T12:00Z', '198.18.0.1');
select is_empty($$select fixture.failures('America/St_Johns')$$, 'rows, but no observation');
select fixture.observe('jp', '2023-02-08T12:00Z', '2023-02-08T13:00Z');
select is_empty($$select fixture.failures('Australia/Lord_Howe')$$, 'one sensor, at home');
update hirundo.sensor set country = 'KR';
select is_empty($$select fixture.failures('UTC')$$, 'no home sensor');
delete from hirundo.flow;
select fixture.flow('jp', '2023-02-08T12:00Z', '2001:db8::1', proto => 58, port => 128 * 256);
select fixture.flood('jp', '2023-02-08T12:00Z', 0, null, 100000000000000000);
select is_empty($$select fixture.failures('UTC')$$, 'IPv6 only, and an immense flood');

-- answers do not depend on the session's zone, date style or number formats
create function fixture.answers() returns text language plpgsql as
$$
declare c text; t text := ''; r text;
begin
  for c in select q from fixture.call order by q loop
    execute 'select string_agg(x.j::text, '';'') from (select to_jsonb(r) - ''hour'' as j from (' || c || ') r) x' into r;
    t := t || coalesce(r, '-') || E'\n';
  end loop;
  return md5(t);
end
$$;
create table fixture.first as select fixture.answers() as a;
set local timezone = 'Pacific/Kiritimati';
set local datestyle = 'German';
set local intervalstyle = 'sql_standard';
set local enable_hashagg = off;
set local enable_hashjoin = off;
set local enable_indexscan = off;
select is(fixture.answers(), (select a from fixture.first), 'the same answers in another session');

select * from finish();
rollback;
