"""What every rollup must hold, computed from the rows one by one: {table: rows}, the day, hour or month first."""
import collections
import ipaddress

import common

BITS = (
    '(select array_agg(g) from generate_series(1, length(sensors)) g where get_bit(sensors, g - 1) = 1)'
)
BY_PORT = (
    'packets, bytes, flood_packets, source_days, flood_sources_min, flood_sources_max, ttl_min, ttl_max'
)
STAMPS = 'asn, country, organisation_id, known_scanner'
# columns of each table, but that of time
COLUMNS = {
    'port_hour': f"sensor_id, port_code, class, {BY_PORT.replace('_days', '_hours')}",
    'port_day': f'sensor_id, port_code, class, {BY_PORT}',
    'source_port_day': 'sensor_id, host(src), port_code, class, ttl, fragment, packets, bytes',
    'source_day': f'host(src), class, packets, bytes, ports, {BITS}, {STAMPS}',
    'sensor_day': 'sensor_id, class, packets, bytes, flood_packets, source_days, flood_sources_min, flood_sources_max',
    'ttl_day': 'sensor_id, ttl, class, packets',
    'observed_day': 'sensor_id, covered_ms',
    'backscatter_day': 'sensor_id, host(victim), kind, port_code, first_ts, last_ts, packets, bytes',
    'scanner_day': 'host(src), ports, sensors, packets',
    'country_day': 'sensor_id, country, class, packets, bytes, source_days',
    'port_country_day': 'port_code, country, class, packets, bytes, sources',
    'tool_day': 'port_code, tool, country, packets, sources',
    'network_port_day': 'port_code, class, packets, bytes, flood_packets, sources, '
    'flood_sources_min, flood_sources_max, sensors, hosts, host_sensors',
    'port_month': 'sensor_id, port_code, class, packets, bytes, flood_packets, source_days',
    'network_port_month': 'port_code, class, packets, bytes, flood_packets, source_days',
    'source_port_month': 'port_code, host(src), sensor_id, ttl, fragment, class, packets',
    'source_ttl_month': 'host(src), sensor_id, ttl, packets',
    'source_month': f'host(src), class, packets, bytes, days, {BITS}, {STAMPS}',
}
HOST_CLASSES = ('fragment', 'other', 'scan')


# (tool, what of a row must hold, packets of a source and day, whether the mark is of each packet), first to last
TOOLS = [
    ('mirai', lambda f: f['proto'] == 6 and f['tcp_flags'] == 2 and f['marks'] & 1, 1, True),
    ('zmap', lambda f: f['proto'] in (1, 6, 17) and f['ip_id'] == 54321, 2, False),
    ('masscan', lambda f: f['proto'] == 6 and f['tcp_flags'] == 2 and f['marks'] & 2, 2, True),
    ('window-5656', lambda f: f['proto'] == 6 and f['tcp_flags'] == 2 and f['tcp_window'] == 5656, 2, False),
]


def unit(table):
    return table.rsplit('_', 1)[1]


class Sum:
    """What a group of rows adds up to."""

    def __init__(self):
        self.packets = self.flood = 0
        self.sources, self.days, self.sensors, self.ports = set(), set(), set(), set()
        self.estimates, self.ttls, self.classes = [], [], set()

    def add(self, row):
        self.packets += row['packets']
        self.sensors.add(row['sensor'])
        if row['src'] is None:
            self.flood += row['packets']
            self.estimates += [row['estimate']] if row['estimate'] is not None else []
            self.ttls += [1, 9]
            return
        self.sources.add(row['src'])
        self.days.add((row['day'], row['sensor'], row['src']))
        self.ports.add(row['port'])
        self.ttls.append(row['ttl'])

    @property
    def total(self):
        return self.packets, self.packets * 60

    @property
    def bounds(self):
        return max(self.estimates, default=None), sum(self.estimates) if self.estimates else None


def groups(rows, *key):
    out = collections.defaultdict(Sum)
    for row in rows:
        out[tuple(row[k] for k in key)].add(row)
    return out.items()


def plain(books):
    """Flow and flood rows with what they are grouped by."""
    for f in books.flows + books.floods:
        flood = 'name' in f
        asn, country = (None, None) if flood else books.network(f['src'])
        day = books.cut(f['ts'], 'day')
        yield dict(
            hour=books.cut(f['ts'], 'hour'),
            day=day,
            month=day.replace(day=1),
            sensor=f['sensor_id'],
            port=books.port_code(f.get('name') or common.port_name(f)),
            cls=common.traffic_class(f),
            packets=f['packets'],
            flow=f,
            src=None if flood else str(ipaddress.ip_address(f['src'])),
            estimate=f.get('estimate'),
            ttl=f.get('ttl'),
            fragment=bool(f['marks'] & 4),
            country=country or '',
            stamps=(asn, country, None if flood else books.organisation(f['src']), False),
        )


def of_network(rows):
    """network_port_day: hosts stand on the first class of the port and day."""
    hosts = dict(groups((r for r in rows if r['src'] and r['cls'] in HOST_CLASSES), 'day', 'port'))
    first = {}
    for r in rows:
        if r['src'] and r['cls'] in HOST_CLASSES:
            key = r['day'], r['port']
            first[key] = min(first.get(key, r['cls']), r['cls'])
    for k, s in groups(rows, 'day', 'port', 'cls'):
        here = hosts[k[:2]] if first.get(k[:2]) == k[2] else Sum()
        yield (*k, *s.total, s.flood, len(s.sources), *s.bounds, len(s.sensors), len(here.sources), len(here.sensors))


