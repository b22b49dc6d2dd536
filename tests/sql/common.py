"""What the SQL tests in Python share: a connection, rows to put in, rules of the design."""
import datetime
import ipaddress

import psycopg2

UTC = datetime.timezone.utc
COLUMNS = (
    'ts',
    'duration_ms',
    'packets',
    'bytes',
    'port',
    'src_port',
    'sensor_id',
    'dst_no',
    'proto',
    'ttl',
    'tcp_flags',
    'marks',
    'src',
    'tcp_window',
    'ip_id',
)
# what only some rows have
RAW = {'tcp_window': None, 'ip_id': None}


def connect():
    """A connection to the database of the PG* environment (tests/sql/run sets it)."""
    return psycopg2.connect('')


def settings(cur, zone, home):
    for name, value in (('time_zone', zone), ('home_country', home), ('retention_flow', 'off')):
        cur.execute('update hirundo.setting set value = %s where name = %s', (value, name))


def add_sensor(cur, name, country):
    cur.execute(
        'insert into hirundo.sensor (name, country, label_en, label_ja) '
        'values (%s, %s, %s, %s) returning sensor_id',
        (name, country, name, name),
    )
    return cur.fetchone()[0]


def add_flows(cur, flows):
    """flows: dicts of the columns that vary, from ts and sensor_id to marks and src_port."""
    for day in sorted({f['ts'].astimezone(UTC).date() for f in flows}):
        cur.execute('select hirundo.partition_ensure(%s)', (day,))
    rows = [
        tuple({**RAW, 'duration_ms': 0, **f, 'bytes': f['packets'] * 60, 'dst_no': 1}[c] for c in COLUMNS)
        for f in flows
    ]
    args = b','.join(cur.mogrify('(' + ','.join(['%s'] * len(COLUMNS)) + ')', r) for r in rows)
    if args:
        cur.execute(
            b'insert into hirundo.flow (' + ','.join(COLUMNS).encode() + b') values ' + args
        )


def traffic_class(f):
    """The class of a flow row, written from the design and not from the SQL."""
    proto, port = f['proto'], f['port']
    kind = port >> 8 if port is not None and proto in (1, 58) else None
    syn, ack, rst = f['tcp_flags'] & 2, f['tcp_flags'] & 16, f['tcp_flags'] & 4
    if f['marks'] & 16:
        return 'local'
    if f['marks'] & 4 and port is None and proto in (1, 6, 17, 58):
        return 'fragment'
    if proto == 6 and ((syn and ack) or rst):
        return 'backscatter'
    if proto == 1 and kind in (0, 3, 4, 5, 11, 12, 14, 16, 18):
        return 'backscatter'
    if proto == 58 and kind in (1, 2, 3, 4, 129):
        return 'backscatter'
    if proto == 17 and f['src_port'] == 53:
        return 'backscatter'
    if (
        (proto == 6 and syn)
        or proto == 17
        or (proto == 1 and kind in (8, 13, 15, 17))
        or (proto == 58 and kind in (128, 139))
    ):
        return 'scan'
    return 'other'


def port_name(f):
    proto, port = f['proto'], f['port']
    name = {6: 'TCP', 17: 'UDP'}.get(proto)
    if name:
        return (
            f'{port}/{name}'
            if port is not None
            else name + ('/fragment' if f['marks'] & 4 else '/unknown')
        )
    return {1: 'ICMP', 58: 'ICMPv6', 47: 'GRE'}.get(proto, f'IP/{proto}')


def answer(f):
    """(kind, port that answers) of a backscatter row"""
    if f['proto'] == 6:
        port = 'TCP/unknown' if f['src_port'] is None else f"{f['src_port']}/TCP"
        return ('RST' if f['tcp_flags'] & 4 else 'SYN-ACK'), port
    return ('UDP', '53/UDP') if f['proto'] == 17 else ('ICMP', port_name(f))


def end(f):
    return f['ts'] + datetime.timedelta(milliseconds=f.get('duration_ms', 0))


def inside(src, prefixes):
    if prefixes is None:
        return True
    address = ipaddress.ip_address(src)
    return any(address in ipaddress.ip_network(p) for p in prefixes)
