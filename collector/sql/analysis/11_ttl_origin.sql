-- Are packets of these sources consistent with being sent from home?
--
-- A packet really sent from home crosses few routers to a home sensor and many to sensors abroad. hops = initial TTL - TTL,
-- where the initial TTL t0 is the smallest of 32, 64, 128, 255 not below the TTL.
create or replace function hirundo.sign_test_p(positive bigint, n bigint)
returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  term float8;
  total float8 := 0;
  low bigint;
  i bigint;
  x float8;
begin
  if positive <= 0 then
    return 1;
  elsif positive > n then
    return 0;
  elsif positive * 2 <= n then
    -- the lower tail, by symmetry, is the short one
    return 1 - hirundo.sign_test_p(n - positive + 1, n);
  end if;
  -- C(n, positive) / 2^n
  low := n - positive;
  if n <= 1000 then
    term := 1;
    for i in 1..low loop
      term := term * (n - low + i) / i; -- a whole number at each step
    end loop;
    term := term * 2::float8 ^ -n;
  else
    term := -n * ln(2::float8);
    if low <= 1000 then
      for i in 1..low loop
        term := term + ln((n - low + i)::float8 / i);
      end loop;
    else
      -- Stirling's series of ln k!, its error below 1e-17 where k > 1000
      foreach i in array array[n, positive, low] loop
        x := (i + 0.5) * ln(i::float8) - i + 0.5 * ln(2 * pi()) + 1 / (12.0 * i) - 1 / (360.0 * i::float8 ^ 3);
        term := term + case when i = n then x else -x end;
      end loop;
    end if;
    if term < -650 then
      return 0; -- below 1e-280
    end if;
    term := exp(term);
  end if;
  -- positive > n / 2, so terms fall from here on
  i := positive;
  while i <= n and term > total * 1e-18 loop
    total := total + term;
    term := term * ((n - i)::float8 / (i + 1));
    i := i + 1;
  end loop;
  return least(total, 1);
end
$$;
----
comment on function hirundo.sign_test_p(bigint, bigint) is
  'One-sided sign test: the probability of at least this many of n to be positive where each is so by an even chance; exact binomial tail. Example: select hirundo.sign_test_p(9, 10) gives 0.0107421875 (11 of 1,024).';
