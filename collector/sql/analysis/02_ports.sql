-- Ports as people write them, and the classes of traffic.
--
-- A port code is one integer for each such name: protocol * 131072 + port for TCP and UDP (65536: non-first fragment,
-- 65537: port not known), protocol * 131072 for all else. The views of 03_traffic.sql compute it in line, so that a scan
-- of many rows calls no function; tests/sql/02_ports.sql holds the views and the functions here together.
create or replace function hirundo.port_label(code integer)
returns text
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  proto int := code >> 17;
  port int := code & 131071;
  name text := case proto when 6 then 'TCP' when 17 then 'UDP' end;
begin
  if name is not null then
    return case when port < 65536 then port || '/' || name
                when port = 65536 then name || '/fragment'
                else name || '/unknown' end;
  end if;
  return case proto when 1 then 'ICMP' when 58 then 'ICMPv6' when 47 then 'GRE' else 'IP/' || proto end;
end
$$;
----
comment on function hirundo.port_label(integer) is
  'The name of a port code (hirundo.traffic.port_code). Example: select hirundo.port_label(6 * 131072 + 22) gives 22/TCP.';
----
create or replace function hirundo.port_name(proto integer, port integer, marks integer default 0)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return hirundo.port_label(
    case when proto in (6, 17)
         then proto * 131072 + coalesce(port, case when coalesce(marks, 0) & 4 <> 0 then 65536 else 65537 end)
         else proto * 131072 end);
end
$$;
----
comment on function hirundo.port_name(integer, integer, integer) is
  'A port as people write it: 22/TCP, 123/UDP, ICMP and ICMPv6 (all types), GRE, else IP/<n>; TCP/fragment for non-first fragments, TCP/unknown where the packet was cut short or a flood row folded its ports. Example: select hirundo.port_name(17, 123).';
----
create or replace function hirundo.port_codes(ports text[])
returns integer[]
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  codes int[] := '{}';
  p text;
  m text[];
  n int;
begin
  foreach p in array ports loop
    continue when p is null;
    m := regexp_match(upper(btrim(p) collate "C"), '^(?:(\d{1,5})/(TCP|UDP)|(TCP|UDP)/(FRAGMENT|UNKNOWN)|(ICMP|ICMPV6|GRE)|IP/(\d{1,3}))$');
    n := case when m is null then null
              when m[1]::int < 65536 then case m[2] when 'TCP' then 6 else 17 end * 131072 + m[1]::int
              when m[3] is not null then case m[3] when 'TCP' then 6 else 17 end * 131072
                                         + case m[4] when 'FRAGMENT' then 65536 else 65537 end
              when m[5] is not null then case m[5] when 'ICMP' then 1 when 'ICMPV6' then 58 else 47 end * 131072
              when m[6]::int < 256 and m[6]::int not in (6, 17) then m[6]::int * 131072
         end;
    if n is null then
      raise exception '% is not a port', quote_literal(p)
        using errcode = 'invalid_parameter_value',
              hint = 'Write ports as 22/TCP, 123/UDP, ICMP, ICMPv6, GRE, IP/50 or TCP/fragment; NULL for all.';
    end if;
    if n <> all (codes) then
      codes := codes || n;
    end if;
  end loop;
  return codes;
end
$$;
----
comment on function hirundo.port_codes(text[]) is
  'Port codes of ports as people write them (any letter case); NULL for NULL; an error names the element that is no port. Example: select hirundo.port_codes(''{22/TCP,icmp,GRE}'').';
----
create or replace function hirundo.traffic_class(proto integer, port integer, tcp_flags integer, marks integer, src_port integer)
returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when marks & 16 <> 0 then 'local'
    when port is null and marks & 4 <> 0 and proto in (1, 6, 17, 58) then 'fragment'
    when proto = 6 then case when tcp_flags & 18 = 18 or tcp_flags & 4 <> 0 then 'backscatter'
                             when tcp_flags & 18 = 2 then 'scan' else 'other' end
    when proto = 17 then case when src_port = 53 then 'backscatter' else 'scan' end
    when proto = 1 then case when port >> 8 in (0, 3, 4, 5, 11, 12, 14, 16, 18) then 'backscatter'
                             when port >> 8 in (8, 13, 15, 17) then 'scan' else 'other' end
    when proto = 58 then case when port >> 8 in (1, 2, 3, 4, 129) then 'backscatter'
                              when port >> 8 in (128, 139) then 'scan' else 'other' end
    else 'other' end;
end
$$;
----
comment on function hirundo.traffic_class(integer, integer, integer, integer, integer) is
  'Class of a flow row, the first that fits: local (mark 16); fragment (non-first); backscatter (TCP SYN+ACK or RST; ICMP 0, 3, 4, 5, 11, 12, 14, 16, 18; ICMPv6 1-4, 129; UDP from port 53); scan (TCP SYN without ACK; UDP; requests: ICMP 8, 13, 15, 17, ICMPv6 128, 139); other. Example: select hirundo.traffic_class(6, 22, 2, 0, 40000) gives scan.';
