-- The life of sensors' keys, as far as the collector itself takes part.
create or replace function hirundo.audit_add(action text, sensor text, detail text, unix_user text default '')
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp set datestyle = 'ISO, MDY' as $$
begin
  insert into hirundo.audit (who, action, sensor, detail)
  values (session_user || case when unix_user = '' then '' else ' (' || unix_user || ')' end, action, sensor, detail);
end
$$;
----
comment on function hirundo.audit_add(text, text, text, text) is
  'Adds a row to hirundo.audit; who is the login that calls, and the operating system''s user if given. Example: select hirundo.audit_add(''note'', ''tokyo-1'', ''moved to another rack'').';
----
create or replace function hirundo.key_used(key bytea)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp set datestyle = 'ISO, MDY' as $$
declare
  sensor_name text;
  old_key bytea;
  v_now timestamptz := clock_timestamp(); -- Citus takes no volatile function in an update
begin
  update hirundo.sensor_key k set first_used_at = v_now
    where k.public_key = key and k.first_used_at is null and k.revoked_at is null
    returning k.replaces, (select s.name from hirundo.sensor s where s.sensor_id = k.sensor_id) into old_key, sensor_name;
  if not found then
    return false;
  end if;
  update hirundo.sensor_key k set revoked_at = v_now where k.public_key = old_key and k.revoked_at is null;
  if found then
    insert into hirundo.audit (who, action, sensor, detail)
    values (session_user, 'key taken over', sensor_name,
      'the sensor connected with ' || encode(key, 'hex') || '; ' || encode(old_key, 'hex') || ' is revoked');
    perform pg_notify('hirundo_keys', '');
  end if;
  return true;
end
$$;
----
comment on function hirundo.key_used(bytea) is
  'Notes the first use of a sensor''s key (32 bytes), and revokes the one it replaces. True if this was the first use. Called by serve. Example: select hirundo.key_used(decode(repeat(''ab'', 32), ''hex'')).';
