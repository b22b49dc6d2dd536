#!/usr/bin/python3
"""ttl_origin and ttl_spread against a computation of their own, on random networks.

Prints TAP. The seed is fixed; SEED=n tries another, ROUNDS=n sets how many networks.
"""
import collections
import datetime
import math
import os
import random
from fractions import Fraction

import common

DAY = datetime.datetime(2023, 3, 1, tzinfo=common.UTC)
PERIOD = ('2023-03-01T00:00Z', '2023-03-02T00:00Z')
HOME = 'JP'
AWAY = ['AU', 'BN', 'GH', 'HK', 'KR', 'LK', 'MY', 'TW', 'US']
ASKED = ['198.18.0.0/25', '2001:db8:1::/48']
PORTS = ['22/TCP', '5900/TCP']


def lower(values, share=Fraction(1, 2)):
    """percentile_disc"""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def sign_p(k, n):
    return Fraction(sum(math.comb(n, i) for i in range(k, n + 1)), 2**n)


def cells(flows):
    packets = collections.defaultdict(collections.Counter)
    for f in flows:
        if (
            f['proto'] in (1, 58)
            or f['marks'] & 4
            or common.traffic_class(f) in ('backscatter', 'local')
        ):
            continue
        t0 = next(t for t in (32, 64, 128, 255) if f['ttl'] <= t)
        packets[f['src'], f['sensor_id'], t0][f['ttl']] += f['packets']
    out = {}
    for key, ttls in packets.items():
        hops = lower([key[2] - ttl for ttl, n in ttls.items() for _ in range(n)])
        if hops <= 40:
            out[key] = {'hops': hops, 'packets': sum(ttls.values()), 'ttls': set(ttls)}
    return out


def at_home(cell, country):
    """{(source, t0): hops at home}"""
    seen = collections.defaultdict(list)
    for (src, sensor, t0), c in cell.items():
        if country[sensor] == HOME:
            seen[src, t0].append(c['hops'])
    return {k: lower(v) for k, v in seen.items()}


def regions_of(cell, country, ref):
    rows = {}
    for region in sorted({country[s] for _, s, _ in cell}):
        mine = {k: c for k, c in cell.items() if country[k[1]] == region}
        d = (
            [c['hops'] - ref[k[0], k[2]] for k, c in mine.items() if (k[0], k[2]) in ref]
            if region != HOME
            else []
        )
        pos, neg = sum(x > 0 for x in d), sum(x < 0 for x in d)
        weak = False
        for t0 in {k[2] for k in mine} if region != HOME else ():
            span = [c['hops'] for k, c in cell.items() if country[k[1]] == HOME and k[2] == t0]
            if span and min(span) <= lower(
                [c['hops'] for k, c in mine.items() if k[2] == t0]
            ) <= max(span):
                weak = True
        ttls = set().union(*(c['ttls'] for c in mine.values()))
        rows[region] = {
            'pairs': len(d),
            'median': lower(d) if d else None,
            'share': round(pos / len(d), 4) if d else None,
            'p': sign_p(pos, pos + neg) if d else None,
            'p_near': sign_p(neg, pos + neg) if d else None,
            'min': min(ttls),
            'max': max(ttls),
            'sources': len({k[0] for k in mine}),
            'packets': sum(c['packets'] for c in mine.values()),
            'weak': weak,
        }
    return rows


def alike(cell, control, country, judged):
    """'alike', 'unlike' or 'too few': by initial TTL, for each that holds a fifth of the pairs"""
    ref, cref = at_home(cell, country), at_home(control, country)
    pairs = collections.Counter(k[2] for k in cell if country[k[1]] != HOME and (k[0], k[2]) in ref)
    answers = set()
    for t0, n in pairs.items():
        if n * 5 < sum(pairs.values()):
            continue
        home = [h for (_, t), h in cref.items() if t == t0]
        if len(home) < 20:
            answers.add('too few')
            continue
        near = compared = 0
        for region in judged:
            ours = [c['hops'] for k, c in cell.items() if k[2] == t0 and country[k[1]] == region]
            theirs = [
                c['hops']
                for k, c in control.items()
                if k[2] == t0 and country[k[1]] == region and (k[0], t0) in cref
            ]
            if ours and theirs:
                compared += 1
                near += abs(lower(ours) - lower(theirs)) <= 2
        if compared < 3:
            answers.add('too few')
        elif (
            lower([h for (_, t), h in ref.items() if t == t0]) > lower(home, Fraction(95, 100))
            or near * 3 < compared * 2
        ):
            answers.add('unlike')
        else:
            answers.add('alike')
    return 'unlike' if 'unlike' in answers else 'too few' if 'too few' in answers else 'alike'


