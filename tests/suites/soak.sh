#!/bin/bash
# Hours with 50 sensors, faults, retention and rollups: what must stay flat; arguments: [HOURS (1)] [SEED (1)]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
namespaces soak
exec "${inside[@]}" "$PYTHON" -B tests/faults/soak.py "$RESULTS" "${@:-1}"
