#!/usr/bin/python3
"""top_ports, source_hosts_daily and sensor_average against a computation of their own.

On random rows in random time zones.

Prints TAP. The seed is fixed; SEED=n tries another.
"""
import collections
import datetime
import os
import random
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import common

ZONES = [
    'UTC',
    'Asia/Tokyo',
    'Asia/Kathmandu',
    'Asia/Kolkata',
    'America/St_Johns',
    'Australia/Lord_Howe',
    'Europe/Berlin',
    'America/New_York',
    'Pacific/Chatham',
    'Pacific/Kiritimati',
    'America/Caracas',
]
FIRST = datetime.datetime(2023, 3, 24, 12, tzinfo=common.UTC)
SLOTS = 96 * 5
ASKED = ['198.18.0.0/26', '2001:db8::/40']
PORTS = ['22/TCP', 'ICMP', 'TCP/fragment', 'GRE']


def random_flows(rng, sensors):
    out = []
    for _ in range(rng.choice([0, 50, 1500])):
        proto = rng.choice([6, 6, 6, 6, 17, 17, 1, 58, 47, 50])
        marks = rng.choice([0, 0, 0, 0, 1, 2, 4, 8, 12, 16])
        port = {
            6: rng.choice([22, 23, 80]),
            17: rng.choice([53, 123]),
            1: rng.choice([0, 3, 8, 8, 11]) * 256,
            58: rng.choice([1, 128, 135]) * 256,
        }.get(proto)
        if marks & 12 and rng.random() < 0.7:
            port = None
        out.append(
            dict(
                ts=FIRST + datetime.timedelta(milliseconds=rng.randrange(SLOTS * 900000)),
                sensor_id=rng.choice(sensors),
                src=rng.choice(['198.18.0.%d', '2001:db8::%d', '100.64.0.%d']) % rng.randrange(90),
                proto=proto,
                port=port,
                ttl=rng.randrange(256),
                packets=rng.choice([1, 1, 2, 7]),
                duration_ms=rng.choice([0, 0, 400, 59000]),
                tcp_flags=rng.choice([2, 2, 2, 16, 18, 4]) if proto == 6 else 0,
                marks=marks,
                src_port=rng.choice([53, 40000, 50000]) if proto in (6, 17) else None,
                tcp_window=rng.choice([5656, 29200]) if proto == 6 else None,
                ip_id=rng.choice([1, 2, 3, 54321]),
            )
        )
    return out


