#!/usr/bin/python3
"""scope and surges against a computation of their own, on random networks of some sensors and weeks.

Days are cut short, missed and floods come in between; ports rise everywhere, in one region, at one sensor, or because a sensor is new.
Each answer is taken from flow, from rollups, and from rollups with late data. The tail of counts is held against sums of fractions.

Prints TAP. The seed is fixed; SEED=n tries another.
"""
import collections
import datetime
import os
import random
from fractions import Fraction
from zoneinfo import ZoneInfo

import common
import surge_model
import test_figures
from surge_model import DAY

FIRST = datetime.date(2023, 2, 20)
DAYS = 44
ASKED = (FIRST + 30 * DAY, FIRST + DAYS * DAY)
PORTS = {'22/TCP': (6, 22), '5900/TCP': (6, 5900), '123/UDP': (17, 123), 'GRE': (47, None)}


class Network:
    """Random sensors, and what they saw of whom."""

    def __init__(self, rng, cur, zone):
        self.rng, self.cur, self.tz = rng, cur, ZoneInfo(zone)
        common.settings(cur, zone, 'JP')
        places = [('a', 'JP'), ('b', 'JP'), ('c', 'TW'), ('d', 'KR'), ('e', 'TW'), ('f', 'GH')]
        self.country = {common.add_sensor(cur, n, c): c for n, c in places[: rng.choice([3, 6, 6, 6])]}
        cur.execute('select sensor_id, name from hirundo.sensor')
        self.name = dict(cur.fetchall())
        self.days = [FIRST + i * DAY for i in range(DAYS)]
        self.flows = []
        self.covered = {s: self.observe(s) for s in self.country}
        for port in PORTS:
            self.send(port)
        rng.shuffle(self.flows)

    def midnight(self, day):
        # in UTC, where adding hours adds hours
        return datetime.datetime.combine(day, datetime.time(), self.tz).astimezone(common.UTC)

    def length(self, day):
        return round((self.midnight(day + DAY) - self.midnight(day)).total_seconds() * 1000)

    def observe(self, sensor):
        """ms by day; one sensor is new, one was away for a while, some days are short"""
        rng, covered = self.rng, {}
        born = rng.choice([0] * 8 + [5, 22])
        away = range(*sorted(rng.choices(range(DAYS), k=2))) if rng.random() < 0.2 else ()
        for i, day in enumerate(self.days):
            share = 0 if i < born or (i in away and i % 9) else rng.choice([1] * 12 + [0.75, 0.3])
            ms = int(self.length(day) * share) // 900000 * 900000
            if ms:
                covered[day] = ms
                self.cur.execute(
                    'insert into hirundo.observation (sensor_id, slot, covered_ms) '
                    "select %s, g, 900000 from generate_series(%s, %s - interval '1 second', interval '15 minutes') g",
                    (sensor, self.midnight(day), self.midnight(day) + datetime.timedelta(milliseconds=ms)))
        return covered

    def send(self, port):
        rng = self.rng
        proto, number = PORTS[port]
        mean = rng.choice([0.3, 2, 8, 20])
        weekend = rng.choice([1, 1, 0.5])
        surge = range(*sorted(rng.sample(range(26, DAYS + 1), 2))) if rng.random() < 0.9 else ()
        kind = rng.choice(['everywhere', 'everywhere', 'region', 'sensor'])
        some = rng.choice(list(self.country))
        extra = rng.choice([10, 25])
        for i, day in enumerate(self.days):
            pool = range(int(mean * rng.choice([0.7, 1, 1, 1.3]) * (weekend if day.weekday() > 4 else 1)))
            for s, covered in self.covered.items():
                hosts = [h for h in pool if rng.random() < 0.8]
                if rng.random() < 0.2:
                    hosts.append(rng.randrange(200, 240))
                if i in surge and (kind == 'everywhere' or s == some or (kind == 'region' and self.country[s] == self.country[some])):
                    hosts += [1000 + i * 40 + h for h in range(extra)]
                for h in hosts if day in covered else []:
                    self.flows.append(dict(
                        ts=self.midnight(day) + datetime.timedelta(milliseconds=rng.randrange(covered[day])),
                        sensor_id=s, src=f'198.18.{h // 256}.{h % 256}', proto=proto, port=number, ttl=50, packets=rng.choice([1, 1, 5]),
                        # 1 in 30 is a victim's answer, 1 in 30 no SYN
                        tcp_flags=rng.choice([2] * 28 + [18, 16]) if proto == 6 else 0, marks=0,
                        src_port=rng.choice([40000] * 29 + [53])))

    def take(self, flows):
        common.add_flows(self.cur, flows)
        for s, hour in {(f['sensor_id'], f['ts'].astimezone(common.UTC).replace(minute=0, second=0, microsecond=0)) for f in flows}:
            self.cur.execute('insert into hirundo.dirty as d (sensor_id, hour) values (%s, %s) on conflict (sensor_id, hour) do update set gen = d.gen + 1', (s, hour))

    def roll(self):
        while True:
            self.cur.execute('select hirundo.rollup_step()')
            if self.cur.fetchone()[0] == 0:
                return

    def books(self):
        """hosts[port][day], counts[sensor][port][day]"""
        hosts = collections.defaultdict(lambda: collections.defaultdict(set))
        counts = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(set)))
        for f in self.flows:
            kind = common.traffic_class(f)
            if kind not in ('backscatter', 'local'):
                day = f['ts'].astimezone(self.tz).date()
                hosts[common.port_name(f)][day].add(f['src'])
                counts[f['sensor_id']][common.port_name(f)][day].add((kind, f['src']))
        return ({p: {d: len(x) for d, x in c.items()} for p, c in hosts.items()},
                {s: {p: {d: len(x) for d, x in c.items()} for p, c in by.items()} for s, by in counts.items()})


