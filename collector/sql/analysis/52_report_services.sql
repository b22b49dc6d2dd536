-- Figures of the report: what was sought. See 50_report.sql.
create or replace function hirundo.report_services(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_weeks text := format('hirundo.whole_weeks(%s)', v_period);
  v_year text := format('hirundo.whole_weeks(hirundo.period(%L))', hirundo.report_label(tstzrange(
    ((upper(period) at time zone hirundo.time_zone()) - interval '12 months') at time zone hirundo.time_zone(), upper(period))));
  v_internal boolean := audience = 'internal';
  v_trend text := $j${
    "unit": "week",
    "method": {"en": "Packets to the port per observed sensor and day, by week from Monday, whole weeks alone; all traffic but that of the sensor’s own link.",
               "ja": "宛先ポートごとのパケット数を、実際に観測できた延べ日数（センサー数×日数）で割り、週ごと（月曜日から）に示しています。期間内の完全な週のみが対象です。"},
    "columns": [
      {"key": "week", "type": "date", "en": "Week from", "ja": "週（月曜日）"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "average", "type": "number", "en": "Packets per sensor and day", "ja": "平均パケット数"}],
    "view": {"x": "week", "series": "port", "y": "average"}}$j$;
  v_caveat jsonb := case when v_internal
    then '{"en": "One sensor with much traffic can lift the average: see the ten most received ports of each. Hatched: no sensor observed.",
           "ja": "1台のセンサーに多くのパケットが届くと平均値が大きくなることがあります。センサーごとの上位10ポートもあわせてご覧ください。斜線は観測がなかった週です。"}'::jsonb
    else '{"en": "Ports that fewer than three sensors received are left out. Hatched: no sensor observed.",
           "ja": "観測したセンサーが3台未満のポートは除いています。斜線は観測がなかった週です。"}' end;
  v_top text := $j${
    "columns": [
      {"key": "rank", "type": "rank", "en": "Rank", "ja": "順位"},
      {"key": "item", "type": "port", "en": "Service", "ja": "サービス"},
      {"key": "share", "type": "percent", "en": "Share of packets", "ja": "パケット数の割合"},
      {"key": "previous", "type": "text", "en": "Rank before", "ja": "前の期間の順位"}],
    "view": {"name": "item", "value": "share", "previous": "previous"}}$j$;
begin
  return query
    select t.id, 'services', 'lines', case when v_internal then format($q$
select t.bucket::date as week, t.port, round(t.average, 2) as average
from hirundo.port_trend(%1$s, 'week', 5) t
order by 1, t.rank$q$, t.p) else format($q$
with t as materialized (select * from hirundo.port_trend(%1$s, 'week', 5)),
seen as materialized (select * from hirundo.port_sensors(%1$s, (select array_agg(distinct port) from t)))
select t.bucket::date as week, t.port, round(t.average, 1) as average
from t join seen s on s.port = t.port and s.sensors >= 3
order by 1, t.rank$q$, t.p) end,
      v_trend::jsonb || jsonb_build_object('title', t.title, 'lead', t.lead, 'caveat', v_caveat), 600
    from (values
      ('port_trend', v_weeks, '{"en": "Weekly packets of the top ports", "ja": "主要ポート宛パケット数の推移（週次）"}'::jsonb,
       '{"en": "The five ports that received most in this period.", "ja": "本期間にパケットの多かった5ポートについて、センサー1台・1日あたりの平均を週ごとに示しています。"}'::jsonb),
      ('port_trend_year', v_year, '{"en": "Weekly packets of the top ports, one year", "ja": "主要ポート宛パケット数の推移（週次・直近1年）"}',
       '{"en": "The five ports that received most in the twelve months up to the end of this period.", "ja": "本期間末までの1年間にパケットの多かった5ポートについて、センサー1台・1日あたりの平均を週ごとに示しています。"}')) t(id, p, title, lead)
    where upper(period) - lower(period) > interval '13 days' or t.id = 'port_trend_year';

  return query
    select t.id, 'services', 'ranking', case when v_internal or t.kind = 'country' then format($q$
select t.rank, t.item, round(t.share * 100, %3$s) as share, t.previous
from hirundo.quarter_top(%1$s, 10) t
where t.kind = '%2$s' and t.rank is not null
order by t.rank$q$, v_period, t.kind, case when v_internal then 2 else 1 end) else format($q$
with t as materialized (select * from hirundo.quarter_top(%1$s, 10) t where t.kind = 'service' and t.rank is not null),
seen as materialized (select * from hirundo.port_sensors(%1$s, (select array_agg(item) from t)))
select t.rank, case when s.sensors >= 3 then t.item end as item, case when s.sensors >= 3 then round(t.share * 100, 1) end as share,
  case when s.sensors >= 3 then t.previous end as previous
from t join seen s on s.port = t.item
order by t.rank$q$, v_period) end,
      t.about || jsonb_build_object('columns', case t.kind when 'service' then v_top::jsonb -> 'columns'
        else jsonb_set(v_top::jsonb -> 'columns', '{1}', '{"key": "item", "type": "country", "en": "Source country", "ja": "送信元地域"}') end,
        'view', v_top::jsonb -> 'view'), 20
    from (values
      ('quarter_top_services', 'service', $j${
        "title": {"en": "Top services", "ja": "宛先ポート別パケット数の順位"},
        "lead": {"en": "The services that received most packets over all sensors, with their rank in the period before.", "ja": "全センサーを合計したパケット数の多い宛先ポートと、前の期間の順位です。"},
        "method": {"en": "Share of all packets but those of the sensor’s own link; any IP protocol is a service. Ranks are by packets, ties by name.", "ja": "センサー自身のリンク内の通信を除く全パケットに占める割合です。TCP、UDP以外のプロトコルも含みます。同数の場合は名前の順です。"},
        "caveat": {"en": "Sensors that joined or left change ranks, too. An item that was below the tenth place before has a dash. In a report for the public, ports that fewer than three sensors received are withheld.", "ja": "センサーの増減によっても順位は変わります。前の期間に11位以下だったものは「-」で示しています。公開用では、観測したセンサーが3台未満のポートは公表していません。"}
      }$j$::jsonb),
      ('quarter_top_countries', 'country', $j${
        "title": {"en": "Top source countries", "ja": "送信元地域別パケット数の順位"},
        "lead": {"en": "Where the source addresses are registered, with the rank in the period before.", "ja": "送信元IPアドレスが登録されている国・地域の順位と、前の期間の順位です。"},
        "method": {"en": "Share of all packets whose source has a known country of registration or none; by the prefix data of each day.", "ja": "各日の割り当て情報に基づき、送信元IPアドレスの登録国・地域ごとに集計した割合です。"},
        "caveat": {"en": "Where an address is registered is not where an attacker sits, and forged addresses count for whoever they belong to.", "ja": "IPアドレスの登録地域は攻撃者の所在地を示すものではありません。偽装された送信元も登録地域に計上されます。"}
      }$j$)) t(id, kind, about);

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
