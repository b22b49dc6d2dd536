-- What is missing from a figure, in the same row as the figure. As hirundo_owner.
--
-- The quarters of an hour in which something went wrong are few: without an index a year of a hundred sensors is 3.5 million rows.
-- Its columns change only where something does go wrong, so ingest's updates stay HOT.
create index observation_trouble on hirundo.observation (slot)
  where kernel_dropped > 0 or if_dropped > 0 or lost > 0 or quarantined > 0;
----
alter type hirundo.sensor_average_row add attribute flood_packets bigint, add attribute missing text;
