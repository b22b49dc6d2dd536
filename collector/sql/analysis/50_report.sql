-- The report: figures as JSON, for hirundo-collector report and whoever wants the data of its page.
--
-- A figure is one entry of a catalogue (report_entries; the entries stand in 51 to 56): a query that can be shown as it is, the
-- chart that draws it, its columns, and its texts in English and Japanese. report_figure runs the query and adds the rows. To
-- add a figure is to add an entry.
--
-- The audience public may be anybody: sensors by label alone, no label beside a country, nothing finer than a week, and no figure
-- that one sensor can move further than to its neighbour's place (45_public.sql). That is in the queries, so that the SQL shown is
-- the SQL that made the figure.
create or replace function hirundo.report_label(period tstzrange)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  z text := hirundo.time_zone();
  a timestamp := lower(period) at time zone z;
  b timestamp := upper(period) at time zone z;
begin
  if a is null or b is null or not isfinite(a) or not isfinite(b) then
    return null;
  elsif a = date_trunc('quarter', a) and b = a + interval '3 months' then
    return to_char(a, 'YYYY"Q"Q');
  elsif a = date_trunc('month', a) and b = a + interval '1 month' then
    return to_char(a, 'YYYY-MM');
  elsif a = date_trunc('week', a) and b = a + interval '7 days' then
    return to_char(a, 'IYYY"-W"IW');
  elsif a = date_trunc('day', a) and b = a + interval '1 day' then
    return to_char(a, 'YYYY-MM-DD');
  elsif a = date_trunc('day', a) and b = date_trunc('day', b) then
    return to_char(a, 'YYYY-MM-DD') || '..' || to_char(b, 'YYYY-MM-DD');
  elsif a = date_trunc('second', a) and b = date_trunc('second', b) then
    return to_char(a, 'YYYY-MM-DD"T"HH24:MI:SS') || '..' || to_char(b, 'YYYY-MM-DD"T"HH24:MI:SS');
  end if;
  return null;
end
$$;
----
comment on function hirundo.report_label(tstzrange) is
  'Part of hirundo.report: the shortest way to write a period so that hirundo.period() understands it, null where there is none. Example: select hirundo.report_label(hirundo.quarter(''2023Q1'')) gives 2023Q1.';
----
create or replace function hirundo.report_title(period tstzrange)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_label text := hirundo.report_label(period);
  a timestamp := lower(period) at time zone hirundo.time_zone();
  b timestamp := upper(period) at time zone hirundo.time_zone();
begin
  if v_label like '%Q%' then
    return jsonb_build_object(
      'en', to_char(a, 'FMMonth') || ' to ' || to_char(b - interval '1 day', 'FMMonth YYYY'),
      'ja', to_char(a, 'YYYY"年"FMMM') || '〜' || to_char(b - interval '1 day', 'FMMM"月"'));
  elsif v_label ~ '^\d+-\d+$' then
    return jsonb_build_object('en', to_char(a, 'FMMonth YYYY'), 'ja', to_char(a, 'YYYY"年"FMMM"月"'));
  elsif a = date_trunc('day', a) and b = date_trunc('day', b) then
    b := b - interval '1 day';
    return jsonb_build_object(
      'en', to_char(a, 'FMDD FMMonth YYYY') || case when b > a then ' to ' || to_char(b, 'FMDD FMMonth YYYY') else '' end,
      'ja', to_char(a, 'YYYY"年"FMMM"月"FMDD"日"') || case when b > a then '〜' || to_char(b, 'YYYY"年"FMMM"月"FMDD"日"') else '' end);
  end if;
  return jsonb_build_object(
    'en', coalesce(to_char(a, 'YYYY-MM-DD HH24:MI'), '') || ' to ' || coalesce(to_char(b, 'YYYY-MM-DD HH24:MI'), ''),
    'ja', coalesce(to_char(a, 'YYYY-MM-DD HH24:MI'), '') || '〜' || coalesce(to_char(b, 'YYYY-MM-DD HH24:MI'), ''));
end
$$;
----
comment on function hirundo.report_title(tstzrange) is
  'Part of hirundo.report: a period in words, in English and Japanese. Example: select hirundo.report_title(hirundo.quarter(''2023Q1'')).';
----
create or replace function hirundo.report_previous(period tstzrange)
returns tstzrange
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return (select case when b.before_first is null then 'empty' else tstzrange(b.before_first, b.before_past) end
          from hirundo.period_before(lower(period), upper(period)) b);
