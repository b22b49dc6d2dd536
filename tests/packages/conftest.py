import pathlib
import shutil
import sys

import pytest

here = pathlib.Path(__file__).parent
sys.path[:0] = [str(here), str(here.parent / "integration"), str(here.parent / "lib")]

import machine  # noqa: E402
from test_live import fixture_pg, fixture_veth  # noqa: E402,F401

__all__ = ["fixture_pg", "fixture_veth"]


@pytest.fixture(name="base", scope="session")
def fixture_base():
    """Made once and kept, since it takes longer than all the rest."""
    reason = machine.why_not()
    if reason:
        pytest.skip(reason)
    directory = here.parents[1] / "var/machine"
    if not directory.exists():
        making = directory.with_name("machine.making")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(exist_ok=True)
        machine.make_base(making)
        making.rename(directory)
    return directory
