#!/bin/bash
# deploy/quickstart with its accidents, every answer against the ground truth and the published tables
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

# Its database may lie elsewhere, behind a link: what an interrupted run made must not stay.
trap 'HIRUNDO_HOME=$RESULTS/home deploy/quickstart clean; HIRUNDO_HOME=$RESULTS/surges deploy/quickstart clean' EXIT
trap 'exit 143' HUP INT TERM
# Two quickstarts at a time: each builds, keeps and listens in a directory of its own.
pytests surges -x tests/e2e/test_planted_surges.py >"$RESULTS/surges.log" 2>&1 &
pytests quickstart -x tests/e2e/test_quickstart.py
wait $!
status=$?
cat "$RESULTS/surges.log"
exit "$status"
