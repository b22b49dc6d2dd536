"""The static sensor: what kind of file it is, what it weighs, and that it runs where there is nothing else."""
import hashlib
import json
import lzma
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess

import pytest

import debian_root
import static_sensor
from flows import ether, icmp, ipv4, ipv6, pcap, sensor, tcp, udp
from static_sensor import MACHINE, OUT, TOP, Root, run

ARCHES = ["amd64", "arm64"]
MACHINES = {"amd64": "X86-64", "arm64": "AArch64"}
RAW_LIMIT, XZ_LIMIT = 5_000_000, 1_800_000


@pytest.fixture(name="capture", scope="session")
def fixture_capture(tmp_path_factory):
    """Every kind of row, over more than one window."""
    rng = random.Random(1)
    frames = []
    for _ in range(120_000):
        src = bytes([198, 18, rng.randrange(64), rng.randrange(256)])
        ttl = rng.randrange(30, 250)
        kind = rng.randrange(10)
        if kind < 6:
            data = tcp(dport=rng.choice((22, 23, 80, 445, 5900)), seq=rng.getrandbits(32))
            frames.append(ether(ipv4(data, src=src, ttl=ttl)))
        elif kind < 8:
            frames.append(ether(ipv4(udp(dport=rng.choice((53, 123, 5060))), 17, src=src, ttl=ttl)))
        elif kind == 8:
            frames.append(ether(ipv4(icmp(), 1, src=src, ttl=ttl)))
        else:
            frames.append(ether(ipv6(hops=ttl), 0x86dd))
    return pcap(tmp_path_factory.mktemp("capture") / "all.pcap", frames)


@pytest.fixture(name="expected", scope="session")
def fixture_expected(capture):
    """What the sensor linked to Debian's shared libraries says, by format."""
    return {words: run([sensor(), "flows", *words, capture]).stdout for words in FORMATS}


FORMATS = [(), ("--format", "json"), ("--summary",)]


def readelf(option, arch):
    return subprocess.run(["readelf", "-W", option, static_sensor.path(arch)], check=True, text=True,
                          capture_output=True).stdout


@pytest.mark.parametrize("arch", ARCHES)
def test_it_is_a_static_position_independent_program(arch):
    header, segments, dynamic = (readelf(o, arch) for o in ("-h", "-l", "-d"))
    assert MACHINES[arch] in header
    assert re.search(r"Type:\s+DYN", header)
    assert "INTERP" not in segments
    assert "NEEDED" not in dynamic
    assert "TEXTREL" not in dynamic
    assert re.search(r"FLAGS_1.*\bPIE\b", dynamic)


@pytest.mark.parametrize("arch", ARCHES)
def test_it_is_stripped_and_hardened(arch):
    segments = readelf("-l", arch)
    assert ".symtab" not in readelf("-S", arch)
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW ", segments)
    assert not re.search(r"LOAD.* RWE ", segments)
    assert "BIND_NOW" in readelf("-d", arch)


@pytest.mark.parametrize("arch", ARCHES)
def test_it_stays_below_its_sizes(arch):
    data = static_sensor.path(arch).read_bytes()
    packed = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    print(f"{arch}: {len(data)} bytes, {packed} with xz")
    assert len(data) <= RAW_LIMIT
    assert packed <= XZ_LIMIT


@pytest.mark.parametrize("arch", ARCHES)
def test_it_knows_no_path_of_the_machine_that_built_it(arch):
    data = static_sensor.path(arch).read_bytes()
    for path in (TOP, OUT):
        assert str(path).encode() not in data
    assert re.search(rb"hirundo/sensor/\w+\.c|work/source/zeromq3", data), "the paths that stand in for them"


@pytest.mark.parametrize("arch", ARCHES)
def test_everything_linked_in_is_listed_with_its_licence(arch):
    program = static_sensor.path(arch)
    document = json.loads(program.with_name(program.name + ".spdx.json").read_text())
    texts = program.with_name(program.name + ".licenses")
    packages = {package["name"]: package for package in document["packages"]}
    assert document["spdxVersion"] == "SPDX-2.3"
    own = packages.pop("hirundo-sensor")
    assert own["checksums"][0]["checksumValue"] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert {"zeromq3", "libpcap", "libsodium-dev", "libsqlite3-dev", "libzstd-dev", "libc6-dev"} <= set(packages)
    assert not {"libssl-dev", "openssl"} & set(packages)
    for name, package in packages.items():
        assert package["licenseDeclared"] not in ("", "NOASSERTION"), name
        assert (texts / name).stat().st_size > 100, name
    linked = {r["relatedSpdxElement"] for r in document["relationships"] if r["relationshipType"] == "STATIC_LINK"}
    assert linked == {package["SPDXID"] for package in packages.values()}
    for text in ("Apache-2.0", "LGPL-2.1", "LGPL-3", "GPL-3"):
        assert (texts / "common-licenses" / text).is_file()


