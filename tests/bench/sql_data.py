"""The database that bench_sql.py measures: sensors, prefixes, and a day of flow at a time from gen_flows."""
import calendar
import datetime
import subprocess

ZONE, HOME = 'Asia/Tokyo', 'JP'
FIRST = datetime.date(2023, 1, 1)  # in that zone
EPOCH = datetime.date(2000, 1, 1)
AWAY = ['US', 'TW', 'KR', 'HK', 'MY', 'AU', 'BN', 'GH', 'LK', 'MA', 'DE', 'BR']
# countries of sources by /16, as gen_flows.c's at_home has it for the home country
SOURCES = ['CN', 'US', 'RU', 'BR', 'IN', 'VN', HOME, 'TW', 'KR', 'DE', 'NL', 'FR', 'GB', 'IR', 'ID', 'TH', 'TR', 'UA', 'EG',
           'MX', 'AR', 'ZA', 'PL', 'IT', 'ES']


def settings(cur):
    for name, value in (('time_zone', ZONE), ('home_country', HOME), ('retention_flow', 'off')):
        cur.execute('update hirundo.setting set value = %s where name = %s', (value, name))


def sensors(cur, count):
    """Three at home, the others abroad in turn; their ids are 1 to count."""
    for i in range(1, count + 1):
        cur.execute('insert into hirundo.sensor (sensor_id, name, country, label_en, label_ja) '
                    "values (%s, %s, %s, %s, %s)",
                    (i, f's-{i}', HOME if i <= 3 else AWAY[i % len(AWAY)], f'Sensor {i}', f'Sensor {i}'))


def prefixes(cur):
    cur.execute("insert into hirundo.prefix_set (as_of, source, prefixes, ranges) values (%s, 'bench', 0, 0) returning set_id", (FIRST,))
    set_id = cur.fetchone()[0]
    cur.execute(
        'insert into hirundo.network (set_id, lo, hi, asn, country) '
        "select %s, '0.0.0.0'::inet + h::bigint * 65536, '0.0.0.0'::inet + h::bigint * 65536 + 65535, 64512 + h %% 1000, "
        'case when h >= 50706 and h < 50708 then %s else (%s::text[])[1 + h %% 25] end from generate_series(256, 57343) h',
        (set_id, HOME, SOURCES))
    cur.execute("insert into hirundo.network values (%s, '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 64511, 'US')", (set_id,))
    cur.execute("insert into hirundo.organisation (name) values ('The company') returning organisation_id")
    cur.execute('insert into hirundo.organisation_prefix values (%s, %s)', (cur.fetchone()[0], '198.18.0.0/22'))
    cur.execute("insert into hirundo.tcp_options (options_id, layout, mss) overriding system value "
                "select i, 'mss,sok,ts,nop,ws', i from generate_series(1, 80) i")


