#!/bin/bash
# How often surges errs on simulated networks (docs/methods/surge.md): study-surge [SEEDS]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=tests/lib/cluster.sh
. "$TOP/tests/lib/cluster.sh"

for n in 1 2; do
    database "study$n" || exit 1
done

# study FAMILY SEEDS FIRST: half of the seeds in each database at once.
study() {
    local half=$((($2 + 1) / 2)) first
    PGDATABASE=study1 "$PYTHON" -B tests/study/surge_study.py run "$RESULTS/$1.1" "$half" "$1" "$3" &
    first=$!
    PGDATABASE=study2 "$PYTHON" -B tests/study/surge_study.py run "$RESULTS/$1.2" $(($2 - half)) "$1" $(($3 + half)) || return 1
    wait "$first" || return 1
    "$PYTHON" -B tests/study/surge_study.py table "$RESULTS/$1".[12] >"$RESULTS/$1.md"
}
for family in held_out tuning; do
    check "surges are what their parts say, on networks of the family $family" study "$family" "${1:-100}" 1
    cat "$RESULTS/$family.md"
done
