-- Figures of the report: what was sought. See 50_report.sql.
create or replace function hirundo.report_services(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_internal boolean := audience = 'internal';
begin
  return query select 'top_ports', 'services', 'ranks', case when v_internal then format($q$
select r.label_en, r.label_ja, r.country, t.rank, t.port, t.packets
from hirundo.top_ports(%1$s, 10) t
join hirundo.report_sensors('internal') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = t.sensor
order by r.n, t.rank$q$, v_period) else format($q$
with top as materialized (select * from hirundo.top_ports(%1$s, 10)),
seen as materialized (select * from hirundo.port_sensors(%1$s, (select array_agg(distinct port) from top)))
select r.label_en, r.label_ja, t.rank, case when s.sensors >= 3 then t.port end as port
from top t
join hirundo.report_sensors('public') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = t.sensor
join seen s on s.port = t.port
order by r.n, t.rank$q$, v_period) end, $j${
    "title": {"en": "Ten most received ports at each sensor", "ja": "国内外センサーごとのパケットTOP10の比較"},
    "lead": {"en": "Ports that nearly every sensor receives are scanned across wide parts of the Internet; one that only few receive speaks of something local to them.",
             "ja": "ほぼ全てのセンサーで観測されているポートは、広範囲のネットワークでスキャンが行われていることを示唆しています。一部のセンサーでのみ上位にあるポートは、そのネットワークに固有の動きの可能性があります。"},
    "method": {"en": "Packets to each destination port, ICMP as one; all traffic but that of the sensor’s own link. Ports with equal packets are in the order of their names.",
               "ja": "宛先ポートごとのパケット数による順位です。ICMPは1つにまとめています。センサー自身のリンク内の通信は除いています。同数の場合はポート名の順です。"},
    "view": {"x": "rank", "y": ["label_en", "label_ja"], "value": "port"}
  }$j$::jsonb || (case when v_internal then $j${
    "caveat": {"en": "A sensor that received nothing has no row: see coverage.",
               "ja": "パケットを受信していないセンサーは表に含まれません。センサーの稼働状況をあわせてご覧ください。"},
    "columns": [
      {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
      {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"},
      {"key": "country", "type": "country", "en": "Region", "ja": "地域"},
      {"key": "rank", "type": "rank", "en": "Rank", "ja": "順位"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"}]}$j$ else $j${
    "caveat": {"en": "Ports that fewer than three sensors received are withheld; their rank stays empty. A sensor that received nothing has no row.",
               "ja": "観測したセンサーが3台未満のポートは公表していません（順位は空欄）。パケットを受信していないセンサーは表に含まれません。"},
    "columns": [
      {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
      {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"},
      {"key": "rank", "type": "rank", "en": "Rank", "ja": "順位"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"}]}$j$ end)::jsonb, 4000;
end
$$;
----
comment on function hirundo.report_services(tstzrange, text) is
  'Part of hirundo.report_entries: ports and services. Example: select id, query from hirundo.report_services(hirundo.quarter(''2023Q1''), ''public'').';
