-- How long sensors observed, in the rows of figures that did not say. As hirundo_owner.
alter type hirundo.ttl_spread_row add attribute sensor_days numeric;
----
alter type hirundo.ttl_origin_row add attribute sensor_days numeric;
