"""Each new surge is raised once: a row, a notification, a metric, whoever asks and however often its days come."""
import contextlib
import datetime
import http.client
import json
import select

import psycopg2
import pytest

import hirundo
import sharing
from sharing import fixture_pg

__all__ = ["fixture_pg"]  # pytest finds it by its name

PORT = 2222


@pytest.fixture(name="world", scope="module")
def fixture_world(pg):
    """Four calm weeks of thirteen sensors; they end with the last Sunday."""
    pg.query("update hirundo.setting set value = 'off' where name = 'surge_alert_age'")
    return sharing.World(pg, weeks=4, ports=3, ago=0)


def surge(world, cursor, back, sources=200, sensors=13):
    """So many sources to each sensor on the last day of the world, or on one before it."""
    at = world.first + sharing.DAY * (27 - back) + datetime.timedelta(hours=9)
    world.copy(cursor, [(name, at + datetime.timedelta(seconds=i), PORT, 1, f"198.18.{n % 13}.{i}", 50)
                        for n, name in enumerate(world.names[:sensors]) for i in range(sources)])
    return at.date()


@contextlib.contextmanager
def listening(pg):
    """The payloads of hirundo_surge so far."""
    with pg.connect() as conn, conn.cursor() as cursor:
        cursor.execute("listen hirundo_surge")

        def heard(seconds=0):
            select.select([conn], [], [], seconds)
            conn.poll()
            payloads = [json.loads(n.payload) for n in conn.notifies]
            conn.notifies.clear()
            return payloads
        yield heard


def step(pg):
    found = []
    while rows := pg.query("select day, alert from hirundo.surge_step()"):
        found += [alert for _, alert in rows if alert]
    return found


@contextlib.contextmanager
def rolled_back(pg, age="30 days"):
    with sharing.transaction(pg) as cursor:
        cursor.execute("update hirundo.setting set value = %s where name = 'surge_alert_age'", (age,))
        yield cursor


def steps(cursor):
    found = []
    while True:
        cursor.execute("select day, alert from hirundo.surge_step()")
        rows = cursor.fetchall()
        if not rows:
            return found
        found += [alert for _, alert in rows if alert]


def alerts(cursor):
    cursor.execute("select port, first_day, last_day, peak_day, hosts, sensors_rose, sensors_compared, verdict from hirundo.surge_alert order by alert_id")
    return cursor.fetchall()


def test_raised_once_whatever_comes_later(pg, world):
    with rolled_back(pg) as cursor:
        sharing.roll_up(cursor)
        assert steps(cursor) == [] and alerts(cursor) == []
        second = surge(world, cursor, 1)
        sharing.roll_up(cursor)
        said = steps(cursor)
        assert len(said) == 1 and said[0].startswith(f"2222/TCP since {second}: ") and "13 of 13 sensors rose (global)" in said[0]
        (port, first, last, peak, hosts, rose, compared, verdict), = alerts(cursor)
        assert (port, first, last, peak, rose, compared, verdict) == ("2222/TCP", second, second, second, 13, 13, "global") and hosts > 1000
        # the next day is the same surge, and so is one that comes late
        third = surge(world, cursor, 0, sources=250)
        sharing.roll_up(cursor)
        assert steps(cursor) == []
        first_day = surge(world, cursor, 3)
        sharing.roll_up(cursor)
        assert steps(cursor) == []
        (port, first, last, peak, *_), = alerts(cursor)
        assert (first, last, peak) == (first_day, third, third)
        # as is the same day with more of its data
        surge(world, cursor, 1, sources=255)
        sharing.roll_up(cursor)
        assert steps(cursor) == [] and len(alerts(cursor)) == 1
        assert steps(cursor) == []


def test_local_and_old_and_off(pg, world):
    with rolled_back(pg) as cursor:
        surge(world, cursor, 0, sensors=1)
        sharing.roll_up(cursor)
        said = steps(cursor)
        assert len(said) == 1 and said[0].endswith("1 of 13 sensors rose (local)")
    for age in ("1 day", "off"):
        with rolled_back(pg, age) as cursor:
            surge(world, cursor, 9)
            sharing.roll_up(cursor)
            assert steps(cursor) == [] and alerts(cursor) == []
    for value in ("yes", "0 days"):
        with pytest.raises(Exception, match="surge_alert_age|interval"):
            pg.query("update hirundo.setting set value = %s where name = 'surge_alert_age'", value)


