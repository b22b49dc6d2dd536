#!/bin/bash
# The report page in headless Chromium: charts against their CSV, both languages, accessibility, odd databases
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

for program in chromium chromedriver node npm; do
    command -v "$program" >/dev/null || {
        skip 'report page' "there is no $program here"
        exit 0
    }
done
if ! collector/report/build; then
    skip 'report page' 'what its package-lock.json names could not be had'
    exit 0
fi
[[ -f collector/report/node_modules/axe-core/axe.min.js ]] || rm -rf collector/report/out
collector/report/build || exit 1
build test
check 'no registry is named in what is locked' bash -c '! grep -qE "https?://|\"resolved\"" collector/report/package-lock.json'
pytests browser tests/browser
