"""Citus as an object: a coordinator and two workers, private clusters on free ports of 127.0.0.1."""
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "integration"))

from hirundo import Postgres  # noqa: E402

SETTINGS = ["shared_preload_libraries = 'citus'", "max_prepared_transactions = 200", "max_connections = 200",
            "fsync = off", "citus.local_hostname = '127.0.0.1'",
            "citus.node_conninfo = 'sslmode=disable'"]


class Node(Postgres):
    """Nodes connect to each other as whichever role is current: on this machine anybody may be anybody."""

    def __init__(self):
        super().__init__(settings=SETTINGS)

    def __enter__(self):
        super().__enter__()
        (self.directory / "data" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\nlocal all all trust\n")
        self.query("select pg_reload_conf()")
        self.query("create extension citus")
        return self


@pytest.fixture(scope="session")
def citus():
    """The coordinator, migrated and spread over the workers."""
    with Node() as coordinator, Node() as first, Node() as second:
        coordinator.migrate()
        done = coordinator.command("migrate", "--citus", check=False)
        assert done.returncode == 1 and "no workers yet" in done.stderr
        coordinator.query("select citus_set_coordinator_host('127.0.0.1', %s)", coordinator.port)
        for node in (first, second):
            coordinator.query("select citus_add_node('127.0.0.1', %s)", node.port)
        for _ in range(2):  # as an upgrade does
            assert "spread over the nodes" in coordinator.command("migrate", "--citus").stdout
        yield coordinator
