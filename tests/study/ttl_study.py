#!/usr/bin/python3
"""How often is ttl_origin wrong? Simulated networks with known truth, many sizes; see docs/methods/ttl.md.

    ttl_study.py REPETITIONS [SQL]    tables in Markdown on stdout; of SQL runs (default 0) the SQL function must say the same

Every (family, truth, number of sources, sensors) gets so many networks, each of a seed of its own. With SQL the PG*
environment names a database that has the schema (tests/suites/study-ttl.sh makes one).
"""
import collections
import datetime
import math
import pathlib
import random
import sys

import ttl_rule
import ttl_worlds

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'sql'))
HOME = ttl_worlds.HOME
# (regions abroad, sensors at home, sensors abroad)
NETWORKS = {'4 + 1': (4, 1, 4), '6 + 1': (6, 1, 6), '10 + 3': (9, 3, 10), '15 + 3': (12, 3, 15)}
SOURCES = (10, 20, 50, 310)
TRUTHS = {
    'home': 'one company at home',
    'sensor country': 'forged in a country with a sensor',
    'neighbour': 'forged in the country with a sensor that is nearest to home',
    'no sensor': 'forged in a country without sensors',
    'network-near': 'forged in the country without sensors whose distances are most like home\'s',
    'scattered': 'forged by hosts in many countries',
    'random TTL': 'forged in one country, initial TTL random for each packet',
}
FORGED = [t for t in TRUTHS if t != 'home']
CONTROLS = 150
INITIAL = ((64, 5), (128, 3), (255, 2))
VERDICTS = ('consistent_with_home', 'home_nearest', 'undetermined', 'contradicts_home')


def initial(rng):
    return rng.choices([t for t, _ in INITIAL], [w for _, w in INITIAL])[0]


class Case:
    """One network, one truth, and the packets that its sensors received."""

    def __init__(self, seed, family, truth, n_sources, network):
        self.rng = rng = random.Random(seed)
        self.world = ttl_worlds.FAMILIES[family](rng)
        regions, at_home, abroad = NETWORKS[network]
        away = rng.sample(ttl_worlds.WITH_SENSORS, regions)
        names = [HOME] * at_home + away + rng.choices(away, k=abroad - regions)
        self.country = dict(enumerate(names, 1))
        self.sensors = {i: self.world.attach(c) for i, c in self.country.items()}
        self.sites = {c: [self.world.attach(c) for _ in range(ttl_worlds.SITES)] for c in ttl_worlds.COUNTRIES}
        self.bare = rng.random() < 0.3
        self.t0 = initial(rng)
        self.packets = self.send(truth, n_sources)
        self.controls = []
        for i in range(CONTROLS):
            site, t0 = rng.choice(self.sites[HOME]), initial(rng)
            self.controls += self.of_source(('c', i), lambda _, s=site: s, lambda t=t0: t, rng.choice([0, 0, 1, 1, 2]))

    def profile(self, country):
        site = self.sites[country][0]
        return [self.world.hops(site, s) for s in self.sensors.values()]

    def origin(self, truth):
        mine = self.profile(HOME)
        away = sorted(set(self.country.values()) - {HOME})

        def unlike(c):
            return sum(abs(a - b) for a, b in zip(self.profile(c), mine))

        def far(c):
            return min(h for h, k in zip(self.profile(c), self.country.values()) if k == HOME)
        return {
            'home': lambda: HOME,
            'sensor country': lambda: self.rng.choice(away),
            'neighbour': lambda: min(away, key=far),
            'no sensor': lambda: self.rng.choice(ttl_worlds.WITHOUT),
            'network-near': lambda: min(ttl_worlds.WITHOUT, key=unlike),
            'random TTL': lambda: self.rng.choice(away + ttl_worlds.WITHOUT),
        }[truth]()

    def send(self, truth, n):
        rng, out = self.rng, []
        if truth != 'scattered':
            site = self.sites[self.origin(truth)][0]
        foreign = [s for c in ttl_worlds.COUNTRIES if c != HOME for s in self.sites[c]]
        for i in range(n):
            out += self.of_source(
                ('s', i),
                (lambda _: rng.choice(foreign)) if truth == 'scattered' else lambda _: site,
                (lambda: rng.randint(129, 255)) if truth == 'random TTL' else lambda: self.t0,
                # hosts of a company stand behind some routers of its own; a forger is one machine
                rng.choice([0, 0, 0, 1, 1, 2]) if truth == 'home' else 0,
            )
        return out

    def of_source(self, source, site_of, t0_of, inside):
        """Packets that arrive: four of five sensors see a source, a path's length varies by one now and then."""
        rng = self.rng
        for sensor, place in self.sensors.items():
            if rng.random() < 0.2:
                continue
            for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
                hops = self.world.hops(site_of(sensor), place) + inside + rng.choice([0] * 18 + [-1, 1])
                if 0 <= hops < 60:
                    yield source, sensor, max(t0_of() - hops, 1)

    def judge(self):
        return ttl_rule.verdict(self.packets, self.controls, self.country, HOME)


