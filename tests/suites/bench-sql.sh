#!/bin/bash
# Figures from rollups beside the same from flow; SENSORS (13) DAYS (90) PACKETS a day (5000) RUNS (5); into=DIR, from=DIR
#   bench-sql [SENSORS [DAYS [PACKETS [RUNS]]]]      fills a database, measures, removes it
#   bench-sql into=DIR [SENSORS [DAYS [PACKETS]]]    fills one in DIR, which is kept, and measures nothing
#   bench-sql from=DIR [RUNS [MINUTES]]              measures what is in DIR, and keeps it; a figure from flow is asked once,
#                                                    and stopped after so many minutes (10; 0: it is not asked)
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/postgres.sh
. "$TOP/deploy/lib/postgres.sh"

mode=all
case ${1:-} in
into=?*) mode=fill home=${1#into=} ;;
from=?*) mode=measure home=${1#from=} ;;
*=*) die "unknown argument $1" ;;
esac
[[ $mode == all ]] || shift
[[ $mode != measure || -e $home/pg ]] || die "there is no database in $home: fill one with into=$home"
[[ $mode != fill || ! -e $home/pg ]] || die "there is a database in $home already: it would have to be removed first"

build release

if [[ $mode == all ]]; then
    home=$(mktemp -d "$RESULTS/cluster.XXXXXX") || exit 1
    trap 'pg_down; pg_remove; rm -rf -- "$home"' EXIT
else
    trap pg_down EXIT
fi
trap 'exit 143' HUP INT TERM
mkdir -p "$home/log" || exit 1
home=$(realpath -- "$home")
pg_find
pg_init
# Durability is not what is measured; the rest is what docs/operations.md advises for a machine of this size.
[[ $mode == measure ]] || as_pg tee -a "$pg_data/postgresql.conf" >/dev/null <<END
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

bench() {
    "$PYTHON" -B -u tests/bench/bench_sql.py "$@" >>"$RESULTS/figures.md"
}

fill() {
    psql -X -q -d postgres -c 'create database hirundo_bench template template0' &&
        PGOPTIONS='-c client_min_messages=warning' tests/sql/apply &&
        ls collector/sql/schema >"$home/schema" &&
        bench fill "$HIRUNDO_BUILD/tests/bench" "${1:-13}" "${2:-90}" "${3:-5000}"
}

fill_and_measure() {
    fill "$@" && bench measure "${4:-5}"
}

# With schema and functions of this version.
measure() {
    local -x PGOPTIONS='-c client_min_messages=warning'
    local file
    for file in $(comm -13 <(sort "$home/schema") <(ls collector/sql/schema)); do
        psql -X -q -1 -v ON_ERROR_STOP=1 -c 'set role hirundo_owner' -f "collector/sql/schema/$file" || return
        echo "$file" >>"$home/schema"
    done
    tests/sql/apply --analysis && bench measure "${1:-5}" "${2:-10}"
}

case $mode in
all) check 'benchmark of the figures' fill_and_measure "$@" ;;
fill) check 'a database to measure' fill "$@" ;;
measure) check 'benchmark of the figures' measure "$@" ;;
esac
cat "$RESULTS/figures.md"
