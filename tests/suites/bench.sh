#!/bin/bash
# The sensor's speed and memory beside a libpcap loop and other flow meters; RUNS (5)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

export HIRUNDO_BUILD=$TOP/build/bench
if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
    rm -rf "$HIRUNDO_BUILD"
    meson setup "$HIRUNDO_BUILD" "$TOP" --buildtype=release -Db_lto=true -Dcollector=false || exit 1
fi
ninja -C "$HIRUNDO_BUILD" || exit 1

measure() {
    "$PYTHON" tests/bench/run_bench.py "$HIRUNDO_BUILD" "$TOP/var/bench" "${1:-5}" >"$RESULTS/table.md" || return 1
    cat "$RESULTS/table.md"
}
check 'benchmark' measure "${1:-5}"
cat "$RESULTS/table.md"