def cases(repetitions):
    for family in ttl_worlds.FAMILIES:
        for truth in TRUTHS:
            for n in SOURCES:
                for network in NETWORKS:
                    for i in range(repetitions):
                        yield family, truth, n, network, i


def seed_of(key):
    return '/'.join(map(str, key))


# ---- the SQL function on the same packets


def ask_sql(cur, case):
    """(verdict, reason) of hirundo.ttl_origin over the case's packets as flow rows; rolled back by the caller."""
    import common
    common.settings(cur, 'UTC', HOME)
    ids = {i: common.add_sensor(cur, f's{i}', c) for i, c in case.country.items()}
    cur.execute("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values ('2023-01-01', 'study', 1, 1) returning set_id")
    cur.execute("insert into hirundo.network (set_id, lo, hi, country) values (%s, '198.18.0.0', '198.19.255.255', 'JP')", cur.fetchone())
    start = datetime.datetime(2023, 3, 1, tzinfo=common.UTC)
    rows = collections.Counter((src, sensor, ttl) for src, sensor, ttl in case.packets + case.controls)
    common.add_flows(cur, [
        dict(ts=start + datetime.timedelta(seconds=case.rng.randrange(86400)), sensor_id=ids[sensor], proto=6, ttl=ttl, packets=n,
             src=f"198.{18 if kind == 's' else 19}.{i // 250}.{i % 250 + 1}", port=22 if kind == 's' else 80, tcp_flags=2, marks=0, src_port=40000)
        for ((kind, i), sensor, ttl), n in rows.items()])
    cur.execute("select verdict, reason from hirundo.ttl_origin('[2023-03-01T00:00Z,2023-03-02T00:00Z)', '{198.18.0.0/16}') limit 1")
    return cur.fetchone()


WORDS = {'too few regions': 'too few regions', 'randomised': 'randomised TTLs', 'closer': 'closer: ', 'alike': '; like ', 'nearer': ' nearer to the sources',
         'few controls': 'too few controls', 'unlike': 'unlike other', 'not clearly nearest': 'not clearly nearest'}


def check_sql(cur, case):
    """None, or how the SQL function differs."""
    want, got = case.judge(), ask_sql(cur, case)
    return None if got[0] == want[0] and WORDS[want[1]] in got[1] else f'{got} should be {want}'


# ---- the tables


def wilson(k, n):
    """95% interval of a share, in percent."""
    if n == 0:
        return 0, 100
    z, p = 1.96, k / n
    middle, half = (p + z * z / 2 / n) / (1 + z * z / n), z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return 100 * max(middle - half, 0), 100 * min(middle + half, 1)


def share(k, n):
    low, high = wilson(k, n)
    return f'{100 * k / n:.1f}% ({low:.1f}-{high:.1f})' if n else '-'


def table(head, rows):
    print('| ' + ' | '.join(head) + ' |\n|' + '---|' * len(head))
    for row in rows:
        print('| ' + ' | '.join(map(str, row)) + ' |')
    print()


