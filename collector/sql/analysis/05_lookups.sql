-- From an address to what is known about it, as of a day: network and country, organisation under watch, research scanner.
--
-- Ranges are disjoint and have a btree on their low end: the last one that begins at or before the address holds it, or none.
create or replace function hirundo.scanner_set_for(day date)
returns integer
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select s.set_id from hirundo.scanner_set s where s.as_of <= day order by s.as_of desc, s.set_id desc limit 1),
    (select s.set_id from hirundo.scanner_set s order by s.as_of, s.set_id desc limit 1));
end
$$;
----
comment on function hirundo.scanner_set_for(date) is
  'The scanner set that counts for a day: the newest not after it, else the oldest; NULL where none is loaded. Example: select * from hirundo.scanner_range where set_id = hirundo.scanner_set_for(''2023-02-08'') limit 10.';
