"""Roots of Debian releases, made by debootstrap from the mirror that this machine's apt uses."""
import os
import re
import shutil
import subprocess

import pytest


def run(words, timeout=300):
    return subprocess.run([*map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          timeout=timeout)


def mirror():
    found = re.search(r"^'(.*/debian)/dists/", run(["apt-get", "--print-uris", "update"]).stdout, re.MULTILINE)
    return found and found[1]


def why_not():
    """Why there can be none here; None where there can."""
    if os.geteuid() != 0:
        return "debootstrap needs root rights"
    if not shutil.which("debootstrap"):
        return "debootstrap is not here"
    return None if mirror() else "apt knows no Debian mirror here"


def make(directory, release, packages=()):
    """The base system and these packages; skips the test where that is impossible."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    include = [f"--include={','.join(packages)}"] if packages else []
    done = run(["debootstrap", "--variant=minbase", *include, release, directory, mirror()], timeout=1200)
    if done.returncode != 0:
        last = (done.stderr + done.stdout).strip().splitlines()[-1:]
        pytest.skip(f"debootstrap cannot make a root of {release} from this machine's mirror: {last}")