end
$$;
----
comment on function hirundo.report_previous(tstzrange) is
  'Part of hirundo.report: the period before, as long: as many months where it is of whole months. Empty for a period without bounds. Example: select hirundo.report_previous(hirundo.quarter(''2023Q1'')).';
----
create or replace function hirundo.whole_weeks(period tstzrange)
returns tstzrange
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  z text := hirundo.time_zone();
  a timestamp := lower(period) at time zone z;
  b timestamp := date_trunc('week', upper(period) at time zone z);
begin
  if a is null or b is null or not isfinite(a) or not isfinite(b) then
    return period;
  end if;
  a := case when a = date_trunc('week', a) then a else date_trunc('week', a) + interval '7 days' end;
  return case when a < b then tstzrange(a at time zone z, b at time zone z) else 'empty' end;
end
$$;
----
comment on function hirundo.whole_weeks(tstzrange) is
  'The whole ISO weeks (from Monday) inside a period, empty where there is none; a period without bounds stays as it is. Example: select hirundo.whole_weeks(hirundo.quarter(''2023Q1'')).';
----
-- which a report for the public asked once
drop function if exists hirundo.port_sensors(tstzrange, text[]);
----
create or replace function hirundo.report_sensors(audience text)
returns table (sensor text, sensor_id smallint, country text, label_en text, label_ja text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  if audience = 'internal' then
    return query
      select s.name, s.sensor_id, s.country::text, s.label_en, s.label_ja
      from hirundo.sensor s
      order by s.country::text is distinct from hirundo.home_country(), regexp_replace(s.label_en, '\d{1,9}$', '') collate "C",
        substring(s.label_en from '\d{1,9}$')::int, s.name collate "C";
  else
    -- a label that is the sensor''s name may hold its country
    return query
      select s.name, s.sensor_id, null::text,
        case when s.label_en in ('', s.name) then 'Sensor ' || s.sensor_id else s.label_en end,
        case when s.label_ja in ('', s.name) then 'センサー' || s.sensor_id else s.label_ja end
      from hirundo.sensor s
      order by regexp_replace(s.label_en, '\d{1,9}$', '') collate "C", substring(s.label_en from '\d{1,9}$')::int, s.sensor_id;
  end if;
end
$$;
----
comment on function hirundo.report_sensors(text) is
  'Sensors as a report names them. public: by label alone, in its order; country is null, and so is nothing else, but name and id are not for showing. Example: select label_en, label_ja from hirundo.report_sensors(''public'').';
----
drop function if exists hirundo.source_top_ports(tstzrange, cidr[], integer, integer);
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.source_top_ports(tstzrange, cidr[], integer);
----
create function hirundo.source_top_ports(period tstzrange, sources cidr[], n integer default 5)
returns table (port text, hosts bigint, packets bigint, sensors bigint, missing text,
               flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint, sensor_days numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_days date[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_lo inet := lower(v_ranges);
  v_hi inet := upper(v_ranges);
  v_probes hirundo.inetmultirange := hirundo.address_probes(v_ranges);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c;
  return query
    with hit as (
      select x.port_code as code, x.src, x.sensor_id, sum(x.packets)::bigint as n
      from unnest(v_probes) p
      cross join lateral (
        select * from hirundo.source_port_day x
        where x.day = any (v_days) and x.src >= lower(p) and x.src <= upper(p) and x.src <@ v_ranges
          and x.class <> 'backscatter' and x.class <> 'local'
        offset 0) x
      group by 1, 2, 3
      union all
      select f.port_code, f.src, f.sensor_id, sum(f.packets)::bigint
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
          and f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges
          and f.class <> 'backscatter' and f.class <> 'local') f
      group by 1, 2, 3
    ), top as materialized (
      select h.code, count(distinct h.src) as hosts, sum(h.n)::bigint as n, count(distinct h.sensor_id) as sensors
      from hit h
      group by h.code
      order by 2 desc, 3 desc, 1
      limit source_top_ports.n
    ), flood as (
      select f.port_code as code, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
      from hirundo.floods(v_first, v_past, array(select t.code from top t)) f
      where f.class <> 'backscatter'
      group by 1
    )
    select hirundo.port_label(t.code), t.hosts, t.n, t.sensors, (select l.missing from hirundo.lacking(v_first, v_past, v_rest) l),
      coalesce(f.n, 0), f.low, f.high,
      (select o.days from hirundo.kept_days(v_first, v_past, v_rest) o)
    from top t left join flood f on f.code = t.code
    order by t.hosts desc, t.n desc, t.code;
  if not found then
    perform hirundo.say_no_rows(v_first, v_past, v_rest,
      case when coalesce(isempty(v_ranges), true) then 'no sources are asked about' when source_top_ports.n <= 0 then 'n asks for no port'
           else 'no packet that is asked about came with a source' || hirundo.flood_aside(v_first, v_past) end);
  end if;
end
$$;
----
comment on function hirundo.source_top_ports(tstzrange, cidr[], integer) is
  'The ports to which most hosts of these sources sent, by hosts and packets: port, hosts (distinct over the period), packets, sensors, missing (what the period lacks, on every row: hirundo.lacking; null: nothing), flood_packets (to the port as flood rows, in no other column), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none), sensor_days (observed in the period by all sensors, and of which data are kept; on every row). Without backscatter, local traffic and flood rows. No row: a NOTICE says why (hirundo.why_no_rows). Example: select * from hirundo.source_top_ports(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', 5).';
----
create or replace function hirundo.observed_since(sensor_id smallint)
returns timestamptz
language plpgsql stable strict
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return (select min(o.slot) from hirundo.observation o where o.sensor_id = observed_since.sensor_id);
end
$$;
----
comment on function hirundo.observed_since(smallint) is
  'The first quarter of an hour of which a sensor has told; null: none. Example: select name, hirundo.observed_since(sensor_id) from hirundo.sensor.';
----
create or replace function hirundo.report_coverage(period tstzrange, bucket text default 'day')
returns table (sensor text, bucket_start date, covered numeric, missing_hours numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_zone text := hirundo.time_zone();
  v_bucket text := bucket;
begin
  select case when isfinite(b.first) then b.first else (select min(o.slot) from hirundo.observation o) end, least(b.past, now()) into v_first, v_past
  from hirundo.period_bounds(period) b;
  return query
    with seen as (
      select o.sensor_id, date_trunc(v_bucket, o.day::timestamp) as b, sum(o.covered_ms) / 1000.0 as s
      from hirundo.observed_time(v_first, v_past) o
      group by 1, 2
    ), begun as materialized ( -- once for each sensor, not for each of its buckets
      -- what came before its first window is no outage, nor is what came after its end
      select s.sensor_id, s.name, s.revoked_at,
        coalesce(hirundo.observed_since(s.sensor_id), s.added_at) as at
      from hirundo.sensor s
    ), buckets as (
      select distinct date_trunc(v_bucket, l.day::timestamp) as b from hirundo.local_days(v_first, v_past) l
    ), due as (
      select g.sensor_id, g.name, k.b,
        extract(epoch from least(v_past, (k.b + ('1 ' || v_bucket)::interval) at time zone v_zone, g.revoked_at)
                  - greatest(v_first, k.b at time zone v_zone, g.at)) as s
      from begun g cross join buckets k
    )
    select d.name, d.b::date, case when d.s > 0 then least(round(coalesce(c.s, 0) / d.s, 4), 1) end,
      case when d.s > 0 then greatest(round((d.s - coalesce(c.s, 0)) / 3600, 1), 0) end
    from due d
    left join seen c on c.sensor_id = d.sensor_id and c.b = d.b
    order by d.name collate "C", d.b;
end
$$;
----
comment on function hirundo.report_coverage(tstzrange, text) is
  'How much of each day (or week, month) each sensor observed: sensor, bucket_start, covered (0 to 1; null before its first window and after its end), missing_hours. Example: select * from hirundo.report_coverage(hirundo.month(''2023-02''), ''day'') where covered < 1.';
----
create or replace function hirundo.report_csv(figure jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v text;
begin
  -- RFC 4180. A text that a spreadsheet would take for a formula is marked as text.
  select string_agg(line, '') into v
  from (
    select (select string_agg(c ->> 'key', ',' order by k) from jsonb_array_elements(figure -> 'columns') with ordinality x(c, k))
      || e'\r\n' as line
    union all
    select (select string_agg(
              case when jsonb_typeof(c) in ('string', 'object', 'array') then
                case when t.cell ~ '[",\r\n]' then '"' || replace(t.cell, '"', '""') || '"' else t.cell end
              else coalesce(c #>> '{}', '') end, ',' order by k)
            from jsonb_array_elements(r) with ordinality x(c, k)
            cross join lateral (select case when c #>> '{}' ~ '^([=+@＝＋＠\t\r]|[-－].)' then '''' else '' end || (c #>> '{}') as cell) t)
      || e'\r\n'
    from jsonb_array_elements(figure -> 'rows') r) l;
  return v;
end
$$;
----
comment on function hirundo.report_csv(jsonb) is
  'A figure''s rows as CSV (RFC 4180), its header the keys of its columns. Example: select hirundo.report_csv(hirundo.report_figure(hirundo.quarter(''2023Q1''), ''public'', ''top_ports'')).';
----
create or replace function hirundo.report_check(period tstzrange, audience text)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  z text := hirundo.time_zone();
  a timestamp := lower(period) at time zone z;
  b timestamp := upper(period) at time zone z;
begin
  if audience is null or audience not in ('public', 'internal') then
    raise exception '% is not an audience', coalesce(quote_literal(audience), 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'Take public or internal.';
  elsif period is null or isempty(period) or hirundo.report_label(period) is null then
    raise exception 'a report needs a period that begins and ends'
      using errcode = 'invalid_parameter_value', hint = 'Take hirundo.period(''2023Q1'') or another it understands.';
  elsif lower(period) >= now() then
    raise exception 'the period % has not begun', hirundo.report_label(period) using errcode = 'invalid_parameter_value';
  elsif audience = 'public' and not (a = date_trunc('week', a) and b = date_trunc('week', b)) and not (a = date_trunc('month', a) and b = date_trunc('month', b)) then
    -- nor does it by the difference of two reports
    raise exception 'a public report tells nothing finer than a week: % is neither of whole weeks nor of whole months', hirundo.report_label(period)
      using errcode = 'invalid_parameter_value', hint = 'Take weeks from Monday, months, a quarter, or the audience internal.';
  end if;
  return audience;
end
$$;
----
comment on function hirundo.report_check(tstzrange, text) is
  'Part of hirundo.report: the audience, where a report for it can be made of this period; else an error that says why not: no bounds, not begun, finer than what the audience may see. Example: select hirundo.report_check(hirundo.quarter(''2023Q1''), ''public'').';
----
-- arguments are only appended, which takes new functions
drop function if exists hirundo.report_entries(tstzrange, text);
----
drop function if exists hirundo.report_figure(tstzrange, text, text);
----
drop function if exists hirundo.report_head(tstzrange, text);
----
drop function if exists hirundo.report(tstzrange, text);
----
create or replace function hirundo.report_entries(period tstzrange, audience text, extra text default null)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  perform hirundo.report_check(period, audience);
  if extra is not null then
    return query select * from hirundo.report_extra(period, audience, extra);
    return;
  end if;
  return query
    select * from hirundo.report_overview(period, audience)
    union all select * from hirundo.report_events(period, audience)
    union all select * from hirundo.report_services(period, audience)
    union all select * from hirundo.report_tools(period, audience)
    union all select * from hirundo.report_organisations(period, audience)
    union all select * from hirundo.report_quality(period, audience);
end
$$;
----
comment on function hirundo.report_entries(tstzrange, text, text) is
  'Part of hirundo.report: the catalogue of a report''s figures, in order: id, section, chart (how it is drawn), query (as shown), about (title, lead, method, caveat in English and Japanese, columns, view: which column goes where), cap (rows kept at most). extra: those of an extra edition about this port. Example: select id, chart, query from hirundo.report_entries(hirundo.quarter(''2023Q1''), ''public'').';
----
create or replace function hirundo.report_make(entry jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
as $$
declare
  v_rows jsonb;
  v_total bigint;
begin
  execute format($q$
    with q as materialized (%s), kept as (select row_number() over () as n, jsonb_build_array(%s) as r from q limit %s)
    select coalesce((select jsonb_agg(k.r order by k.n) from kept k), '[]'), (select count(*) from q)$q$,
    entry ->> 'query',
    (select string_agg('q.' || quote_ident(c ->> 'key'), ', ' order by n) from jsonb_array_elements(entry #> '{about,columns}') with ordinality x(c, n)),
    (entry ->> 'cap')::int)
  into v_rows, v_total;
  return jsonb_build_object('id', entry ->> 'id', 'section', entry ->> 'section', 'chart', entry ->> 'chart', 'sql', entry ->> 'query', 'rows', v_rows,
                            'rows_total', v_total) || (entry -> 'about');
end
$$;
----
comment on function hirundo.report_make(jsonb) is
  'Part of hirundo.report: an entry of its catalogue (a row of hirundo.report_entries) with the rows of its query, as hirundo.report_figure gives it. Example: select hirundo.report_make(to_jsonb(e)) from hirundo.report_entries(hirundo.quarter(''2023Q1''), ''public'') e where e.id = ''top_ports''.';
----
create or replace function hirundo.report_figure(period tstzrange, audience text, id text, extra text default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_entry jsonb;
begin
  select to_jsonb(x) into v_entry from hirundo.report_entries(period, audience, extra) x where x.id = report_figure.id;
  if not found then
    raise exception 'a % report of this period has no figure %', audience, coalesce(quote_literal(id), 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'select id from hirundo.report_entries(...) lists them.';
  end if;
  return hirundo.report_make(v_entry);
end
$$;
----
comment on function hirundo.report_figure(tstzrange, text, text, text) is
  'Part of hirundo.report: one figure of a report: id, section, chart, title, lead, method, caveat (each with en and ja), columns, view, sql, rows (arrays in the order of columns), rows_total (more than rows where rows were cut). Example: select hirundo.report_figure(hirundo.quarter(''2023Q1''), ''public'', ''top_ports'').';
----
create or replace function hirundo.report_head(period tstzrange, audience text, extra text default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
as $$
declare
  z text := hirundo.time_zone();
  v_first timestamptz := lower(period);
  v_past timestamptz := upper(period);
  v_sensors bigint;
  v_regions bigint;
  v_ms numeric;
  v_figures jsonb;
begin
  perform hirundo.report_check(period, audience);
  if extra is not null then
    v_figures := jsonb_build_object('extra', hirundo.report_port(extra));
  elsif audience = 'internal' then
    v_figures := jsonb_build_object(
      'packets', (select coalesce(sum(a.packets), 0) from hirundo.sensor_average(period, 'quarter') a),
      'sources', coalesce((select d.sources from hirundo.distinct_sources(period, 'received') d), 0));
  else
    select jsonb_build_object('packets_a_day', a.packets, 'sources_a_day', a.sources) into v_figures
    from hirundo.public_average(period) a where a.side = 'all';
  end if;
  select count(distinct o.sensor_id), count(distinct s.country), sum(o.covered_ms) into v_sensors, v_regions, v_ms
  from hirundo.observed_time(v_first, v_past) o
  join hirundo.sensor s on s.sensor_id = o.sensor_id;
  return jsonb_build_object(
    'period', hirundo.report_label(period),
    'title', hirundo.report_title(period),
    'from', to_char(v_first at time zone z, 'YYYY-MM-DD"T"HH24:MI:SS'),
    'to', to_char(v_past at time zone z, 'YYYY-MM-DD"T"HH24:MI:SS'),
    'last', case when (v_past at time zone z)::time = '00:00' then to_char(v_past at time zone z - interval '1 day', 'YYYY-MM-DD') end,
    'previous', hirundo.report_title(hirundo.report_previous(period)),
    'zone', z,
    'home', hirundo.home_country(),
    'audience', audience,
    'generated', to_char(now() at time zone z, 'YYYY-MM-DD HH24:MI'),
    'complete', v_past <= now(),
    'sensors', v_sensors,
    'regions', v_regions,
    'sensor_days', round(coalesce(v_ms, 0) / 86400000, case audience when 'internal' then 1 else 0 end))
    || coalesce(v_figures, '{}');
end
$$;
----
comment on function hirundo.report_head(tstzrange, text, text) is
  'Part of hirundo.report: what stands at the top of a report: period, its title in English and Japanese, bounds in the reporting time zone, audience, how many sensors observed for how many days; packets and distinct sources (all but class local), or for the public packets_a_day and sources_a_day of the sensor in the middle; of an extra edition its port alone. Example: select hirundo.report_head(hirundo.quarter(''2023Q1''), ''public'').';
----
create or replace function hirundo.report(period tstzrange, audience text default 'public', extra text default null)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set client_min_messages = warning -- a figure without rows says so on the page
as $$
begin
  return jsonb_build_object(
    'head', hirundo.report_head(period, audience, extra),
    'figures', (select coalesce(jsonb_agg(hirundo.report_make(to_jsonb(e)) order by e.n), '[]')
                from hirundo.report_entries(period, audience, extra) with ordinality
                  e(id, section, chart, query, about, cap, n)));
end
$$;
----
comment on function hirundo.report(tstzrange, text, text) is
  'A whole report as JSON: head (hirundo.report_head) and figures (hirundo.report_figure, in order). audience: public (the default; fit for anybody) or internal. extra: a port; then an extra edition about it. hirundo-collector report makes the page of it. Example: select jsonb_pretty(hirundo.report(hirundo.quarter(''2023Q1''), ''internal'')).';
