-- sensor_status: each state, and the reason that a person reads. Times are injected: what came, came so long ago.
begin;
select no_plan();
\ir include/fixture.psql
select fixture.zone('UTC');
select fixture.sensor(n, 'JP') from unnest(array['never', 'gone', 'online', 'late', 'silent', 'twice', 'silent-heard', 'fresh', 'mute', 'stuck', 'blind',
  'backlog', 'replay', 'full', 'failing', 'failing-long', 'kernel', 'few-drops', 'behind', 'ahead', 'old-clock', 'losing-and-off', 'killed', 'both']) n;
update hirundo.sensor set revoked_at = now() - interval '1 day' where name = 'gone';

create function pg_temp.batch(sensor text, ago interval, ts_ago interval default null) returns void language sql as
$$ insert into hirundo.ledger (sensor_id, spool_id, next_seq, first_at, last_batch_at, last_window, run_id)
   values (fixture.id(sensor), gen_random_uuid(), 2, now(), now() - ago, now() - coalesce(ts_ago, ago + interval '1 minute'), 1) $$;
create function pg_temp.beat(sensor text, ago interval, batches bigint default 1, age_s bigint default 5, offset_ms bigint default 3, bytes bigint default 1000,
                             failing boolean default false, queue bigint default 0, problem text default '', uptime_s bigint default 864000) returns void language sql as
$$ insert into hirundo.heartbeat (sensor_id, received_at, peer, version, run_id, uptime_s, rss_kib, cpu_ms, spool_batches, spool_bytes, spool_cap_bytes, spool_age_s,
     spool_dropped, queue_batches, clock_offset_ms, round_trip_ms, frames, kernel_dropped, if_dropped, spool_failing, problem)
   values (fixture.id(sensor), now() - ago, '192.0.2.1', '0.1.0', 1, uptime_s, 9000, 1000, batches, bytes, 100000, age_s, 0, queue, offset_ms, 20, 10, 0, 0, failing, problem) $$;
create function pg_temp.loss(sensor text, kind text, ago interval, frames bigint, reason text) returns void language sql as
$$ insert into hirundo.loss (sensor_id, spool_id, seq, kind, first_window, last_window, frames, reason, declared_at)
   values (fixture.id(sensor), gen_random_uuid(), 1, kind, now() - ago - interval '65 seconds', now() - ago, frames, reason, now() - ago) $$;

select pg_temp.batch(s, interval '1 minute') from unnest(array['online', 'twice', 'twice', 'fresh', 'full', 'failing', 'kernel', 'few-drops', 'behind', 'ahead', 'old-clock',
  'losing-and-off', 'killed', 'both', 'gone']) s;
select pg_temp.beat(s, interval '30 seconds') from unnest(array['online', 'full', 'kernel', 'few-drops', 'killed']) s;
select pg_temp.batch('late', interval '10 minutes');
select pg_temp.batch('silent', interval '3 hours', now() - timestamptz '2023-02-08T00:00Z');
select pg_temp.batch('silent-heard', interval '3 hours'), pg_temp.beat('silent-heard', interval '2 hours', 35, 4000);
select pg_temp.beat('mute', interval '20 seconds', 0, 0, uptime_s => 60); -- just started: nothing sent yet
select pg_temp.batch('stuck', interval '12 minutes'), pg_temp.beat('stuck', interval '20 seconds', 12, 700);
select pg_temp.batch('blind', interval '3 hours'), pg_temp.beat('blind', interval '20 seconds', 0, 0);
select pg_temp.batch('backlog', interval '2 seconds', interval '2 days'), pg_temp.beat('backlog', interval '20 seconds', 1204, 200000, bytes => 90000);
select pg_temp.batch('replay', interval '2 seconds', now() - timestamptz '2023-02-08T00:00Z'), pg_temp.beat('replay', interval '20 seconds', 3, 1);
select pg_temp.loss('full', 'lost', interval '5 minutes', 700, 'the spool was full'), pg_temp.loss('full', 'lost', interval '6 minutes', 800, 'the spool was full'),
  pg_temp.loss('online', 'lost', interval '3 hours', 700, 'the spool was full'); -- is over
select pg_temp.beat('failing', interval '30 seconds', failing => true, queue => 7, problem => 'spool /x: append: No space left on device');
insert into hirundo.observation (sensor_id, slot, covered_ms, frames, kernel_dropped, if_dropped)
values (fixture.id('kernel'), date_bin('15 minutes', now(), '2000-01-01Z'), 60000, 900, 90, 10), (fixture.id('few-drops'), date_bin('15 minutes', now(), '2000-01-01Z'), 60000, 1000000, 3, 0);
select pg_temp.batch('failing-long', interval '3 hours'), pg_temp.beat('failing-long', interval '30 seconds', failing => true, queue => 9, problem => 'spool /x: No space left on device');
select pg_temp.beat('behind', interval '30 seconds', offset_ms => 3600400), pg_temp.beat('ahead', interval '30 seconds', offset_ms => -5001),
  pg_temp.beat('old-clock', interval '2 hours', offset_ms => 3600000), pg_temp.beat('losing-and-off', interval '30 seconds', offset_ms => 60000, failing => true);
select pg_temp.loss('killed', 'unknown', interval '5 minutes', 0, 'run did not end cleanly');
insert into hirundo.quarantine (sensor_id, spool_id, seq, received_at, peer, reason, frames, header, payload)
values (fixture.id('online'), gen_random_uuid(), 1, now(), '192.0.2.1', 'will not decode', 1, '', '');

