#!/bin/bash
# How often ttl_origin is wrong on simulated networks (docs/methods/ttl.md): study-ttl [REPETITIONS [SQL RUNS]]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/postgres.sh
. "$TOP/deploy/lib/postgres.sh"

home=$(mktemp -d "$RESULTS/cluster.XXXXXX") || exit 1
trap 'pg_down; pg_remove; rm -rf -- "$home"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -p "$home/log"
pg_up
export PGHOST=$pg_socket PGPORT=$pg_port PGUSER=postgres PGDATABASE=study
psql -X -q -d postgres -c "create database study template template0 encoding 'UTF8'" &&
    PGOPTIONS='-c client_min_messages=warning' tests/sql/apply || exit 1

study() {
    "$PYTHON" -B tests/study/ttl_study.py "${1:-20}" "${2:-100}" >"$RESULTS/ttl.md"
}
check 'the SQL function says what the definition says, on networks of the study' study "$@"
cat "$RESULTS/ttl.md"
