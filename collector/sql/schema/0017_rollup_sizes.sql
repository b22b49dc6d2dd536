-- Limits of size for the rollups of 0007_rollups.sql, as the others have them. As hirundo_owner.
insert into hirundo.setting (name, value, meaning)
select 'max_size_' || t, 'off', 'Size of hirundo.' || t || ' beyond which its oldest ' || u || ' go; off: no limit'
from unnest(array['source_port_day', 'sensor_day', 'ttl_day', 'port_month', 'network_port_month', 'source_month', 'source_port_month', 'source_ttl_month'],
            array['days', 'days', 'days', 'months', 'months', 'months', 'months', 'months']) x(t, u)
on conflict (name) do nothing;
----
update hirundo.setting set meaning = 'Size of hirundo.source_day beyond which its oldest days go; off: no limit' where name = 'max_size_source_day';
----
update hirundo.setting set meaning = 'Size of hirundo.source_port_day, the largest rollup, beyond which its oldest days go; off: no limit' where name = 'max_size_source_port_day';
