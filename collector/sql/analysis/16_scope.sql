-- Is a change local or global? One sensor that is scanned must not look like the network, nor the network's figure like one sensor.
--
-- Sources are counted, not packets: a single host can send any number of these. A sensor's day has the sources of each class but
-- backscatter and local; the same source with SYNs and with other packets counts for each. A day of which a sensor observed less
-- than half is left out of its history and of the period; the rest of a day is made up for in proportion.
create or replace function hirundo.scope_base_days(days integer)
returns integer
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  -- whole weeks, so that each weekday is in it as often
  return least(greatest(28, (days + 6) / 7 * 7), 91);
end
$$;
----
comment on function hirundo.scope_base_days(integer) is
  'How many days before a period of so many days scope compares it with: as many, in whole weeks, at least four weeks and at most thirteen. Example: select hirundo.scope_base_days(3) gives 28.';
----
create or replace function hirundo.scope_days(codes integer[], firsts date[], lasts date[])
returns table (item integer, sensor_id smallint, back integer, covered_ms double precision, sources bigint, packets bigint, flood_packets bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_first date := (select min(e.f - hirundo.scope_base_days(e.l - e.f + 1)) from unnest(firsts, lasts) e(f, l));
  v_last date := (select max(l) from unnest(lasts) l);
  v_days date[];
  v_rest tstzmultirange;
  v_rest_first timestamptz;
  v_rest_past timestamptz;
begin
  select c.days, c.rest, lower(c.rest), upper(c.rest) into v_days, v_rest, v_rest_first, v_rest_past
  from hirundo.rollup_cover(v_first::timestamp at time zone v_zone, (v_last + 1)::timestamp at time zone v_zone, 'port_day') c;
  return query
    with item as materialized (
      select e.i::int as i, e.code, e.f, e.l, hirundo.scope_base_days(e.l - e.f + 1) as base,
        array(select d from unnest(v_days) d where d >= e.f - hirundo.scope_base_days(e.l - e.f + 1) and d <= e.l) as days
      from unnest(codes, firsts, lasts) with ordinality e(code, f, l, i)
    ), flowed as materialized (
      -- by itself, as flooded is: Citus sends it to the shards
      select f.port_code, f.sensor_id, (f.ts at time zone v_zone)::date as d, count(distinct (f.class, f.src)) as n, sum(f.packets) as p
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
          and f.port_code = any (codes) and f.class <> 'backscatter' and f.class <> 'local') f
      group by 1, 2, 3
    ), flooded as materialized (
      select f.port_code, f.sensor_id, (f.ts at time zone v_zone)::date as d, sum(f.packets) as p
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flood_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= v_rest_first and f.ts < v_rest_past
          and f.port_code = any (codes) and f.class <> 'backscatter') f
      group by 1, 2, 3
    ), seen as materialized (
      select e.i, x.sensor_id, x.day, sum(x.source_days)::bigint as n, sum(x.packets)::bigint as p, sum(x.flood_packets)::bigint as flood
      from item e
      cross join lateral (
        select x.sensor_id, x.day, x.source_days, x.packets, x.flood_packets
        from hirundo.port_day x
        where x.day = any (e.days) and x.port_code = e.code and x.class <> 'backscatter' and x.class <> 'local'
        offset 0) x
      group by 1, 2, 3
      union all
      select e.i, t.sensor_id, t.d, sum(t.n)::bigint, sum(t.p)::bigint, sum(t.flood)::bigint
      from (select f.port_code, f.sensor_id, f.d, f.n, f.p, 0::bigint as flood from flowed f
            union all
            select f.port_code, f.sensor_id, f.d, 0, f.p, f.p::bigint from flooded f) t
      join item e on e.code = t.port_code and t.d >= e.f - e.base and t.d <= e.l
      group by 1, 2, 3
    )
    select e.i, o.sensor_id, e.f - o.day, o.covered_ms::float8, coalesce(s.n, 0), coalesce(s.p, 0), coalesce(s.flood, 0)
    from item e
    -- a day of which retention has left a part is none
    join (select k.* from hirundo.kept_time(v_first::timestamp at time zone v_zone, (v_last + 1)::timestamp at time zone v_zone, v_rest) k
          where k.day not in (select g.day from hirundo.flow_gone_days(v_rest) g)) o on o.day >= e.f - e.base and o.day <= e.l
    left join seen s on s.i = e.i and s.sensor_id = o.sensor_id and s.day = o.day;
