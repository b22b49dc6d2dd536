-- Retention: by age (settings retention_NAME) and by size (settings max_size_NAME), never of today.
--
-- flow and flood go by whole days (01_partitions.sql). Rollups go by days or months, from the oldest on; what they say of the
-- deleted days is then answered from flow, or not at all. Deleting returns no disk space to the system before a VACUUM FULL, so
-- the size of such a table is reckoned from its rows: else it would be deleted empty.
create or replace function hirundo.max_size(name text)
returns bigint
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text := (select s.value from hirundo.setting s where s.name = 'max_size_' || max_size.name);
begin
  return case when lower(v collate "C") <> 'off' then pg_size_bytes(v) end;
end
$$;
----
comment on function hirundo.max_size(text) is
  'The setting max_size_NAME in bytes; NULL where it is off, or there is none. Example: select hirundo.max_size(''flow'').';
----
create or replace function hirundo.retention_age(name text)
returns interval
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text := hirundo.setting('retention_' || name);
begin
  return case when lower(v collate "C") <> 'off' then v::interval end;
end
$$;
----
comment on function hirundo.retention_age(text) is
  'The setting retention_NAME; NULL where it is off. Example: select hirundo.retention_age(''batch'').';
----
create or replace function hirundo.row_bytes(name text)
returns numeric
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_table oid := (select c.oid from pg_class c where c.relnamespace = 'hirundo'::regnamespace and c.relname = row_bytes.name);
  v_row numeric;
begin
  if pg_relation_size(v_table) > 0 then
    -- with its header, and its share of the indexes
    execute format('select (avg(pg_column_size(t.*)) + 8) * (1 + pg_indexes_size(%s)::numeric / pg_relation_size(%s)) from (select * from hirundo.%I limit 1000) t',
      v_table, v_table, name) into v_row;
  end if;
  return v_row;
end
$$;
----
comment on function hirundo.row_bytes(text) is
  'Bytes that a row of a table takes with its share of the indexes, reckoned from a thousand of its rows; NULL where this server has none of them. Example: select round(hirundo.row_bytes(''port_day'')).';
