#!/bin/bash
# The sensor's speed, memory and sizes beside a libpcap loop and other flow meters; RUNS (5) PACKETS (5000000)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
. "$TOP/deploy/lib/packages.sh"

# Without them the rest is still measured.
(packages_need "$RESULTS/packages.log" "$TOP/tests/bench/packages")
deploy/static/build || skip 'static sensor' 'deploy/static/build failed; its memory is not measured'
bench_build

measure() {
    "$PYTHON" -B tests/bench/run_bench.py "$HIRUNDO_BUILD" "$TOP/var/bench" "$@" >"$RESULTS/table.md" || return 1
}
check 'benchmark' measure "$@"
for program in nfpcapd softflowd argus; do
    command -v "$program" >/dev/null || skip "$program" 'not installed, and could not be'
done
cat "$RESULTS/table.md"
