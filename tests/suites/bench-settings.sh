#!/bin/bash
# What PostgreSQL's settings do to ingest; ROUNDS (3)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build release

measure() {
    "$PYTHON" -B tests/bench/postgres_settings.py "$TOP/var/bench-settings" "${1:-3}" >"$RESULTS/ingest.md"
}
check 'settings of PostgreSQL' measure "${1:-3}"
cat "$RESULTS"/*.md
