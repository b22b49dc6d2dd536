import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from hirundo import Collector, Keys, Postgres, wait_for  # noqa: E402


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