def expected(flows, country):
    cell = cells(
        [f for f in flows if common.inside(f['src'], ASKED) and common.port_name(f) in PORTS]
    )
    rows = regions_of(cell, country, at_home(cell, country))
    judged = [r for r, x in rows.items() if r != HOME and x['pairs'] >= 10]
    farther = [r for r in judged if rows[r]['median'] >= 1 and rows[r]['p'] < Fraction(1, 100)]
    nearer = [r for r in judged if rows[r]['median'] <= -1 and rows[r]['p_near'] < Fraction(1, 100)]
    multi = [c for c in cell.values() if c['packets'] > 1]
    wide = [c for c in multi if max(c['ttls']) - min(c['ttls']) > 4]
    if HOME not in country.values():
        verdict = 'undetermined', 'no home sensor'
    elif len(judged) < 3:
        verdict = 'undetermined', 'regions' if cell else 'no packets'
    elif len(wide) > 0.2 * len(multi):
        verdict = 'undetermined', 'randomised'
    elif len(nearer) >= 2 and len(nearer) >= 0.2 * len(judged):
        verdict = 'contradicts_home', ''
    elif nearer:
        verdict = 'undetermined', 'closer: ' + ', '.join(nearer)
    elif len(farther) >= 3 and len(farther) >= 0.6 * len(judged):
        control = cells(
            [
                f
                for f in flows
                if common.inside(f['src'], ['198.18.0.0/16', '2001:db8::/32'])
                and not common.inside(f['src'], ASKED)
            ]
        )
        verdict = {
            'alike': ('consistent_with_home', ''),
            'unlike': ('undetermined', 'unlike other sources of JP'),
            'too few': ('home_nearest', 'too few controls'),
        }[alike(cell, control, country, judged)]
    else:
        verdict = 'undetermined', 'not clearly nearest'
    return rows, verdict


def spread(flows, country):
    chosen = [f for f in flows if common.inside(f['src'], ASKED) and common.port_name(f) in PORTS]
    out = []
    for region in sorted({country[f['sensor_id']] for f in chosen}, key=lambda r: (r != HOME, r)):
        mine = [f for f in chosen if country[f['sensor_id']] == region]
        ttls = [f['ttl'] for f in mine for _ in range(f['packets'])]
        out.append(
            (
                region,
                min(ttls),
                max(ttls),
                lower(ttls),
                len({f['src'] for f in mine}),
                len(ttls),
                len({f['src'] for f in chosen}),
            )
        )
    return out


class Network:
    """Random sensors and a random truth: where the sources really are."""

    def __init__(self, rng, cur):
        self.rng = rng
        regions = rng.sample(
            AWAY, rng.choice([1, 2, 3, 4, 6, 9]) if rng.random() < 0.3 else rng.randint(4, 9)
        )
        names = (
            ([HOME] * rng.randint(1, 3) if rng.random() > 0.05 else [])
            + regions
            + rng.choices(regions, k=rng.randint(0, 2))
        )
        self.country = {common.add_sensor(cur, f's{i}', c): c for i, c in enumerate(names)}
        self.truth = rng.choices(
            ['home', 'foreign', 'alike', 'random', 'mixed', 'behind', 'near'], [5, 3, 1, 1, 2, 2, 2]
        )[0]
        self.distance = {c: {s: self.far(c, s) for s in self.country} for c in [HOME] + regions}
        self.origin = rng.choice(regions)
        self.noise = rng.choice([0, 0, 1, 3])
        self.t0s = rng.choice([[255], [64], [64, 128], [64, 255, 32]])

    def far(self, origin, sensor):
        return self.rng.randint(4, 9) if self.country[sensor] == origin else self.rng.randint(8, 22)

    def hops(self, sensor, at_home, source):
        if at_home or self.truth == 'home':
            h = self.distance[HOME][sensor]
        elif self.truth == 'foreign':
            h = self.distance[self.origin][sensor]
        elif self.truth == 'alike':
            h = 12
        elif self.truth == 'behind':  # farther than home's own hosts from everybody: a neighbour
            h = self.distance[HOME][sensor] + 4
        elif self.truth == 'near':  # one region is nearer to it than home is
            h = 3 if self.country[sensor] == self.origin else self.distance[HOME][sensor] + 2
        elif self.truth == 'mixed':
            h = self.distance[HOME if source % 2 else self.origin][sensor]
        else:
            h = self.rng.randint(0, 60)
        return max(h + self.rng.randint(-self.noise, self.noise), 0)

    def send(self, src, n, control):
        rng, flows = self.rng, []
        t0 = rng.choice(self.t0s)
        for sensor in self.country:
            if rng.random() < 0.15:
                continue
            for _ in range(rng.choice([1, 1, 2, 3])):
                if rng.random() < 0.05:
                    t0 = rng.choice(self.t0s)
                flows.append(
                    dict(
                        ts=DAY
                        + datetime.timedelta(milliseconds=rng.randrange(86400000))
                        + datetime.timedelta(days=rng.random() < 0.03),
                        sensor_id=sensor,
                        src=src,
                        proto=6 if rng.random() < 0.95 else rng.choice([1, 17, 47, 58]),
                        port=rng.choice([22, 5900]),
                        ttl=max(t0 - self.hops(sensor, control, n), 0),
                        packets=rng.choice([1, 1, 1, 2, 5]),
                        tcp_flags=2,
                        marks=0 if rng.random() < 0.93 else rng.choice([1, 4, 8, 16]),
                        src_port=rng.choice([53, 40000]),
                    )
                )
                f = flows[-1]
                if control:
                    f['port'] = rng.choice([22, 80, 443])
                if f['proto'] == 6 and rng.random() < 0.05:
                    f['tcp_flags'] = rng.choice([18, 4, 16, 20])
                if f['proto'] != 6:
                    f['tcp_flags'] = 0
                if f['proto'] in (1, 58):
                    f['port'] = rng.choice([8, 3, 128, 1]) * 256
                if f['proto'] == 47 or (f['marks'] & 4 and rng.random() < 0.5):
                    f['port'] = None
        return flows

    def flows(self):
        rng, out = self.rng, []
        family = (
            (lambda block, i: f'198.18.{block * 3}.{i}')
            if rng.random() < 0.7
            else (lambda block, i: f'2001:db8:{block + 1:x}::{i:x}')
        )
        for i in range(1, rng.choice([6, 20, 30, 40])):
            out += self.send(family(0, i), i, False)
        for i in range(1, rng.choice([3, 30, 40, 40, 40])):
            out += self.send(family(1, i), i, True)
        for i in range(1, 10):
            out += self.send(f'198.19.0.{i}', i, True)
        return out


