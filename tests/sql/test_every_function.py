#!/usr/bin/python3
"""Every function of functions.py in every situation: an answer, no error; and the same answer in any session.

Situations: an empty database, one sensor, no home sensor, IPv6 only, data of which retention took a part, ...; with periods that
are empty, infinite, in the future, before all data, across retention; with NULL for each argument. Nonsense gets the
one error that says what to write. An answer without rows says why in one NOTICE. Then, on random data: results under random session settings, a hostile search_path,
another order of rows on disk, other plans, and without rollups.

Prints TAP. The seed is fixed; SEED=n tries another. With the argument short: one situation, one
session; with names of functions: those alone.
"""
import datetime
import os
import pathlib
import random
import re
import sys

import common
import functions
import psycopg2
import test_figures
import test_rollups

DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'sql.md'
# documented in other sections than "The functions"
ELSEWHERE = {
    *('accounting_check', 'distinct_sources', 'source_top_ports', 'report_coverage', 'whole_weeks', 'retag'),
    *('public_top', 'public_average', 'public_ttl', 'public_source_hosts', 'public_top_tens', 'public_accounting'),
    *('port_sources', 'port_origins', 'port_home_sources', 'port_is_not'),
}
# an answer without rows is for anybody, or part of a page that says more, or says itself that nobody observed
SILENT = {
    *('accounting', 'accounting_check', 'port_sources', 'port_origins', 'report_coverage'),
    *('public_top', 'public_average', 'public_ttl', 'public_source_hosts', 'public_top_tens', 'public_accounting'),
}
# takes a period with both its ends alone, and makes jsonb of what others answer: 50_report.sql
REPORT = 'report'
PERIODS = {
    'NULL': 'null::pg_catalog.tstzrange',
    'empty': "'empty'::pg_catalog.tstzrange",
    'without bounds': "'(,)'::pg_catalog.tstzrange",
    'infinite': "'[-infinity,infinity]'::pg_catalog.tstzrange",
    'without a lower bound': "'(,2023-03-26T00:00Z)'::pg_catalog.tstzrange",
    'from minus infinity': "'[-infinity,2023-03-26T00:00Z)'::pg_catalog.tstzrange",
    'without an upper bound': "'[2023-03-25T07:30Z,)'::pg_catalog.tstzrange",
    'to infinity': "'[2023-03-25T07:30Z,infinity)'::pg_catalog.tstzrange",
    'future': "'[2999-01-01T00:00Z,2999-01-08T00:00Z)'::pg_catalog.tstzrange",
    'before all data': "'[1999-12-01T00:00Z,2000-01-01T00:00Z)'::pg_catalog.tstzrange",
    'inclusive': "'[2023-03-25T00:00Z,2023-03-26T00:00Z]'::pg_catalog.tstzrange",
    'a millisecond': "'[2023-03-25T12:00:00.001Z,2023-03-25T12:00:00.002Z)'::pg_catalog.tstzrange",
    'days': "'[2023-03-23T15:00Z,2023-04-02T15:00Z)'::pg_catalog.tstzrange",
    'a quarter': "hirundo.quarter('2023Q1')",
}
SESSIONS = {
    'timezone': test_figures.ZONES,
    'datestyle': ['ISO, DMY', 'German', 'SQL, MDY', 'Postgres, YMD'],
    'intervalstyle': ['postgres', 'sql_standard', 'iso_8601', 'postgres_verbose'],
    'search_path': ['evil, pg_catalog', 'evil, hirundo, pg_catalog', '', 'pg_catalog, public'],
    'extra_float_digits': ['-15', '0', '3'],
    'bytea_output': ['hex', 'escape'],
    'transform_null_equals': ['on', 'off'],
    'plan_cache_mode': ['auto', 'force_generic_plan', 'force_custom_plan'],
    'work_mem': ['64kB', '4MB'],
    **{
        f'enable_{how}': ['on', 'off']
        for how in ('hashagg', 'hashjoin', 'mergejoin', 'nestloop', 'indexscan', 'bitmapscan', 'seqscan', 'sort', 'material')
    },
}
# would change every figure, if a function found them
EVIL = """
create schema evil;
create function evil.lower(text) returns text language plpgsql immutable as 'begin return ''evil''; end';
create function evil.lower(tstzrange) returns timestamptz language plpgsql immutable as 'begin return ''2000-01-01''; end';
create function evil.upper(tstzrange) returns timestamptz language plpgsql immutable as 'begin return ''2000-01-01''; end';
create function evil.btrim(text) returns text language plpgsql immutable as 'begin return ''evil''; end';
create function evil.date_trunc(text, timestamp) returns timestamp language plpgsql immutable as 'begin return ''2000-01-01''; end';
create function evil.date_trunc(text, timestamptz, text) returns timestamptz language plpgsql immutable as 'begin return ''2000-01-01''; end';
create function evil.now() returns timestamptz language plpgsql immutable as 'begin return ''2000-01-01''; end';
create function evil.round(numeric, integer) returns numeric language plpgsql immutable as 'begin return -1; end';
create function evil.format(text, variadic "any") returns text language internal immutable as 'text_format_nv';
create function evil.cardinality(anyarray) returns integer language plpgsql immutable as 'begin return -1; end';
create function evil.wrong(text, text) returns boolean language plpgsql immutable as 'begin return false; end';
create function evil.wrong(date, date) returns boolean language plpgsql immutable as 'begin return false; end';
create function evil.wrong(integer, integer) returns boolean language plpgsql immutable as 'begin return false; end';
create operator evil.= (leftarg = text, rightarg = text, function = evil.wrong);
create operator evil.= (leftarg = date, rightarg = date, function = evil.wrong);
create operator evil.= (leftarg = integer, rightarg = integer, function = evil.wrong);
create operator evil.<> (leftarg = text, rightarg = text, function = evil.wrong);
create operator evil.< (leftarg = integer, rightarg = integer, function = evil.wrong);
create aggregate evil.sum (bigint) (sfunc = pg_catalog.int8larger, stype = bigint);
create aggregate evil.max (integer) (sfunc = pg_catalog.int4smaller, stype = integer);
create table evil.setting (name text, value text);
create table evil.sensor as select * from hirundo.sensor;
create table evil.flow as select * from hirundo.flow limit 0;
create table evil.observation as select * from hirundo.observation limit 0;
"""


