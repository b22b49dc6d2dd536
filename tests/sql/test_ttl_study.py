#!/usr/bin/python3
"""ttl_origin on networks of the study (tests/study, docs/methods/ttl.md): the verdict that its definition gives.

A short part of `tests/run study-ttl`. Prints TAP. The seed is fixed; SEED=n tries other networks, ROUNDS=n sets how many.
"""
import os
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'study'))
import common
import ttl_study


def main():
    rng = random.Random(int(os.environ.get('SEED', '1')))
    # one of each truth at least; the largest take longest
    keys = [k for k in ttl_study.cases(3) if k[2] < 310]
    rounds = int(os.environ.get('ROUNDS', str(2 * len(ttl_study.TRUTHS))))
    conn = common.connect()
    failed = 0
    for i in range(rounds):
        key = rng.choice([k for k in keys if k[1] == list(ttl_study.TRUTHS)[i % len(ttl_study.TRUTHS)]])
        case = ttl_study.Case(ttl_study.seed_of(key), *key[:4])
        problem = ttl_study.check_sql(conn.cursor(), case)
        conn.rollback()
        failed += bool(problem)
        print(f"{'not ok' if problem else 'ok'} {i + 1} - {', '.join(map(str, key))}: {', '.join(case.judge())}")
        if problem:
            print('#', problem)
    print(f'1..{rounds}')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
