-- Each new surge is raised once: a row of hirundo.surge_alert, NOTIFY hirundo_surge, a metric. Days are judged when they are rolled
-- up, one a call, by the collector that is first; the price of a day is that of hirundo.surges for it.
create or replace function hirundo.surge_day_due()
returns table (day date, built_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_age text := lower(hirundo.setting('surge_alert_age') collate "C");
begin
  if v_age <> 'off' then
    return query
      select r.day, r.built_at
      from hirundo.rollup_day r
      left join hirundo.surge_judged j on j.day = r.day
      where r.zone = hirundo.time_zone() and r.past > now() - v_age::interval and r.past <= now()
        and j.built_at is distinct from r.built_at
        and not exists (select from hirundo.dirty_day d where d.day = r.day)
        and not exists (select from hirundo.dirty m where m.hour < r.past and m.hour > r.first - interval '1 hour')
      order by r.day limit 1;
  end if;
end
$$;
----
comment on function hirundo.surge_day_due() is
  'Internal to hirundo.surge_step: the oldest day that is rolled up, not older than setting surge_alert_age, and not judged since it was rolled up. Example: select * from hirundo.surge_day_due().';
----
create or replace function hirundo.surge_note(day date)
returns setof hirundo.surge_alert
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  s record;
  a hirundo.surge_alert;
  v_day date := day;
begin
  for s in select * from hirundo.surges(hirundo.local_range(v_day, v_day + 1)) x where x.port is not null loop
    -- as in hirundo.surges: at most two quiet days between
    update hirundo.surge_alert x
    set first_day = least(x.first_day, v_day), last_day = greatest(x.last_day, v_day)
    where x.port = s.port and v_day between x.first_day - 3 and x.last_day + 3;
    if found then
      update hirundo.surge_alert x
      set peak_day = v_day, hosts = s.hosts, expected = s.expected, ratio = s.ratio, p_corrected = s.p_corrected, sensors_rose = s.sensors_rose,
        sensors_compared = s.sensors_compared, largest_share = s.largest_share, verdict = s.verdict, reason = s.reason
      where x.port = s.port and v_day between x.first_day and x.last_day and (s.hosts > x.hosts or x.peak_day = v_day);
    else
      insert into hirundo.surge_alert (port, first_day, last_day, peak_day, hosts, expected, ratio, p_corrected, sensors_rose, sensors_compared,
                                       largest_share, verdict, reason)
      values (s.port, v_day, v_day, v_day, s.hosts, s.expected, s.ratio, s.p_corrected, s.sensors_rose, s.sensors_compared, s.largest_share,
              s.verdict, s.reason)
      returning * into a;
      return next a;
    end if;
  end loop;
end
$$;
----
comment on function hirundo.surge_note(date) is
  'Part of hirundo.surge_step: enters the surges of a day into hirundo.surge_alert, and gives those that are new. Example: see hirundo.surge_step.';
----
create or replace function hirundo.surge_step()
returns table (day date, alert text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_day date;
  v_built timestamptz;
  v_new hirundo.surge_alert[];
begin
  if not pg_try_advisory_xact_lock(5207662349052) then
    return; -- another collector is at it
  end if;
  -- keeps retention from dropping a partition between the look and the read
  lock table only hirundo.flow, only hirundo.flood in access share mode;
  select d.day, d.built_at into v_day, v_built from hirundo.surge_day_due() d;
  if v_day is null then
    return;
  end if;
  v_new := array(select a from hirundo.surge_note(v_day) a);
  insert into hirundo.surge_judged as j (day, built_at) values (v_day, v_built)
  on conflict on constraint surge_judged_pkey do update set built_at = excluded.built_at;
  delete from hirundo.surge_judged j where j.day < v_day - 400;
  if exists (select from hirundo.partner) then
    -- any login may listen, a partner's too, and must not learn what its probes did: the day alone, whatever it held
    perform pg_notify('hirundo_surge', jsonb_build_object('judged', v_day)::text);
  else
    perform pg_notify('hirundo_surge', jsonb_build_object(
      'port', a.port, 'first_day', a.first_day, 'hosts', a.hosts, 'expected', a.expected, 'ratio', a.ratio, 'sensors_rose', a.sensors_rose,
      'sensors_compared', a.sensors_compared, 'verdict', a.verdict, 'reason', left(a.reason, 1000))::text)
    from unnest(v_new) a;
  end if;
  return query
    select v_day, format('%s since %s: %s hosts, %s expected; %s of %s sensors rose (%s)', a.port, a.first_day, a.hosts, a.expected, a.sensors_rose,
                         a.sensors_compared, a.verdict)
    from unnest(v_new) a
    union all
    select v_day, null where cardinality(v_new) = 0;
end
$$;
----
comment on function hirundo.surge_step() is
  'Judges one day (hirundo.surge_day_due) and raises its new surges, each once: a row of hirundo.surge_alert, and NOTIFY hirundo_surge with a JSON payload of it (port, first_day, hosts, expected, ratio, sensors_rose, sensors_compared, verdict, reason); where partners have logins, which may listen too, one per day judged with that day alone. Gives a row per new surge, or one with alert null: day, alert (a line to log); no row if no day is due, or another session is at it. Call it until then, each time in a transaction of its own. Example: select * from hirundo.surge_step().';
