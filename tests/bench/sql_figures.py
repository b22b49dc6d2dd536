"""What bench_sql.py asks: each figure from rollups and from flow. Figures that functions give, and the questions
that rollups alone can answer so far, as plain SQL of the same answer from both."""

COMPANY = "'{198.18.0.0/22}'"
HOSTS = "class <> 'backscatter' and class <> 'local'"
# %(p)s: the period; %(a)s, %(b)s: its bounds; %(d)s, %(e)s: its first day and the day after; %(days)s, %(months)s: all of them; %(zone)s: the reporting time zone
FLOW = 'ts >= %(a)s and ts < %(b)s'
DAYS = 'day >= %(d)s and day < %(e)s'
LOCAL = '(ts at time zone %(zone)s)::date'

# (name, aim: figure or distinct, the call); from flow: the same with no day, hour or month rolled up
CALLS = [
    ('top_ports, 10', 'figure', 'select * from hirundo.top_ports(%(p)s, 10)'),
    ('sensor_average by day', 'figure', "select * from hirundo.sensor_average(%(p)s, 'day')"),
    ('sensor_average by month', 'figure', "select * from hirundo.sensor_average(%(p)s, 'month')"),
    ('source_hosts_daily, a company, 22/TCP', 'figure', f"select * from hirundo.source_hosts_daily(%(p)s, {COMPANY}, '{{22/TCP}}')"),
    ('source_hosts_daily, all sources, 22 and 23/TCP', 'figure', "select * from hirundo.source_hosts_daily(%(p)s, null, '{22/TCP,23/TCP}')"),
    ('ttl_spread, a company, 22/TCP', 'figure', f"select * from hirundo.ttl_spread(%(p)s, {COMPANY}, '{{22/TCP}}')"),
    ('ttl_origin, a company, 22/TCP', 'figure', f"select * from hirundo.ttl_origin(%(p)s, {COMPANY}, '{{22/TCP}}')"),
    ('ttl_spread, all sources', 'distinct', 'select * from hirundo.ttl_spread(%(p)s)'),
    ('ttl_spread, all sources, 22/TCP', 'distinct', "select * from hirundo.ttl_spread(%(p)s, null, '{22/TCP}')"),
    ('distinct_sources', 'distinct', 'select * from hirundo.distinct_sources(%(p)s)'),
    ('distinct_sources by region', 'distinct', "select * from hirundo.distinct_sources(%(p)s, 'region')"),
    ('distinct_sources by region, odd range', 'distinct', "select * from hirundo.distinct_sources(%(odd)s, 'region')"),
]
# (name, aim, from rollups, from flow)
QUERIES = [
    ('services of the period (quarter_top)', 'figure',
     # ports with less than the head in each month cannot be among the first
     "select port_code, sum(packets) from hirundo.network_port_month where month = any (%(months)s) and class <> 'local' and port_code = any (array("
     'select port_code from hirundo.network_port_month where month = any (%(months)s) and packets >= 1000)) group by 1 order by 2 desc, 1 limit 10',
     f"select port_code, sum(packets) from hirundo.traffic where {FLOW} and class <> 'local' group by 1 order by 2 desc, 1 limit 10"),
    ('five ports by week (port_trend)', 'figure',
     "select date_trunc('week', day::timestamp)::date, port_code, sum(packets) from hirundo.network_port_day where day = any (%(days)s) "
     "and port_code = any (hirundo.port_codes('{23/TCP,22/TCP,2323/TCP,445/TCP,ICMP}')) and class <> 'local' group by 1, 2 order by 1, 2",
     f"select date_trunc('week', {LOCAL}::timestamp)::date, port_code, sum(packets) from hirundo.traffic where {FLOW} "
     "and port_code = any (hirundo.port_codes('{23/TCP,22/TCP,2323/TCP,445/TCP,ICMP}')) and class <> 'local' group by 1, 2 order by 1, 2"),
    ('source countries (quarter_top)', 'figure',
     f"select country, sum(packets) from hirundo.country_day where {DAYS} and class <> 'local' and country <> '' group by 1 order by 2 desc, 1", None),
    ('sources on more than 20 ports a day (scanners)', 'figure',
     f"select day, src, ports from hirundo.scanner_day where {DAYS} and ports > 20 order by 1, 2",
     f"select {LOCAL}, src, count(distinct port_code) from hirundo.flow_classed where {FLOW} and {HOSTS} "
     "group by 1, 2 having count(distinct port_code) > 20 order by 1, 2"),
    ('ports and days with 20 hosts or more (surges)', 'figure',
     f'select day, port_code, hosts from hirundo.network_port_day where {DAYS} and hosts >= 20 order by 1, 2',
     f'select {LOCAL}, port_code, count(distinct src) from hirundo.flow_classed where {FLOW} and {HOSTS} '
     'group by 1, 2 having count(distinct src) >= 20 order by 1, 2'),
    ('one port by sensor and day (scope)', 'figure',
     "select sensor_id, day, sum(packets) from hirundo.port_day where day = any (%(days)s) and port_code = 6 * 131072 + 22 "
     "and class <> 'local' group by 1, 2 order by 1, 2",
     f"select sensor_id, {LOCAL}, sum(packets) from hirundo.traffic where {FLOW} and port_code = 6 * 131072 + 22 and class <> 'local' "
     'group by 1, 2 order by 1, 2'),
    ('victims of floods (backscatter)', 'figure',
     f"select src, sum(packets) from hirundo.source_day where {DAYS} and class = 'backscatter' group by 1 order by 2 desc, 1",
     f"select src, sum(packets) from hirundo.flow_classed where {FLOW} and class = 'backscatter' group by 1 order by 2 desc, 1"),
    ('a company by day (organisation_case)', 'figure',
     f'select day, count(distinct src), sum(packets) from hirundo.source_day where {DAYS} and organisation_id = 1 group by 1 order by 1',
     f"select {LOCAL}, count(distinct src), sum(packets) from hirundo.flow_classed where {FLOW} and src >= '198.18.0.0' and src <= '198.18.3.255' "
     'group by 1 order by 1'),
]
