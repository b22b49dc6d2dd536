-- Daily partitions of flow and flood: made and dropped only here, as hirundo_owner.
--
-- For the collector: call partition_ensure in a short transaction of its own, before the one that copies rows. It takes
-- SHARE UPDATE EXCLUSIVE on flow and flood (a COPY runs on beside it) and keeps it until that transaction ends.
-- Where the day exists it locks nothing. Partitions get the parent's BRIN index by being attached.
create or replace function hirundo.partition_exists(parent text, day date)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  -- by a query, which sees what others committed; a look-up by name (regclass) may remember that it was not there
  return exists (
    select from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = ('hirundo.' || parent)::regclass and c.relname = parent || '_' || to_char(day, 'YYYYMMDD'));
end
$$;
----
comment on function hirundo.partition_exists(text, date) is
  'Whether flow or flood has a partition for a UTC day. Example: select hirundo.partition_exists(''flow'', ''2023-02-08'').';
----
create or replace function hirundo.partition_ensure(day date)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  parent text;
  child text;
  made boolean := false;
begin
  if day is null then
    raise exception 'partition_ensure needs a day' using errcode = 'null_value_not_allowed';
  end if;
  if exists (select from hirundo.flow_dropped g where g.day = partition_ensure.day) then
    -- the rollups hold what was there: rows that come now would be in no figure, and nothing would say so
    raise exception 'retention has dropped flow of %: rows of that day can no longer be rolled up', day
      using errcode = 'invalid_parameter_value',
            hint = 'To load such a day anew, whole: delete it from hirundo.flow_dropped first (docs/operations.md).';
  end if;
  if hirundo.partition_exists('flow', day) and hirundo.partition_exists('flood', day) then
    return false;
  end if;
  if (day + 1)::timestamp at time zone 'UTC' <= hirundo.retention_cutoff() then
    raise exception 'day % is past retention_flow (%)', day, hirundo.setting('retention_flow')
      using errcode = 'invalid_parameter_value',
            hint = 'Its rows would be dropped at once. Set retention_flow longer, or off, to load old data.';
  end if;
  if day < (hirundo.setting('accept_from')::timestamp)::date
     or day > ((now() + hirundo.setting('accept_ahead')::interval + interval '7 days') at time zone 'UTC')::date then
    raise exception 'day % is outside the accepted times (accept_from %, accept_ahead %)', day,
        hirundo.setting('accept_from'), hirundo.setting('accept_ahead')
      using errcode = 'invalid_parameter_value';
  end if;
  -- one maker at a time: the lock that attaching takes, taken before looking again
  lock table only hirundo.flow, only hirundo.flood in share update exclusive mode;
  foreach parent in array array['flow', 'flood'] loop
    child := parent || '_' || to_char(day, 'YYYYMMDD');
    if not hirundo.partition_exists(parent, day) then
      execute format('create table hirundo.%I (like hirundo.%I including defaults including storage)', child, parent);
      execute format('comment on table hirundo.%I is %L', child,
                     format('%s of %s (UTC). Query hirundo.%s instead.', parent, day, parent));
      execute format('alter table hirundo.%I attach partition hirundo.%I for values from (%L) to (%L)',
                     parent, child, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00');
      made := true;
    end if;
  end loop;
  return made;
end
$$;
----
comment on function hirundo.partition_ensure(date) is
  'Makes the partitions of flow and flood for a UTC day; true if it made any, false if both were there. Runs beside COPY and beside itself. Refuses days outside the accepted times, past retention, and those that retention has dropped before. Example: select hirundo.partition_ensure(''2023-02-08'').';
----
create or replace function hirundo.partition_days()
returns table (day date)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return query
    select distinct to_date(substring(c.relname from '_(\d{8})$'), 'YYYYMMDD')
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass)
      and c.relname ~ '^(flow|flood)_\d{8}$'
    order by 1;
end
$$;
----
comment on function hirundo.partition_days() is
  'The UTC days that have partitions, in order. Example: select min(day), max(day), count(*) from hirundo.partition_days().';
----
create or replace function hirundo.database_bytes()
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_bytes bigint;
begin
  if to_regclass('pg_catalog.pg_dist_node') is not null then
    -- a node that does not answer counts nothing: its tables cannot be written either
    execute $q$select sum(r.result::bigint) from run_command_on_all_nodes('select pg_database_size(current_database())') r where r.success$q$ into v_bytes;
  end if;
  return coalesce(v_bytes, pg_database_size(current_database()));
end
$$;
----
comment on function hirundo.database_bytes() is
  'Bytes of this database, as pg_database_size tells; on Citus of all nodes together. Example: select pg_size_pretty(hirundo.database_bytes()).';
