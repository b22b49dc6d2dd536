#!/bin/bash
# Captures, real and made, against the counts of an independent dissector
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
pytests golden tests/golden
