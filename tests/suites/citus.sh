#!/bin/bash
# The SQL suite and a collector on Citus: coordinator and two workers, where it is installed (docs/scale.md)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

build test
pytests plain tests/citus/test_plain.py
# Of the system's PostgreSQL, or of the one whose programs HIRUNDO_PG_BIN holds (`bash tests/suites/citus.sh` takes it).
bin=${HIRUNDO_PG_BIN:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
if [[ ! -f $("$bin/pg_config" --pkglibdir)/citus.so ]]; then
    skip 'coordinator and two workers' "Citus is not installed: no citus.so beside the extensions of $bin"
    exit 0
fi
pytests citus tests/citus/test_citus.py
