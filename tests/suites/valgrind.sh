#!/bin/bash
# Unit tests, and sensor and collector at work, under valgrind: memory never set, out of bounds, or lost
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

matrix_packages
build test
reports=$RESULTS/reports
mkdir -p "$reports"
options=(--quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --num-callers=30
    "--suppressions=$TOP/tests/lib/valgrind.supp" "--log-file=$reports/%p.txt")

# Not: failure points, thousands of runs of the same code (one in seven is in the ordinary run); the
# simulation, which is its own; the sandbox, whose filter would end valgrind for its own system calls.
mapfile -t tests < <(meson test -C "$HIRUNDO_BUILD" --list --suite unit --no-suite failures 2>/dev/null |
    sed -n 's|.* / ||p' | grep -vxE "sandbox|sim.*")
skip 'sandbox' 'its filter of system calls ends valgrind'
meson_tests --num-processes 2 --timeout-multiplier 40 --wrapper "valgrind ${options[*]}" "${tests[@]}"

# A build directory in whose place both programs run under valgrind.
wrapped=$RESULTS/wrapped
mkdir -p "$wrapped/tests"
ln -s "$HIRUNDO_BUILD/tests/integration" "$HIRUNDO_BUILD/tests/load" "$wrapped/tests/"
for program in sensor collector; do
    mkdir "$wrapped/$program"
    {
        echo '#!/bin/sh'
        printf 'exec valgrind'
        printf ' %q' "${options[@]}" "$HIRUNDO_BUILD/$program/hirundo-$program"
        # shellcheck disable=SC2016 # for the script
        printf ' "$@"\n'
    } >"$wrapped/$program/hirundo-$program"
    chmod +x "$wrapped/$program/hirundo-$program"
done
export HIRUNDO_BUILD=$wrapped HIRUNDO_TEST_WAIT=300
# Lines of valgrind about itself begin otherwise: it does not know the system call by which the sensor confines itself.
no_reports() {
    ! grep -h '^==' "$reports"/*
}
pytests programs tests/integration/test_delivery.py -k 'every_frame or same_file or key_approved'
# Also of processes that a test killed, or whose exit code it does not look at.
check 'valgrind found nothing' no_reports
