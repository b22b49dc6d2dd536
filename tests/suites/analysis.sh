#!/bin/bash
# cppcheck, clang's and gcc's analyzers over all of the C code; its shape (clang-tidy, and who includes whom: suite "style")
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

matrix_packages
build test
mapfile -t shipped < <(sources 'common/*.c' 'sensor/*.c' 'collector/*.c')
check 'cppcheck' cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability -j2 -I. \
    --suppressions-list=tests/lib/cppcheck.supp common sensor collector tests
mapfile -t c_units < <(sources '*.c')
check "clang-tidy with clang's analyzer" "$PYTHON" tests/lib/tidy.py "$HIRUNDO_BUILD" "${c_units[@]}"
check 'gcc -fanalyzer' "$PYTHON" tests/lib/analyzer.py "$HIRUNDO_BUILD" tests/lib/analyzer.known "${shipped[@]}"

shape() {
    "$PYTHON" tests/lib/shape.py "$HIRUNDO_BUILD" >"$RESULTS/shape.md"
}
check 'no long main, nothing mutable at file scope but the log level and the flag of a signal' shape
cat "$RESULTS/shape.md"
