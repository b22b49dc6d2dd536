"""Every function that analysts call with a period, and calls of each: what the tests run through every situation.

A new function is registered here, and with that test_every_function.py tries it on empty data, without a home sensor, across
retention and so on, under foreign session settings, and from rollups against flow; test_rollups.py does the last on random
data in other time zones. PERIOD stands for the period. What a session shows differently (a timestamp inside of jsonb) must
not be in a result.
"""
HOSTS = "'{198.18.0.0/26,2001:db8::/40}'"


class Function:
    """calls: an answer, no error, for any period. refused: nonsense, answered by one clear error with a hint.

    equal: whether results are the same in any session and from rollups as from flow.
    """

    def __init__(self, *calls, refused=(), equal=True):
        self.calls, self.refused, self.equal = calls, refused, equal


FUNCTIONS = {
    'ttl_spread': Function(
        'hirundo.ttl_spread(PERIOD)',
        f"hirundo.ttl_spread(PERIOD, {HOSTS}, '{{22/TCP}}')",
        "hirundo.ttl_spread(PERIOD, '{::/0,0.0.0.0/0,NULL}', '{22/TCP,65535/udp,IP/253,NULL}')",
        "hirundo.ttl_spread(PERIOD, '{}', '{}')",
        refused=["hirundo.ttl_spread(PERIOD, null, '{22}')"],
    ),
    'ttl_origin': Function(
        'hirundo.ttl_origin(PERIOD)',
        f"hirundo.ttl_origin(PERIOD, {HOSTS}, '{{22/TCP}}')",
        "hirundo.ttl_origin(PERIOD, '{::/0,0.0.0.0/0}', null, 'JP')",
        "hirundo.ttl_origin(PERIOD, '{203.0.113.1}', '{icmp,IP/253}', 'zz')",
        "hirundo.ttl_origin(PERIOD, '{}', '{}', '')",
        refused=["hirundo.ttl_origin(PERIOD, null, '{ssh}')"],
    ),
    'source_hosts_daily': Function(
        'hirundo.source_hosts_daily(PERIOD)',
        f"hirundo.source_hosts_daily(PERIOD, {HOSTS}, '{{22/TCP,ICMP,TCP/fragment}}')",
        "hirundo.source_hosts_daily(PERIOD, '{203.0.113.0/24}', '{65535/TCP}')",
        "hirundo.source_hosts_daily(PERIOD, '{}', '{}')",
        f"hirundo.source_hosts_daily(PERIOD, {HOSTS}, null, true)",
        'hirundo.source_hosts_daily(PERIOD, null, null, true)',
        refused=["hirundo.source_hosts_daily(PERIOD, null, '{22/SCTP}')"],
    ),
    'top_ports': Function(
        'hirundo.top_ports(PERIOD, 3)',
        'hirundo.top_ports(PERIOD, 2147483647)',
        'hirundo.top_ports(PERIOD, 0)',
        'hirundo.top_ports(PERIOD, -1)',
    ),
    'sensor_average': Function(
        "hirundo.sensor_average(PERIOD, 'day')",
        "hirundo.sensor_average(PERIOD, ' Week ')",
        "hirundo.sensor_average(PERIOD, 'month')",
        "hirundo.sensor_average(PERIOD, 'quarter')",
        refused=["hirundo.sensor_average(PERIOD, 'fortnight')", "hirundo.sensor_average(PERIOD, '')"],
    ),
    'distinct_sources': Function(
        'hirundo.distinct_sources(PERIOD)',
        "hirundo.distinct_sources(PERIOD, 'class')",
        "hirundo.distinct_sources(PERIOD, 'received')",
        "hirundo.distinct_sources(PERIOD, 'region')",
        "hirundo.distinct_sources(PERIOD, 'sensor')",
        refused=["hirundo.distinct_sources(PERIOD, 'colour')"],
    ),
    'backscatter': Function(
        'hirundo.backscatter(PERIOD)',
        'hirundo.backscatter(PERIOD, 5)',
        'hirundo.backscatter(PERIOD, -9223372036854775808)',
    ),
    'organisation_case': Function(
        "hirundo.organisation_case('wide', PERIOD)",
        "hirundo.organisation_case('narrow', PERIOD)",
        "hirundo.organisation_case('of no such name', PERIOD)",
        'hirundo.organisation_case(null, PERIOD)',
        "hirundo.organisation_case('wide', PERIOD, true)",
    ),
    'whole_weeks': Function('hirundo.whole_weeks(PERIOD)'),
    'public_top': Function(
        "hirundo.public_top('port', PERIOD, 'week', 5)",
        "hirundo.public_top('country', PERIOD)",
        "hirundo.public_top('port', PERIOD, 'month', 0)",
        refused=["hirundo.public_top('ports', PERIOD)"],
        equal=False,  # the random data have too few sensors that observe half of a period: 45_public.sql compares
    ),
    'public_average': Function('hirundo.public_average(PERIOD)', "hirundo.public_average(PERIOD, 'week')"),
    'public_ttl': Function(f"hirundo.public_ttl(PERIOD, {HOSTS})", "hirundo.public_ttl(PERIOD, null, '{22/TCP}')", equal=False),
    'public_source_hosts': Function(
        f"hirundo.public_source_hosts(PERIOD, {HOSTS})",
        "hirundo.public_source_hosts(PERIOD, null, 'month', 2, '{22/TCP,ICMP}')",
        'hirundo.public_source_hosts(PERIOD)',
        equal=False,
    ),
    'public_top_tens': Function('hirundo.public_top_tens(PERIOD)', equal=False),
    'public_accounting': Function('hirundo.public_accounting(PERIOD)', equal=False),
    'port_sources': Function("hirundo.port_sources(PERIOD, '22/TCP')", refused=["hirundo.port_sources(PERIOD, 'ssh')"]),
    'port_origins': Function(
        "hirundo.port_origins(PERIOD, '22/TCP')",
        "hirundo.port_origins(PERIOD, 'ICMP', 'as')",
        refused=["hirundo.port_origins(PERIOD, '22/TCP', 'colour')"],
    ),
    'port_home_sources': Function("hirundo.port_home_sources(PERIOD, '22/TCP')"),
    'port_is_not': Function("hirundo.port_is_not(PERIOD, '22/TCP')"),
    'source_top_ports': Function(
        f'hirundo.source_top_ports(PERIOD, {HOSTS}, 5)',
        f'hirundo.source_top_ports(PERIOD, {HOSTS}, 2147483647)',
        "hirundo.source_top_ports(PERIOD, '{}', 0)",
    ),
    'report_coverage': Function(
        "hirundo.report_coverage(PERIOD, 'day')",
        "hirundo.report_coverage(PERIOD, 'week')",
    ),
    'tool_share': Function(
        'hirundo.tool_share(PERIOD)',
        "hirundo.tool_share(PERIOD, null, 'country', 3)",
        "hirundo.tool_share(PERIOD, '{22/TCP,ICMP,NULL}', 'country', 2, 'masscan')",
        "hirundo.tool_share(PERIOD, '{22/TCP}', ' Port ', 2147483647, 'Mirai')",
        "hirundo.tool_share(PERIOD, '{}', 'port', -1, 'unknown')",
        refused=[
            "hirundo.tool_share(PERIOD, '{22}')",
            "hirundo.tool_share(PERIOD, null, 'sensor')",
            "hirundo.tool_share(PERIOD, null, 'port', 5, 'a tool that is none')",
        ],
    ),
    'port_trend': Function(
        'hirundo.port_trend(PERIOD)',
        "hirundo.port_trend(PERIOD, 'day', 3)",
        "hirundo.port_trend(PERIOD, ' Month ', 2147483647)",
        "hirundo.port_trend(PERIOD, 'quarter', 0)",
        "hirundo.port_trend(PERIOD, 'hour', 2)",
        refused=["hirundo.port_trend(PERIOD, 'year')", "hirundo.port_trend(PERIOD, '', 5)"],
    ),
    'quarter_top': Function('hirundo.quarter_top(PERIOD)', 'hirundo.quarter_top(PERIOD, 2147483647)', 'hirundo.quarter_top(PERIOD, 0)'),
    'scanners': Function(
        'hirundo.scanners(PERIOD)',
        'hirundo.scanners(PERIOD, 2)',
        'hirundo.scanners(PERIOD, 4)',
        'hirundo.scanners(PERIOD, 0)',
        'hirundo.scanners(PERIOD, 2147483647)',
        'hirundo.scanners(PERIOD, -1)',
        'hirundo.scanners(PERIOD, 3, true)',
    ),
    'scanner_organisations': Function('hirundo.scanner_organisations(PERIOD, 3)', 'hirundo.scanner_organisations(PERIOD, 5)', 'hirundo.scanner_organisations(PERIOD, 5, true)'),
    'activity_calendar': Function(
        'hirundo.activity_calendar(PERIOD)',
        f"hirundo.activity_calendar(PERIOD, {HOSTS}, '{{22/TCP,ICMP}}')",
        "hirundo.activity_calendar(PERIOD, null, '{22/TCP}', 'tw')",
        "hirundo.activity_calendar(PERIOD, '{}', '{}', 'JP')",
        'hirundo.activity_calendar(PERIOD, null, null, null, true)',
        refused=["hirundo.activity_calendar(PERIOD, null, '{22}')", "hirundo.activity_calendar(PERIOD, null, null, 'Japan')"],
    ),
    'retag': Function('hirundo.retag(PERIOD)', equal=False),
    'scope': Function(
        "hirundo.scope(PERIOD, '22/TCP')",
        "hirundo.scope(PERIOD, 'icmp')",
        "hirundo.scope(PERIOD, 'IP/253')",
        refused=["hirundo.scope(PERIOD, '22')", "hirundo.scope(PERIOD, '')"],
    ),
    'surges': Function('hirundo.surges(PERIOD)', 'hirundo.surges(PERIOD, 1000000000, 1)', 'hirundo.surges(PERIOD, -1, 2147483647)'),
    'accounting': Function('hirundo.accounting(PERIOD)'),
    'accounting_check': Function('hirundo.accounting_check(PERIOD)'),
}


def calls(period, equal=False):
    """(name, call) of all, for this period as SQL; equal: of those that must be equal everywhere."""
    for name, function in FUNCTIONS.items():
        if function.equal or not equal:
            for call in function.calls:
                yield name, call.replace('PERIOD', period)
