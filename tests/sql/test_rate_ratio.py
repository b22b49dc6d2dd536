#!/usr/bin/python3
"""hirundo.rate_ratio against a computation of its own, and whether its intervals hold what they say.

Daily counts are drawn with a known ratio: Poisson, overdispersed (gamma-mixed) by day, and by week. Of 95% intervals at least
90% must hold the true ratio, and not all may be so wide that they never miss.

Prints TAP. The seed is fixed; SEED=n tries another.
"""
import math
import os
import random

import common

# the 97.5% points of Student's t, from a table
T = {3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 8: 2.306, 10: 2.228, 12: 2.179, 18: 2.101, 26: 2.056, 38: 2.024, 54: 2.005}


def t_point(df):
    """Between two of the table linear in 1/df."""
    lower = max((d for d in T if d <= df), default=min(T))
    upper = min((d for d in T if d >= df), default=max(T))
    if lower == upper:
        return T[lower]
    share = (1 / lower - 1 / df) / (1 / lower - 1 / upper)
    return T[lower] + share * (T[upper] - T[lower])


def expected(counts, times, later):
    cells = [(y, e, a) for y, e, a in zip(counts, times, later) if e > 0]
    sides = [[(y, e) for y, e, a in cells if a is side] for side in (False, True)]
    totals = [(sum(y for y, _ in s), sum(e for _, e in s)) for s in sides]
    if min(map(len, sides)) < 3 or totals[0][0] == 0:
        return None
    rates = [y / e for y, e in totals]

    def phi(blocks):
        n = sum(map(len, blocks)) - 2
        chi = sum((y - e * r) ** 2 / (e * r) for s, r in zip(blocks, rates) for y, e in s if r > 0)
        return (chi / n if n > 0 else 0), n
    weeks = [[(sum(y for y, _ in s[i : i + 7]), sum(e for _, e in s[i : i + 7])) for i in range(0, len(s), 7)] for s in sides]
    (by_day, df), (by_week, df_week) = phi(sides), phi(weeks)
    best = max(1, by_day)
    if df_week >= 3 and by_week > best:
        best, df = by_week, df_week
    after = max(totals[1][0], 0.5)
    width = math.exp(t_point(df) * math.sqrt(best * (1 / totals[0][0] + 1 / after))) if df >= 3 else None
    ratio = rates[1] / rates[0]
    return ratio, width and ratio / width, width and after / totals[1][1] / rates[0] * width, best


def poisson(rng, mean):
    """Knuth's, in pieces so that it does not underflow."""
    n = 0
    while mean > 0:
        limit, p, k = math.exp(-min(mean, 30)), rng.random(), 0
        while p > limit:
            p, k = p * rng.random(), k + 1
        n, mean = n + k, mean - 30
    return n


def draw(rng, kind, ratio):
    before, after = rng.choice([(28, 28), (21, 35), (56, 28)])
    times = [rng.choice([13, 13, 13, 12, 10.5]) for _ in range(before + after)]
    later = [i >= before for i in range(before + after)]
    counts = []
    for i, (e, a) in enumerate(zip(times, later)):
        if kind == 'by week' and (i if not a else i - before) % 7 == 0 or kind == 'by day':
            factor = rng.gammavariate(2, 1 / 2)
        counts.append(poisson(rng, e * 2 * (ratio if a else 1) * (1 if kind == 'by chance' else factor)))
    return counts, times, later


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    cur = common.connect().cursor()
    number = failed = 0

    def check(good, what):
        nonlocal number, failed
        number, failed = number + 1, failed + (not good)
        print(f"{'ok' if good else 'not ok'} {number} - {what}")

    def ask(counts, times, later):
        cur.execute('select * from hirundo.rate_ratio(%s::numeric[], %s::numeric[], %s)', (counts, times, later))
        return cur.fetchone()
    wrong = []
    for _ in range(150):
        n = rng.randint(2, 60)
        counts = [rng.choice([0, 0, 1, 5, rng.randrange(300)]) for _ in range(n)]
        times = [rng.choice([0, 1, 2.5, 13]) for _ in range(n)]
        split = rng.randrange(n)
        later = [i >= split for i in range(n)]
        got, want = ask(counts, times, later), expected(counts, times, later)
        if want is None:
            wrong += [] if got[0] is None else [(got, want)]
        elif not (math.isclose(float(got[0]), want[0], abs_tol=1e-4, rel_tol=1e-4) and math.isclose(float(got[3]), want[3], abs_tol=0.006)):
            wrong.append((got, want))
        elif want[1] is not None and want[2] < 1e6:  # t by a series is within a percent
            # compared as logarithms, since a percent of t is more than that of the bound
            a, b = (math.log(max(x, 1e-4) / max(want[0], 1e-4)) for x in (float(got[2]), want[2]))
            wrong += [] if math.isclose(a, b, rel_tol=0.02, abs_tol=0.01) else [(got, want)]
    check(not wrong, 'the same as by another computation')
    for case in wrong[:5]:
        print('#', *case)
    burst = ask([0] * 10 + [2000000] + [0] * 45, [13] * 56, [i >= 28 for i in range(56)])
    check(burst[0] == burst[1] == 0 and burst[2] > 10**9, 'one enormous day before and none after: an interval that says nothing, no error')
    total = 0
    for kind in ('by chance', 'by day', 'by week'):
        held = 0
        for _ in range(200):
            ratio = rng.choice([0.1, 0.5, 1, 2])
            answer = ask(*draw(rng, kind, ratio))
            held += answer[1] <= ratio <= answer[2]
        check(held >= 180, f'scattered {kind}: {held} of 200 intervals hold the true ratio')
        total += held
    check(total < 600, f'{600 - total} of 600 do not')
    print(f'1..{number}')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
