-- A range of hirundo.batch_times that is not summarized is read whole by each look-up, and autovacuum comes to it only when a fifth
-- of the table is new: it is told with each range that is full.
alter index hirundo.batch_times set (autosummarize = on);
