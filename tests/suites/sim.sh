#!/bin/bash
# The delivery's two state machines through random accidents; arguments: [SENSOR-YEARS] [SEED]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

years=${1:-1} seed=${2:-1}
build test
check "$years sensor-years from seed $seed" \
    "$HIRUNDO_BUILD/tests/sim/hirundo-sim" --report "$RESULTS/report.txt" "$years" "$seed"
cat "$RESULTS/report.txt" 2>/dev/null
pytests ledger tests/sim
