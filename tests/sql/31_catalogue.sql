-- Rules over the whole schema: comments with examples, and what keeps the same SQL running on Citus (DESIGN, "PostgreSQL").
begin;
select no_plan();

-- every object that belongs to us; not what a type or a constraint brings with it, nor sequences of identity columns
create temp view ours as
select 'pg_class'::regclass as classid, c.oid, c.relkind::text as kind, c.oid::regclass::text as name
from pg_class c where c.relnamespace = 'hirundo'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
union all
select 'pg_proc'::regclass, p.oid, 'function', p.oid::regprocedure::text
from pg_proc p where p.pronamespace = 'hirundo'::regnamespace and not exists (select from pg_depend d where d.objid = p.oid and d.classid = 'pg_proc'::regclass and d.deptype = 'i')
union all
select 'pg_type'::regclass, t.oid, 'type', t.oid::regtype::text
from pg_type t where t.typnamespace = 'hirundo'::regnamespace and t.typcategory <> 'A' and t.typelem = 0
  and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
union all
select 'pg_namespace'::regclass, 'hirundo'::regnamespace::oid, 'schema', 'hirundo';

select cmp_ok((select count(*) from ours), '>', 45::bigint, 'there is something to look at');
select is_empty($$select kind, name from ours where coalesce(obj_description(oid, classid::regclass::name), '') = ''$$, 'every object has a COMMENT');
select is_empty($$select kind, name from ours where kind in ('function', 'v', 'type') and obj_description(oid, classid::regclass::name) not like '%Example: %'$$,
  'every function, view and type has an example in it');

-- the examples run (internal functions point elsewhere)
select lives_ok(m[1], name || ': its example runs')
from ours, regexp_match(obj_description(oid, classid::regclass::name), 'Example: (select .*?)(?: gives .*)?\.$') m
where m is not null and name not like '%partition_%' and m[1] not like '%partition_%';

-- distribution by sensor_id
create temp view distributed as
select c.oid, c.oid::regclass::text as name from pg_class c
where c.relnamespace = 'hirundo'::regnamespace and c.relname in ('ledger', 'batch', 'observation', 'loss', 'quarantine', 'flow', 'flood', 'sensor_address',
    'heartbeat', 'heartbeat_hour', 'dirty', 'dirty_day', 'port_hour', 'port_day', 'source_port_day', 'sensor_day', 'ttl_day', 'country_day', 'observed_day', 'backscatter_day', 'port_month', 'source_port_month', 'source_ttl_month');
select is((select count(*) from distributed), 23::bigint, 'all distributed tables are there');
select is_empty($$select i.indexrelid::regclass from pg_index i join distributed d on d.oid = i.indrelid
  where i.indisunique and not exists (select from pg_attribute a where a.attrelid = i.indrelid and a.attnum = any (i.indkey) and a.attname = 'sensor_id')$$,
  'sensor_id is in every primary key and unique index of distributed tables');
select is_empty($$select d.name from distributed d where not exists (select from pg_attribute a where a.attrelid = d.oid and a.attname = 'sensor_id' and a.attnotnull)$$, 'each has sensor_id');
select is_empty($$select c.conname, c.conrelid::regclass from pg_constraint c join distributed d on d.oid in (c.conrelid, c.confrelid) where c.contype = 'f'$$,
  'no foreign key on or to a distributed table, flow and flood above all');
select is_empty($$select tgname, tgrelid::regclass from pg_trigger join pg_class c on c.oid = tgrelid where c.relnamespace = 'hirundo'::regnamespace and not tgisinternal$$, 'no triggers');
select is_empty($$select rulename from pg_rewrite r join pg_class c on c.oid = r.ev_class where c.relnamespace = 'hirundo'::regnamespace and rulename <> '_RETURN'$$, 'no rules');
select is_empty($$select i.indexrelid::regclass from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
  where i.indrelid in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass) and a.amname <> 'brin'$$, 'flow and flood have BRIN indexes only');

