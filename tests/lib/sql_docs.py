"""The queries of docs/sql.md and docs/cookbook.md, and whether their outputs are what the quickstart's database answers.

    . var/quickstart/env; python3 tests/lib/sql_docs.py [--update] [FILE...]

A query is an indented block that begins with select or with; an indented block that begins with | after it is its output; lines
`\\set name value` before are psql's. What stands after <!-- not compared --> is run but not compared, after <!-- not run -->
neither (a partner's, say). --update writes what the
database answers into the files.
"""
import os
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs'
FILES = [DOCS / 'sql.md', DOCS / 'cookbook.md']
INDENT = '    '


def blocks(text):
    """[(first line, past line, lines without indent)] of indented blocks, outside of lists."""
    lines = text.split('\n')
    out, at = [], 0
    while at < len(lines):
        if lines[at].startswith(INDENT) and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and lines[end].startswith(INDENT):
                end += 1
            out.append((at, end, [line[len(INDENT):] for line in lines[at:end]]))
            at = end
        else:
            at += 1
    return out


def queries(text):
    """[(query, output, first line and past line of the output or None, compared)] in order; sets are put before."""
    found, sets, lines = [], [], text.split('\n')
    listed = blocks(text)
    for i, (first, past, block) in enumerate(listed):
        sets += [line for line in block if line.startswith('\\set')]
        if not re.match(r'(select|with)\b', block[0]):
            continue
        answer = listed[i + 1] if i + 1 < len(listed) else None
        if answer and (not answer[2][0].startswith('|') or any(line.strip() for line in lines[past:answer[0]])):
            answer = None
        before = next((line for line in reversed(lines[:first]) if line.strip()), '')
        if before == '<!-- not run -->':
            continue
        found.append(('\n'.join(sets + block), answer[2] if answer else None, answer[:2] if answer else None,
                      before != '<!-- not compared -->'))
    return found


def ask(query):
    """The lines of the answer as the documentation shows them."""
    done = subprocess.run(['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-P', 'format=aligned', '-P', 'border=2', '-P', 'footer=off',
                           '-P', 'tuples_only=off'], input=query, text=True, capture_output=True, check=False,
                          env={**os.environ, 'PGTZ': 'Asia/Tokyo', 'PGOPTIONS': '-c client_min_messages=warning'})
    if done.returncode != 0:
        return [f'error: {done.stderr.strip()}']
    rows = done.stdout.rstrip('\n').split('\n')
    return [rows[1], rows[2].replace('+', '|'), *rows[3:-1]]


def differences(path):
    """[(query, documented, answered)] of what is not the same; a failing query always is."""
    out = []
    for query, output, _, compared in queries(path.read_text(encoding='utf-8')):
        answer = ask(query)
        if answer[0].startswith('error') or (output and compared and answer != output):
            out.append((query, output, answer))
    return out


def update(path):
    text = path.read_text(encoding='utf-8')
    lines = text.split('\n')
    for query, output, place, compared in reversed(queries(text)):
        if output and compared:
            lines[place[0]:place[1]] = [INDENT + line for line in ask(query)]
    path.write_text('\n'.join(lines), encoding='utf-8')


def main(arguments):
    files = [pathlib.Path(a) for a in arguments if a != '--update'] or FILES
    status = 0
    for path in files:
        if '--update' in arguments:
            update(path)
            continue
        for query, output, answer in differences(path):
            status = 1
            print(f'{path.name}: {query}\n  documented:\n    ' + '\n    '.join(output or []) + '\n  answered:\n    ' + '\n    '.join(answer))
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
