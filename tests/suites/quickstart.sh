#!/bin/bash
# deploy/quickstart with its accidents, every answer against the ground truth and the published tables
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

pytests quickstart -x tests/e2e/test_quickstart.py
