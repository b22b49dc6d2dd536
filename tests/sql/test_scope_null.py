#!/usr/bin/python3
"""How often does scope call a rise at a sensor where nothing happens? hirundo.count_baseline and count_tail on random counts, for periods of many days.

Aimed at: a probability below 0.01 in no more than one of a hundred. What docs/methods/surge.md has of it is TRIALS=1500 with TABLE=1.
The level is known from as few days as are judged, so the spread of both counts (1 + m/B); with that of the days alone the same counts alarm far more often,
and the test sees to it that they would. Days depend on each other, too, in one of the families. Prints TAP; the seed is fixed.
"""
import math
import os
import random

import common

LIMIT = 0.01
PERIODS = (1, 7, 28, 90)
ORDINARY = ('Poisson, 3 a day', 'overdispersed (3), 12 a day')
DEPENDENT = 'days that keep half of the day before, 12 a day'


def poisson(rng, mean):
    total, n, least = rng.random(), 0, math.exp(-mean)
    while total > least:
        total *= rng.random()
        n += 1
    return n


def independent(mean, phi):
    """Days on their own: Poisson, or gamma-Poisson of phi times its variance"""
    def days(rng, n):
        return [poisson(rng, mean if phi == 1 else rng.gammavariate(mean / (phi - 1), phi - 1)) for _ in range(n)]
    return days


def dependent(mean, rho):
    """A level that wanders: the logarithm of each day's mean keeps rho of the day before's"""
    def days(rng, n):
        x, out = rng.gauss(0, 1), []
        for _ in range(n):
            out.append(poisson(rng, mean * math.exp(0.3 * x)))
            x = rho * x + math.sqrt(1 - rho * rho) * rng.gauss(0, 1)
        return out
    return days


FAMILIES = {
    'Poisson, 3 a day': independent(3, 1),
    'Poisson, 30 a day': independent(30, 1),
    'overdispersed (3), 12 a day': independent(12, 3),
    DEPENDENT: dependent(12, 0.5),
    'days that keep half of the day before, 30 a day': dependent(30, 0.5),
    'days that keep four fifths, 12 a day': dependent(12, 0.8),
}


def shares(cur, rng, family, m, trials):
    """(with the level's error, without, of periods with half as many again): the share of periods of m days with a probability below LIMIT."""
    base = min(max(28, -(-m // 7) * 7), 91)
    cur.execute('create temp table world (history float8[], y bigint, more bigint) on commit drop')
    rows, added = [], random.Random(8)
    for _ in range(trials):
        days = FAMILIES[family](rng, base + m)
        # history is latest first
        y = sum(days[base:])
        rows.append((days[base - 1::-1], y, y + round(added.gauss(y / 2, math.sqrt(y / 2)))))
    for at in range(0, trials, 500):
        cur.execute('insert into world select h::float8[], y, more from unnest(%s::text[], %s::bigint[], %s::bigint[]) v(h, y, more)',
                    (['{' + ','.join(map(str, h)) + '}' for h, _, _ in rows[at:at + 500]], [y for _, y, _ in rows[at:at + 500]], [z for _, _, z in rows[at:at + 500]]))
    cur.execute(
        'select avg((hirundo.count_tail(t.y, w.n, b.phi) < %(p)s)::int), avg((hirundo.count_tail(t.y, w.n, one.phi) < %(p)s)::int), '
        'avg((hirundo.count_tail(t.more, w.n, b.phi) < %(p)s and t.more >= 1.25 * w.n)::int) '
        'from world t '
        'cross join lateral hirundo.count_baseline(t.history, %(m)s) b '
        'cross join lateral hirundo.count_baseline(t.history) one '
        'cross join lateral (select sum(b.weekday[((-d) %% 7 + 7) %% 7 + 1]) as n from generate_series(0, %(m)s - 1) d) w',
        dict(p=LIMIT, m=m))
    out = cur.fetchone()
    cur.execute('drop table world')
    return tuple(map(float, out))


def main():
    trials = int(os.environ.get('TRIALS', '800'))
    families = FAMILIES if os.environ.get('TABLE') else (*ORDINARY, DEPENDENT)
    cur = common.connect().cursor()
    rng = random.Random(7)
    found = {}
    for family in families:
        # of dependent days those for which the error of the level alone is far from enough
        for m in (7, 28) if family == DEPENDENT and not os.environ.get('TABLE') else PERIODS:
            found[family, m] = shares(cur, rng, family, m, trials)
    if os.environ.get('TABLE'):
        print('| counts |' + ''.join(f' {m} days |' for m in PERIODS) + '\n|---|' + '---|' * len(PERIODS))
        for family in FAMILIES:
            cells = (f'{100 * found[family, m][0]:.2f} ({100 * found[family, m][1]:.2f}) {100 * found[family, m][2]:.0f}' for m in PERIODS)
            print(f'| {family} | ' + ' | '.join(cells) + ' |')
        return 0
    # what so many trials of LIMIT come to, three deviations up
    most = LIMIT + 3 * math.sqrt(LIMIT / trials)
    results = [(f'{family}, {m} days: {100 * new:.2f}% below {LIMIT}', new <= most) for (family, m), (new, _, _) in found.items()]
    old = found['overdispersed (3), 12 a day', 28][1]
    results.append((f'without the error of the level {100 * old:.2f}% would be', old > 2 * LIMIT))
    for number, (what, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {what}")
    print(f'1..{len(results)}')
    return 0 if all(good for _, good in results) else 1


if __name__ == '__main__':
    raise SystemExit(main())
