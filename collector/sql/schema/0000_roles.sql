-- Roles and what they need of the database. For the migrator:
--   * This file runs as the role that logged in: a superuser, or one with CREATEROLE that owns the database. It is safe to
--     run again: roles belong to the cluster, and another database of the cluster may have made them already.
--   * Every later statement (schema/0001 on, and all of analysis/) runs after `set role hirundo_owner`, so that
--     everything in schema hirundo is hirundo_owner's. The migrator issues that itself, on each run.
--   * One statement per exec; statements are separated by lines of four dashes.
-- Nobody logs in as these roles: operators are members of hirundo_owner, the collector's login of hirundo_collector,
-- analysts' logins of hirundo_analyst. Rights on tables and functions are in analysis/99_grants.sql.
do $$
declare
  r text;
begin
  foreach r in array array['hirundo_owner', 'hirundo_collector', 'hirundo_analyst'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = r) then
      begin
        execute format('create role %I nologin', r);
      exception when duplicate_object or unique_violation then
        null; -- another migrate of the same cluster was quicker
      end;
    end if;
  end loop;
end
$$;
----
do $$
begin
  if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
     and not pg_catalog.pg_has_role(current_user, 'hirundo_owner', 'member') then
    execute format('grant hirundo_owner to %I', current_user);
  end if;
  execute format('grant connect, create, temporary on database %I to hirundo_owner', current_database());
  execute format('grant connect on database %I to hirundo_collector, hirundo_analyst', current_database());
end
$$;
