-- Sharing: what a partner's login can read. docs/sharing.md says what each step is for.
--
-- hirundo.partner_build makes a partner's schema: tables, policies of constant ids, views of constant conditions. The rollup
-- job fills them (hirundo.share_step): rows of its own sensors are copied, figures of others' computed once and kept. So
-- nothing that a partner runs reads a row that it may not see, and neither EXPLAIN nor a clock tells how many there are.
-- sensor is a reference table on Citus and these are the coordinator's own; sensors are never deleted
alter table hirundo.partner_sensor drop constraint if exists partner_sensor_sensor_id_fkey;
----
alter table hirundo.partner_pseudonym drop constraint if exists partner_pseudonym_sensor_id_fkey;
----
comment on column hirundo.partner.ports is 'How many ports, and how many countries, are published of each bucket: the busiest';
----
create or replace function hirundo.partner_role(partner text)
returns name
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return ('partner_' || replace(partner, '-', '_'))::name;
end
$$;
----
comment on function hirundo.partner_role(text) is
  'A partner''s login and its schema, which have one name. Example: select hirundo.partner_role(''cert-xx'') gives partner_cert_xx.';
----
create or replace function hirundo.share_round(v double precision)
returns double precision
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
declare
  n numeric := v::numeric;
  p numeric;
begin
  if n <= 0 then
    return 0;
  end if;
  p := power(10::numeric, floor(log(n)));
  return (p * (select max(s) from unnest(array[1, 1.5, 2, 3, 5, 7]) s where s * p <= n))::double precision;
end
$$;
----
comment on function hirundo.share_round(double precision) is
  'Coarse: down to 1, 1.5, 2, 3, 5 or 7 times a power of ten. Example: select hirundo.share_round(1234) gives 1000.';
----
create or replace function hirundo.share_about(n integer)
returns text
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select max(s) || ' or more' from unnest(array[3, 5, 10, 20, 50, 100, 200, 500, 1000]) s where s <= n);
end
$$;
----
comment on function hirundo.share_about(integer) is
  'A coarse number of sensors. Example: select hirundo.share_about(12) gives 10 or more.';
----
-- The middle of all who observed, those that received nothing included: reached holds the values of those that received, in order.
-- No single sensor moves it further than to its neighbour, and nothing is left where not more than half received.
create or replace function hirundo.share_middle(reached double precision[], observing integer)
returns double precision
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(reached[(observing + 1) / 2 - (observing - cardinality(reached))], 0);
end
$$;
----
comment on function hirundo.share_middle(double precision[], integer) is
  'The lower median over all observing sensors, of which cardinality(reached) received something, in ascending order; 0 where not more than half did. Example: select hirundo.share_middle(''{1,2,3}'', 4) gives 1.';
