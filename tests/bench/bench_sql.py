"""Figures from rollups against the same from flow, in the database that the PG* environment names.

bench_sql.py fill PROGRAMS SENSORS DAYS PACKETS: fills the database, which is migrated and empty, and rolls up. PROGRAMS is
the directory with gen_flows and gen_rollups. Up to a quarter of 13 sensors the rollup job rolls up; beyond, gen_rollups adds
up what the job would take hours for, and the job does one day, which must be the same.
bench_sql.py measure RUNS [MINUTES]: prints a table. With MINUTES each figure is asked from flow once, without warming up, and
stopped after so long; 0: not at all. Without, a third as often as from rollups.
"""
import datetime
import os
import pathlib
import statistics
import sys
import tempfile
import time
from zoneinfo import ZoneInfo

import psycopg2

import sql_data
import sql_figures

TICK = os.sysconf('SC_CLK_TCK')
QUARTER = 13 * 92


class Session:
    """A connection whose server process's CPU time is known, if it runs on this machine."""

    def __init__(self):
        self.conn = psycopg2.connect('')
        self.cur = self.conn.cursor()
        self.stat = pathlib.Path(f'/proc/{self.conn.info.backend_pid}/stat')

    def cpu(self):
        fields = self.stat.read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def ask(self, sql, values, runs):
        """Rows, median of wall seconds, mean of CPU seconds; once before, to warm up."""
        wall = []
        self.cur.execute(sql, values)
        rows = self.cur.fetchall()
        before = self.cpu()
        for _ in range(runs):
            start = time.monotonic()
            self.cur.execute(sql, values)
            self.cur.fetchall()
            wall.append(time.monotonic() - start)
        return rows, statistics.median(wall), (self.cpu() - before) / runs

    def ask_once(self, sql, values, minutes):
        """The same without warming up; no rows where it was stopped after so many minutes."""
        self.cur.execute(f'set local statement_timeout = {int(minutes * 60000)}')
        start, before, rows = time.monotonic(), self.cpu(), None
        try:
            self.cur.execute(sql, values)
            rows = self.cur.fetchall()
        except psycopg2.errors.QueryCanceled:
            pass
        return rows, time.monotonic() - start, self.cpu() - before


def fill(session, programs, sensors, days, packets):
    start = time.monotonic()
    rows = sql_data.load(session.conn, f'{programs}/gen_flows', sensors, packets, days, lambda text: print(f'# {text}', flush=True))
    print(f'flow: {rows} rows loaded in {time.monotonic() - start:.0f} s')
    sizes(session.cur, rows)
    session.conn.commit()
    if sensors * days > QUARTER:
        add_up(session, programs, sensors, days, packets)
        rows //= days + 1
    start, cpu, steps = time.monotonic(), session.cpu(), 0
    session.conn.autocommit = True
    while True:
        session.cur.execute('select hirundo.rollup_step()')
        if not session.cur.fetchone()[0]:
            break
        steps += 1
    took, cpu = time.monotonic() - start, session.cpu() - cpu
    print(f'rollup job: {rows} rows in {steps} steps, {took:.0f} s, {cpu:.0f} s of CPU; {rows / took:.0f} rows a second, '
          f'{rows / cpu:.0f} a second of CPU', flush=True)
    session.conn.autocommit = False


def add_up(session, programs, sensors, days, packets):
    """All days but the last by gen_rollups, their months, and the marks of the last for the job."""
    start, cur = time.monotonic(), session.cur
    with tempfile.TemporaryDirectory() as directory:
        sql_data.bulk(session.conn, f'{programs}/gen_rollups', sensors, packets, days, directory)
    last = sql_data.FIRST + datetime.timedelta(days=days - 1)
    cur.execute('delete from hirundo.dirty m where m.hour < %s::timestamp at time zone hirundo.time_zone() '
                'or m.hour >= (%s::date + 1)::timestamp at time zone hirundo.time_zone()', (last, last))
    session.conn.commit()
    print(f'gen_rollups: {days - 1} days and their months in {time.monotonic() - start:.0f} s', flush=True)


def sizes(cur, rows):
    cur.execute("select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'hirundo.flow'::regclass")
    print(f'flow: {cur.fetchone()[0] / rows:.1f} bytes a row in its daily partitions, indexes included')


def rollup_sizes(cur):
    cur.execute("select relname, pg_total_relation_size(oid), reltuples from pg_class where relnamespace = 'hirundo'::regnamespace "
                "and relkind = 'r' and relname ~ '_(hour|day|month)$' and relname !~ '^(dirty|rollup)' and reltuples > 0 order by 2 desc")
    print('\n| rollup | rows | MB | bytes a row |\n|---|--:|--:|--:|')
    for name, size, rows in cur.fetchall():
        print(f'| {name} | {rows:.0f} | {size / 1e6:.0f} | {size / rows:.0f} |')


