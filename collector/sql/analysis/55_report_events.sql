-- Figures of the report: what stood out. See 50_report.sql.
create or replace function hirundo.report_events(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_internal boolean := audience = 'internal';
begin
  return query select 'surges', 'events', 'table', case when v_internal then format($q$
select s.port, s.first_day, s.last_day, s.peak_day, s.hosts, round(s.expected, 1) as expected, round(s.ratio, 1) as ratio,
  s.sensors_rose, s.sensors_compared, round(s.largest_share * 100, 1) as largest_share, s.verdict
from hirundo.surges(%1$s) s
where s.port is not null
order by s.first_day, s.port collate "C"$q$, v_period) else format($q$
select s.port, date_trunc('week', s.first_day::timestamp)::date as first_week,
  hirundo.share_about(s.sensors_rose) as sensors_rose, hirundo.share_about(s.sensors_compared) as sensors_compared
from hirundo.surges(%1$s) s
where s.sensors_rose >= 3 and s.sensors_rose * 2 > s.sensors_compared
order by 2, s.port collate "C"$q$, v_period) end, $j${
    "title": {"en": "Ports whose sources surged", "ja": "送信元ホスト数が急増したポート"},
    "lead": {"en": "On which ports many more hosts than usual were seen, and whether most sensors saw it or only some.",
             "ja": "送信元ホスト数が通常より大きく増加したポートと、その変動が多くのセンサーに共通するものか、特定のネットワークだけのものかを示しています。"},
    "method": {"en": "Distinct sources of all sensors a day against what the 28 days before lead to expect for that weekday and the time observed; in simulations chance alone raised up to one alarm a month over all ports together. A sensor rose if its own sources did.",
               "ja": "1日あたりの送信元ホスト数（全センサー）を、直前28日間の曜日ごとの傾向と観測時間から予想される値と比較しています。シミュレーションでは、誤検知は全ポートを合わせて月に1件以下でした。"},
    "empty": {"en": "No port rose beyond what the 28 days before lead to expect, as far as days could be judged: each needs 14 observed days before it.",
              "ja": "直前28日間の傾向を超える急増は検知されませんでした。なお、判定には直前に14日以上の観測が必要です。"},
    "view": {}
  }$j$::jsonb || (case when v_internal then $j${
    "caveat": {"en": "Sources of floods are not known, so a flood is no surge here. Forged sources count as hosts.",
               "ja": "フラッドの送信元は把握できないため、ここには含まれません。偽装された送信元もホストとして数えています。"},
    "columns": [
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "first_day", "type": "date", "en": "From", "ja": "開始日"},
      {"key": "last_day", "type": "date", "en": "To", "ja": "終了日"},
      {"key": "peak_day", "type": "date", "en": "Peak", "ja": "ピーク日"},
      {"key": "hosts", "type": "number", "en": "Source hosts at the peak", "ja": "送信元ホスト数（ピーク日）"},
      {"key": "expected", "type": "number", "en": "Expected", "ja": "予想値"},
      {"key": "ratio", "type": "number", "en": "Times", "ja": "倍率"},
      {"key": "sensors_rose", "type": "number", "en": "Sensors that rose", "ja": "増加したセンサー数"},
      {"key": "sensors_compared", "type": "number", "en": "of sensors compared", "ja": "比較したセンサー数"},
      {"key": "largest_share", "type": "percent", "en": "Largest share of one sensor", "ja": "1台が占める最大の割合"},
      {"key": "verdict", "type": "scope", "en": "Scope", "ja": "変動の範囲"}]}$j$ else $j${
    "lead": {"en": "On which ports many more hosts than usual were seen at most of the sensors.",
             "ja": "半数を超えるセンサーで、送信元ホスト数が通常より大きく増加したポートです。"},
    "caveat": {"en": "Only surges that more than half of the sensors saw, and at least three, by the week they began in. Forged sources count as hosts. How large a surge was depends on every sensor, and is left to the report for internal use.",
               "ja": "3台以上かつ半数を超えるセンサーで観測された急増のみを、開始した週で示しています。偽装された送信元もホストとして数えています。急増の規模は個々のセンサーの値に左右されるため、公開用には含めていません。"},
    "empty": {"en": "No port rose at more than half of the sensors beyond what the 28 days before lead to expect, as far as days could be judged.",
              "ja": "直前28日間の傾向を超える急増は、半数を超えるセンサーでは検知されませんでした（判定できた日に限ります）。"},
    "columns": [
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "first_week", "type": "date", "en": "From week", "ja": "開始週（月曜日）"},
      {"key": "sensors_rose", "type": "about", "en": "Sensors that rose", "ja": "増加したセンサー数"},
      {"key": "sensors_compared", "type": "about", "en": "of sensors compared", "ja": "比較したセンサー数"}]}$j$ end)::jsonb, 200;
end
$$;
----
comment on function hirundo.report_events(tstzrange, text) is
  'Part of hirundo.report_entries: surges. Example: select id, query from hirundo.report_events(hirundo.quarter(''2023Q1''), ''public'').';
