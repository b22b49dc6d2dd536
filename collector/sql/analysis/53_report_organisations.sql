-- Figures of the report: organisations under watch. See 50_report.sql.
create or replace function hirundo.report_ttl(audience text, period text, sources text, ports text, out query text, out about jsonb)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_internal boolean := audience = 'internal';
  v_ports text := coalesce(', ' || ports, '');
begin
  query := case when v_internal then format($q$
with t as materialized (select * from hirundo.ttl_origin(%1$s, %2$s%3$s))
select s.region, s.ttl_min, s.ttl_max, s.ttl_median, s.sources, s.packets, t.pairs, t.median_d,
  round(t.share_positive * 100, 1) as farther, t.weak, s.all_sources, v.verdict, v.reason
from (select verdict, reason from t limit 1) v
left join hirundo.ttl_spread(%1$s, %2$s%3$s) s on true
left join t on t.region = s.region
order by s.region is distinct from hirundo.home_country(), s.region collate "C"$q$, period, sources, v_ports) else format($q$
select t.side, t.ttl_min, t.ttl_max, t.ttl_median, t.hosts as sources, t.packets
from hirundo.public_ttl(%1$s, %2$s%3$s) t
order by t.side$q$, period, sources, v_ports) end;
  about := $j${
    "lead": {"en": "A packet really sent from home crosses few routers to a sensor at home and many to sensors abroad, so its TTL is higher at home. If source addresses were forged elsewhere, home would not be nearest.",
             "ja": "送信元IPアドレスは偽装されている可能性があります。本当に国内から送信されたパケットであれば、経由するルータ数が多くなる海外のセンサーではTTL値が小さくなると考えられます。"},
    "method": {"en": "Range and median of the TTL of all packets of these sources, by the region of the sensors. The verdict compares hops source by source, with a sign test, and with other sources of the home country as controls (hirundo.ttl_origin).",
               "ja": "当該送信元からの全パケットについて、センサーの地域ごとにTTL値の範囲と中央値を示しています。判定は送信元ごとに経由ホップ数を比較し（符号検定）、国内の他の送信元（対照群）と照合したものです（hirundo.ttl_origin）。"},
    "caveat": {"en": "Consistent with being sent from home is not proof: somebody at home can forge a neighbour’s address. A weak region’s median lies inside home’s range, so by its TTLs alone it could be home.",
               "ja": "「国内からの送信と矛盾しない」は証明ではありません。国内の第三者が近隣のアドレスを偽装することは可能です。「弱い」地域は、TTL値の中央値が国内センサーの範囲に入っており、その地域のTTL値だけでは国内と区別できません。"},
    "columns": [
      {"key": "region", "type": "country", "en": "Sensor region", "ja": "センサー地域"},
      {"key": "ttl_min", "type": "number", "en": "Lowest TTL", "ja": "TTL最小"},
      {"key": "ttl_max", "type": "number", "en": "Highest TTL", "ja": "TTL最大"},
      {"key": "ttl_median", "type": "number", "en": "Median", "ja": "中央値"},
      {"key": "sources", "type": "number", "en": "Source addresses", "ja": "送信元IPアドレス数"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"},
      {"key": "pairs", "type": "number", "en": "Pairs compared", "ja": "比較した組"},
      {"key": "median_d", "type": "number", "en": "Hops farther (median)", "ja": "ホップ数の差（中央値）"},
      {"key": "farther", "type": "percent", "en": "Share farther", "ja": "国内より遠い割合"},
      {"key": "weak", "type": "yes", "en": "Weak", "ja": "弱い"},
      {"key": "all_sources", "type": "number", "en": "Source addresses, all regions", "ja": "送信元IPアドレス数（全地域）"},
      {"key": "verdict", "type": "verdict", "en": "Verdict", "ja": "判定"},
      {"key": "reason", "type": "reason", "en": "Reason", "ja": "理由"}],
    "view": {"x": "region", "low": "ttl_min", "high": "ttl_max", "middle": "ttl_median", "verdict": "verdict", "reason": "reason", "all": "all_sources"}
  }$j$::jsonb || case when v_internal then '{}' else $j${
    "method": {"en": "Least, greatest and median TTL of all packets of these sources, each of the sensor in the middle, at home and overseas. Sources and packets of the sensor in the middle, two digits.",
               "ja": "当該送信元からの全パケットについて、センサーごとのTTL値の最小・最大・中央値を求め、それぞれの中央のセンサーの値を国内・海外別に示しています。送信元数とパケット数もセンサーの中央値（有効数字2桁）です。"},
    "caveat": {"en": "Only where at least three sensors of a side, and more than half, received any. Regions and the verdict are left to the report for internal use: packets sent to a single sensor can turn them, and so find it.",
               "ja": "国内・海外それぞれ3台以上かつ半数を超えるセンサーで観測された場合のみ示しています。地域別の値と判定は、特定のセンサーに送られたパケットで変わり得るため、公開用には含めていません。"},
    "empty": {"en": "Fewer than three sensors of either side, or not more than half, received packets of these sources.",
              "ja": "国内・海外のいずれも、当該送信元からのパケットを観測したセンサーが3台未満、または半数以下です。"},
    "columns": [
      {"key": "side", "type": "side", "en": "Sensors", "ja": "センサー"},
      {"key": "ttl_min", "type": "number", "en": "Lowest TTL", "ja": "TTL最小"},
      {"key": "ttl_max", "type": "number", "en": "Highest TTL", "ja": "TTL最大"},
      {"key": "ttl_median", "type": "number", "en": "Median", "ja": "中央値"},
      {"key": "sources", "type": "number", "en": "Source addresses per sensor", "ja": "送信元IPアドレス数（センサーあたり）"},
      {"key": "packets", "type": "number", "en": "Packets per sensor", "ja": "パケット数（センサーあたり）"}],
    "view": {"x": "side", "low": "ttl_min", "high": "ttl_max", "middle": "ttl_median"}}$j$::jsonb end;
end
$$;
----
comment on function hirundo.report_ttl(text, text, text, text) is
  'Part of hirundo.report_entries: TTLs of sources, all of which are SQL. Example: select query from hirundo.report_ttl(''public'', ''hirundo.quarter(''''2023Q1'''')'', ''null'', null).';
----
create or replace function hirundo.report_organisations(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_first date := (lower(period) at time zone hirundo.time_zone())::date;
  v_last date := ((upper(period) - interval '1 microsecond') at time zone hirundo.time_zone())::date;
  v_internal boolean := audience = 'internal';
  v_sources text;
  v_weeks text := format('hirundo.whole_weeks(%s)', v_period);
  v_name jsonb;
  o record;
begin
  -- those of whom most was seen; the stamps of the rollup say so, as of the day it was made
  for o in
    -- for the public the oldest: an order by packets could be turned by sending some in another's name
    select g.organisation_id, g.name, row_number() over (order by case when v_internal then coalesce(s.n, 0) else -g.organisation_id end desc, g.name collate "C") as n
    from hirundo.organisation g
    left join (select d.organisation_id, sum(d.packets) as n from hirundo.source_day d
               where v_internal and d.organisation_id is not null and d.day >= v_first and d.day <= v_last and d.class <> 'backscatter' and d.class <> 'local'
               group by 1) s on s.organisation_id = g.organisation_id
    where exists (select from hirundo.organisation_prefix p where p.organisation_id = g.organisation_id)
    order by n limit 5
  loop
    v_sources := format('(select array_agg(p.prefix) from hirundo.organisation_prefix p where p.organisation_id = %s)', o.organisation_id);
    v_name := case when v_internal then jsonb_build_object('en', o.name, 'ja', o.name)
                   else jsonb_build_object('en', 'Organisation ' || chr(64 + o.n::int), 'ja', '組織' || chr(64 + o.n::int)) end;

    return query
      select 'ttl-' || o.n, 'organisations', 'ranges', e.query, e.about || jsonb_build_object('subject', v_name, 'title', case when v_internal then jsonb_build_object(
      'en', (v_name ->> 'en') || ': TTL by sensor region', 'ja', (v_name ->> 'ja') || '：地域毎の観測したパケットのTTL値')
    else jsonb_build_object(
      'en', (v_name ->> 'en') || ': TTL at home and overseas', 'ja', (v_name ->> 'ja') || '：国内・海外のセンサーで観測したパケットのTTL値') end), 300
      from hirundo.report_ttl(audience, v_period, v_sources, null) e;

    return query select 'hosts-' || o.n, 'organisations', 'lines', case when v_internal then format($q$
select h.day, h.port, h.hosts, h.packets, h.sensors
from hirundo.source_hosts_daily(%1$s, %2$s,
  (select coalesce(array_agg(t.port), '{}') from hirundo.source_top_ports(%1$s, %2$s, 3) t)) h
order by h.day, h.port collate "C"$q$, v_period, v_sources) else format($q$
select h.bucket_start as week, h.port, h.hosts
from hirundo.public_source_hosts(%1$s, %2$s, 'week', 3) h
order by 1, h.port collate "C"$q$, v_weeks, v_sources) end, $j${
    "method": {"en": "Distinct source addresses per day and destination port, for the three ports that most of them sent to; without backscatter (a victim’s answers are not its scans).",
               "ja": "送信元IPアドレスの数を日別・宛先ポート別に数えたもので、送信元の多い3ポートを示しています。バックスキャッター（攻撃を受けた側の応答）は除いています。"}
  }$j$::jsonb || (case when v_internal then $j${
    "unit": "day",
    "lead": {"en": "How many of its addresses sent packets each day, and where to.",
             "ja": "当該組織のアドレスのうち、パケットの送信元となったホスト数の1日ごとの推移です。"},
    "caveat": {"en": "Hosts of several days or ports do not add up to distinct hosts. Hatched: no sensor observed.",
               "ja": "日やポートをまたいで合計しても、重複のないホスト数にはなりません。斜線は観測がなかった日です。"},
    "columns": [
      {"key": "day", "type": "date", "en": "Day", "ja": "日付"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "hosts", "type": "number", "en": "Source hosts", "ja": "送信元ホスト数"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"},
      {"key": "sensors", "type": "number", "en": "Sensors", "ja": "センサー数"}],
    "view": {"x": "day", "series": "port", "y": "hosts"}}$j$ else $j${
    "unit": "week",
    "lead": {"en": "How many of its addresses sent packets to a sensor on an average day of each week, and where to.",
             "ja": "当該組織のアドレスのうち、センサー1台に1日あたりパケットを送信したホスト数を週ごとに平均したものです。"},
    "caveat": {"en": "Of the sensor in the middle, two digits; whole weeks only; ports that not more than half of the sensors received are left out. Hatched: fewer than three sensors observed half of the week.",
               "ja": "センサーの中央値を有効数字2桁で示しています。期間内の完全な週のみを示し、半数以下のセンサーでしか観測されていないポートは除いています。斜線は、週の半分以上を観測したセンサーが3台未満の週です。"},
    "columns": [
      {"key": "week", "type": "date", "en": "Week from", "ja": "週（月曜日）"},
      {"key": "port", "type": "port", "en": "Port", "ja": "ポート"},
      {"key": "hosts", "type": "number", "en": "Source hosts per day", "ja": "1日あたりの送信元ホスト数"}],
    "view": {"x": "week", "series": "port", "y": "hosts"}}$j$ end)::jsonb
    || jsonb_build_object('subject', v_name, 'title', case when v_internal then jsonb_build_object(
         'en', (v_name ->> 'en') || ': source hosts per day', 'ja', (v_name ->> 'ja') || '：送信元ホスト数の推移')
       else jsonb_build_object(
         'en', (v_name ->> 'en') || ': source hosts, by week', 'ja', (v_name ->> 'ja') || '：送信元ホスト数の推移（週別）') end), 2000;

    continue when not v_internal;
    return query select 'calendar-' || o.n, 'organisations', 'calendar', format($q$
select h.day, max(h.hosts) as hosts
from hirundo.source_hosts_daily(%1$s, %2$s,
  (select coalesce(array_agg(t.port), '{}') from hirundo.source_top_ports(%1$s, %2$s, 3) t)) h
group by h.day
order by h.day$q$, v_period, v_sources), $j${
      "lead": {"en": "The same hosts as a calendar: activity that keeps to weekends or to the ends of months may mean to avoid being watched.",
               "ja": "同じ送信元ホスト数を暦の形で示したものです。週末や月末に偏った活動は、監視の目を逃れる意図によるものとも考えられます。"},
      "method": {"en": "Of the three ports above the one with most hosts that day.", "ja": "上の3ポートのうち、その日に送信元ホスト数が最も多いポートの値です。"},
      "caveat": {"en": "Hatched: no sensor observed.", "ja": "斜線は観測がなかった日です。"},
      "columns": [
        {"key": "day", "type": "date", "en": "Day", "ja": "日付"},
        {"key": "hosts", "type": "number", "en": "Source hosts", "ja": "送信元ホスト数"}],
      "view": {"x": "day", "value": "hosts"}
    }$j$::jsonb || jsonb_build_object('subject', v_name, 'title', jsonb_build_object(
      'en', (v_name ->> 'en') || ': activity calendar', 'ja', (v_name ->> 'ja') || '：活動カレンダー')), 1000;

    return query select 'rhythm-' || o.n, 'organisations', 'table', format($q$
select a.kind, a.days, a.compared_days, round(a.hosts_per_day, 1) as hosts_per_day, round(a.ratio, 2) as ratio, round(a.p_value::numeric, 4) as p_value, a.weeks
from hirundo.activity_calendar(%1$s, %2$s) a$q$, v_period, v_sources), $j${
      "lead": {"en": "Does it keep to weekends, public holidays or the ends of months?", "ja": "週末・祝日・月末に活動が偏っているかどうかを検定したものです。"},
      "method": {"en": "Source hosts a day, by what the day is in the home country. p: an exact one-sided rotation test within weeks that such days do not have more hosts (hirundo.activity_calendar).",
                 "ja": "国内の暦による日の種別ごとに、1日あたりの送信元ホスト数を比較しています。p値は、その種別の日に送信元が多くないとする仮説に対する、週内の並べ替えによる正確片側検定です（hirundo.activity_calendar）。"},
      "caveat": {"en": "Several kinds are tested at once, and over a long period a short pattern is diluted: of one p just below 0.05 little follows.",
                 "ja": "複数の種別を同時に検定しており、期間が長いと短期間の傾向は現れにくくなります。0.05をわずかに下回るp値が1つあるだけでは、偏りがあるとは言えません。"},
      "columns": [
        {"key": "kind", "type": "daykind", "en": "Days", "ja": "日の種別"},
        {"key": "days", "type": "number", "en": "In the period", "ja": "日数"},
        {"key": "compared_days", "type": "number", "en": "Compared", "ja": "比較した日数"},
        {"key": "hosts_per_day", "type": "number", "en": "Source hosts per day", "ja": "1日あたりの送信元ホスト数"},
        {"key": "ratio", "type": "number", "en": "Against weekdays", "ja": "平日との比"},
        {"key": "p_value", "type": "number", "en": "p", "ja": "p値"},
        {"key": "weeks", "type": "number", "en": "Weeks that tell", "ja": "判定に使えた週数"}],
      "view": {}
    }$j$::jsonb || jsonb_build_object('subject', v_name, 'title', jsonb_build_object(
      'en', (v_name ->> 'en') || ': weekdays, weekends, holidays', 'ja', (v_name ->> 'ja') || '：平日・週末・祝日・月末の比較')), 20;
  end loop;
end
$$;
----
comment on function hirundo.report_organisations(tstzrange, text) is
  'Part of hirundo.report_entries: TTLs, hosts and calendar of the organisations under watch, the five of whom most was seen. public: without their names. Example: select id, query from hirundo.report_organisations(hirundo.quarter(''2023Q1''), ''public'').';
