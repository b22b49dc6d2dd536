-- What PostgreSQL tells every login of what others do, and so of every sensor at once and without delay: statistics, sizes,
-- positions of the log, transaction numbers, locks; large objects and advisory locks, through which a partner could disturb. One
-- row for each that is open to everybody (public) in this database: the statement that closes it and the one that lets
-- Hirundo's roles and pg_monitor keep it. No row: all is closed. `hirundo-collector partner add|set` runs it as the login.
select 'revoke execute on function ' || p.oid::regprocedure || ' from public' as close_it,
  'grant execute on function ' || p.oid::regprocedure || ' to hirundo_owner, hirundo_collector, hirundo_analyst, pg_monitor' as keep_it
from pg_catalog.pg_proc p
where p.prokind = 'f' and pg_catalog.has_function_privilege('public', p.oid, 'execute')
  and (p.pronamespace = 'pg_catalog'::regnamespace
       and p.proname ~ ('^(pg_stat_get_.*|pg_(relation|table|indexes|total_relation|database|tablespace)_size|pg_relation_file(node|path)|pg_filenode_relation'
                        '|pg_(current|last)_(wal|xact|snapshot|committed).*|pg_walfile_.*|pg_control_.*|pg_logical_.*|pg_replication_.*'
                        '|pg_get_replication_slots|pg_show_replication_.*|pg_export_snapshot|pg_last_.*|pg_wal_.*'
                        '|txid_.*|pg_xact_.*|pg_visible_in_snapshot|pg_current_.*|age|mxid_age|pg_get_multixact_members'
                        '|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_isolation_.*|pg_prepared_xact'
                        '|pg_(try_)?advisory_.*|pg_sequence_last_value|pg_notification_queue_usage|pg_get_backend_memory_contexts'
                        '|pg_get_(viewdef|ruledef)|lo_.*|lo(read|write|wr|unlink)|be_lo_.*)$')
       and not (p.proname = 'age' and p.proargtypes[0] <> 'xid'::regtype)
       or p.proname ~ '^(pg_stat_statements|pg_buffercache|pgstat)')
union all
-- catalogs: column by column, so without xmin, which counts transactions; reltuples and relpages of hirundo.flow grow with the
-- traffic of every sensor; definitions of other partners' views and policies; rows that a login can write itself
select 'revoke select on ' || c.oid::regclass || ' from public', 'select'
from pg_catalog.pg_class c
where (c.relnamespace = 'pg_catalog'::regnamespace and (c.relkind = 'r' or c.relname = 'pg_policies') or c.relname ~ '^pg_stat_statements')
  and pg_catalog.has_table_privilege('public', c.oid, 'select')
union all
select 'grant select (' || (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_catalog.pg_attribute a
                            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                              and a.attname not in ('relpages', 'reltuples', 'relallvisible', 'relallfrozen', 'relfilenode', 'relfrozenxid', 'relminmxid',
                                                    'datfrozenxid', 'datminmxid')) || ') on ' || c.oid::regclass || ' to public', 'select'
from pg_catalog.pg_class c
where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r' and pg_catalog.has_table_privilege('public', c.oid, 'select')
  and c.relname not in ('pg_rewrite', 'pg_policy', 'pg_default_acl', 'pg_db_role_setting', 'pg_shdepend', 'pg_largeobject_metadata')
union all
select 'grant select on ' || c.oid::regclass || ' to hirundo_owner, hirundo_collector, hirundo_analyst, pg_monitor', 'select'
from pg_catalog.pg_class c
where (c.relnamespace = 'pg_catalog'::regnamespace and (c.relkind = 'r' or c.relname = 'pg_policies') or c.relname ~ '^pg_stat_statements')
  and pg_catalog.has_table_privilege('public', c.oid, 'select')
union all
select format('revoke temporary on database %I from public', pg_catalog.current_database()),
  format('grant temporary on database %I to hirundo_owner, hirundo_collector, hirundo_analyst', pg_catalog.current_database())
where pg_catalog.has_database_privilege('public', pg_catalog.current_database(), 'temporary')
union all
select 'revoke create on schema public from public', 'select'
where exists (select from pg_catalog.pg_namespace n where n.nspname = 'public') and pg_catalog.has_schema_privilege('public', 'public', 'create')