def one_round(conn, seed):
    cur = conn.cursor()
    common.settings(cur, 'UTC', HOME)
    cur.execute(
        "insert into hirundo.prefix_set (as_of, source, prefixes, ranges) "
        "values ('2023-01-01', 'test', 3, 3) returning set_id"
    )
    set_id = cur.fetchone()[0]
    cur.execute(
        "insert into hirundo.network (set_id, lo, hi, country) "
        "values (%s, '198.18.0.0', '198.18.255.255', 'JP'), "
        "(%s, '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'JP'), "
        "(%s, '198.19.0.0', '198.19.255.255', 'US')",
        (set_id,) * 3,
    )
    network = Network(random.Random(seed), cur)
    flows = network.flows()
    common.add_flows(cur, flows)
    country = network.country
    today = [f for f in flows if f['ts'] < DAY + datetime.timedelta(days=1)]
    rows, (verdict, reason) = expected(today, country)

    cur.execute(
        'select * from hirundo.ttl_origin(tstzrange(%s, %s), %s::cidr[], %s)',
        (*PERIOD, ASKED, PORTS),
    )
    got = cur.fetchall()
    problems = []
    want = [
        (
            r,
            x['pairs'],
            x['median'],
            x['share'],
            x['p'],
            x['min'],
            x['max'],
            x['sources'],
            x['packets'],
            x['weak'],
        )
        for r, x in sorted(rows.items(), key=lambda i: (i[0] != HOME, i[0]))
    ] or [(None, 0, None, None, None, None, None, 0, 0, False)]
    for g, w in zip(got, want):
        same = all(
            abs(float(a) - float(b)) <= 1e-4 * (i == 3) + 1e-9 * float(b)
            if i in (3, 4) and None not in (a, b)
            else a == b
            for i, (a, b) in enumerate(zip(g, w))
        )
        if not same:
            problems.append(f'row {g[:10]} should be {w}')
    if len(got) != len(want):
        problems.append(f'{len(got)} rows, should be {len(want)}')
    if len({g[10:12] for g in got}) != 1:
        problems.append('verdict or reason differ between rows')
    if got[0][10] != verdict or reason not in got[0][11]:
        problems.append(f'verdict {got[0][10:12]} should be {verdict}, {reason}')
    cur.execute(
        'select region, ttl_min, ttl_max, ttl_median, sources, packets, all_sources from hirundo.ttl_spread(tstzrange(%s, %s), %s::cidr[], %s)',
        (*PERIOD, ASKED, PORTS),
    )
    if cur.fetchall() != spread(today, country):
        problems.append('ttl_spread differs')
    conn.rollback()
    return problems, (verdict, reason.split(':')[0]), network.truth


def main():
    seed, rounds = int(os.environ.get('SEED', '1')), int(os.environ.get('ROUNDS', '100'))
    conn = common.connect()
    verdicts, failed = collections.Counter(), 0
    for i in range(rounds):
        problems, verdict, truth = one_round(conn, seed * 1000003 + i)
        verdicts[verdict] += 1
        print(f"{'not ok' if problems else 'ok'} {i + 1} - {truth}: {' '.join(verdict)}")
        for p in problems:
            print('#', p)
        failed += bool(problems)
    for v, n in sorted(verdicts.items()):
        print('#', n, *v)
    kinds = {v[0] for v in verdicts} | {v[1] for v in verdicts}
    wanted = {
        'consistent_with_home',
        'home_nearest',
        'contradicts_home',
        'closer',
        'unlike other sources of JP',
        'randomised',
        'regions',
        'not clearly nearest',
        'no home sensor',
    }
    missing = wanted - kinds if 'SEED' not in os.environ and 'ROUNDS' not in os.environ else set()
    print(
        f"{'not ok' if missing else 'ok'} {rounds + 1} - "
        f"every kind of verdict occurred {sorted(missing) or ''}"
    )
    print(f'1..{rounds + 1}')
    return 1 if failed or missing else 0


if __name__ == '__main__':
    raise SystemExit(main())
