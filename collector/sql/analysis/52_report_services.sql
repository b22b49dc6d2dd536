-- Figures of the report: what was sought. See 50_report.sql.
create or replace function hirundo.report_services(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
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
    else '{"en": "Ports that not more than half of the sensors received are left out, and count as 0 in weeks in which they did not. Hatched: fewer than three sensors observed half of the week.",
           "ja": "半数以下のセンサーでしか観測されていないポートは除いています（週によって半数以下の場合は0としています）。斜線は、週の半分以上を観測したセンサーが3台未満の週です。"}' end;
  v_middle jsonb := '{"columns": [
      {"key": "week", "type": "date", "en": "Week from", "ja": "週（月曜日）"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "average", "type": "number", "en": "Packets per sensor and day (middle)", "ja": "1日あたりのパケット数（中央値）"}],
    "method": {"en": "Packets to the port a day at the sensor in the middle: as many received more as received less; by week from Monday, whole weeks alone; all traffic but that of the sensor’s own link. Two digits.",
    "ja": "宛先ポートごとの1日あたりパケット数について、センサーの中央値を週ごと（月曜日から）に有効数字2桁で示しています。期間内の完全な週のみが対象です。"}}';
  v_middle_lead jsonb := '{"service": {"lead": {"en": "The services that received most packets at the sensor in the middle, with their rank in the period before.",
    "ja": "センサーで受信したパケット数（中央値）の多い宛先ポートと、前の期間の順位です。"}},
    "country": {"lead": {"en": "Where the sources of most packets are registered, at the sensor in the middle, with the rank in the period before.",
    "ja": "センサーで受信したパケット数（中央値）の多い送信元の登録国・地域と、前の期間の順位です。"}}}';
  v_middle_top jsonb := '{"method": {"en": "By packets a day at the sensor in the middle: as many received more as received less; all traffic but that of the sensor’s own link, any IP protocol is a service. Two digits, ties by name. Only what more than half of the sensors received.",
    "ja": "1日あたりのパケット数（センサー自身のリンク内の通信を除く）について、センサーの中央値（有効数字2桁）の順に示しています。同数の場合は名前の順です。半数を超えるセンサーで観測されたもののみが対象です。"}}';
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
select t.bucket_start as week, t.item as port, t.average
from hirundo.public_top('port', %1$s, 'week', 5) t
order by 1, t.rank$q$, t.p) end,
      v_trend::jsonb || case when v_internal then '{}' else v_middle end || jsonb_build_object('title', t.title, 'lead', t.lead, 'caveat', v_caveat), 600
    from (values
      ('port_trend', v_weeks, '{"en": "Weekly packets of the top ports", "ja": "主要ポート宛パケット数の推移（週次）"}'::jsonb,
       '{"en": "The five ports that received most in this period.", "ja": "本期間にパケットの多かった5ポートについて、センサー1台・1日あたりのパケット数を週ごとに示しています。"}'::jsonb),
      ('port_trend_year', v_year, '{"en": "Weekly packets of the top ports, one year", "ja": "主要ポート宛パケット数の推移（週次・直近1年）"}',
       '{"en": "The five ports that received most in the twelve months up to the end of this period.", "ja": "本期間末までの1年間にパケットの多かった5ポートについて、センサー1台・1日あたりのパケット数を週ごとに示しています。"}')) t(id, p, title, lead)
    where upper(period) - lower(period) > interval '13 days' or t.id = 'port_trend_year';

  return query
    select t.id, 'services', 'ranking', case when v_internal then format($q$
select t.rank, t.item, round(t.share * 100, 2) as share, t.previous
from hirundo.quarter_top(%1$s, 10) t
where t.kind = '%2$s' and t.rank is not null
order by t.rank$q$, v_period, t.kind) else format($q$
with previous as materialized (select * from hirundo.public_top('%2$s', hirundo.report_previous(%1$s), null, 10))
select t.rank, t.item, t.average, case when exists (select from previous) then coalesce(p.rank::text, '-') end as previous
from hirundo.public_top('%2$s', %1$s, null, 10) t
left join previous p on p.item = t.item
order by t.rank$q$, v_period, case t.kind when 'service' then 'port' else 'country' end) end,
      t.about || case when v_internal then '{}' else v_middle_top || (v_middle_lead -> t.kind) end || jsonb_build_object(
        'columns', jsonb_set(
          case t.kind when 'service' then v_top::jsonb -> 'columns'
          else jsonb_set(v_top::jsonb -> 'columns', '{1}', '{"key": "item", "type": "country", "en": "Source country", "ja": "送信元地域"}') end,
          '{2}', case when v_internal then v_top::jsonb -> 'columns' -> 2
                 else '{"key": "average", "type": "number", "en": "Packets per sensor and day", "ja": "1日あたりのパケット数（中央値）"}'::jsonb end),
        'view', v_top::jsonb -> 'view' || jsonb_build_object('value', case when v_internal then 'share' else 'average' end)), 20
    from (values
      ('quarter_top_services', 'service', $j${
        "title": {"en": "Top services", "ja": "宛先ポート別パケット数の順位"},
        "lead": {"en": "The services that received most packets over all sensors, with their rank in the period before.", "ja": "全センサーを合計したパケット数の多い宛先ポートと、前の期間の順位です。"},
        "method": {"en": "Share of all packets but those of the sensor’s own link; any IP protocol is a service. Ranks are by packets, ties by name.", "ja": "センサー自身のリンク内の通信を除く全パケットに占める割合です。TCP、UDP以外のプロトコルも含みます。同数の場合は名前の順です。"},
        "caveat": {"en": "Sensors that joined or left change ranks, too. An item that was below the tenth place before has a dash.", "ja": "センサーの増減によっても順位は変わります。前の期間に11位以下だったものは「-」で示しています。"}
      }$j$::jsonb),
      ('quarter_top_countries', 'country', $j${
        "title": {"en": "Top source countries", "ja": "送信元地域別パケット数の順位"},
        "lead": {"en": "Where the source addresses are registered, with the rank in the period before.", "ja": "送信元IPアドレスが登録されている国・地域の順位と、前の期間の順位です。"},
        "method": {"en": "Share of all packets whose source has a known country of registration or none; by the prefix data of each day.", "ja": "各日の割り当て情報に基づき、送信元IPアドレスの登録国・地域ごとに集計した割合です。"},
        "caveat": {"en": "Where an address is registered is not where an attacker sits, and forged addresses count for whoever they belong to.", "ja": "IPアドレスの登録地域は攻撃者の所在地を示すものではありません。偽装された送信元も登録地域に計上されます。"}
      }$j$)) t(id, kind, about);

  return query select 'top_ports', 'services', case when v_internal then 'ranks' else 'ranking' end, case when v_internal then format($q$
select r.label_en, r.label_ja, r.country, t.rank, t.port, t.packets
from hirundo.top_ports(%1$s, 10) t
join hirundo.report_sensors('internal') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = t.sensor
where t.rank is not null
order by r.n, t.rank$q$, v_period) else format($q$
select t.port, t.share
from hirundo.public_top_tens(%1$s) t
order by t.share desc, t.port collate "C"$q$, v_period) end, $j${
    "lead": {"en": "Ports that nearly every sensor receives are scanned across wide parts of the Internet; one that only few receive speaks of something local to them.",
             "ja": "ほぼ全てのセンサーで観測されているポートは、広範囲のネットワークでスキャンが行われていることを示唆しています。一部のセンサーでのみ上位にあるポートは、そのネットワークに固有の動きの可能性があります。"},
    "method": {"en": "Packets to each destination port, ICMP as one; all traffic but that of the sensor’s own link. Ports with equal packets are in the order of their names.",
               "ja": "宛先ポートごとのパケット数による順位です。ICMPは1つにまとめています。センサー自身のリンク内の通信は除いています。同数の場合はポート名の順です。"},
    "view": {}
  }$j$::jsonb || (case when v_internal then $j${
    "title": {"en": "Ten most received ports at each sensor", "ja": "国内外センサーごとのパケットTOP10の比較"},
    "view": {"x": "rank", "y": ["label_en", "label_ja"], "value": "port"},
    "caveat": {"en": "A sensor that received nothing has no row: see coverage.",
               "ja": "パケットを受信していないセンサーは表に含まれません。センサーの稼働状況をあわせてご覧ください。"},
    "columns": [
      {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
      {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"},
      {"key": "country", "type": "country", "en": "Region", "ja": "地域"},
      {"key": "rank", "type": "rank", "en": "Rank", "ja": "順位"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"}]}$j$ else $j${
    "title": {"en": "Ports among the ten most received of most sensors", "ja": "多くのセンサーでパケットTOP10に入ったポート"},
    "caveat": {"en": "Of the sensors that observed half of the period; rounded down to 50, 75 or 100%. Ports that are so at half of them or fewer are left out. What each sensor received is not published: it would tell where sensors are.",
               "ja": "期間の半分以上を観測したセンサーを対象とし、50％、75％、100％に切り捨てて示しています。該当センサーが半数以下のポートは除いています。センサーごとの順位は、センサーの特定につながるため公表していません。"},
    "view": {"name": "port", "value": "share"},
    "columns": [
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "share", "type": "percent", "en": "Of the sensors, at least", "ja": "センサーの割合（以上）"}]}$j$ end)::jsonb, 4000;
end
$$;
----
comment on function hirundo.report_services(tstzrange, text) is
  'Part of hirundo.report_entries: ports and services. Example: select id, query from hirundo.report_services(hirundo.quarter(''2023Q1''), ''public'').';