def verify(cur, programs, sensors, days, packets):
    with tempfile.TemporaryDirectory() as directory:
        # of a bulk load the job did the last one alone
        day = sql_data.FIRST + datetime.timedelta(days=days - 1 if sensors * days > QUARTER else days // 2)
        wrong = sql_data.compare_rollups(cur, f'{programs}/gen_rollups', sensors, packets, day, directory)
    print(f'\nrollups of {day} by the job and by gen_rollups: ' + ', '.join(f'{t} {n} of {m} differ' for t, (n, m) in wrong.items()))


def values(days):
    first = sql_data.FIRST
    past = first + datetime.timedelta(days=days)
    zone = ZoneInfo(sql_data.ZONE)
    a, b = (datetime.datetime.combine(d, datetime.time(), zone) for d in (first, past))
    odd = (a + datetime.timedelta(days=days // 9, hours=5, minutes=30), b - datetime.timedelta(days=days // 7, hours=6, minutes=50))
    text = '[{},{})'
    return dict(a=a, b=b, d=first, e=past, days=[first + datetime.timedelta(days=i) for i in range(days)],
                months=[month for month, _ in sql_data.months(days)], zone=sql_data.ZONE,
                p=text.format(a.isoformat(), b.isoformat()), odd=text.format(*(x.isoformat() for x in odd)))


def line(name, aim, limit, fast, slow):
    """slow: (rows, wall, CPU) from flow, rows None where it was stopped; None where it was not asked."""
    stopped, same = slow and slow[0] is None, not slow or slow[0] in (None, fast[0])
    ratio = slow[1] / fast[1] if slow else None
    met = fast[1] * 1000 <= limit and (ratio is None or ratio >= 5) and same
    more = 'more than ' if stopped else ''
    said = f'{more}{slow[1] * 1000:.0f} | {more}{slow[2] * 1000:.0f} | {more}{ratio:.1f}' if slow else ' | | '
    print(f"| {name} | {aim} | {limit} | {fast[1] * 1000:.0f} | {fast[2] * 1000:.0f} | {said} | "
          f"{'yes' if met else 'no'}{'' if same else ', NOT THE SAME'} |", flush=True)
    return met


def figures(session, given, limits, runs, minutes):
    """Each from rollups, then from flow; the answers must be the same."""
    met, cur = [], session.cur

    def measure(name, aim, sql, flow, before_flow=None):
        slow, fast = None, session.ask(sql, given, runs)
        if flow and minutes != 0:
            if before_flow:
                cur.execute(before_flow)
            slow = session.ask_once(flow, given, minutes) if minutes else session.ask(flow, given, max(1, runs // 3))
        session.conn.rollback()
        met.append(line(name, aim, limits[aim], fast, slow))

    print('\n| figure | kind | aim, ms | rollups, ms | CPU, ms | flow, ms | CPU, ms | ratio | met |\n|---|---|--:|--:|--:|--:|--:|--:|---|')
    for name, aim, sql in sql_figures.CALLS:
        measure(name, aim, sql, sql, 'delete from hirundo.rollup_day; delete from hirundo.rollup_hour; delete from hirundo.rollup_month')
    print('| *questions as SQL* | | | | | | | | |')
    cur.execute('set jit = off; set plan_cache_mode = force_custom_plan')
    session.conn.commit()
    for name, aim, sql, flow in sql_figures.QUERIES:
        measure(name, aim, sql, flow)
    print(f'\n{sum(met)} of {len(met)} meet time and ratio (5)')


def said_load():
    return f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs'


def main():
    session = Session()
    cur = session.cur
    if sys.argv[1] == 'fill':
        programs, (sensors, days, packets) = sys.argv[2], map(int, sys.argv[3:6])
        print(f'{sensors} sensors, {days} days, {packets} packets a sensor and day; {said_load()}')
        fill(session, programs, sensors, days, packets)
        session.conn.autocommit = True
        cur.execute('vacuum analyze')
        session.conn.autocommit = False
        verify(cur, programs, sensors, days, packets)
        session.conn.rollback()
        rollup_sizes(cur)
        cur.execute('create table public.bench as select %s as sensors, %s as days', (sensors, days))
        session.conn.commit()
        return
    runs, minutes = int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else None
    cur.execute('select sensors, days from public.bench')
    sensors, days = cur.fetchone()
    session.conn.rollback()
    print(f'\n{sensors} sensors, {days} days; {said_load()}')
    large = sensors * days > QUARTER
    figures(session, values(days), {'figure': 3000, 'distinct': 10000} if large else {'figure': 300, 'distinct': 1000}, runs, minutes)
    print(f'{said_load()} at the end')


if __name__ == '__main__':
    main()
