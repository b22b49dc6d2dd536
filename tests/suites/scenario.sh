#!/bin/bash
# The 2023 Q1 scenario's generator against an independent reading of the files it writes
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
pytests scenario tests/scenario
