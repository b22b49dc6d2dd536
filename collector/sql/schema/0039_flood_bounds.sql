-- How many sources floods may have had, in the rows of figures. As hirundo_owner.
--
-- Rows with floods are few: with these they are found without reading the others.
create index port_day_flood on hirundo.port_day (day, port_code) where flood_packets > 0;
----
create index network_port_day_flood on hirundo.network_port_day (day, port_code) where flood_packets > 0;
----
alter type hirundo.ttl_spread_row add attribute flood_packets bigint, add attribute flood_sources_min bigint, add attribute flood_sources_max bigint;
----
alter type hirundo.ttl_origin_row add attribute flood_packets bigint, add attribute flood_sources_min bigint, add attribute flood_sources_max bigint;
----
alter type hirundo.sensor_average_row add attribute flood_sources_min bigint, add attribute flood_sources_max bigint;
----
alter type hirundo.port_trend_row add attribute flood_sources_min bigint, add attribute flood_sources_max bigint;
----
alter type hirundo.tool_share_row add attribute flood_sources_min bigint, add attribute flood_sources_max bigint;
