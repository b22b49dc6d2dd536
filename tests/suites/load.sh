#!/bin/bash
# A thousand sensors on one collector: memory, handshakes, strangers; SENSORS (1000) STRANGERS (200)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build release

measure() {
    "$PYTHON" -B tests/load/measure_load.py "$TOP/var/load" "${1:-1000}" "${2:-200}" >"$RESULTS/figures.txt"
}
check 'many sensors on one collector' measure "${1:-1000}" "${2:-200}"
cat "$RESULTS/figures.txt"
