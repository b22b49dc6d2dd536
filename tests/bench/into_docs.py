#!/usr/bin/python3
"""Puts a bench's table into a page: into_docs.py PAGE NAME TABLE replaces what is between <!-- NAME --> and <!-- /NAME -->."""
import pathlib
import re
import sys

page, name, table = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]).read_text(encoding="utf-8").strip()
text, n = re.subn(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{table}\n{m[2]}",
                  page.read_text(encoding="utf-8"), flags=re.S)
if n != 1:
    sys.exit(f"{page}: there is no <!-- {name} --> ... <!-- /{name} -->")
page.write_text(text, encoding="utf-8")
