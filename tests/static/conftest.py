import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = map(str, (HERE, HERE.parent / "golden", HERE.parent / "integration", HERE.parent / "lib"))

import hirundo  # noqa: E402


@pytest.fixture(name="collector", scope="module")
def fixture_collector():
    with hirundo.Postgres() as postgres:
        postgres.migrate()
        postgres.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        with hirundo.Collector(postgres) as collector:
            yield collector
