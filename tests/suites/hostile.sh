#!/bin/bash
# Hostile clients: what gets in (nothing), what it costs enrolled sensors; CONNECTIONS (300) ROUNDS (4) SECONDS (15)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build release
HIRUNDO_HOSTILE=${1:-300} pytests hostile tests/integration/test_hostile.py tests/integration/test_key_life.py

measure() {
    "$PYTHON" -B tests/hostile/measure_hostile.py "$TOP/var/hostile" "${1:-300}" "${2:-4}" "${3:-15}" >"$RESULTS/figures.txt"
}
check 'hostile clients beside enrolled sensors' measure "$@"
cat "$RESULTS/figures.txt"