----
-- Cells: (source, sensor, t0) with the hops of its packets. Left out: ICMP, fragments, backscatter, class local (a
-- link's own broadcasts look alike at every sensor), and cells whose median is above 40 hops.
create or replace function hirundo.ttl_cells(first timestamptz, past timestamptz, ranges hirundo.inetmultirange, codes integer[])
returns table (src inet, sensor_id smallint, t0 integer, hops integer, packets bigint, ttl_min integer, ttl_max integer)
language plpgsql stable rows 100000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
  return query
    with by_ttl as (
      select u.src, u.sensor_id, u.ttl::int as ttl,
        case when u.ttl <= 32 then 32 when u.ttl <= 64 then 64 when u.ttl <= 128 then 128 else 255 end as t0,
        sum(u.packets)::bigint as n
      from hirundo.source_ttls(ttl_cells.first, ttl_cells.past, ttl_cells.ranges, ttl_cells.codes, true) u
      group by 1, 2, 3, 4
    ), ordered as (
      -- by falling TTL, that is rising hops
      -- float8 holds whole numbers up to 2^53, and is added up much faster than numeric
      select b.*, sum(b.n::float8) over (partition by b.src, b.sensor_id, b.t0 order by b.ttl desc) as upto,
        sum(b.n::float8) over (partition by b.src, b.sensor_id, b.t0) as total
      from by_ttl b
    ), cell as (
      select o.src, o.sensor_id, o.t0, o.t0 - max(o.ttl) filter (where o.upto * 2 >= o.total) as hops,
        sum(o.n)::bigint as n, min(o.ttl) as lo, max(o.ttl) as hi
      from ordered o
      group by o.src, o.sensor_id, o.t0
    )
    select c.src, c.sensor_id, c.t0, c.hops, c.n, c.lo, c.hi
    from cell c
    where c.hops <= 40;
end
$$;
----
comment on function hirundo.ttl_cells(timestamptz, timestamptz, hirundo.inetmultirange, integer[]) is
  'What ttl_origin compares: for each source, sensor and initial TTL (t0) the packet-weighted median of hops, with packets and TTL range. NULL ranges or codes: all. Example: select * from hirundo.ttl_cells(''2023-02-08'', ''2023-02-09'', hirundo.address_ranges(''{198.18.0.0/20}''), hirundo.port_codes(''{22/TCP}'')).';
----
-- Regions against home: one object per region with its evidence, as JSON, so that one pass over flow serves verdict and rows.
create or replace function hirundo.ttl_evidence(first timestamptz, past timestamptz, ranges hirundo.inetmultirange,
                                                codes integer[], home text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
declare
  v jsonb;
begin
  with cell as materialized (
    select c.*, s.country::text as country, s.country::text = home as at_home
    from hirundo.ttl_cells(first, past, ranges, codes) c
    join hirundo.sensor s on s.sensor_id = c.sensor_id
  ), ref as materialized (
    -- percentile_disc(0.5) is the lower median
    select c.src, c.t0, percentile_disc(0.5) within group (order by c.hops) as hops
    from cell c where c.at_home group by c.src, c.t0
  ), paired as (
    select c.country, count(*) as pairs,
      percentile_disc(0.5) within group (order by c.hops - r.hops) as median_d,
      count(*) filter (where c.hops > r.hops) as positive,
      count(*) filter (where c.hops < r.hops) as negative
    from cell c join ref r on r.src = c.src and r.t0 = c.t0
    where not c.at_home
    group by c.country
  ), span as (
    select c.t0, min(c.hops) as lo, max(c.hops) as hi from cell c where c.at_home group by c.t0
  ), middle as (
    select c.country, c.t0, percentile_disc(0.5) within group (order by c.hops) as hops
    from cell c where not c.at_home group by c.country, c.t0
  ), overlap as (
    select m.country, bool_or(m.hops between p.lo and p.hi) as weak
    from middle m join span p on p.t0 = m.t0 group by m.country
  ), region as (
    select c.country, c.at_home, min(c.ttl_min) as ttl_min, max(c.ttl_max) as ttl_max, count(distinct c.src) as sources,
      sum(c.packets) as packets
    from cell c group by c.country, c.at_home
  ), t0_pairs as (
    select c.t0, count(*) as pairs
    from cell c join ref r on r.src = c.src and r.t0 = c.t0 where not c.at_home group by c.t0
  )
  select jsonb_build_object(
    'multi', (select count(*) from cell c where c.packets > 1),
    'wide', (select count(*) from cell c where c.packets > 1 and c.ttl_max - c.ttl_min > 4),
    't0', (select coalesce(jsonb_agg(jsonb_build_object('t0', t.t0, 'pairs', t.pairs)), '[]') from t0_pairs t),
    'home_hops', (select coalesce(jsonb_agg(jsonb_build_object('t0', u.t0, 'hops', u.hops)), '[]')
                  from (select r.t0, percentile_disc(0.5) within group (order by r.hops) as hops from ref r group by r.t0) u),
    'region_hops', (select coalesce(jsonb_agg(jsonb_build_object('region', m.country, 't0', m.t0, 'hops', m.hops)), '[]')
                    from middle m),
    'regions', (select coalesce(jsonb_agg(jsonb_build_object(
        'region', g.country, 'at_home', g.at_home, 'pairs', coalesce(p.pairs, 0), 'median_d', p.median_d,
        'positive', coalesce(p.positive, 0), 'negative', coalesce(p.negative, 0), 'ttl_min', g.ttl_min,
        'ttl_max', g.ttl_max, 'sources', g.sources, 'packets', g.packets, 'weak', coalesce(o.weak, false))), '[]')
      from region g
      left join paired p on p.country = g.country
      left join overlap o on o.country = g.country))
  into v;
  return v;
end
$$;
----
comment on function hirundo.ttl_evidence(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text) is
  'Internal to ttl_origin: per region the pairs of sources seen at home and there, and what their hops say. Example: select jsonb_pretty(hirundo.ttl_evidence(''2023-02-01'', ''2023-03-01'', hirundo.address_ranges(''{198.18.0.0/20}''), null, ''JP'')).';
----
-- Controls: other sources of the home country (by the prefix set of the period's last day), on any port, of these initial
-- TTLs. Many thousands, with dozens of cells each: so they get numbers, and a source, a sensor and a TTL become one integer,
-- which is grouped and sorted much faster than addresses.
create or replace function hirundo.ttl_control_cells(first timestamptz, past timestamptz, ranges hirundo.inetmultirange, without inet[],
                                                     home text, t0s integer[])
returns table (source bigint, sensor_id smallint, t0 integer, hops integer)
language plpgsql stable rows 100000
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '128MB'
as $$
#variable_conflict use_column
declare
  v_first timestamptz := first;
  v_past timestamptz := past;
  v_months date[];
  v_days date[];
  v_rest tstzmultirange;
  v_ranges hirundo.inetmultirange := ranges;
  v_lo inet := lower(ranges);
  v_hi inet := upper(ranges);
  v_without inet[] := without;
  v_country text := home;
  v_t0s int[] := t0s;
  v_last date := (case when isfinite(past) then past - interval '1 microsecond' else now() end at time zone hirundo.time_zone())::date;
  v_bits int := (select (coalesce(max(s.sensor_id), 1) + 7) / 8 * 8 from hirundo.sensor s);
  v_home bit varying;
begin
  select c.months, c.days, c.rest into v_months, v_days, v_rest
  from hirundo.rollup_cover(v_first, v_past, 'source_port_day,source_day', null, 'source_month,source_ttl_month') c;
  if exists (select from hirundo.rollup_day d
             where d.day = any (v_days || hirundo.month_days(v_months)) and d.prefix_set is distinct from hirundo.prefix_set_for(v_last)) then
    -- the stamps do not say what the ranges say: address by address
    return query
      with cell as materialized (
        select * from hirundo.ttl_cells(v_first, v_past, v_ranges, null) c where c.t0 = any (v_t0s) and c.src <> all (v_without)
      ), number as materialized (
        select e.src, row_number() over () as n from (select distinct c.src from cell c) e
      )
      select n.n, c.sensor_id, c.t0, c.hops from cell c join number n on n.src = c.src;
    return;
  end if;
  select string_agg(case when s.country::text = v_country then '1' else '0' end, '' order by g)::bit varying into v_home
  from generate_series(1, v_bits) g left join hirundo.sensor s on s.sensor_id = g;
  return query
    with stamped as materialized (
      select m.month as at, m.src, m.sensors from hirundo.source_month m
      where m.country = v_country and m.month = any (v_months) and m.class <> 'backscatter' and m.class <> 'local' and m.src <@ v_ranges
      union all
      select d.day, d.src, d.sensors from hirundo.source_day d
      where d.country = v_country and d.day = any (v_days) and d.class <> 'backscatter' and d.class <> 'local' and d.src <@ v_ranges
    ), late as materialized (
      select f.src, f.sensor_id, f.ttl, sum(f.packets)::float8 as n
      from unnest(v_rest) r
      cross join lateral (
        select * from hirundo.flow_classed f
        where f.ts >= lower(r) and f.ts < upper(r) and f.ts >= lower(v_rest) and f.ts < upper(v_rest)
          and f.src >= v_lo and f.src <= v_hi and f.src <@ v_ranges
          and f.proto <> 1 and f.proto <> 58 and f.marks & 4 = 0 and f.class <> 'backscatter' and f.class <> 'local') f
      group by 1, 2, 3
    ), at_home as materialized (
      -- what no sensor at home received makes no pair
      select h.src, row_number() over () << 24 as number
      from (select s.src from stamped s
            -- bits were fewer when there were fewer sensors
            where bit_count(substring(s.sensors from 1 for v_bits) & substring(v_home from 1 for length(s.sensors))) > 0
            union
            select l.src from late l join hirundo.sensor s on s.sensor_id = l.sensor_id where s.country::text = v_country) h
      where h.src <> all (v_without)
    ), wanted as materialized (
      select distinct s.at, s.src, h.number from stamped s join at_home h on h.src = s.src order by s.at, s.src
    ), by_ttl as (
      -- key: number of the source, 16 bits of the sensor, 8 of the TTL
      select u.key, sum(u.n) as n
      from (select w.number | (x.sensor_id::bigint << 8) | x.ttl as key, x.packets::float8 as n
            from wanted w
            cross join lateral (
              select * from hirundo.source_ttl_month x where x.month = w.at and x.src = w.src offset 0) x
            where w.at = any (v_months)
            union all
            select w.number | (x.sensor_id::bigint << 8) | x.ttl, x.packets::float8
            from wanted w
            cross join lateral (
              select * from hirundo.source_port_day x
              where x.day = w.at and x.src = w.src and x.port_code >> 17 <> 1 and x.port_code >> 17 <> 58 and not x.fragment
                and x.class <> 'backscatter' and x.class <> 'local'
              offset 0) x
            where w.at = any (v_days)
            union all
            select h.number | (l.sensor_id::bigint << 8) | l.ttl, l.n from late l join at_home h on h.src = l.src) u
      where case when u.key & 255 <= 32 then 32 when u.key & 255 <= 64 then 64 when u.key & 255 <= 128 then 128 else 255 end = any (v_t0s)
      group by u.key
    ), place as materialized (
      -- cell: key with the initial TTL for the TTL
      select b.key & -256 | case when b.key & 255 <= 32 then 32 when b.key & 255 <= 64 then 64 when b.key & 255 <= 128 then 128 else 255 end as cell,
        b.key & 255 as ttl, b.n
      from by_ttl b
    ), span as materialized (
      select p.cell, min(p.ttl) as lo, max(p.ttl) as hi from place p group by p.cell
    ), ordered as (
      -- most cells have one TTL; those that have several, by falling TTL, that is rising hops
      -- float8 holds whole numbers up to 2^53, and is added up much faster than numeric
      select p.cell, p.ttl, sum(p.n) over (partition by p.cell order by p.ttl desc) as upto, sum(p.n) over (partition by p.cell) as total
      from place p join span s on s.cell = p.cell where s.lo <> s.hi
    ), median as (
      select s.cell, s.lo as ttl from span s where s.lo = s.hi
      union all
      select o.cell, max(o.ttl) filter (where o.upto * 2 >= o.total) from ordered o group by o.cell
    )
    select m.cell >> 24, (m.cell >> 8 & 65535)::smallint, (m.cell & 255)::int, ((m.cell & 255) - m.ttl)::int
    from median m
    where (m.cell & 255) - m.ttl <= 40;
end
$$;
----
comment on function hirundo.ttl_control_cells(timestamptz, timestamptz, hirundo.inetmultirange, inet[], text, integer[]) is
  'Internal to ttl_controls: hirundo.ttl_cells of initial TTLs, on any port, of sources in these ranges, which are part of hirundo.country_ranges of a country, but without those of an array; of those that a sensor of the country received all, of others some or none. Sources are numbered. Example: select * from hirundo.ttl_control_cells(''2023-02-08'', ''2023-02-09'', hirundo.address_ranges(''{198.18.0.0/20}''), ''{}'', ''JP'', ''{64,255}'').';
----
create or replace function hirundo.ttl_controls(first timestamptz, past timestamptz, ranges hirundo.inetmultirange,
                                                codes integer[], home text, t0s integer[])
returns table (t0 integer, region text, sources bigint, median_hops integer, p95_hops integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
set plan_cache_mode = force_custom_plan
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
  v_home text := home;
  v_first timestamptz := first;
  v_past timestamptz := past;
  v_ranges hirundo.inetmultirange := ranges;
  v_codes int[] := codes;
  v_t0s int[] := t0s;
  v_last date := (case when isfinite(v_past) then v_past - interval '1 microsecond' else now() end
                  at time zone hirundo.time_zone())::date;
  v_country hirundo.inetmultirange := hirundo.country_ranges(v_home, v_last);
  v_without inet[] := '{}';
begin
  -- other than the sources asked about; where all were, than those that sent to the ports
  if v_ranges is not null then
    v_country := v_country - v_ranges;
  elsif v_codes is null then
    return;
  else
    v_without := array(select distinct e.src from hirundo.ttl_cells(v_first, v_past, null, v_codes) e where e.src <@ v_country);
  end if;
  if isempty(v_country) then
    return;
  end if;
  return query
    with cell as materialized (
      select c.source, c.t0, c.hops, s.country::text as country
      from hirundo.ttl_control_cells(v_first, v_past, v_country, v_without, v_home, v_t0s) c
      join hirundo.sensor s on s.sensor_id = c.sensor_id
    ), ref as materialized (
      select c.source, c.t0, percentile_disc(0.5) within group (order by c.hops) as hops
      from cell c where c.country = v_home group by c.source, c.t0
    ), away as (
      -- few numbers of hops: percentile_disc(0.5) of how many have each
      select c.t0, c.country, c.hops, sum(count(*)) over (partition by c.t0, c.country order by c.hops) as upto,
        sum(count(*)) over (partition by c.t0, c.country) as total
      from cell c join ref r on r.source = c.source and r.t0 = c.t0
      where c.country <> v_home
      group by c.t0, c.country, c.hops
    )
    select r.t0, v_home, count(*), percentile_disc(0.5) within group (order by r.hops),
      percentile_disc(0.95) within group (order by r.hops)
    from ref r group by r.t0
    union all
    select a.t0, a.country, null, min(a.hops) filter (where a.upto * 2 >= a.total), null from away a group by a.t0, a.country;
end
$$;
----
comment on function hirundo.ttl_controls(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text, integer[]) is
  'Internal to ttl_origin: other sources of the home country that were seen at home, of these initial TTLs, by initial TTL and region: their median hops, and at home how many they are and the 95th percentile. Example: select * from hirundo.ttl_controls(''2023-02-01'', ''2023-03-01'', hirundo.address_ranges(''{198.18.0.0/20}''), null, ''JP'', ''{64,255}'').';
----
-- Step 3 of the verdict: home is nearest; are the sources like others of the home country?
-- Compared by initial TTL, for each that holds a fifth of the pairs. 'alike', 'unlike', or why it cannot be told.
create or replace function hirundo.ttl_compare(evidence jsonb, judged text[], first timestamptz, past timestamptz,
                                               ranges hirundo.inetmultirange, codes integer[], home text,
                                               out result text, out controls bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_home text := home;
  v_t0s int[];
begin
  select coalesce(array_agg(t.t0), '{}') into v_t0s
  from jsonb_to_recordset(evidence -> 't0') t(t0 int, pairs bigint)
  where t.pairs * 5 >= (select sum(u.pairs) from jsonb_to_recordset(evidence -> 't0') u(t0 int, pairs bigint));
  with control as materialized (
    select * from hirundo.ttl_controls(first, past, ranges, codes, home, v_t0s)
  ), verdict as (
    select m.t0, coalesce(c.sources, 0) as controls, h.hops <= c.p95_hops as home_alike, r.compared, r.near
    from unnest(v_t0s) m(t0)
    join jsonb_to_recordset(evidence -> 'home_hops') h(t0 int, hops int) on h.t0 = m.t0
    left join control c on c.t0 = m.t0 and c.region = v_home
    cross join lateral (
      select count(*) as compared, count(*) filter (where abs(e.hops - k.median_hops) <= 2) as near
      from jsonb_to_recordset(evidence -> 'region_hops') e(region text, t0 int, hops int)
      join control k on k.t0 = e.t0 and k.region = e.region
      where e.t0 = m.t0 and e.region = any (judged)
    ) r
  )
  select min(v.controls),
    case when bool_or(v.controls >= 20 and v.compared >= 3 and (not v.home_alike or v.near * 3 < v.compared * 2)) then 'unlike'
         when bool_or(v.controls < 20) then 'few'
         when bool_or(v.compared < 3) then 'apart'
         else 'alike' end
  into controls, result
  from verdict v;
end
$$;
----
comment on function hirundo.ttl_compare(jsonb, text[], timestamptz, timestamptz, hirundo.inetmultirange, integer[], text) is
  'Internal to ttl_origin: whether the evidence is like the controls: alike, unlike, few (fewer than 20 controls) or apart (controls seen in fewer than 3 of the regions). Example: see hirundo.ttl_origin.';
----
create or replace function hirundo.ttl_origin(period tstzrange, sources cidr[] default null, ports text[] default null,
                                              home text default null)
returns setof hirundo.ttl_origin_row
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v_first timestamptz;
  v_past timestamptz;
  v_ranges hirundo.inetmultirange := hirundo.address_ranges(sources);
  v_codes int[] := hirundo.port_codes(ports);
  v_home text := coalesce(nullif(upper(btrim(home) collate "C"), ''), hirundo.home_country());
  v jsonb;
  judged text[];
  farther text[];
  nearer text[];
  j int;
  v_verdict text := 'undetermined';
  v_reason text;
  controls record;
  v_rest tstzmultirange;
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  v := hirundo.ttl_evidence(v_first, v_past, v_ranges, v_codes, coalesce(v_home, ''));
  select coalesce(array_agg(r.region order by r.region collate "C"), '{}'),
    coalesce(array_agg(r.region order by r.region collate "C") filter (
      where r.median_d >= 1 and hirundo.sign_test_p(r.positive, r.positive + r.negative) < 0.01), '{}'),
    coalesce(array_agg(r.region order by r.region collate "C") filter (
      where r.median_d <= -1 and hirundo.sign_test_p(r.negative, r.positive + r.negative) < 0.01), '{}')
  into judged, farther, nearer
  from jsonb_to_recordset(v -> 'regions') r(region text, at_home bool, pairs bigint, median_d int, positive bigint, negative bigint)
  where not r.at_home and r.pairs >= 10;
  j := cardinality(judged);

  if v_home is null then
    v_reason := 'no home sensor: no home country is set or given';
  elsif not exists (select from hirundo.sensor s where s.country::text = v_home) then
    v_reason := format('no home sensor: none stands in %s', v_home);
  elsif v -> 'regions' = '[]' then
    v_reason := 'no packets that count from these sources on these ports in this period';
  elsif j < 3 then
    v_reason := format('too few regions: only %s away with 10 pairs, each a source also seen at home and a sensor there (3 needed)', j);
  elsif (v ->> 'wide')::bigint * 5 > (v ->> 'multi')::bigint then
    v_reason := format('randomised TTLs: %s of %s cells of several packets spread by more than 4 hops', v ->> 'wide', v ->> 'multi');
  elsif cardinality(nearer) >= 2 and cardinality(nearer) * 5 >= j then
    v_verdict := 'contradicts_home';
    v_reason := format('%s of %s regions are nearer to the sources than %s is: %s', cardinality(nearer), j, v_home,
                       array_to_string(nearer, ', '));
  elsif cardinality(nearer) > 0 then
    v_reason := 'closer: ' || array_to_string(nearer, ', ');
  elsif cardinality(farther) >= 3 and cardinality(farther) * 5 >= j * 3 then
    select * into controls from hirundo.ttl_compare(v, judged, v_first, v_past, v_ranges, v_codes, v_home);
    v_reason := format('%s of %s regions are farther from the sources than %s is, none nearer', cardinality(farther), j, v_home);
    if controls.result = 'alike' then
      v_verdict := 'consistent_with_home';
      v_reason := v_reason || format('; like %s other sources of %s', controls.controls, v_home);
    elsif controls.result = 'unlike' then
      v_reason := format('unlike other sources of %s', v_home);
    else
      v_verdict := 'home_nearest';
      v_reason := v_reason || case when controls.result = 'few'
        then format('; too few controls: %s other sources of %s (20 needed), so a foreign origin near %s looks the same',
                    controls.controls, v_home, v_home)
        else format('; too few controls: those of %s were seen in fewer than 3 of the regions', v_home) end;
    end if;
  else
    v_reason := format('home is not clearly nearest: %s of %s regions are farther (at least 3 and 60%% needed)',
                       cardinality(farther), j);
  end if;

  select c.rest into v_rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day') c;
  if v -> 'regions' = '[]' then
    return query select null::text, 0::bigint, null::int, null::numeric, null::float8, null::int, null::int, 0::bigint, 0::bigint,
                        false, v_verdict, v_reason, l.missing, coalesce(f.n, 0), f.low, f.high, o.days
                 from hirundo.lacking(v_first, v_past, v_rest) l
                 cross join hirundo.kept_days(v_first, v_past, v_rest) o
                 cross join (select sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
                             from hirundo.floods(v_first, v_past, v_codes) f
                             where f.class <> 'backscatter' and f.port_code >> 17 <> 1 and f.port_code >> 17 <> 58) f;
    return;
  end if;
  return query
    select r.region, r.pairs, r.median_d, round(r.positive::numeric / nullif(r.pairs, 0), 4),
      case when r.pairs > 0 then hirundo.sign_test_p(r.positive, r.positive + r.negative) end,
      r.ttl_min, r.ttl_max, r.sources, r.packets, r.weak, v_verdict, v_reason, l.missing, coalesce(f.n, 0), f.low, f.high, o.days
    from jsonb_to_recordset(v -> 'regions') r(region text, at_home bool, pairs bigint, median_d int, positive bigint,
      negative bigint, ttl_min int, ttl_max int, sources bigint, packets bigint, weak bool)
    left join hirundo.lacking(v_first, v_past, v_rest, 'region') l on l.item = r.region
    left join hirundo.kept_days(v_first, v_past, v_rest, 'region') o on o.item = r.region
    left join (select s.country::text as region, sum(f.packets)::bigint as n, max(f.sources_min) as low, sum(f.sources_max)::bigint as high
               from hirundo.floods(v_first, v_past, v_codes, true) f join hirundo.sensor s on s.sensor_id = f.sensor_id
               where f.class <> 'backscatter' and f.port_code >> 17 <> 1 and f.port_code >> 17 <> 58
               group by 1) f on f.region = r.region
    order by not r.at_home, r.region collate "C";
end
$$;
----
comment on function hirundo.ttl_origin(tstzrange, cidr[], text[], text) is
  'Are these sources consistent with sending from home (NULL: setting home_country)? One row per region, home first: pairs (of a source seen at home and a sensor there that saw it too, under one initial TTL: one source at two sensors makes two), median_d (how many hops farther), share_positive, p_value (sign test), TTL range, sources, packets, weak (its hops overlap home''s); verdict and reason on every row; missing (what the region''s sensors lack: hirundo.lacking; null: nothing), flood_packets (to these ports at the region''s sensors as flood rows: these have no source and are no evidence), flood_sources_min and flood_sources_max (of how many sources: the largest estimate and the sum of them; null: none), sensor_days (observed by the region''s sensors, and of which data are kept; without evidence by all). Verdicts: consistent_with_home, home_nearest (too few controls), contradicts_home, undetermined. Never "genuine": somebody at home can forge a neighbour''s address. Example: select * from hirundo.ttl_origin(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
