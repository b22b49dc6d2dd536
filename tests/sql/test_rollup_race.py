#!/usr/bin/python3
"""Ingest and the rollup job race on the same hours: nothing is lost.

Commits, in sensors of its own, and cleans up. Prints TAP.
"""
import datetime
import os
import random
import threading
import time

import common

SECONDS = int(os.environ.get('RACE_SECONDS', '60'))
ROW = {'proto': 6, 'ttl': 50, 'tcp_flags': 2, 'marks': 0, 'src_port': 40000}
TABLES = (
    'flow',
    'dirty',
    'dirty_day',
    'port_hour',
    'port_day',
    'source_port_day',
    'sensor_day',
    'ttl_day',
    'country_day',
    'observed_day',
    'backscatter_day',
)
DAYS = ('rollup_day', 'network_port_day', 'scanner_day', 'source_day', 'port_country_day', 'tool_day', 'tool_built')
MONTHS = ('port_month', 'network_port_month', 'source_month', 'source_port_month', 'source_ttl_month', 'dirty_month', 'rollup_month')


def start():
    """Noon two days ago: the day has ended, in any zone, and is inside retention."""
    now = datetime.datetime.now(common.UTC)
    return datetime.datetime.combine(
        now.date() - datetime.timedelta(days=2), datetime.time(9), common.UTC
    )


def ingest(seed, sensors, errors):
    rng, end = random.Random(seed), time.monotonic() + SECONDS
    try:
        with common.connect() as conn, conn.cursor() as cur:
            while time.monotonic() < end:
                flows = [
                    dict(
                        ROW,
                        ts=start() + datetime.timedelta(seconds=rng.randrange(4 * 3600)),
                        sensor_id=rng.choice(sensors),
                        src=f'198.18.1.{rng.randrange(50)}',
                        port=rng.choice([22, 23]),
                        packets=rng.randrange(1, 9),
                    )
                    for _ in range(5)
                ]
                common.add_flows(cur, flows)
                # as the collector does: in order, after the rows, in their transaction
                cur.execute(
                    'insert into hirundo.dirty as d (sensor_id, hour) '
                    "select distinct s, date_trunc('hour', t, 'UTC') "
                    'from unnest(%s::smallint[], %s::timestamptz[]) u(s, t) order by 1, 2 '
                    'on conflict (sensor_id, hour) do update set gen = d.gen + 1',
                    ([f['sensor_id'] for f in flows], [f['ts'] for f in flows]),
                )
                conn.commit()
    except Exception as e:  # pylint: disable=broad-except
        errors.append(f'ingest: {e!r}')


def roll(done, steps, errors):
    """The job, while ingest runs; then until nothing is left."""
    try:
        with common.connect() as conn, conn.cursor() as cur:
            while True:
                over = done.is_set()
                cur.execute('select hirundo.rollup_step()')
                worked = cur.fetchone()[0]
                conn.commit()
                if worked:
                    steps.append(over)
                elif over and worked == 0:
                    return
    except Exception as e:  # pylint: disable=broad-except
        errors.append(f'job: {e!r}')


def race(sensors):
    errors, steps, done = [], [], threading.Event()
    # two jobs as well: one of them has nothing to do while the other works
    jobs = [threading.Thread(target=roll, args=(done, steps, errors)) for _ in range(2)]
    writers = [threading.Thread(target=ingest, args=(i, sensors, errors)) for i in range(2)]
    for t in jobs + writers:
        t.start()
    for t in writers:
        t.join()
    done.set()
    for t in jobs:
        t.join()
    return errors, steps


def compare(cur, sensors):
    """Rows that flow has and the rollup has not, or has otherwise."""
    cur.execute(
        "with f as (select sensor_id, date_trunc('hour', ts, hirundo.time_zone()) as hour, port_code, class, "
        'sum(packets) as packets, count(distinct src) as sources from hirundo.flow_classed '
        'where sensor_id = any (%s) group by 1, 2, 3, 4) '
        'select count(*), count(*) filter (where (f.packets, f.sources) is distinct from (p.packets, p.source_hours)) '
        'from f full join (select * from hirundo.port_hour where sensor_id = any (%s)) p '
        'using (sensor_id, hour, port_code, class)',
        (sensors, sensors),
    )
    hours = cur.fetchone()
    cur.execute(
        'with f as (select sensor_id, (ts at time zone hirundo.time_zone())::date as day, src, port_code, class, ttl, '
        'sum(packets) as packets from hirundo.flow_classed where sensor_id = any (%s) group by 1, 2, 3, 4, 5, 6) '
        'select count(*), count(*) filter (where f.packets is distinct from p.packets) '
        'from f full join (select * from hirundo.source_port_day where sensor_id = any (%s)) p '
        'using (sensor_id, day, src, port_code, class, ttl)',
        (sensors, sensors),
    )
    return hours, cur.fetchone()


def clean(cur, sensors):
    cur.execute('select distinct day from hirundo.port_day where sensor_id = any (%s)', (sensors,))
    days = [r[0] for r in cur.fetchall()]
    for table in TABLES:
        cur.execute(f'delete from hirundo.{table} where sensor_id = any (%s)', (sensors,))
    for table in DAYS:
        cur.execute(f'delete from hirundo.{table} where day = any (%s)', (days,))
    for table in MONTHS:
        cur.execute(f"delete from hirundo.{table} where month = any (select date_trunc('month', d)::date from unnest(%s) d)", (days,))
    cur.execute(
        "delete from hirundo.rollup_hour where hour between %s - interval '2 hours' and %s + interval '8 hours'",
        (start(), start()),
    )
    cur.execute('delete from hirundo.sensor where sensor_id = any (%s)', (sensors,))


def main():
    conn = common.connect()
    cur = conn.cursor()
    sensors = [common.add_sensor(cur, n, 'JP') for n in ('race-a', 'race-b')]
    cur.execute('select hirundo.partition_ensure(%s)', (start().date(),))
    conn.commit()
    results = []
    try:
        errors, steps = race(sensors)
        hours, days = compare(cur, sensors)
        cur.execute('select count(*) from hirundo.dirty where sensor_id = any (%s)', (sensors,))
        results = [
            (not errors, f'neither ingest nor job failed {errors}'),
            (steps.count(False) >= 3, f'the job worked {steps.count(False)} times beside ingest'),
            (hours[0] >= 16 and hours[1] == 0, f'port_hour: {hours[0]} rows, {hours[1]} wrong'),
            (days[0] >= 200 and days[1] == 0, f'source_port_day: {days[0]} rows, {days[1]} wrong'),
            (cur.fetchone()[0] == 0, 'no mark is left'),
        ]
    finally:
        conn.rollback()
        clean(cur, sensors)
        conn.commit()
    for n, (good, what) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {n} - {what}")
    print(f'1..{len(results)}')
    return 0 if all(good for good, _ in results) else 1


if __name__ == '__main__':
    raise SystemExit(main())
