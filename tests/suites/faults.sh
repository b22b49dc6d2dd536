#!/bin/bash
# Real sensors, collectors and PostgreSQL, killed, cut off and filled up; arguments: [FAULTS] [SEED]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
namespaces faults
exec "${inside[@]}" "$PYTHON" -B tests/faults/campaign.py "$RESULTS" "${@:-20}"
