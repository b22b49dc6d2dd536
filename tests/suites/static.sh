#!/bin/bash
# The static sensor: built, run in other roots and live ("static 2": built twice and compared; some minutes)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
. "$TOP/deploy/lib/packages.sh"

packages_need "$RESULTS/packages.log" "$TOP/deploy/static/packages/tests"
build test
for arch in amd64 arm64; do
    deploy/static/build "$arch" || exit 1
done
if ((${1:-1} > 1)); then
    # Elsewhere, so that neither place nor what the first left behind can matter.
    export HIRUNDO_STATIC_SECOND=$RESULTS/second/directory
    for arch in amd64 arm64; do
        deploy/static/build --out "$HIRUNDO_STATIC_SECOND" "$arch" || exit 1
    done
fi
pytests static tests/static/test_static.py
if ((EUID == 0)); then
    # "lo" and nothing else: no test can reach a network, or be reached.
    export -f pytests
    unshare --net bash -c 'ip link set lo up && pytests live tests/static/test_live.py'
else
    skip 'live' 'live capture needs root rights'
fi
