-- Figures of the report: how far to trust the others. See 50_report.sql.
create or replace function hirundo.report_quality(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_internal boolean := audience = 'internal';
  v_days boolean := v_internal and upper(period) - lower(period) <= interval '100 days' and (select count(*) <= 60 from hirundo.sensor);
  v_unit text := case when v_days then 'day' else 'week' end;
begin
  return query select 'coverage', 'quality', 'coverage', format($q$
select r.label_en, r.label_ja, %4$sc.bucket_start, round(c.covered * 100, 1) as covered, c.missing_hours
from hirundo.report_coverage(%1$s, '%2$s') c
join hirundo.report_sensors('%3$s') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = c.sensor
order by r.n, c.bucket_start$q$, case when v_internal then v_period else format('hirundo.whole_weeks(%s)', v_period) end, v_unit, audience,
      case when v_internal then 'r.country, ' else '' end), $j${
    "method": {"en": "Observed seconds of each day or week, from the sensors’ own records; a window without packets counts as observed. Nothing is expected of a sensor before its first window.",
               "ja": "センサー自身の記録による観測時間の割合です。パケットのなかった時間も観測時間に含みます。センサーの観測開始前は対象外です。"},
    "caveat": {"en": "Hatched: nothing or not all was observed. No figure of this report takes such time for zero.",
               "ja": "斜線は、観測が全くない、または一部欠けていることを示します。本レポートでは、観測のない時間を0件として扱うことはありません。"},
    "lead": {"en": "When each sensor watched, and when it did not.", "ja": "各センサーが観測していた期間と、停止していた期間です。"},
    "view": {"x": "bucket_start", "y": ["label_en", "label_ja"], "value": "covered"}
  }$j$::jsonb || jsonb_build_object('unit', v_unit,
      'title', '{"en": "Coverage of each sensor", "ja": "センサーの稼働状況"}'::jsonb,
      'columns', '[
      {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
      {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"}]'::jsonb
      || case when v_internal then '[{"key": "country", "type": "country", "en": "Region", "ja": "地域"}]'::jsonb else '[]' end
      || jsonb_build_array(jsonb_build_object('key', 'bucket_start', 'type', 'date',
           'en', case v_unit when 'day' then 'Day' else 'Week from' end, 'ja', case v_unit when 'day' then '日付' else '週（月曜日）' end))
      || '[
      {"key": "covered", "type": "percent", "en": "Observed", "ja": "観測率"},
      {"key": "missing_hours", "type": "number", "en": "Hours missing", "ja": "欠測時間"}]'::jsonb), 20000;

  return query select 'accounting', 'quality', 'table', case when v_internal then format($q$
select r.label_en, r.label_ja, sum(a.frames)::bigint as frames, sum(a.row_packets)::bigint as row_packets, sum(a.flood_packets)::bigint as flood_packets,
  sum(a.non_ip)::bigint as non_ip, sum(a.malformed)::bigint as malformed, sum(a.quarantined)::bigint as quarantined, sum(a.lost)::bigint as lost,
  round(sum(a.unknown_s) / 3600, 1) as unknown_hours, (sum(a.kernel_dropped) + sum(a.if_dropped))::bigint as dropped, sum(a.difference)::bigint as difference
from hirundo.accounting(%1$s) a
join hirundo.report_sensors('internal') with ordinality r(sensor, sensor_id, country, label_en, label_ja, n) on r.sensor = a.sensor
group by r.n, r.label_en, r.label_ja
order by r.n$q$, v_period) else format($q$
select a.row_share, a.flood_share, a.non_ip_share, a.malformed_share, a.quarantined_share, a.lost_share, a.difference_share
from hirundo.public_accounting(%1$s) a$q$, v_period) end, $j${
    "title": {"en": "Where every frame went", "ja": "パケットの集計内訳"},
    "lead": {"en": "Every frame a sensor captured is in exactly one of these columns; the difference is what the sum leaves unexplained, and is zero where nothing is wrong.",
             "ja": "センサーが取得した全フレームは、いずれか1つの列に計上されます。差分は合計で説明できない数で、正常であれば0です。"},
    "method": {"en": "frames = rows + floods + not IP + malformed + quarantined + lost. Lost are frames that a sensor had to give up after its spool was full, and declared.",
               "ja": "フレーム数=行+フラッド+IP以外+不正+隔離+損失。「損失」は、センサーの保存領域が一杯になり破棄したと申告された数です。"},
    "caveat": {"en": "Packets that kernel or interface dropped never became frames; unknown hours are such whose counts died with a process and are not guessed.",
               "ja": "カーネルやインターフェースで破棄されたパケットはフレーム数に含まれません。「不明」は、プロセス停止などで計数が失われた時間で、推定は行っていません。"},
    "view": {}
  }$j$::jsonb || (case when v_internal then $j${"columns": [
      {"key": "label_en", "type": "text", "lang": "en", "en": "Sensor", "ja": "センサー"},
      {"key": "label_ja", "type": "text", "lang": "ja", "en": "Sensor", "ja": "センサー"},
      {"key": "frames", "type": "number", "en": "Frames", "ja": "フレーム数"},
      {"key": "row_packets", "type": "number", "en": "In rows", "ja": "行"},
      {"key": "flood_packets", "type": "number", "en": "In floods", "ja": "フラッド"},
      {"key": "non_ip", "type": "number", "en": "Not IP", "ja": "IP以外"},
      {"key": "malformed", "type": "number", "en": "Malformed", "ja": "不正"},
      {"key": "quarantined", "type": "number", "en": "Quarantined", "ja": "隔離"},
      {"key": "lost", "type": "number", "en": "Lost", "ja": "損失"},
      {"key": "unknown_hours", "type": "number", "en": "Unknown (hours)", "ja": "不明（時間）"},
      {"key": "dropped", "type": "number", "en": "Dropped before capture", "ja": "取得前の破棄"},
      {"key": "difference", "type": "number", "en": "Difference", "ja": "差分"}]}$j$ else $j${
    "caveat": {"en": "Parts of a sensor’s frames, each of the sensor in the middle, so that they need not add up to 100%. Only where at least three sensors observed half of the period.",
               "ja": "センサーごとの割合を求め、それぞれの中央値を示しているため、合計は100％にならないことがあります。期間の半分以上を観測したセンサーが3台以上ある場合のみ示しています。"},
    "columns": [
      {"key": "row_share", "type": "percent", "en": "In rows", "ja": "行"},
      {"key": "flood_share", "type": "percent", "en": "In floods", "ja": "フラッド"},
      {"key": "non_ip_share", "type": "percent", "en": "Not IP", "ja": "IP以外"},
      {"key": "malformed_share", "type": "percent", "en": "Malformed", "ja": "不正"},
      {"key": "quarantined_share", "type": "percent", "en": "Quarantined", "ja": "隔離"},
      {"key": "lost_share", "type": "percent", "en": "Lost", "ja": "損失"},
      {"key": "difference_share", "type": "percent", "en": "Difference", "ja": "差分"}]}$j$ end)::jsonb, 1000;
end
$$;
----
comment on function hirundo.report_quality(tstzrange, text) is
  'Part of hirundo.report_entries: coverage and accounting. Example: select id, query from hirundo.report_quality(hirundo.quarter(''2023Q1''), ''public'').';
