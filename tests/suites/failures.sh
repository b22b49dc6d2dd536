#!/bin/bash
# Every failure point of spool, uplink and collector, one by one; the ordinary run takes some of them
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
export HIRUNDO_TEST_STEP=1
meson_tests --num-processes 2 --timeout-multiplier 20 --suite failures
pytests collector tests/integration/test_failures.py
