#!/usr/bin/python3
"""The study of surges (docs/methods/surge.md) on three networks: most surges are found, with at most one false alarm a month.

`./tests/run study-surge` has a hundred. Prints TAP.
"""
import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'study'))
import common  # noqa: E402
import surge_study  # noqa: E402


def main():
    study = surge_study.run(common.connect(), 'held_out', range(1, 4))
    surges = study.scores['surges', surge_study.DEFAULT]
    plain = study.scores['sigma on packets', 3]
    results = [
        (f'found {100 * surges.share:.0f}% of {sum(surges.planted.values())} surges', surges.share >= 0.5),
        (f'{surges.false_a_month:.2f} false alarms a month', surges.false_a_month <= 1),
        (f'three sigma on packets has {plain.false_a_month:.0f}', plain.false_a_month > 10),
        (f'hirundo.surges is surge_days with what scope_items confirms {study.unlike}', not study.unlike),
        ('surges everywhere are called global', study.verdicts['global', 'global'] > 5 * study.verdicts['global', 'local']),
    ]
    for number, (what, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {what}")
    print(f'1..{len(results)}')
    return 0 if all(good for _, good in results) else 1


if __name__ == '__main__':
    raise SystemExit(main())
