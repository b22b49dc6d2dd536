-- Less work for each batch that comes in: the b-tree on (sensor_id, last_window) was a sixth of what a row of hirundo.batch
-- cost (CPU of the backend), and nothing asked for it. What retention will ask for, old rows, is BRIN's.
drop index hirundo.batch_last_window;
----
create index batch_last_window on hirundo.batch using brin (last_window);
----
-- Every commit updates the rows of all sensors in it: half of each page is kept free so that the new versions find room
-- beside the old ones, without touching the index (70% left room for less than half of them).
alter table hirundo.observation set (fillfactor = 50);
