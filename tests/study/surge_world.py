"""Made-up networks for the study of surges: daily counts of sources by port and sensor, with surges whose truth is known.

Two families of backgrounds. On `tuning` the constants of the method may be chosen; `held_out` differs in kind, not only in its random
numbers: days depend on each other, all ports move together, levels drift, sensors come and go more often, spikes are heavier.
Everything comes from the seed. Sums over sensors follow from one draw: each source reaches a sensor with that port's probability.
"""
import datetime
import math
import random

FIRST = datetime.date(2023, 1, 2)
HISTORY, JUDGED = 28, 91
DAYS = HISTORY + JUDGED
PLACES = ['JP', 'JP', 'JP', 'AU', 'BN', 'GH', 'HK', 'KR', 'LK', 'MA', 'MY', 'TW', 'TW']
BUSY, SPORADIC = 150, 60
SURGES = 8
FACTORS = [1.5, 2, 3, 5, 10]


def poisson(rng, mean):
    if mean > 60:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    n, p, limit = 0, rng.random(), math.exp(-mean)
    while p > limit:
        n += 1
        p *= rng.random()
    return n


def binomial(rng, n, p):
    if p >= 1:
        return n
    if n * p > 30 and n * (1 - p) > 30:
        return min(n, max(0, round(rng.gauss(n * p, math.sqrt(n * p * (1 - p))))))
    return sum(rng.random() < p for _ in range(n))


class Port:
    """One port's own background: its level on each day, and how its sources spread over sensors."""

    def __init__(self, world, number, rank):
        rng = world.rng
        held = world.family == 'held_out'
        self.number = number
        self.mean = 400 / rank ** 0.9 if rank else rng.choice([0.02, 0.1, 0.5])
        self.reach = rng.choice([0.05, 0.2, 0.6, 0.95])
        self.bias = [min(1, self.reach * math.exp(rng.gauss(0, 0.3))) for _ in PLACES]
        kind = rng.random()
        week = [1.0] * 7
        if kind < 0.25:
            week[5] = week[6] = rng.uniform(0.4 if held else 0.5, 0.9)
        elif kind < 0.35:
            week[rng.randrange(7)] = rng.uniform(1.5, 5 if held else 4)
        elif kind < 0.4:
            week[5] = week[6] = rng.uniform(1.1, 1.4)
        spread = rng.uniform(0.02, 0.4 if held else 0.3)
        slope = rng.gauss(0, 0.004)
        walk, state = 0.0, rng.gauss(0, 1)
        self.level = []
        for day in range(DAYS):
            if held:
                # days depend on each other, the level drifts, one day in 400 is a spike
                state = 0.6 * state + 0.8 * rng.gauss(0, 1)
                walk += rng.gauss(0, 0.02)
                noise = math.exp(spread * state - spread ** 2 / 2 + walk) * world.common[day]
                if rng.random() < 0.0025:
                    noise *= rng.uniform(1.2, 2)
            else:
                noise = rng.gammavariate(1 / spread ** 2, spread ** 2) * math.exp(slope * day)
            self.level.append(self.mean * week[(FIRST.weekday() + day) % 7] * noise)
        self.loud = rng.lognormvariate(0.3, 0.4)


