#!/bin/bash
# The SQL functions: pgTAP and independent computations, on a private cluster
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
export PGHOST=$pg_socket PGPORT=$pg_port PGUSER=postgres
mkdir -p "$RESULTS/tap"
PERL_TEST_HARNESS_DUMP_TAP=$RESULTS/tap tests/sql/run
