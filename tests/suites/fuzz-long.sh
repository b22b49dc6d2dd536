#!/bin/bash
# Fuzzes each target for MINUTES (10) with libFuzzer, ASan and UBSan
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

minutes=${1:-10}
export HIRUNDO_BUILD=$TOP/build/fuzz
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
if [[ ! -f $HIRUNDO_BUILD/build.ninja ]]; then
    rm -rf "$HIRUNDO_BUILD"
    CC=clang-14 meson setup "$HIRUNDO_BUILD" "$TOP" --buildtype=debug -Doptimization=1 \
        "-Db_sanitize=address,undefined" -Db_lundef=false -Dfuzzers=true \
        "-Dc_args=-fsanitize=fuzzer-no-link" || exit 1
fi
ninja -C "$HIRUNDO_BUILD" || exit 1
seeds=$HIRUNDO_BUILD/tests/fuzz/seeds
tests/fuzz/seeds.sh "$HIRUNDO_BUILD/tests/fuzz/wire_seeds" "$seeds" || exit 1

# fuzz_target NAME MINUTES: what libFuzzer says is kept in $RESULTS/NAME.txt, what it finds beside it.
fuzz_target() {
    local log=$RESULTS/$1.txt status
    mkdir -p "$RESULTS/corpus/$1"
    "$HIRUNDO_BUILD/tests/fuzz/fuzz_$1" -max_total_time=$(($2 * 60)) -max_len=65536 \
        -rss_limit_mb=2048 -timeout=60 -artifact_prefix="$RESULTS/$1-" -print_final_stats=1 \
        "$RESULTS/corpus/$1" "$seeds/$1" >"$log" 2>&1
    status=$?
    ((status == 0)) || tail -n 60 "$log"
    return "$status"
}

for target in decode flow_table wire capture_file window columns message bundle; do
    check "fuzz $target for $minutes minutes" fuzz_target "$target" "$minutes"
    echo "$target: $(sed -n 's/.*number_of_executed_units: *//p' "$RESULTS/$target.txt") executions," \
        "$(grep -o 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$RESULTS/$target.txt" | tail -n 1)"
done
