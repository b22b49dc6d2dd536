"""docs/operations.md as a text to be typed: its blocks, and the collector's service as it describes it."""
import re

import hirundo

TEXT = (hirundo.TOP / "docs/operations.md").read_text()
SERVICE = re.compile(r"^As root, `/etc/hirundo/collector.conf` for the service\..*?^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*machines, section=""):
    """(machine, text) of the blocks that are marked with one of these, in the section with this heading or everywhere."""
    text = TEXT[TEXT.index(f"\n{section}\n"):].split("\n##", 2)[1] if section else TEXT
    return re.findall(rf"^```sh ({'|'.join(machines)})\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def serve(postgres, veth, directory, address=None):
    """The service, with the login that the owner made for it and the configuration of the manual, or another address in it."""
    postgres.query("alter role hirundo_service password 'only-for-tests'")
    text = SERVICE.search(TEXT).group(1).replace("host=/run/postgresql", f"host={postgres.directory} port={postgres.port}")
    assert str(postgres.directory) in text and "192.0.2.1" in text
    if address:
        text = text.replace("192.0.2.1", address)
    conf = directory / "collector.conf"
    conf.write_text(text.replace("[database]", f"key = {directory}/collector.key\n[database]") + "[metrics]\nlisten = off\n")
    env = {"PGPASSWORD": "only-for-tests", "PATH": "/usr/bin:/bin"}
    return hirundo.Server(veth.outside(hirundo.program("hirundo-collector"), "serve", "-c", str(conf)), env=env)