def close(a, b):
    if a is None or b is None:
        return a is b
    # results are rounded to two digits
    return abs(float(a) - float(b)) <= 0.0051 + 1e-6 * abs(float(b))


def scopes(net, counts, port, first, past):
    s = surge_model.scope({x: c.get(port, {}) for x, c in counts.items()}, net.covered, net.country, first, past - DAY)
    return s, {net.name[x]: r for x, r in s['rows'].items()}


def check_scope(net, counts):
    """Yields (what, good, detail) for ports and periods."""
    for port in [*PORTS] * 3:
        a = net.rng.randrange(15, DAYS)
        b = net.rng.choice([min(a + 1 + net.rng.randrange(7), DAYS), net.rng.randint(a + 1, DAYS)])
        first, past = FIRST + a * DAY, FIRST + b * DAY
        net.cur.execute(
            'select sensor, sources, expected, p_value, coalesce(rose, false), sensors_rose, sensors_compared, largest_share, mean, mean_expected, '
            'median, median_expected, verdict, sensors_left_out from hirundo.scope(tstzrange(%s, %s), %s)',
            (net.midnight(first), net.midnight(past), port))
        got = net.cur.fetchall()
        want, rows = scopes(net, counts, port, first, past)
        good = bool(got) and all(g[12] == want['verdict'] and g[5:7] == (want['k'], want['n']) for g in got)
        for g in got if want['n'] else []:
            r = rows.get(g[0])
            good &= all(close(x, want.get(y)) for x, y in zip(g[8:12], ('mean', 'mean_expected', 'median', 'median_expected'))) or want['n'] < 3
            good &= r is None or (close(g[1], r['sources']) and close(g[2], r['expected']) and g[4] == r['rose']
                                  and abs(g[3] - r['p']) <= 1e-9 + 1e-6 * r['p'])
            good &= (r is None) == (g[3] is None)
        yield f'scope of {port} for {(past - first).days} days: {want["verdict"]}', good, [*got, want]


