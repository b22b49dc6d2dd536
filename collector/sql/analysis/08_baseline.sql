-- What a count of sources is compared with: the days before, robustly, by weekday, overdispersed. Used by scope and surges.
--
-- The method, its constants and how often it errs: docs/methods/surge.md.
create or replace function hirundo.log_gamma(x double precision)
returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  z float8 := x;
  below float8 := 0;
begin
  -- Stirling's series, its error below 1e-14 from 10 on
  while z < 10 loop
    below := below + ln(z);
    z := z + 1;
  end loop;
  return (z - 0.5) * ln(z) - z + 0.5 * ln(2 * pi())
    + 1 / (12 * z) - 1 / (360 * z ^ 3) + 1 / (1260 * z ^ 5) - 1 / (1680 * z ^ 7) + 1 / (1188 * z ^ 9) - below;
end
$$;
----
comment on function hirundo.log_gamma(double precision) is
  'The natural logarithm of the gamma function of a number above 0. Example: select exp(hirundo.log_gamma(5)) gives 24.';
----
create or replace function hirundo.count_tail(y bigint, mean double precision, phi double precision)
returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  poisson boolean := phi < 1.000001;
  k float8 := case when phi < 1.000001 then 0 else mean / (phi - 1) end;
  q float8 := case when phi < 1.000001 then 0 else (phi - 1) / phi end;
  upper boolean := y > mean;
  i float8 := case when y > mean then y else y - 1 end;
  log_term float8;
  term float8;
  total float8 := 0;
begin
  if y <= 0 then
    return 1;
  elsif mean <= 0 then
    return 0;
  end if;
  log_term := case when poisson then i * ln(mean) - mean - hirundo.log_gamma(i + 1)
                   else hirundo.log_gamma(i + k) - hirundo.log_gamma(k) - hirundo.log_gamma(i + 1) - k * ln(phi) + i * ln(q) end;
  if log_term < -650 then
    return case when upper then 0 else 1 end; -- below 1e-280
  end if;
  -- away from the mean, so that terms fall
  term := exp(log_term);
  while term > total * 1e-15 loop
    total := total + term;
    exit when i = 0 and not upper;
    if upper then
      term := term * case when poisson then mean / (i + 1) else q * (i + k) / (i + 1) end;
      i := i + 1;
    else
      term := term * case when poisson then i / mean else i / (q * (i - 1 + k)) end;
      i := i - 1;
    end if;
  end loop;
  return greatest(least(case when upper then total else 1 - total end, 1), 0);
end
$$;
----
comment on function hirundo.count_tail(bigint, double precision, double precision) is
  'The probability of a count of at least y, of this mean and of phi times as much variance: negative binomial, Poisson where phi is 1. Example: select hirundo.count_tail(10, 3, 2.0).';
----
create or replace function hirundo.median(v double precision[])
returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select percentile_cont(0.5) within group (order by x) from unnest(v) x);
end
$$;
----
comment on function hirundo.median(double precision[]) is
  'The median of the elements that are not null, the mean of the middle two where they are even; null for none. Example: select hirundo.median(''{1,4,2,9}'') gives 3.';
----
-- history: sources a day, scaled to one exposure, latest first, null where not observed; so elements seven apart are of one weekday.
--
-- A surge within the history must not become the measure: level and spread start from medians, and days far above them weigh less
-- or nothing. A weekday on which more is usual (weekly scans) is known by the lower median of its days; one on which less is usual is
-- compared with the level, since four days are too few to lower it safely.
--
-- ahead: how many days are judged together. The sum over m days beside a level from B weighed days varies by phi (m + m^2 / B) levels: that of the days,
-- and that of the level, which errs on each of them alike. Days depend on each other, so of a week and more the larger counts of this and two others: with the
-- dispersion of the weeks, and with what neighbouring days have in common. That is the correlation of one day with the next, a standard error up, since four weeks
-- tell it badly; it is taken to halve with each day between.
drop function if exists hirundo.count_baseline(double precision[]);
----
create or replace function hirundo.count_baseline(history double precision[], ahead double precision default 1, out days integer, out level double precision,
                                                  out phi double precision, out weekday double precision[])
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known float8[] := array_remove(history, null);
  v_middle float8;
  v_spread float8;
  v_norm float8;
  v_weight float8;
  v_weights float8 := 0;
  v_sum float8 := 0;
  v_squares float8 := 0;
  x float8;
  a float8;
  b float8;
  c float8;
  d float8;
  i int;
  v_size int := coalesce(cardinality(history), 0);
  v_each float8[];
  v_between float8 := 0;
  v_weeks int := 0;
  v_last float8;
  v_shared float8 := 0;
  v_pairs int := 0;
  v_alike float8;
  v_together float8 := 0;
