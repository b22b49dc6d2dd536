-- The schema on Citus: applied by `hirundo-collector migrate --citus` after the rest, and safe to run again, since a later version
-- may have new tables. The first statement runs as the login, a superuser, the others as hirundo_owner.
--
-- * What grows with traffic and deliveries is distributed by sensor_id, all of it co-located: one batch touches one node.
-- * What it is joined with is small and changes seldom: reference tables, of which each node has a copy.
-- * The rest stays on the coordinator: rollups, of which many are of all sensors together, the books of the job that makes
--   them, what operators keep.
--
-- A node connects to the others as the role that is current. So the three roles may log in here, which nobody does who has no
-- password: whom pg_hba.conf lets in as them is the nodes alone (docs/scale.md).
do $$
declare
  r record;
begin
  -- Citus carries functions and composite types to the other nodes by itself, but no range types
  for r in
    select * from pg_catalog.run_command_on_workers(format(
      $c$do $d$
      declare
        r text;
      begin
        perform set_config('citus.enable_ddl_propagation', 'off', true); -- each node for itself
        foreach r in array array['hirundo_owner', 'hirundo_collector', 'hirundo_analyst'] loop
          if not exists (select from pg_catalog.pg_roles where rolname = r) then
            execute format('create role %%I', r);
          end if;
          execute format('alter role %%I login', r);
        end loop;
        grant connect, create, temporary on database %I to hirundo_owner;
        create schema if not exists hirundo authorization hirundo_owner;
        if to_regtype('hirundo.inetrange') is null then
          create type hirundo.inetrange as range (subtype = inet, multirange_type_name = hirundo.inetmultirange);
          alter type hirundo.inetrange owner to hirundo_owner;
        end if;
      end
      $d$ $c$, current_database()))
  loop
    if not r.success then
      raise exception 'node %:%: %', r.nodename, r.nodeport, r.result;
    end if;
  end loop;
  alter role hirundo_owner login;
  alter role hirundo_collector login;
  alter role hirundo_analyst login;
  -- functions read settings, which each node has, wherever they are called
  execute format('alter database %I set citus.allow_nested_distributed_execution = on', current_database());
end
$$;
----
-- one table after the other in one transaction: each node's connections must see what the statement before did
do $$
declare
  t text; -- by name: a table with a foreign key becomes another one under the same name, without its comments
  v_comments jsonb := (
    select jsonb_agg(jsonb_build_object('name', c.relname, 'field', a.attname, 'comment', d.description))
    from pg_catalog.pg_description d
    join pg_catalog.pg_class c on c.oid = d.objoid and d.classoid = 'pg_catalog.pg_class'::regclass
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
    where c.relnamespace = 'hirundo'::regnamespace and c.relkind = 'r' and not c.relispartition);
  v record;
begin
  perform set_config('citus.multi_shard_modify_mode', 'sequential', true);
  foreach t in array array['setting', 'sensor', 'sensor_key', 'tcp_options', 'prefix_set', 'network', 'organisation', 'organisation_prefix',
                           'scanner_set', 'scanner_range', 'as_name', 'fingerprint', 'holiday'] loop
    if not exists (select from pg_catalog.pg_dist_partition d
                   where d.logicalrelid = ('hirundo.' || t)::regclass and d.partmethod = 'n' and d.repmodel = 't') then
      perform pg_catalog.create_reference_table('hirundo.' || t);
    end if;
  end loop;
  for v in select * from jsonb_to_recordset(v_comments) x(name text, field text, comment text) loop
    if v.field is not null then
      execute format('comment on column hirundo.%I.%I is %L', v.name, v.field, v.comment);
    else
      execute format('comment on table hirundo.%I is %L', v.name, v.comment);
    end if;
  end loop;
end
$$;
----
do $$
declare
  t text;
begin
  perform set_config('citus.multi_shard_modify_mode', 'sequential', true);
  foreach t in array array['ledger', 'batch', 'observation', 'loss', 'quarantine', 'sensor_address', 'flow', 'flood', 'heartbeat',
                           'heartbeat_hour'] loop
    if not exists (select from pg_catalog.pg_dist_partition d where d.logicalrelid = ('hirundo.' || t)::regclass and d.partmethod = 'h') then
      if t = 'ledger' then
        perform pg_catalog.create_distributed_table('hirundo.ledger', 'sensor_id');
      else
        perform pg_catalog.create_distributed_table('hirundo.' || t, 'sensor_id', colocate_with => 'hirundo.ledger');
      end if;
    end if;
  end loop;
end
$$;
