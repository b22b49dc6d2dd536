"""hirundo-sensor on the command line: exit codes, and one clear line for each mistake."""
import os
import re
import stat
import struct
import subprocess

import pytest

import hirundo

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


def sensor(*words, **options):
    return subprocess.run([hirundo.program("hirundo-sensor"), *words], text=True, capture_output=True,
                          check=False, timeout=60, **options)


@pytest.fixture(name="conf")
def fixture_conf(tmp_path):
    """Writes a configuration with these replacements and returns its path; its key file exists."""
    def write(**values):
        lines = {"key": f"{tmp_path}/sensor.key", "endpoint": "tcp://127.0.0.1:4455", "server_key": KEY,
                 "spool": f"{tmp_path}/spool.db", "extra": "", **values}
        path = tmp_path / "sensor.conf"
        path.write_text("[sensor]\nkey = {key}\n[collector]\nendpoint = {endpoint}\nserver_key = {server_key}\n"
                        "[spool]\npath = {spool}\n{extra}\n".format(**lines))
        return str(path)
    assert sensor("keygen", "--out", str(tmp_path / "sensor.key")).returncode == 0
    return write


def one_line(done, *words):
    """Exit status 1, nothing but one line on standard error, with these words in it."""
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("words", [
    [], ["nonsense"], ["run"], ["replay"], ["replay", "-c", "x"], ["status"], ["check"], ["keygen"],
    ["replay", "--timeout", "0", "-c", "x", "y"], ["replay", "--nonsense"], ["status", "-c", "x", "y"],
    ["keygen", "-c", "x", "y"]])
def test_usage_is_2(words):
    done = sensor(*words)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr != ""


