#!/bin/bash
# Lines and branches that tests run: all of decode, codec, sender, receiver, validate; 85% of the lines of everything
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

export HIRUNDO_BUILD=$TOP/build/coverage
if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
    rm -rf "$HIRUNDO_BUILD"
    meson setup "$HIRUNDO_BUILD" "$TOP" --buildtype=debug -Db_coverage=true || exit 1
fi
ninja -C "$HIRUNDO_BUILD" || exit 1
find "$HIRUNDO_BUILD" -name '*.gcda' -delete

# figures NAME: what has been run so far, judged by coverage_table.py.
figures() {
    gcovr --root "$TOP" --exclude-unreachable-branches --json-summary "$RESULTS/$1.coverage" \
        --filter sensor/ --filter collector/ --filter common/ "$HIRUNDO_BUILD" || exit 1
    "$PYTHON" -B tests/lib/coverage_table.py "$1" "$RESULTS/$1.coverage" >"$RESULTS/$1.tap" 2>"$RESULTS/$1.txt" || exit 1
    cat "$RESULTS/$1.txt"
}

# Captures made by the test only: the figures do not depend on what lies beside the clone.
meson_tests --num-processes 2 --suite unit
pytests golden tests/golden/test_links.py
figures core
# Programs that are killed write nothing down, nor do those that may not write here any more, and these say so on their standard error.
pytests integration tests/integration --deselect tests/integration/test_live.py::test_cap_net_raw_is_enough_and_is_needed
figures whole