----
create or replace function hirundo.rollup_over_size()
returns table (name text, before date, bytes bigint, max_bytes bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  r record;
  v_zone text := hirundo.time_zone();
  v_today date := (now() at time zone v_zone)::date;
  v_keep date; -- from here on nothing is deleted
  v_row numeric;
  v_old boolean;
begin
  for r in
    select c.oid, c.relname::text as name, hirundo.max_size(c.relname) as most,
      case a.attname when 'hour' then format('(hour at time zone %L)::date', v_zone) else a.attname::text end as day
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname in ('hour', 'day', 'month') and not a.attisdropped
    where c.relnamespace = 'hirundo'::regnamespace and c.relkind = 'r'
      and exists (select from hirundo.rollup_retention() p where p.name = c.relname)
      and pg_total_relation_size(c.oid) > hirundo.max_size(c.relname)
    order by c.relname
  loop
    v_keep := case when r.day = 'month' then date_trunc('month', v_today)::date else v_today end;
    v_row := hirundo.row_bytes(r.name);
    execute format('select min(d.day), (max(d.total) * $1)::bigint from (select day, n, sum(n) over (order by day desc) as kept, sum(n) over () as total '
      'from (select %s as day, count(*) as n from hirundo.%I group by 1) g) d where d.kept * $1 <= $2 or d.day >= $3', r.day, r.name)
      into before, bytes using v_row, r.most, v_keep;
    if bytes is null then -- not even the newest day fits, and it is not today's
      before := v_keep;
      execute format('select (count(*) * $1)::bigint from hirundo.%I', r.name) into bytes using v_row;
    end if;
    before := least(before, v_keep);
    execute format('select exists (select from hirundo.%I where %s < $1)', r.name, r.day) into v_old using before;
    if bytes > r.most and v_old then
      name := r.name;
      max_bytes := r.most;
      return next;
    end if;
  end loop;
end
$$;
----
comment on function hirundo.rollup_over_size() is
  'Rollups whose rows take more than their max_size_NAME: from which day on they fit, and what they take now, reckoned from rows and average width. Example: select * from hirundo.rollup_over_size().';
----
create or replace function hirundo.rollup_shrink()
returns table (name text, before date, deleted bigint)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  if not pg_try_advisory_xact_lock(5207662349051) then
    return; -- the rollup job is at it; the next run
  end if;
  return query select r.name, r.before, hirundo.rollup_delete(r.name, r.before) from hirundo.rollup_over_size() r;
end
$$;
----
comment on function hirundo.rollup_shrink() is
  'Deletes the oldest days of rollups beyond their max_size_NAME, never today, and says how many rows. Example: see hirundo.rollup_over_size for what it would delete.';
----
-- Messages that stay are unresolved ones before resolved ones; of each sensor the newest, and of all the same share, so that
-- one that sends nothing but poison does not drive out what others' sensors have there.
drop function if exists hirundo.quarantine_over_size();
----
create function hirundo.quarantine_over_size()
returns table (sensor_id smallint, quarantine_id bigint, received_at timestamptz, size bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_most bigint := hirundo.max_size('quarantine');
begin
  if v_most is null
     -- the coordinator of Citus has none of it, and may not ask the nodes beside what is deleted: there rows alone are looked at
     or (to_regclass('pg_catalog.pg_dist_partition') is null and pg_total_relation_size('hirundo.quarantine') <= v_most) then
    return;
  end if;
  return query
    select k.sensor_id, k.quarantine_id, k.received_at, k.size::bigint
    from (select o.sensor_id, o.quarantine_id, o.received_at, o.size,
            sum(o.size) over (order by o.resolved, o.own, o.received_at desc, o.sensor_id, o.quarantine_id) as kept
          from (select q.sensor_id, q.quarantine_id, q.received_at, s.size, q.resolved_at is not null as resolved,
                  sum(s.size) over (partition by q.sensor_id order by q.resolved_at is not null, q.received_at desc, q.quarantine_id) as own
                from hirundo.quarantine q
                cross join lateral (select 300 + length(q.header) + length(q.payload) as size) s) o) k
    where k.kept > v_most and k.received_at < date_trunc('day', now(), 'UTC');
end
$$;
----
comment on function hirundo.quarantine_over_size() is
  'Messages in quarantine beyond max_size_quarantine: resolved ones first, then the oldest of the sensors that have most there, none of today (UTC); with their bytes. Example: select count(*), pg_size_pretty(sum(size)) from hirundo.quarantine_over_size().';
----
create or replace function hirundo.table_expire()
returns table (what text, until text, count bigint, why text)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_today timestamptz := date_trunc('day', now(), 'UTC');
  v_before timestamptz; -- nodes need not know it, nor have the same clock
begin
  for what, why in values ('batch', 'retention_batch'), ('quarantine', 'retention_quarantine'), ('heartbeat_hour', 'retention_heartbeat_hour') loop
    continue when hirundo.retention_age(what) is null;
    v_before := least(now() - hirundo.retention_age(what), v_today);
    if what = 'batch' then
      delete from hirundo.batch b where b.committed_at < v_before;
    elsif what = 'quarantine' then
      delete from hirundo.quarantine q where q.received_at < v_before;
    else
      delete from hirundo.heartbeat_hour h where h.hour < v_before;
    end if;
    get diagnostics count = row_count;
    until := to_char(v_before at time zone 'UTC', 'YYYY-MM-DD');
    return next;
  end loop;
  delete from hirundo.quarantine q using hirundo.quarantine_over_size() o
  where q.sensor_id = o.sensor_id and q.quarantine_id = o.quarantine_id;
  get diagnostics count = row_count;
  what := 'quarantine';
  why := 'max_size_quarantine';
  until := null;
  return next;
end
$$;
----
comment on function hirundo.table_expire() is
  'Deletes from batch, quarantine and heartbeat_hour what is past retention or beyond its size, and says how many rows of each, until when and by which setting. Example: see hirundo.retention_due for what it would delete.';
----
drop function if exists hirundo.retention_due();
----
create function hirundo.retention_due()
returns table (what text, until text, count bigint, why text, since text, bytes bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_today timestamptz := date_trunc('day', now(), 'UTC');
  v_cutoff timestamptz := hirundo.retention_cutoff();
  v_batch timestamptz := (select least(now() - a, v_today) from hirundo.retention_age('batch') a where a is not null); -- null: off
  v_quarantine timestamptz := (select least(now() - a, v_today) from hirundo.retention_age('quarantine') a where a is not null); -- null: off
  v_hour timestamptz := (select least(now() - a, v_today) from hirundo.retention_age('heartbeat_hour') a where a is not null); -- null: off
  v_batch_row numeric := hirundo.row_bytes('batch');
  v_hour_row numeric := hirundo.row_bytes('heartbeat_hour');
  v_messages bigint;
  v_iso text := 'YYYY-MM-DD';
  r record;
begin
  return query
    with part as materialized (
      select p.day, p.bytes, (p.day + 1)::timestamp at time zone 'UTC' <= v_cutoff as old from hirundo.partition_sizes() p
    )
    select 'flow days'::text, to_char(max(p.day), v_iso), count(*), 'retention_flow = ' || hirundo.setting('retention_flow'), to_char(min(p.day), v_iso), sum(p.bytes)::bigint
    from part p where p.old
    union all
    select 'flow days', to_char(max(p.day), v_iso), count(*),
      'max_size_flow = ' || hirundo.setting('max_size_flow') || case when count(*) = 0 then ''
        else ', is ' || pg_size_pretty((select sum(a.bytes) from part a)) end,
      to_char(min(p.day), v_iso), sum(p.bytes)::bigint
    from part p where p.day in (select f.day from hirundo.flow_over_size() f(day)) and not p.old;
  return query
    select 'batch rows', to_char(max(b.committed_at) at time zone 'UTC', v_iso), count(*), 'retention_batch = ' || hirundo.setting('retention_batch'),
      to_char(min(b.committed_at) at time zone 'UTC', v_iso), (count(*) * v_batch_row)::bigint
    from hirundo.batch b where b.committed_at < v_batch
    union all
    select 'quarantine rows', to_char(max(q.received_at) at time zone 'UTC', v_iso), count(*), 'retention_quarantine = ' || hirundo.setting('retention_quarantine'),
      to_char(min(q.received_at) at time zone 'UTC', v_iso), sum(300 + length(q.header) + length(q.payload))::bigint
    from hirundo.quarantine q where q.received_at < v_quarantine;
  if hirundo.max_size('quarantine') is not null then
    v_messages := (select sum(300 + length(q.header) + length(q.payload))::bigint from hirundo.quarantine q where v_quarantine is null or q.received_at >= v_quarantine);
  end if;
  return query
    select 'quarantine rows', to_char(max(q.received_at) at time zone 'UTC', v_iso), count(*),
      'max_size_quarantine = ' || hirundo.setting('max_size_quarantine') || case when count(*) = 0 then '' else ', is ' || pg_size_pretty(v_messages) end,
      to_char(min(q.received_at) at time zone 'UTC', v_iso), sum(q.size)::bigint
    from hirundo.quarantine_over_size() q where v_quarantine is null or q.received_at >= v_quarantine;
  return query
    select 'heartbeat_hour rows', to_char(max(h.hour) at time zone 'UTC', v_iso), count(*),
      'retention_heartbeat_hour = ' || hirundo.setting('retention_heartbeat_hour'), to_char(min(h.hour) at time zone 'UTC', v_iso), (count(*) * v_hour_row)::bigint
    from hirundo.heartbeat_hour h where h.hour < v_hour;
  for r in
    select x.name, x.before, x.kept, x.why, f.count, f.since
    from (select a.name, a.before, null::date as kept, 'retention_' || a.name || ' = ' || a.setting as why
          from hirundo.rollup_retention() a where a.before is not null
          union all
          select o.name, o.before, (select a.before from hirundo.rollup_retention() a where a.name = o.name),
            'max_size_' || o.name || ' = ' || hirundo.setting('max_size_' || o.name) || ', is ' || pg_size_pretty(o.bytes)
          from hirundo.rollup_over_size() o) x
    cross join lateral hirundo.rollup_found_before(x.name, x.before, x.kept) f
    order by x.name collate "C", x.kept nulls first
  loop
    what := r.name || ' rows';
    until := to_char(r.before - 1, v_iso);
    count := r.count;
    why := r.why;
    since := to_char(r.since, v_iso);
    bytes := case when r.count > 0 then (r.count * hirundo.row_bytes(r.name))::bigint end;
    return next;
  end loop;
end
$$;
----
comment on function hirundo.retention_due() is
  'What retention would drop and delete now, by age (retention_NAME) and, of the rest, by size (max_size_NAME): how much, from when to when, by which setting, and the bytes of it: for flow what the disk gets back, for rows what becomes room for new ones (NULL: not known, as of tables that Citus has spread). Example: select what, count, since, until, pg_size_pretty(bytes), why from hirundo.retention_due() where count > 0.';
