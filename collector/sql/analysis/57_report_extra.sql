-- Figures of an extra edition: one port, as soon as something stands out. See 50_report.sql.
create or replace function hirundo.report_port(port text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return hirundo.port_label((hirundo.port_codes(array[case when btrim(port) ~ '^\d{1,5}$' then btrim(port) || '/TCP' else port end]))[1]);
end
$$;
----
comment on function hirundo.report_port(text) is
  'A port as hirundo.report takes it, TCP where no protocol is said; an error where it is none. Example: select hirundo.report_port(''22'') gives 22/TCP.';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.port_sources(tstzrange, text);
----
create function hirundo.port_sources(period tstzrange, port text)
returns table (src inet, sensor_id smallint, packets bigint, missing text)
language plpgsql stable rows 10000
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
  v_codes int[] := hirundo.port_codes(array[port]);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c;
  return query
    with lacking as (
      select s.sensor_id, l.missing
      from hirundo.lacking(v_first, v_past, v_rest, 'sensor') l join hirundo.sensor s on s.name = l.item
      where l.missing is not null
    )
    select e.src, e.sensor_id, e.packets, l.missing
    from (
      select u.src, u.sensor_id, sum(u.packets)::bigint as packets
      from (select x.src, x.sensor_id, x.packets
            from hirundo.source_port_day x
            where x.day = any (v_days) and x.port_code = any (v_codes) and x.class <> 'backscatter' and x.class <> 'local'
            union all
            select f.src, f.sensor_id, f.packets
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.flow_classed f
              where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
                and f.port_code = any (v_codes) and f.class <> 'backscatter' and f.class <> 'local') f) u
      group by 1, 2) e
    left join lacking l on l.sensor_id = e.sensor_id
    order by 1, 2;
end
$$;
----
comment on function hirundo.port_sources(tstzrange, text) is
  'Who sent to a port, by source and sensor: src, sensor_id, packets, missing (what the sensor lacks in the period: hirundo.lacking; null: nothing). Without backscatter, local traffic and flood rows, which have no source. Example: select count(distinct src) from hirundo.port_sources(hirundo.week(''2023-W06''), ''22/TCP'').';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.port_origins(tstzrange, text, text);
----
create function hirundo.port_origins(period tstzrange, port text, by text default 'country')
returns table (item text, hosts bigint, packets bigint, organisations text, middle numeric, missing text)
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
  v_by text := lower(btrim(coalesce(by, 'country')) collate "C");
begin
  if v_by not in ('country', 'as') then
    raise exception '% is nothing to divide by', quote_literal(by)
      using errcode = 'invalid_parameter_value', hint = 'Take country or as.';
  end if;
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    with hit as materialized (
      select * from hirundo.port_sources(period, port)
    ), known as materialized (
      select l.address, case v_by when 'country' then coalesce(l.country, '') else coalesce(hirundo.as_label(l.asn), '') end as item, l.organisation
      from hirundo.lookup((select array_agg(distinct h.src) from hit h), ((v_past - interval '1 microsecond') at time zone hirundo.time_zone())::date) l
    ), watch as materialized (
      select w.sensor_id from hirundo.public_sensors(v_first, v_past) w
    ), middle as (
      select e.item, hirundo.public_value(array_agg(e.n::float8 order by e.n), (select count(*) from watch)) as v
      from (select k.item, h.sensor_id, count(*) as n
            from hit h
            join watch w on w.sensor_id = h.sensor_id
            join known k on k.address = h.src
            group by 1, 2) e
      group by e.item
    )
    select k.item, count(distinct h.src), sum(h.packets)::bigint, string_agg(distinct k.organisation collate "C", ', '), max(m.v),
      (select l.missing
       from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c cross join lateral hirundo.lacking(v_first, v_past, c.rest) l)
    from hit h
    join known k on k.address = h.src
    left join middle m on m.item = k.item
    group by k.item
    order by 2 desc, k.item collate "C";
