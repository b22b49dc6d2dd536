#!/usr/bin/python3
"""How often do surges find what is there, and what is not? Simulated networks in a database, for docs/methods/surge.md.

    surge_study.py run FILE SEEDS FAMILY FIRST     so many networks of a family (tuning, held_out) from this seed on, into FILE
    surge_study.py table FILE...                   what they say together, as Markdown

Daily counts are written where the rollups are; hirundo.surge_days, hirundo.scope_items and hirundo.surges are asked. Detection against false
alarms a month at many thresholds, beside simple rules on the same counts. Everything in the database (PG* environment) is rolled back.
"""
import bisect
import collections
import datetime
import io
import math
import pathlib
import pickle
import sys

import surge_world
from surge_world import DAYS, FIRST, HISTORY, JUDGED

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'sql'))
import common  # noqa: E402

MONTHS = JUDGED / 30.4375
LEVELS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
DEFAULT = 0.3
SIGMAS = [3, 4, 5, 6, 8, 10]
TCP = 6 * 131072


def fill(cur, world):
    """The rollups as the job would have written them, of by-sensor counts only what is asked for later."""
    common.settings(cur, 'Asia/Tokyo', 'JP')
    ids = [common.add_sensor(cur, f's{i:02}', c) for i, c in enumerate(surge_world.PLACES)]
    day = [FIRST + datetime.timedelta(d) for d in range(DAYS)]

    def copy(table, columns, rows):
        text = io.StringIO(''.join('\t'.join(map(str, r)) + '\n' for r in rows))
        cur.copy_expert(f'copy hirundo.{table} ({columns}) from stdin', text)

    cur.execute(
        'insert into hirundo.rollup_day (day, zone, first, past, built_at) '
        "select d, 'Asia/Tokyo', lower(hirundo.local_range(d, d + 1)), upper(hirundo.local_range(d, d + 1)), now() from unnest(%s::date[]) d", (day,))
    copy('observed_day', 'sensor_id, day, covered_ms', [(ids[s], day[d], ms) for s, d, ms in world.observed_ms()])
    copy('network_port_day', 'day, port_code, class, packets, bytes, flood_packets, sources, sensors, hosts, host_sensors',
         [(day[d], TCP + port, 'scan', world.packets[port][d], 0, 0, n, 0, n, 0) for d in range(DAYS) for port, hosts in world.hosts.items()
          for n in [hosts[d]] if n])

    def add_port(port):
        counts = world.by_sensor(port)
        copy('port_day', 'sensor_id, day, port_code, class, packets, bytes, flood_packets, source_days, ttl_min, ttl_max',
             [(ids[s], day[d], TCP + port, 'scan', n, 0, 0, n, 1, 9) for s, by_day in enumerate(counts) for d, n in enumerate(by_day) if n])

    return add_port


def episodes(days):
    """{port: [day, ...]} as [(port, first, last)], runs with at most two quiet days within"""
    out = []
    for port, ds in days.items():
        run = []
        for d in sorted(ds):
            if run and d - run[-1] > 3:
                out.append((port, run[0], run[-1]))
                run = []
            run.append(d)
        out.append((port, run[0], run[-1]))
    return out


class Score:
    """Of one rule at one threshold."""

    def __init__(self):
        self.false = self.months = self.days_late = 0
        self.found, self.planted = collections.Counter(), collections.Counter()

    def add(self, world, found):
        self.months += MONTHS
        for s in world.surges:
            hits = [f for p, f, last in found if p == s['port'] and f <= s['last'] and last >= s['first']]
            self.planted[s['factor']] += 1
            if hits:
                self.found[s['factor']] += 1
                self.days_late += max(0, min(hits) - s['first'])
        self.false += sum(not any(s['port'] == p and f <= s['last'] and last >= s['first'] for s in world.surges) for p, f, last in found)

    @property
    def share(self):
        return sum(self.found.values()) / max(1, sum(self.planted.values()))

    @property
    def false_a_month(self):
        return self.false / self.months

    def row(self):
        by = [f'{100 * self.found[f] / max(1, self.planted[f]):.0f}' for f in surge_world.FACTORS]
        return [f'{100 * self.share:.1f}', *by, f'{self.false_a_month:.2f}', f'{self.days_late / max(1, sum(self.found.values())):.2f}']


def sigma_days(series, least=10):
    """{threshold: {port: [day]}}: above mean + k standard deviations of the 28 days before, for each k"""
    out = {k: collections.defaultdict(list) for k in SIGMAS}
    for port, values in series.items():
        total, squares = sum(values[:HISTORY]), sum(v * v for v in values[:HISTORY])
        for day in range(HISTORY, DAYS):
            if values[day] >= least:
                mean = total / HISTORY
                # as if one were the least that can vary
                z = (values[day] - mean) / max(1, math.sqrt(max(0, squares / HISTORY - mean ** 2)))
                for k in SIGMAS[: bisect.bisect_left(SIGMAS, z)]:
                    out[k][port].append(day)
            total += values[day] - values[day - HISTORY]
            squares += values[day] ** 2 - values[day - HISTORY] ** 2
    return out


