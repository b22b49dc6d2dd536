-- Which sensor has most of a figure of all of them, in its row. As hirundo_owner.
alter type hirundo.sensor_average_row add attribute largest_share numeric, add attribute largest_sensor text;
----
alter type hirundo.port_trend_row add attribute largest_share numeric, add attribute largest_sensor text;
