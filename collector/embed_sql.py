#!/usr/bin/env python3
"""Writes the SQL files of schema/ and analysis/, and those beside them, as one C file, so that the program carries them.

usage: embed_sql.py SQL_DIRECTORY OUTPUT.c

Statements are separated by lines of exactly four dashes. The output is written only when it changes.
"""
import hashlib
import json
import pathlib
import sys


def c_string(text):
    """A C string literal, one line of source per line of text."""
    lines = text.split("\n")
    parts = [line + "\n" for line in lines[:-1]] + [lines[-1]]
    quoted = []
    for part in parts:
        out = "".join(
            chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}"
            for b in part.encode())
        quoted.append(f'"{out}"')
    return "\n     ".join(quoted)


def statements(text):
    """(line of the first line, statement) for each; parts of comments and blanks alone are left out."""
    result, part, start = [], [], 1
    for number, line in enumerate(text.split("\n") + ["----"], 1):
        if line != "----":
            part.append(line)
            continue
        code = [i for i, s in enumerate(part) if s.strip() and not s.strip().startswith("--")]
        if code:
            result.append((start + code[0], "\n".join(part[code[0]:]).strip()))
        part, start = [], number + 1
    return result


def main():
    root, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out = ['#include "collector/sql_files.h"\n']
    table, aside = [], []
    for folder in ("schema", "analysis", "."):
        for path in sorted((root / folder).glob("*.sql")):
            name = str(path.relative_to(root))
            raw = path.read_bytes()
            found = statements(raw.decode())
            ident = f"file_{len(table)}"
            out.append(f"static const struct sql_statement {ident}[] = {{")
            for line, text in found:
                out.append(f"    {{{line},\n     {c_string(text)}}},")
            out.append("};\n")
            if folder == ".":
                aside.append((path.stem, len(table)))
            table.append(f"    {{{json.dumps(name)}, \"{hashlib.sha256(raw).hexdigest()}\", "
                         f"{len(found)}, {ident}}},")
    out.append("const struct sql_file sql_files[] = {")
    out.extend(table)
    out.append("};")
    out.append(f"const size_t sql_files_n = {len(table) - len(aside)};")
    out.extend(f"const struct sql_file *const sql_{stem} = &sql_files[{i}];" for stem, i in aside)
    out.append("")
    text = "\n".join(out)
    if not output.exists() or output.read_text() != text:
        output.write_text(text)


if __name__ == "__main__":
    main()
