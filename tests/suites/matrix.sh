#!/bin/bash
# Unit tests, fuzz seeds and made captures with gcc and clang, without optimisation and with all of it
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

matrix_packages

no_warning() {
    ! grep 'warning:' "$1"
}

# variant NAME COMPILER OPTION...: the whole project, built without a warning, and its tests. What the linker optimises it warns of itself,
# and no option makes errors of those.
variant() {
    local log=$RESULTS/$1.build.txt
    build_with "$@" >"$log" 2>&1
    check "$1 builds" test $? = 0
    check "$1 builds without a warning" no_warning "$log"
    [[ -x $TOP/build/$1/sensor/hirundo-sensor ]] || return
    meson_tests --num-processes 2
    pytests "golden-$1" tests/golden/test_links.py
}

variant gcc-O0 gcc --buildtype=debug
variant gcc-O3-lto gcc --buildtype=release -Db_lto=true
export CC_LD=lld # what clang leaves to link time is no food for ld
variant clang-O0 clang-14 --buildtype=debug
variant clang-O3-lto clang-14 --buildtype=release -Db_lto=true