begin
  days := coalesce(cardinality(v_known), 0);
  if days < 14 then
    return;
  end if;
  -- hirundo.median, written out: this runs for each port and day that surges looks at
  select greatest(percentile_cont(0.5) within group (order by u), 0.25) into v_middle from unnest(v_known) u;
  select percentile_cont(0.5) within group (order by abs(u - v_middle)) into v_spread from unnest(v_known) u;
  v_norm := 1.5 * v_middle ^ (-1 / 6.0::float8) / sqrt(greatest(1, (1.4826 * v_spread) ^ 2 / v_middle));
  for n in 1..v_size loop
    x := history[n];
    continue when x is null;
    -- Anscombe's residual
    v_weight := (x ^ (2 / 3.0::float8) - v_middle ^ (2 / 3.0::float8)) * v_norm;
    v_weight := case when v_weight > 5 then 0 when v_weight > 2.58 then (2.58 / v_weight) ^ 2 else 1 end;
    v_each[n] := v_weight;
    v_weights := v_weights + v_weight;
    v_sum := v_sum + v_weight * x;
    v_squares := v_squares + v_weight * x ^ 2;
  end loop;
  -- half a source over all days: what was never seen is not impossible
  level := (v_sum + 0.5) / v_weights;
  -- and a quarter more, since a spread known from four weeks may be too small
  phi := greatest(1, (v_squares - 2 * level * v_sum + level ^ 2 * v_weights) / (v_weights - 1) / level);
  if ahead >= 7 then
    for k in 0..v_size / 7 - 1 loop
      a := 0;
      b := 0;
      for n in 7 * k + 1..7 * k + 7 loop
        if history[n] is not null then
          a := a + v_each[n];
          b := b + v_each[n] * (history[n] - level);
        end if;
      end loop;
      if a >= 3.5 then
        v_weeks := v_weeks + 1;
        v_between := v_between + b ^ 2 / a;
      end if;
    end loop;
    for n in 1..v_size loop
      x := v_each[n] * (history[n] - level);
      if x is not null and v_last is not null then
        v_shared := v_shared + x * v_last;
        v_pairs := v_pairs + 1;
      end if;
      v_last := x;
    end loop;
    if v_pairs > 0 then
      v_alike := least(greatest(v_shared / v_pairs / (phi * level) + 1.0 / days + 1 / sqrt(days), 0), 0.9);
      -- of a sum of n days, beside days that have nothing in common: 1 + 2 r (sum over k below n of (1 - k / n) / 2 ^ (k - 1))
      a := 1 + 2 * v_alike * (2 - 4 * (1 - 2 ^ -ahead) / ahead);
      b := 1 + 2 * v_alike * (2 - 4 * (1 - 2 ^ -days::float8) / days);
      -- and such days lie closer to their own mean than to the level
      v_together := phi * days / (days - (b - 1)) * (1.25 * a + ahead / v_weights * b);
    end if;
    if v_weeks >= 3 then
      phi := greatest(phi, v_between / (v_weeks - 1) / level);
    end if;
  end if;
  phi := greatest(phi * (1.25 + ahead / v_weights), v_together);
  weekday := '{}';
  for k in 0..6 loop
    i := case k when 0 then 7 else k end;
    a := history[i];
    b := history[i + 7];
    c := history[i + 14];
    d := history[i + 21];
    if cardinality(history) = 28 and a + b + c + d is not null then
      -- the second of four, as it mostly is
      x := least(greatest(least(a, b), least(c, d)), least(greatest(a, b), greatest(c, d)));
    else
      select case when count(h.u) >= 3 then percentile_disc(0.5) within group (order by h.u) end into x
      from unnest(history) with ordinality h(u, n) where h.n % 7 = k;
    end if;
    weekday := weekday || greatest(level, x);
  end loop;
end
$$;
----
comment on function hirundo.count_baseline(double precision[], double precision) is
  'What daily counts of a history (latest first, null: not observed) lead to expect: days (known ones; fewer than 14 are no baseline, the rest null), level (a day), phi (variance of the count of so many days ahead over its mean, with what the level''s own error adds, an allowance for that of phi, and from a week on what neighbouring days have in common), weekday (expected counts: the element k + 1 is for days k after a multiple of seven days before the day that follows). Example: select * from hirundo.count_baseline(''{3,4,5,3,4,2,5,3,4,5,3,4,2,5}'').';
----
create or replace function hirundo.compared_lacking(first timestamptz, past timestamptz, before timestamptz, rest tstzmultirange, by text default 'all')
returns table (item text, missing text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
begin
  return query
    select l.item, nullif(concat_ws('; ', l.missing, 'of the days before: ' || hirundo.missing_text(null, g.days)), '')
    from hirundo.lacking(compared_lacking.first, compared_lacking.past,
                         compared_lacking.rest * tstzmultirange(tstzrange(compared_lacking.first, compared_lacking.past)), compared_lacking.by) l
    cross join (select count(*) as days
                from hirundo.flow_gone_days(compared_lacking.rest * tstzmultirange(tstzrange(compared_lacking.before, compared_lacking.first)))) g;
end
$$;
----
comment on function hirundo.compared_lacking(timestamptz, timestamptz, timestamptz, tstzmultirange, text) is
  'Internal to scope and surges: hirundo.lacking of [first, past), with how many of the days from before on that it is compared with are gone. Example: select * from hirundo.compared_lacking(''2023-02-08'', ''2023-02-09'', ''2023-01-11'', ''{}'').';
----
create or replace function hirundo.whole_days(period tstzrange)
returns table (day date, first timestamptz, past timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
#variable_conflict use_column
declare
  v_first timestamptz;
  v_past timestamptz;
  v_zone text := hirundo.time_zone();
begin
  select b.first, b.past into v_first, v_past from hirundo.period_bounds(period) b;
  return query
    select d.day, d.first, d.past
    from (select l.day, l.day::timestamp at time zone v_zone as first, (l.day + 1)::timestamp at time zone v_zone as past
          from hirundo.local_days(v_first, v_past) l) d
    where d.first >= v_first and d.past <= v_past and d.past <= now()
    order by d.day;
end
$$;
----
comment on function hirundo.whole_days(tstzrange) is
  'Internal to scope and surges: the days of the reporting time zone that lie wholly in a period and have ended; an infinite bound ends where observation does. Sources of a part of a day cannot be compared with a day''s: most come more than once. Example: select day from hirundo.whole_days(hirundo.week(''2023-W06'')).';
