-- A batch that came again under another spool of its sensor.
alter table hirundo.batch drop constraint batch_outcome_check;
----
alter table hirundo.batch add constraint batch_outcome_check
  check (outcome in ('committed', 'quarantined', 'lost', 'unknown', 'known')) not valid;
----
comment on table hirundo.batch is
  'Every batch taken into the ledger: digest of its payload (SHA-256), windows it touches, frames, rows written. outcome: committed; quarantined (see hirundo.quarantine); lost (the sensor''s spool was full, declared); unknown (an interval whose counts died with the process or its spool); known (the same batch is here under another spool of the sensor, whose machine was set back to a copy of itself: nothing was counted again, frames is 0).';
