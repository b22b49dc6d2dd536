# shellcheck shell=bash disable=SC2154 # pg_socket, pg_port: see deploy/lib/postgres.sh
# A private PostgreSQL cluster for the suite's time: PGHOST, PGPORT and PGUSER lead to it. Sourced after suite.sh.
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/postgres.sh
. "$TOP/deploy/lib/postgres.sh"

home=$(mktemp -d "$RESULTS/cluster.XXXXXX") || exit 1
trap 'pg_down; pg_remove; rm -rf -- "$home"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -p "$home/log"
pg_find
pg_init
# What lies in it is thrown away. Several tests at once share one table of locks.
as_pg tee -a "$pg_data/postgresql.conf" >/dev/null <<<$'fsync = off\nmax_locks_per_transaction = 128'
pg_up
export PGHOST=$pg_socket PGPORT=$pg_port PGUSER=postgres

# database NAME: one with this version's schema and functions.
database() {
    psql -X -q -d postgres -c "create database $1 template template0 encoding 'UTF8'" &&
        PGDATABASE=$1 PGOPTIONS='-c client_min_messages=warning' tests/sql/apply
}
