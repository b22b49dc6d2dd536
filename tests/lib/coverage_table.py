"""coverage_table.py core|whole SUMMARY: lines and branches that gcovr's JSON summary says were run: of each file that must
be run as a whole, or of all together. The table goes to standard error, TAP results to standard output.

What may be missing is named in docs/testing.md.
"""
import json
import sys

WHOLE_LINES = 85  # percent
LEAST = 12  # files shown

FILES = {  # file: lines and branches that may be missing
    "collector/receiver.c": (0, 0),
    "collector/validate.c": (0, 0),
    "common/wire_bound.c": (0, 0),
    "common/wire_decode.c": (0, 0),
    "common/wire_encode.c": (0, 1),
    "common/wire_internal.h": (0, 0),
    "common/wire_loss.c": (0, 0),
    "common/wire_message.c": (0, 0),
    "sensor/batch.c": (0, 0),
    "sensor/coverage.c": (0, 0),
    "sensor/decode_ip.c": (0, 0),
    "sensor/decode_link.c": (0, 0),
    "sensor/flood.c": (0, 0),
    "sensor/flow_sort.c": (0, 0),
    "sensor/flow_table.c": (0, 0),
    "sensor/hll.c": (0, 0),
    "sensor/seen.c": (0, 0),
    "sensor/sender.c": (0, 0),
    "sensor/window.c": (0, 0),
}


def missing(entry, what):
    return entry[f"{what}_total"] - entry[f"{what}_covered"]


def cell(entry, what):
    total, covered = entry[f"{what}_total"], entry[f"{what}_covered"]
    return f"{covered}/{total} {100 * covered / total if total else 100:5.1f}%"


def core(entries):
    print(f"{'file':26} {'lines':>15} {'branches':>15}", file=sys.stderr)
    for name, (lines, branches) in FILES.items():
        entry = entries.get(name)
        if not entry or not entry["line_total"]:
            print(f"not ok - {name}: nothing was measured")
            continue
        good = missing(entry, "line") <= lines and missing(entry, "branch") <= branches
        print(f"{name:26} {cell(entry, 'line'):>15} {cell(entry, 'branch'):>15}", file=sys.stderr)
        print(f"{'ok' if good else 'not ok'} - {name}: {missing(entry, 'line')} lines and "
              f"{missing(entry, 'branch')} branches never ran, {lines} and {branches} may")


def added(entries, part):
    keys = ("line_total", "line_covered", "branch_total", "branch_covered")
    return {key: sum(entry[key] for name, entry in entries.items() if name.startswith(part)) for key in keys}


def whole(entries):
    """Of each part and of all; the files with the most lines that never ran."""
    for part in ("common/", "sensor/", "collector/", ""):
        total = added(entries, part)
        print(f"{part or 'all':26} {cell(total, 'line'):>17} {cell(total, 'branch'):>17}", file=sys.stderr)
    print("most lines that never ran:", file=sys.stderr)
    for name, entry in sorted(entries.items(), key=lambda item: -missing(item[1], "line"))[:LEAST]:
        print(f"  {name:24} {cell(entry, 'line'):>17} {cell(entry, 'branch'):>17}", file=sys.stderr)
    good = added(entries, "")["line_covered"] * 100 >= added(entries, "")["line_total"] * WHOLE_LINES > 0
    print(f"{'ok' if good else 'not ok'} - {WHOLE_LINES}% of all lines")


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        entries = {entry["filename"]: entry for entry in json.load(file)["files"]}
    {"core": core, "whole": whole}[sys.argv[1]](entries)


main()