end
$$;
----
comment on function hirundo.scope_days(integer[], date[], date[]) is
  'Internal to scope and surges: for each item (a port code with a first and a last day) and each sensor the days it observed: back (days before the first one; 0 or less within the period), covered_ms of the day, sources, packets. Example: select * from hirundo.scope_days(hirundo.port_codes(''{22/TCP}''), ''{2023-02-08}'', ''{2023-02-08}'').';
----
drop function if exists hirundo.scope_sensors(integer[], date[], date[]);
----
create or replace function hirundo.scope_sensors(codes integer[], firsts date[], lasts date[])
returns table (item integer, sensor_id smallint, days_before double precision, days double precision, before double precision,
               expected double precision, sources double precision, packets_before double precision, packets double precision,
               p_value double precision, flood_packets bigint, total double precision, wanted double precision, phi double precision)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
set enable_mergejoin = off -- by days alone, where sensor and item belong to the key
as $$
#variable_conflict use_column
begin
  return query
    with cell as materialized (
      select d.item, d.sensor_id, d.back, d.covered_ms as ms, d.sources::float8 as n, d.packets::float8 as p, d.flood_packets as flood
      from hirundo.scope_days(codes, firsts, lasts) d
      where d.covered_ms >= 43200000
    ), comparable as (
      select c.item, c.sensor_id from cell c
      group by 1, 2 having count(*) filter (where c.back > 0) >= 14 and count(*) filter (where c.back <= 0) > 0
    ), day as materialized (
      select c.*, q.sensor_id is not null as compared
      from cell c left join comparable q on q.item = c.item and q.sensor_id = c.sensor_id
      union all
      -- and all that can be compared as if they were one
      select c.item, 0::smallint, c.back, sum(c.ms), sum(c.n), sum(c.p), sum(c.flood), true
      from cell c join comparable q on q.item = c.item and q.sensor_id = c.sensor_id
      group by c.item, c.back
    ), side as (
      select d.item, d.sensor_id, bool_and(d.compared) as compared,
        coalesce(sum(d.ms) filter (where d.back > 0), 0) / 86400000 as share_before, coalesce(sum(d.ms) filter (where d.back <= 0), 0) / 86400000 as share,
        sum(d.n) filter (where d.back > 0) as n_before, sum(d.n) filter (where d.back <= 0) as n,
        sum(d.p) filter (where d.back > 0) as p_before, sum(d.p) filter (where d.back <= 0) as p,
        coalesce(sum(d.flood), 0)::bigint as flood,
        -- what a day of the period covers: counts are compared in this exposure (sums of whole numbers, exact in any order)
        avg(d.ms) filter (where d.back <= 0) as unit, count(*) filter (where d.back <= 0) as ahead
      from day d group by 1, 2
    ), item as (
      select e.i::int as i, hirundo.scope_base_days(e.l - e.f + 1) as base from unnest(firsts, lasts) with ordinality e(f, l, i)
    ), history as (
      select s.item, s.sensor_id, s.unit, s.ahead, array_agg(d.n / d.ms * s.unit order by g) as counts
      from side s
      join item i on i.i = s.item
      cross join lateral generate_series(1, i.base) g
      left join day d on d.item = s.item and d.sensor_id = s.sensor_id and d.back = g
      where s.compared
      group by s.item, s.sensor_id, s.unit, s.ahead
    ), baseline as materialized (
      select h.item, h.sensor_id, h.unit, b.phi, b.weekday
      from history h cross join lateral hirundo.count_baseline(h.counts, h.ahead) b
    ), wanted as (
      select b.item, b.sensor_id, sum(b.weekday[(d.back % 7 + 7) % 7 + 1] * d.ms / b.unit order by d.back) as n, max(b.phi) as phi
      from baseline b
      join day d on d.item = b.item and d.sensor_id = b.sensor_id and d.back <= 0
      group by 1, 2
    )
    select s.item, s.sensor_id, s.share_before, s.share, s.n_before / nullif(s.share_before, 0), w.n / nullif(s.share, 0),
      s.n / nullif(s.share, 0), s.p_before / nullif(s.share_before, 0), s.p / nullif(s.share, 0),
      hirundo.count_tail(s.n::bigint, w.n, w.phi), s.flood, s.n, w.n, w.phi
    from side s
    left join wanted w on w.item = s.item and w.sensor_id = s.sensor_id;
