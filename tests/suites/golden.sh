#!/bin/bash
# Captures, real ones where ../shared is there and generated ones, against known counts
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
pytests golden tests/golden
