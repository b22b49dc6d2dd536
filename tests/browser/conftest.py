import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
for folder in ("integration", "lib"):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / folder))

from browser import Browser  # noqa: E402
from hirundo import Postgres  # noqa: E402
from world import World  # noqa: E402


@pytest.fixture(scope="session")
def database():
    """A factory of databases, all in one cluster; each has this program's schema and nothing else."""
    made = []
    with Postgres() as pg:
        def new():
            pg.database = f"report_{len(made)}"
            made.append(pg.database)
            with pg.connect("postgres") as conn, conn.cursor() as cursor:
                cursor.execute(f"create database {pg.database}")
            pg.migrate()
            return World(pg, pg.database)
        yield new


@pytest.fixture(scope="session")
def browser():
    with Browser() as running:
        yield running


@pytest.fixture(scope="session")
def hostile(database):
    """The world whose every name is an attack, with outages and a week that nobody observed."""
    return database().fill()


@pytest.fixture(scope="session")
def surging(database):
    """Six sensors, three at home, and a port that hosts of one organisation suddenly seek on three days of February 2023."""
    return database().surge()


@pytest.fixture(scope="session")
def internal(hostile, tmp_path_factory):
    return hostile.report("2023-02", tmp_path_factory.mktemp("internal"), "internal")


@pytest.fixture(scope="session")
def public(hostile, tmp_path_factory):
    return hostile.report("2023-02", tmp_path_factory.mktemp("public"), "public")
