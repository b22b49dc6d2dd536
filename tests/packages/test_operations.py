"""docs/operations.md's way from nothing to a sensor in another country, word by word, on two machines that are network namespaces."""
import pytest

from manual import blocks, serve
from test_live import root_with_namespaces
from test_walkthrough import Internet, fixture_postgres, fixture_veth, fixture_vps, follow, owners_terminal

__all__ = ["fixture_postgres", "fixture_veth", "fixture_vps"]  # found by name

pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")


@pytest.fixture(name="owner")
def fixture_owner(postgres, veth, tmp_path):
    with owners_terminal(postgres, veth, tmp_path, "owner") as terminal:
        yield terminal


def test_from_nothing_to_another_country(postgres, veth, owner, vps, tmp_path):
    typed = blocks("owner", "vps")
    assert [machine for machine, _ in typed] == ["owner", "owner", "vps", "owner", "vps", "owner"]
    internet, shown, service = Internet(veth), "", None
    internet.start()
    try:
        for shown, _ in follow(typed, {"owner": owner, "vps": vps}, tmp_path / "owner", tmp_path / "vps"):
            if not service:
                service = serve(postgres, veth, tmp_path).start()
                service.wait_log("ready: listening")
    finally:
        internet.ending.set()
        internet.join()
        if service:
            print(service.log())
            service.stop()
    assert shown == "online\n"
