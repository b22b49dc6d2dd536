"""Marked probes: what somebody who sends packets to an address can find of them in what is published.

The sensors of several public statistics were found that way. This is the attacker's half, for any reading: nested dictionaries,
lists and scalars, such as a JSON report or the rows that a login can read.

    seen(reading, Marks(ports={40961}))     leaves in which a mark shows
    changed(before, after)                  leaves that differ between two readings
    score(table, code)                      how well figures over time follow an on/off code, in standard deviations
"""
import dataclasses
import math
import re
import statistics


@dataclasses.dataclass
class Marks:
    """What the attacker chose so that nobody else would send it."""
    ports: set = dataclasses.field(default_factory=set)
    sources: set = dataclasses.field(default_factory=set)
    countries: set = dataclasses.field(default_factory=set)
    counts: set = dataclasses.field(default_factory=set)
    texts: set = dataclasses.field(default_factory=set)

    def tokens(self):
        return ({str(p) for p in self.ports} | set(self.sources) | set(self.countries) | {str(c) for c in self.counts} | set(self.texts))


def leaves(reading, path=()):
    """(path, scalar) for every scalar of a reading; names of fields are leaves, too."""
    if isinstance(reading, dict):
        for key, value in reading.items():
            yield path + (str(key), "name"), key
            yield from leaves(value, path + (str(key),))
    elif isinstance(reading, (list, tuple, set)):
        for number, value in enumerate(reading):
            yield from leaves(value, path + (number,))
    else:
        yield path, reading


def words(value):
    """The words of a scalar: 40961/TCP has 40961 and TCP; addresses stay whole; 7919.0 is 7919."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return set(re.findall(r"[0-9A-Za-z_.:-]+", str(value))) | set(re.findall(r"[0-9A-Za-z_]+", str(value)))


def seen(reading, marks):
    tokens = marks.tokens()
    return [(path, value) for path, value in leaves(reading) if words(value) & tokens]


def changed(before, after):
    """(path, before, after) of each leaf that is not the same in both; None where it is missing."""
    one, other = dict(leaves(before)), dict(leaves(after))
    return [(path, one.get(path), other.get(path)) for path in sorted(one.keys() | other.keys(), key=str)
            if one.get(path) != other.get(path)]


def score(table, code):
    """How well figures over time follow an on/off code, in standard deviations: beyond 4 an attacker who tries a few thousand
    addresses would believe it. table: figures by name, one a period (None: not published); code: by the same names, +1 where the
    attacker sent much, -1 where nothing. What all figures of a period, or all periods of a figure, have in common is taken out."""
    cells = [(name, i, math.log(max(v, 0.001))) for name, values in table.items() for i, v in enumerate(values) if v is not None]
    for part in (0, 1, 0, 1):
        groups = {}
        for cell in cells:
            groups.setdefault(cell[part], []).append(cell[2])
        means = {name: statistics.fmean(values) for name, values in groups.items()}
        cells = [(name, i, v - means[(name, i)[part]]) for name, i, v in cells]
    products = [v * code[name][i] for name, i, v in cells]
    if len(products) < 3 or not any(products):
        return 0.0
    spread = math.sqrt(statistics.fmean(p * p for p in products))
    return statistics.fmean(products) / spread * math.sqrt(len(products))