-- functions
create temp view source as
select p.oid::regprocedure::text as name, l.lanname, p.pronargs, p.prosrc, p.provolatile, p.proconfig
from ours o join pg_proc p on p.oid = o.oid join pg_language l on l.oid = p.prolang where o.kind = 'function'
union all
select o.name, 'view', 0, pg_get_viewdef(o.oid), null, null from ours o where o.kind = 'v';
select is_empty($$select name from source where lanname not in ('plpgsql', 'view')$$, 'functions are PL/pgSQL, not LANGUAGE sql');
select is_empty($$select name from source where prosrc ~* 'grouping\s+sets|\mrollup\s*\(|\mcube\s*\('$$, 'no GROUPING SETS');
select is_empty($$select name from source where prosrc ~* 'do\s+update\s+set[^;]*\mnow\s*\('$$, 'no now() in DO UPDATE SET');
select is_empty($$select name from source where prosrc ~* 'detach\s+partition'$$, 'no DETACH');
select is_empty($$select name from source where prosrc ~* '\mts\s*<@|@>\s*[a-z_.]*\mts\M'$$, 'ts >= lower(p) and ts < upper(p), never ts <@ p: it prunes no partition');
select is_empty($$select name from source where prosrc ~* '\msrc\s*<<|>>=?\s*[a-z_.]*\msrc\M'$$, 'address ranges as bounds, never src <<= prefix');
select is_empty($$select name from source where lanname = 'plpgsql' and not exists (select from unnest(proconfig) c where c = 'search_path=pg_catalog, pg_temp')$$, 'functions pin their search_path');
select is_empty($$select name from source where lanname = 'plpgsql' and provolatile <> 'i' and not exists (select from unnest(proconfig) c where c = 'DateStyle=ISO, MDY')$$, 'functions that read tables pin how times are written: Citus passes them to its nodes as text');
select set_eq($$select name from source where provolatile = 'v'$$, array['hirundo.audit_add(text,text,text,text)', 'hirundo.key_used(bytea)',
  'hirundo.partner_build(smallint)', 'hirundo.partner_build_table(name,text,text,text,text)', 'hirundo.partner_build_view(smallint,name,text,text,text,text)',
  'hirundo.share_copy()', 'hirundo.share_publish()', 'hirundo.share_step()', 'hirundo.surge_step()', 'hirundo.surge_note(date)',
  'hirundo.partition_exists(text,date)', 'hirundo.partition_ensure(date)', 'hirundo.partition_drop(date)', 'hirundo.partition_remove(date)', 'hirundo.partition_expire()',
  'hirundo.rollup_step()', 'hirundo.rollup_step_day(text)', 'hirundo.rollup_step_hours(text)', 'hirundo.rollup_rezone(text)', 'hirundo.rollup_expire()', 'hirundo.rollup_delete(text,date)', 'hirundo.rollup_shrink()', 'hirundo.table_expire()',
  'hirundo.rollup_restamp(date,date)', 'hirundo.organisation_restamp(cidr[])', 'hirundo.retag(tstzrange)', 'hirundo.data_sets_expire()',
  'hirundo.rollup_build_hours(smallint[],timestamp with time zone[],text)', 'hirundo.rollup_build_sources(date,timestamp with time zone,timestamp with time zone,smallint[])',
  'hirundo.rollup_build_day(date,timestamp with time zone,timestamp with time zone,smallint[])', 'hirundo.rollup_build_tools(date,timestamp with time zone,timestamp with time zone,smallint[])',
  'hirundo.rollup_build_backscatter(date,timestamp with time zone,timestamp with time zone,smallint[])', 'hirundo.rollup_build_observed(date,timestamp with time zone,timestamp with time zone,smallint[])', 'hirundo.rollup_build_month_totals(date,timestamp with time zone,timestamp with time zone)', 'hirundo.rollup_build_month_sources(date)', 'hirundo.rollup_step_month(text)'], 'only those that change something are volatile');
select is_empty($$select name from source where lanname = 'view' and not exists (
  select from pg_class c where c.oid = name::regclass and 'security_invoker=true' = any (c.reloptions))$$, 'views run with the reader''s rights');

-- result columns, which are append-only
select is((select string_agg(a, ',') from (select unnest(coalesce(nullif(p.proargnames[p.pronargs + 1:], '{}'),
    (select array_agg(t.attname::text order by t.attnum) from pg_attribute t where t.attrelid = y.typrelid and t.attnum > 0 and not t.attisdropped))) as a
  from pg_proc p join pg_type y on y.oid = p.prorettype where p.pronamespace = 'hirundo'::regnamespace and p.proname = f) x), columns, f || ' has the columns of the design')
