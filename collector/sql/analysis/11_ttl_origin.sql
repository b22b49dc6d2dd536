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
create or replace function hirundo.ttl_cells(first timestamptz, past timestamptz, ranges hirundo.inetmultirange, codes integer[],
                                            country text default null)
returns table (src inet, sensor_id smallint, t0 integer, hops integer, packets bigint, ttl_min integer, ttl_max integer)
language plpgsql stable rows 100000
set search_path = pg_catalog, pg_temp
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
      from hirundo.source_ttls(ttl_cells.first, ttl_cells.past, ttl_cells.ranges, ttl_cells.codes, true, ttl_cells.country) u
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
comment on function hirundo.ttl_cells(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text) is
  'What ttl_origin compares: for each source, sensor and initial TTL (t0) the packet-weighted median of hops, with packets and TTL range. NULL ranges or codes: all. A country says that the ranges are part of hirundo.country_ranges of it, and that only sources matter which its own sensors received: then fewer rows are read. Example: select * from hirundo.ttl_cells(''2023-02-08'', ''2023-02-09'', hirundo.address_ranges(''{198.18.0.0/20}''), hirundo.port_codes(''{22/TCP}'')).';
----
-- Regions against home: one object per region with its evidence, as JSON, so that one pass over flow serves verdict and rows.
create or replace function hirundo.ttl_evidence(first timestamptz, past timestamptz, ranges hirundo.inetmultirange,
                                                codes integer[], home text)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
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
-- Controls: other sources of the home country (by the prefix set of the period's last day), on any port.
create or replace function hirundo.ttl_controls(first timestamptz, past timestamptz, ranges hirundo.inetmultirange,
                                                codes integer[], home text)
returns table (t0 integer, region text, sources bigint, median_hops integer, p95_hops integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
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
  v_last date := (case when isfinite(v_past) then v_past - interval '1 microsecond' else now() end
                  at time zone hirundo.time_zone())::date;
  v_country hirundo.inetmultirange := hirundo.country_ranges(v_home, v_last);
begin
  -- other than the sources asked about; where all were, than those that sent to the ports
  if v_ranges is not null then
    v_country := v_country - v_ranges;
  elsif v_codes is null then
    return;
  end if;
  if isempty(v_country) then
    return;
  end if;
  return query
    with cell as materialized (
      select c.src, c.sensor_id, c.t0, c.hops, s.country::text as country
      from hirundo.ttl_cells(v_first, v_past, v_country, null, v_home) c
      join hirundo.sensor s on s.sensor_id = c.sensor_id
      where v_ranges is not null
         or c.src not in (select e.src from hirundo.ttl_cells(v_first, v_past, null, v_codes) e)
    ), ref as materialized (
      select c.src, c.t0, percentile_disc(0.5) within group (order by c.hops) as hops
      from cell c where c.country = v_home group by c.src, c.t0
    )
    select r.t0, v_home, count(*), percentile_disc(0.5) within group (order by r.hops),
      percentile_disc(0.95) within group (order by r.hops)
    from ref r group by r.t0
    union all
    select c.t0, c.country, count(distinct c.src), percentile_disc(0.5) within group (order by c.hops), null
    from cell c join ref r on r.src = c.src and r.t0 = c.t0
    where c.country <> v_home
    group by c.t0, c.country;
end
$$;
----
comment on function hirundo.ttl_controls(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text) is
  'Internal to ttl_origin: other sources of the home country that were seen at home, by initial TTL and region: how many, their median hops, and at home the 95th percentile. Example: select * from hirundo.ttl_controls(''2023-02-01'', ''2023-03-01'', hirundo.address_ranges(''{198.18.0.0/20}''), null, ''JP'').';
----
-- Step 3 of the verdict: home is nearest; are the sources like others of the home country?
-- Compared by initial TTL, for each that holds a fifth of the pairs. 'alike', 'unlike', or why it cannot be told.
create or replace function hirundo.ttl_compare(evidence jsonb, judged text[], first timestamptz, past timestamptz,
                                               ranges hirundo.inetmultirange, codes integer[], home text,
                                               out result text, out controls bigint)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_home text := home;
begin
  with control as materialized (
    select * from hirundo.ttl_controls(first, past, ranges, codes, home)
  ), main as (
    select t.t0
    from jsonb_to_recordset(evidence -> 't0') t(t0 int, pairs bigint)
    where t.pairs * 5 >= (select sum(u.pairs) from jsonb_to_recordset(evidence -> 't0') u(t0 int, pairs bigint))
  ), verdict as (
    select m.t0, coalesce(c.sources, 0) as controls, h.hops <= c.p95_hops as home_alike, r.compared, r.near
    from main m
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
    v_reason := format('too few regions: only %s away with 10 sources also seen at home (3 needed)', j);
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

  select c.rest into v_rest from hirundo.rollup_cover(v_first, v_past, 'source_port_day,source_day') c;
  if v -> 'regions' = '[]' then
    return query select null::text, 0::bigint, null::int, null::numeric, null::float8, null::int, null::int, 0::bigint, 0::bigint,
                        false, v_verdict, v_reason, l.missing
                 from hirundo.lacking(v_first, v_past, v_rest) l;
    return;
  end if;
  return query
    select r.region, r.pairs, r.median_d, round(r.positive::numeric / nullif(r.pairs, 0), 4),
      case when r.pairs > 0 then hirundo.sign_test_p(r.positive, r.positive + r.negative) end,
      r.ttl_min, r.ttl_max, r.sources, r.packets, r.weak, v_verdict, v_reason, l.missing
    from jsonb_to_recordset(v -> 'regions') r(region text, at_home bool, pairs bigint, median_d int, positive bigint,
      negative bigint, ttl_min int, ttl_max int, sources bigint, packets bigint, weak bool)
    left join hirundo.lacking(v_first, v_past, v_rest, 'region') l on l.item = r.region
    order by not r.at_home, r.region collate "C";
end
$$;
----
comment on function hirundo.ttl_origin(tstzrange, cidr[], text[], text) is
  'Are these sources consistent with sending from home (NULL: setting home_country)? One row per region, home first: pairs (sources seen both at home and there), median_d (how many hops farther), share_positive, p_value (sign test), TTL range, sources, packets, weak (its hops overlap home''s); verdict and reason on every row; missing (what the region''s sensors lack: hirundo.lacking; null: nothing). Verdicts: consistent_with_home, home_nearest (too few controls), contradicts_home, undetermined. Never "genuine": somebody at home can forge a neighbour''s address. Example: select * from hirundo.ttl_origin(hirundo.quarter(''2023Q1''), ''{198.18.0.0/20}'', ''{22/TCP,5900/TCP}'').';
