-- Each row of hirundo.batch goes into each of its indexes: one BRIN index over both times answers the same questions.
drop index hirundo.batch_last_window;
----
drop index hirundo.batch_committed_at;
----
create index batch_times on hirundo.batch using brin (committed_at, last_window);
