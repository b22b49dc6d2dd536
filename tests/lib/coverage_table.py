"""coverage_table.py SUMMARY: lines and branches that gcovr's JSON summary says were run, for the files that
must be whole. The table goes to standard error, a TAP result for each file to standard output.

What may be missing is named in docs/testing.md.
"""
import json
import sys

FILES = {  # file: lines and branches that may be missing
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
    "sensor/window.c": (0, 0),
}


def missing(entry, what):
    return entry[f"{what}_total"] - entry[f"{what}_covered"]


def cell(entry, what):
    total, covered = entry[f"{what}_total"], entry[f"{what}_covered"]
    return f"{covered}/{total} {100 * covered / total if total else 100:5.1f}%"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = {entry["filename"]: entry for entry in json.load(file)["files"]}
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


main()