@pytest.mark.parametrize("arch", ARCHES)
def test_flows_are_those_of_the_dynamic_program(arch, capture, expected):
    for words in FORMATS:
        done = run([*static_sensor.command(arch), "flows", *words, capture])
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == expected[words]
    assert json.loads(expected["--summary",])["frames"] == 120_000


@pytest.mark.parametrize("kind, frames, limit_mib", [("normal", 5_000, 6), ("full table", 120_000, 14)])
def test_memory_stays_below_the_designs_limits(kind, frames, limit_mib, capture, tmp_path):
    """The most that was resident. The file's windows have about as many flows as packets."""
    head = tmp_path / "head.pcap"
    head.write_bytes(cut(capture, frames))
    done = run(["/usr/bin/time", "-f", "%M", *static_sensor.command(MACHINE), "flows", head])
    assert done.returncode == 0
    rss = int(done.stderr)
    print(f"RSS {kind}: {rss} KiB")
    assert rss <= limit_mib * 1024


def cut(capture, frames):
    """The first frames of a capture file."""
    data, at = capture.read_bytes(), 24
    for _ in range(frames):
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    return data[:at]


# Roots

@pytest.fixture(name="root", scope="module", params=["empty", "bullseye", "trixie"])
def fixture_root(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    if request.param != "empty":
        debian_root.make(directory, request.param)
    yield Root(directory)
    shutil.rmtree(directory)


def test_flows_in_another_root(root, capture, expected):
    shutil.copy(capture, root.directory / "all.pcap")
    for words in FORMATS:
        done = root.run("flows", *words, "/all.pcap")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == expected[words]


def test_replay_in_another_root(root, capture, collector):
    shutil.copy(capture, root.directory / "all.pcap")
    name = f"root-{re.sub('[^a-z]', '', root.directory.name)}"
    static_sensor.configure(root.directory, "", collector)
    deliver(root.command, "/sensor.conf", "/all.pcap", collector, name)


def test_replay_of_the_other_architecture(tmp_path, capture, collector):
    other, = set(ARCHES) - {MACHINE}
    conf = static_sensor.configure(tmp_path, tmp_path, collector)
    deliver(static_sensor.command(other), conf, capture, collector, f"other-{other}")


def deliver(command, conf, capture, collector, name):
    done = run([*command, "keygen", "-c", conf])
    assert done.returncode == 0, done.stderr
    collector.postgres.command("sensor", "add", name, "--country", "JP", "--key", done.stdout.strip())
    done = run([*command, "replay", "-c", conf, capture])
    assert done.returncode == 0, done.stderr
    frames, packets = static_sensor.frames_of(collector.postgres, name)
    assert (frames, packets) == (120_000, 120_000)


# The build itself

def test_usage_errors():
    for words in (["mips"], ["--out"], ["--bogus"], ["amd64", "extra"]):
        done = run([TOP / "deploy/static/build", *words])
        assert done.returncode == 2, words
        assert len(done.stderr.splitlines()) == 1
    assert "usage:" in run([TOP / "deploy/static/build", "--help"]).stdout


def test_a_library_with_another_sum_is_refused(tmp_path):
    """In a copy of what the build reads, with one pin changed; the cache has the true file."""
    shutil.copytree(TOP / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("out"))
    cache = tmp_path / "deploy/static/out/cache"
    shutil.copytree(OUT / "cache", cache, copy_function=os.link)
    pins = tmp_path / "deploy/static/pins"
    text, n = re.subn(rf"(?m)^(libsodium-dev {MACHINE} \S+) \S+", rf"\1 {'0' * 64}", pins.read_text())
    assert n == 1
    pins.write_text(text)
    done = run([tmp_path / "deploy/static/build"])
    assert done.returncode == 1
    assert "libsodium-dev" in done.stderr and "renew-pins" in done.stderr
    assert not [file for file in cache.iterdir() if file.name.startswith("libsodium") and MACHINE in file.name]


def test_two_builds_are_the_same():
    second = os.environ.get("HIRUNDO_STATIC_SECOND")
    if not second:
        pytest.skip("one build only: tests/run static 2 builds twice and compares")
    for arch in ARCHES:
        for kind in ("", ".spdx.json"):
            name = f"hirundo-sensor-{arch}{kind}"
            assert (OUT / name).read_bytes() == (pathlib.Path(second) / name).read_bytes(), name