----
create or replace function hirundo.partition_sizes()
returns table (day date, bytes bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  if to_regclass('pg_catalog.pg_dist_shard') is not null then
    -- of all shards of all tables at once: a question for each table takes far longer
    return query execute
      $q$select to_date(substring(c.relname from '_(\d{8})$'), 'YYYYMMDD'), sum(pg_total_relation_size(c.oid) + coalesce(s.bytes, 0))::bigint
         from pg_inherits i
         join pg_class c on c.oid = i.inhrelid
         left join (select d.logicalrelid, sum(z.size) as bytes
                    from citus_shard_sizes() z join pg_dist_shard d on d.shardid = z.shard_id
                    group by 1) s on s.logicalrelid = c.oid
         where i.inhparent in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass)
           and c.relname ~ '^(flow|flood)_\d{8}$'
         group by 1
         order by 1$q$;
    return;
  end if;
  return query
    select to_date(substring(c.relname from '_(\d{8})$'), 'YYYYMMDD'), sum(pg_total_relation_size(c.oid))::bigint
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent in ('hirundo.flow'::regclass, 'hirundo.flood'::regclass)
      and c.relname ~ '^(flow|flood)_\d{8}$'
    group by 1
    order by 1;
end
$$;
----
comment on function hirundo.partition_sizes() is
  'Bytes of the partitions of flow and flood by UTC day, indexes included; on Citus of all nodes. Example: select pg_size_pretty(sum(bytes)) from hirundo.partition_sizes().';
----
-- Today is safe in either zone, and so is what is made ahead.
create or replace function hirundo.flow_over_size()
returns setof date
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text := hirundo.setting('max_size_flow');
  v_today timestamptz := least(date_trunc('day', now(), 'UTC'), date_trunc('day', now(), hirundo.time_zone()));
begin
  if lower(v collate "C") = 'off' then
    return;
  end if;
  return query
    select s.day
    from (select p.day, sum(p.bytes) over (order by p.day desc) as kept from hirundo.partition_sizes() p) s
    where s.kept > pg_size_bytes(v) and (s.day + 1)::timestamp at time zone 'UTC' <= v_today
    order by s.day;
end
$$;
----
comment on function hirundo.flow_over_size() is
  'The oldest UTC days of flow and flood that must go for the rest to fit into max_size_flow, never today; none where it is off. Example: select * from hirundo.flow_over_size().';
----
create or replace function hirundo.partition_remove(day date)
returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set lock_timeout = '2s'
as $$
declare
  parent text;
  child text;
  dropped boolean := false;
begin
  if not hirundo.partition_exists('flow', day) and not hirundo.partition_exists('flood', day) then
    return false;
  end if;
  -- what dropping takes; before looking again, since another collector may be at it
  lock table only hirundo.flow, only hirundo.flood in access exclusive mode;
  foreach parent in array array['flow', 'flood'] loop
    child := parent || '_' || to_char(day, 'YYYYMMDD');
    if hirundo.partition_exists(parent, day) then
      execute format('drop table hirundo.%I', child);
      dropped := true;
    end if;
  end loop;
  if dropped then
    -- what was rolled up of it can never be computed again
    insert into hirundo.flow_dropped as f (day) values (partition_remove.day) on conflict do nothing;
  end if;
  return dropped;
end
$$;
----
comment on function hirundo.partition_remove(date) is
  'Internal to partition_drop and partition_expire, which ask whether the day may go. Example: see hirundo.partition_drop.';
----
create or replace function hirundo.partition_drop(day date)
returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set lock_timeout = '2s'
as $$
begin
  if day is null then
    raise exception 'partition_drop needs a day' using errcode = 'null_value_not_allowed';
  end if;
  if (day + 1)::timestamp at time zone 'UTC' > hirundo.retention_cutoff()
     and not exists (select from hirundo.flow_over_size() o(day) where o.day = partition_drop.day) then
    raise exception 'day % is inside retention_flow (%): not dropped', day, hirundo.setting('retention_flow')
      using errcode = 'insufficient_privilege',
            hint = 'Only days that ended longer ago than retention_flow, or do not fit into max_size_flow, can be dropped.';
  end if;
  return hirundo.partition_remove(day);
end
$$;
----
comment on function hirundo.partition_drop(date) is
  'Drops the partitions of a UTC day that is past retention_flow, or does not fit into max_size_flow; true if there were any. Else it refuses. Example: select hirundo.partition_drop(''2021-01-01'').';
----
-- A dropped day costs eight locks until the transaction ends, and the server has some 6,400 for all its sessions.
create or replace function hirundo.partition_expire()
returns setof date
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  cutoff timestamptz := hirundo.retention_cutoff();
  days date[] := array(select p.day from hirundo.partition_days() p
                       where (p.day + 1)::timestamp at time zone 'UTC' <= cutoff
                       union select o.day from hirundo.flow_over_size() o(day)
                       order by 1 limit 50); -- once: sizes cannot be asked for beside a DROP that is not committed
  d date;
begin
  foreach d in array days loop
    begin
      if hirundo.partition_remove(d) then
        return next d;
      end if;
    exception when lock_not_available then
      -- whoever holds one holds the parent, and whoever waits for the parent makes every COPY wait: once is enough
      raise warning 'flow is in use: days from % on are left for the next run', d;
      return;
    end;
  end loop;
end
$$;
----
comment on function hirundo.partition_expire() is
  'Drops days past retention_flow, and the oldest beyond max_size_flow, and returns them, 50 at most: call it until there are none; none where both are off. Where flow stays in use for 2 s it leaves the rest to the next run. Example: select hirundo.partition_expire().';