def test_two_collectors_raise_it_once(pg, world):
    """While one judges a day the other finds none to judge, though the day is due: it would raise the same surge again."""
    with contextlib.closing(psycopg2.connect(pg.conninfo())) as first, contextlib.closing(psycopg2.connect(pg.conninfo())) as second:
        one, other = first.cursor(), second.cursor()
        other.execute("set lock_timeout = '10s'")  # without the lock it would wait for the row that the first has written
        second.commit()
        pg.query("update hirundo.setting set value = '30 days' where name = 'surge_alert_age'")
        try:
            sharing.roll_up(other)
            second.commit()
            other.execute("select day from hirundo.surge_day_due()")
            due = other.fetchall()
            second.rollback()
            one.execute("select day from hirundo.surge_step()")
            assert due and one.fetchall() == due
            other.execute("select day from hirundo.surge_day_due()")
            assert other.fetchall() == due  # to the second it still is
            other.execute("select day from hirundo.surge_step()")
            assert other.fetchall() == []
        finally:
            first.rollback()
            second.rollback()
            pg.query("update hirundo.setting set value = 'off' where name = 'surge_alert_age'")


def test_collector_notifies_and_metrics_tell(pg, world):
    """The whole way: serve finds the rolled up day by itself, raises it, and another serve beside it does not."""
    pg.query("update hirundo.setting set value = '30 days' where name = 'surge_alert_age'")
    with listening(pg) as heard:
        with pg.connect() as conn, conn.cursor() as cursor:
            day = surge(world, cursor, 0, sensors=9)
        with hirundo.Collector(pg) as one, hirundo.Collector(pg) as two:
            hirundo.wait_for(lambda: pg.query("select count(*) from hirundo.surge_alert")[0][0], "the surge")
            payloads = []
            hirundo.wait_for(lambda: payloads.extend(heard(0.2)) or payloads, "the notification")
            assert [(p["port"], p["first_day"], p["sensors_rose"], p["sensors_compared"]) for p in payloads] == [("2222/TCP", str(day), 9, 13)]
            assert payloads[0]["hosts"] > payloads[0]["expected"] and payloads[0]["verdict"] and payloads[0]["reason"]
            assert (one.log() + two.log()).count("surge: 2222/TCP since") == 1

            def metrics():
                found = one.wait_log(r"metrics at http://(127\.0\.0\.1):(\d+)/metrics")
                connection = http.client.HTTPConnection(found.group(1), int(found.group(2)), timeout=30)
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()
            hirundo.wait_for(lambda: "hirundo_surges_raised_total 1" in metrics(), "the metric")
            labels = f'{{port="2222/TCP",scope="{payloads[0]["verdict"]}",since="{day}"}}'
            assert f"hirundo_surge_sensors_rose{labels} 9\n" in metrics() and f"hirundo_surge_sensors_compared{labels} 13\n" in metrics()
        # maintain is a third, and late
        assert "surge:" not in pg.command("maintain").stdout
        assert heard(0) == [] and pg.query("select count(*) from hirundo.surge_alert") == [(1,)]


def test_with_partners_the_channel_tells_nothing(pg, world, tmp_path):
    """A partner's login may listen, as any may: it hears the same on a day with a surge as on one without."""
    pg.query("truncate hirundo.surge_alert")
    pg.query("truncate hirundo.surge_judged")
    pg.command("partner", "add", "guest", "--pseudonym-key", str(tmp_path / "key"))
    with listening(pg) as heard:
        assert len(step(pg)) == 1
        payloads = heard(1)
        days = [p["judged"] for p in payloads]
        assert all(list(p) == ["judged"] for p in payloads) and len(days) == len(set(days)) >= 20
    pg.query("alter role partner_guest password 'only-for-tests'")
    with sharing.login(pg, "partner_guest").cursor() as cursor:
        with pytest.raises(Exception, match="permission denied"):
            cursor.execute("select * from hirundo.surge_alert")
