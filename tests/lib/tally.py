"""tally.py SUITE RESULTS STATUS NAMED LEFT: what a suite passed, failed and skipped.

Reads every result file in the directory RESULTS: *.xml (JUnit, which pytest writes), *.tap and
everything under tap/, *.json (meson's test log, one object a line). Prints failures and reasons for skipping; the last
line is "PASSED FAILED SKIPPED". A suite that ended badly without a failed test, one that ran
nothing and one that left processes behind get a failure of their own.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter


def tail(text, lines=12):
    return "\n".join("    " + line for line in (text or "").strip().splitlines()[-lines:])


def reason_of(skip):
    """pytest's reason; for a module skipped as a whole it stands in the text only."""
    whole = re.search(r"'Skipped: (.*)'\)", skip.text or "")
    return whole.group(1) if whole else skip.get("message") or skip.text or "no reason given"


class Tally:
    def __init__(self):
        self.passed = 0
        self.failures = []  # (name, text)
        self.skips = Counter()  # reason -> how many

    def junit(self, path):
        try:
            root = ET.parse(path).getroot()
        except ET.ParseError as error:
            self.failures.append((path.name, f"unreadable results: {error}"))
            return
        for case in root.iter("testcase"):
            name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
            bad = [c for c in case if c.tag in ("failure", "error")]
            skip = case.find("skipped")
            if bad:
                text = "\n".join(part for b in bad for part in (b.text or b.get("message"),) if part)
                # What pytest marks as the failing line and its error; the rest is in the log.
                marked = [line for line in text.splitlines() if re.match(r"[E>] |\S+:\d+: ", line)]
                self.failures.append((name, "\n".join(marked) or text))
            elif skip is not None:
                self.skips[reason_of(skip)] += 1
            else:
                self.passed += 1

    def tap(self, name, text):
        """Returns how many results the text holds; a plan that was not kept is a failure."""
        planned, seen, notes = 0, 0, []
        for line in text.splitlines():
            plan = re.match(r"1\.\.(\d+)", line)
            result = re.match(r"(not )?ok\b\s*\d*\s*-?\s*(.*)", line)
            if plan:
                planned += int(plan.group(1))
            elif result:
                self.tap_result(*result.groups(), notes)
                seen, notes = seen + 1, []
            else:
                notes.append(line.removeprefix("# "))
        if planned and planned != seen:
            self.failures.append((name, f"planned {planned} tests, ran {seen}\n" + "\n".join(notes)))
        return seen

    def tap_result(self, failed, text, notes):
        name, _, directive = text.partition("# ")
        if re.match(r"(?i)skip", directive):
            reason = " ".join([directive.partition(" ")[2] or name, *notes])
            self.skips[reason] += 1
        elif failed and not re.match(r"(?i)todo", directive):
            self.failures.append((name, "\n".join(notes)))
        else:
            self.passed += 1

    def meson(self, path):
        """Meson knows programs; where a program printed its cases as TAP, those count. The file is called after the build."""
        for line in path.read_text(errors="replace").splitlines():
            test = json.loads(line)
            out, err = test.get("stdout") or "", test.get("stderr") or ""
            before = len(self.failures)
            cases = self.tap(test["name"], out)
            if test["result"] == "SKIP" and not cases:
                reason = [text for text in (out + err).splitlines() if text.strip()]
                self.skips[f"{test['name']}: {reason[-1] if reason else 'no reason given'}"] += 1
            elif cases and test.get("returncode") == 0 and len(self.failures) == before:
                pass  # cmocka's "not ok # SKIP" is a failure to meson
            elif test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP"):
                if len(self.failures) == before:
                    self.failures.append((f"{test['name']} ({test['result']})", out))
                last = self.failures[-1]
                self.failures[-1] = (f"{path.stem}: {last[0]}", f"{last[1]}\n{err}")
            elif not cases:
                self.passed += 1


def main():
    suite, results, status, named, left = sys.argv[1:]
    results = pathlib.Path(results)
    tally = Tally()
    for path in sorted(results.glob("*.xml")):
        tally.junit(path)
    for path in sorted([*results.glob("*.tap"), *filter(pathlib.Path.is_file, results.glob("tap/**/*"))]):
        tally.tap(path.name, path.read_text(errors="replace"))
    for path in sorted(results.glob("*.json")):
        tally.meson(path)
    log = results / "log"
    if int(status) and not tally.failures:
        meaning = " (took too long)" if status == "124" else ""
        tally.failures.append((f"{suite} ended with status {status}{meaning}",
                               tail(log.read_text(errors="replace"), 30)))
    if not tally.passed and not tally.failures and (named == "named" or not tally.skips):
        tally.failures.append((f"{suite} ran nothing", tail(log.read_text(errors="replace"))))
    if left.strip():
        tally.failures.append((f"{suite} left processes behind", left))

    skipped = sum(tally.skips.values())
    print(f"{tally.passed} passed, {len(tally.failures)} failed, {skipped} skipped")
    for reason, times in tally.skips.items():
        print(f"  skipped{f' {times} times' if times > 1 else ''}: {' '.join(reason.split())}")
    for name, text in tally.failures:
        print(f"  FAILED {name}\n{tail(text, 30)}")
    if tally.failures:
        print(f"  the whole log: {log}")
    print(tally.passed, len(tally.failures), skipped)


main()