end
$$;
----
comment on function hirundo.scope_sensors(integer[], date[], date[]) is
  'Internal to scope and surges: hirundo.scope_days added up by item and sensor; sensor_id 0: all that can be compared together. days_before and days observed; a day''s sources and packets before and within the period; expected sources a day and the probability of as many (null: fewer than 14 days before, or none within), total and wanted (the sources of all days, seen and expected) and phi they came from. Example: select * from hirundo.scope_sensors(hirundo.port_codes(''{22/TCP}''), ''{2023-02-08}'', ''{2023-02-08}'').';
----
create or replace function hirundo.scope_items(codes integer[], firsts date[], lasts date[])
returns table (item integer, sensor_id smallint, days_before double precision, days double precision, before double precision,
               expected double precision, sources double precision, packets_before double precision, packets double precision,
               ratio double precision, p_value double precision, rose boolean, share_of_rise double precision, sensors_rose integer,
               sensors_compared integer, sensors_left_out integer, largest_share double precision, mean_expected double precision,
               mean double precision, median_expected double precision, median double precision, verdict text, reason text, note text,
               risen boolean)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
as $$
#variable_conflict use_column
declare
  v_zone text := hirundo.time_zone();
  v_first timestamptz := (select min(f) from unnest(firsts) f)::timestamp at time zone v_zone;
  v_past timestamptz := ((select max(l) from unnest(lasts) l) + 1)::timestamp at time zone v_zone;
