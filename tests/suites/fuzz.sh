#!/bin/bash
# Replays the fuzz targets' seeds, and mutations of them, under ASan and UBSan
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build asan
meson_tests --num-processes 2 --timeout-multiplier 5 --suite fuzz
