-- What the other files build on: settings, periods, names of ports, classes of traffic, data bounds.
create or replace function hirundo.setting(name text)
returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text;
begin
  select s.value into v from hirundo.setting s where s.name = setting.name;
  if not found then
    raise exception 'there is no setting %', coalesce(quote_literal(name), 'NULL')
      using errcode = 'invalid_parameter_value',
            hint = 'select name, value, meaning from hirundo.setting lists them.';
  end if;
  return v;
end
$$;
----
comment on function hirundo.setting(text) is
  'The value of a setting; an error for a name that is none. Example: select hirundo.setting(''retention_flow'').';
----
create or replace function hirundo.time_zone()
returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return hirundo.setting('time_zone');
end
$$;
----
comment on function hirundo.time_zone() is
  'The reporting time zone: days, weeks, months and quarters are of this zone, whatever the session''s. Example: select date_trunc(''day'', now(), hirundo.time_zone()).';
----
create or replace function hirundo.home_country()
returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  return nullif(hirundo.setting('home_country'), '');
end
$$;
----
comment on function hirundo.home_country() is
  'ISO code of the home country, NULL where none is set: then no sensor is at home. Example: select name from hirundo.sensor where country = hirundo.home_country().';
----
create or replace function hirundo.retention_cutoff()
returns timestamptz
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text := hirundo.setting('retention_flow');
begin
  if lower(v collate "C") = 'off' then
    return '-infinity';
  end if;
  -- "1 mon -29 days" is a day to the check of the setting, and less in February
  return least(now() - v::interval, date_trunc('day', now(), 'UTC'), date_trunc('day', now(), hirundo.time_zone()));
end
$$;
----
comment on function hirundo.retention_cutoff() is
  'Flow rows of days that ended before this are past retention_flow and go, never of today; -infinity where retention is off. Example: select hirundo.retention_cutoff().';
----
create or replace function hirundo.local_range(first date, past date)
returns tstzrange
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  z text := hirundo.time_zone();
begin
  return tstzrange(first::timestamp at time zone z, past::timestamp at time zone z, '[)');
end
$$;
----
comment on function hirundo.local_range(date, date) is
  'From the first day''s midnight to the midnight that begins the day past, in the reporting time zone. Example: select hirundo.local_range(''2023-02-03'', ''2023-03-04'').';
----
create or replace function hirundo.quarter(label text)
returns tstzrange
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  m text[] := regexp_match(upper(btrim(label) collate "C"), '^(\d{4})-?Q([1-4])$');
  d date;
begin
  if m is null or m[1] = '0000' then
    raise exception '% is not a quarter', quote_literal(label)
      using errcode = 'invalid_parameter_value', hint = 'Write a year and Q1 to Q4, such as 2023Q1.';
  end if;
  d := make_date(m[1]::int, m[2]::int * 3 - 2, 1);
  return hirundo.local_range(d, (d + interval '3 months')::date);
end
$$;
----
comment on function hirundo.quarter(text) is
  'A quarter as a period in the reporting time zone. Example: select * from hirundo.top_ports(hirundo.quarter(''2023Q1''), 10).';
----
create or replace function hirundo.month(label text)
returns tstzrange
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  m text[] := regexp_match(btrim(label), '^(\d{4})-(0[1-9]|1[0-2])$');
  d date;
begin
  if m is null or m[1] = '0000' then
    raise exception '% is not a month', quote_literal(label)
      using errcode = 'invalid_parameter_value', hint = 'Write a year and 01 to 12, such as 2023-02.';
  end if;
  d := make_date(m[1]::int, m[2]::int, 1);
  return hirundo.local_range(d, (d + interval '1 month')::date);
end
$$;
----
comment on function hirundo.month(text) is
  'A month as a period in the reporting time zone. Example: select hirundo.month(''2023-02'').';
----
create or replace function hirundo.week(label text)
returns tstzrange
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  m text[] := regexp_match(upper(btrim(label) collate "C"), '^(\d{4})-W(0[1-9]|[1-4]\d|5[0-3])$');
  d date;
