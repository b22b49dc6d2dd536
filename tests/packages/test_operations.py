"""docs/operations.md's way from nothing to a sensor in another country, word by word, on two machines that are network namespaces."""
import re

import pytest

import hirundo
from test_live import root_with_namespaces
from test_walkthrough import Internet, fixture_postgres, fixture_veth, fixture_vps, follow, owners_terminal

__all__ = ["fixture_postgres", "fixture_veth", "fixture_vps"]  # found by name

pytestmark = pytest.mark.skipif(not root_with_namespaces(), reason="needs root and network namespaces")

TEXT = (hirundo.TOP / "docs/operations.md").read_text()
BLOCK = re.compile(r"^```sh (owner|vps)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVICE = re.compile(r"^As root, `/etc/hirundo/collector.conf` for the service\..*?^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(name="owner")
def fixture_owner(postgres, veth, tmp_path):
    with owners_terminal(postgres, veth, tmp_path, "owner") as terminal:
        yield terminal


def serve(postgres, veth, tmp_path):
    """The service, with the login that the owner made for it and the configuration of the manual."""
    postgres.query("alter role hirundo_service password 'only-for-tests'")
    text = SERVICE.search(TEXT).group(1).replace("host=/run/postgresql", f"host={postgres.directory} port={postgres.port}")
    assert str(postgres.directory) in text
    conf = tmp_path / "collector.conf"
    conf.write_text(text.replace("[database]", f"key = {tmp_path}/collector.key\n[database]") + "[metrics]\nlisten = off\n")
    env = {"PGPASSWORD": "only-for-tests", "PATH": "/usr/bin:/bin"}
    return hirundo.Server(veth.outside(hirundo.program("hirundo-collector"), "serve", "-c", str(conf)), env=env)


def test_from_nothing_to_another_country(postgres, veth, owner, vps, tmp_path):
    blocks = BLOCK.findall(TEXT)
    assert [machine for machine, _ in blocks] == ["owner", "owner", "vps", "owner", "vps", "owner"]
    internet, shown, service = Internet(veth), "", None
    internet.start()
    try:
        for shown, _ in follow(blocks, {"owner": owner, "vps": vps}, tmp_path / "owner", tmp_path / "vps"):
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