class World:
    """hosts[port][day], packets[port][day] and, when asked, counts(port) by sensor and day; surges with their truth."""

    def __init__(self, family, seed):
        self.family, self.seed = family, seed
        self.rng = rng = random.Random(f'{family} {seed}')
        held = family == 'held_out'
        self.common = [math.exp(rng.gauss(0, 0.06)) for _ in range(DAYS)]
        self.share = [[1.0] * DAYS for _ in PLACES]
        self.break_sensors(rng, 4 if held else 2, 2 if held else 1)
        self.ports = [Port(self, 1000 + i, i + 1 if i < BUSY else 0) for i in range(BUSY + SPORADIC)]
        self.surges = self.plant(rng)
        self.pools = {p.number: [poisson(rng, m) for m in p.level] for p in self.ports}
        self.hosts, self.packets = {}, {}
        for p in self.ports:
            self.count(p)

    def break_sensors(self, rng, outages, new):
        for _ in range(outages):
            s, a = rng.randrange(len(PLACES)), rng.randrange(DAYS)
            for day in range(a, min(a + rng.randint(1, 10), DAYS)):
                self.share[s][day] = 0.0
        for s in rng.sample(range(len(PLACES)), new):
            for day in range(rng.randrange(HISTORY, DAYS - 10)):
                self.share[s][day] = 0.0
        for _ in range(2):
            a = rng.randrange(DAYS)
            for s in rng.sample(range(len(PLACES)), 8):
                self.share[s][a] = min(self.share[s][a], 0.75)

    def plant(self, rng):
        """One port each, of any size. extra[day] sources more, to some sensors."""
        surges = []
        for p in rng.sample(self.ports, SURGES):
            kind = rng.choice(['global'] * 4 + ['regional', 'local'])
            first = rng.randint(HISTORY, DAYS - 8)
            days, factor = rng.randint(1, 7), rng.choice(FACTORS)
            ramp = days > 2 and rng.random() < 0.3
            # so that it can be seen where it is: a port that few sources reach rises at no single sensor
            reach = max(p.reach, 0.3)
            somewhere = rng.randrange(len(PLACES))
            sensors = [s for s in range(len(PLACES)) if kind == 'global' or s == somewhere or (kind == 'regional' and PLACES[s] == PLACES[0])]
            if kind == 'regional':
                sensors = [s for s in range(len(PLACES)) if PLACES[s] == 'JP']
            # what all sensors together see of it: times what they see of the port, at least 15 sources
            seen = self.anywhere([reach] * len(sensors))
            size = max((factor - 1) * p.mean * self.anywhere(p.bias), 15) / seen
            surges.append(dict(port=p.number, kind=kind, first=first, last=first + days - 1, factor=factor, sensors=sensors, reach=reach,
                               size=[size * ((d + 1) / days if ramp else 1) for d in range(days)]))
        return surges

    def surge_of(self, port, day):
        for s in self.surges:
            if s['port'] == port and s['first'] <= day <= s['last']:
                return s, poisson(random.Random(f'{self.family} {self.seed} {port} {day}'), s['size'][day - s['first']])
        return None, 0

    @staticmethod
    def anywhere(reach):
        missed = 1.0
        for q in reach:
            missed *= 1 - q
        return 1 - missed

    def count(self, p):
        rng = random.Random(f'{self.family} {self.seed} hosts {p.number}')
        hosts, packets = [], []
        for day in range(DAYS):
            reach = [b * self.share[s][day] for s, b in enumerate(p.bias)]
            n = binomial(rng, self.pools[p.number][day], self.anywhere(reach))
            surge, extra = self.surge_of(p.number, day)
            if surge:
                n += binomial(rng, extra, self.anywhere([surge['reach'] * self.share[s][day] for s in surge['sensors']]))
            hosts.append(n)
            # a host in a thousand days of ports sends as many packets as all others, or many times that
            total = n * sum(self.share[s][day] for s in range(len(PLACES))) * p.reach * p.loud * math.exp(rng.gauss(0, 0.15))
            packets.append(round(total * (1 + (rng.lognormvariate(1, 1) if rng.random() < 0.005 else 0))))
        self.hosts[p.number], self.packets[p.number] = hosts, packets

    def by_sensor(self, number):
        """counts[sensor][day] of a port: given how many were seen at all, how many of them by each sensor."""
        p = next(p for p in self.ports if p.number == number)
        rng = random.Random(f'{self.family} {self.seed} sensors {number}')
        out = [[0] * DAYS for _ in PLACES]
        for day in range(DAYS):
            reach = [b * self.share[s][day] for s, b in enumerate(p.bias)]
            surge, extra = self.surge_of(number, day)
            for s in range(len(PLACES)):
                n = binomial(rng, self.pools[number][day], reach[s])
                if surge and s in surge['sensors']:
                    n += binomial(rng, extra, surge['reach'] * self.share[s][day])
                out[s][day] = min(n, self.hosts[number][day])
        return out

    def observed_ms(self):
        """[(sensor index, day, ms)]"""
        return [(s, d, round(v * 86400000)) for s, days in enumerate(self.share) for d, v in enumerate(days) if v > 0]
