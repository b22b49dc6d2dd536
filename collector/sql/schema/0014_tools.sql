-- Tools by versioned rules: which program sent a packet, told from what it leaves in the headers. As hirundo_owner.
--
-- A rule's predicate becomes part of a statement (hirundo.fingerprint_case), so the table takes nothing but its grammar:
-- terms joined by and/or (and binds tighter; no parentheses), each a comparison of a raw column with a number, a list of numbers,
-- another column, or (options alone) a text of TCP options; % and & with a number before the comparison. No names of
-- functions, no quotes but around options, no operators of one's own. Only hirundo_owner writes here.
create table hirundo.fingerprint (
  name text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,30}$' and name not in ('unknown', 'flood', 'all')),
  version text not null check (version ~ '^[^[:cntrl:]]{1,40}$'),
  valid_from date,
  valid_until date,
  predicate text not null,
  source text not null check (length(source) between 1 and 1000),
  min_packets integer not null default 1 check (min_packets between 1 and 1000),
  rank integer not null unique,
  primary key (name, version),
  check (valid_from < valid_until),
  constraint fingerprint_predicate_check check (
    length(predicate) <= 1000 and predicate ~ (
      '^(((proto|port|src_port|ttl|tcp_flags|marks|tcp_window|ip_id|ip_len|mss|window_scale)( (%|&) [1-9][0-9]{0,8})?'
      || ' ((=|<>|<|<=|>|>=) ([0-9]{1,9}|proto|port|src_port|ttl|tcp_flags|marks|tcp_window|ip_id|ip_len|mss|window_scale)'
      || '|in \([0-9]{1,9}(, [0-9]{1,9}){0,99}\)|is null|is not null)'
      || '|options ((=|<>) ''[a-z0-9?,]{0,200}''|is null|is not null))( (and|or) (?=[a-z])|$))+$'))
);
----
comment on table hirundo.fingerprint is
  'Versioned rules that name tools. A flow row gets the first rule, by rank, that was valid on its day (reporting time zone; null: no limit) and whose predicate holds; the name counts only where the source sent at least min_packets such packets that day, else the row stays unknown. hirundo_owner alone changes rules, and then calls hirundo.retag for the days that were rolled up before. Example: select name, version, predicate, source from hirundo.fingerprint order by rank.';
----
comment on column hirundo.fingerprint.valid_from is 'First day for which the rule is used; null: since ever';
----
comment on column hirundo.fingerprint.valid_until is 'First day for which it is not used any more; null: still used';
----
comment on column hirundo.fingerprint.predicate is 'Terms joined by and/or (and binds tighter) over proto, port, src_port, ttl, tcp_flags, marks, tcp_window, ip_id, ip_len, mss, window_scale (raw numbers of hirundo.flow and hirundo.tcp_options) and options (layout of the TCP options); the table refuses all else';
----
comment on column hirundo.fingerprint.source is 'Where it is public that the tool does so: document, file and version, URL';
----
comment on column hirundo.fingerprint.min_packets is 'Packets known to fit, of one source on one day over all sensors, before the name counts: 2 or more where a packet fits by chance. All columns but proto, port, ttl, tcp_flags and marks are of a flow''s first packet, so a rule with any of these counts one packet a row';
----
comment on column hirundo.fingerprint.rank is 'Rules are tried in this order, lowest first: the more certain before the less';
----
insert into hirundo.fingerprint (rank, name, version, valid_from, valid_until, min_packets, predicate, source) values
  (10, 'mirai', '2016', null, null, 1, 'proto = 6 and tcp_flags = 2 and marks & 1 = 1',
   'Mirai source, published 2016: mirai/bot/scanner.c sets tcph->seq = iph->daddr. https://github.com/jgamblin/Mirai-Source-Code; M. Antonakakis et al., Understanding the Mirai Botnet, USENIX Security 2017. Descendants that keep the scanner fit too'),
  (20, 'zmap', 'before 4.1', null, null, 2, 'proto in (1, 6, 17) and ip_id = 54321',
   'ZMap source up to 4.0: src/probe_modules/packet.c sets ip_id = 54321 for all probes. https://github.com/zmap/zmap; old versions go on being used, so no last day'),
  (30, 'masscan', '1', null, null, 2, 'proto = 6 and tcp_flags = 2 and marks & 2 = 2',
   'masscan source: src/templ-pkt.c sets ip_id = ip_them ^ port_them ^ seqno. https://github.com/robertdavidgraham/masscan. One packet in 65,536 fits by chance'),
  (40, 'zmap', '4.1 and later', '2024-03-21', null, 2,
   'proto = 6 and tcp_flags = 2 and tcp_window = 65535 and ttl <= 64 and mss = 1460 and window_scale = 8 and options = ''mss,nop,ws,nop,nop,sok''',
   'ZMap 4.1.0 of 2024-03-21: CHANGELOG.md (IP_ID randomized), src/probe_modules/packet.c (window 65535, Windows-style options by default), src/state.c (initial TTL 64, where Windows has 128). https://github.com/zmap/zmap. Its other option styles look like Linux and BSD and have no rule'),
  (50, 'nmap', 'SYN scan', null, null, 2, 'proto = 6 and tcp_flags = 2 and tcp_window = 1024 and mss = 1460 and options = ''mss''',
   'Nmap source: tcpip.cc sets window 1024, nmap.h gives SYN probes the option MSS 1460 alone. https://github.com/nmap/nmap. A masscan whose packets do not fit its own rule may look the same'),
  (60, 'window-5656', '1', null, null, 2, 'proto = 6 and tcp_flags = 2 and tcp_window = 5656',
   'No public source names the program: the rule describes SYNs of window 5656, which no common system sends, and says no more');
----
create table hirundo.tool_day (
  packets bigint not null,
  day date not null,
  port_code integer,
  sources integer not null,
  tool text not null,
  country text not null
);
----
create index tool_day_day on hirundo.tool_day (day, port_code);
----
comment on table hirundo.tool_day is
  'Traffic of all sensors together by day, port, tool (hirundo.fingerprint; unknown: no rule) and country of the source as known on that day (empty: not known). sources: distinct within the row; rows without a port count the sources, and packets, of all ports. Without backscatter, local traffic and flood rows. Example: select tool, sum(packets) from hirundo.tool_day where day = ''2023-02-08'' and port_code is null group by tool.';
----
create table hirundo.tool_built (
  day date primary key,
  rules text not null
);
----
comment on table hirundo.tool_built is
  'With which rules hirundo.tool_day was built: a digest of those valid on the day (hirundo.fingerprint_rules). A day built with others is read from flow where that is still there, until hirundo.retag builds it again.';
----
insert into hirundo.setting (name, value, meaning) values
  ('retention_tool_day', 'off', 'Age at which rows of hirundo.tool_day are deleted; off: never'),
  ('max_size_tool_day', 'off', 'Size of hirundo.tool_day beyond which its oldest days go; off: no limit')
on conflict (name) do nothing;
----
create type hirundo.tool_share_row as (
  day date,
  item text,
  rank integer,
  tool text,
  packets bigint,
  hosts bigint,
  all_packets bigint,
  share numeric,
  flood_packets bigint,
  sensor_days numeric
);
----
comment on type hirundo.tool_share_row is 'A row of hirundo.tool_share. Example: select day, item, share from hirundo.tool_share(hirundo.day(''2023-02-08''), null, ''port'', 5, ''mirai'').';
