#!/bin/bash
# The collector, CURVE to committed rows, beside raw COPY of the same rows; PAIRS (5)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build release

measure() {
    "$PYTHON" -B tests/bench/collector_bench.py "$TOP/var/bench-collector" "${1:-5}" >"$RESULTS/figures.txt"
}
check 'benchmark of the collector' measure "${1:-5}"
cat "$RESULTS/figures.txt"
