#!/bin/bash
# Real sensors, collectors and PostgreSQL, killed, cut off and filled up; arguments: [FAULTS] [SEED]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
if ! unshare --net --mount --propagation private ip link set lo up 2>/dev/null; then
    skip 'faults' 'needs root, network and mount namespaces'
    exit 0
fi
# Interfaces and disks vanish with the namespaces.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --net --mount --propagation private /bin/sh -c 'ip link set lo up && exec "$@"' sh \
    "$PYTHON" -B tests/faults/campaign.py "$RESULTS" "${@:-20}"
