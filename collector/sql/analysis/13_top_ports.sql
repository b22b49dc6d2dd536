-- Which ports receive most, at each sensor?
-- All packets but class local, flood rows included. A sensor that received nothing has no rows: see sensor_status.
create or replace function hirundo.top_ports(period tstzrange, n integer default 10)
returns table (sensor text, label_en text, label_ja text, country text, rank integer, port text, packets bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_days date[];
  v_hours timestamptz[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
  v_n int := coalesce(n, 10);
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  select c.days, c.hours, c.rest, lower(c.rest), upper(c.rest) into v_days, v_hours, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first, v_past, 'port_day', 'port_hour') c;
  return query
    with total as (
      select u.sensor_id, u.code, sum(u.n)::bigint as n
      from (
        select d.sensor_id, d.port_code as code, sum(d.packets) as n
        from hirundo.port_day d
        where d.day = any (v_days) and d.class <> 'local'
        group by 1, 2
        union all
        select h.sensor_id, h.port_code, sum(h.packets)
        from hirundo.port_hour h
        where h.hour = any (v_hours) and h.class <> 'local'
        group by 1, 2
        union all
        select t.sensor_id, t.port_code, sum(t.packets)
        from unnest(v_rest) r
        cross join lateral (
          select * from hirundo.traffic t
          where t.ts >= lower(r) and t.ts < upper(r) and t.ts >= v_rest_first and t.ts < v_rest_past and t.class <> 'local') t
        group by 1, 2) u
      group by u.sensor_id, u.code
    ), head as (
      -- with all that tie for the last place: names are made for these alone
      select k.sensor_id, k.code, k.n
      from (select t.*, rank() over (partition by t.sensor_id order by t.n desc) as r from total t) k
      where k.r <= v_n
    ), ranked as (
      select t.sensor_id, l.label, t.n,
        row_number() over (partition by t.sensor_id order by t.n desc, l.label collate "C") as r
      from head t
      cross join lateral (select hirundo.port_label(t.code) as label) l
    )
    select s.name, s.label_en, s.label_ja, s.country::text, r.r::int, r.label, r.n
    from ranked r
    join hirundo.sensor s on s.sensor_id = r.sensor_id
    where r.r <= v_n
    order by s.name collate "C", r.r;
end
$$;
----
comment on function hirundo.top_ports(tstzrange, integer) is
  'The n ports with most packets at each sensor, ICMP and ICMPv6 one row each, ties by port: sensor, label_en, label_ja, country, rank, port, packets. All traffic but class local, flood rows included. Example: select sensor, rank, port from hirundo.top_ports(hirundo.quarter(''2023Q1''), 10).';