def at(text):
    return datetime.datetime.fromisoformat(text).replace(tzinfo=common.UTC)


def row(**what):
    return {
        **dict(ts=at('2023-03-25T12:00:00'), src='198.18.0.1', proto=6, port=22, ttl=50, packets=1, tcp_flags=2),
        **dict(marks=0, src_port=40000),
        **what,
    }


# ---- situations: each fills a database in which nothing is


def sensor_alone(cur):
    common.add_sensor(cur, 'a', 'JP')


def rows_alone(cur):
    common.add_flows(cur, [row(sensor_id=common.add_sensor(cur, 'a', 'JP'))])


def observed(cur, country='JP', **what):
    sensor = common.add_sensor(cur, 'a', country)
    common.add_flows(cur, [row(sensor_id=sensor, **what)])
    cur.execute(
        "insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets) "
        "select %s, g, 900000, 0, 0 from generate_series('2023-03-25T00:00Z', '2023-03-26T00:00Z', interval '15 minutes') g",
        (sensor,),
    )
    return sensor


def no_home_set(cur):
    observed(cur)
    common.settings(cur, 'Asia/Tokyo', '')


def observed_only(cur):
    observed(cur)
    cur.execute('delete from hirundo.flow')


def ipv6_only(cur):
    sensor = observed(cur, src='2001:db8::1', proto=58, port=128 * 256, tcp_flags=0)
    common.add_flows(cur, [row(sensor_id=sensor, src=f'2001:db8::{i:x}', ttl=50 + i) for i in range(2, 9)])
    cur.execute(
        "insert into hirundo.flood values ('2023-03-25T12:00Z', 100000000000000000, 1, 1000, null, %s, 1, 0, 2, 1, 255)", (sensor,)
    )


def backscatter_only(cur):
    observed(cur, tcp_flags=18)


def random_data(cur, zone='Asia/Tokyo', seed=1):
    books = test_rollups.Books(random.Random(seed), cur, zone)
    late = test_rollups.fill(books)
    books.take(*late)
    books.roll()
    return books


def retention_took_flow(cur):
    books = random_data(cur)
    test_rollups.retention(cur, 'flow', test_figures.FIRST.date() + 2 * test_rollups.DAY, 'UTC')
    cur.execute('select hirundo.partition_expire()')
    assert cur.rowcount > 0
    return books


def retention_took_rollups(cur):
    random_data(cur)
    cur.execute("select name from hirundo.setting where name like 'retention_%%' and name <> 'retention_flow'")
    for (name,) in cur.fetchall():
        test_rollups.retention(cur, name[len('retention_'):], datetime.date(2023, 3, 27), 'UTC')
    cur.execute('select hirundo.rollup_expire()')
    cur.execute('delete from hirundo.flow where ts < %s', (at('2023-03-26T00:00:00'),))


