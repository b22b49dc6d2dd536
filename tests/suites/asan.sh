#!/bin/bash
# The tests of unit, fuzz, golden and integration once more, built with ASan and UBSan
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build asan
meson_tests --num-processes 2 --timeout-multiplier 5
pytests golden tests/golden
# What partners and the public may read is all SQL: next to nothing of ours runs under the sanitizers in it.
pytests_by 2 integration tests/integration --ignore tests/integration/test_partner_attack.py \
    --ignore tests/integration/test_partners.py --ignore tests/integration/test_public_report.py
