"""tidy.py [--no-analyzer] BUILD FILE...: clang-tidy over C files, as many at a time as there are cores.

--no-analyzer leaves out clang's static analyzer, which takes nearly all of the time. What was clean and is the same since
(after preprocessing, comments included, with the same rules) is not looked at again. Prints each finding once; exit 1 if
there is one.
"""
import concurrent.futures
import os
import pathlib
import re
import sys

from compiled import Compiled, output

TIDY = ["clang-tidy-14", "--quiet", "--extra-arg=-Wno-unknown-warning-option"]


def check(compiled, build, file, analyzer):
    stamp = compiled.stamp(file)
    if stamp and stamp.exists():
        return ""
    if stamp and not analyzer:
        stamp = stamp.with_suffix(".plain")
        if stamp.exists():
            return ""
    done = output([*TIDY, *([] if analyzer else ["--checks=-clang-analyzer-*"]), "-p", build, file])
    if done.returncode == 0 and stamp:
        stamp.touch()
    return done.stdout if done.returncode else ""


def main():
    plain = sys.argv[1] == "--no-analyzer"
    build, *files = sys.argv[1 + plain:]
    build = pathlib.Path(build)
    rules = pathlib.Path(".clang-tidy").read_text() + output([TIDY[0], "--version"]).stdout
    compiled = Compiled(build, "tidy", rules)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(filter(None, pool.map(lambda file: check(compiled, build, file, not plain), files)))
    # A finding in a header comes once for each file that includes it.
    lines = {re.sub(r"^(\.\./)+", "", line.replace(f"{build}/", ""))
             for text in found for line in text.splitlines() if "error:" in line}
    print("\n".join(sorted(lines) or found))
    return 1 if found else 0


sys.exit(main())
