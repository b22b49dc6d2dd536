"""measure_traffic.py SECONDS PACKETS_A_DAY...: what a live sensor's own traffic is, beside what it captures.

A sensor with its configuration as it comes (windows of a minute) on one end of a veth pair, a collector on the other; packets of random
sources come in at each rate for so long. Prints a line of Markdown each: bytes both ways on the wire between sensor and collector, headers
included, the probes left out; what the sensor and the collector used of a core. Needs root, like the tests of live capture.
"""
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(here.parents[1] / "integration"), str(here.parents[1] / "lib")]

import hirundo  # noqa: E402
from test_live import Inside, Live, Veth, frame, setns_by_ctypes  # noqa: E402

MONTH_S = 30.4 * 86400


def bytes_of(veth):
    """Received and sent by the sensor's interface."""
    folder = "/sys/class/net/probe/statistics"
    done = subprocess.run(veth.inside("cat", f"{folder}/rx_bytes", f"{folder}/tx_bytes"), capture_output=True, text=True, check=True)
    return [int(part) for part in done.stdout.split()]


def measure(veth, collector, seconds, a_day):
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as directory:
        live = Live(veth, collector, directory, f"traffic-{a_day}")
        live.conf.write_text(re.sub(r"\[flow\]\nwindow = 1s\n\[batch\]\nmax_delay = 1s\n", "", live.conf.read_text()))
        live.start().wait_connected()
        time.sleep(5)  # the handshake is not of every month
        before, used, begun, sent, probes = bytes_of(veth), (live.server.cpu_s(), collector.cpu_s()), time.monotonic(), 0, 0
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * a_day / 86400) - sent
            frames = [frame(rng.randrange(60000), rng.randrange(1, 10000)) for _ in range(due)]
            if frames:
                veth.send_frames(frames)
            sent, probes = sent + due, probes + sum(map(len, frames))
            time.sleep(0.5)
        passed = time.monotonic() - begun
        after = bytes_of(veth)
        cores = [(now - then) / passed for now, then in zip((live.server.cpu_s(), collector.cpu_s()), used)]
        live.server.stop()
    down, up = after[0] - before[0] - probes, after[1] - before[1]
    print(f"| {a_day} | {sent} in {passed:.0f} s | {up * 86400 / passed / 1e6:.2f} MB up, {down * 86400 / passed / 1e6:.2f} MB down a day | "
          f"{up * MONTH_S / passed / 1e6:.0f} + {down * MONTH_S / passed / 1e6:.0f} MB a month | {100 * cores[0]:.3f}% / {100 * cores[1]:.3f}% |", flush=True)


def main():
    seconds = float(sys.argv[1])
    if not hasattr(os, "setns"):
        setns_by_ctypes()
    print("| packets a day | sent | of a day | of a month | CPU, of a core: sensor / collector |\n|---|---|---|---|---|", flush=True)
    with hirundo.Postgres() as postgres:
        postgres.migrate()
        for rate in sys.argv[2:]:
            with Veth() as veth:
                veth.addresses()
                with Inside(postgres, veth, far=True) as collector:
                    measure(veth, collector, seconds, int(rate))


main()
