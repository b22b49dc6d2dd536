"""The verdict of ttl_origin, computed from cells straight from its definition in the design.

Written for the tests, apart from the SQL that answers it in the product.
"""
from collections import defaultdict
from math import ceil, comb


def initial_class(ttl):
    return next(t0 for t0 in (32, 64, 128, 255) if ttl <= t0)


def lower_median(values):
    return sorted(values)[(len(values) - 1) // 2]


def weighted_lower_median(counts):
    """percentile_disc(0.5) over {value: packets}."""
    total, seen = sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen * 2 >= total:
            return value
    raise ValueError("no packets")


def cells_of(ttls):
    """{(source, sensor): {ttl: packets}} to {(source, sensor, T0): median hops}, 40 at most."""
    hops = defaultdict(lambda: defaultdict(int))
    for (source, sensor), counts in ttls.items():
        for ttl, packets in counts.items():
            t0 = initial_class(ttl)
            hops[source, sensor, t0][t0 - ttl] += packets
    cells = {key: weighted_lower_median(counts) for key, counts in hops.items()}
    spread = [max(c) - min(c) > 4 for c in hops.values() if sum(c.values()) > 1]
    return {key: h for key, h in cells.items() if h <= 40}, spread


def home_hops(cells, home):
    """{(source, T0): lower median over the home sensors}."""
    values = defaultdict(list)
    for (source, sensor, t0), h in cells.items():
        if sensor in home:
            values[source, t0].append(h)
    return {key: lower_median(v) for key, v in values.items()}


def distances(cells, regions, home):
    """{region: [d of each pair]}."""
    base = home_hops(cells, home)
    result = defaultdict(list)
    for (source, sensor, t0), h in cells.items():
        if sensor not in home and (source, t0) in base:
            result[regions[sensor]].append(h - base[source, t0])
    return result


def sign_test(positive, negative):
    """One-sided: the chance of at least this many positives among fair coins."""
    n = positive + negative
    return sum(comb(n, k) for k in range(positive, n + 1)) / 2 ** n


def judge_region(ds):
    positive, negative = sum(d > 0 for d in ds), sum(d < 0 for d in ds)
    median = lower_median(ds)
    if len(ds) < 10:
        return "few"
    if median >= 1 and sign_test(positive, negative) < 0.01:
        return "farther"
    if median <= -1 and sign_test(negative, positive) < 0.01:
        return "nearer"
    return "neutral"


def weak_regions(cells, regions, home):
    near = defaultdict(list)
    away = defaultdict(list)
    for (_, sensor, t0), h in cells.items():
        if sensor in home:
            near[t0].append(h)
        else:
            away[regions[sensor], t0].append(h)
    return sorted({region for (region, t0), values in away.items()
                   if near[t0] and min(near[t0]) <= lower_median(values) <= max(near[t0])})


def like_controls(cells, control_cells, regions, home):
    """None: too few controls."""
    classes = {t0 for _, _, t0 in cells}
    control_cells = {key: h for key, h in control_cells.items() if key[2] in classes}
    own = sorted(home_hops(cells, home).values())
    controls = sorted(home_hops(control_cells, home).values())
    if len(controls) < 20:
        return None
    limit = controls[ceil(0.95 * len(controls)) - 1]
    theirs = distances(control_cells, regions, home)
    ours = distances(cells, regions, home)
    close = [abs(lower_median(ours[r]) - lower_median(theirs[r])) <= 2 for r in ours if theirs[r]]
    return max(own) <= limit and 3 * sum(close) >= 2 * len(ours)


def ttl_origin(ttls, control_ttls, regions, home):
    """The verdict, the regions' judgements and the weak ones.

    ttls: {(source, sensor): {ttl: packets}} of the sources in question, control_ttls likewise;
    regions: {sensor: country}; home: the set of home sensors.
    """
    cells, spread = cells_of(ttls)
    regional = {r: judge_region(ds) for r, ds in distances(cells, regions, home).items()}
    judged = {r: v for r, v in regional.items() if v != "few"}
    weak = weak_regions(cells, regions, home)
    farther = sum(v == "farther" for v in judged.values())
    nearer = sum(v == "nearer" for v in judged.values())
    verdict = "undetermined"
    if not home or len(judged) < 3 or 5 * sum(spread) > len(spread):
        pass
    elif nearer >= 2 and 5 * nearer >= len(judged):
        verdict = "contradicts_home"
    elif farther >= 3 and nearer == 0 and 5 * farther >= 3 * len(judged):
        alike = like_controls(cells, cells_of(control_ttls)[0], regions, home)
        verdict = {None: "home_nearest", True: "consistent_with_home",
                   False: "undetermined"}[alike]
    return verdict, regional, weak
