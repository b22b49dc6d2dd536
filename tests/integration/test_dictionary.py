"""The dictionary of TCP options is capped: a sender who invents combinations cannot make it grow without end."""
import struct

import pytest

from hirundo import Collector, Postgres
from test_delivery import FIRST, Replayer

LIMIT = 100_000  # collector/dims.h, DIMS_OPTIONS_MAX


@pytest.fixture(name="pg", scope="module")
def fixture_pg():
    with Postgres() as pg:
        pg.migrate()
        pg.query("update hirundo.setting set value = 'off' where name = 'retention_flow'")
        yield pg


def capture(path, sizes, first):
    """A capture of SYNs, each with a maximum segment size of its own."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for i, mss in enumerate(sizes):
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 44, i & 0xffff, 0, 50, 6, 0, struct.pack("!I", 0xc6120000 + i),
                             b"\xc6\x13\x00\x01")
            tcp = struct.pack("!HHIIBBHHHBBH", 1024, 23, i, 0, 0x60, 2, 1024, 0, 0, 2, 4, mss)
            data = b"\x02" * 12 + b"\x08\x00" + ip + tcp
            f.write(struct.pack("<IIII", first, i, len(data), len(data)) + data)
    return str(path)


def test_beyond_the_limit_combinations_are_other(pg, tmp_path):
    with Collector(pg) as collector:
        sensor = Replayer(collector, tmp_path, "inventive")
        assert sensor.replay(capture(tmp_path / "a.pcap", [1400, 1460], FIRST)).returncode == 0
    known = pg.value("select count(*) from hirundo.tcp_options")
    pg.query("insert into hirundo.tcp_options (layout) select 'invented ' || i from generate_series(1, %s) i", LIMIT - 3 - known)
    with Collector(pg) as collector:  # it counts anew
        sensor.collector = collector
        sensor.configure()
        for number in (1, 2):
            made = capture(tmp_path / f"b{number}.pcap", [1460] + list(range(100, 600)), FIRST + number * 3600)
            assert sensor.replay(made).returncode == 0
    assert pg.value("select count(*) from hirundo.tcp_options") == LIMIT
    found = pg.query("select o.layout, o.mss, count(*) from hirundo.flow f left join hirundo.tcp_options o using (options_id) group by 1, 2")
    assert ("other", None, 2 * 497) in found and ("mss", 1460, 3) in found, found[:10]
    assert len(found) == 6 and sum(n for _, _, n in found) == 1004  # three more fitted in
    assert pg.value("select count(*) from hirundo.quarantine") == 0