def check_surges(net, hosts, counts):
    observed = collections.Counter()
    for c in net.covered.values():
        observed.update(c)
    days = [ASKED[0] + i * DAY for i in range((ASKED[1] - ASKED[0]).days)]
    net.cur.execute('select port, first_day, last_day, days, peak_day, hosts, verdict, sensors_rose, sensors_compared '
                    'from hirundo.surges(tstzrange(%s, %s)) where port is not null', [net.midnight(d) for d in ASKED])
    got = net.cur.fetchall()
    want = surge_model.surges(hosts, observed, counts, net.covered, net.country, days)
    return f'surges: {len(want)}', got == want, [*[f'has {g}' for g in got if g not in want], *[f'lacks {w}' for w in want if w not in got]]


def check_tails(cur):
    """By sums of fractions, where size and probability are such."""
    for y, mean, phi in [(1, 1, 2), (5, 3, 2), (10, 3, 2), (40, 8, 3), (3, 8, 3), (200, 48, 5), (60, 48, 5), (30, 4, 5)]:
        size, q = Fraction(mean, phi - 1), Fraction(phi - 1, phi)
        mass, lower = Fraction(1), Fraction(0)
        for i in range(y):
            lower += mass
            mass = mass * q * (size + i) / (i + 1)
        # (1 / phi) ^ size is whole for these
        want = 1 - lower * Fraction(1, phi) ** size
        cur.execute('select hirundo.count_tail(%s, %s, %s)', (y, mean, phi))
        got = cur.fetchone()[0]
        yield f'the tail of {y} at mean {mean}, phi {phi}: {float(want):.3g}', abs(got - want) <= 1e-10 * want, [got]
    for y, mean in [(1, 0.1), (8, 2.5), (100, 60.0), (3, 9.0)]:
        cur.execute('select hirundo.count_tail(%s, %s, 1)', (y, mean))
        got, want = cur.fetchone()[0], surge_model.tail(y, mean, 1)
        yield f'Poisson, {y} at {mean}: {want:.3g}', abs(got - want) <= 1e-9 * want, [got]


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    conn = common.connect()
    count = failed = 0

    def tap(what, good, details):
        nonlocal count, failed
        count += 1
        failed += not good
        print(f"{'ok' if good else 'not ok'} {count} - {what}")
        for d in [] if good else details[:12]:
            print(f'# {d}')

    verdicts, found = collections.Counter(), 0
    for what, good, details in check_tails(conn.cursor()):
        tap(what, good, details)
    for i in range(int(os.environ.get('ROUNDS', '2'))):
        cur = conn.cursor()
        zone = rng.choice(test_figures.ZONES)
        cur.execute("select set_config('timezone', %s, true)", (rng.choice(test_figures.ZONES),))
        net = Network(rng, cur, zone)
        hosts, counts = net.books()
        late = len(net.flows) // 50 + 1
        for where, flows, roll in ((f'network {i} in {zone}, rolled up but for late rows', net.flows[late:], True), (f'network {i}, late rows', net.flows[:late], False),
                                   (f'network {i}, all rolled up', [], True), (f'network {i}, from flow', [], False)):
            net.take(flows)
            if roll:
                net.roll()
            if where.endswith('but for late rows'):
                continue
            if where.endswith('from flow'):
                cur.execute('delete from hirundo.rollup_day; delete from hirundo.rollup_hour; delete from hirundo.rollup_month')
            for what, good, details in [*check_scope(net, counts), check_surges(net, hosts, counts)]:
                tap(f'{where}: {what}', good, details)
                kind, _, result = what.partition(': ')
                if kind == 'surges':
                    found += int(result)
                else:
                    verdicts[result] += 1
        conn.rollback()
    tap(f'all of it occurs: {dict(verdicts)}, {found} surges', found > 5 and {'no_rise', 'undetermined'} < set(verdicts), [])
    print(f'1..{count}')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
