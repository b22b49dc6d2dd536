#!/usr/bin/python3
"""Rollups against flow, on random data in random time zones.

Rows arrive in random order, hours in pieces, some days late and after everything was rolled up, some
marks without rows (a batch that came twice); the job runs in between. Then every rollup is compared
with a computation of its own, and every figure with the same figure from flow alone; again after
retention of rollups and of flow, and after a change of the time zone.

Prints TAP. The seed is fixed; SEED=n tries another.
"""
import collections
import datetime
import ipaddress
import os
import random
from zoneinfo import ZoneInfo

import common
import functions
import rollup_model
import test_figures

DAY = datetime.timedelta(days=1)
NETWORKS = [
    ('198.18.0.0', '198.18.0.31', 64500, 'JP'),
    ('198.18.0.40', '198.18.0.79', 64501, 'US'),
    ('2001:db8::', '2001:db8::40', 64502, None),
]
ORGANISATIONS = {'wide': ['198.18.0.0/25', '2001:db8::/64'], 'narrow': ['198.18.0.16/28']}
# every function that analysts call, and what some of them are made of
FIGURES = {
    **{call: f'select * from {call}' for _, call in functions.calls('%s', equal=True)},
    'ttl_cells': 'select * from hirundo.ttl_cells(lower(%s), upper(%s), null, null) '
    'order by src, sensor_id, t0',
    'ttl_controls': "select * from hirundo.ttl_controls(lower(%s), upper(%s), '{[198.18.0.0,198.18.0.7]}', null, 'JP', '{32,64,128,255}') "
    'order by t0, region, p95_hops',
    'ttl_controls, by port': "select * from hirundo.ttl_controls(lower(%s), upper(%s), null, hirundo.port_codes('{22/TCP,80/TCP}'), 'JP', '{64,255}') "
    'order by t0, region, p95_hops',
    'ttl_spread_all': "select * from hirundo.ttl_spread_all(lower(%s), upper(%s), hirundo.port_codes('{22/TCP,80/TCP,ICMP}'))",
    'sources_by_group': 'select * from hirundo.sources_by_group(lower(%s), upper(%s), true) order by item',
}
# a second part of the days lies in another month
LATER = 4 * DAY
PROTOCOL = {'TCP': 6, 'UDP': 17, 'ICMP': 1, 'ICMPv6': 58, 'GRE': 47}


def port_code(name):
    """Of a port as written, by the rule in 02_ports.sql's head."""
    if '/' not in name:
        return PROTOCOL[name] * 131072
    a, b = name.split('/')
    if a == 'IP':
        return int(b) * 131072
    if a in PROTOCOL:
        return PROTOCOL[a] * 131072 + {'fragment': 65536, 'unknown': 65537}[b]
    return PROTOCOL[b] * 131072 + int(a)


