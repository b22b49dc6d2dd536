#!/bin/bash
# The static sensor's memory and CPU time live, idle and in floods; SECONDS (180) PACKETS (2000000)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

if ((EUID != 0)); then
    skip 'live benchmark' 'live capture needs root rights'
    exit
fi
deploy/static/build || exit 1
bench_build
bench=$HIRUNDO_BUILD
build test

measure() {
    # "lo" and nothing else: no packet can reach a network, or come from one.
    # shellcheck disable=SC2016 # expanded inside
    unshare --net bash -c 'ip link set lo up && exec "$@"' - \
        "$PYTHON" -B tests/bench/run_live.py "$bench" "$TOP/var/bench" "$@" >"$RESULTS/table.md" || return 1
}
check 'live benchmark' measure "$@"
cat "$RESULTS/table.md"