def ask(cur, world, add_port, verdicts, unlike):
    """{level: confirmed episodes}; the default one as hirundo.surges itself has it. And the test without asking sensors."""
    period = [datetime.datetime.combine(FIRST + datetime.timedelta(d), datetime.time(), datetime.timezone(datetime.timedelta(hours=9)))
              for d in (HISTORY, DAYS)]
    cur.execute('select day, port_code, hosts, expected, p_value, ports from hirundo.surge_days(tstzrange(%s, %s))', period)
    rows = [((r[0] - FIRST).days, r[1] - TCP, *r[2:]) for r in cur.fetchall()]
    plain = {}
    for level in LEVELS:
        days = collections.defaultdict(list)
        for day, port, hosts, expected, p, ports in rows:
            if p * float(ports) < level * 12 / 365.25 and hosts >= 1.5 * expected:
                days[port].append(day)
        plain[level] = episodes(days)
    items = sorted({e for es in plain.values() for e in es})
    for port in sorted({e[0] for e in items}):
        add_port(port)
    cur.execute('analyze hirundo.port_day')
    cur.execute('select distinct item, risen, verdict from hirundo.scope_items(%s::int[], %s::date[], %s::date[])',
                ([TCP + e[0] for e in items], *([FIRST + datetime.timedelta(e[i]) for e in items] for i in (1, 2))))
    scope = {items[i - 1]: (risen, verdict) for i, risen, verdict in cur.fetchall()}
    out = {level: [e for e in es if scope.get(e, (False,))[0]] for level, es in plain.items()}
    cur.execute('select port, first_day, last_day, verdict from hirundo.surges(tstzrange(%s, %s)) where port is not null', period)
    own = {(int(p.split('/')[0]), (a - FIRST).days, (b - FIRST).days): v for p, a, b, v in cur.fetchall()}
    if set(own) != set(out[DEFAULT]):
        unlike.append((world.seed, set(own) ^ set(out[DEFAULT])))
    for (port, a, b), verdict in own.items():
        kind = next((s['kind'] for s in world.surges if s['port'] == port and a <= s['last'] and b >= s['first']), 'nothing')
        verdicts[kind, verdict] += 1
    return out, plain


class Study:
    """Scores of all rules over many seeds."""

    def __init__(self):
        self.scores = collections.defaultdict(Score)
        self.verdicts, self.unlike = collections.Counter(), []

    def seed(self, conn, family, seed):
        world = surge_world.World(family, seed)
        cur = conn.cursor()
        add_port = fill(cur, world)
        cur.execute('analyze hirundo.network_port_day; analyze hirundo.observed_day; analyze hirundo.rollup_day')
        confirmed, plain = ask(cur, world, add_port, self.verdicts, self.unlike)
        conn.rollback()
        for level in LEVELS:
            self.scores['surges', level].add(world, confirmed[level])
            self.scores['without asking sensors', level].add(world, plain[level])
        for name, series in (('sigma on sources', world.hosts), ('sigma on packets', world.packets)):
            for k, days in sigma_days(series).items():
                self.scores[name, k].add(world, episodes(days))


def table(study):
    yield '| rule | threshold | found, % | 1.5 times | 2 | 3 | 5 | 10 | false alarms a month | days late |'
    yield '|---|---|---|---|---|---|---|---|---|---|'
    for (rule, threshold), score in study.scores.items():
        mark = ' (default)' if rule == 'surges' and threshold == DEFAULT else ''
        yield '| ' + ' | '.join([rule, f'{threshold:g}{mark}', *score.row()]) + ' |'


def verdict_table(study):
    kinds = ['global', 'regional', 'local', 'nothing']
    said = ['global', 'partial', 'regional', 'local', 'undetermined']
    yield '| planted | ' + ' | '.join(said) + ' |'
    yield '|---' * (len(said) + 1) + '|'
    for kind in kinds:
        yield f'| {kind} | ' + ' | '.join(str(study.verdicts[kind, v]) for v in said) + ' |'


def run(conn, family, seeds, file=None):
    """After each seed what is known so far goes into the file: of a run that was ended early, table tells of the seeds it had."""
    study = Study()
    for seed in seeds:
        study.seed(conn, family, seed)
        if file:
            part = pathlib.Path(f'{file}.part')
            part.write_bytes(pickle.dumps(study))
            part.rename(file)
        print(f'{family} {seed}', file=sys.stderr, flush=True)
    return study


def merge(parts):
    out = Study()
    for study in parts:
        for key, score in study.scores.items():
            mine = out.scores[key]
            mine.false += score.false
            mine.months += score.months
            mine.days_late += score.days_late
            mine.found += score.found
            mine.planted += score.planted
        out.verdicts += study.verdicts
        out.unlike += study.unlike
    return out


def main():
    if len(sys.argv) == 6 and sys.argv[1] == 'run':
        file, seeds, family, first = sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
        study = run(common.connect(), family, range(first, first + seeds), file)
    elif len(sys.argv) > 2 and sys.argv[1] == 'table':
        parts = []
        for file in sys.argv[2:]:
            with open(file, 'rb') as part:
                parts.append(pickle.load(part))
        study = merge(parts)
        default = study.scores['surges', DEFAULT]
        print(f'{sum(default.planted.values())} surges in {default.months:.0f} months\n')
        print('\n'.join(table(study)), '\n')
        print('\n'.join(verdict_table(study)))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for seed, difference in study.unlike:
        print(f'seed {seed}: hirundo.surges says otherwise: {difference}')
    return 1 if study.unlike else 0


if __name__ == '__main__':
    raise SystemExit(main())
