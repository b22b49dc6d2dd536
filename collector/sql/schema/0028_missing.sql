-- What is missing from a figure, in the rows of more functions (0026_trouble.sql). As hirundo_owner.
alter type hirundo.port_trend_row add attribute missing text;
----
alter type hirundo.tool_share_row add attribute missing text;
