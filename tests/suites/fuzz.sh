#!/bin/bash
# The fuzz targets over their seeds and some mutations of them
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
meson_tests --suite fuzz
