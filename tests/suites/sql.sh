#!/bin/bash
# The SQL functions: pgTAP and independent computations, on a private cluster
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/cluster.sh
. "$TOP/tests/lib/cluster.sh"

mkdir -p "$RESULTS/tap"
PERL_TEST_HARNESS_DUMP_TAP=$RESULTS/tap tests/sql/run