class Case:
    """Random sensors, observation and rows; what the functions must say of them."""

    def __init__(self, rng, cur):
        self.rng, self.cur = rng, cur
        self.zone = rng.choice(ZONES)
        self.tz = ZoneInfo(self.zone)
        common.settings(cur, self.zone, 'JP')
        self.country = {
            common.add_sensor(cur, n, c): c
            for n, c in rng.sample(
                [('a', 'JP'), ('b', 'JP'), ('c', 'TW'), ('d', 'KR'), ('e', 'GH')], rng.randint(1, 5)
            )
        }
        cur.execute('select sensor_id, name from hirundo.sensor')
        self.name = dict(cur.fetchall())
        self.flows = random_flows(rng, list(self.country))
        common.add_flows(cur, self.flows)
        self.floods = [
            (
                FIRST + datetime.timedelta(milliseconds=rng.randrange(SLOTS * 900000)),
                rng.choice(list(self.country)),
                *rng.choice(
                    [
                        (6, 22, '22/TCP'),
                        (6, None, 'TCP/unknown'),
                        (1, 2048, 'ICMP'),
                        (47, None, 'GRE'),
                    ]
                ),
                rng.randrange(1, 10**10),
            )
            for _ in range(rng.choice([0, 0, 5]))
        ]
        for ts, sensor, proto, port, _, n in self.floods:
            cur.execute('select hirundo.partition_ensure(%s)', (ts.date(),))
            cur.execute(
                'insert into hirundo.flood values (%s, %s, 1, null, %s, %s, 1, %s, 2, 1, 9)',
                (ts, n, port, sensor, proto),
            )
        self.covered = self.observe()
        a, b = sorted(rng.sample(range(SLOTS + 1), 2))
        self.first, self.past = (FIRST + datetime.timedelta(minutes=15 * x) for x in (a, b))

    def observe(self):
        covered = {}
        for sensor in self.country:
            gap = sorted(self.rng.choices(range(SLOTS), k=2))
            for i in range(SLOTS):
                if not gap[0] <= i < gap[1]:
                    covered[sensor, FIRST + datetime.timedelta(minutes=15 * i)] = self.rng.choice(
                        [900000, 900000, 60000, 0]
                    )
        self.cur.executemany(
            'insert into hirundo.observation (sensor_id, slot, covered_ms) values (%s, %s, %s)',
            [(*k, v) for k, v in covered.items()],
        )
        return covered

    def within(self, ts):
        return self.first <= ts < self.past

    def day(self, ts):
        return ts.astimezone(self.tz).date()

    def days(self):
        day, last = self.day(self.first), self.day(self.past - datetime.timedelta(microseconds=1))
        while day <= last:
            yield day
            day += datetime.timedelta(days=1)

    def packets(self):
        """(ts, sensor, port, packets) of all that counts in totals"""
        for f in self.flows:
            if self.within(f['ts']) and not f['marks'] & 16:
                yield f['ts'], f['sensor_id'], common.port_name(f), f['packets']
        for ts, sensor, _, _, port, n in self.floods:
            if self.within(ts):
                yield ts, sensor, port, n

    def top_ports(self, n):
        count = collections.Counter()
        for _, sensor, port, packets in self.packets():
            count[sensor, port] += packets
        out = []
        for sensor in sorted(self.country, key=self.name.get):
            ranked = sorted(((-c, port) for (s, port), c in count.items() if s == sensor))[:n]
            if not ranked and self.is_out(sensor):
                out.append((self.name[sensor], None, None, None))
            out += [
                (self.name[sensor], rank + 1, port, -c) for rank, (c, port) in enumerate(ranked)
            ]
        return out

    def is_out(self, sensor):
        """It had begun by the end, and observed nothing."""
        slots = [(slot, ms) for (s, slot), ms in self.covered.items() if s == sensor]
        return any(slot < self.past for slot, _ in slots) and not any(ms and self.within(slot) for slot, ms in slots)

    def source_hosts(self, sources, ports):
        hits = [
            f
            for f in self.flows
            if self.within(f['ts'])
            and common.inside(f['src'], sources)
            and common.traffic_class(f) not in ('local', 'backscatter')
            and (ports is None or common.port_name(f) in ports)
        ]
        observed = {
            self.day(slot) for (_, slot), ms in self.covered.items() if ms and self.within(slot)
        }
        names = sorted({common.port_name(f) for f in hits} | set(ports or []))
        out = []
        for day in self.days():
            for port in names:
                mine = [f for f in hits if self.day(f['ts']) == day and common.port_name(f) == port]
                none = 0 if day in observed else None
                out.append(
                    (
                        day,
                        port,
                        len({f['src'] for f in mine}) or none,
                        sum(f['packets'] for f in mine) or none,
                        len({f['sensor_id'] for f in mine}),
                        *(self.alone(mine) if sources is not None and (mine or day in observed) else (None, None)),
                    )
                )
        return out

    def alone(self, flows):
        """How many hosts one sensor alone saw, of the one with most such, and its name."""
        seen = collections.defaultdict(set)
        for f in flows:
            seen[f['src']].add(f['sensor_id'])
        count = collections.Counter(next(iter(s)) for s in seen.values() if len(s) == 1)
        return self.largest(count) or (0, None)

    def largest(self, count):
        """(how much, name) of the first sensor of those with most; None where there is nothing."""
        n, sensor = max(((n, -sensor) for sensor, n in count.items()), default=(0, None))
        return (n, self.name[-sensor]) if n else None

    def bucket(self, day, kind):
        return {
            'day': day,
            'week': day - datetime.timedelta(days=day.weekday()),
            'month': day.replace(day=1),
            'quarter': day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1),
        }[kind]

    def averages(self, kind):
        packets, covered, by_sensor = collections.Counter(), collections.Counter(), collections.defaultdict(collections.Counter)
        for ts, sensor, _, n in self.packets():
            key = self.bucket(self.day(ts), kind), self.country[sensor] == 'JP'
            packets[key] += n
            by_sensor[key][sensor] += n
        for (sensor, slot), ms in self.covered.items():
            if self.within(slot):
                covered[self.bucket(self.day(slot), kind), self.country[sensor] == 'JP'] += ms
        out = []
        for b in sorted({self.bucket(d, kind) for d in self.days()}):
            for home in (True, False):
                n, ms = packets[b, home], covered[b, home]
                average = round(Fraction(n * 86400000, ms), 9) if ms else None
                # nobody observed and nothing came: not known
                most, name = self.largest(by_sensor[b, home]) or (0, None)
                share = Fraction((2 * most * 10**4 + n) // (2 * n), 10**4) if n else None
                out.append((b, 'home' if home else 'overseas', n if n or ms else None, Fraction(ms, 86400000), average, share, name))
        return out


def near(got, want):
    if len(got) != len(want):
        return False
    return all(
        len(g) == len(w)
        and all(
            a == b
            or (
                isinstance(a, Decimal)
                and b is not None
                and abs(Fraction(a) - b) <= Fraction(1, 10**6)
            )
            for a, b in zip(g, w)
        )
        for g, w in zip(got, want)
    )


def check(case):
    cur, period = case.cur, (case.first, case.past)
    for n in (3, 10):
        cur.execute(
            'select sensor, rank, port, packets from hirundo.top_ports(tstzrange(%s, %s), %s)',
            (*period, n),
        )
        yield f'top_ports {n}', cur.fetchall(), case.top_ports(n)
    for sources, ports in ((None, None), (ASKED, PORTS), (ASKED, None), (None, PORTS)):
        cur.execute(
            'select day, port, hosts, packets, sensors, hosts_alone, largest_sensor from hirundo.source_hosts_daily(tstzrange(%s, %s), %s::cidr[], %s)',
            (*period, sources, ports),
        )
        yield f'source_hosts_daily {sources} {ports}', cur.fetchall(), case.source_hosts(
            sources, ports
        )
    for kind in ('day', 'week', 'month', 'quarter'):
        cur.execute('select bucket, side, packets, sensor_days, average, largest_share, largest_sensor from hirundo.sensor_average(tstzrange(%s, %s), %s)', (*period, kind))
        yield f'sensor_average {kind}', cur.fetchall(), case.averages(kind)


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    conn = common.connect()
    count = failed = 0
    for i in range(25):
        cur = conn.cursor()
        cur.execute("select set_config('timezone', %s, true)", (rng.choice(ZONES),))
        case = Case(rng, cur)
        for what, got, want in check(case):
            count += 1
            good = near(got, want)
            failed += not good
            print(f"{'ok' if good else 'not ok'} {count} - case {i} in {case.zone}: {what}")
            for g, w in [] if good else list(zip(got, want)) + [(len(got), len(want))]:
                if g != w:
                    print(f'# {g} should be {w}')
        conn.rollback()
    print(f'1..{count}')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
