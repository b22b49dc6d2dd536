"""Networks with known distances, in families that differ in how hop counts come about. None was used to choose a threshold.

A world has countries, of which some have sensors, and networks (sites) in each country. hops(site, sensor) is the number of
routers between them. Home is the country 'JP'; names stand for nothing but themselves.
"""
import heapq
import itertools
import math

HOME = 'JP'
WITH_SENSORS = ['AU', 'BN', 'DE', 'GH', 'HK', 'KR', 'LK', 'MA', 'MY', 'TW', 'US', 'ZA']
WITHOUT = ['BR', 'CN', 'PH', 'RU', 'SG', 'VN']
COUNTRIES = [HOME] + WITH_SENSORS + WITHOUT
SITES = 8  # networks in each country
AREAS = {c: i % 3 for i, c in enumerate([HOME, 'DE', 'US', 'KR', 'MA', 'BR', 'TW', 'GH', 'AU', 'HK', 'ZA', 'LK', 'CN', 'RU', 'MY', 'PH', 'BN', 'SG', 'VN'])}


def shortest(edges, start):
    """Least total weight from start, over undirected weighted edges {node: {node: weight}}."""
    best, number = {start: 0}, itertools.count()
    queue = [(0, next(number), start)]
    while queue:
        d, _, node = heapq.heappop(queue)
        if d > best[node]:
            continue
        for other, weight in edges[node].items():
            if d + weight < best.get(other, math.inf):
                best[other] = d + weight
                heapq.heappush(queue, (d + weight, next(number), other))
    return best


class Graph:
    """A graph of routers; sites and sensors hang on it by an access path of some hops."""

    def __init__(self, rng):
        self.rng, self.edges, self.place = rng, {}, {c: [] for c in COUNTRIES}
        self.build()
        self.cache = {}

    def link(self, a, b, weight=1):
        self.edges.setdefault(a, {})[b] = weight
        self.edges.setdefault(b, {})[a] = weight

    def attach(self, country):
        return self.rng.choice(self.place[country]), self.rng.randint(1, 4)

    def distance(self, a, b):
        if a not in self.cache:
            self.cache[a] = shortest(self.edges, a)
        return self.cache[a][b]

    def hops(self, site, sensor):
        return max(site[1] + self.distance(sensor[0], site[0]) + sensor[1], 1)


class RandomGraph(Graph):
    """Each country a ring of routers with random chords, countries linked at random: about three links each."""

    def build(self):
        rng = self.rng
        for c in COUNTRIES:
            n = rng.randint(12, 30)
            self.place[c] = [(c, i) for i in range(n)]
            for i in range(n):
                self.link((c, i), (c, (i + 1) % n))
            for _ in range(n // 2):
                self.link((c, rng.randrange(n)), (c, rng.randrange(n)))
        order = rng.sample(COUNTRIES, len(COUNTRIES))
        pairs = list(zip(order, order[1:])) + [rng.sample(COUNTRIES, 2) for _ in range(2 * len(COUNTRIES))]
        for a, b in pairs:
            self.link(rng.choice(self.place[a]), rng.choice(self.place[b]), rng.randint(1, 3))


class Hierarchy(Graph):
    """Providers below national carriers below carriers of three areas; some countries exchange traffic at home, some abroad."""

    def build(self):
        rng = self.rng
        cores = [('core', area, i) for area in range(3) for i in range(2)]
        for a, b in itertools.combinations(cores, 2):
            self.link(a, b, 2 if a[1] == b[1] else rng.randint(3, 6))
        for c in COUNTRIES:
            carriers = [(c, 'carrier', i) for i in range(rng.randint(1, 3))]
            for carrier in carriers:
                for core in rng.sample([k for k in cores if k[1] == AREAS[c]], rng.randint(1, 2)):
                    self.link(carrier, core, rng.randint(2, 4))
            if rng.random() < 0.75:  # an exchange in the country
                for a, b in itertools.combinations(carriers, 2):
                    self.link(a, b, 1)
            for i in range(10):
                self.link((c, i), rng.choice(carriers), rng.randint(1, 3))
                self.place[c].append((c, i))


class ScaleFree(Graph):
    """Preferential attachment of 350 networks, each one to three routers wide; a country is what grew from its first network."""

    def build(self):
        rng = self.rng
        ends, country = [], {}
        for i, c in enumerate(COUNTRIES):
            country[i] = c
            for j in rng.sample(range(i), min(i, 2)):
                self.link(i, j, rng.randint(1, 3) + rng.randint(0, 2))
                ends += [i, j]
        for i in range(len(COUNTRIES), 350):
            first = rng.choice(ends)
            country[i] = country[first]
            for j in {first, rng.choice(ends) if rng.random() < 0.5 else first}:
                self.link(i, j, rng.randint(1, 3))
                ends += [i, j]
        for i, c in country.items():
            self.place[c].append(i)


class Geographic:
    """Hops grow with the distance on a sphere; each pair of countries has a detour of its own."""

    def __init__(self, rng):
        self.rng = rng
        self.at = {c: (math.asin(rng.uniform(-0.9, 0.9)), rng.uniform(0, 2 * math.pi)) for c in COUNTRIES}
        self.detour = {(a, b): rng.choice([-2, -1, 0, 0, 0, 1, 2, 4]) for a in COUNTRIES for b in COUNTRIES}

    def attach(self, country):
        return country, self.rng.randint(2, 5)

    def hops(self, site, sensor):
        (la, lo), (lb, lp) = self.at[site[0]], self.at[sensor[0]]
        angle = math.acos(max(-1, min(1, math.sin(la) * math.sin(lb) + math.cos(la) * math.cos(lb) * math.cos(lo - lp))))
        far = 2 if site[0] == sensor[0] else 4 + 7 * math.sqrt(angle / math.pi) + self.detour[site[0], sensor[0]]
        return max(round(site[1] + far + sensor[1]), 1)


class Measured:
    """No geometry: hop counts as published measurements distribute them (about 9 within a country, 16 beyond), drawn for each pair
    of countries and again for each site and sensor."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, {}

    def attach(self, country):
        return country, self.rng.random()

    def draw(self, key, mean, sd):
        if key not in self.drawn:
            self.drawn[key] = self.rng.gauss(mean, sd)
        return self.drawn[key]

    def hops(self, site, sensor):
        within = site[0] == sensor[0]
        pair = self.draw((site[0], sensor[0]), 9 if within else 16, 1.5 if within else 3)
        return min(max(round(pair + self.draw((site, sensor), 0, 1.5)), 2), 38)


FAMILIES = {'random graph': RandomGraph, 'hierarchy': Hierarchy, 'scale-free': ScaleFree, 'geographic': Geographic, 'measured-like': Measured}