@pytest.mark.parametrize("command", ["run", "replay", "flows", "keygen", "status", "check"])
def test_help(command):
    done = sensor(command, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: hirundo-sensor {command}")
    assert done.stderr == ""


def test_links_libsodium_and_nothing_brings_libcrypto():
    """libcrypto alone costs a sensor 3.3 MiB. What it names itself, and all that this loads."""
    program = hirundo.program("hirundo-sensor")
    named = re.findall(r"\(NEEDED\).*\[(lib[^\]]+)\.so", subprocess.run(
        ["readelf", "-Wd", program], text=True, capture_output=True, check=True).stdout)
    loaded = re.findall(r"^\s*(\S+)\.so", subprocess.run(
        ["ldd", program], text=True, capture_output=True, check=True).stdout, re.MULTILINE)
    assert "libsodium" in named and "libsodium" in loaded
    assert not {"libcrypto", "libssl", "libpq"} & {*named, *loaded}, loaded


def test_help_and_version():
    assert "replay" in sensor("--help").stdout
    assert re.fullmatch(r"hirundo-sensor \d+\.\d+\.\d+\n", sensor("--version").stdout)


def test_keygen(tmp_path):
    path = tmp_path / "a.key"
    done = sensor("keygen", "--out", str(path))
    assert re.fullmatch(r"\S{40}\n", done.stdout)
    assert f"sensor add NAME --country CC --key '{done.stdout.strip()}'" in done.stderr
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    before = path.read_bytes()
    again = sensor("keygen", "--out", str(path))
    one_line(again, str(path))
    assert path.read_bytes() == before and again.stdout == ""


def test_check_is_content(conf, tmp_path):
    done = sensor("check", "-c", conf())
    assert done.returncode == 0, done.stdout
    assert "ok" in done.stdout and "problem" not in done.stdout
    assert not (tmp_path / "spool.db").exists()  # it looks and changes nothing


def test_check_minimal_configuration(tmp_path):
    path = tmp_path / "minimal.conf"
    path.write_text(f"[collector]\nendpoint = tcp://192.0.2.1:4455\nserver_key = {KEY}\n"
                    "[capture]\ninterface = lo\n")
    done = sensor("check", "-c", str(path), "--dump")
    assert done.returncode == 0, done.stderr


def test_dump_reads_back(conf, tmp_path):
    done = sensor("check", "-c", conf(extra="[capture]\nexclude = 192.0.2.0/24:tcp/22, 2001:db8::/32"), "--dump")
    assert done.returncode == 0
    assert "192.0.2.0/24:tcp/22" in done.stdout and "snaplen" in done.stdout
    again = tmp_path / "dumped.conf"
    again.write_text(done.stdout)
    assert sensor("check", "-c", str(again), "--dump").stdout == done.stdout


@pytest.mark.parametrize("values,words", [
    ({"endpoint": "tcp://collector.example:4455"}, ["endpoint", "numeric address", "DNS"]),
    ({"endpoint": "tcp://192.0.2.1"}, ["endpoint", "tcp://ADDRESS:PORT"]),
    ({"endpoint": "tcp://192.0.2.1:0"}, ["endpoint"]),
    ({"endpoint": "tcp://2001:db8::1:4455"}, ["endpoint", "brackets"]),
    ({"endpoint": "udp://192.0.2.1:4455"}, ["endpoint"]),
    ({"server_key": "short"}, ["server_key"]),
    ({"extra": "[flow]\nwindow = 7s"}, ["window", "15 minutes"]),
    ({"extra": "[flow]\nwindow = 7x"}, ["line 9", "window"]),
    ({"extra": "[spool]\ncap = 1K"}, ["line 9", "cap"]),
    ({"extra": "[log]\nlevel = loud"}, ["level", "notice"]),
    ({"extra": "[capture]\nexclude = 192.0.2.0/40"}, ["exclude"]),
    ({"extra": "[nonsense]\na = b"}, ["line 9", "nonsense"]),
    ({"extra": "what is this"}, ["line 8"]),
])
@pytest.mark.parametrize("command", ["check", "run", "status"])
def test_configuration_mistakes(conf, command, values, words):
    one_line(sensor(command, "-c", conf(**values)), "sensor.conf", *words)


def test_ipv6_endpoint(conf):
    assert sensor("check", "-c", conf(endpoint="tcp://[2001:db8::1]:4455")).returncode == 0


def test_a_directory_is_no_capture(conf, tmp_path):
    assert sensor("keygen", str(tmp_path / "directory.key")).returncode == 0
    path = conf(key=str(tmp_path / "directory.key"))
    one_line(sensor("replay", "-c", path, "--timeout", "5", str(tmp_path)), "a directory", "nothing was sent")
    one_line(sensor("flows", str(tmp_path)), "a directory")


def test_wrong_values_are_named():
    for words in (["flows", "--format", "xml", "x"], ["replay", "--timeout", "soon", "-c", "x", "y"]):
        done = sensor(*words)
        assert done.returncode == 2 and words[2] in done.stderr and "must be" in done.stderr


def test_missing_configuration():
    one_line(sensor("check", "-c", "/nonexistent/sensor.conf"), "/nonexistent/sensor.conf", "No such file")


def test_missing_key_file(conf, tmp_path):
    path = conf(key=f"{tmp_path}/other.key")
    one_line(sensor("replay", "-c", path, "/dev/null"), "other.key", f"keygen -c {path}")
    done = sensor("check", "-c", path)
    assert done.returncode == 1 and "keygen" in done.stdout


def test_readable_key_file_is_refused(conf, tmp_path):
    path = conf()
    os.chmod(tmp_path / "sensor.key", 0o644)
    one_line(sensor("replay", "-c", path, "/dev/null"), "sensor.key", "600")
    assert sensor("check", "-c", path).returncode == 1


def test_own_key_as_server_key(conf, tmp_path):
    own = sensor("keygen", "--out", str(tmp_path / "own.key")).stdout.strip()
    done = sensor("check", "-c", conf(key=f"{tmp_path}/own.key", server_key=own))
    assert done.returncode == 1 and "own key" in done.stdout


def test_run_needs_an_interface(conf):
    one_line(sensor("run", "-c", conf()), "interface")


def test_run_names_a_missing_interface(conf):
    path = conf(extra="[capture]\ninterface = nonesuch0")
    one_line(sensor("run", "-c", path), "nonesuch0")
    done = sensor("check", "-c", path)
    assert done.returncode == 1 and "nonesuch0" in done.stdout


def test_status_without_a_spool(conf):
    one_line(sensor("status", "-c", conf()), "spool.db", "does not exist yet")


def test_replay_unreadable_files(conf, tmp_path):
    one_line(sensor("replay", "-c", conf(), str(tmp_path / "none.pcap")), "none.pcap", "No such file")
    assert not (tmp_path / "spool.db").exists()


def test_replay_of_no_capture(conf, tmp_path):
    text = tmp_path / "text.pcap"
    text.write_text("this is no capture file, it is a sentence")
    one_line(sensor("replay", "-c", conf(), str(text)), "text.pcap")


def test_spool_directory_missing(conf, tmp_path):
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    one_line(sensor("replay", "-c", conf(spool=f"{tmp_path}/a/b/spool.db"), str(empty)), "a/b/spool.db")
