-- A case file's documents for people: what is in them (export_case), in words as blocks (export_blocks: headings, paragraphs,
-- tables), and the blocks as a page or as plain text. Whatever came from outside is text in both.
create or replace function hirundo.export_case(head jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '16MB'
as $$
declare
  v_prefixes cidr[] := array(select jsonb_array_elements_text(head -> 'prefixes')::cidr);
  v_first timestamptz := head ->> 'first';
  v_past timestamptz := head ->> 'past';
  v_codes int[] := hirundo.case_ports(v_prefixes, v_first, v_past);
  v_summary jsonb;
  v_seen hirundo.organisation_case_row;
  v_ports jsonb;
  v_hosts jsonb;
  v_pairs bigint;
  v_missing text;
  v_inner hirundo.inetmultirange := hirundo.case_inner(head ->> 'organisation', v_prefixes);
begin
  select * into v_seen from hirundo.case_summary(head ->> 'organisation', v_prefixes, v_first, v_past);
  select l.missing into v_missing
  from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c cross join lateral hirundo.lacking(v_first, v_past, c.rest) l;
  with hit as materialized (
    select * from hirundo.source_hits(v_first, v_past, hirundo.address_ranges(v_prefixes))
  )
  select jsonb_build_object('days', count(distinct h.day), 'ports', count(distinct h.port_code), 'inner', count(distinct h.src) filter (where h.src <@ v_inner),
      'gone', (select count(*) from (select distinct d.day from hit d offset 0) x
               where hirundo.flow_is_gone(lower(hirundo.local_range(x.day, x.day + 1)), upper(hirundo.local_range(x.day, x.day + 1))))),
    (select jsonb_agg(jsonb_build_array(hirundo.port_label(p.port_code), p.hosts, p.packets) order by p.hosts desc, p.packets desc, p.port_code)
     from (select h.port_code, count(distinct h.src) as hosts, sum(h.packets) as packets from hit h where h.port_code = any (v_codes) group by 1) p)
  into v_summary, v_ports from hit h;
  select max(e.total), jsonb_agg(jsonb_build_array(e.item, e.port, coalesce(hirundo.export_time(e.first_seen), to_char(e.day, 'YYYY-MM-DD')),
                                                   hirundo.export_time(e.last_seen), e.packets, e.sensors) order by e.place)
  into v_pairs, v_hosts
  from (select c.*, count(*) over () as total, row_number() over () as place from hirundo.case_evidence(v_prefixes, v_first, v_past) c) e
  where e.place <= 200;
  return jsonb_build_object(
    'head', head,
    'summary', v_summary || jsonb_build_object('hosts', v_seen.hosts, 'packets', v_seen.packets, 'sensors', v_seen.sensors, 'regions', v_seen.regions,
      'sensor_days', round(v_seen.sensor_days, 1), 'first', hirundo.export_time(v_seen.first_seen), 'last', hirundo.export_time(v_seen.last_seen),
      'missing', v_missing, 'pairs', v_pairs),
    'ports', v_ports,
    'days', (select jsonb_agg(jsonb_build_array(d.day, d.hosts, d.packets, d.sensors, round(d.sensor_days, 1)) order by d.day)
             from hirundo.case_daily(v_prefixes, v_first, v_past, '{}') d where d.hosts > 0),
    'origin', (select jsonb_build_object('verdict', min(o.item) filter (where o.place = 1), 'reason', min(o.note) filter (where o.place = 1),
                 'regions', coalesce(jsonb_agg(jsonb_build_array(o.item, o.hosts, o.packets, o.low, o.high) order by o.place) filter (where o.place > 1), '[]'))
               from (select c.*, row_number() over () as place from hirundo.case_origin(v_prefixes, v_first, v_past) c) o),
    'tools', (select coalesce(jsonb_agg(jsonb_build_array(t.item, t.hosts, t.packets, round(t.value * 100, 1)) order by t.packets desc, t.item collate "C"), '[]')
              from hirundo.case_tools(v_prefixes, v_first, v_past) t where t.item is not null),
    'effects', (select coalesce(jsonb_agg(jsonb_build_array(e.day, e.port, e.item, e.value, e.low, e.high) order by e.place), '[]')
                from (select c.*, row_number() over () as place
                      from hirundo.case_effects((head ->> 'organisation_id')::int, v_prefixes, v_first, v_past) c) e
                where e.item in ('packets', 'hosts') and e.value is not null),
    'sources', v_hosts);
end
$$;
----
comment on function hirundo.export_case(jsonb) is
  'Part of hirundo-collector export: what the documents say: summary, ports (the ten with most source-days), days, origin, tools, effects of earlier notices, sources (the 200 hosts and ports with most packets). Example: see docs/export.md.';
----
create or replace function hirundo.export_files(lang text, csv boolean, xarf boolean)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case lang when 'ja' then
    case when csv then jsonb_build_array(
      jsonb_build_array('sources.csv', '送信元アドレスと宛先ポートの組ごとの一覧'),
      jsonb_build_array('events.csv', '観測記録（最長15分ごとの集計）')) else '[]' end
    || case when xarf then jsonb_build_array(jsonb_build_array('xarf.jsonl', 'X-ARF v4（1行が1件の報告）')) else '[]' end
    || jsonb_build_array(
      jsonb_build_array('manifest.json', '各ファイルのSHA-256'),
      jsonb_build_array('manifest.sig', 'manifest.jsonの署名（Ed25519）'),
      jsonb_build_array('operator.pub', '署名の公開鍵'))
  else
    case when csv then jsonb_build_array(
      jsonb_build_array('sources.csv', 'each source address with each destination port'),
      jsonb_build_array('events.csv', 'every observation (sums over 15 minutes at most)')) else '[]' end
    || case when xarf then jsonb_build_array(jsonb_build_array('xarf.jsonl', 'X-ARF v4, a report a line')) else '[]' end
    || jsonb_build_array(
      jsonb_build_array('manifest.json', 'SHA-256 of each file'),
      jsonb_build_array('manifest.sig', 'its signature (Ed25519)'),
      jsonb_build_array('operator.pub', 'the public key of the signature'))
  end;
end
$$;
----
comment on function hirundo.export_files(text, boolean, boolean) is
  'Part of hirundo-collector export: the files of a case and what is in them, for its documents. Example: select hirundo.export_files(''en'', true, true).';
----
create or replace function hirundo.export_marking(lang text, tlp text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return 'TLP:' || tlp || case lang when 'ja' then
    case tlp when 'CLEAR' then '（共有の制限はありません）'
             when 'GREEN' then '（コミュニティ内で共有できます。公開はできません）'
             when 'AMBER' then '（貴組織内と、知る必要のある顧客に限り共有できます）'
             when 'AMBER+STRICT' then '（貴組織内で、知る必要のある方に限り共有できます）'
             else '（受信者ご本人に限ります）' end
  else
    case tlp when 'CLEAR' then ' (may be shared freely)'
             when 'GREEN' then ' (may be shared within the community, not in public)'
             when 'AMBER' then ' (your organisation, and those of its clients who need to know)'
             when 'AMBER+STRICT' then ' (those in your organisation who need to know)'
             else ' (for its recipients alone)' end
  end;
end
$$;
----
comment on function hirundo.export_marking(text, text) is
  'Part of hirundo-collector export: a mark of the Traffic Light Protocol 2.0 with what it allows. Example: select hirundo.export_marking(''en'', ''RED'').';
----
create or replace function hirundo.export_missing_ja(missing text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v text := replace(missing, ', ', '、');
  p text[];
begin
  -- the words of hirundo.trouble_text and missing_text
  foreach p slice 1 in array array[
    ['(\d+) packets dropped', '取りこぼしたパケット\1件'], ['(\d+) frames lost', '失われたフレーム\1件'], ['(\d+) frames in quarantine', '保留中のフレーム\1件'],
    ['counts of (\d+) s unknown', '計数が不明な時間\1秒'], ['clock off by up to ([\d.]+) s', '時計のずれ（最大\1秒）'], ['data of (\d+) days? gone by retention', '保存期間を過ぎた記録\1日分']]
  loop
    v := regexp_replace(v, p[1], p[2]);
  end loop;
  return v;
end
$$;
----
comment on function hirundo.export_missing_ja(text) is
  'Part of hirundo-collector export: what hirundo.missing_text says, in Japanese. Example: select hirundo.export_missing_ja(''30 frames lost'').';
----
create or replace function hirundo.export_blocks(c jsonb, lang text, csv boolean, xarf boolean)
returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  ja boolean := lang = 'ja';
  h jsonb := c -> 'head';
  s jsonb := c -> 'summary';
  v_name text := hirundo.export_clean(h ->> 'organisation');
  v_reporter text := coalesce(hirundo.export_clean(h ->> 'reporter'), case when ja then '当方' else 'us' end);
  v_networks text := (select string_agg(p, ', ' order by n) filter (where n <= 20) || case when count(*) > 20 then ', ... (' || count(*) || ')' else '' end
                      from jsonb_array_elements_text(h -> 'prefixes') with ordinality x(p, n));
  b jsonb := '[]';
begin
  b := b || jsonb_build_array(
    jsonb_build_object('h1', case when ja then v_name || ' のネットワークを送信元とするパケットの観測結果' else 'Unsolicited packets from networks of ' || v_name end),
    jsonb_build_object('mark', hirundo.export_marking(lang, h ->> 'tlp')),
    jsonb_build_object('p', case when ja then jsonb_build_array(
        format('%sのセンサーで、貴組織のネットワークを送信元とするパケットを観測しました。', v_reporter),
        'センサーはサービスを提供しておらず、パケットに応答もしません。',
        'このようなパケットは、探索（スキャン）活動、マルウェアの感染活動、設定の誤りなどにより送信されたものと考えられます。',
        '下記のホストの状況をご確認くださいますようお願いします。')
      else jsonb_build_array(
        format('Sensors of %s received packets from addresses of your networks.', v_reporter),
        'These sensors offer no service and answer nothing: such packets come from scans, from malware that spreads, or from hosts that are set up wrongly.',
        'Please look into the hosts that are listed below.') end),
    jsonb_build_object('table', jsonb_build_object('rows', jsonb_build_array(
      jsonb_build_array(case when ja then '組織' else 'Organisation' end, v_name),
      jsonb_build_array(case when ja then 'ネットワーク' else 'Networks' end, v_networks),
      jsonb_build_array(case when ja then '期間' else 'Period' end, format(case when ja then '%s（%s から %s まで、UTC）' else '%s (%s to %s)' end, h ->> 'period', h ->> 'first', h ->> 'past')),
      jsonb_build_array(case when ja then '送信元ホスト数' else 'Source hosts' end, s ->> 'hosts'),
      jsonb_build_array(case when ja then 'パケット数' else 'Packets' end, s ->> 'packets'),
      jsonb_build_array(case when ja then '宛先ポート数' else 'Destination ports' end, s ->> 'ports'),
      jsonb_build_array(case when ja then '最初と最後' else 'First and last' end,
        coalesce(s ->> 'first', case when ja then '時刻は保存されていません' else 'times are not kept any more' end) || coalesce(case when ja then '、' else ', ' end || (s ->> 'last'), '')),
      jsonb_build_array(case when ja then '観測したセンサー' else 'Seen by' end,
        format(case when ja then '%s台（%s地域）' else '%s sensors in %s regions' end, s ->> 'sensors', s ->> 'regions')),
      jsonb_build_array(case when ja then '報告者' else 'Reported by' end,
        coalesce(hirundo.export_clean(h ->> 'reporter'), '-') || coalesce(' <' || (h ->> 'contact') || '>', '')),
      jsonb_build_array(case when ja then '作成' else 'Made' end, h ->> 'made')))),

    jsonb_build_object('h2', case when ja then '宛先ポート' else 'Destination ports' end),
    jsonb_build_object('table', jsonb_build_object(
      'columns', case when ja then '["宛先ポート", "送信元ホスト数", "パケット数"]'::jsonb else '["Port", "Source hosts", "Packets"]' end, 'rows', c -> 'ports')));
  if (s ->> 'ports')::bigint > jsonb_array_length(c -> 'ports') then
    b := b || jsonb_build_object('p', jsonb_build_array(format(case when ja then '全%s件のうち主な%s件です。' else 'The main ones: %2$s of %1$s.' end, s ->> 'ports', jsonb_array_length(c -> 'ports'))));
  end if;

  b := b || jsonb_build_array(
    jsonb_build_object('h2', case when ja then '送信元ホスト' else 'Source hosts' end),
    jsonb_build_object('p', case when ja then jsonb_build_array(
        case when (s ->> 'pairs')::bigint > jsonb_array_length(c -> 'sources')
             then format('全%s件のうちパケット数の多い%s件です。' || case when csv then '全件はsources.csvにあります。' else '' end, s ->> 'pairs', jsonb_array_length(c -> 'sources')) else '全件です。' end,
        '時刻はすべてUTCです。')
      else jsonb_build_array(
        case when (s ->> 'pairs')::bigint > jsonb_array_length(c -> 'sources')
             then format('The %2$s with most packets of %1$s' || case when csv then '; sources.csv has all.' else '.' end, s ->> 'pairs', jsonb_array_length(c -> 'sources')) else 'All of them.' end,
        'All times are UTC.') end),
    jsonb_build_object('table', jsonb_build_object(
      'columns', case when ja then '["送信元アドレス", "宛先ポート", "最初の観測", "最後の観測", "パケット数", "センサー数"]'::jsonb
                      else '["Source address", "Port", "First seen", "Last seen", "Packets", "Sensors"]' end, 'rows', c -> 'sources')),
    jsonb_build_object('h2', case when ja then '日別' else 'By day' end),
    jsonb_build_object('p', jsonb_build_array(format(case when ja then '日付の区切りは%sです。' else 'Days are of the time zone %s.' end, h ->> 'zone'))),
    jsonb_build_object('table', jsonb_build_object(
      'columns', case when ja then '["日付", "送信元ホスト数", "パケット数", "受信したセンサー数", "観測したセンサー・日"]'::jsonb
                      else '["Day", "Source hosts", "Packets", "Sensors that received", "Observed sensor-days"]' end, 'rows', c -> 'days')),

    jsonb_build_object('h2', case when ja then '送信元の真正性' else 'Are the addresses forged?' end),
    jsonb_build_object('p', case when ja then jsonb_build_array(
        case c #>> '{origin,verdict}'
          when 'consistent_with_home' then format('TTL値から見て、%sからの送信と矛盾しません。', h ->> 'home')
          when 'home_nearest' then format('TTL値から見て%sが最も近いものの、比較できる他の送信元が不足しています。', h ->> 'home')
          when 'contradicts_home' then format('TTL値から見て、%sからの送信と矛盾します。送信元アドレスが偽装されている可能性があります。', h ->> 'home')
          else 'TTL値からは判定できません。' end,
        '送信元アドレスは偽装されている可能性があり、TTL値による判定は証明ではありません。')
      else jsonb_build_array(
        case c #>> '{origin,verdict}'
          when 'consistent_with_home' then format('By their TTLs the packets are consistent with being sent from %s: %s.', h ->> 'home', c #>> '{origin,reason}')
          when 'home_nearest' then format('By their TTLs %s is nearest, but there are too few other sources to compare with: %s.', h ->> 'home', c #>> '{origin,reason}')
          when 'contradicts_home' then format('By their TTLs the packets were not sent from %s; their source addresses may be forged: %s.', h ->> 'home', c #>> '{origin,reason}')
          else format('Their TTLs do not tell: %s.', coalesce(c #>> '{origin,reason}', '-')) end,
        'A source address can be forged, and what TTLs tell is no proof.') end));
  if jsonb_array_length(c #> '{origin,regions}') > 0 then
    b := b || jsonb_build_object('table', jsonb_build_object(
      'columns', case when ja then '["センサー地域", "送信元ホスト数", "パケット数", "TTL最小", "TTL最大"]'::jsonb
                      else '["Sensor region", "Source hosts", "Packets", "Lowest TTL", "Highest TTL"]' end, 'rows', c #> '{origin,regions}'));
  end if;
  if jsonb_array_length(c -> 'tools') > 0 then
    b := b || jsonb_build_array(
      jsonb_build_object('h2', case when ja then 'ツール' else 'Tools' end),
      jsonb_build_object('p', case when ja then '["パケットの特徴から推定したものです。"]'::jsonb else '["Guessed from how the packets look."]' end),
      jsonb_build_object('table', jsonb_build_object(
        'columns', case when ja then '["ツール", "送信元ホスト数", "パケット数", "割合（%）"]'::jsonb else '["Tool", "Source hosts", "Packets", "Share (%)"]' end,
        'rows', (select jsonb_agg(jsonb_set(t, '{0}', to_jsonb(case t ->> 0 when 'unknown' then case when ja then '不明' else 'unknown' end
                                                                            when 'mirai' then case when ja then 'Mirai型' else 'Mirai type' end else t ->> 0 end)) order by n)
                 from jsonb_array_elements(c -> 'tools') with ordinality x(t, n)))));
  end if;
  if jsonb_array_length(c -> 'effects') > 0 then
    b := b || jsonb_build_array(
      jsonb_build_object('h2', case when ja then 'これまでのご連絡の後' else 'After earlier notices' end),
      jsonb_build_object('p', case when ja then '["ご連絡の後の量を前と比べた比（センサー・日あたり）と、その95%信頼区間です。"]'::jsonb
                                   else '["How much came after a notice, as a ratio to before (per sensor and day), with its 95% interval."]' end),
      jsonb_build_object('table', jsonb_build_object(
        'columns', case when ja then '["ご連絡の日", "宛先ポート", "対象", "比", "下限", "上限"]'::jsonb else '["Notice of", "Ports", "What", "Ratio", "From", "To"]' end,
        'rows', (select jsonb_agg(case when ja then jsonb_set(e, '{2}', to_jsonb(case e ->> 2 when 'hosts' then '送信元ホスト' else 'パケット' end)) else e end order by n)
                 from jsonb_array_elements(c -> 'effects') with ordinality x(e, n)))));
  end if;

  return b || jsonb_build_array(
    jsonb_build_object('h2', case when ja then 'ご留意いただきたいこと' else 'Please note' end),
    jsonb_build_object('list', (case when ja then jsonb_build_array(
        'センサーの名称は、この報告のための仮名です。センサーのアドレスは含まれていません。',
        '応答パケット（バックスキャッター）、ローカルな通信、および大量通信で送信元ごとに集計できなかったパケットは含まれていません。')
      else jsonb_build_array(
        'Sensors go by pseudonyms made for you. Their addresses are in none of these files.',
        'Not counted: answers to others (backscatter), local traffic, and packets of floods that were summed up without their sources.') end)
      || case when s ->> 'missing' is null then '[]'
              when ja then jsonb_build_array('欠けている記録: ' || hirundo.export_missing_ja(s ->> 'missing')) else jsonb_build_array('Missing: ' || (s ->> 'missing')) end
      || case when coalesce((s ->> 'inner')::bigint, 0) = 0 then '[]'
              when ja then jsonb_build_array(format('送信元のうち%sホストは、別に連絡先が登録されているより小さなプレフィックスに含まれます。', s ->> 'inner'))
              else jsonb_build_array(format('Hosts in smaller prefixes that another organisation answers for: %s. That organisation may be told on its own.', s ->> 'inner')) end
      || case when (s ->> 'gone')::int = 0 then '[]'
              when ja then jsonb_build_array(format('%s日のうち%s日については時刻と観測記録が保存されていません。', s ->> 'days', s ->> 'gone'))
              else jsonb_build_array(format('Of %s of %s days times and single observations are not kept any more.', s ->> 'gone', s ->> 'days')) end),
    jsonb_build_object('h2', case when ja then 'ファイル' else 'Files' end),
    jsonb_build_object('table', jsonb_build_object('rows', hirundo.export_files(lang, csv, xarf))),
    jsonb_build_object('p', jsonb_build_array(case when ja
      then format('署名鍵の指紋は %s です。別の手段でご確認ください。', h ->> 'operator')
      else format('The fingerprint of the signing key is %s. Have it confirmed by another way.', h ->> 'operator') end,
      case when ja then '検証方法:' else 'To verify:' end)),
    jsonb_build_object('code', 'hirundo-collector verify --fingerprint ' || (h ->> 'operator') || e' .\n'
      || 'openssl pkeyutl -verify -rawin -pubin -inkey operator.pub -in manifest.json -sigfile manifest.sig'),
    jsonb_build_object('mark', hirundo.export_marking(lang, h ->> 'tlp')));
end
$$;
----
comment on function hirundo.export_blocks(jsonb, text, boolean, boolean) is
  'Part of hirundo-collector export: a case in English (en) or Japanese (ja) as an array of blocks: h1, h2, mark, p (sentences), list, code, table (columns, rows). Example: see docs/export.md.';
----
create or replace function hirundo.export_escape(value text)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return replace(replace(replace(replace(replace(value, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
end
$$;
----
comment on function hirundo.export_escape(text) is
  'Part of hirundo-collector export: a text as HTML shows it, in elements and in attributes. Example: select hirundo.export_escape(''<b>&'') gives &lt;b&gt;&amp;.';
----
create or replace function hirundo.export_html_table(t jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_head text := (select '<thead><tr>' || string_agg('<th scope="col">' || hirundo.export_escape(x) || '</th>', '' order by n) || e'</tr></thead>\n'
                  from jsonb_array_elements_text(t -> 'columns') with ordinality c(x, n));
begin
  -- without a head a table is of names and values
  return '<div class="t" tabindex="0"><table>' || coalesce(v_head, '') || e'<tbody>\n' || coalesce((
    select string_agg('<tr>' || (
      select string_agg(case when v_head is null and k = 1 then '<th scope="row">' || hirundo.export_escape(x #>> '{}') || '</th>'
                             else case when jsonb_typeof(x) = 'number' then '<td class="n">' else '<td>' end || coalesce(hirundo.export_escape(x #>> '{}'), '') || '</td>' end, '' order by k)
      from jsonb_array_elements(r) with ordinality c(x, k)) || e'</tr>\n', '' order by n)
    from jsonb_array_elements(t -> 'rows') with ordinality d(r, n)), '') || e'</tbody></table></div>\n';
end
$$;
----
comment on function hirundo.export_html_table(jsonb) is
  'Part of hirundo-collector export: a table block as HTML. Example: select hirundo.export_html_table(''{"columns": ["a"], "rows": [[1]]}'').';
----
create or replace function hirundo.export_html(blocks jsonb, lang text)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_style text := 'body{font-family:sans-serif;line-height:1.5;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}'
    || 'table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #999;padding:.2rem .6rem;text-align:left;vertical-align:top}th{background:#eee}.n{text-align:right}.t{overflow-x:auto}th[scope=row]+td{overflow-wrap:anywhere}'
    || '.mark{font-weight:bold}pre{overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;background:#eee;padding:.6rem}@media(prefers-color-scheme:dark){body{color:#eee;background:#111}th,pre{background:#2a2a2a}}'
    || '@media print{body{margin:0;max-width:none;color:#000;background:#fff}th,pre{background:#eee}thead{display:table-header-group}tr{break-inside:avoid}}';
  v_body text := '';
  v_title text;
  k text;
  v jsonb;
begin
  for k, v in select e.key, e.value from jsonb_array_elements(blocks) with ordinality x(b, n) cross join lateral jsonb_each(b) e order by n loop
    v_title := coalesce(v_title, case when k = 'h1' then v #>> '{}' end);
    v_body := v_body || case k
      when 'mark' then '<p class="mark">' || hirundo.export_escape(v #>> '{}') || e'</p>\n'
      when 'p' then '<p>' || (select string_agg(hirundo.export_escape(x), case lang when 'ja' then '' else ' ' end order by n) from jsonb_array_elements_text(v) with ordinality y(x, n)) || e'</p>\n'
      when 'list' then e'<ul>\n' || (select string_agg('<li>' || hirundo.export_escape(x) || e'</li>\n', '' order by n) from jsonb_array_elements_text(v) with ordinality y(x, n)) || e'</ul>\n'
      when 'code' then '<pre>' || hirundo.export_escape(v #>> '{}') || e'</pre>\n'
      when 'table' then hirundo.export_html_table(v)
      else '<' || k || '>' || hirundo.export_escape(v #>> '{}') || '</' || k || e'>\n' end;
  end loop;
  return e'<!DOCTYPE html>\n<html lang="' || lang || e'">\n<head>\n<meta charset="utf-8">\n'
    || '<meta http-equiv="Content-Security-Policy" content="default-src ''none''; style-src ''sha256-' || encode(sha256(convert_to(v_style, 'UTF8')), 'base64') || e'''">\n'
    || '<meta name="viewport" content="width=device-width, initial-scale=1">' || e'\n<title>' || hirundo.export_escape(coalesce(v_title, '')) || e'</title>\n'
    || '<style>' || v_style || e'</style>\n</head>\n<body>\n' || v_body || e'</body>\n</html>\n';
end
$$;
----
comment on function hirundo.export_html(jsonb, text) is
  'Part of hirundo-collector export: blocks as a page that has no script and asks nothing of anybody. Example: select hirundo.export_html(''[{"h1": "A & B"}]'', ''en'').';
----
create or replace function hirundo.export_width(value text)
returns integer
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  -- from Hangul on, letters of East Asian scripts take two places
  return length(value) + length(regexp_replace(value, '[^\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]', '', 'g'));
end
$$;
----
comment on function hirundo.export_width(text) is
  'Part of hirundo-collector export: how many places of a terminal a text takes, about. Example: select hirundo.export_width(''期間'') gives 4.';
----
create or replace function hirundo.export_text_table(t jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_widths int[];
  v_right boolean[];
begin
  select array_agg(w.wide order by w.k), array_agg(w.number order by w.k) into v_widths, v_right
  from (select c.k, max(hirundo.export_width(coalesce(c.x #>> '{}', ''))) as wide, coalesce(bool_or(jsonb_typeof(c.x) = 'number'), false) as number
        from (select t -> 'columns' as r where t ? 'columns' union all select e from jsonb_array_elements(t -> 'rows') e) d
        cross join lateral jsonb_array_elements(d.r) with ordinality c(x, k)
        group by c.k) w;
  return coalesce((
    select string_agg(rtrim('  ' || (
        select string_agg(case when v_right[k] then repeat(' ', v_widths[k] - hirundo.export_width(y.cell)) || y.cell
                               else y.cell || repeat(' ', v_widths[k] - hirundo.export_width(y.cell)) end, '  ' order by k)
        from jsonb_array_elements(d.r) with ordinality c(x, k) cross join lateral (select coalesce(c.x #>> '{}', '') as cell) y)) || e'\n', '' order by d.n)
    from (select 0 as n, t -> 'columns' as r where t ? 'columns' union all select n, e from jsonb_array_elements(t -> 'rows') with ordinality z(e, n)) d), '');
end
$$;
----
comment on function hirundo.export_text_table(jsonb) is
  'Part of hirundo-collector export: a table block as lines of text, numbers to the right. Example: select hirundo.export_text_table(''{"columns": ["a", "b"], "rows": [["x", 1]]}'').';
----
create or replace function hirundo.export_text(blocks jsonb)
returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_body text := '';
  k text;
  v jsonb;
begin
  for k, v in select e.key, e.value from jsonb_array_elements(blocks) with ordinality x(b, n) cross join lateral jsonb_each(b) e order by n loop
    v_body := v_body || case when v_body = '' then '' else e'\n' end || case k
      when 'p' then (select string_agg(x || e'\n', '' order by n) from jsonb_array_elements_text(v) with ordinality y(x, n))
      when 'list' then (select string_agg('- ' || x || e'\n', '' order by n) from jsonb_array_elements_text(v) with ordinality y(x, n))
      when 'table' then hirundo.export_text_table(v)
      when 'mark' then (v #>> '{}') || e'\n'
      when 'code' then '    ' || replace(v #>> '{}', e'\n', e'\n    ') || e'\n'
      else (v #>> '{}') || e'\n' || repeat(case k when 'h1' then '=' else '-' end, hirundo.export_width(v #>> '{}')) || e'\n' end;
  end loop;
  return v_body;
end
$$;
----
comment on function hirundo.export_text(jsonb) is
  'Part of hirundo-collector export: blocks as plain text. Example: select hirundo.export_text(''[{"h1": "A & B"}]'').';
