#!/bin/bash
# How often ttl_origin is wrong on simulated networks (docs/methods/ttl.md): study-ttl [REPETITIONS [SQL RUNS]]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/cluster.sh
. "$TOP/tests/lib/cluster.sh"

database study || exit 1
export PGDATABASE=study

study() {
    "$PYTHON" -B tests/study/ttl_study.py "${1:-20}" "${2:-100}" >"$RESULTS/ttl.md"
}
check 'the SQL function says what the definition says, on networks of the study' study "$@"
cat "$RESULTS/ttl.md"
