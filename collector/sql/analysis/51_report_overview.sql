-- Figures of the report: how much was received, at home and overseas. See 50_report.sql.
create or replace function hirundo.report_overview(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_internal boolean := audience = 'internal';
  v_months boolean := upper(period) - lower(period) > interval '58 days'
    and (v_internal or lower(period) at time zone hirundo.time_zone() = date_trunc('month', lower(period) at time zone hirundo.time_zone()));
  v_bucket text := case when v_months then 'month' when v_internal and upper(period) - lower(period) < interval '21 days' then 'day' else 'week' end;
  v_middle jsonb := '{
    "lead": {"en": "What the sensor in the middle received a day, at home and overseas, and the change on the time before.",
             "ja": "国内・海外それぞれのセンサーが1日あたりに受信したパケット数の中央値と、直前の期間からの増減です。"},
    "method": {"en": "All packets but those of the sensor’s own link (broadcast, multicast), by the days it really observed, of the sensor in the middle: as many received more as received less. Two digits.",
               "ja": "センサー自身のリンク内の通信（ブロードキャスト、マルチキャスト）を除く全パケットを実際に観測できた日数で割り、センサーの中央値を有効数字2桁で示しています。"},
    "caveat": {"en": "Only where at least three sensors observed half of the time. Middle, not mean: whatever is sent to a single sensor must not show.",
               "ja": "期間の半分以上を観測したセンサーが3台以上ある場合のみ示しています。特定のセンサーに届いたパケットが数値に表れないよう、平均値ではなく中央値を用いています。"}}';
  v_q text;
