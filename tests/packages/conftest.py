import pathlib
import shutil
import sys

import pytest

here = pathlib.Path(__file__).parent
sys.path[:0] = [str(here), str(here.parent / "integration"), str(here.parent / "lib")]

import debian_root  # noqa: E402
import machine  # noqa: E402
from test_live import fixture_pg, fixture_veth  # noqa: E402,F401

__all__ = ["fixture_pg", "fixture_veth"]


def made_once(name, release, packages):
    """A root that is kept, since to make it takes longer than all the rest."""
    reason = machine.why_not()
    if reason:
        pytest.skip(reason)
    directory = here.parents[1] / "var" / name
    if not directory.exists():
        making = directory.with_name(f"{name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(exist_ok=True)
        debian_root.make(making, release, packages)
        making.rename(directory)
    return directory


@pytest.fixture(name="base", scope="session")
def fixture_base():
    """Nothing but the base system and systemd."""
    return made_once("machine", "bookworm", machine.PACKAGES)


@pytest.fixture(name="old_base", scope="session")
def fixture_old_base():
    """The same with systemd 247."""
    return made_once("machine-bullseye", "bullseye", machine.PACKAGES)


@pytest.fixture(name="bare_base", scope="session")
def fixture_bare_base():
    """No service manager at all."""
    return made_once("machine-bare", "bullseye", ())
