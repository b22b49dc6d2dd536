#!/bin/bash
# Lines and branches of decode, flow table and codec that unit and golden tests run
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

export HIRUNDO_BUILD=$TOP/build/coverage
if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
    rm -rf "$HIRUNDO_BUILD"
    meson setup "$HIRUNDO_BUILD" "$TOP" --buildtype=debug -Db_coverage=true -Dcollector=false || exit 1
fi
ninja -C "$HIRUNDO_BUILD" || exit 1
find "$HIRUNDO_BUILD" -name '*.gcda' -delete

# Captures made by the test only: the figures do not depend on what lies beside the clone.
meson_tests --num-processes 2 --suite unit
pytests golden tests/golden/test_links.py

gcovr --root "$TOP" --exclude-unreachable-branches --json-summary "$HIRUNDO_BUILD/coverage.json" \
    --filter sensor/ --filter common/ "$HIRUNDO_BUILD" || exit 1
"$PYTHON" -B tests/lib/coverage_table.py "$HIRUNDO_BUILD/coverage.json" >"$RESULTS/coverage.tap" \
    2>"$RESULTS/table.txt" || exit 1
cat "$RESULTS/table.txt"