begin
  if m is not null and m[1] <> '0000' then
    -- 4 January is always in week 1, and isodow 1 is Monday
    d := make_date(m[1]::int, 1, 4);
    d := d - (extract(isodow from d)::int - 1) + 7 * (m[2]::int - 1);
  end if;
  if d is null or extract(isoyear from d)::int <> m[1]::int then
    raise exception '% is not an ISO week', quote_literal(label)
      using errcode = 'invalid_parameter_value',
            hint = 'Write a year and W01 to W52 (W53 in long years), such as 2023-W06; weeks begin on Monday.';
  end if;
  return hirundo.local_range(d, d + 7);
end
$$;
----
comment on function hirundo.week(text) is
  'An ISO week (Monday to Sunday) as a period in the reporting time zone. Example: select hirundo.week(''2023-W06'').';
----
create or replace function hirundo.day(label text)
returns tstzrange
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  m text[] := regexp_match(btrim(label), '^(\d{4})-(\d{2})-(\d{2})$');
  d date;
begin
  if m is not null then
    begin
      d := make_date(nullif(m[1]::int, 0), m[2]::int, m[3]::int);
    exception when datetime_field_overflow then
      d := null;
    end;
  end if;
  if d is null then
    raise exception '% is not a day', quote_literal(label)
      using errcode = 'invalid_parameter_value', hint = 'Write year-month-day, such as 2023-02-08.';
  end if;
  return hirundo.local_range(d, d + 1);
end
$$;
----
comment on function hirundo.day(text) is
  'A day as a period in the reporting time zone; 23 or 25 hours long where clocks change. Example: select hirundo.day(''2023-02-08'').';
----
create or replace function hirundo.period_edge(label text)
returns timestamptz
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
begin
  if btrim(label) ~ '^\d{4}-\d{2}-\d{2}$' then
    return lower(hirundo.day(label));
  elsif btrim(label) ~ '^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?$' then
    return btrim(label)::timestamp at time zone hirundo.time_zone();
  end if;
  raise exception '% is neither a day nor a time', quote_literal(label)
    using errcode = 'invalid_parameter_value', hint = 'Write 2023-02-08 or 2023-02-08T13:00.';
end
$$;
----
comment on function hirundo.period_edge(text) is
  'One end of FROM..TO in hirundo.period: a day (its midnight) or a time, in the reporting time zone. Example: select hirundo.period_edge(''2023-02-08T13:00'').';
----
create or replace function hirundo.period(label text)
returns tstzrange
language plpgsql stable strict parallel safe
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, MDY'
as $$
declare
  v text := upper(btrim(label) collate "C");
  first timestamptz;
  past timestamptz;
begin
  if v ~ '^\d{4}-?Q' then
    return hirundo.quarter(v);
  elsif v ~ '^\d{4}-W' then
    return hirundo.week(v);
  elsif v ~ '^\d{4}-\d+$' then
    return hirundo.month(v);
  elsif v ~ '^\d{4}-\d+-\d+$' then
    return hirundo.day(v);
  elsif v ~ '^.+\.\..+$' then
    first := hirundo.period_edge(split_part(v, '..', 1));
    past := hirundo.period_edge(split_part(v, '..', 2));
    if first >= past then
      raise exception 'the period % ends before it begins', quote_literal(label)
        using errcode = 'invalid_parameter_value', hint = 'In FROM..TO the second is exclusive and must be later.';
    end if;
    return tstzrange(first, past, '[)');
  end if;
  raise exception '% is not a period', quote_literal(label)
    using errcode = 'invalid_parameter_value',
          hint = 'Write 2023Q1, 2023-02, 2023-W06, 2023-02-08, or FROM..TO with TO exclusive: 2023-02-03..2023-03-04.';
end
$$;
----
comment on function hirundo.period(text) is
  'Any way to write a period: 2023Q1, 2023-02, 2023-W06, 2023-02-08, FROM..TO (TO exclusive), in the reporting time zone. Example: select hirundo.period(''2023-02-03..2023-03-04'').';