begin
  return query
    with seen as materialized (
      select * from hirundo.scope_sensors(codes, firsts, lasts)
    ), sized as (
      select e.*, s.name, s.country::text as country, e.sources / e.expected as ratio,
        greatest(e.sources - e.expected, 0) as rise,
        -- up by a quarter; by chance in one of twenty networks where nothing happens
        e.sources >= 1.25 * e.expected as up,
        e.sources >= 1.25 * e.expected
          and e.p_value < 0.05 / nullif(count(e.p_value) over (partition by e.item), 0) as rose
      from seen e
      join hirundo.sensor s on s.sensor_id = e.sensor_id
    ), network as materialized (
      select z.item, count(z.p_value)::int as n, (count(*) - count(z.p_value))::int as left_out,
        count(*) filter (where z.rose)::int as k, count(*) filter (where z.up)::int as up,
        count(distinct z.country) filter (where z.p_value is not null) as regions,
        count(distinct z.country) filter (where z.rose) as regions_rose,
        min(z.country) filter (where z.rose) as country,
        sum(z.rise order by z.name collate "C") as rise, max(z.rise) / nullif(sum(z.rise order by z.name collate "C"), 0) as largest,
        -- of those that rose beyond doubt: the first of them, and all
        (array_agg(z.name order by z.rise desc, z.name collate "C") filter (where z.rose))[1] as lead_name,
        max(z.rise) filter (where z.rose) / nullif(sum(z.rise order by z.name collate "C"), 0) as lead,
        sum(z.rise order by z.name collate "C") filter (where z.rose) / nullif(sum(z.rise order by z.name collate "C"), 0) as share_rose,
        sum(z.total order by z.name collate "C") filter (where not z.rose) as others,
        sum(z.wanted order by z.name collate "C") filter (where not z.rose) as others_wanted,
        avg(z.expected order by z.name collate "C") as mean_expected,
        avg(z.sources order by z.name collate "C") filter (where z.p_value is not null) as mean,
        percentile_cont(0.5) within group (order by z.expected) as median_expected,
        percentile_cont(0.5) within group (order by z.sources) filter (where z.p_value is not null) as median,
        string_agg(z.name, ', ' order by z.name collate "C") filter (where z.p_value is null) as missing,
        count(*) filter (where z.flood_packets > 0) as flooded, sum(z.flood_packets) as flood_packets
      from sized z group by z.item
    ), judged as (
      select n.*,
        case
          when n.n < 3 then 'undetermined'
          when not n.risen then 'no_rise'
          when n.lead >= 0.8 or (n.k = 1 and n.lead >= 0.5 and not n.others_rose) then 'local'
          when n.k > 1 and n.regions_rose = 1 and n.regions > 1 and n.share_rose >= 0.5 and not n.others_rose then 'regional'
          when (n.k * 2 >= n.n or (n.up * 3 >= n.n * 2 and (n.k = 0 or n.others_rose))) and n.median >= 1.25 * n.median_expected then 'global'
          when n.k = 0 then 'undetermined'
          else 'partial' end as verdict
      from (select n.*, n.k > 0 or coalesce(t.sources >= 1.25 * t.expected and t.p_value < 0.01, false) as risen,
              -- whether the rest, taken together, shows it too
              coalesce(n.others >= 1.25 * n.others_wanted and hirundo.count_tail(n.others::bigint, n.others_wanted, t.phi) < 0.01, false) as others_rose
            from network n
            left join seen t on t.item = n.item and t.sensor_id = 0) n
    ), dropped as (
      select e.i::int as item, sum(o.n)::bigint as n
      from unnest(firsts, lasts) with ordinality e(f, l, i)
      join (select o.slot, o.kernel_dropped + o.if_dropped + o.lost as n from hirundo.observation o
            where o.slot >= v_first and o.slot < v_past and o.kernel_dropped + o.if_dropped + o.lost > 0) o
        on o.slot >= e.f::timestamp at time zone v_zone and o.slot < (e.l + 1)::timestamp at time zone v_zone
      group by 1
    ), told as (
      select j.*,
        case
          when j.n < 3 then format('too few sensors: %s observed the period and 14 days or more before it', j.n)
          when j.verdict = 'no_rise' then format('none of %s sensors rose beyond what was to be expected', j.n)
          when j.verdict = 'local' and j.k = 1 then format('1 of %s sensors rose, %s, with %s%% of the rise', j.n, j.lead_name, round((j.lead * 100)::numeric))
          when j.verdict = 'local' then format('%s of %s sensors rose, but %s has %s%% of the rise', j.k, j.n, j.lead_name, round((j.lead * 100)::numeric))
          when j.verdict = 'regional' then format('%s of %s sensors rose, all of them in %s', j.k, j.n, j.country)
          when j.verdict = 'global' then format('%s of %s sensors rose, in %s of %s regions, and %s are up by a quarter or more; the largest share of one sensor is %s%%',
                                                j.k, j.n, j.regions_rose, j.regions, j.up, round((j.largest * 100)::numeric))
          when j.verdict = 'undetermined' then 'all sensors together rose, but no sensor by itself beyond doubt: too few sources at each'
          when j.k = 1 then format('1 of %s sensors rose beyond doubt, %s, with only %s%% of the rise: neither one place nor most of them', j.n, j.lead_name, round((j.lead * 100)::numeric))
          else format('%s of %s sensors rose, in %s of %s regions: neither one place nor most of them', j.k, j.n, j.regions_rose, j.regions) end
        || case when j.verdict = 'partial' and j.others_rose then '; the others rose as well, taken together' else '' end
        || case when j.n >= 3 and j.mean >= 1.25 * j.mean_expected and j.median < 1.25 * j.median_expected
                then '; the mean rose with few sensors, the median did not' else '' end as reason,
        nullif(concat_ws('; ', case when j.left_out > 0 then format('left out: %s (fewer than 14 days observed before, or none within)', j.missing) end,
          case when j.flooded > 0 then format('%s sensors had floods, %s packets whose sources are not counted', j.flooded, j.flood_packets) end,
          case when d.n > 0 then format('%s packets of all ports were dropped or lost within the period', d.n) end), '') as note
      from judged j left join dropped d on d.item = j.item
    )
    select z.item, z.sensor_id, z.days_before, z.days, z.before, z.expected, z.sources, z.packets_before, z.packets, z.ratio, z.p_value,
      z.rose, z.rise / nullif(t.rise, 0), t.k, t.n, t.left_out, t.largest, t.mean_expected, t.mean, t.median_expected, t.median,
      t.verdict, t.reason, t.note, t.risen
    from sized z join told t on t.item = z.item;
end
$$;
----
comment on function hirundo.scope_items(integer[], date[], date[]) is
  'Internal to scope and surges: scope for many items (a port code with a first and a last day) at once, and whether any sensor or all together rose (risen); nothing for an item whose days no sensor observed. Example: select * from hirundo.scope_items(hirundo.port_codes(''{22/TCP}''), ''{2023-02-08}'', ''{2023-02-08}'').';
