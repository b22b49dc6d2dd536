-- Who may do what; applied last, each time. Rights are named table by table: a new table has none until it is listed here,
-- and nobody but the owner has any on partitions (rows go in and come out through flow and flood).
grant usage on schema hirundo to hirundo_collector, hirundo_analyst;
----
alter default privileges revoke execute on functions from public;
----
revoke execute on all functions in schema hirundo from public;
----
-- the collector: look up
grant select on hirundo.setting, hirundo.sensor, hirundo.sensor_key, hirundo.prefix_set, hirundo.network,
  hirundo.organisation, hirundo.organisation_prefix to hirundo_collector;
----
-- ... keep its books (select, since ON CONFLICT and RETURNING read)
grant select, insert, update on hirundo.ledger, hirundo.batch, hirundo.observation, hirundo.loss, hirundo.quarantine,
  hirundo.sensor_address, hirundo.tcp_options to hirundo_collector;
----
-- ... and add rows: it can neither read, change nor delete what is in
grant insert on hirundo.flow, hirundo.flood to hirundo_collector;
----
grant execute on function hirundo.setting(text), hirundo.time_zone(), hirundo.home_country(), hirundo.retention_cutoff(),
  hirundo.partition_ensure(date), hirundo.partition_days(), hirundo.partition_drop(date), hirundo.partition_expire()
  to hirundo_collector;
----
-- analysts read; public keys are no business of theirs
grant select on hirundo.setting, hirundo.sensor, hirundo.sensor_address, hirundo.tcp_options, hirundo.ledger, hirundo.batch,
  hirundo.observation, hirundo.loss, hirundo.quarantine, hirundo.flow, hirundo.flood, hirundo.prefix_set,
  hirundo.network, hirundo.organisation, hirundo.organisation_prefix to hirundo_analyst;
----
grant execute on all functions in schema hirundo to hirundo_analyst;
----
revoke execute on function hirundo.partition_ensure(date), hirundo.partition_drop(date), hirundo.partition_expire()
  from hirundo_analyst;
