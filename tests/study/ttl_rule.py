"""The verdict of ttl_origin, written from its definition alone, over cells; and the fixed rule it is compared with.

A cell is {(source, sensor, t0): [ttl, ...]}, one TTL a packet. Nothing here is shared with the SQL functions or with
tests/sql/test_ttl_origin.py.
"""
import collections
import math

LIMITS = (32, 64, 128, 255)


def cells_of(packets):
    """packets: (source, sensor, ttl)"""
    out = collections.defaultdict(list)
    for source, sensor, ttl in packets:
        out[source, sensor, next(t for t in LIMITS if ttl <= t)].append(ttl)
    return out


def low_median(values):
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def percentile95(values):
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * 95 / 100) - 1]


def tail(k, n):
    """P(X >= k) of n fair coins"""
    return sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n


class Evidence:
    def __init__(self, packets, country, home):
        self.hops, self.multi, self.wide = {}, 0, 0
        for key, ttls in cells_of(packets).items():
            # the median of hops is taken from the low end: of TTLs that is the high end
            h = low_median([key[2] - t for t in ttls])
            if h <= 40:
                self.hops[key] = h
                self.multi += len(ttls) > 1
                self.wide += len(ttls) > 1 and max(ttls) - min(ttls) > 4
        at_home = collections.defaultdict(list)
        for (source, sensor, t0), h in self.hops.items():
            if country[sensor] == home:
                at_home[source, t0].append(h)
        self.home = {k: low_median(v) for k, v in at_home.items()}
        self.d = collections.defaultdict(list)
        self.by_region = collections.defaultdict(list)
        self.pairs = collections.Counter()
        for (source, sensor, t0), h in self.hops.items():
            if country[sensor] != home:
                self.by_region[country[sensor], t0].append((h, (source, t0) in self.home))
                if (source, t0) in self.home:
                    self.d[country[sensor]].append(h - self.home[source, t0])
                    self.pairs[t0] += 1


def regions(evidence):
    """{region: farther, nearer or neutral}, of those with ten pairs"""
    out = {}
    for region, d in evidence.d.items():
        if len(d) >= 10:
            up, down = sum(x > 0 for x in d), sum(x < 0 for x in d)
            m = low_median(d)
            out[region] = 'farther' if m >= 1 and tail(up, up + down) < 0.01 else 'nearer' if m <= -1 and tail(down, up + down) < 0.01 else 'neutral'
    return out


def compare(ours, theirs, judged):
    answers = []
    for t0, n in ours.pairs.items():
        if n * 5 < sum(ours.pairs.values()):
            continue
        reference = [h for (_, t), h in theirs.home.items() if t == t0]
        if len(reference) < 20:
            answers.append('few')
            continue
        near = compared = 0
        for region in judged:
            a = [h for h, _ in ours.by_region[region, t0]]
            b = [h for h, paired in theirs.by_region[region, t0] if paired]
            if a and b:
                compared += 1
                near += abs(low_median(a) - low_median(b)) <= 2
        at_home = low_median([h for (_, t), h in ours.home.items() if t == t0])
        answers.append('few' if compared < 3 else 'unlike' if at_home > percentile95(reference) or near * 3 < compared * 2 else 'alike')
    return 'unlike' if 'unlike' in answers else 'few' if 'few' in answers else 'alike'


def verdict(packets, controls, country, home):
    """(verdict, reason in a word)"""
    ours = Evidence(packets, country, home)
    judged = regions(ours)
    kinds = collections.Counter(judged.values())
    if home not in country.values():
        return 'undetermined', 'no home sensor'
    if len(judged) < 3:
        return 'undetermined', 'too few regions'
    if ours.wide > 0.2 * ours.multi:
        return 'undetermined', 'randomised'
    if kinds['nearer'] >= 2 and kinds['nearer'] >= 0.2 * len(judged):
        return 'contradicts_home', 'nearer'
    if kinds['nearer']:
        return 'undetermined', 'closer'
    if kinds['farther'] >= 3 and kinds['farther'] >= 0.6 * len(judged):
        alike = compare(ours, Evidence(controls, country, home), judged)
        return {'alike': ('consistent_with_home', 'alike'), 'few': ('home_nearest', 'few controls'), 'unlike': ('undetermined', 'unlike')}[alike]
    return 'undetermined', 'not clearly nearest'


def fixed_rule(packets, bare):
    """Whether another telescope's software would call them spoofed: most packets have a TTL of 200 or more and are no bare SYN of
    a scanner (without options)."""
    return not bare and sum(ttl >= 200 for _, _, ttl in packets) * 2 > len(packets)
