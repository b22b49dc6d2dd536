"""The examples in deploy/conf are what the programs accept."""
import subprocess

import hirundo

EXAMPLES = hirundo.TOP / "deploy" / "conf"
KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # the example of ZeroMQ's RFC 32


def run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_sensor(tmp_path):
    text = (EXAMPLES / "sensor.conf").read_text()
    before, _, after = text.partition("server_key = (")
    conf = tmp_path / "sensor.conf"
    conf.write_text(f"{before}server_key = {KEY}\n{after.partition(chr(10))[2]}")
    done = run(hirundo.program("hirundo-sensor"), "check", "-c", conf, "--dump")
    assert done.returncode == 0, done.stderr
    assert KEY in done.stdout and "interface = eth0" in done.stdout


def test_sensor_says_which_line_is_still_to_be_filled_in():
    done = run(hirundo.program("hirundo-sensor"), "check", "-c", EXAMPLES / "sensor.conf", "--dump")
    assert done.returncode == 1 and "server_key" in done.stderr


def test_collector():
    """Read to the end: what is missing is the database."""
    done = run(hirundo.program("hirundo-collector"), "status", "-c", EXAMPLES / "collector.conf")
    assert done.returncode == 1 and "database" in done.stderr, done.stderr
    assert "collector.conf" not in done.stderr
