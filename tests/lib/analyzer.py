"""analyzer.py BUILD KNOWN FILE...: gcc -fanalyzer over C files, as many at a time as there are cores.

KNOWN lists what was looked at and is no fault, a line each: FILE FUNCTION KIND: WHY. Prints every finding that is not
there, and every line there that nothing needs any more; exit 1 if there is one of either.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

from compiled import Compiled, output, words_of

OPTIONS = ["-fanalyzer", "-fdiagnostics-format=json", "-Wno-error", "-c", "-o", "/dev/null"]


def read_known(path):
    found = set()
    for line in pathlib.Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            key = re.fullmatch(r"(\S+) (\S+) (-Wanalyzer-[a-z-]+): \S.*", line)
            if not key:
                sys.exit(f"{path}: not FILE FUNCTION KIND: WHY: {line}")
            found.add(key.groups())
    return found


def findings(text, directory):
    """(file, function, kind), line and message of each."""
    for diagnostic in json.loads(text):
        if diagnostic["kind"] not in ("warning", "error") or not diagnostic.get("option", "").startswith("-Wanalyzer-"):
            raise ValueError(diagnostic["message"])
        at = diagnostic["locations"][0]["caret"]
        file = os.path.relpath(os.path.join(directory, at["file"]))
        yield (file, diagnostic["path"][-1]["function"], diagnostic["option"]), at["line"], diagnostic["message"]


def check(compiled, file):
    """What is found in one file, or what went wrong, as text."""
    stamp, entry = compiled.stamp(file), compiled.entry(file)
    if not entry:
        return f"{file}: the build does not know it"
    if stamp.exists():
        return []
    command = [word for word in words_of(entry) if word not in ("ccache", "-Werror")]
    done = subprocess.run([*command, *OPTIONS], cwd=entry["directory"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    try:
        found = list(findings(done.stderr, entry["directory"]))
    except ValueError as error:
        return f"{file}: {error}: {done.stderr[:1000]}"
    if not found:
        stamp.touch()
    return found


def main():
    build, files = pathlib.Path(sys.argv[1]), sys.argv[3:]
    known = read_known(sys.argv[2])
    compiled = Compiled(build, "analyzer", " ".join(OPTIONS) + output(["gcc", "--version"]).stdout)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda file: check(compiled, file), files))
    wrong = [result for result in results if isinstance(result, str)]
    found = [finding for result in results if not isinstance(result, str) for finding in result]
    wrong += [f"{key[0]}:{line}: {key[1]}: {message} [{key[2]}]" for key, line, message in found if key not in known]
    seen = {key for key, _, _ in found}
    wrong += [f"{sys.argv[2]}: nothing needs {' '.join(key)}" for key in sorted(known - seen) if key[0] in files]
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
