-- Why is a sensor silent?
create or replace view hirundo.sensor_status with (security_invoker = true) as
select s.name as sensor,
  v.state,
  case v.state
    when 'revoked' then 'its enrolment was revoked at ' || to_char(s.revoked_at at time zone z.tz, 'YYYY-MM-DD HH24:MI') || ' ' || z.tz
    when 'never seen' then 'no batch ever came: is it running, does it hold an enrolled key, does it reach the collector?'
    when 'late' then 'no batch for ' || floor(extract(epoch from v.age) / 60) || ' min'
    when 'silent' then 'no batch since ' || to_char(l.last_batch_at at time zone z.tz, 'YYYY-MM-DD HH24:MI') || ' ' || z.tz
    else 'its batches arrive'
  end
  || case when v.state in ('revoked', 'never seen') then ''
          when l.last_ts < l.last_batch_at - interval '1 hour'
          then '; its last one ended at ' || to_char(l.last_ts at time zone z.tz, 'YYYY-MM-DD HH24:MI') || ' ' || z.tz
               || ' by its own clock: backlog or replay'
          else '' end
  || case when l.live_spools > 1 then '; ' || l.live_spools || ' spools sent in the last hour: is it running twice?' else '' end
  || case when q.open > 0 then '; ' || q.open || ' in quarantine' else '' end as reason,
  l.last_batch_at,
  l.last_ts,
  null::bigint as spool_batches,
  null::interval as spool_age,
  null::bigint as clock_offset_ms
from hirundo.sensor s
cross join lateral (select hirundo.time_zone() as tz) z
cross join lateral (
  select max(g.last_batch_at) as last_batch_at, max(g.last_window) as last_ts,
    count(*) filter (where g.last_batch_at > now() - interval '1 hour') as live_spools
  from hirundo.ledger g
  where g.sensor_id = s.sensor_id
) l
cross join lateral (
  select count(*) as open from hirundo.quarantine k where k.sensor_id = s.sensor_id and k.resolved_at is null
) q
cross join lateral (
  select now() - l.last_batch_at as age,
    case when s.revoked_at <= now() then 'revoked'
         when l.last_batch_at is null then 'never seen'
         when l.last_batch_at > now() - interval '5 minutes' then 'online'
         when l.last_batch_at > now() - interval '1 hour' then 'late'
         else 'silent' end as state
) v;
----
comment on view hirundo.sensor_status is
  'One row per sensor: state (online: a batch within 5 minutes; late: within the hour; silent; never seen; revoked) and the reason in words, last batch, end of the last window delivered. spool_batches, spool_age and clock_offset_ms are null until heartbeats bring them. Example: select sensor, state, reason from hirundo.sensor_status where state <> ''online''.';