class Books:
    """All rows that are in, and what rollups must say of them."""

    def __init__(self, rng, cur, zone):
        self.rng, self.cur, self.zone = rng, cur, zone
        common.settings(cur, zone, 'JP')
        self.sensors = [
            common.add_sensor(cur, n, c) for n, c in (('a', 'JP'), ('b', 'TW'), ('c', 'KR'))
        ]
        # bits of sensors in more than one word of 64
        cur.execute('update hirundo.sensor set sensor_id = sensor_id + 64 where sensor_id = %s', (self.sensors[2],))
        self.sensors[2] += 64
        self.flows, self.floods, self.covered = [], [], collections.Counter()
        cur.execute(
            "insert into hirundo.prefix_set (as_of, source, prefixes, ranges) "
            "values ('2023-01-01', 'test', 3, 3) returning set_id"
        )
        set_id = cur.fetchone()[0]
        for lo, hi, asn, country in NETWORKS:
            cur.execute(
                'insert into hirundo.network values (%s, %s, %s, %s, %s)',
                (set_id, lo, hi, asn, country),
            )
        # so few packets that ports are left out, and matter, and do not
        self.limits = {'head': rng.choice([1, 3, 10, 40]), 'busy': rng.choice([1, 30, 100, 1000])}
        for name, limit in self.limits.items():
            cur.execute(
                f'create or replace function hirundo.rollup_{name}_packets() returns integer language plpgsql immutable '
                f"set search_path = pg_catalog, pg_temp as 'begin return {limit}; end'"
            )
        self.organisations = {}
        for name, prefixes in ORGANISATIONS.items():
            cur.execute(
                'insert into hirundo.organisation (name) values (%s) returning organisation_id',
                (name,),
            )
            self.organisations[name] = cur.fetchone()[0]
            for p in prefixes:
                cur.execute(
                    'insert into hirundo.organisation_prefix values (%s, %s)',
                    (self.organisations[name], p),
                )
            for day in rng.sample(range(24, 36), 2):
                cur.execute(
                    "insert into hirundo.notice (organisation_id, sent, ports) values (%s, date '2023-03-01' + %s, %s)",
                    (self.organisations[name], day - 1, rng.choice([None, ['22/TCP'], ['ICMP', '80/TCP']])),
                )

    def random_flood(self):
        proto, port, name = self.rng.choice(
            [(6, 22, '22/TCP'), (6, None, 'TCP/unknown'), (1, 2048, 'ICMP'), (47, None, 'GRE')]
        )
        return dict(
            ts=test_figures.FIRST
            + datetime.timedelta(milliseconds=self.rng.randrange(test_figures.SLOTS * 900000)),
            sensor_id=self.rng.choice(self.sensors),
            proto=proto,
            port=port,
            name=name,
            packets=self.rng.randrange(1, 10**10),
            estimate=self.rng.choice([None, 5, 70000]),
            marks=0,
            tcp_flags=2,
            src_port=None,
        )

    def take(self, flows, floods):
        """As the collector does: rows, observation and marks."""
        cur = self.cur
        common.add_flows(cur, flows)
        for f in floods:
            cur.execute(
                'select hirundo.partition_ensure(%s)', (f['ts'].astimezone(common.UTC).date(),)
            )
            cur.execute(
                'insert into hirundo.flood values (%s, %s, %s, %s, %s, %s, 1, %s, 2, 1, 9)',
                (
                    f['ts'],
                    f['packets'],
                    f['packets'] * 60,
                    f['estimate'],
                    f['port'],
                    f['sensor_id'],
                    f['proto'],
                ),
            )
        for f in flows + floods:
            self.observe(f, 1)
        for f in self.rng.sample(flows, len(flows) // 8):
            # quiet windows, on days of their own too
            self.observe(dict(f, ts=f['ts'] + self.rng.choice([0, 1, 2]) * DAY, sensor_id=self.rng.choice(self.sensors)), 0)
        self.flows += flows
        self.floods += floods

    def observe(self, f, rows):
        ms, slot = self.rng.choice([1000, 60000]), f['ts'] - (f['ts'] - test_figures.FIRST) % datetime.timedelta(minutes=15)
        self.cur.execute(
            'insert into hirundo.observation as o (sensor_id, slot, covered_ms, row_packets) values (%s, %s, %s, %s) '
            'on conflict (sensor_id, slot) do update set row_packets = o.row_packets + excluded.row_packets, '
            'covered_ms = o.covered_ms + excluded.covered_ms',
            (f['sensor_id'], slot, ms, rows),
        )
        self.covered[f['sensor_id'], slot] += ms
        self.mark(f)

    def mark(self, f):
        self.cur.execute(
            'insert into hirundo.dirty as d (sensor_id, hour) values '
            "(%s, date_trunc('hour', %s, 'UTC')) on conflict (sensor_id, hour) do update set gen = d.gen + 1",
            (f['sensor_id'], f['ts']),
        )

    def roll(self, steps=10**6):
        """The job, until it has nothing to do; at most so many steps."""
        # a month is not built twice within an hour
        self.cur.execute("update hirundo.rollup_month set built_at = built_at - interval '1 day'")
        for n in range(steps):
            self.cur.execute('select hirundo.rollup_step()')
            if self.cur.fetchone()[0] == 0:
                return n
            assert n < 1000, 'the rollup job does not end'
        return steps

    def network(self, src):
        a = ipaddress.ip_address(src)
        for lo, hi, asn, country in NETWORKS:
            lo, hi = ipaddress.ip_address(lo), ipaddress.ip_address(hi)
            if lo.version == a.version and lo <= a <= hi:
                return asn, country
        return None, None

    def organisation(self, src):
        best = [
            (-ipaddress.ip_network(p).prefixlen, self.organisations[name])
            for name, prefixes in ORGANISATIONS.items()
            for p in prefixes
            if common.inside(src, [p])
        ]
        return min(best)[1] if best else None

    def cut(self, ts, unit):
        local = ts.astimezone(ZoneInfo(self.zone))
        if unit == 'day':
            return local.date()
        # the beginning of the hour that the clock shows, under the offset that holds at ts
        past = datetime.timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        return (ts - past).astimezone(common.UTC)

    port_code = staticmethod(port_code)

    def wanted(self):
        return rollup_model.wanted(self, self.limits['head'], self.limits['busy'])

    def contents(self):
        return rollup_model.contents(self.cur)

    def random_period(self):
        rng, tz = self.rng, ZoneInfo(self.zone)
        kind = rng.choice(['days', 'days', 'hours', 'any', 'all', 'month', 'months'])
        if kind == 'all':
            return None, None, kind
        if kind.startswith('month'):
            # March, or it with some of the days around
            a, b = (datetime.datetime(2023, m, 1, tzinfo=tz) for m in (3, 4))
            return a, b + (rng.randrange(5) * DAY if kind == 'months' else 0 * DAY), kind
        a, b = sorted(rng.sample(range(test_figures.SLOTS * 900 + LATER // DAY * 86400), 2))
        a, b = (test_figures.FIRST + datetime.timedelta(seconds=x) for x in (a, b))
        if kind == 'days':
            a, b = (
                datetime.datetime.combine(self.cut(x, 'day'), datetime.time(), tz)
                for x in (a, b + DAY)
            )
        elif kind == 'hours':
            a, b = self.cut(a, 'hour'), self.cut(b, 'hour') + datetime.timedelta(hours=1)
        return a, b, kind


def same(got, want):
    return sorted(map(repr, got)) == sorted(map(repr, want))


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, good, what, details=()):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {what}")
        for d in [] if good else list(details)[:8]:
            print(f'# {d}')


def check_contents(tap, what, books, wanted=None):
    wanted, got = wanted or books.wanted(), books.contents()
    for table in sorted(wanted):
        a, b = (collections.Counter(map(repr, x)) for x in (got[table], wanted[table]))
        tap.check(
            a == b,
            f'{what}: {table}, {len(got[table])} rows',
            [f'has {x}' for x in a - b] + [f'lacks {x}' for x in b - a],
        )


def figures(books, names, first, past):
    out = {}
    for name in names:
        books.cur.execute(FIGURES[name].replace('%s', 'tstzrange(%(a)s, %(b)s)'), dict(a=first, b=past))
        out[name] = books.cur.fetchall()
    return out


def check_figures(tap, what, books, periods=4):
    """Some figures as they come, and from flow alone. Returns days, hours and months that came from rollups."""
    cur, used = books.cur, [0, 0, 0]
    for _ in range(periods):
        first, past, kind = books.random_period()
        cur.execute(
            'select cardinality(c.days), cardinality(c.hours), cardinality(c.months) from hirundo.period_bounds(tstzrange(%s, %s)) b, '
            "lateral hirundo.rollup_cover(b.first, b.past, 'port_day', 'port_hour', 'port_month') c",
            (first, past),
        )
        days, hours, months = cur.fetchone() or (0, 0, 0)
        used = [a + b for a, b in zip(used, (days, hours, months))]
        # some of them each time, so that this does not grow with every function
        names = books.rng.sample(sorted(FIGURES), 16)
        mixed = figures(books, names, first, past)
        cur.execute(
            'savepoint alone; delete from hirundo.rollup_day; delete from hirundo.rollup_hour; '
            'delete from hirundo.rollup_month'
        )
        alone = figures(books, names, first, past)
        cur.execute('rollback to savepoint alone')
        for name in names:
            tap.check(
                mixed[name] == alone[name],
                f'{what}: {name}, {kind}, {months} months, {days} days, {hours} hours',
                [f'{x} should be {y}' for x, y in zip(mixed[name], alone[name]) if x != y]
                + [f'{len(mixed[name])} rows, {len(alone[name])}'],
            )
    return used


def fill(books):
    """The data in random order and pieces, the job in between."""
    rng = books.rng
    flows = []
    while len(flows) < 300:
        flows += test_figures.random_flows(rng, books.sensors)
    rng.shuffle(flows)
    floods = [books.random_flood() for _ in range(12)]
    for f in (flows + floods)[:: rng.choice([2, 3, 10])]:
        f['ts'] += LATER
    late = len(flows) // 20
    while len(flows) > late:
        n = rng.randint(1, len(flows) - late)
        books.take(flows[:n], floods[:3])
        flows, floods = flows[n:], floods[3:]
        books.roll(rng.choice([0, 1, 3]))
    return flows, floods


def retention(cur, name, before, zone):
    """Sets retention so that days before this one are past it."""
    midnight = datetime.datetime.combine(before, datetime.time(12), ZoneInfo(zone))
    cur.execute(
        "update hirundo.setting set value = (now() - %s)::text where name = 'retention_' || %s",
        (midnight, name),
    )


def check_case(tap, i, books):
    cur, rng = books.cur, books.rng
    late = fill(books)
    where = f'case {i} in {books.zone}'
    check_figures(tap, f'{where}, in between', books, 2)
    books.roll()
    check_contents(tap, where, books)
    used = check_figures(tap, where, books)
    books.take(*late)
    books.mark(rng.choice(books.flows))
    check_figures(tap, f'{where}, late data not rolled up', books, 2)
    books.roll()
    check_contents(tap, f'{where}, late data', books)
    used = [a + b for a, b in zip(used, check_figures(tap, f'{where}, late data', books))]
    cur.execute('select * from hirundo.rollup_lag')
    tap.check(all(r[1:] == (0, 0, None, None) for r in cur.fetchall()), f'{where}: nothing lags')

    before = test_figures.FIRST.date() + 2 * DAY
    past = {
        # a month goes when all of it is past
        name: datetime.date(2023, 4, 2) if name.endswith('_month') else before
        for name in rng.sample(sorted(rollup_model.COLUMNS), 5)
    }
    for name, day in past.items():
        retention(cur, name, day, books.zone)
    cur.execute('select name, before from hirundo.rollup_expire()')
    gone = cur.fetchall()
    tap.check(dict(gone) == past, f'{where}: five tables have retention', gone)
    again = [f for f in books.flows if books.cut(f['ts'], 'day') < before][:20]
    if again:
        books.take([dict(f, src='198.18.0.77') for f in again], [])
    books.roll()
    check_figures(tap, f'{where}, retention of {[g[0] for g in gone]}', books)
    cur.execute("update hirundo.setting set value = 'off' where name like 'retention_%'")
    return used


def check_dropped(tap, i, books):
    """What was rolled up of days whose flow is gone stays; late marks of theirs go."""
    cur, where = books.cur, f'case {i} in {books.zone}, flow dropped'
    retention(cur, 'flow', test_figures.FIRST.date() + 2 * DAY, 'UTC')
    before = books.contents()
    cur.execute('select hirundo.partition_expire()')
    tap.check(len(cur.fetchall()) >= 1, f'{where}: there was some')
    for f in books.flows[:50] + books.floods:
        books.mark(f)
    books.roll()
    after = books.contents()
    tap.check(all(same(before[t], after[t]) for t in before), f'{where}: rollups stay')
    cur.execute('select count(*) from hirundo.dirty')
    tap.check(cur.fetchone()[0] == 0, f'{where}: marks go')


def check_zone(tap, i, books):
    cur = books.cur
    books.zone = books.rng.choice([z for z in test_figures.ZONES if z != books.zone])
    common.settings(cur, books.zone, 'JP')
    where = f'case {i}, time zone changed to {books.zone}'
    check_figures(tap, f'{where}, not rolled up', books, 2)
    books.roll()
    check_contents(tap, where, books)
    check_figures(tap, where, books, 2)


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    conn = common.connect()
    tap, used = Tap(), [0, 0, 0]
    for i in range(5):
        cur = conn.cursor()
        cur.execute("select set_config('timezone', %s, true)", (rng.choice(test_figures.ZONES),))
        books = Books(rng, cur, rng.choice(test_figures.ZONES))
        used = [a + b for a, b in zip(used, check_case(tap, i, books))]
        conn.rollback()
        cur = conn.cursor()
        books = Books(rng, cur, rng.choice(test_figures.ZONES))
        late = fill(books)
        books.take(*late)
        books.roll()
        (check_dropped if i % 2 else check_zone)(tap, i, books)
        conn.rollback()
    tap.check(
        used[0] > 20 and used[1] > 20 and used[2] > 10,
        f'figures came from {used[0]} days, {used[1]} hours and {used[2]} months of rollups',
    )
    print(f'1..{tap.count}')
    return 1 if tap.failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
