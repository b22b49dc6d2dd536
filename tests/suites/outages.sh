#!/bin/bash
# A database away for long, restored from a dump, a week's backlog; arguments: [SECONDS [BATCHES]]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
export HIRUNDO_OUTAGE_S=${1:-600} HIRUNDO_BACKLOG=${2:-10000}
namespaces outages
"${inside[@]}" "$PYTHON" -B -m pytest -p no:cacheprovider --durations=0 --junitxml="$RESULTS/outages.xml" tests/faults
status=$?
cat "$RESULTS/outages.txt"
((status < 3))
