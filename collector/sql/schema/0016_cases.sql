-- Backscatter by day, notices to organisations and what is asked for them. As hirundo_owner; the rules of 0003_rollups.sql hold.
--
-- The port that was attacked is the victim's: the source port of its answers, which no other rollup has.
create table hirundo.backscatter_day (
  packets bigint not null,
  bytes bigint not null,
  first_ts timestamptz not null,
  last_ts timestamptz not null,
  day date not null,
  port_code integer not null,
  sensor_id smallint not null,
  kind text not null,
  victim inet not null
);
----
comment on table hirundo.backscatter_day is
  'Flow rows of class backscatter by day, sensor, victim (their source), kind of answer and the victim''s port, with the times of the first and last packet. Without flood rows, which have no source. See hirundo.backscatter_flow.';
----
comment on column hirundo.backscatter_day.kind is 'SYN-ACK, RST, ICMP (ICMPv6 too) or UDP';
----
comment on column hirundo.backscatter_day.port_code is 'The port that answered: the source port of the flow''s first packet (hirundo.port_label names it)';
----
create index backscatter_day_day on hirundo.backscatter_day (day, victim);
----
insert into hirundo.setting (name, value, meaning) values
  ('retention_backscatter_day', 'off', 'Age at which rows of hirundo.backscatter_day are deleted; off: never'),
  ('max_size_backscatter_day', 'off', 'Size of hirundo.backscatter_day beyond which its oldest days go; off: no limit');
----
-- Days that are rolled up and whose flow is gone do not answer for it.
insert into hirundo.rollup_gone (name, before)
select 'backscatter_day', max(d.day) + 2 from hirundo.flow_dropped d having count(*) > 0
on conflict (name) do update set before = greatest(excluded.before, hirundo.rollup_gone.before);
----
-- The others get theirs: the condition is that of hirundo.flow_classed, and the codes are those of hirundo.port_label.
insert into hirundo.backscatter_day (packets, bytes, first_ts, last_ts, day, port_code, sensor_id, kind, victim)
select sum(f.packets), sum(f.bytes), min(f.ts), max(f.ts + f.duration_ms * interval '1 millisecond'), r.day,
  f.proto * 131072 + case when f.proto in (6, 17) then coalesce(f.src_port, 65537) else 0 end, f.sensor_id,
  case f.proto when 6 then case when f.tcp_flags & 4 <> 0 then 'RST' else 'SYN-ACK' end when 17 then 'UDP' else 'ICMP' end, f.src
from (select distinct d.zone from hirundo.rollup_day d) z
cross join hirundo.flow f
join hirundo.rollup_day r on r.zone = z.zone and r.day = (f.ts at time zone z.zone)::date
where f.marks & 16 = 0 and not (f.port is null and f.marks & 4 <> 0)
  and ((f.proto = 6 and (f.tcp_flags & 18 = 18 or f.tcp_flags & 4 <> 0))
       or (f.proto = 17 and f.src_port = 53)
       or (f.proto = 1 and f.port >> 8 in (0, 3, 4, 5, 11, 12, 14, 16, 18))
       or (f.proto = 58 and f.port >> 8 in (1, 2, 3, 4, 129)))
group by 5, 6, 7, 8, 9
order by 5, 9;
----
create table hirundo.notice (
  notice_id integer generated always as identity primary key,
  organisation_id integer not null references hirundo.organisation,
  sent date not null,
  ports text[],
  reference text not null default '',
  added_at timestamptz not null default now(),
  unique (organisation_id, sent, reference)
);
----
comment on table hirundo.notice is
  'Notices that were sent to organisations under watch, by hirundo-collector notice add. sent: the day in the reporting time zone; ports: what it was about, as people write them (null: all); reference: a ticket or message number. hirundo.organisation_case says whether traffic fell after it.';
----
create type hirundo.organisation_case_row as (
  section text,
  item text,
  day date,
  port text,
  first_seen timestamptz,
  last_seen timestamptz,
  hosts bigint,
  packets bigint,
  sensors bigint,
  regions bigint,
  sensor_days numeric,
  value numeric,
  low numeric,
  high numeric,
  p_value double precision,
  note text
);
----
comment on type hirundo.organisation_case_row is
  'A row of hirundo.organisation_case: section says what it is about and which columns are set. Example: see hirundo.organisation_case.';
