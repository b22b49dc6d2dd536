# shellcheck shell=bash
# What suites share. Sourced by tests/suites/*.sh, which tests/run starts; the environment is clean,
# the packages are installed. Results go to $RESULTS as *.xml (JUnit), *.tap or *.json.
set -uo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SUITE=$(basename "$0" .sh)
RESULTS=$TOP/var/tests/$SUITE
PYTHON=/usr/bin/python3
export TOP RESULTS PYTHON
cd "$TOP" || exit 1

# build KIND: builds into build/KIND (test, asan, release); sets HIRUNDO_BUILD, by which tests find the
# programs.
build() {
    local kind=$1 options=(--buildtype=debugoptimized)
    if [[ $kind == asan ]]; then
        options=(--buildtype=debug -Doptimization=1 "-Db_sanitize=address,undefined"
            -Db_lundef=false)
        options+=(-Dwerror=false) # gcc's flow warnings see ghosts in sanitized code
        # what malloc gives is never zero by chance: not in its first 4 KiB alone, as it would be
        export ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1:max_malloc_fill_size=65536
        export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
        export LSAN_OPTIONS=suppressions=$TOP/tests/lib/lsan.supp:print_suppressions=0
    fi
    [[ $kind != release ]] || options=(--buildtype=release)
    export HIRUNDO_BUILD=$TOP/build/$kind
    if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
        rm -rf "$HIRUNDO_BUILD"
        meson setup "$HIRUNDO_BUILD" "$TOP" "${options[@]}" || exit 1
    fi
    ninja -C "$HIRUNDO_BUILD" || exit 1
}

# bench_build: the sensor alone, as it is delivered, into build/bench; sets HIRUNDO_BUILD.
bench_build() {
    export HIRUNDO_BUILD=$TOP/build/bench
    if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
        rm -rf "$HIRUNDO_BUILD"
        meson setup "$HIRUNDO_BUILD" "$TOP" --buildtype=release -Db_lto=true -Dcollector=false || exit 1
    fi
    ninja -C "$HIRUNDO_BUILD" || exit 1
}

# build_with NAME COMPILER OPTION...: builds into build/NAME with that compiler and those options of meson; sets HIRUNDO_BUILD.
build_with() {
    export HIRUNDO_BUILD=$TOP/build/$1
    local compiler=$2
    shift 2
    if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
        rm -rf "$HIRUNDO_BUILD"
        CC=$compiler meson setup "$HIRUNDO_BUILD" "$TOP" "$@" || return 1
    fi
    ninja -C "$HIRUNDO_BUILD"
}

# matrix_packages: what the suites of `tests/run all` need beside those of the ordinary run.
matrix_packages() {
    # shellcheck source=deploy/lib/say.sh
    . "$TOP/deploy/lib/say.sh"
    # shellcheck source=deploy/lib/packages.sh
    . "$TOP/deploy/lib/packages.sh"
    packages_need "$RESULTS/packages.log" "$TOP/tests/suites/matrix.packages"
}

# meson_tests [MESON ARGUMENT...]: meson's tests of $HIRUNDO_BUILD, counted case by case where they print TAP.
# What failed is in the log that tally.py reads; meson also calls a program failed whose cases were skipped.
meson_tests() {
    rm -f "$HIRUNDO_BUILD"/meson-logs/tally*
    meson test -C "$HIRUNDO_BUILD" --no-rebuild --logbase tally "$@"
    local status=$? log
    log=$(find "$HIRUNDO_BUILD/meson-logs" -name 'tally*.json') # --wrapper puts its name into it
    cp "$log" "$RESULTS/${HIRUNDO_BUILD##*/}.json" || return 1
    ((status < 126)) || return "$status"
}

# pytests NAME PATH...: pytest over the paths.
pytests() {
    local name=$1
    shift
    "$PYTHON" -B -m pytest -p no:cacheprovider --durations=5 --junitxml="$RESULTS/$name.xml" "$@"
    local status=$?
    ((status < 3)) || exit "$status" # pytest itself failed, and wrote no results
}

# pytests_by N NAME PATH...: the same, N files at a time: for tests that wait more than they compute.
pytests_by() {
    local n=$1
    shift
    HIRUNDO_TEST_WAIT=120 pytests "$@" --numprocesses "$n" --dist loadfile
}

# check NAME COMMAND...: one test in TAP, of a command's success.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok - %s\n' "$name" >>"$RESULTS/checks.tap"
    else
        printf '%s\n' "$output"
        {
            tail -n 30 <<<"$output" | sed 's/^/# /'
            printf 'not ok - %s\n' "$name"
        } >>"$RESULTS/checks.tap"
    fi
}

skip() {
    printf 'ok - %s # SKIP %s\n' "$1" "$2" >>"$RESULTS/checks.tap"
}

# namespaces NAME: sets `inside`, the words that run a command in network and mount namespaces of its own, with "lo" up: its
# interfaces and disks vanish with them. Where they cannot be had the suite ends, with NAME skipped.
namespaces() {
    inside=(unshare --net --mount --propagation private)
    if ! "${inside[@]}" ip link set lo up 2>/dev/null; then
        skip "$1" 'needs root, network and mount namespaces'
        exit 0
    fi
    # shellcheck disable=SC2016 # for the inner shell
    inside+=(/bin/sh -c 'ip link set lo up && exec "$@"' sh)
}

# sources GLOB...: the repository's files that match, as git knows them (or find, without git).
sources() {
    if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
        git -c safe.directory='*' ls-files -co --exclude-standard -- "$@" | while read -r file; do
            [[ -f $file ]] && printf '%s\n' "$file"
        done
    else
        find . \( -path './build*' -o -path ./var \) -prune -o -type f -print | sed 's|^\./||' |
            while read -r file; do
                for glob in "$@"; do
                    # shellcheck disable=SC2053 # a pattern on purpose
                    [[ $file == $glob ]] && printf '%s\n' "$file"
                done
            done
    fi
}
