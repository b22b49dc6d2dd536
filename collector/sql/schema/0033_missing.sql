-- What is missing from a figure, in the rows of the functions that lacked it (0028_missing.sql). As hirundo_owner.
alter type hirundo.ttl_spread_row add attribute missing text;
----
alter type hirundo.ttl_origin_row add attribute missing text;
