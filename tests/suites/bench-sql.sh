#!/bin/bash
# Figures from rollups beside the same from flow; SENSORS (13) DAYS (90) PACKETS a day (5000) RUNS (5)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/postgres.sh
. "$TOP/deploy/lib/postgres.sh"

build release

home=$(mktemp -d "$RESULTS/cluster.XXXXXX") || exit 1
trap 'pg_down; pg_remove; rm -rf -- "$home"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -p "$home/log"
pg_find
pg_init
# Durability is not what is measured; the rest is what docs/operations.md advises for a machine of this size.
as_pg tee -a "$pg_data/postgresql.conf" >/dev/null <<END
shared_buffers = 1GB
effective_cache_size = 4GB
maintenance_work_mem = 256MB
max_wal_size = 4GB
random_page_cost = 1.1
wal_level = minimal
max_wal_senders = 0
fsync = off
max_parallel_workers_per_gather = 0
END
pg_up
export PGHOST=$pg_socket PGPORT=$pg_port PGUSER=postgres PGDATABASE=hirundo_bench
measure() {
    psql -X -q -d postgres -c 'create database hirundo_bench template template0' &&
        PGOPTIONS='-c client_min_messages=warning' tests/sql/apply &&
        "$PYTHON" -B -u tests/bench/bench_sql.py "$HIRUNDO_BUILD/tests/bench" "${1:-13}" "${2:-90}" "${3:-5000}" "${4:-5}" \
            >"$RESULTS/figures.md"
}
check 'benchmark of the figures' measure "$@"
cat "$RESULTS/figures.md"
