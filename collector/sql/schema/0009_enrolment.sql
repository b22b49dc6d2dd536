-- Enrolment: bundles, the life of keys, who did what.
alter table hirundo.sensor add column hosted_by text not null default '';
----
comment on column hirundo.sensor.hosted_by is 'Who runs the machine it stands on: a hoster, a partner. Not for partners'' views.';
----
-- A key that replaces another: the old one is let in until the new one is first used.
alter table hirundo.sensor_key add column replaces bytea check (length(replaces) = 32);
----
alter table hirundo.sensor_key add column first_used_at timestamptz;
----
comment on column hirundo.sensor_key.replaces is 'The key that this one takes over from: revoked when this one is first used (hirundo.key_used)';
----
comment on column hirundo.sensor_key.first_used_at is 'When a sensor first connected with it; null: not yet, or before this was noted';
----
create table hirundo.collector_endpoint (
  public_key bytea not null check (length(public_key) = 32),
  endpoint text not null,
  is_next boolean not null default false,
  seen_at timestamptz not null,
  primary key (public_key, endpoint)
);
----
comment on table hirundo.collector_endpoint is
  'Where sensors reach the collectors of this database, as serve notes it when it starts and every quarter of an hour: what bundles are made of. is_next: the key that will follow.';
----
create table hirundo.bundle (
  sensor_id smallint not null,
  issued_at timestamptz not null,
  expires_at timestamptz not null,
  operator_key bytea not null check (length(operator_key) = 32),
  with_key boolean not null,
  primary key (sensor_id, issued_at)
);
----
comment on table hirundo.bundle is
  'Bundles made for sensors (hirundo-collector sensor add, sensor bundle): when, until when they enrol, by which operator''s Ed25519 key they are signed. An enrolled sensor does not need its bundle any more.';
----
create table hirundo.unknown_key (
  public_key bytea primary key check (length(public_key) = 32),
  address text not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  attempts bigint not null
);
----
comment on table hirundo.unknown_key is
  'Keys that were refused, the last 256: sensors not approved yet, revoked ones, strangers. address: where the last attempt came from. See hirundo-collector sensor list --unknown.';
----
create table hirundo.audit (
  audit_id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  who text not null,
  action text not null,
  sensor text,
  detail text not null default ''
);
----
comment on table hirundo.audit is
  'Who did what, when: sensors added, approved, rotated, revoked; bundles made; keys taken over; alarms of forks and clones; partners. who: database login and the operating system''s user. Rows are only added: nobody holds the right to change or delete one. Example: select at, who, action, sensor, detail from hirundo.audit order by audit_id desc limit 20.';
----
revoke update, delete, truncate on hirundo.audit from hirundo_owner;
