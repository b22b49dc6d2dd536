#!/bin/bash
# Hours with 50 sensors, faults, retention and rollups: what must stay flat; arguments: [HOURS (1)] [SEED (1)]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
if ! unshare --net --mount --propagation private ip link set lo up 2>/dev/null; then
    skip 'soak' 'needs root, network and mount namespaces'
    exit 0
fi
# shellcheck disable=SC2016 # for the inner shell
exec unshare --net --mount --propagation private /bin/sh -c 'ip link set lo up && exec "$@"' sh \
    "$PYTHON" -B tests/faults/soak.py "$RESULTS" "${@:-1}"
