-- Why is a sensor silent?
create or replace function hirundo.span_text(span interval)
returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  s numeric := floor(extract(epoch from greatest(span, interval '0')));
begin
  return case when s < 120 then s || ' s'
              when s < 7200 then floor(s / 60) || ' min'
              when s < 172800 then floor(s / 3600) || ' h'
              else floor(s / 86400) || ' days' end;
end
$$;
----
comment on function hirundo.span_text(interval) is
  'A span of time as people say it, cut to its largest unit: 90 s, 12 min, 5 h, 3 days. Example: select hirundo.span_text(interval ''740 seconds'') gives 12 min.';
----
-- One table after the other, each summed up by itself: Citus sends each sum to the shards and joins the small results, but does
-- not plan a join of a reference table with several distributed ones. observation is long: by its key, of each sensor the last
-- slots alone, which a plan finds that knows since when.
create or replace function hirundo.sensor_facts(lost_since timestamptz)
returns table (sensor_id smallint, last_batch_at timestamptz, last_ts timestamptz, live_spools bigint, open bigint, open_reason text,
  heard_at timestamptz, uptime_s bigint, problem text, spool_batches bigint, spool_bytes bigint, spool_cap_bytes bigint, spool_age_s bigint,
  queue_batches bigint, spool_failing boolean, clock_offset_ms bigint, lost bigint, lost_frames numeric, lost_reason text, unknown bigint,
  unknown_s numeric, unknown_reason text, dropped numeric, offered numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_slot timestamptz := sensor_facts.lost_since - interval '15 minutes';
  v_hour timestamptz := now() - interval '1 hour';
begin
  return query
    with l as materialized (
      select g.sensor_id, max(g.last_batch_at) as last_batch_at, max(g.last_window) as last_ts,
        count(*) filter (where g.last_batch_at > v_hour) as live_spools
      from hirundo.ledger g
      group by g.sensor_id
    ), q as materialized (
      select k.sensor_id, count(*) as open, max(k.reason) as open_reason
      from hirundo.quarantine k
      where k.resolved_at is null
      group by k.sensor_id
    ), x as materialized (
      select o.sensor_id, count(*) filter (where o.kind = 'lost') as lost, sum(o.frames) filter (where o.kind = 'lost') as lost_frames,
        max(o.reason) filter (where o.kind = 'lost') as lost_reason, count(*) filter (where o.kind = 'unknown') as unknown,
        sum(extract(epoch from o.last_window - o.first_window)) filter (where o.kind = 'unknown') as unknown_s,
        max(o.reason) filter (where o.kind = 'unknown') as unknown_reason
      from hirundo.sensor s
      join hirundo.loss o on o.sensor_id = s.sensor_id
      where o.declared_at > sensor_facts.lost_since
      group by o.sensor_id
    ), d as materialized (
      select o.sensor_id, sum(o.kernel_dropped + o.if_dropped) as dropped, sum(o.kernel_dropped + o.if_dropped + o.frames) as offered
      from hirundo.sensor s
      join hirundo.observation o on o.sensor_id = s.sensor_id
      where o.slot > v_slot
      group by o.sensor_id
    ), h as materialized (
      select * from hirundo.heartbeat
    )
    select s.sensor_id, l.last_batch_at, l.last_ts, coalesce(l.live_spools, 0), coalesce(q.open, 0), q.open_reason,
      h.received_at, h.uptime_s, h.problem, h.spool_batches, h.spool_bytes, h.spool_cap_bytes, h.spool_age_s,
      h.queue_batches, h.spool_failing, h.clock_offset_ms, coalesce(x.lost, 0), x.lost_frames, x.lost_reason, coalesce(x.unknown, 0),
      x.unknown_s, x.unknown_reason, coalesce(d.dropped, 0), coalesce(d.offered, 0)
    from hirundo.sensor s
    left join l on l.sensor_id = s.sensor_id
    left join q on q.sensor_id = s.sensor_id
    left join x on x.sensor_id = s.sensor_id
    left join d on d.sensor_id = s.sensor_id
    left join h on h.sensor_id = s.sensor_id;
end
$$;
----
comment on function hirundo.sensor_facts(timestamptz) is
  'What hirundo.sensor_status judges by, one row per sensor: last batch, what is open in quarantine, the last heartbeat, and what was lost, unknown or dropped (packets) since the time given. Example: select * from hirundo.sensor_facts(now() - interval ''1 hour'').';
----
create or replace view hirundo.sensor_status with (security_invoker = true) as
with c as materialized (
  select hirundo.time_zone() as tz, hirundo.setting('late_after')::interval as late,
    hirundo.setting('silent_after')::interval as silent, hirundo.setting('losing_for')::interval as losing,
    extract(epoch from hirundo.setting('clock_off_after')::interval) * 1000 as off_ms
), seen as (
  select s.name, s.revoked_at, c.tz, c.late, c.silent, c.losing, c.off_ms, f.*, make_interval(secs => f.spool_age_s) as spool_age,
    now() - f.last_batch_at as batch_age, now() - f.heard_at as heard_age, now() - greatest(f.last_batch_at, f.heard_at) as alive_age,
    -- a sensor that just started has no batch yet
    now() - greatest(f.last_batch_at, f.heard_at - make_interval(secs => f.uptime_s)) as idle
  from c
  cross join lateral hirundo.sensor_facts(now() - c.losing) f
  join hirundo.sensor s on s.sensor_id = f.sensor_id
), judged as (
  select n.*, coalesce(n.heard_age <= n.late, false) as connected,
    coalesce(n.spool_batches > 20 or n.spool_age > interval '10 minutes', false) as backlog,
    n.lost > 0 or coalesce(n.spool_failing, false) or (n.dropped > 0 and n.dropped * 1000 >= n.offered) as losing_now,
    case when n.heard_age <= n.silent and abs(n.clock_offset_ms) > n.off_ms then n.clock_offset_ms end as off_by_ms,
    count(*) filter (where n.heard_age <= n.silent) over () as heard_all,
    count(*) filter (where n.heard_age <= n.silent and sign(n.clock_offset_ms) * n.clock_offset_ms > n.off_ms) over (partition by sign(n.clock_offset_ms)) as off_alike
  from seen n
), named as (
  select j.*,
    case when j.revoked_at <= now() then 'revoked'
         when j.alive_age is null then 'never seen'
         when j.alive_age > j.silent then 'silent'
         when j.connected and j.spool_failing then 'losing'
         when j.idle > j.late then 'late'
         when j.losing_now then 'losing'
         when j.off_by_ms is not null then 'clock off'
         else 'online' end as state
  from judged j
)
select v.name as sensor,
  v.state,
  -- the state in words
  case v.state
    when 'revoked' then 'its enrolment was revoked at ' || to_char(v.revoked_at at time zone v.tz, 'YYYY-MM-DD HH24:MI') || ' ' || v.tz
    when 'never seen' then 'no batch ever came: is it running, does it hold an enrolled key, does it reach the collector?'
    when 'silent' then 'nothing since ' || to_char(greatest(v.last_batch_at, v.heard_at) at time zone v.tz, 'YYYY-MM-DD HH24:MI') || ' ' || v.tz
      || ': is its host up, and its way to the collector?'
      || case when v.spool_batches > 0 then ' ' || v.spool_batches || ' batches waited in its spool' else '' end
    when 'late' then case
      when not v.connected then 'no batch and no heartbeat for ' || hirundo.span_text(v.alive_age)
      when v.spool_batches > 0 then 'connected, but no batch for ' || hirundo.span_text(v.idle) || ' while ' || v.spool_batches
        || ' wait in its spool: see the collector''s log'
      else 'connected, but no batch for ' || hirundo.span_text(v.idle) || ' and none waits: is its capture running?' end
    when 'losing' then concat_ws('; ',
      case when v.lost > 0 then v.lost || ' batches (' || v.lost_frames || ' frames) declared lost in the last '
        || hirundo.span_text(v.losing) || ': ' || v.lost_reason end,
      case when v.spool_failing then 'its spool cannot be written' || case when v.queue_batches > 0
        then ', ' || v.queue_batches || ' batches wait in memory' else '' end end,
      case when v.dropped > 0 and v.dropped * 1000 >= v.offered then 'its kernel or interface dropped ' || v.dropped || ' packets ('
        || round(v.dropped * 100 / v.offered, 1) || '%) in the last ' || hirundo.span_text(v.losing) || ': [capture] ring, or its CPU' end)
    when 'clock off' then ''
    else case when v.last_batch_at is null then 'connected; its first batch is to come' else 'its batches arrive' end end
  -- what goes with it
  || case when v.state in ('revoked', 'never seen') then '' else
    case when v.off_by_ms is not null
      then case when v.state = 'clock off' then '' else '; ' end || 'its clock is ' || round(abs(v.off_by_ms) / 1000.0, 1) || ' s '
        || case when v.off_by_ms > 0 then 'behind' else 'ahead of' end || ' the collector''s'
        -- then it is not the sensors' fault
        || case when v.heard_all >= 3 and 2 * v.off_alike > v.heard_all then ', as are most sensors'': does the collector keep time by NTP?'
                else ': does it keep time by NTP?' end else '' end
    || case when v.state in ('silent', 'late') or not v.backlog then '' else '; a backlog: ' || v.spool_batches || ' batches wait in its spool, the oldest for '
        || hirundo.span_text(v.spool_age) || case when v.batch_age <= v.late then '; they are coming in' else '' end end
    || case when v.last_ts >= v.last_batch_at - interval '1 hour' or v.last_ts is null or (v.backlog and v.connected) then ''
            else '; its last batch ended at ' || to_char(v.last_ts at time zone v.tz, 'YYYY-MM-DD HH24:MI') || ' ' || v.tz || ' by its own clock: '
              || case when v.connected then 'a replay' else 'backlog or replay' end end
    || case when v.spool_cap_bytes > 0 and v.spool_bytes > 0.8 * v.spool_cap_bytes
            then '; its spool is ' || round(100.0 * v.spool_bytes / v.spool_cap_bytes) || '% full: at 100% it loses the oldest batches' else '' end
    || case when v.unknown > 0 then '; ' || hirundo.span_text(make_interval(secs => v.unknown_s::double precision)) || ' unknown, declared in the last '
        || hirundo.span_text(v.losing) || ': ' || v.unknown_reason else '' end
    || case when v.live_spools > 1 then '; ' || v.live_spools || ' spools sent in the last hour: is it running twice, or was its spool replaced?' else '' end
    || case when v.open > 0 then '; ' || v.open || ' in quarantine: ' || v.open_reason else '' end
    || case when v.problem <> '' then '; it says: ' || v.problem else '' end end as reason,
  v.last_batch_at,
  v.last_ts,
  v.spool_batches,
  v.spool_age,
  v.clock_offset_ms
from named v;
----
comment on view hirundo.sensor_status is
  'One row per sensor: state (online: batches arrive; late: none for longer than the setting late_after; silent: neither batch nor heartbeat for silent_after; losing: batches or packets were lost within losing_for; clock off: by more than clock_off_after; never seen; revoked) and the reason in words, last batch, end of the last window delivered; from its last heartbeat: batches in its spool, age of the oldest, collector''s clock less its own. A backlog or a replay is no trouble: the reason names it. Example: select sensor, state, reason from hirundo.sensor_status where state <> ''online''.';