begin
  return query select 'average_change', 'overview', 'cards', case when v_internal then format($q$
select t.side, round(sum(t.packets * t.k) / nullif(sum(t.sensor_days * t.k), 0), 1) as average,
  round(sum(t.packets * (1 - t.k)) / nullif(sum(t.sensor_days * (1 - t.k)), 0), 1) as previous,
  round((sum(t.packets * t.k) / nullif(sum(t.sensor_days * t.k), 0)
    / nullif(sum(t.packets * (1 - t.k)) / nullif(sum(t.sensor_days * (1 - t.k)), 0), 0) - 1) * 100, 1) as change
from (select a.*, 1 as k from hirundo.sensor_average(%1$s, 'quarter') a
      union all
      select a.*, 0 from hirundo.sensor_average(hirundo.report_previous(%1$s), 'quarter') a) t
group by t.side
order by t.side$q$, v_period) else format($q$
select a.side, a.packets as average, b.packets as previous, round((a.packets / nullif(b.packets, 0) - 1) * 100) as change
from hirundo.public_average(%1$s) a
left join hirundo.public_average(hirundo.report_previous(%1$s)) b on b.side = a.side
where a.side <> 'all'
order by a.side$q$, v_period) end, $j${
    "title": {"en": "Packets per sensor and day", "ja": "センサー1台・1日あたりの平均パケット数"},
    "lead": {"en": "What one sensor received a day on average in this period, and the change on the period before, which was as long.",
             "ja": "本期間にセンサー1台が1日あたりに受信したパケット数の平均と、同じ長さの前の期間からの増減です。"},
    "method": {"en": "All packets but those of the sensor’s own link (broadcast, multicast), divided by the sensor-days that were really observed: an outage lowers the divisor and never looks like calm.",
               "ja": "センサー自身のリンク内の通信（ブロードキャスト、マルチキャスト）を除く全パケットを、実際に観測できた延べ日数（センサー数×日数）で割っています。停止していた時間は分母から除かれるため、停止が減少に見えることはありません。"},
    "caveat": {"en": "Where sensors joined or left between the periods, part of the change is theirs. No change is given where nothing was observed before.",
               "ja": "期間の間にセンサーの増減があった場合、変化の一部はその影響です。前の期間に観測がない場合、増減は示していません。"},
    "columns": [
      {"key": "side", "type": "side", "en": "Side", "ja": "区分"},
      {"key": "average", "type": "number", "en": "Packets per sensor and day", "ja": "平均パケット数"},
      {"key": "previous", "type": "number", "en": "Period before", "ja": "前の期間"},
      {"key": "change", "type": "change", "en": "Change", "ja": "増減"}],
    "view": {"name": "side", "value": "average", "change": "change"}
  }$j$::jsonb || case when v_internal then '{}' else v_middle end, 10;

  v_q := case when v_bucket = 'week' then format('hirundo.whole_weeks(%s)', v_period) else v_period end;
  return query select 'sensor_average', 'overview', 'bars', case when v_internal then format($q$
select b.bucket, b.side, round(b.average, 1) as average, b.change, round(b.sensor_days, 1) as sensor_days, b.packets
from (select a.*, round((a.average / nullif(lag(a.average) over (partition by a.side order by a.bucket), 0) - 1) * 100, 1) as change
      from hirundo.sensor_average(tstzrange(lower(hirundo.report_previous(%1$s)), upper(%1$s)), '%2$s') a) b
where b.bucket >= (lower(%1$s) at time zone hirundo.time_zone())::date
order by b.bucket, b.side$q$, v_q, v_bucket) else format($q$
select b.bucket_start as bucket, b.side, b.packets as average, b.change
from (select a.*, round((a.packets / nullif(lag(a.packets) over (partition by a.side order by a.bucket_start), 0) - 1) * 100) as change
      from hirundo.public_average(tstzrange(lower(hirundo.report_previous(%1$s)), upper(%1$s)), '%2$s') a) b
where b.side <> 'all' and b.bucket_start >= (lower(%1$s) at time zone hirundo.time_zone())::date
order by b.bucket_start, b.side$q$, v_q, v_bucket) end, $j${
    "lead": {"en": "Home sensors against those overseas.",
             "ja": "国内のセンサーと海外のセンサーを比較したものです。"},
    "method": {"en": "As above, for each calendar unit of the reporting time zone. The change is on the unit before.",
               "ja": "算出方法は上と同じで、集計のタイムゾーンの暦に従っています。増減は直前の月（週・日）との比較です。"},
    "caveat": {"en": "Averages hide differences between single sensors: see the ten most received ports of each.",
               "ja": "平均値のため、センサーごとの違いは表れません。センサーごとの上位10ポートもあわせてご覧ください。"},
    "view": {"x": "bucket", "series": "side", "y": "average"}
  }$j$::jsonb || case when v_internal then '{}' else v_middle end || jsonb_build_object('columns', $j$[
      {"key": "bucket", "type": "bucket", "en": "From", "ja": "期間"},
      {"key": "side", "type": "side", "en": "Side", "ja": "区分"},
      {"key": "average", "type": "number", "en": "Packets per sensor and day", "ja": "平均パケット数"},
      {"key": "change", "type": "change", "en": "Change", "ja": "増減"}]$j$::jsonb || case when v_internal then $j$[
      {"key": "sensor_days", "type": "number", "en": "Sensor-days observed", "ja": "観測延べ日数"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"}]$j$::jsonb else '[]' end,
      'unit', v_bucket, 'title', case v_bucket
      when 'month' then '{"en": "Packets per sensor and day, by month", "ja": "国内外センサーの平均パケット数の推移（月別）"}'::jsonb
      when 'week' then '{"en": "Packets per sensor and day, by week", "ja": "国内外センサーの平均パケット数の推移（週別）"}'
      else '{"en": "Packets per sensor, by day", "ja": "国内外センサーの平均パケット数の推移（日別）"}' end), 200;
end
$$;
----
comment on function hirundo.report_overview(tstzrange, text) is
  'Part of hirundo.report_entries: packets per sensor and day. Example: select id, query from hirundo.report_overview(hirundo.quarter(''2023Q1''), ''public'').';
