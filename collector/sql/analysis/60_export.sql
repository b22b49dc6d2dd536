-- A case file for a notice: what hirundo-collector export writes. The program passes head (export_head) to all the others and
-- copies what they answer into files; the documents for people are in 61_export_document.sql.
--
-- No address of a sensor is in any answer: destinations are not read, and sensors are called by pseudonyms, which the program
-- makes for each recipient. Nor is ip_id: some tools compute it from the destination's address.
create or replace function hirundo.export_clean(value text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  -- what would move the cursor, or turn the direction of writing round, is shown as a mark
  return regexp_replace(value, '[\u0001-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]', U&'\FFFD', 'g');
end
$$;
----
comment on function hirundo.export_clean(text) is
  'Part of hirundo-collector export: a text of others without control characters and marks of writing direction (each becomes U+FFFD). Example: select hirundo.export_clean(e''a\tb'').';
----
create or replace function hirundo.export_time(value timestamptz)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(value at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
end
$$;
----
comment on function hirundo.export_time(timestamptz) is
  'Part of hirundo-collector export: a time as ISO 8601, UTC, cut to the second. Example: select hirundo.export_time(''2023-02-08 13:00:00.7+09'') gives 2023-02-08T04:00:00Z.';
----
create or replace function hirundo.export_head(organisation text, period text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period tstzrange := hirundo.period(period);
  v_zone text := hirundo.time_zone();
  v_observed numeric;
  v_prefixes cidr[];
  v_hosts bigint;
  o hirundo.organisation;
begin
  select * into o from hirundo.organisation x where x.name = organisation;
  if not found then
    raise exception 'there is no organisation "%" under watch', left(hirundo.export_clean(organisation), 100)
      using errcode = 'invalid_parameter_value', hint = 'hirundo-collector import organisations FILE brings one in';
  end if;
  v_prefixes := array(select p.prefix from hirundo.organisation_prefix p where p.organisation_id = o.organisation_id order by p.prefix);
  if lower(v_period) >= now() then
    raise exception 'the period % has not begun', hirundo.export_clean(period) using errcode = 'invalid_parameter_value';
  end if;
  select coalesce(sum(t.covered_ms), 0) / 86400000.0 into v_observed from hirundo.case_time(lower(v_period), upper(v_period)) t;
  select count(distinct h.src) into v_hosts from hirundo.source_hits(lower(v_period), upper(v_period), hirundo.address_ranges(v_prefixes)) h;
  if v_hosts = 0 and v_observed = 0 then
    raise exception 'no sensor observed anything in the period %', hirundo.export_clean(period)
      || case when exists (select from hirundo.observed_time(lower(v_period), upper(v_period)) t where t.covered_ms > 0) then ' whose data are kept' else '' end
      using errcode = 'no_data_found';
  elsif v_hosts = 0 then
    raise exception 'nothing to report: in % observed sensor-days nothing came from the % of "%"', round(v_observed, 1),
      case cardinality(v_prefixes) when 1 then 'prefix' else cardinality(v_prefixes) || ' prefixes' end, left(hirundo.export_clean(organisation), 100)
      using errcode = 'no_data_found';
  end if;
  return jsonb_build_object(
    'organisation', o.name,
    'organisation_id', o.organisation_id,
    'contacts', o.contacts,
    'tlp', o.tlp,
    'prefixes', to_jsonb(v_prefixes),
    'period', coalesce(hirundo.report_label(v_period), hirundo.export_clean(period)),
    'first', hirundo.export_time(lower(v_period)),
    'past', hirundo.export_time(upper(v_period)),
    'zone', v_zone,
    'today', to_char(now() at time zone v_zone, 'YYYY-MM-DD'),
    'made', hirundo.export_time(now()),
    'home', hirundo.home_country(),
    'reporter', nullif(hirundo.setting('reporter_name'), ''),
    'contact', nullif(hirundo.setting('reporter_contact'), ''),
    'hosts', v_hosts);
end
$$;
----
comment on function hirundo.export_head(text, text) is
  'Part of hirundo-collector export: about whom, what and when a case file is; an error that says why there can be none: no such organisation, a period to come, nobody observed, nothing came. Example: see docs/export.md.';
----
create or replace function hirundo.export_flows(head jsonb)
returns table (ts timestamptz, ended timestamptz, src inet, src_port integer, proto integer, dst_port integer, icmp integer,
               tcp_flags integer, ttl integer, packets bigint, bytes bigint, sensor_id smallint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz := head ->> 'first';
  v_past timestamptz := head ->> 'past';
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(array(select jsonb_array_elements_text(head -> 'prefixes')::cidr));
  d record;
begin
  for d in
    select greatest(v_first, lower(hirundo.local_range(h.day, h.day + 1))) as a, least(v_past, upper(hirundo.local_range(h.day, h.day + 1))) as b
    from (select distinct s.day from hirundo.source_hits(v_first, v_past, v_ranges) s) h
    order by h.day
  loop
    return query
      select f.ts, f.ts + f.duration_ms * interval '1 millisecond', f.src, f.src_port, f.proto::int,
        case when f.proto in (6, 17) then f.port end, case when f.proto in (1, 58) then f.port end,
        case when f.proto = 6 then f.tcp_flags::int end, f.ttl::int, f.packets::bigint, f.bytes::bigint, f.sensor_id
      from hirundo.flow_classed f
      where f.ts >= d.a and f.ts < d.b and f.src >= lower(v_ranges) and f.src <= upper(v_ranges) and f.src <@ v_ranges
        and f.class <> 'backscatter' and f.class <> 'local'
      order by f.ts, f.src, f.port_code, f.sensor_id, f.ttl, f.tcp_flags, f.marks, f.src_port;
  end loop;
end
$$;
----
comment on function hirundo.export_flows(jsonb) is
  'Part of hirundo-collector export: the rows of flow that a case is made of, in order of time. Without backscatter and local traffic; flood rows have no sources. Example: see docs/export.md.';
----
-- Cells are numbers, times, addresses and words of ours: none needs quotes.
create or replace function hirundo.export_events(head jsonb, ids integer[], pseudonyms text[])
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
declare
  v_tlp text := head ->> 'tlp';
  v_names jsonb := jsonb_object(ids::text[], pseudonyms);
  v_time text := 'YYYY-MM-DD"T"HH24:MI:SS"Z"'; -- as export_time, without a call for each row
begin
  return next 'timestamp,protocol,src_ip,src_port,dst_port,icmp_type,icmp_code,tcp_flags,packets,bytes,last_seen,ttl,sensor,tlp';
  return query
    select format('%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s', to_char(f.ts at time zone 'UTC', v_time),
                  case f.proto when 6 then 'tcp' when 17 then 'udp' when 1 then 'icmp' when 58 then 'icmpv6' when 47 then 'gre' else f.proto::text end,
                  host(f.src), f.src_port, f.dst_port,
                  f.icmp >> 8, f.icmp & 255, '0x' || lpad(to_hex(f.tcp_flags), 2, '0'), f.packets, f.bytes, to_char(f.ended at time zone 'UTC', v_time), f.ttl,
                  v_names ->> f.sensor_id::text, v_tlp)
    from hirundo.export_flows(head) f; -- no join: it may bring another order
end
$$;
----
comment on function hirundo.export_events(jsonb, integer[], text[]) is
  'Part of hirundo-collector export: the lines of events.csv: a row of flow each, named as in Shadowserver''s reports where those have the like; sensors by their pseudonyms. Example: see docs/export.md.';
----
create or replace function hirundo.export_sources(head jsonb)
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
declare
  v_tlp text := head ->> 'tlp';
  v_time text := 'YYYY-MM-DD"T"HH24:MI:SS"Z"';
begin
  return next 'timestamp,last_seen,src_ip,protocol,dst_port,packets,sensors,ttl_min,ttl_max,tlp';
  return query
    select format('%s,%s,%s,%s,%s,%s,%s,%s,%s,%s', coalesce(to_char(e.first_seen at time zone 'UTC', v_time), to_char(e.day, 'YYYY-MM-DD')),
                  to_char(e.last_seen at time zone 'UTC', v_time), e.item,
                  case when e.port like 'IP/%' then substr(e.port, 4) when e.port like '%TCP%' then 'tcp' when e.port like '%UDP%' then 'udp' else lower(e.port collate "C") end,
                  substring(e.port from '^(\d+)/'), e.packets, e.sensors, e.low, e.high, v_tlp)
    from hirundo.case_evidence(array(select jsonb_array_elements_text(head -> 'prefixes')::cidr), (head ->> 'first')::timestamptz, (head ->> 'past')::timestamptz) e;
end
$$;
----
comment on function hirundo.export_sources(jsonb) is
  'Part of hirundo-collector export: the lines of sources.csv: a host and port each, those with most packets first. timestamp: first seen, its day alone (reporting time zone) where times of day are not kept any more. Example: see docs/export.md.';
----
create or replace function hirundo.export_xarf_missing(head jsonb)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when head ->> 'reporter' is null or head ->> 'contact' is null then
    'X-ARF names who reports, and the settings reporter_name and reporter_contact are not both set: update hirundo.setting set value = ''abuse@example.org'' where name = ''reporter_contact'', and likewise reporter_name' end;
end
$$;
----
comment on function hirundo.export_xarf_missing(jsonb) is
  'Part of hirundo-collector export: why there can be no X-ARF, null where there can. Example: select hirundo.export_xarf_missing(''{}'').';
----
-- One report for a host, protocol and port: what one customer's machine did. The schema asks for a source port with each
-- address, so what has none (ICMP, GRE, fragments) and what is no longer in flow is in the CSV files alone.
--
-- Its number, packets and sensors come from what rollups keep, so that they are the same when the case is made again after
-- retention; source port, times of day, TTLs and evidence from flow, as far as that goes back.
create or replace function hirundo.export_xarf(head jsonb, ids integer[], pseudonyms text[])
returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '32MB'
as $$
declare
  v_reporter jsonb := jsonb_build_object('org', hirundo.export_clean(head ->> 'reporter'), 'contact', head ->> 'contact', 'domain', split_part(head ->> 'contact', '@', 2));
  v_same jsonb := jsonb_build_object('xarf_version', '4.2.0', 'category', 'connection', 'type', 'port_scan', 'evidence_source', 'flow_analysis',
                                     'reporter', v_reporter, 'sender', v_reporter, 'tags', jsonb_build_array('tlp:' || lower((head ->> 'tlp') collate "C")));
  v_names jsonb := jsonb_object(ids::text[], pseudonyms);
  v_salt text := format('hirundo case 1|%s|%s', head ->> 'contact', head ->> 'organisation');
  v_columns text := e'timestamp,src_ip,src_port,protocol,dst_port,packets,ttl,sensor\n';
  v_time text := 'YYYY-MM-DD"T"HH24:MI:SS"Z"';
  v_first timestamptz := head ->> 'first';
  v_past timestamptz := head ->> 'past';
begin
  return query
    with hit as materialized (
      select h.src, h.port_code, min(h.day) as since, sum(h.packets)::bigint as packets, count(distinct h.sensor_id) as sensors
      from hirundo.source_hits(v_first, v_past, hirundo.address_ranges(array(select jsonb_array_elements_text(head -> 'prefixes')::cidr))) h
      group by 1, 2
    ), day as materialized (
      select d.since, r.a, hirundo.flow_is_gone(r.a, r.b) as gone
      from (select distinct h.since from hit h) d
      cross join lateral (select greatest(v_first, lower(l)) as a, least(v_past, upper(l)) as b from hirundo.local_range(d.since, d.since + 1) l) r
    ), row as (
      select f.src, f.proto, f.dst_port, f.src_port, f.ts, f.ended, f.packets, f.ttl, f.sensor_id, v_names ->> f.sensor_id::text as name, case f.proto when 6 then 'tcp' else 'udp' end as protocol,
        row_number() over (partition by f.src, f.proto, f.dst_port order by f.ts, f.sensor_id, f.ttl, f.src_port, f.tcp_flags) as n
      from hirundo.export_flows(head) f
      where f.proto in (6, 17) and f.dst_port is not null and f.src_port between 1 and 65535
    ), pair as (
      select r.src, r.protocol, r.dst_port, r.proto * 131072 + r.dst_port as port_code, to_char(min(r.ts) at time zone 'UTC', v_time) as first_text,
        to_char(max(r.ended) at time zone 'UTC', v_time) as last_text,
        min(r.ttl) as lo, max(r.ttl) as hi, count(*) as rows, max(r.src_port) filter (where r.n = 1) as src_port,
        convert_to(v_columns || string_agg(format(e'%s,%s,%s,%s,%s,%s,%s,%s\n', to_char(r.ts at time zone 'UTC', v_time), host(r.src), r.src_port, r.protocol, r.dst_port,
                                                  r.packets, r.ttl, r.name), '' order by r.n) filter (where r.n <= 20), 'UTF8') as evidence
      from row r
      group by r.src, r.protocol, r.dst_port, r.proto
    )
    select (v_same || jsonb_build_object(
      -- the same sighting has the same number, in whatever case file it is
      'report_id', overlay(overlay(substr(encode(sha256(convert_to(format('%s|%s|%s|%s|%s', v_salt, host(p.src), p.protocol, p.dst_port, to_char(h.since, 'YYYY-MM-DD')), 'UTF8')), 'hex'), 1, 32)
                                   placing '4' from 13 for 1) placing 'a' from 17 for 1)::uuid,
      'timestamp', p.first_text,
      'source_identifier', host(p.src), 'source_port', p.src_port,
      'protocol', p.protocol,
      -- it is asked for: where the time of day is not kept any more, the beginning of that day
      'first_seen', case when d.gone then to_char(d.a at time zone 'UTC', v_time) else p.first_text end, 'last_seen', p.last_text,
      'description', format('%s packets to port %s/%s at %s of our sensors, which offer no service and answer nothing. %s Times are UTC.',
                            h.packets, p.dst_port, upper(p.protocol collate "C"), h.sensors,
                            case when d.gone then format('First seen on %s, whose times and TTLs are not kept any more.', to_char(h.since, 'YYYY-MM-DD'))
                                 else format('TTL on arrival: %s to %s.', p.lo, p.hi) end),
      'evidence', jsonb_build_array(jsonb_build_object(
        'content_type', 'text/csv',
        'description', case when p.rows > 20 then format('The first 20 of %s flow summaries; sensors by pseudonym', p.rows) else 'Flow summaries; sensors by pseudonym' end,
        'payload', replace(encode(p.evidence, 'base64'), e'\n', ''),
        'hash', 'sha256:' || encode(sha256(p.evidence), 'hex'),
        'size', octet_length(p.evidence))))
      || case when p.dst_port > 0 then jsonb_build_object('destination_port', p.dst_port) else '{}' end)::text
    from pair p
    join hit h on h.src = p.src and h.port_code = p.port_code
    join day d on d.since = h.since
    order by p.src, p.protocol collate "C", p.dst_port;
end
$$;
----
comment on function hirundo.export_xarf(jsonb, integer[], text[]) is
  'Part of hirundo-collector export: the lines of xarf.jsonl: a report in X-ARF v4 (connection, port_scan) each, for a host, protocol and port, with up to 20 rows of flow as evidence. report_id, packets and sensors are the same when it is made again after retention. Example: see docs/export.md.';
----
create or replace function hirundo.export_manifest(head jsonb, product text, names text[], sizes bigint[], digests text[])
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_pretty(jsonb_build_object(
    'format', 'hirundo case 1',
    'product', product,
    'organisation', hirundo.export_clean(head ->> 'organisation'),
    'tlp', head ->> 'tlp',
    'period', head ->> 'period',
    'from', head ->> 'first',
    'to', head ->> 'past',
    'made', head ->> 'made',
    'reporter', hirundo.export_clean(head ->> 'reporter'),
    'operator', head ->> 'operator',
    'files', (select jsonb_agg(jsonb_build_object('name', f.name, 'bytes', f.size, 'sha256', f.digest) order by f.name collate "C")
              from unnest(names, sizes, digests) f(name, size, digest)))) || e'\n';
end
$$;
----
comment on function hirundo.export_manifest(jsonb, text, text[], bigint[], text[]) is
  'Part of hirundo-collector export: manifest.json: whose case it is, when it was made, and each file with its size and SHA-256; it is what the operator signs. Example: see docs/export.md.';