create temp table answers (sensor text, state text, reason text);
insert into answers values
  ('ahead', 'clock off', 'its clock is 5.0 s ahead of the collector''s%'),
  ('backlog', 'online', 'its batches arrive; a backlog: 1204 batches wait in its spool, the oldest for 2 days; they are coming in; its spool is 90\% full%'),
  ('behind', 'clock off', 'its clock is 3600.4 s behind the collector''s: does it keep time by NTP?'),
  ('blind', 'late', 'connected, but no batch for 3 h and none waits: is its capture running?'),
  ('both', 'online', 'its batches arrive'),
  ('failing', 'losing', 'its spool cannot be written, 7 batches wait in memory; it says: spool /x: append: No space left on device'),
  ('failing-long', 'losing', 'its spool cannot be written, 9 batches wait in memory%'),
  ('few-drops', 'online', 'its batches arrive'),
  ('fresh', 'online', 'its batches arrive'),
  ('full', 'losing', '2 batches (1500 frames) declared lost in the last 60 min: the spool was full'),
  ('gone', 'revoked', 'its enrolment was revoked at % UTC'),
  ('kernel', 'losing', 'its kernel or interface dropped 100 packets (10.0\%) in the last 60 min%'),
  ('killed', 'online', 'its batches arrive; 65 s unknown, declared in the last 60 min: run did not end cleanly'),
  ('late', 'late', 'no batch and no heartbeat for 10 min'),
  ('losing-and-off', 'losing', 'its spool cannot be written; its clock is 60.0 s behind the collector''s%'),
  ('mute', 'online', 'connected; its first batch is to come'),
  ('never', 'never seen', 'no batch ever came%'),
  ('old-clock', 'online', 'its batches arrive'),
  ('online', 'online', 'its batches arrive; 1 in quarantine: will not decode'),
  ('replay', 'online', 'its batches arrive; its last batch ended at 2023-02-08 00:00 UTC by its own clock: a replay'),
  ('silent', 'silent', 'nothing since % UTC: is its host up%; its last batch ended at 2023-02-08 00:00 UTC by its own clock: backlog or replay'),
  ('silent-heard', 'silent', 'nothing since %35 batches waited in its spool'),
  ('stuck', 'late', 'connected, but no batch for 12 min while 12 wait in its spool: see the collector''s log%'),
  ('twice', 'online', '%2 spools sent in the last hour%');
select is(v.state, a.state, a.sensor || ' is ' || a.state) from answers a join hirundo.sensor_status v using (sensor);
select alike(v.reason, a.reason, a.sensor || ': ' || v.reason) from answers a join hirundo.sensor_status v using (sensor);
select is((select count(*) from answers), (select count(*) from hirundo.sensor_status), 'each sensor is asked about');
select is_empty($$select * from hirundo.sensor_status where reason is null or state is null$$, 'always a state and a reason');
select ok((select last_batch_at = now() - interval '1 minute' and last_ts = now() - interval '2 minutes' from hirundo.sensor_status where sensor = 'twice'), 'the newest of all spools');
select results_eq($$select spool_batches, spool_age, clock_offset_ms from hirundo.sensor_status where sensor in ('backlog', 'never') order by sensor$$,
  $$values (1204::bigint, interval '200000 seconds', 3::bigint), (null, null, null)$$, 'what the heartbeat said; null where none came');

-- where most differ to the same side it is the collector
savepoint clocks;
update hirundo.heartbeat set clock_offset_ms = 7200000 where received_at > now() - interval '5 minutes' and sensor_id <> fixture.id('ahead');
select alike((select reason from hirundo.sensor_status where sensor = 'behind'),
  'its clock is 7200.0 s behind the collector''s, as are most sensors'': does the collector keep time by NTP?', 'most are behind');
select alike((select reason from hirundo.sensor_status where sensor = 'ahead'), '%ahead of the collector''s: does it keep time by NTP?', 'not this one');
rollback to savepoint clocks;

-- thresholds move
update hirundo.setting set value = '15 minutes' where name = 'late_after';
select is((select state from hirundo.sensor_status where sensor = 'late'), 'online', 'late_after');
update hirundo.setting set value = '5 minutes' where name in ('late_after', 'silent_after');
select is((select state from hirundo.sensor_status where sensor = 'late'), 'silent', 'silent_after');
update hirundo.setting set value = '2 hours' where name = 'clock_off_after';
select is((select state from hirundo.sensor_status where sensor = 'behind'), 'online', 'clock_off_after');
update hirundo.setting set value = '1 minute' where name = 'losing_for';
select is((select state from hirundo.sensor_status where sensor = 'full'), 'online', 'losing_for');
select throws_ok($$update hirundo.setting set value = '0 s' where name = 'late_after'$$, '23514', null, 'a threshold of nothing is refused');
select throws_ok($$update hirundo.setting set value = 'often' where name = 'silent_after'$$, '22007', null, 'and what is no interval');
select throws_ok($$update hirundo.setting set value = 'much' where name = 'max_size_flow'$$, '22023', null, 'and what is no size');

-- figures at the edge of what a collector writes do not break it
select pg_temp.beat('both', interval '30 seconds', 1::bigint << 53, 3155760000, -3155760000000000, 1::bigint << 53, uptime_s => 3155760000);
select is((select state from hirundo.sensor_status where sensor = 'both'), 'clock off', 'the largest numbers');
select ok((select spool_age > interval '90 years' from hirundo.sensor_status where sensor = 'both'), 'a spool age of a hundred years');

select * from finish();
rollback;
