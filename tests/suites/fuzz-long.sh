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

# What was found stays in $RESULTS.
for target in decode flow_table wire capture_file window columns message import bundle; do
    mkdir -p "$RESULTS/corpus/$target"
    check "fuzz $target for $minutes minutes" \
        "$HIRUNDO_BUILD/tests/fuzz/fuzz_$target" -max_total_time=$((minutes * 60)) -max_len=65536 \
        -rss_limit_mb=2048 -timeout=20 -artifact_prefix="$RESULTS/$target-" -print_final_stats=1 \
        "$RESULTS/corpus/$target" "$seeds/$target"
done
