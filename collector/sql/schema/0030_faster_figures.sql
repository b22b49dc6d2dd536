-- Functions that go, or whose parameters change: analysis/ makes their successors. As hirundo_owner.
drop function if exists hirundo.source_sensors(timestamptz, timestamptz, integer);
----
drop function if exists hirundo.source_ttls(timestamptz, timestamptz, hirundo.inetmultirange, integer[], boolean, text);
----
drop function if exists hirundo.ttl_cells(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text);
----
drop function if exists hirundo.ttl_controls(timestamptz, timestamptz, hirundo.inetmultirange, integer[], text);
----
drop function if exists hirundo.ttl_spread_all(timestamptz, timestamptz);
