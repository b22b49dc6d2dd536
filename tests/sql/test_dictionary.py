#!/usr/bin/python3
"""Whether docs/dictionary.md is what the COMMENTs say: TAP."""
import difflib
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests' / 'lib'))
import dictionary  # noqa: E402


def main():
    want = dictionary.dictionary()
    got = (TOP / 'docs' / 'dictionary.md').read_text(encoding='utf-8')
    print('1..1')
    print(f"{'ok' if got == want else 'not ok'} 1 - docs/dictionary.md is current: tests/lib/dictionary.py > docs/dictionary.md")
    for line in [] if got == want else list(difflib.unified_diff(got.splitlines(), want.splitlines(), lineterm='', n=0))[:20]:
        print(f'# {line}')
    return got != want


if __name__ == '__main__':
    raise SystemExit(main())
