-- What is known about addresses beside their network: research scanners, names of autonomous systems. As hirundo_owner.
-- On a distributed database all of these are reference tables: small, and joined by every worker.
create table hirundo.scanner_set (
  set_id integer generated always as identity primary key,
  as_of date not null,
  source text not null,
  loaded_at timestamptz not null default now(),
  prefixes bigint not null,
  ranges bigint not null
);
----
comment on table hirundo.scanner_set is
  'Imported lists of known research scanners: for a day the newest set not after it counts, else the oldest (hirundo.scanner_set_for).';
----
create table hirundo.scanner_range (
  set_id integer not null references hirundo.scanner_set,
  lo inet not null,
  hi inet not null,
  name text not null,
  primary key (set_id, lo)
);
----
comment on table hirundo.scanner_range is
  'Address ranges [lo, hi] of a scanner set, flattened to be disjoint (the most specific prefix wins), with the name of who scans from there. They say of themselves that they scan; that is no proof of who sends.';
----
create table hirundo.as_name (
  asn bigint primary key check (asn between 0 and 4294967295),
  name text not null
);
----
comment on table hirundo.as_name is
  'Names of autonomous systems, replaced as a whole by hirundo-collector import asnames FILE.';
----
insert into hirundo.setting (name, value, meaning) values
  ('keep_data_sets', '800 days', 'Sets of prefixes and scanners that no day younger than this needs are deleted at the next import; off: never');
----
-- a constraint of its own: setting_check is of others
alter table hirundo.setting add constraint setting_keep_data_sets_check check (
  case when name = 'keep_data_sets' then lower(value) = 'off' or value::interval >= interval '1 day' else true end);
