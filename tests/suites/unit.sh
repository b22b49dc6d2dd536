#!/bin/bash
# Unit tests (cmocka) of an ordinary build
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
meson_tests --num-processes 2 --no-suite fuzz