SITUATIONS = {
    'empty database': lambda cur: None,
    'one sensor, nothing observed': sensor_alone,
    'rows without observation': rows_alone,
    'observed, and nothing came': observed_only,
    'one sensor, at home': observed,
    'no home country set': no_home_set,
    'no sensor at home': lambda cur: observed(cur, 'KR'),
    'IPv6 only, and an immense flood': ipv6_only,
    'backscatter only': backscatter_only,
    'random data, rolled up': random_data,
    'retention took flow': retention_took_flow,
    'retention took rollups and flow': retention_took_rollups,
}


# ---- what is tried


def error_of(cur, call):
    """None, or what psycopg2 raised."""
    return attempt(cur, call)[0]


def attempt(cur, call):
    """(None, or what psycopg2 raised; how many rows; notices)."""
    cur.execute('savepoint trying')
    del cur.connection.notices[:]
    rows = error = None
    try:
        cur.execute(f'select * from {call}')
        rows = len(cur.fetchall())
    except psycopg2.Error as e:
        error = e
    notices = list(cur.connection.notices)
    cur.execute('rollback to savepoint trying')
    return error, rows, notices


def is_explained(call, rows, notices):
    """No rows: one notice says why; rows: none says that there are none."""
    if re.match(r'hirundo\.(\w+)', call).group(1) in SILENT:
        return not notices
    return len(notices) == (not rows) and all(n.startswith('NOTICE:  no row: ') and n.count('\n') == 1 for n in notices)


def with_nulls(cur):
    """Each function with NULL for all its arguments but the period."""
    cur.execute(
        "select p.proname, p.pronargs, array_position(p.proargnames, 'period') from pg_proc p "
        "where p.pronamespace = 'hirundo'::regnamespace and p.proname = any (%s)",
        (list(functions.FUNCTIONS),),
    )
    for name, count, place in cur.fetchall():
        words = ['null'] * count
        words[place - 1] = 'PERIOD'
        yield f"hirundo.{name}({', '.join(words)})"


def check_situation(tap, cur, what):
    calls = [c for f in functions.FUNCTIONS.values() for c in f.calls] + list(with_nulls(cur))
    for period, sql in PERIODS.items():
        failed = []
        for call in calls:
            error, rows, notices = attempt(cur, call.replace('PERIOD', sql))
            failed += [f'{call}: {error}'] if error else []
            failed += [f'{call}: {rows} rows, {notices}'] if not error and not is_explained(call, rows, notices) else []
        tap.check(not failed, f'{what}: {len(calls)} calls, period {period}', failed)


def check_refusals(tap, cur):
    """One line, with what to write instead, and never an internal error."""
    for name, function in functions.FUNCTIONS.items():
        for call in function.refused:
            e = error_of(cur, call.replace('PERIOD', PERIODS['days']))
            good = e is not None and e.pgcode == '22023' and e.diag.message_hint and '\n' not in e.diag.message_primary
            tap.check(good, f'{call} is refused: {e.diag.message_primary if e else ""}', [repr(e)])


def check_list(tap, cur):
    cur.execute(
        "select p.proname from pg_proc p where p.pronamespace = 'hirundo'::regnamespace and 'period' = any (p.proargnames) "
        "and 'tstzrange'::regtype = any (p.proargtypes) and p.proname not in ('period_bounds', %s) "
        "and obj_description(p.oid) !~ '^(Internal|Part) '",
        (REPORT,),
    )
    catalogue = {r[0] for r in cur.fetchall()}
    listed = set(functions.FUNCTIONS)
    tap.check(catalogue <= listed, 'every function that takes a period is in functions.py', catalogue - listed)
    text = DOCS.read_text(encoding='utf-8')
    section = re.search(r'^## The functions$(.*?)^## ', text, re.M | re.S).group(1)
    headings = set(re.findall(r'^### (\w+):', section, re.M)) - {'sensor_status'}
    tap.check(
        headings == listed - ELSEWHERE,
        'docs/sql.md has a section for each',
        [f'not in functions.py: {headings - listed}', f'not in docs/sql.md: {listed - ELSEWHERE - headings}'],
    )
    missing = [n for n in ELSEWHERE if f'hirundo.{n}(' not in text]
    tap.check(not missing, 'or an example elsewhere in it', missing)


# ---- the same answers


