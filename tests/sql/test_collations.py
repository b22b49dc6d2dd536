#!/usr/bin/python3
"""The same random data in databases of different collations: every answer is the same, byte by byte, in the same order.

One database is of the C locale. The others' default collations are ICU's: Turkish, where upper('i') is not 'I', and Czech, where CZ sorts before CH; in both 'b'
sorts before 'C', marks do not count and numbers in names do ('i2' before 'i-10'). The rows lie in other orders there, and the sessions write numbers, times,
floats and bytes otherwise.
All calls of functions.py, the report and a case file. Makes and drops its own databases. Prints TAP. The seed is fixed; SEED=n tries another.
"""
import contextlib
import os
import pathlib
import random
import re
import subprocess

import functions
import psycopg2
import test_every_function
import test_figures
import test_rollups

APPLY = pathlib.Path(__file__).resolve().parent / 'apply'
DATABASES = {
    'c': "locale 'C'",
    'tr': "locale_provider icu icu_locale 'tr-TR-u-ka-shifted-kn-true-kf-upper' locale 'C.UTF-8'",
    'cs': "locale_provider icu icu_locale 'cs-CZ-u-ka-shifted-kn-true' locale 'C'",
}
SESSIONS = {
    'c': {},
    'tr': dict(timezone='Pacific/Chatham', datestyle='German', intervalstyle='sql_standard', extra_float_digits='-15', bytea_output='escape',
               lc_numeric='C.UTF-8', lc_time='C.UTF-8', lc_monetary='C.UTF-8'),
    'cs': dict(timezone='America/St_Johns', datestyle='Postgres, DMY', intervalstyle='iso_8601', extra_float_digits='0', bytea_output='hex',
               lc_numeric='POSIX', lc_time='POSIX', lc_monetary='POSIX'),
}
# in one order by bytes, in others by every language
ORGANISATIONS = ['Ilk', 'ilk', 'İlk', 'Zebra', 'aardvark', 'Örnek', 'a-b', 'ab', 'No 10', 'No 9']
SENSORS = {'i-10': 'JP', 'i2': 'CH', 'ia': 'CZ'}
COUNTRIES = ['JP', 'IE', 'ID', 'CZ', 'CH', 'TR', None]
# more than functions.py has: what a call of these says is text through and through
MORE = [
    "hirundo.report(hirundo.month('2023-03'), 'internal')",
    "hirundo.report(hirundo.month('2023-03'), 'public')",
    "hirundo.report(hirundo.month('2023-03'), 'internal', '22/TCP')",
    "hirundo.export_case(hirundo.export_head('wide', '2023-03'))",
    "hirundo.export_sources(hirundo.export_head('wide', '2023-03'))",
    "hirundo.export_events(hirundo.export_head('wide', '2023-03'), array(select s.sensor_id::int from hirundo.sensor s order by 1), '{x,y,z}')",
    "hirundo.lookup('{198.18.0.1,198.18.0.20,198.18.0.70,100.64.0.1,100.64.0.33,2001:db8::7}', '2023-03-26')",
    'hirundo.accounting_check(null)',
    "unnest(hirundo.port_codes('{22/tcp,icmp,icmpv6,tcp/fragment,ip/47}'))",
    *(f"hirundo.port_origins(null, '{p}', '{by}')" for p in ('22/TCP', '23/tcp', 'icmp', '53/UDP') for by in ('country', 'AS')),
    *(f"hirundo.organisation_case('{name}', null)" for name in ORGANISATIONS),
    *(f"hirundo.{unit}('{label}')" for unit, label in (('quarter', '2023q1'), ('week', '2023-w06'), ('period', '2023-q1'))),
]


def fill(cur, seed):
    """The random data of the other tests, of things with names that languages put in different orders."""
    rng = random.Random(seed)
    books = test_rollups.Books(random.Random(seed), cur, 'Asia/Tokyo')
    for sensor, (name, country) in zip(books.sensors, SENSORS.items()):
        cur.execute('update hirundo.sensor set name = %s, country = %s, label_en = %s, label_ja = %s where sensor_id = %s',
                    (name, country, f'{rng.choice("ıIİi")} {name}', f'イ{name}', sensor))
    for name in ORGANISATIONS:
        cur.execute('insert into hirundo.organisation (name, contacts) values (%s, %s) returning organisation_id', (name, ['a@example.org']))
        number = cur.fetchone()[0]
        # some have the same prefix, some their own
        for prefix in rng.sample(['198.18.0.16/28', '198.18.0.64/27', '100.64.0.0/25', '2001:db8::/125'], 2):
            cur.execute('insert into hirundo.organisation_prefix values (%s, %s)', (number, prefix))
    cur.execute('select set_id from hirundo.prefix_set')
    networks = cur.fetchone()[0]
    for i, country in enumerate(COUNTRIES):
        cur.execute('insert into hirundo.network values (%s, %s, %s, %s, %s)', (networks, f'100.64.0.{i * 10}', f'100.64.0.{i * 10 + 9}', 65000 + i, country))
        cur.execute('insert into hirundo.as_name values (%s, %s)', (65000 + i, rng.choice(ORGANISATIONS) + str(i)))
    cur.execute("insert into hirundo.scanner_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'test', 3, 3) returning set_id")
    scanners = cur.fetchone()[0]
    for i, name in enumerate(['Izgara', 'iz-gara', 'IZgara']):
        cur.execute('insert into hirundo.scanner_range values (%s, %s, %s, %s)', (scanners, f'198.18.0.{80 + i * 3}', f'198.18.0.{82 + i * 3}', name))
    late = test_rollups.fill(books)
    books.take(*late)
    books.roll()


