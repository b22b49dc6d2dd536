import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from hirundo import Collector, Keys, Postgres, wait_for  # noqa: E402

# What takes longest begins first, so that with several files at a time none is left alone at the end.
LONG = ("test_partner_attack", "test_collector", "test_live", "test_poison", "test_partners", "test_walkthrough")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONG)


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


@pytest.fixture
def collector(postgres):
    with Collector(postgres) as running:
        yield running


@pytest.fixture
def enrolled(postgres, collector, request):
    """A function that enrolls a new sensor and waits until the collector knows it: (name, key pair)."""
    made = []

    def enroll():
        name = f"s{abs(hash(request.node.nodeid)) % 10 ** 9}-{len(made)}"
        keys = Keys(postgres, 1, prefix=name)
        made.append(name)
        count = postgres.value("select count(*) from hirundo.sensor_key k join hirundo.sensor s using (sensor_id) "
                               "where k.revoked_at is null and s.revoked_at is null")
        collector.wait_log(rf"^info: {count} keys are enrolled|\b{count} keys enrolled")
        return keys.names[0], keys.pairs[0]
    yield enroll


@pytest.fixture
def wait():
    return wait_for
