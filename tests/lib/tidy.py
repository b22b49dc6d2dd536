"""tidy.py BUILD FILE...: clang-tidy over C files, as many at a time as there are cores.

What was clean and is the same since (after preprocessing, comments included, with the same rules) is not looked at
again. Prints each finding once; exit 1 if there is one.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

TIDY = ["clang-tidy-14", "--quiet", "--extra-arg=-Wno-unknown-warning-option"]


def output(command, directory=None):
    return subprocess.run(command, cwd=directory, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, errors="replace")


def preprocess(entry):
    words = shlex.split(entry["command"])
    for option in ("-o", "-MQ", "-MF"):
        while option in words:
            at = words.index(option)
            del words[at:at + 2]
    return [word for word in words if word not in ("-c", "-MD")] + ["-E", "-C"]


class Tidy:
    def __init__(self, build):
        self.build = build
        self.cache = build / "tidy"
        self.cache.mkdir(exist_ok=True)
        entries = json.loads((build / "compile_commands.json").read_text())
        self.entries = {os.path.realpath(os.path.join(e["directory"], e["file"])): e for e in entries}
        self.rules = pathlib.Path(".clang-tidy").read_text() + output([TIDY[0], "--version"]).stdout

    def stamp(self, file):
        entry = self.entries.get(os.path.realpath(file))
        if not entry:
            return None
        source = output(preprocess(entry), entry["directory"]).stdout
        return self.cache / hashlib.sha256((self.rules + source).encode()).hexdigest()

    def check(self, file):
        stamp = self.stamp(file)
        if stamp and stamp.exists():
            return ""
        done = output([*TIDY, "-p", self.build, file])
        if done.returncode == 0 and stamp:
            stamp.touch()
        return done.stdout if done.returncode else ""


def main():
    tidy = Tidy(pathlib.Path(sys.argv[1]))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(filter(None, pool.map(tidy.check, sys.argv[2:])))
    # A finding in a header comes once for each file that includes it.
    lines = {re.sub(r"^(\.\./)+", "", line.replace(f"{tidy.build}/", ""))
             for text in found for line in text.splitlines() if "error:" in line}
    print("\n".join(sorted(lines) or found))
    return 1 if found else 0


sys.exit(main())
