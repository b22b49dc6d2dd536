"""shape.py BUILD: how long files and functions are, what is mutable at file scope, how much of all is tests.

Lengths are ctags' (from a function's first line to its last), variables are what the compiler put into .data and .bss of the objects in
BUILD, static ones inside functions among them. Prints a table in Markdown, and the longest functions; exit 1 where a main or
a variable breaks the rules below.
"""
import json
import pathlib
import statistics
import subprocess
import sys

PARTS = ("common", "sensor", "collector")
MAIN_MAX = 60  # lines
MUTABLE = {"log.c.o: current_level", "sensor.c.o: stop_flag"}  # the log's level, a signal's flag
TESTS = (".c", ".h", ".py", ".sh", ".sql", ".psql")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def lines_of(path):
    return len(pathlib.Path(path).read_text(errors="replace").splitlines())


def files(*globs):
    return [name for name in output("git", "ls-files", "--", *globs).splitlines() if pathlib.Path(name).is_file()]


def functions(sources):
    """(lines, name, file) of each function."""
    tags = output("ctags", "--languages=C", "--kinds-C=f", "--fields=+ne", "--output-format=json", "-f", "-", *sources)
    for tag in map(json.loads, tags.splitlines()):
        yield tag["end"] - tag["line"] + 1, tag["name"], tag["path"]


def variables(build, part):
    """Names of what can change, with the object they are in."""
    for path in sorted(pathlib.Path(build, part).rglob("*.c.o")):
        for line in output("nm", "-f", "sysv", str(path)).splitlines():
            fields = [field.strip() for field in line.split("|")]
            if len(fields) == 7 and fields[3] == "OBJECT" and fields[6] in (".data", ".bss"):
                yield f"{path.name}: {fields[0]}"


def median_and_p90(values):
    values = sorted(values)
    return f"{statistics.median(values):.0f} / {values[int(len(values) * 0.9)]}"


def main():
    build = sys.argv[1]
    sources = {part: files(f"{part}/*.c") for part in PARTS}
    every = [name for part in PARTS for name in sources[part]]
    tests = sum(lines_of(name) for name in files("tests/*") if name.endswith(TESTS))
    shipped = sum(lines_of(name) for part in PARTS for name in files(f"{part}/*") if name.endswith((".c", ".h", ".sql", ".js")))
    mutable, longest, longest_main = [], [], 0
    print("| part | files | lines | file median / p90 lines | function median / p90 | functions > 100 lines | longest `main` | file-scope mutable variables per 1,000 lines |")
    print("|---|---|---|---|---|---|---|---|")
    for name, part in [*sources.items(), ("all", every)]:
        lengths = [lines_of(file) for file in part]
        found = sorted(functions(part), reverse=True)
        longest = found
        changing = [v for p in (PARTS if name == "all" else (name,)) for v in variables(build, p)]
        mutable = changing
        mains = [n for n, function, _ in found if function == "main"]
        longest_main = max([longest_main, *mains])
        print(f"| {name} | {len(part)} | {sum(lengths)} | {median_and_p90(lengths)} | {median_and_p90([n for n, *_ in found])} | "
              f"{sum(n > 100 for n, *_ in found)} of {len(found)} | {max(mains, default='-')} | {len(changing) * 1000 / sum(lengths):.2f} |")
    print(f"\nTests : source = {tests} : {shipped} = {tests / shipped:.2f} (lines; tests: C, Python, shell, SQL under tests/; source: C, SQL, JavaScript)")
    print("Mutable: " + ", ".join(mutable))
    print("Longest functions: " + ", ".join(f"{name} {n} ({file})" for n, name, file in longest[:12]))
    return 1 if set(mutable) - MUTABLE or longest_main > MAIN_MAX else 0


sys.exit(main())
