#!/bin/bash
# Sensor and collector over CURVE into a real database, with accidents
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
pytests_by 3 integration tests/integration tests/sim
