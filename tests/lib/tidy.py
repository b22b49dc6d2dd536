"""tidy.py [--deep] BUILD FILE...: clang-tidy over C files, as many at a time as there are cores.

Its static analyzer, which takes nearly all of the time, looks into each function for itself; with --deep into what
functions call, too. What was clean and is the same since (after preprocessing, comments included, with the same rules) is
not looked at again. Prints each finding once; exit 1 if there is one.
"""
import concurrent.futures
import os
import pathlib
import re
import sys

from compiled import Compiled, output

TIDY = ["clang-tidy-14", "--quiet", "--extra-arg=-Wno-unknown-warning-option"]
SHALLOW = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "mode=shallow")]


def check(compiled, build, file, deep):
    stamp = compiled.stamp(file)
    if stamp and stamp.exists():
        return ""
    if stamp and not deep:
        stamp = stamp.with_suffix(".shallow")
        if stamp.exists():
            return ""
    done = output([*TIDY, *([] if deep else SHALLOW), "-p", build, file])
    if done.returncode == 0 and stamp:
        stamp.touch()
    return done.stdout if done.returncode else ""


def main():
    deep = sys.argv[1] == "--deep"
    build, *files = sys.argv[1 + deep:]
    build = pathlib.Path(build)
    rules = pathlib.Path(".clang-tidy").read_text() + output([TIDY[0], "--version"]).stdout
    compiled = Compiled(build, "tidy", rules)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(filter(None, pool.map(lambda file: check(compiled, build, file, deep), files)))
    # A finding in a header comes once for each file that includes it.
    lines = {re.sub(r"^(\.\./)+", "", line.replace(f"{build}/", ""))
             for text in found for line in text.splitlines() if "error:" in line}
    print("\n".join(sorted(lines) or found))
    return 1 if found else 0


sys.exit(main())