from (values
  ('ttl_spread', 'region,ttl_min,ttl_max,ttl_median,sources,packets,all_sources,missing,flood_packets,flood_sources_min,flood_sources_max,sensor_days'),
  ('ttl_origin', 'region,pairs,median_d,share_positive,p_value,ttl_min,ttl_max,sources,packets,weak,verdict,reason,missing,flood_packets,flood_sources_min,flood_sources_max,sensor_days'),
  ('source_hosts_daily', 'day,port,hosts,packets,sensors,sensor_days,missing,flood_packets,flood_sources_min,flood_sources_max,hosts_alone,largest_sensor'),
  ('sensor_average', 'bucket,side,packets,sensor_days,average,flood_packets,missing,flood_sources_min,flood_sources_max,largest_share,largest_sensor'),
  ('top_ports', 'sensor,label_en,label_ja,country,rank,port,packets,sensor_days,missing,flood_packets,flood_sources_min,flood_sources_max'),
  ('tool_share', 'day,item,rank,tool,packets,hosts,all_packets,share,flood_packets,sensor_days,missing,flood_sources_min,flood_sources_max'),
  ('port_trend', 'bucket,rank,port,packets,flood_packets,sensors,sensor_days,average,missing,flood_sources_min,flood_sources_max,largest_share,largest_sensor'),
  ('quarter_top', 'kind,rank,item,packets,share,average,previous_rank,previous,previous_packets,flood_packets,sensor_days,previous_sensor_days,missing,flood_sources_min,flood_sources_max,largest_share,largest_sensor'),
  ('scanners', 'day,src,ports,sensors,packets,asn,as_name,country,organisation,scanner,missing,flood_packets,flood_sources_min,flood_sources_max,sensor_days'),
  ('scanner_organisations', 'day,organisation,kind,hosts,ports,packets,sensor_days,missing,flood_packets,flood_sources_min,flood_sources_max'),
  ('activity_calendar', 'kind,days,compared_days,sensor_days,hosts_per_day,packets,average,ratio,p_value,weeks,reason,missing,flood_packets,flood_sources_min,flood_sources_max'),
  ('scope', 'sensor,country,days_before,days,before,expected,sources,packets_before,packets,ratio,p_value,rose,share_of_rise,sensors_rose,sensors_compared,sensors_left_out,largest_share,mean_expected,mean,median_expected,median,verdict,reason,note,missing,flood_packets,flood_sources_min,flood_sources_max'),
  ('surges', 'port,first_day,last_day,days,peak_day,hosts,expected,ratio,p_value,p_corrected,ports_looked_at,sensor_days,sensors_rose,sensors_compared,largest_share,verdict,reason,note,days_judged,days_asked,missing,flood_packets,flood_sources_min,flood_sources_max'),
  ('accounting', 'sensor,hour,frames,row_packets,flood_packets,non_ip,malformed,quarantined,lost,unknown_s,kernel_dropped,if_dropped,difference')) v(f, columns);
select columns_are('hirundo', 'sensor_status', array['sensor', 'state', 'reason', 'last_batch_at', 'last_ts', 'spool_batches', 'spool_age', 'clock_offset_ms']);

-- a range on ts prunes: one day reads one partition of each
update hirundo.setting set value = 'off' where name = 'retention_flow';
select hirundo.partition_ensure(d::date) from generate_series(date '2023-02-01', '2023-02-20', interval '1 day') d;
create function pg_temp.partitions(q text) returns bigint language plpgsql as
$$
declare line text; n bigint := 0;
begin
  for line in execute 'explain (costs off) ' || q loop
    n := n + (line ~ ' on (flow|flood)_[0-9]{8}')::int;
  end loop;
  return n;
end
$$;
select is(pg_temp.partitions($$select sum(packets) from hirundo.traffic where ts >= '2023-02-08Z' and ts < '2023-02-09Z' and class <> 'local'$$), 2::bigint,
  'the views prune partitions');

select * from finish();
rollback;