end
$$;
----
comment on function hirundo.port_origins(tstzrange, text, text) is
  'Where the sources that sent to a port are registered, by country or as (AS with its name) as of the period''s last day: item (empty: not known), hosts (distinct), packets, organisations (under watch among them), middle (hosts at the sensor in the middle, fit for anybody: hirundo.public_value), missing (what the period lacks, on every row: hirundo.lacking; null: nothing). Example: select * from hirundo.port_origins(hirundo.week(''2023-W06''), ''22/TCP'', ''as'') limit 10.';
----
create or replace function hirundo.port_home_sources(period tstzrange, port text)
returns cidr[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set jit = off
as $$
begin
  return (
    select coalesce(array_agg(l.address::cidr order by l.address), '{}')
    from hirundo.lookup((select array_agg(distinct s.src) from hirundo.port_sources(period, port) s),
                        ((least(upper(period), now()) - interval '1 microsecond') at time zone hirundo.time_zone())::date) l
    where l.country = hirundo.home_country());
end
$$;
----
comment on function hirundo.port_home_sources(tstzrange, text) is
  'Sources that sent to a port and are registered in the home country, as hirundo.ttl_origin takes them; empty where there are none. An array has no column missing: it lacks what hirundo.port_sources lacks. Example: select * from hirundo.ttl_origin(hirundo.week(''2023-W06''), hirundo.port_home_sources(hirundo.week(''2023-W06''), ''22/TCP''), ''{22/TCP}'').';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.port_is_not(tstzrange, text);
----
create function hirundo.port_is_not(period tstzrange, port text)
returns table (what text, share numeric, middle numeric, missing text)
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
  v_codes int[] := hirundo.port_codes(array[port]);
begin
  select b.first, least(b.past, now()) into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.rest into v_days, v_rest from hirundo.rollup_cover(v_first, v_past, 'port_day') c;
  return query
    with lacking as materialized (
      -- each as the rollup that it is made of knows it
      select 'packets' as of, l.missing from hirundo.lacking(v_first, v_past, v_rest) l
      union all
      select 'sources', l.missing
      from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c cross join lateral hirundo.lacking(v_first, v_past, c.rest) l
    ), hit as materialized (
      select * from hirundo.port_sources(period, port)
    ), known as materialized (
      select l.address, l.scanner
      from hirundo.lookup((select array_agg(distinct h.src) from hit h), ((v_past - interval '1 microsecond') at time zone hirundo.time_zone())::date) l
    ), watch as materialized (
      select w.sensor_id from hirundo.public_sensors(v_first, v_past) w
    ), received as materialized (
      select u.sensor_id, sum(u.p) as p, coalesce(sum(u.p) filter (where u.class = 'backscatter'), 0) as back, sum(u.f) as flood
      from (select d.sensor_id, d.class, d.packets as p, d.flood_packets as f
            from hirundo.port_day d where d.day = any (v_days) and d.port_code = any (v_codes) and d.class <> 'local'
            union all
            select t.sensor_id, t.class, sum(t.packets), coalesce(sum(t.packets) filter (where t.flood), 0)
            from unnest(v_rest) r
            cross join lateral (
              select * from hirundo.traffic t
              where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= lower(v_rest) and t.ts < upper(v_rest)
                and t.port_code = any (v_codes) and t.class <> 'local') t
            group by 1, 2) u
      group by 1
    ), sent as materialized (
      select h.sensor_id, count(*) as hosts, sum(h.packets) as p, max(h.packets) as most, count(k.scanner) as scanners
      from hit h join known k on k.address = h.src
      group by 1
    ), source as materialized (
      select h.src, sum(h.packets) as p, max(k.scanner) as scanner from hit h join known k on k.address = h.src group by 1
    ), part as (
      select 1 as i, 'backscatter' as what, (select sum(r.back) / nullif(sum(r.p), 0) from received r) as share
      union all
      select 2, 'flood', (select sum(r.flood) / nullif(sum(r.p), 0) from received r)
      union all
      select 3, 'scanners', (select count(s.scanner)::numeric / nullif(count(*), 0) from source s)
      union all
      select 4, 'one_source', (select max(s.p) / nullif(sum(s.p), 0) from source s)
      union all
      select 5, 'one_sensor', (select max(s.hosts)::numeric / nullif(sum(s.hosts), 0) from sent s)
    ), each as (
      select 'backscatter' as what, r.sensor_id, r.back / r.p as v from received r where r.p > 0
      union all
      select 'flood', r.sensor_id, r.flood / r.p from received r where r.p > 0
      union all
      select 'scanners', s.sensor_id, s.scanners::numeric / s.hosts from sent s
      union all
      select 'one_source', s.sensor_id, s.most::numeric / s.p from sent s
    ), middle as (
      select e.what, percentile_disc(0.5) within group (order by e.v) as v
      from each e join watch w on w.sensor_id = e.sensor_id
      group by e.what
      having count(*) >= 3 and count(*) * 2 > (select count(*) from watch)
    )
    select p.what, round(p.share * 100, 1), round(m.v * 100), l.missing
    from part p
    left join middle m on m.what = p.what
    left join lacking l on l.of = case when p.i <= 2 then 'packets' else 'sources' end
    order by p.i;
end
$$;
----
comment on function hirundo.port_is_not(tstzrange, text) is
  'What the traffic of a port may be instead of many hosts that seek it everywhere, and how much of it is, in percent: what (backscatter and flood: of packets; scanners: known research scanners, of hosts; one_source: the largest, of packets of flows; one_sensor: the largest, of hosts added up over sensors), share, middle (at the sensor in the middle, fit for anybody; null where not more than half, or fewer than three, received any), missing (what the share lacks: hirundo.lacking; null: nothing). Example: select * from hirundo.port_is_not(hirundo.week(''2023-W06''), ''22/TCP'').';
----
create or replace function hirundo.report_extra(period tstzrange, audience text, port text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_zone text := hirundo.time_zone();
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  -- with four weeks before it
  v_wide text := format('hirundo.period(%L)', hirundo.report_label(tstzrange((lower(period) at time zone v_zone - interval '28 days') at time zone v_zone, upper(period))));
  v_internal boolean := audience = 'internal';
  v_port text := hirundo.report_port(port);
  v_ports text := format('%L', array[v_port]);
  v_hosts jsonb := '{"key": "hosts", "type": "number", "en": "Source hosts", "ja": "送信元ホスト数"}';
  v_middle jsonb := '{"key": "hosts", "type": "number", "en": "Source hosts per sensor", "ja": "送信元ホスト数（センサーあたり）"}';
  v_origin jsonb := $j${
    "method": {"en": "Distinct source addresses, by where they are registered as of the period’s last day; without backscatter and floods.",
               "ja": "重複を除いた送信元IPアドレスを、期間最終日の割り当て情報により集計しています。バックスキャッターとフラッドは除いています。"},
    "caveat": {"en": "Where an address is registered is not where an attacker sits; forged addresses count for whoever they belong to.",
               "ja": "IPアドレスの登録先は攻撃者の所在を示すものではありません。偽装された送信元も登録先に計上されます。"}}$j$;
  v_origin_middle jsonb := $j${
    "method": {"en": "Distinct source addresses at the sensor in the middle, by where they are registered as of the period’s last day; without backscatter and floods. Two digits; only what more than half of the sensors saw, and at least three.",
               "ja": "重複を除いた送信元IPアドレスを期間最終日の割り当て情報により集計し、センサーの中央値（有効数字2桁）を示しています。3台以上かつ半数を超えるセンサーで観測されたもののみが対象です。バックスキャッターとフラッドは除いています。"}}$j$;
begin
  return query
    select 'surge', 'extra_when', 'table', format(E'\nselect e.* from (%s) e\nwhere e.port = %L', btrim(e.query, E'\n'), v_port),
      e.about || $j${"title": {"en": "Since when, how much, and at how many sensors", "ja": "いつから、どの程度、何台のセンサーで増加したか"},
        "lead": {"en": "When the port’s sources rose within the period, and whether most sensors saw it or only some. What began before the period is shown from the period’s beginning on.",
                 "ja": "対象期間内に当該ポートの送信元ホスト数がいつ増加したか、その変動が多くのセンサーに共通するものかを示しています。対象期間より前に始まった増加は、期間の始めから示しています。"},
        "empty": {"en": "The port did not rise beyond what the 28 days before lead to expect, as far as days could be judged.",
                  "ja": "直前28日間の傾向を超える急増は、このポートでは検知されませんでした（判定できた日に限ります）。"}}$j$::jsonb, 50
    from hirundo.report_events(period, audience) e where e.id = 'surges';

  return query select 'hosts', 'extra_when', 'lines', case when v_internal then format($q$
select h.day, h.port, h.hosts, h.packets, h.sensors
from hirundo.source_hosts_daily(%1$s, null, %2$s) h
order by h.day$q$, v_wide, v_ports) else format($q$
select h.bucket_start as week, h.port, h.hosts
from hirundo.public_source_hosts(hirundo.whole_weeks(%1$s), null, 'week', 1, %2$s) h
order by 1$q$, v_wide, v_ports) end, $j${
    "lead": {"en": "How many hosts sent to the port, from four weeks before the period on.", "ja": "当該ポートにパケットを送信したホスト数の推移です（対象期間の4週間前から）。"}
  }$j$::jsonb || (case when v_internal then $j${
    "unit": "day",
    "title": {"en": "Source hosts per day", "ja": "送信元ホスト数の推移"},
    "method": {"en": "Distinct source addresses per day over all sensors; without backscatter and floods.", "ja": "全センサーで重複を除いた1日あたりの送信元IPアドレス数です。バックスキャッターとフラッドは除いています。"},
    "caveat": {"en": "Forged sources count as hosts. Hatched: no sensor observed.", "ja": "偽装された送信元もホストとして数えています。斜線は観測がなかった日です。"},
    "columns": [
      {"key": "day", "type": "date", "en": "Day", "ja": "日付"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "hosts", "type": "number", "en": "Source hosts", "ja": "送信元ホスト数"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"},
      {"key": "sensors", "type": "number", "en": "Sensors", "ja": "センサー数"}],
    "view": {"x": "day", "series": "port", "y": "hosts"}}$j$ else $j${
    "unit": "week",
    "title": {"en": "Source hosts per sensor and day, by week", "ja": "送信元ホスト数の推移（週別）"},
    "method": {"en": "Source addresses a day at the sensor in the middle, averaged over whole weeks; without backscatter and floods. Two digits.",
               "ja": "1日あたりの送信元IPアドレス数を完全な週ごとに平均し、センサーの中央値（有効数字2桁）を示しています。バックスキャッターとフラッドは除いています。"},
    "caveat": {"en": "0: not more than half of the sensors saw any. Hatched: fewer than three sensors observed half of the week. Forged sources count as hosts.",
               "ja": "半数以下のセンサーでしか観測されなかった週は0です。斜線は、週の半分以上を観測したセンサーが3台未満の週です。偽装された送信元もホストとして数えています。"},
    "columns": [
      {"key": "week", "type": "date", "en": "Week from", "ja": "週（月曜日）"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "hosts", "type": "number", "en": "Source hosts per sensor and day", "ja": "送信元ホスト数（1台1日あたり）"}],
    "view": {"x": "week", "series": "port", "y": "hosts"}}$j$ end)::jsonb, 500;

  if v_internal then
    return query select 'sensors', 'extra_where', 'table', format($q$
select r.label_en, r.label_ja, s.country, s.sources, s.expected, s.ratio, s.rose, round(s.share_of_rise * 100, 1) as share_of_rise
from hirundo.scope(coalesce(
  -- the days of the surge, where there is one
  (select hirundo.local_range(e.first_day, e.last_day + 1) from hirundo.surges(%1$s) e where e.port = %2$L order by e.p_value limit 1), %1$s), %2$L) s
join hirundo.report_sensors('internal') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = s.sensor
order by s.share_of_rise desc nulls last, r.n$q$, v_period, v_port), $j${
      "title": {"en": "At which sensors", "ja": "センサー別の増加"},
      "lead": {"en": "Sources a day at each sensor during the surge (or the period, where there is none), against what the days before lead to expect.",
               "ja": "急増のあった期間（急増がない場合は対象期間）における1日あたりの送信元数を、直前の傾向から予想される値とセンサーごとに比較しています。"},
      "method": {"en": "hirundo.scope: a sensor rose if its sources are up by a quarter and by more than chance, over all sensors, explains.",
                 "ja": "hirundo.scope による判定です。送信元数が25％以上増え、かつ偶然では説明できない場合に「増加」としています。"},
      "caveat": {"en": "Sensors with fewer than 14 observed days before are not judged.", "ja": "直前の観測が14日未満のセンサーは判定していません。"},
      "columns": [
        {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
        {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"},
        {"key": "country", "type": "country", "en": "Region", "ja": "地域"},
        {"key": "sources", "type": "number", "en": "Sources a day", "ja": "1日あたりの送信元数"},
        {"key": "expected", "type": "number", "en": "Expected", "ja": "予想値"},
        {"key": "ratio", "type": "number", "en": "Times", "ja": "倍率"},
        {"key": "rose", "type": "yes", "en": "Rose", "ja": "増加"},
        {"key": "share_of_rise", "type": "percent", "en": "Share of the rise", "ja": "増加分に占める割合"}],
      "view": {}}$j$::jsonb, 1000;
  end if;

  return query
    select t.id, 'extra_who', 'ranking', case when v_internal then format($q$
select o.item, o.hosts, o.packets, o.organisations
from hirundo.port_origins(%1$s, %2$L, '%3$s') o
order by o.hosts desc, o.item collate "C"$q$, v_period, v_port, t.by) else format($q$
select o.item, o.middle as hosts
from hirundo.port_origins(%1$s, %2$L, '%3$s') o
where o.middle > 0
order by 2 desc, o.item collate "C"$q$, v_period, v_port, t.by) end,
      t.about || v_origin || case when v_internal then '{}' else v_origin_middle end || jsonb_build_object(
        'view', '{"name": "item", "value": "hosts"}'::jsonb,
        'columns', jsonb_build_array(t.item) || case when v_internal
          then jsonb_build_array(v_hosts) || $j$[{"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"},
                                               {"key": "organisations", "type": "text", "en": "Organisations under watch", "ja": "監視対象組織"}]$j$::jsonb
          else jsonb_build_array(v_middle) end), 200
    from (values
      ('countries', 'country', '{"key": "item", "type": "country", "en": "Source country", "ja": "送信元地域"}'::jsonb, $j${
        "title": {"en": "Source countries", "ja": "送信元地域"},
        "lead": {"en": "In which countries the sources are registered.", "ja": "送信元IPアドレスが登録されている国・地域です。"}}$j$::jsonb),
      ('networks', 'as', '{"key": "item", "type": "network", "en": "Network (AS)", "ja": "ネットワーク（AS）"}', $j${
        "title": {"en": "Source organisations", "ja": "送信元の組織（AS）"},
        "lead": {"en": "Whose networks the sources belong to.", "ja": "送信元IPアドレスが属するネットワークの運営組織です。"}}$j$)) t(id, by, item, about);

  -- of tools no rollup knows sensors: for internal use
  return query select 'tools', 'extra_how', 'ranking', format($q$
select t.tool, round(100.0 * sum(t.packets) / nullif(sum(t.all_packets), 0), 1) as share, sum(t.packets)::bigint as packets
from hirundo.tool_share(%1$s, %2$s, 'port', 1) t
where t.rank is null
group by 1
having sum(t.packets) > 0
order by 2 desc, t.tool collate "C"$q$, v_period, v_ports), $j${
    "title": {"en": "Tools", "ja": "ツール"},
    "lead": {"en": "What the packets to this port betray of the tool that sent them.", "ja": "当該ポート宛パケットの特徴から推定したツールです。"},
    "method": {"en": "Versioned rules over raw header fields of each flow’s first packet; unknown: no rule fits.", "ja": "フローごとの先頭パケットのヘッダーに、版管理されたルールを適用しています。「不明」はどのルールにも該当しないものです。"},
    "caveat": {"en": "Marks can be imitated and left out: a share is what showed the mark, not proof of the tool.", "ja": "特徴は模倣も除去も可能です。割合は特徴が確認できたパケットのもので、ツールの使用を証明するものではありません。"},
    "columns": [
      {"key": "tool", "type": "tool", "en": "Tool", "ja": "ツール"},
      {"key": "share", "type": "percent", "en": "Share of packets (%)", "ja": "パケット数の割合（%）"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"}],
    "view": {"name": "tool", "value": "share"}}$j$::jsonb, 100
  where v_internal;

  return query
    select 'ttl', 'extra_how', 'ranges', e.query, e.about || case when v_internal then $j${
      "title": {"en": "TTL of sources registered at home, by sensor region", "ja": "国内に登録された送信元：地域毎の観測したパケットのTTL値"}}$j$::jsonb else $j${
      "title": {"en": "TTL at home and overseas", "ja": "国内・海外のセンサーで観測したパケットのTTL値"},
      "lead": {"en": "TTLs of all sources, wherever they are registered. What is sent from abroad crosses many routers on its way home too: these figures do not tell whether source addresses are forged.",
        "ja": "登録地域を問わず、全ての送信元のパケットのTTL値です。海外から送信されたパケットも含むため、この図から送信元の偽装の有無は判断できません。"}}$j$ end, 300
    from hirundo.report_ttl(audience, v_period, case when v_internal then format('hirundo.port_home_sources(%s, %L)', v_period, v_port) else 'null' end, v_ports) e;

  return query select 'is_not', 'extra_not', 'table', format($q$
select t.en as what_en, t.ja as what_ja, n.%1$s as share,
  case when n.%1$s < case n.what when 'one_sensor' then 50 else 10 end then 'no'
       when n.%1$s < case n.what when 'one_sensor' then 80 else 50 end then 'in part' else 'yes' end as answer
from hirundo.port_is_not(%2$s, %3$L) n
join (values
  ('backscatter', 'Answers to packets with forged senders (backscatter): of the packets', '送信元を偽装したパケットへの応答（バックスキャッター）：パケットの割合'),
  ('flood', 'Floods, whose sources are not known: of the packets', '送信元を把握できないフラッド：パケットの割合'),
  ('scanners', 'Known research scanners: of the hosts', '既知の調査目的のスキャン：ホストの割合'),
  ('one_source', 'A single heavy sender: of the packets', '1つの送信元への偏り：パケットの割合'),
  ('one_sensor', 'Something that one sensor alone sees: of the hosts', '1台のセンサーへの偏り：ホストの割合')) t(what, en, ja) on t.what = n.what
where n.%1$s is not null$q$, case when v_internal then 'share' else 'middle' end, v_period, v_port), $j${
    "title": {"en": "What it is not", "ja": "他の要因の検討"},
    "lead": {"en": "What else could look like many hosts that seek this port, and how much of it that is.", "ja": "多数のホストによる探索のように見える他の要因と、それぞれが占める割合です。"},
    "method": {"en": "Under 10%: no. From 50% on: yes; for one sensor, under 50% and from 80% on. Backscatter and floods are of all packets to the port; the others of flows that have a source.",
               "ja": "10％未満は「いいえ」、50％以上は「はい」としています（1台のセンサーへの偏りは50％未満、80％以上）。バックスキャッターとフラッドは当該ポート宛の全パケット、その他は送信元の分かるフローが対象です。"},
    "columns": [
      {"key": "what_en", "type": "text", "lang": "en", "en": "Is it …", "ja": "要因"},
      {"key": "what_ja", "type": "text", "lang": "ja", "en": "Is it …", "ja": "要因"},
      {"key": "share", "type": "percent", "en": "Share", "ja": "割合"},
      {"key": "answer", "type": "answer", "en": "Answer", "ja": "判定"}],
    "view": {}}$j$::jsonb || (case when v_internal then $j${
    "caveat": {"en": "Research scanners are those of the imported lists. Whether the sources are forged, TTLs tell better: see above.", "ja": "調査目的のスキャンは取り込んだ一覧によるものです。送信元の偽装については上のTTL値をご覧ください。"}}$j$ else $j${
    "caveat": {"en": "Shares at the sensor in the middle of those that received any. Research scanners are those of the imported lists.", "ja": "割合は、観測したセンサーの中央値です。調査目的のスキャンは取り込んだ一覧によるものです。"}}$j$ end)::jsonb, 10;
end
$$;
----
comment on function hirundo.report_extra(tstzrange, text, text) is
  'Part of hirundo.report_entries: an extra edition about one port: since when, where, from where, tools, TTLs, what it is not. Example: select id, query from hirundo.report_extra(hirundo.week(''2023-W06''), ''internal'', ''22/TCP'').';
