#!/usr/bin/python3
"""What every call of functions.py reads: flow while nothing is rolled up, then rollups alone, and of flow the partition of a day that is to be rolled up again.

By what was read, down to the partition, not by a plan: EXPLAIN does not show the statements of a function. The period sticks out at both ends beyond what anybody
observed, and days there have partitions. 04_reads.sql says which rollup some calls read. Prints TAP.
"""
import pathlib

import common
import functions
import rollup_model
import test_rollups

HERE = pathlib.Path(__file__).resolve().parent
PERIOD = "hirundo.period('2023-01-20..2023-03-10')"
FIRST, PAST = (f"'2023-{d} 00:00Z'::timestamptz" for d in ('01-20', '03-11'))
# times of day and which packet came first stand in flow alone; or flow is what is asked about
READ_FLOW = {'organisation_case', 'accounting_check', 'retag'}
# what organisation_case is made of but for these times
PARTS = [
    f"hirundo.case_daily('{{198.18.0.0/24}}', {FIRST}, {PAST}, hirundo.port_codes('{{22/TCP}}'))",
    f"hirundo.case_shifts('{{198.18.0.0/24}}', {FIRST}, {PAST}, hirundo.port_codes('{{22/TCP,80/TCP}}'))",
    f"hirundo.case_origin('{{198.18.0.0/24}}', {FIRST}, {PAST})",
    f"hirundo.case_calendar('{{198.18.0.0/24}}', {FIRST}, {PAST})",
    f"hirundo.case_effects((select organisation_id from hirundo.organisation where name = 'wide'), '{{198.18.0.0/24}}', {FIRST}, {PAST})",
]
DIRTY = '20230210'
FILL = """
select fixture.zone('UTC'), fixture.home('JP');
select fixture.sensor(n, c) from (values ('jp', 'JP'), ('kr', 'KR'), ('tw', 'TW')) v(n, c);
select fixture.observe(s.name, '2023-02-01T00:00Z', '2023-03-01T00:00Z') from hirundo.sensor s;
select fixture.flow(s.name, d, '198.18.0.1', packets => 100), fixture.flow(s.name, d, '198.18.0.2', port => 80), fixture.flow(s.name, d, '198.18.0.3', flags => 18)
from hirundo.sensor s, generate_series('2023-02-01T12:00Z'::timestamptz, '2023-02-28T12:00Z', '1 day') d;
select hirundo.partition_ensure(d::date) from generate_series('2023-01-20'::timestamp, '2023-03-12', '1 day') d;
with o as (insert into hirundo.organisation (name) values ('wide') returning organisation_id),
     p as (insert into hirundo.organisation_prefix select organisation_id, '198.18.0.0/24' from o)
insert into hirundo.notice (organisation_id, sent) select organisation_id, '2023-02-15' from o;
"""
ROLL = """
insert into hirundo.dirty (sensor_id, hour) select distinct o.sensor_id, date_trunc('hour', o.slot, 'UTC') from hirundo.observation o;
do $$ begin while hirundo.rollup_step() > 0 loop null; end loop; end $$
"""
SCANS = """
select t.relname, sum(pg_stat_get_xact_numscans(c.oid)) from pg_class c
left join pg_index i on i.indexrelid = c.oid
join pg_class t on t.oid = coalesce(i.indrelid, c.oid)
where t.relnamespace = 'hirundo'::regnamespace and t.relkind = 'r' and t.relname ~ '^flow_\\d|^flood_\\d|_(hour|day|month)$' and c.relkind in ('r', 'i')
group by 1
"""


def reads(cur, call):
    """(partitions of flow and flood, rollups) that a call reads"""
    def scans():
        cur.execute(SCANS)
        return dict(cur.fetchall())
    before = scans()
    cur.execute(f'select * from {call}')
    found = {name for name, n in scans().items() if n > before.get(name, 0)}
    return {name for name in found if name.startswith(('flow_2', 'flood_2'))}, found & set(rollup_model.COLUMNS)


def short(item):
    call, what = item
    flow, rollups = what if isinstance(what, tuple) else (what, ())
    return f'{call}: {len(flow)} partitions, {sorted(flow)[:3]}, {sorted(rollups)}'


def main():
    tap = test_rollups.Tap()
    cur = common.connect().cursor()
    cur.execute((HERE / 'include' / 'fixture.psql').read_text(encoding='utf-8'))
    cur.execute(FILL)
    asked = {call: name for name, call in functions.calls(PERIOD) if name != 'retag'}
    asked.update((call, 'parts of organisation_case') for call in PARTS)
    names = list(dict.fromkeys(asked.values()))
    fresh = {call: reads(cur, call) for call in asked}
    cur.execute(ROLL)
    rolled = {call: reads(cur, call) for call in asked}
    cur.execute("insert into hirundo.dirty (sensor_id, hour) select s.sensor_id, '2023-02-10 12:00Z' from hirundo.sensor s")
    late = {call: reads(cur, call) for call in asked}
    for name in names:
        mine = [call for call, n in asked.items() if n == name]
        asks = [call for call in mine if len([t for t in fresh[call][0] if t.startswith('flow_')]) > 25]
        if name in READ_FLOW:
            tap.check(any(rolled[call][0] for call in mine), f'{name} reads flow for what no rollup has')
            continue
        wrong = {call: rolled[call] for call in mine if rolled[call][0] or (call in asks and not rolled[call][1])}
        tap.check(not wrong, f'{name}: {len(asks)} of {len(mine)} calls read flow, then none does, and each of these a rollup', map(short, wrong.items()))
        wrong = {call: late[call][0] for call in mine if late[call][0] - {f'flow_{DIRTY}', f'flood_{DIRTY}'} or (call in asks and not late[call][0])}
        tap.check(not wrong, f'{name} reads of flow the day alone that is to be rolled up', map(short, wrong.items()))
    tap.check(sum(bool(fresh[call][0]) for call in asked) > 60, f'{sum(bool(f[0]) for f in fresh.values())} of {len(asked)} calls read flow where nothing is rolled up')
    print(f'1..{tap.count}')
    return 1 if tap.failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
