#!/usr/bin/env python3
"""Writes the report's page as a C file: template and style of report/, and the script that report/build bundled, if it did.

usage: embed_report.py REPORT_DIRECTORY OUTPUT.c [BUNDLE]

The output is written only when it changes.
"""
import base64
import hashlib
import pathlib
import re
import sys


def c_string(text):
    """A C string literal in pieces of a line."""
    pieces = [text[i:i + 2000] for i in range(0, len(text), 2000)] or [""]
    return "\n    ".join('"' + "".join(
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in piece.encode()) + '"'
        for piece in pieces)


def digest(text):
    """As Content-Security-Policy names a script or a style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page(root, bundle):
    """The three parts, or None without a bundle."""
    if not bundle.exists():
        return None
    script, style = bundle.read_text(encoding="utf-8").rstrip("\n"), (root / "style.css").read_text(encoding="utf-8")
    if re.search(r"</script|<!--", script, re.I) or re.search(r"</style", style, re.I):
        sys.exit(f"{bundle}: would end the element that holds it")
    text = (root / "template.html").read_text(encoding="utf-8")
    for mark, value in (("@SCRIPT_HASH@", digest(script)), ("@STYLE_HASH@", digest(style)), ("@STYLE@", style)):
        text = text.replace(mark, value)
    head, rest = text.split("@LANG@")
    middle, tail = rest.split("@DATA@")
    return head, middle, tail.replace("@SCRIPT@", script)


def main():
    root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    given = sys.argv[3] if len(sys.argv) > 3 else ""
    parts = page(root, pathlib.Path(given) if given else root / "out" / "report.js")
    text = ('#include "collector/report_page.h"\n\nconst char *const report_page[3] = {\n    '
            + (",\n    ".join(map(c_string, parts)) if parts else "NULL, NULL, NULL") + "};\n")
    if not output.exists() or output.read_text(encoding="utf-8") != text:
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
