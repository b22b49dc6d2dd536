#!/bin/bash
# ThreadSanitizer on what has threads: queue, uplink, and real sensors and collectors that deliver
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

matrix_packages
build_with tsan gcc --buildtype=debug -Doptimization=1 -Db_sanitize=thread -Db_lundef=false -Dwerror=false || exit 1
reports=$RESULTS/reports
mkdir -p "$reports"
# Debian's libraries are not instrumented: TSan sees neither how libzmq's threads synchronise nor why what they write is written
# in order. What is called from such a library is left out; our own accesses are all looked at.
export TSAN_OPTIONS=exitcode=66:second_deadlock_stack=1:ignore_noninstrumented_modules=1:log_path=$reports/report
planted=$HIRUNDO_BUILD/tests/tsan/planted_race
finds_the_race() {
    "$planted" raced
    [[ $? == 66 ]] && grep 'data race' "$reports"/*
}
check 'a race is found' finds_the_race
rm -f "$reports"/*
check 'none is found where there is a mutex' "$planted" locked
meson_tests --num-processes 2 --timeout-multiplier 10 queue uplink collector_parts
export HIRUNDO_TEST_WAIT=120
pytests integration tests/integration/test_delivery.py tests/integration/test_collector.py
# Also of processes that a test killed, or whose exit code it does not look at.
no_reports() {
    ! grep . "$reports"/* 2>/dev/null
}
check 'no race was reported' no_reports