def report(results):
    """results: [(family, truth, n, network, verdict, reason, called spoofed, initial TTL, bare)]"""
    def count(verdicts=VERDICTS, **where):
        names = ('family', 'truth', 'n', 'network')
        chosen = [r for r in results if all(r[names.index(k)] in v for k, v in where.items())]
        return sum(r[4] in verdicts for r in chosen), len(chosen)
    big = dict(n=SOURCES[1:], network=list(NETWORKS)[2:])
    print('Verdicts by truth, 20 sources or more and 13 sensors or more:\n')
    table(['truth', 'networks', *VERDICTS],
          [[t, count(truth=[t], **big)[1], *(share(*count([v], truth=[t], **big)) for v in VERDICTS)] for t in TRUTHS])
    print('The same by family: forged addresses that got `consistent_with_home`, and home that did:\n')
    table(['family', *FORGED, 'home'],
          [[f, *(share(*count(VERDICTS[:1], truth=[t], family=[f], **big)) for t in FORGED + ['home'])] for f in ttl_worlds.FAMILIES])
    for truths, what in ((FORGED, 'Forged, and called `consistent_with_home`'), (['home'], 'At home, and called so'),
                         (FORGED, 'Forged, and called `home_nearest` or `consistent_with_home`: what the rule without controls passes')):
        verdicts = VERDICTS[:2] if 'without controls' in what else VERDICTS[:1]
        extra = ('unlike',) if 'without controls' in what else ()
        print(f'{what}, by number of sources and sensors (abroad + at home):\n')
        rows = []
        for n in SOURCES:
            row = [n]
            for w in NETWORKS:
                chosen = [r for r in results if r[1] in truths and r[2] == n and r[3] == w]
                row.append(share(sum(r[4] in verdicts or r[5] in extra for r in chosen), len(chosen)))
            rows.append(row)
        table(['sources', *NETWORKS], rows)
    print('Wrong at home: `contradicts_home`, by number of sources and sensors:\n')
    table(['sources', *NETWORKS], [[n, *(share(*count(VERDICTS[3:], truth=['home'], n=[n], network=[w])) for w in NETWORKS)] for n in SOURCES])
    print('Why undetermined (all sizes):\n')
    reasons = sorted({r[5] for r in results if r[4] == 'undetermined'})
    table(['truth', *reasons], [[t, *(share(sum(r[5] == w for r in results if r[1] == t), count(truth=[t])[1]) for w in reasons)] for t in TRUTHS])
    print('The fixed rule, "TTL >= 200 and not a bare SYN means spoofed", by initial TTL and truth: called spoofed\n')
    rows = []
    for t in TRUTHS:
        row = [t]
        for t0, bare in ((64, False), (128, False), (255, False), (255, True)):
            chosen = [r for r in results if r[1] == t and r[7] == t0 and r[8] is bare]
            row.append(share(sum(r[6] for r in chosen), len(chosen)))
        rows.append(row)
    table(['truth', '64', '128', '255, with options', '255, bare SYN'], rows)


def main():
    repetitions, of_sql = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    keys = list(cases(repetitions))
    results = []
    for family, truth, n, network, i in keys:
        case = Case(seed_of((family, truth, n, network, i)), family, truth, n, network)
        results.append((family, truth, n, network, *case.judge(), ttl_rule.fixed_rule(case.packets, case.bare), case.t0, case.bare))
    print(f'{len(results)} networks, {repetitions} of each family, truth, number of sources and of sensors.\n')
    report(results)
    if of_sql:
        import common
        conn, wrong = common.connect(), []
        sample = random.Random(1).sample(keys, of_sql)
        for family, truth, n, network, i in sample:
            case = Case(seed_of((family, truth, n, network, i)), family, truth, n, network)
            problem = check_sql(conn.cursor(), case)
            conn.rollback()
            wrong += [f'{family}, {truth}, {n}, {network}, {i}: {problem}'] if problem else []
        print(f'The SQL function said the same of {of_sql - len(wrong)} of {of_sql} networks drawn from these.')
        for line in wrong:
            print(f'- {line}')
        return 1 if wrong else 0
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
