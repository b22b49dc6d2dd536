-- Figures of the report: what sent it, and what answered forged addresses. See 50_report.sql.
create or replace function hirundo.report_tools(period tstzrange, audience text)
returns table (id text, section text, chart text, query text, about jsonb, cap integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_period text := format('hirundo.period(%L)', hirundo.report_label(period));
  v_internal boolean := audience = 'internal';
begin
  -- by sensor no rollup knows tools, and a share over all sensors follows one of them
  return query select 'tools', 'tools', 'lines', format($q$
select date_trunc('week', t.day::timestamp)::date as week, t.tool, round(100.0 * sum(t.packets) / nullif(sum(t.all_packets), 0), 1) as share
from hirundo.tool_share(hirundo.whole_weeks(%1$s), null, 'port', 1) t
where t.rank is null
group by 1, 2
order by 1, t.tool collate "C"$q$, v_period), $j${
    "unit": "week",
    "title": {"en": "Tools’ shares of the packets", "ja": "スキャンツール別パケット数の割合"},
    "lead": {"en": "What packets betray of the tool that sent them: Mirai and its kin set the TCP sequence number to the address they scan, scanners such as ZMap and masscan have marks of their own.",
             "ja": "パケットの特徴から推定したツールの割合です。例えばMirai型のマルウェアは、TCPのシーケンス番号に宛先IPアドレスを用います。"},
    "method": {"en": "Versioned rules over raw header fields of each flow’s first packet; unknown: no rule fits. Without backscatter, the sensor’s own link and floods. Whole weeks alone.",
               "ja": "フローごとの先頭パケットのヘッダーに、版管理されたルールを適用しています。「不明」はどのルールにも該当しないものです。バックスキャッター、センサー自身のリンク内の通信、フラッドは除き、期間内の完全な週のみを対象としています。"},
    "caveat": {"en": "Marks can be imitated and left out: a share is what showed the mark, not proof of the tool.",
               "ja": "特徴は模倣も除去も可能です。割合は特徴が確認できたパケットのもので、ツールの使用を証明するものではありません。斜線は観測がなかった週です。"},
    "columns": [
      {"key": "week", "type": "date", "en": "Week from", "ja": "週（月曜日）"},
      {"key": "tool", "type": "tool", "en": "Tool", "ja": "ツール"},
      {"key": "share", "type": "percent", "en": "Share of packets (%)", "ja": "パケット数の割合（%）"}],
    "view": {"x": "week", "series": "tool", "y": "share"}
  }$j$::jsonb, 1000
  where v_internal;

  return query select 'backscatter', 'tools', case when v_internal then 'table' else 'ranking' end, case when v_internal then format($q$
select host(b.victim) as victim, b.country, b.asn, b.organisation, array_to_string(b.ports[1:3], ', ') as ports, b.port_count,
  b.packets, b.sensors, b.days, to_char(b.first_seen at time zone hirundo.time_zone(), 'YYYY-MM-DD HH24:MI') as first_seen,
  to_char(b.last_seen at time zone hirundo.time_zone(), 'YYYY-MM-DD HH24:MI') as last_seen
from hirundo.backscatter(%1$s, 2) b
where b.victim is not null$q$, v_period) else format($q$
select coalesce(b.country, '') as country, hirundo.public_round(count(*)) as victims
from hirundo.backscatter(%1$s, 2) b
where b.victim is not null and b.sensors >= 3
  and b.sensors * 2 > (select count(*) from hirundo.public_sensors(lower(%1$s), upper(%1$s)))
group by 1
order by 2 desc, coalesce(b.country, '') collate "C"$q$, v_period) end, $j${
    "title": {"en": "Victims of floods under forged addresses", "ja": "送信元を偽装した攻撃を受けたとみられるホスト（バックスキャッター）"},
    "method": {"en": "Answers (SYN-ACK, RST, ICMP errors, DNS answers) to packets that sensors never sent: somebody forged their addresses. At least two packets.",
               "ja": "センサーが送信していないパケットへの応答（SYN-ACK、RST、ICMPエラー、DNS応答）を集計しています。何者かがセンサーのアドレスを送信元に偽装したとみられます。2パケット以上のものが対象です。"},
    "caveat": {"en": "Sensors see only what was forged with their own addresses: far from all victims. DNS answers may also be somebody who scans from port 53.",
               "ja": "観測できるのは、センサーのアドレスに偽装された場合のみで、被害の一部です。DNS応答には、53番ポートからのスキャンが含まれる可能性があります。"}
  }$j$::jsonb || (case when v_internal then $j${
    "lead": {"en": "Who was probably attacked, most packets first.", "ja": "攻撃を受けたとみられるホストを、パケット数の多い順に示しています。"},
    "columns": [
      {"key": "victim", "type": "text", "en": "Victim", "ja": "ホスト"},
      {"key": "country", "type": "country", "en": "Registered in", "ja": "登録地域"},
      {"key": "asn", "type": "text", "en": "AS", "ja": "AS番号"},
      {"key": "organisation", "type": "text", "en": "Organisation", "ja": "組織"},
      {"key": "ports", "type": "text", "en": "Main ports", "ja": "主なポート"},
      {"key": "port_count", "type": "number", "en": "Ports", "ja": "ポート数"},
      {"key": "packets", "type": "number", "en": "Packets", "ja": "パケット数"},
      {"key": "sensors", "type": "number", "en": "Sensors", "ja": "センサー数"},
      {"key": "days", "type": "number", "en": "Days", "ja": "日数"},
      {"key": "first_seen", "type": "text", "en": "First", "ja": "最初の観測"},
      {"key": "last_seen", "type": "text", "en": "Last", "ja": "最後の観測"}],
    "view": {"rows": 20}}$j$ else $j${
    "lead": {"en": "Hosts that probably were attacked, by the country where their address is registered; those that more than half of the sensors saw, and at least three.",
             "ja": "攻撃を受けたとみられるホストの数を、登録地域別に示しています。3台以上かつ半数を超えるセンサーで観測されたものが対象です。"},
    "columns": [
      {"key": "country", "type": "country", "en": "Registered in", "ja": "登録地域"},
      {"key": "victims", "type": "number", "en": "Hosts", "ja": "ホスト数"}],
    "view": {"name": "country", "value": "victims"}}$j$ end)::jsonb, 100;
end
$$;
----
comment on function hirundo.report_tools(tstzrange, text) is
  'Part of hirundo.report_entries: tools'' shares, backscatter. Example: select id, query from hirundo.report_tools(hirundo.quarter(''2023Q1''), ''public'').';