----
-- columns are only appended, which takes a new function
drop function if exists hirundo.scope(tstzrange, text);
----
create function hirundo.scope(period tstzrange, port text)
returns table (sensor text, country text, days_before numeric, days numeric, before numeric, expected numeric, sources numeric,
               packets_before numeric, packets numeric, ratio numeric, p_value double precision, rose boolean, share_of_rise numeric,
               sensors_rose integer, sensors_compared integer, sensors_left_out integer, largest_share numeric, mean_expected numeric,
               mean numeric, median_expected numeric, median numeric, verdict text, reason text, note text, missing text,
               flood_packets bigint, flood_sources_min bigint, flood_sources_max bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_code int[] := hirundo.port_codes(array[port]);
  v_first date;
  v_last date;
  v_zone text := hirundo.time_zone();
  v_from timestamptz;
  v_begin timestamptz;
  v_past timestamptz;
  v_rest tstzmultirange;
begin
  select min(d.day), max(d.day) into v_first, v_last from hirundo.whole_days(period) d;
  v_from := (v_first - hirundo.scope_base_days(v_last - v_first + 1))::timestamp at time zone v_zone;
  v_begin := v_first::timestamp at time zone v_zone;
  v_past := (v_last + 1)::timestamp at time zone v_zone;
  select c.rest into v_rest from hirundo.rollup_cover(v_from, v_past, 'port_day') c;
  if v_first is not null and cardinality(v_code) = 1 then
    return query
      select s.name, s.country::text, round(e.days_before::numeric, 2), round(e.days::numeric, 2), round(e.before::numeric, 2),
        round(e.expected::numeric, 2), round(e.sources::numeric, 2), round(e.packets_before::numeric, 2), round(e.packets::numeric, 2),
        round(e.ratio::numeric, 2), e.p_value, e.rose, round(e.share_of_rise::numeric, 4), e.sensors_rose, e.sensors_compared, e.sensors_left_out,
        round(e.largest_share::numeric, 4), round(e.mean_expected::numeric, 2), round(e.mean::numeric, 2), round(e.median_expected::numeric, 2),
        round(e.median::numeric, 2), e.verdict, e.reason, e.note, l.missing,
        coalesce(f.n, 0), f.low, f.high
      from hirundo.scope_items(v_code, array[v_first], array[v_last]) e
      join hirundo.sensor s on s.sensor_id = e.sensor_id
      left join hirundo.compared_lacking(v_begin, v_past, v_from, v_rest, 'sensor') l on l.item = s.name
      left join (select f.sensor_id, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
                 from hirundo.floods(v_begin, v_past, v_code, true) f where f.class <> 'backscatter' group by 1) f on f.sensor_id = e.sensor_id
      order by e.share_of_rise desc nulls last, s.name collate "C";
    if found then
      return;
    end if;
  end if;
  sensors_rose := 0;
  sensors_compared := 0;
  sensors_left_out := 0;
  verdict := 'undetermined';
  reason := case when cardinality(v_code) = 0 then 'no port is asked about'
    when v_first is null then 'no whole day of the reporting time zone that has ended lies in the period'
    else 'no sensor observed half a day of the period or of the days before it' end;
  select l.missing into missing from hirundo.compared_lacking(v_begin, v_past, v_from, v_rest) l;
  return next;
end
$$;
----
comment on function hirundo.scope(tstzrange, text) is
  'Is the rise of a port local or global? One row per sensor, the last columns equal on all: sources a day (distinct within sensor, day and class; without backscatter and local) within the period against what the days before lead to expect (as many days, in whole weeks, 28 to 91), k = sensors_rose of n = sensors_compared, largest_share (of the rise, by one sensor, be it beyond doubt or not), mean and median over sensors, verdict (local, regional, partial, global, no_rise, undetermined) with its reason; note names sensors left out, missing what the sensor lacks in the period (hirundo.lacking; null: nothing), and days before it whose data are gone; flood_packets (to the port at the sensor within the period as flood rows, whose sources are not counted), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none). Only whole days count. At least one row. It compares rises alone: where sources fell, it says no_rise. Example: select sensor, expected, sources, rose, verdict, reason from hirundo.scope(hirundo.day(''2023-02-08''), ''22/TCP'').';