def answers(cur, session, periods):
    """{call: rows in order}, computed in that session and read in this one."""
    out = {}
    for period in periods:
        for _, call in functions.calls(PERIODS[period], equal=True):
            cur.execute('savepoint answer')
            for name, value in session.items():
                cur.execute('select pg_catalog.set_config(%s, %s, true)', (name, value))
            # numbered as they come, since their order is part of the answer
            try:
                cur.execute(f'create temporary table answer as select pg_catalog.row_number() over () as row_no, r.* from {call} r')
                for name in session:
                    cur.execute(f'set local {name} to default')
                cur.execute('set local datestyle = iso; set local timezone = utc')
                cur.execute('select * from pg_temp.answer order by row_no')
                out[call] = [r[1:] for r in cur.fetchall()]
            except psycopg2.Error as e:
                out[call] = [str(e)]
            cur.execute('rollback to savepoint answer')
    return out


def is_error(rows):
    return bool(rows) and isinstance(rows[0], str)


def shuffle(cur, rng):
    """Another order of the rows on disk, in every table with many."""
    cur.execute("select setseed(%s)", (rng.random(),))
    cur.execute(
        "select c.relname from pg_class c where c.relnamespace = 'hirundo'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition "
        "and c.relname ~ '^(flow|flood|observation|network)$|_(hour|day|month)$' and c.relname !~ '^dirty'"
    )
    for (table,) in cur.fetchall():
        cur.execute(
            f'create temporary table shuffled as select * from hirundo.{table} order by random(); delete from hirundo.{table}; '
            f'insert into hirundo.{table} overriding system value select * from shuffled; drop table shuffled'
        )


def plain(cur, _rng):
    cur.execute('delete from hirundo.rollup_day; delete from hirundo.rollup_hour; delete from hirundo.rollup_month')


def check_sessions(tap, cur, rng):
    periods = ['without bounds', 'without an upper bound', 'days']
    want = answers(cur, {}, periods)
    tap.check(any(want.values()), f'{sum(map(len, want.values()))} rows to compare')
    # what is refused in every session, or has no rows in any, compares nothing
    tap.check(not any(is_error(rows) for rows in want.values()), 'no errors to compare', [f'{c}: {rows[0]}' for c, rows in want.items() if is_error(rows)])
    for name, function in functions.FUNCTIONS.items():
        if function.equal:
            tap.check(any(rows for c, rows in want.items() if c.startswith(f'hirundo.{name}(')), f'{name} has rows to compare')
    for i in range(6):
        session = {name: rng.choice(values) for name, values in SESSIONS.items()} if i else {}
        if i == 1:
            session = {'search_path': 'evil, pg_catalog', 'timezone': 'Pacific/Kiritimati', 'datestyle': 'German'}
        changes = rng.choice([[], [shuffle], [plain], [shuffle, plain]]) if i > 1 else [[shuffle, plain], []][i]
        cur.execute('savepoint session')
        for change in changes:
            change(cur, rng)
        got = answers(cur, session, periods)
        what = ', '.join([c.__name__ for c in changes] + [f'{k} {v}' for k, v in session.items()])
        for name, function in functions.FUNCTIONS.items():
            if not function.equal:
                continue
            mine = [c for c in want if c.startswith(f'hirundo.{name}(')]
            wrong = [c for c in mine if got[c] != want[c]]
            tap.check(
                not wrong,
                f'{name} is the same in session {i}',
                [what] + [f'{c}: {a} should be {b}' for c in wrong for a, b in zip(got[c] + ['-'], want[c] + ['-']) if a != b],
            )
        cur.execute('rollback to savepoint session')


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    conn = common.connect()
    tap = test_rollups.Tap()
    cur = conn.cursor()
    cur.execute("set client_min_messages = 'notice'")
    conn.commit()
    check_list(tap, cur)
    names = [n for n in sys.argv[1:] if n != 'short']
    for name in [n for n in functions.FUNCTIONS if names and n not in names]:
        del functions.FUNCTIONS[name]
    for what, fill in SITUATIONS.items():
        if 'short' in sys.argv and not what.startswith('random'):
            continue
        common.settings(cur, 'Asia/Tokyo', 'JP')
        cur.execute("select set_config('timezone', %s, true)", (rng.choice(test_figures.ZONES),))
        fill(cur)
        check_situation(tap, cur, what)
        if what == 'random data, rolled up':
            check_refusals(tap, cur)
        if what == 'random data, rolled up' and 'short' not in sys.argv:
            cur.execute(EVIL)
            check_sessions(tap, cur, rng)
        conn.rollback()
        cur = conn.cursor()
    print(f'1..{tap.count}')
    return 1 if tap.failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
