"""module_map.py FILE...: has each of these files of common, sensor and collector a module in docs/architecture.md, and each module there a file?"""
import fnmatch
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
TEXT = (TOP / "docs/architecture.md").read_text()


def modules(part):
    """Names and patterns of the first column of this part's table."""
    table = TEXT.split(f"\n### {part}/\n")[1].split("\n##")[0]
    return {name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def covers(module, name):
    if module.endswith("/"):
        return name.startswith(module)
    return fnmatch.fnmatch(name, module) or fnmatch.fnmatch(re.sub(r"\.[ch]$", "", name), module)


def main(given):
    wrong = []
    for part in ("common", "sensor", "collector"):
        left = modules(part)
        for file in (file for file in given if file.startswith(f"{part}/") and not file.endswith("/meson.build")):
            found = {module for module in modules(part) if covers(module, file.split("/", 1)[1])}
            left -= found
            if not found:
                wrong.append(f"{file} is in no module of docs/architecture.md")
        wrong += [f"docs/architecture.md: {part}/ has no {module}" for module in sorted(left)]
    print("\n".join(wrong) or "every file is in a module")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1:]))
