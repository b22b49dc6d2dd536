"""What scope and surges must say, computed from docs/methods/surge.md and not from the SQL.

Counts are plain dicts; a day that was not observed is missing or None. Slow and plain on purpose.
"""
import collections
import datetime
import math
import statistics

DAY = datetime.timedelta(days=1)
DAY_MS = 86400000


def tail(y, mean, phi):
    """P(Y >= y), Y negative binomial (Poisson for phi 1) of this mean and phi times as much variance."""
    if y <= 0:
        return 1.0
    if phi < 1.000001:
        def log_mass(i):
            return i * math.log(mean) - mean - math.lgamma(i + 1)
    else:
        size = mean / (phi - 1)

        def log_mass(i):
            return (
                math.lgamma(i + size) - math.lgamma(size) - math.lgamma(i + 1)
                - size * math.log(phi) + i * math.log((phi - 1) / phi)
            )
    if y <= mean:
        return max(0.0, 1 - math.fsum(math.exp(log_mass(i)) for i in range(y)))
    total, i = 0.0, y
    while True:
        term = math.exp(log_mass(i))
        total += term
        i += 1
        if term <= total * 1e-16:
            return min(total, 1.0)


def baseline(history, ahead=1):
    """history[i - 1]: the count i days before. None for fewer than 14 known days, else phi of the sum of so many days ahead, what to expect for k in 0..6."""
    known = {i: v for i, v in enumerate(history, 1) if v is not None}
    if len(known) < 14:
        return None
    middle = max(statistics.median(known.values()), 0.25)
    spread = max(1, (1.4826 * statistics.median(abs(v - middle) for v in known.values())) ** 2 / middle)
    weights = {}
    for i, v in known.items():
        residual = 1.5 * (v ** (2 / 3) - middle ** (2 / 3)) / middle ** (1 / 6) / math.sqrt(spread)
        weights[i] = 0 if residual > 5 else (2.58 / residual) ** 2 if residual > 2.58 else 1
    total = math.fsum(weights.values())
    level = (math.fsum(w * known[i] for i, w in weights.items()) + 0.5) / total
    pearson = math.fsum(w * (known[i] - level) ** 2 for i, w in weights.items()) / (total - 1) / level
    expected = []
    for k in range(7):
        same = [v for i, v in known.items() if i % 7 == k]
        expected.append(max(level, statistics.median_low(same) if len(same) >= 3 else 0))
    weeks = []
    for first in range(1, len(history) - 5, 7) if ahead >= 7 else ():
        days = [i for i in range(first, first + 7) if i in known]
        if math.fsum(weights[i] for i in days) >= 3.5:
            weeks.append(math.fsum(weights[i] * (known[i] - level) for i in days) ** 2 / math.fsum(weights[i] for i in days))
    between = math.fsum(weeks) / (len(weeks) - 1) / level if len(weeks) >= 3 else 0
    together = 0
    off = {i: weights[i] * (known[i] - level) for i in known}
    pairs = [off[i] * off[i + 1] for i in off if i + 1 in off]
    if ahead >= 7 and pairs:
        alike = math.fsum(pairs) / len(pairs) / (max(1, pearson) * level) + 1 / len(off) + 1 / math.sqrt(len(off))
        alike = min(max(alike, 0), 0.9)

        def of_sum(n):
            return 1 + 2 * alike * math.fsum((1 - k / n) * 0.5 ** (k - 1) for k in range(1, n))
        together = max(1, pearson) * len(off) / (len(off) - of_sum(len(off)) + 1) * (1.25 * of_sum(ahead) + ahead / total * of_sum(len(off)))
    return max(max(1, pearson, between) * (1.25 + ahead / total), together), expected


