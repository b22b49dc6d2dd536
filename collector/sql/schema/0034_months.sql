-- Months that were not rolled up since flow of their first days had gone: rollup_step looks at them again, and now adds up their days. As hirundo_owner.
insert into hirundo.dirty_month (month)
select distinct date_trunc('month', d.day::timestamp)::date
from hirundo.rollup_day d
where not exists (select from hirundo.rollup_month m where m.month = date_trunc('month', d.day::timestamp)::date)
on conflict do nothing;