----
-- A table of the partner's schema with the rows of its own sensors.
create or replace function hirundo.partner_build_table(role name, tab text, fields text, meaning text, sensors text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  execute format('create table if not exists %I.%I (%s)', role, tab, fields);
  execute format('comment on table %I.%I is %L', role, tab, meaning);
  execute format('alter table %I.%I enable row level security', role, tab);
  execute format('drop policy if exists own_sensors on %I.%I', role, tab);
  execute format('create policy own_sensors on %I.%I for select to %I using (sensor = any (%L::text[]))', role, tab, role, sensors);
  -- column by column: not xmin, which counts transactions
  execute format('revoke all on %I.%I from %I', role, tab, role);
  execute format('grant select (%s) on %I.%I to %I',
                 (select string_agg(quote_ident(a.attname), ', ') from pg_catalog.pg_attribute a
                  where a.attrelid = format('%I.%I', role, tab)::regclass and a.attnum > 0 and not a.attisdropped), role, tab, role);
end
$$;
----
comment on function hirundo.partner_build_table(name, text, text, text, text) is 'Part of hirundo.partner_build. Example: see hirundo.partner_build.';
----
-- A table of published figures, which the partner cannot read, and the view on it with constant conditions, which it can.
create or replace function hirundo.partner_build_view(partner smallint, role name, tab text, fields text, shown text, meaning text)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  p hirundo.partner;
begin
  select * into p from hirundo.partner x where x.partner_id = partner;
  execute format('create table if not exists %I.%I (bucket date not null, past timestamptz not null, sensors integer not null, %s)',
                 role, 'published_' || tab, fields);
  execute format('comment on table %I.%I is %L', role, 'published_' || tab,
                 'What share_step published; read through the view shared_' || tab || '.');
  execute format('create or replace view %I.%I with (security_barrier = true) as select c.bucket, %s from %I.%I c where c.sensors >= %s and c.past <= now() - interval %L',
                 role, 'shared_' || tab, shown, role, 'published_' || tab, p.min_sensors, p.delay);
  execute format('comment on view %I.%I is %L', role, 'shared_' || tab, meaning);
  execute format('grant select on %I.%I to %I', role, 'shared_' || tab, role);
end
$$;
----
comment on function hirundo.partner_build_view(smallint, name, text, text, text, text) is 'Part of hirundo.partner_build. Example: see hirundo.partner_build.';
----
create or replace function hirundo.partner_build(partner smallint)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_role name := (select hirundo.partner_role(p.name) from hirundo.partner p where p.partner_id = partner);
  v_sensors text := (
    select coalesce(array_agg(y.pseudonym order by y.pseudonym), '{}')::text
    from hirundo.partner_sensor s join hirundo.partner_pseudonym y on y.partner_id = s.partner_id and y.sensor_id = s.sensor_id
    where s.partner_id = partner and s.removed_at is null);
  v_figures text := 'packets and sources: a day and sensor, of the sensor in the middle (lower median) of all others that observed at least half of the bucket, rounded down to 1, 1.5, 2, 3, 5 or 7 times a power of ten; without backscatter and local traffic.';
begin
  if not exists (select from pg_catalog.pg_namespace n where n.nspname = v_role) then
    execute format('create schema %I', v_role);
  end if;
  execute format('comment on schema %I is %L', v_role, 'What this partner may read: rows of its own sensors (sensor, flow, flood, observation) and figures of others'' (shared_total, shared_port, shared_country).');
  execute format('grant usage on schema %I to %I', v_role, v_role);
  perform hirundo.partner_build_table(v_role, 'sensor',
    'sensor text not null primary key, label_en text not null, label_ja text not null, country text not null',
    'Your own sensors: what each is called here, and its labels. Example: select * from sensor.', v_sensors);
  perform hirundo.partner_build_table(v_role, 'flow',
    'ts timestamptz not null, duration_ms integer not null, packets integer not null, bytes integer not null, port integer, src_port integer, '
    'tcp_window integer, ip_id integer, ip_len integer, mss integer, window_scale smallint, dst_no smallint not null, proto smallint not null, '
    'ttl smallint not null, tcp_flags smallint not null, marks smallint not null, src inet not null, sensor text not null, tcp_options text',
    'Rows of hirundo.flow from your own sensors, about an hour after the hour in which they were seen. dst_no: which of the sensor''s addresses. Example: select src, sum(packets) from flow where ts >= ''2023-02-08Z'' and ts < ''2023-02-09Z'' and proto = 6 and port = 22 group by src.', v_sensors);
  perform hirundo.partner_build_table(v_role, 'flood',
    'ts timestamptz not null, packets bigint not null, bytes bigint not null, sources_estimate bigint, port integer, dst_no smallint not null, '
    'proto smallint not null, tcp_flags smallint not null, ttl_min smallint not null, ttl_max smallint not null, sensor text not null',
    'Rows of hirundo.flood from your own sensors: packets beyond what their flow tables held. Example: select sum(packets) from flood.', v_sensors);
  perform hirundo.partner_build_table(v_role, 'observation',
    'slot timestamptz not null, covered_ms bigint not null, frames bigint not null, row_packets bigint not null, flood_packets bigint not null, '
    'non_ip bigint not null, malformed bigint not null, quarantined bigint not null, lost bigint not null, kernel_dropped bigint not null, '
    'if_dropped bigint not null, sensor text not null',
    'When your own sensors observed, by quarter of an hour, and where their frames went. Example: select sensor, sum(covered_ms) / 86400000.0 as days from observation group by sensor.', v_sensors);
  execute format('create index if not exists flow_ts on %I.flow (ts)', v_role);
  execute format('create index if not exists flood_ts on %I.flood (ts)', v_role);
  execute format('create index if not exists observation_slot on %I.observation (slot)', v_role);
  execute format('delete from %I.sensor', v_role);
  execute format('insert into %I.sensor (sensor, label_en, label_ja, country) select y.pseudonym, s.label_en, s.label_ja, s.country '
                 'from hirundo.partner_sensor p join hirundo.partner_pseudonym y on y.partner_id = p.partner_id and y.sensor_id = p.sensor_id '
                 'join hirundo.sensor s on s.sensor_id = p.sensor_id where p.partner_id = $1 and p.removed_at is null', v_role) using partner;
  perform hirundo.partner_build_view(partner, v_role, 'total', 'observing text not null, packets double precision not null, sources double precision not null',
    'c.observing as sensors, c.packets, c.sources',
    'Sensors of others, all ports together, by bucket (its first day). sensors: how many observed, coarsely; ' || v_figures || ' Example: select * from shared_total order by bucket.');
  perform hirundo.partner_build_view(partner, v_role, 'port',
    'port_code integer not null, port text not null, packets double precision not null, sources double precision not null', 'c.port, c.packets, c.sources',
    'Sensors of others, the busiest ports of each bucket (its first day). ' || v_figures || ' Example: select * from shared_port where port = ''22/TCP'' order by bucket.');
  perform hirundo.partner_build_view(partner, v_role, 'country',
    'country text not null, packets double precision not null, sources double precision not null', 'c.country, c.packets, c.sources',
    'Sensors of others, by bucket (its first day) and country in which the source is registered: the busiest. ' || v_figures || ' Example: select * from shared_country order by bucket, packets desc.');
  -- what is no longer its own goes, what has come is copied
  execute format('delete from %I.flow where sensor <> all (%L::text[])', v_role, v_sensors);
  execute format('delete from %I.flood where sensor <> all (%L::text[])', v_role, v_sensors);
  execute format('delete from %I.observation where sensor <> all (%L::text[])', v_role, v_sensors);
end
$$;
----
comment on function hirundo.partner_build(smallint) is
  'Makes, or makes anew, what a partner''s login may read: its schema, policies with the pseudonyms of its own sensors as constants, views with its minimum and delay as constants. As hirundo_owner; called by hirundo-collector partner add|set. Example: see docs/sharing.md.';
----
create or replace function hirundo.share_copy()
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
as $$
declare
  v_partner smallint;
  v_day date;
  v_role name;
  v_first timestamptz;
  v_past timestamptz;
  v_ids smallint[];
  v_names text[];
  v_hours timestamptz[];
  v_count int;
begin
  select d.partner_id, (d.hour at time zone 'UTC')::date, hirundo.partner_role(p.name) into v_partner, v_day, v_role
  from hirundo.partner_due d join hirundo.partner p on p.partner_id = d.partner_id
  where exists (select from pg_catalog.pg_namespace n where n.nspname = hirundo.partner_role(p.name)) -- else: partner set
  order by d.hour, d.partner_id limit 1;
  if not found then
    return 0;
  end if;
  v_first := v_day::timestamp at time zone 'UTC';
  v_past := v_first + interval '24 hours';
  select array_agg(d.sensor_id), array_agg(y.pseudonym), array_agg(d.hour) into v_ids, v_names, v_hours
  from hirundo.partner_due d
  join hirundo.partner_sensor s on s.partner_id = d.partner_id and s.sensor_id = d.sensor_id and s.removed_at is null
  join hirundo.partner_pseudonym y on y.partner_id = d.partner_id and y.sensor_id = d.sensor_id
  where d.partner_id = v_partner and d.hour >= v_first and d.hour < v_past;
  delete from hirundo.partner_due d where d.partner_id = v_partner and d.hour >= v_first and d.hour < v_past;
  get diagnostics v_count = row_count;
  if v_ids is null or hirundo.flow_is_gone(v_first, v_past) then
    return v_count;
  end if;
  execute format('delete from %I.flow c using unnest($1, $2) d(sensor, hour) '
                 'where c.sensor = d.sensor and c.ts >= d.hour and c.ts < d.hour + interval %L', v_role, '1 hour') using v_names, v_hours;
  execute format('delete from %I.flood c using unnest($1, $2) d(sensor, hour) '
                 'where c.sensor = d.sensor and c.ts >= d.hour and c.ts < d.hour + interval %L', v_role, '1 hour') using v_names, v_hours;
  -- TCP options as text: their numbers are given in the order in which any sensor first sees them, which would tell
  execute format('insert into %I.flow (ts, duration_ms, packets, bytes, port, src_port, tcp_window, ip_id, ip_len, mss, window_scale, dst_no, '
                 'proto, ttl, tcp_flags, marks, src, sensor, tcp_options) '
                 'select f.ts, f.duration_ms, f.packets, f.bytes, f.port, f.src_port, f.tcp_window, f.ip_id, f.ip_len, o.mss, o.window_scale, f.dst_no, '
                 'f.proto, f.ttl, f.tcp_flags, f.marks, f.src, d.sensor, o.layout '
                 'from hirundo.flow f '
                 'join unnest($3, $4, $5) d(sensor_id, sensor, hour) on d.sensor_id = f.sensor_id and d.hour = date_trunc(%L, f.ts, %L) '
                 'left join hirundo.tcp_options o on o.options_id = f.options_id '
                 'where f.ts >= $1 and f.ts < $2 order by f.ts', v_role, 'hour', 'UTC') using v_first, v_past, v_ids, v_names, v_hours;
  execute format('insert into %I.flood (ts, packets, bytes, sources_estimate, port, dst_no, proto, tcp_flags, ttl_min, ttl_max, sensor) '
                 'select f.ts, f.packets, f.bytes, f.sources_estimate, f.port, f.dst_no, f.proto, f.tcp_flags, f.ttl_min, f.ttl_max, d.sensor '
                 'from hirundo.flood f '
                 'join unnest($3, $4, $5) d(sensor_id, sensor, hour) on d.sensor_id = f.sensor_id and d.hour = date_trunc(%L, f.ts, %L) '
                 'where f.ts >= $1 and f.ts < $2 order by f.ts', v_role, 'hour', 'UTC') using v_first, v_past, v_ids, v_names, v_hours;
  -- slots without packets mark no hour: three days more are looked at
  execute format('delete from %I.observation c where c.slot >= $1 and c.slot < $2', v_role) using v_first - interval '3 days', v_past;
  execute format('insert into %I.observation (slot, covered_ms, frames, row_packets, flood_packets, non_ip, malformed, quarantined, lost, kernel_dropped, if_dropped, sensor) '
                 'select o.slot, o.covered_ms, o.frames, o.row_packets, o.flood_packets, o.non_ip, o.malformed, o.quarantined, o.lost, o.kernel_dropped, o.if_dropped, y.pseudonym '
                 'from hirundo.observation o '
                 'join hirundo.partner_sensor s on s.partner_id = $3 and s.sensor_id = o.sensor_id and s.removed_at is null '
                 'join hirundo.partner_pseudonym y on y.partner_id = $3 and y.sensor_id = o.sensor_id '
                 'where o.slot >= $1 and o.slot < $2 order by o.slot', v_role) using v_first - interval '3 days', v_past, v_partner;
  execute format('delete from %I.flow where ts < $1', v_role) using hirundo.retention_cutoff();
  execute format('delete from %I.flood where ts < $1', v_role) using hirundo.retention_cutoff();
  execute format('delete from %I.observation where slot < $1', v_role) using hirundo.retention_cutoff();
  return v_count;
end
$$;
----
comment on function hirundo.share_copy() is
  'Part of hirundo.share_step: copies the rows of one day of a partner''s own sensors, the hours that are due. Returns how many; 0: none. Example: see hirundo.share_step.';
----
-- Which bucket a partner is to get next, if its time has come: its end is past by the delay, and the rollups are clean.
create or replace function hirundo.share_next(partner smallint, out bucket date, out past date, out first_at timestamptz, out past_at timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  p hirundo.partner;
  v_zone text := hirundo.time_zone();
  v_step interval;
  v_from date;
begin
  select * into p from hirundo.partner x where x.partner_id = partner;
  v_step := ('1 ' || p.bucket)::interval;
  v_from := coalesce((select max(b.past) from hirundo.partner_bucket b where b.partner_id = partner), p.since,
                     (select date_trunc(p.bucket, min(d.day)::timestamp)::date from hirundo.rollup_day d));
  bucket := date_trunc(p.bucket, v_from::timestamp)::date;
  if bucket < v_from then
    bucket := bucket + v_step; -- never overlaps what is published, whatever its length was
  end if;
  past := bucket + v_step;
  first_at := bucket::timestamp at time zone v_zone;
  past_at := past::timestamp at time zone v_zone;
  if bucket is null or past_at + p.delay > now()
     or exists (select from hirundo.dirty_day d where d.day >= bucket and d.day < past)
     or exists (select from hirundo.dirty m where m.hour < past_at and m.hour > first_at - interval '1 hour') then
    bucket := null;
  end if;
end
$$;
----
comment on function hirundo.share_next(smallint) is
  'The bucket that is to be published to a partner now, with its bounds; bucket null: none yet. Example: select n.* from hirundo.partner p cross join hirundo.share_next(p.partner_id) n.';
----
create or replace function hirundo.share_publish()
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
as $$
declare
  p record;
  v_role name;
  v_ids smallint[];
  v_days double precision[];
  v_n int;
begin
  select x.*, n.bucket as first, n.past, n.first_at, n.past_at into p
  from hirundo.partner x cross join hirundo.share_next(x.partner_id) n
  where n.bucket is not null and exists (select from pg_catalog.pg_namespace s where s.nspname = hirundo.partner_role(x.name))
  order by n.bucket, x.partner_id limit 1;
  if not found then
    return 0;
  end if;
  v_role := hirundo.partner_role(p.name);
  -- all sensors but those that are or were its own
  select array_agg(o.sensor_id), array_agg(o.ms / 86400000.0), count(*) into v_ids, v_days, v_n
  from (select x.sensor_id, sum(x.covered_ms)::double precision as ms
        from hirundo.observation x
        where x.slot >= p.first_at and x.slot < p.past_at
          and not exists (select from hirundo.partner_sensor s where s.partner_id = p.partner_id and s.sensor_id = x.sensor_id)
        group by x.sensor_id) o
  where o.ms >= 500 * extract(epoch from p.past_at - p.first_at);
  insert into hirundo.partner_bucket (partner_id, bucket, past, observing) values (p.partner_id, p.first, p.past, v_n);
  if v_n < p.min_sensors or p.first < hirundo.rollup_gone_before('port_day,sensor_day,country_day') then
    return 1;
  end if;
  execute format($q$
    insert into %I.published_total (bucket, past, sensors, observing, packets, sources)
    select $1, $3, $6, hirundo.share_about($6), t.p, coalesce(t.s, 0)
    from (select count(*) filter (where x.p > 0)::int as m,
            hirundo.share_round(hirundo.share_middle(array_agg(x.p order by x.p) filter (where x.p > 0), $6)) as p,
            hirundo.share_round(hirundo.share_middle(array_agg(x.s order by x.s) filter (where x.s > 0), $6)) as s
          from (select d.sensor_id, sum(d.packets)::double precision / o.days as p, sum(d.source_days)::double precision / o.days as s
                from hirundo.sensor_day d join unnest($4, $5) o(id, days) on o.id = d.sensor_id
                where d.day >= $1 and d.day < $2 and d.class <> 'local' and d.class <> 'backscatter'
                group by d.sensor_id, o.days) x) t
    where t.p > 0 and t.m >= $7$q$, v_role)
  using p.first, p.past, p.past_at, v_ids, v_days, v_n, p.min_sensors;
  execute format($q$
    insert into %I.published_port (bucket, past, sensors, port_code, port, packets, sources)
    select $1, $3, t.m, t.code, hirundo.port_label(t.code), t.p, coalesce(t.s, 0)
    from (select x.code, count(*) filter (where x.p > 0)::int as m,
            hirundo.share_round(hirundo.share_middle(array_agg(x.p order by x.p) filter (where x.p > 0), $6)) as p,
            hirundo.share_round(hirundo.share_middle(array_agg(x.s order by x.s) filter (where x.s > 0), $6)) as s
          from (select d.port_code as code, d.sensor_id, sum(d.packets)::double precision / o.days as p, sum(d.source_days)::double precision / o.days as s
                from hirundo.port_day d join unnest($4, $5) o(id, days) on o.id = d.sensor_id
                where d.day >= $1 and d.day < $2 and d.class <> 'local' and d.class <> 'backscatter'
                group by d.port_code, d.sensor_id, o.days) x
          group by x.code) t
    where t.p > 0 and t.m >= $7
    order by t.p desc, t.code
    limit $8$q$, v_role)
  using p.first, p.past, p.past_at, v_ids, v_days, v_n, p.min_sensors, p.ports;
  execute format($q$
    insert into %I.published_country (bucket, past, sensors, country, packets, sources)
    select $1, $3, t.m, t.country, t.p, coalesce(t.s, 0)
    from (select x.country, count(*) filter (where x.p > 0)::int as m,
            hirundo.share_round(hirundo.share_middle(array_agg(x.p order by x.p) filter (where x.p > 0), $6)) as p,
            hirundo.share_round(hirundo.share_middle(array_agg(x.s order by x.s) filter (where x.s > 0), $6)) as s
          from (select d.country, d.sensor_id, sum(d.packets)::double precision / o.days as p, sum(d.source_days)::double precision / o.days as s
                from hirundo.country_day d join unnest($4, $5) o(id, days) on o.id = d.sensor_id
                where d.day >= $1 and d.day < $2 and d.class <> 'local' and d.class <> 'backscatter' and d.country <> ''
                group by d.country, d.sensor_id, o.days) x
          group by x.country) t
    where t.p > 0 and t.m >= $7
    order by t.p desc, t.country
    limit $8$q$, v_role)
  using p.first, p.past, p.past_at, v_ids, v_days, v_n, p.min_sensors, p.ports;
  return 1;
end
$$;
----
comment on function hirundo.share_publish() is
  'Part of hirundo.share_step: publishes one bucket to one partner, once and for ever. Returns 1, or 0 if none is due. Example: see hirundo.share_step.';
----
create or replace function hirundo.share_step()
returns integer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_done int := hirundo.share_copy();
begin
  if v_done = 0 then
    v_done := hirundo.share_publish();
  end if;
  return v_done;
end
$$;
----
comment on function hirundo.share_step() is
  'The last part of hirundo.rollup_step, when nothing is left to roll up: copies a day of a partner''s own rows into its schema, or publishes one bucket to it. Example: see hirundo.rollup_step.';
----
-- as a later version of this file defines them
do $$
declare
  p smallint;
begin
  for p in select x.partner_id from hirundo.partner x
           where exists (select from pg_catalog.pg_roles r where r.rolname = hirundo.partner_role(x.name)) loop
    perform hirundo.partner_build(p);
  end loop;
end
$$;