def day(cur, program, count, packets, utc_day):
    """One UTC day: rows frozen as they come in, books and marks as the collector keeps them."""
    cur.execute('select hirundo.partition_ensure(%s)', (utc_day,))
    number = (utc_day - EPOCH).days
    with subprocess.Popen([program, str(count), str(packets), str(number)], stdout=subprocess.PIPE) as made:
        # the partition itself: FREEZE is not for partitioned tables
        cur.copy_expert(f'copy hirundo.flow_{utc_day:%Y%m%d} from stdin (format binary, freeze)', made.stdout)
    if made.returncode != 0:
        raise RuntimeError(f'{program} failed')
    rows = cur.rowcount
    start = datetime.datetime.combine(utc_day, datetime.time(), datetime.timezone.utc)
    # a flood now and then
    cur.execute(
        'insert into hirundo.flood (ts, packets, bytes, sources_estimate, port, sensor_id, dst_no, proto, tcp_flags, ttl_min, ttl_max) '
        "select %s::timestamptz + m * interval '1 minute', 900 + m, 40 * (900 + m), 800, 80, s, 1, 6, 2, 30, 120 "
        'from generate_series(1, %s) s, generate_series(600, 609) m where (s + %s) %% 30 = 0', (start, count, number))
    cur.execute(
        'insert into hirundo.observation (sensor_id, slot, covered_ms, frames, row_packets) '
        "select s, %s::timestamptz + q * interval '15 minutes', 900000, %s, %s from generate_series(1, %s) s, generate_series(0, 95) q",
        (start, packets // 96, packets // 96, count))
    cur.execute('insert into hirundo.dirty (sensor_id, hour) '
                "select s, %s::timestamptz + h * interval '1 hour' from generate_series(1, %s) s, generate_series(0, 23) h", (start, count))
    return rows


def load(conn, program, count, packets, days, say=print):
    """Days of the zone; the first begins within the UTC day before."""
    with conn.cursor() as cur:
        settings(cur)
        sensors(cur, count)
        prefixes(cur)
    conn.commit()
    rows = 0
    for i in range(-1, days):
        with conn.cursor() as cur:
            rows += day(cur, program, count, packets, FIRST + datetime.timedelta(days=i))
        conn.commit()
        if i % 30 == 29:
            say(f'{i + 1} days, {rows} rows')
    return rows


# what gen_rollups.c writes
ROLLUPS = {
    'source_port_day': 'day, sensor_id, src, port_code, class, ttl, fragment, packets, bytes',
    'port_day': 'day, sensor_id, port_code, class, packets, bytes, flood_packets, source_days, flood_sources_min, '
    'flood_sources_max, ttl_min, ttl_max',
    'network_port_day': 'day, port_code, class, packets, bytes, flood_packets, sources, flood_sources_min, flood_sources_max, '
    'sensors, hosts, host_sensors',
    'port_country_day': 'day, port_code, class, country, packets, bytes, sources',
    'source_day': 'day, src, class, packets, bytes, ports, sensors, asn, country, organisation_id, known_scanner',
    'scanner_day': 'day, src, ports, sensors, packets',
    'country_day': 'day, sensor_id, class, country, packets, bytes, source_days',
    'sensor_day': 'day, sensor_id, class, packets, bytes, flood_packets, source_days, flood_sources_min, flood_sources_max',
    'ttl_day': 'day, sensor_id, ttl, class, packets',
}
MONTHLY = {
    'source_port_month': 'month, port_code, src, sensor_id, ttl, fragment, class, packets',
    'source_ttl_month': 'month, src, sensor_id, ttl, packets',
}


def rollups(cur, program, count, packets, first, directory, days=None, schema='hirundo'):
    """One day's rollups, or with days a month's, added up outside of the database."""
    numbers = [count, packets, (first - EPOCH).days, directory] + ([days] if days else [])
    subprocess.run([program] + [str(n) for n in numbers], check=True)
    for table, columns in (MONTHLY if days else ROLLUPS).items():
        with open(f'{directory}/{table}', 'rb') as made:
            cur.copy_expert(f'copy {schema}.{table} ({columns}) from stdin (format binary)', made)


def compare_rollups(cur, program, count, packets, first, directory, days=None):
    """{table: (rows that only one of the job and gen_rollups has, rows)} of a day or month that the job has rolled up."""
    tables, unit = (MONTHLY, 'month') if days else (ROLLUPS, 'day')
    for table in tables:
        cur.execute(f'create temp table {table} (like hirundo.{table}) on commit drop')
    rollups(cur, program, count, packets, first, directory, days, 'pg_temp')
    wrong = {}
    for table, columns in tables.items():
        mine, job = (f'select {columns} from {s}.{table} where {unit} = %(first)s' for s in ('pg_temp', 'hirundo'))
        cur.execute(f'select count(*) from (({mine} except all {job}) union all ({job} except all {mine})) x', {'first': first})
        wrong[table] = cur.fetchone()[0]
        cur.execute(f'select count(*) from pg_temp.{table}')
        wrong[table] = (wrong[table], cur.fetchone()[0])
    return wrong


def bulk(conn, program, count, packets, days, directory):
    """All days but the last, and the months that are whole within them, without indexes while rows come in."""
    tables = list(ROLLUPS) + list(MONTHLY)
    with conn.cursor() as cur:
        cur.execute("select indexdef, indexname from pg_indexes where schemaname = 'hirundo' and tablename = any (%s) "
                    "and indexname not like '%%pkey'", (tables,))
        indexes = cur.fetchall()
        for _, name in indexes:
            cur.execute(f'drop index hirundo.{name}')
        for table in tables:
            cur.execute(f'alter table hirundo.{table} set unlogged')
    conn.commit()
    for i in range(days - 1):
        with conn.cursor() as cur:
            rollups(cur, program, count, packets, FIRST + datetime.timedelta(days=i), directory)
        conn.commit()
    whole = months(days - 1)
    for month, length in whole:
        with conn.cursor() as cur:
            rollups(cur, program, count, packets, month, directory, length)
        conn.commit()
    with conn.cursor() as cur:
        cur.execute("set maintenance_work_mem = '512MB'")
        for definition, _ in indexes:
            cur.execute(definition)
            conn.commit()
        enter(cur, days - 1)
        for month, _ in whole:
            cur.execute('select hirundo.rollup_build_month_totals(%s, lower(p), upper(p)) from hirundo.local_range(%s, (%s + interval \'1 month\')::date) p',
                        (month, month, month))
            conn.commit()


def months(days):
    """(first day, length) of the months that lie within so many days."""
    out, month = [], FIRST
    while True:
        length = calendar.monthrange(month.year, month.month)[1]
        if month + datetime.timedelta(days=length) > FIRST + datetime.timedelta(days=days):
            return out
        out.append((month, length))
        month += datetime.timedelta(days=length)


def enter(cur, days):
    """The days as built, with the time observed on them."""
    cur.execute('insert into hirundo.observed_day (day, sensor_id, covered_ms) '
                'select x.day, x.sensor_id, sum(x.covered_ms) '
                'from (select (o.slot at time zone %s)::date as day, o.sensor_id, o.covered_ms from hirundo.observation o) x '
                'where x.day between %s and %s group by 1, 2 order by 1, 2', (ZONE, FIRST, FIRST + datetime.timedelta(days=days - 1)))
    cur.execute('insert into hirundo.rollup_day (day, zone, first, past, built_at, prefix_set) '
                'select d, hirundo.time_zone(), lower(hirundo.local_range(d, d + 1)), upper(hirundo.local_range(d, d + 1)), now(), '
                'hirundo.prefix_set_for(d) from generate_series(0, %s) i cross join lateral (select %s::date + i as d) x', (days - 1, FIRST))
