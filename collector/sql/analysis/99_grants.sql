-- Who may do what; applied last, each time. Rights are named table by table: a new table has none until it is listed here,
-- and nobody but the owner has any on partitions (rows go in and come out through flow and flood).
grant usage on schema hirundo to hirundo_collector, hirundo_analyst;
----
alter default privileges revoke execute on functions from public;
----
-- analysts may call every function of ours but those that change something (the constructors of range types belong to the
-- database's superuser, and to the public, and stay so)
do $$
declare
  f regprocedure;
begin
  for f in select p.oid from pg_catalog.pg_proc p
           where p.pronamespace = 'hirundo'::regnamespace and pg_catalog.pg_has_role(p.proowner, 'usage')
             and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'i') loop
    execute format('revoke execute on function %s from public', f);
    if (select p.provolatile <> 'v' from pg_catalog.pg_proc p where p.oid = f) then
      execute format('grant execute on function %s to hirundo_analyst', f);
    end if;
  end loop;
end
$$;
----
-- the collector: look up
grant select on hirundo.setting, hirundo.sensor, hirundo.sensor_key, hirundo.prefix_set, hirundo.network,
  hirundo.organisation, hirundo.organisation_prefix, hirundo.scanner_set, hirundo.scanner_range, hirundo.as_name to hirundo_collector;
----
-- ... keep its books (select, since ON CONFLICT and RETURNING read)
grant select, insert, update on hirundo.ledger, hirundo.batch, hirundo.observation, hirundo.loss, hirundo.quarantine,
  hirundo.sensor_address, hirundo.tcp_options, hirundo.dirty to hirundo_collector;
----
grant select, insert, update on hirundo.heartbeat, hirundo.heartbeat_hour to hirundo_collector;
----
-- ... and add rows: it can neither read, change nor delete what is in
grant insert on hirundo.flow, hirundo.flood to hirundo_collector;
----
grant execute on function hirundo.setting(text), hirundo.time_zone(), hirundo.home_country(), hirundo.retention_cutoff(), hirundo.span_text(interval),
  hirundo.partition_exists(text, date), hirundo.partition_ensure(date), hirundo.partition_days(), hirundo.partition_drop(date), hirundo.partition_expire(),
  hirundo.rollup_step(), hirundo.surge_step(), hirundo.rollup_retention(), hirundo.rollup_expire(), hirundo.maintenance_due(),
  hirundo.partition_sizes(), hirundo.database_bytes(), hirundo.flow_over_size(), hirundo.max_size(text), hirundo.retention_age(text), hirundo.rollup_over_size(),
  hirundo.quarantine_over_size(), hirundo.rollup_shrink(), hirundo.table_expire(), hirundo.retention_due()
  to hirundo_collector;
----
-- analysts read; public keys are no business of theirs
grant select on hirundo.setting, hirundo.sensor, hirundo.sensor_address, hirundo.tcp_options, hirundo.ledger, hirundo.batch,
  hirundo.observation, hirundo.loss, hirundo.quarantine, hirundo.flow, hirundo.flood, hirundo.prefix_set,
  hirundo.network, hirundo.organisation, hirundo.organisation_prefix, hirundo.dirty, hirundo.dirty_day, hirundo.rollup_hour,
  hirundo.rollup_day, hirundo.rollup_gone, hirundo.flow_dropped, hirundo.port_hour, hirundo.port_day, hirundo.source_day,
  hirundo.source_port_day, hirundo.sensor_day, hirundo.ttl_day, hirundo.observed_day, hirundo.dirty_month, hirundo.rollup_month, hirundo.port_month,
  hirundo.network_port_month, hirundo.source_month, hirundo.source_port_month, hirundo.source_ttl_month,
  hirundo.scanner_day, hirundo.country_day, hirundo.port_country_day, hirundo.network_port_day to hirundo_analyst;
----
grant select on hirundo.scanner_set, hirundo.scanner_range, hirundo.as_name to hirundo_analyst;
----
grant select on hirundo.heartbeat, hirundo.heartbeat_hour to hirundo_analyst;
----
grant select on hirundo.partner, hirundo.partner_sensor, hirundo.partner_pseudonym, hirundo.partner_due, hirundo.partner_bucket to hirundo_analyst;
----
grant select on hirundo.flow_classed, hirundo.flood_classed, hirundo.traffic, hirundo.sensor_status, hirundo.rollup_lag to hirundo_analyst;
----
grant select on hirundo.backscatter_day, hirundo.backscatter_flow, hirundo.notice to hirundo_analyst;
----
-- enrolment: which keys came in a bundle, where it is reached, who was refused, the first use of keys
grant select on hirundo.bundle to hirundo_collector;
----
grant select, insert, update on hirundo.collector_endpoint to hirundo_collector;
----
grant select, insert, update, delete on hirundo.unknown_key to hirundo_collector;
----
grant execute on function hirundo.key_used(bytea), hirundo.audit_add(text, text, text, text) to hirundo_collector;
----
-- what `hirundo-collector status` shows
grant select on hirundo.sensor_status, hirundo.dirty_day, hirundo.rollup_lag to hirundo_collector;
----
grant execute on function hirundo.sensor_facts(timestamptz), hirundo.period_bounds(tstzrange), hirundo.accounting(tstzrange), hirundo.local_range(date, date),
  hirundo.quarter(text), hirundo.month(text), hirundo.week(text), hirundo.day(text), hirundo.period_edge(text), hirundo.period(text)
  to hirundo_collector;
----
-- surges: the collector's metrics tell of them
grant select on hirundo.surge_alert to hirundo_collector, hirundo_analyst;
----
grant select on hirundo.surge_judged to hirundo_analyst;
----
-- tools
grant select on hirundo.fingerprint, hirundo.tool_day, hirundo.tool_built, hirundo.holiday to hirundo_analyst;