def base_days(days):
    return min(max(28, -(-days // 7) * 7), 91)


def sensor_evidence(counts, covered, first, last):
    """counts[day], covered[day] (ms): of one sensor, or of several added up. None: cannot be compared."""
    usable = {d: ms for d, ms in covered.items() if ms}
    period = [first + i * DAY for i in range((last - first).days + 1)]
    inside = [d for d in period if d in usable]
    history = [first - i * DAY for i in range(1, base_days(len(period)) + 1)]
    if not inside or sum(d in usable for d in history) < 14:
        return None
    unit = sum(usable[d] for d in inside) / len(inside)
    b = baseline([counts.get(d, 0) / usable[d] * unit if d in usable else None for d in history], len(inside))
    phi, daily = b
    wanted = math.fsum(daily[(first - d).days % 7] * usable[d] / unit for d in inside)
    n = sum(counts.get(d, 0) for d in inside)
    days = sum(usable[d] for d in inside) / DAY_MS
    return dict(expected=wanted / days, sources=n / days, p=tail(n, wanted, phi), total=n, wanted=wanted, phi=phi)


def scope(counts, covered, country, first, last):
    """counts[sensor][day] and covered[sensor][day]; the verdict and what it goes by."""
    half = {s: {d: ms for d, ms in c.items() if ms >= DAY_MS / 2} for s, c in covered.items()}
    rows = {s: sensor_evidence(counts.get(s, {}), half[s], first, last) for s in half}
    seen = {s: r for s, r in rows.items() if r}
    n = len(seen)
    for r in seen.values():
        r['rise'] = max(r['sources'] - r['expected'], 0)
        r['up'] = r['sources'] >= 1.25 * r['expected']
        r['rose'] = r['up'] and r['p'] < 0.05 / n
    k = sum(r['rose'] for r in seen.values())
    rise = math.fsum(r['rise'] for r in seen.values())
    out = dict(rows=rows, k=k, n=n, largest=max((r['rise'] for r in seen.values()), default=0) / rise if rise else None)
    if n == 0:
        return {**out, 'verdict': 'undetermined', 'risen': False}
    days = {d for s in seen for d in half[s]}
    together = sensor_evidence(
        {d: sum(counts.get(s, {}).get(d, 0) for s in seen if d in half[s]) for d in days},
        {d: sum(half[s].get(d, 0) for s in seen) for d in days}, first, last)
    sum_rose = together['sources'] >= 1.25 * together['expected'] and together['p'] < 0.01
    rose_in = {country[s] for s, r in seen.items() if r['rose']}
    median = [statistics.median(r[c] for r in seen.values()) for c in ('sources', 'expected')]
    out['median'], out['median_expected'] = median
    out['mean'], out['mean_expected'] = (math.fsum(r[c] for r in seen.values()) / n for c in ('sources', 'expected'))
    out['risen'] = k > 0 or sum_rose
    rises = [r['rise'] for r in seen.values() if r['rose']]
    lead, share_rose = (f(rises) / rise if rises and rise else 0 for f in (max, math.fsum))
    others = [r for r in seen.values() if not r['rose']]
    total, wanted = sum(r['total'] for r in others), math.fsum(r['wanted'] for r in others)
    others_rose = bool(others) and total >= 1.25 * wanted and tail(total, wanted, together['phi']) < 0.01
    if n < 3:
        verdict = 'undetermined'
    elif not out['risen']:
        verdict = 'no_rise'
    elif lead >= 0.8 or (k == 1 and lead >= 0.5 and not others_rose):
        verdict = 'local'
    elif k > 1 and share_rose >= 0.5 and not others_rose and len(rose_in) == 1 and len({country[s] for s in seen}) > 1:
        verdict = 'regional'
    elif (2 * k >= n or (3 * sum(r['up'] for r in seen.values()) >= 2 * n and (k == 0 or others_rose))) and median[0] >= 1.25 * median[1]:
        verdict = 'global'
    else:
        verdict = 'partial' if k else 'undetermined'
    return {**out, 'verdict': verdict}


def alarms(hosts, observed, days, level, least=10):
    """hosts[port][day], observed[day] (ms of all sensors). {(port, day): (hosts, expected, p, ports)} of days that stand out."""
    out = {}
    for day in days:
        e = observed.get(day)
        if not e:
            continue
        looked_at = sum(1 for c in hosts.values() if c.get(day))
        before = [day - i * DAY for i in range(1, 29)]
        for port, c in hosts.items():
            y = c.get(day, 0)
            weeks = [before[i:i + 7] for i in range(0, 28, 7)]
            weeks = [(sum(c.get(d, 0) for d in w if observed.get(d)), sum(observed.get(d) or 0 for d in w)) for w in weeks]
            rates = [n / ms for n, ms in weeks if ms]
            if y < least or (rates and y < 1.5 * e * statistics.median_low(rates)):
                continue
            b = baseline([c.get(d, 0) / observed[d] * e if (observed.get(d) or 0) >= e / 4 else None for d in before])
            if b is None:
                continue
            expected = b[1][0]
            p = tail(y, expected, b[0])
            if p * looked_at < level and y >= 1.5 * expected:
                out[port, day] = (y, expected, p, looked_at)
    return out


def surges(hosts, observed, sensor_counts, covered, country, days, alarms_a_month=0.3):
    """Rows of surges: (port, first, last, days, peak, hosts, verdict, k, n), by first day and port."""
    found = alarms(hosts, observed, days, alarms_a_month * 12 / 365.25)
    by_port = collections.defaultdict(list)
    for port, day in sorted(found):
        runs = by_port[port]
        if runs and (day - runs[-1][-1]).days <= 3:
            runs[-1].append(day)
        else:
            runs.append([day])
    out = []
    for port, runs in by_port.items():
        for run in runs:
            peak = min(run, key=lambda d: (found[port, d][2], -found[port, d][0], d))
            s = scope({x: c.get(port, {}) for x, c in sensor_counts.items()}, covered, country, run[0], run[-1])
            if s['risen']:
                out.append((port, run[0], run[-1], len(run), peak, found[port, peak][0], s['verdict'], s['k'], s['n']))
    return sorted(out, key=lambda r: (r[1], r[0]))