def reorder(cur, rng):
    """Another order on disk, of small tables as well, whose rows others refer to."""
    test_every_function.shuffle(cur, rng)
    for table, key, column in (('sensor', 'sensor_id', 'label_en'), ('organisation', 'organisation_id', 'name'), ('organisation_prefix', 'prefix', 'prefix'),
                               ('fingerprint', 'rank', 'version'), ('as_name', 'asn', 'name')):
        cur.execute(f'select distinct {key}::text from hirundo.{table} order by 1')
        keys = [r[0] for r in cur.fetchall()]
        rng.shuffle(keys)
        for value in keys:
            cur.execute(f'update hirundo.{table} set {column} = {column} where {key}::text = %s', (value,))


def calls():
    period = test_every_function.PERIODS['days']
    yield from ((name, call) for name, call in functions.calls(period) if name != 'retag')
    yield from (('what is refused', call.replace('PERIOD', period)) for function in functions.FUNCTIONS.values() for call in function.refused)
    yield from ((call.split('(')[0].removeprefix('hirundo.'), call) for call in MORE)


def answers(cur, session):
    """{call: rows in order}, computed and written as text by the session."""
    out = {}
    for name, value in session.items():
        cur.execute('select pg_catalog.set_config(%s, %s, true)', (name, value))
    for _, call in calls():
        cur.execute('savepoint answer')
        try:
            cur.execute(f'create temporary table answer as select pg_catalog.row_number() over () as row_no, r.* from {call} r')
            for name in session:
                cur.execute(f'set local {name} to default')
            cur.execute("set local timezone = utc; select row_no, to_jsonb(a)::text from pg_temp.answer a order by row_no")
            # when it was made is not what it says
            out[call] = [re.sub(r'"(made|generated)": "[^"]*"', '', r[1]) for r in cur.fetchall()]
        except psycopg2.Error as error:
            out[call] = [f'error: {error}']
        cur.execute('rollback to savepoint answer')
    return out


@contextlib.contextmanager
def database(kind):
    """A database of its own, with schema and functions."""
    name = f'hirundo_collation_{kind}_{os.getpid()}'
    with contextlib.closing(psycopg2.connect(dbname='postgres')) as server:
        server.autocommit = True
        with server.cursor() as cur:
            cur.execute(f"create database {name} template template0 encoding 'UTF8' {DATABASES[kind]}")
            try:
                environment = {**os.environ, 'PGDATABASE': name, 'PGOPTIONS': '-c client_min_messages=warning'}
                subprocess.run([APPLY], env=environment, check=True, stdout=subprocess.DEVNULL)
                with contextlib.closing(psycopg2.connect(dbname=name)) as conn:
                    yield conn.cursor()
            finally:
                cur.execute(f'drop database {name} with (force)')


def main():
    if os.environ.get('HIRUNDO_SQL_DB'):
        print('1..0 # SKIP makes databases of its own, which is tried on a cluster of the suite alone')
        return 0
    seed = int(os.environ.get('SEED', '1'))
    rng = random.Random(seed)
    tap, found, order = test_rollups.Tap(), {}, {}
    for kind in DATABASES:
        with database(kind) as cur:
            cur.execute("select array(select v from unnest(%s) v order by v), lower('I'), upper('i')", (ORGANISATIONS + [*SENSORS, *SENSORS.values()],))
            order[kind] = cur.fetchone()
            cur.execute("select set_config('timezone', %s, true)", (rng.choice(test_figures.ZONES),))
            fill(cur, seed)
            if kind != 'c':
                reorder(cur, rng)
            found[kind] = answers(cur, SESSIONS[kind])
    tap.check(len({tuple(o[0]) for o in order.values()}) == 3 and all(a != b for a, b in zip(order['c'], order['tr'])), 'they differ in order and case', [order])
    want = found.pop('c')
    refused = {call for name, call in calls() if name == 'what is refused'}
    errors = {call: rows[0] for call, rows in want.items() if rows and rows[0].startswith('error: ')}
    tap.check(set(errors) == refused, f'{sum(map(len, want.values()))} rows to compare, and {len(refused)} refusals', sorted(set(errors) ^ refused))
    for name in dict.fromkeys(name for name, _ in calls()):
        mine = [call for n, call in calls() if n == name]
        tap.check(all(got[call] == want[call] for call in mine for got in found.values()), f'{name} is the same in all of them', [
            f'{kind}: {call}: {b} should be {a}' for kind, got in found.items() for call in mine
            for a, b in zip(want[call] + ['-'], got[call] + ['-']) if a != b])
    print(f'1..{tap.count}')
    return 1 if tap.failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