def of_backscatter(books):
    """Answers by victim, what kind they are, and the port that answers."""
    out = collections.defaultdict(list)
    for f in books.flows:
        if common.traffic_class(f) == 'backscatter':
            key = books.cut(f['ts'], 'day'), f['sensor_id'], str(ipaddress.ip_address(f['src'])), *common.answer(f)
            out[key].append(f)
    for (day, sensor, victim, kind, port), flows in out.items():
        yield (
            *(day, sensor, victim, kind, books.port_code(port)),
            *(min(f['ts'] for f in flows), max(common.end(f) for f in flows)),
            *(sum(f['packets'] for f in flows), sum(f['packets'] * 60 for f in flows)),
        )


def months(rows, head, busy):
    """port_month is a head; source_days are added up from days."""
    large = {
        k for k, s in groups((r for r in rows if r['cls'] != 'local'), 'month', 'sensor', 'port') if s.packets >= head
    }
    network = collections.defaultdict(set)
    for r in rows:
        network[r['month'], r['port'], r['cls']].update([(r['day'], r['src'])] if r['src'] else [])
    flows = [r for r in rows if r['src']]
    busy = {k for k, s in groups(rows, 'month', 'port') if s.packets >= busy}
    far = [r for r in flows if r['cls'] in ('scan', 'other') and r['port'] >> 17 not in (1, 58) and not r['fragment']]
    return {
        'source_port_month': [
            (*k, s.packets)
            for k, s in groups(flows, 'month', 'port', 'src', 'sensor', 'ttl', 'fragment', 'cls')
            if k[:2] in busy
        ],
        'source_ttl_month': [(*k, s.packets) for k, s in groups(far, 'month', 'src', 'sensor', 'ttl')],
        'port_month': [
            (*k, *s.total, s.flood, len(s.days)) for k, s in groups(rows, 'month', 'sensor', 'port', 'cls') if k[:3] in large
        ],
        'network_port_month': [
            (*k, *s.total, s.flood, len(network[k])) for k, s in groups(rows, 'month', 'port', 'cls')
        ],
        'source_month': [
            (*k[:3], *s.total, len({d for d, _, _ in s.days}), sorted(s.sensors), *k[3])
            for k, s in groups(flows, 'month', 'src', 'cls', 'stamps')
        ],
    }


def wanted(books, head, busy):
    rows = list(plain(books))
    flows = [r for r in rows if r['src']]
    hosts = [r for r in flows if r['cls'] in HOST_CLASSES]
    out = {
        f'port_{t}': [
            (*k, *s.total, s.flood, len(s.sources), *s.bounds, min(s.ttls), max(s.ttls))
            for k, s in groups(rows, t, 'sensor', 'port', 'cls')
        ]
        for t in ('hour', 'day')
    }
    out['source_port_day'] = [
        (*k, *s.total) for k, s in groups(flows, 'day', 'sensor', 'src', 'port', 'cls', 'ttl', 'fragment')
    ]
    out['source_day'] = [
        (*k[:3], *s.total, len(s.ports), sorted(s.sensors), *k[3])
        for k, s in groups(flows, 'day', 'src', 'cls', 'stamps')
    ]
    out['sensor_day'] = [
        (*k, *s.total, s.flood, len(s.sources), *s.bounds) for k, s in groups(rows, 'day', 'sensor', 'cls')
    ]
    out['ttl_day'] = [(*k, s.packets) for k, s in groups(flows, 'day', 'sensor', 'ttl', 'cls')]
    out['scanner_day'] = [
        (*k, len(s.ports), len(s.sensors), s.packets) for k, s in groups(hosts, 'day', 'src') if len(s.ports) >= 5
    ]
    out['country_day'] = [
        (*k, *s.total, len(s.sources)) for k, s in groups(rows, 'day', 'sensor', 'country', 'cls')
    ]
    out['port_country_day'] = [
        (*k, *s.total, len(s.sources)) for k, s in groups(rows, 'day', 'port', 'country', 'cls')
    ]
    out['tool_day'] = of_tools(hosts)
    out['network_port_day'] = list(of_network(rows))
    covered = collections.Counter()
    for (sensor, slot), ms in books.covered.items():
        covered[books.cut(slot, 'day'), sensor] += ms
    out['observed_day'] = [(*k, ms) for k, ms in covered.items()]
    out['backscatter_day'] = list(of_backscatter(books))
    out.update(months(rows, head, busy))
    return out


def of_tools(rows):
    """tool_day, by the rules that are shipped."""
    seen = collections.Counter()
    for r in rows:
        first = [(name, least, each) for name, holds, least, each in TOOLS if holds(r['flow'])][:1]
        r['rule'] = first[0] if first else None
        if first:
            seen[r['day'], r['src'], first[0][0]] += r['packets'] if first[0][2] else 1
    cells = collections.defaultdict(Sum)
    for r in rows:
        sure = r['rule'] and seen[r['day'], r['src'], r['rule'][0]] >= r['rule'][1]
        for port in (r['port'], None):
            cells[r['day'], port, r['rule'][0] if sure else 'unknown', r['country']].add(r)
    return [(*k, s.packets, len(s.sources)) for k, s in cells.items()]


def contents(cur):
    out = {}
    for table, columns in COLUMNS.items():
        cur.execute(f'select {unit(table)}, {columns} from hirundo.{table}')
        out[table] = cur.fetchall()
    for table, first in (('backscatter_day', 5),):
        out[table] = [(*r[:first], *(t.astimezone(common.UTC) for t in r[first : first + 2]), *r[first + 2 :]) for r in out[table]]
    out['port_hour'] = [(r[0].astimezone(common.UTC), *r[1:]) for r in out['port_hour']]
    return out
