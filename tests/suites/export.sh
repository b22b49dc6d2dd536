#!/bin/bash
# A case file of a million hosts and ports: memory, time and size (docs/export.md): export [ROWS]
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
export HIRUNDO_EXPORT_ROWS=${1:-1000000}
pytests export -s tests/integration/test_export.py -k memory
