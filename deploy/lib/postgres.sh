# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# A private PostgreSQL cluster in $home/pg: reached by its unix socket alone, peer authentication with a
# map, never run as root. Sourced after say.sh; $home is set.

pg_port=5432 # names the socket's file; no port of the machine is taken
# pg_data, pg_socket, pg_bin, pg_user are set by pg_find.

# as_pg COMMAND...: as the user who runs the server.
as_pg() {
    if ((EUID == 0)); then
        (cd / && exec setpriv --reuid="$pg_user" --regid="$(id -g "$pg_user")" --init-groups -- "$@")
    else
        "$@"
    fi
}

pg_find() {
    local dir
    pg_bin=
    for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V); do
        [[ -x $dir/initdb ]] && pg_bin=$dir
    done
    pg_user=$(id -un)
    ((EUID)) || pg_user=postgres
    dir=$home/pg
    [[ ! -L $dir ]] || dir=$(readlink -- "$dir")
    pg_data=$dir/data
    pg_socket=$dir/socket
}

# Makes the directory where the server's user can reach it: $home/pg, or behind a link from there.
pg_place() {
    local reason='' dir=$home/pg
    if [[ -L $dir && ! -d $dir ]]; then
        say "$(readlink -- "$dir") is gone, and the database with it: beginning anew."
        rm -f -- "$dir" "$home"/state/*
    fi
    [[ -d $dir ]] && return
    mkdir -m 700 -- "$dir" || die "cannot make $dir"
    ((EUID)) || chown "$pg_user:" "$dir"
    if (($(printf '%s/socket/.s.PGSQL.%s' "$dir" "$pg_port" | wc -c) > 100)); then
        reason="its path is too long for a unix socket"
    elif ! as_pg test -w "$dir"; then
        reason="the user $pg_user, who runs the server, cannot reach it"
    fi
    if [[ -n $reason ]]; then
        rmdir -- "$dir"
        dir=$(mktemp -d /var/tmp/hirundo.XXXXXXXX) || die "cannot make a directory in /var/tmp"
        ((EUID)) || chown "$pg_user:" "$dir"
        ln -s -- "$dir" "$home/pg"
        say "The database cannot live in $home/pg: $reason. It is in $dir, linked from there."
    fi
}

pg_init() {
    local log=$home/log/initdb.log me
    [[ -n $pg_bin ]] || die "no PostgreSQL server under /usr/lib/postgresql: is the package postgresql-15 installed?"
    id "$pg_user" >/dev/null 2>&1 || die "there is no user $pg_user (the package postgresql-common makes it)"
    pg_place
    pg_find
    [[ ! -f $pg_data/PG_VERSION ]] || return 0
    say "Making a database cluster in $pg_data ..."
    rm -f -- "$home"/state/*
    as_pg "$pg_bin/initdb" -D "$pg_data" --username=postgres --auth-local=peer --auth-host=reject \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions >"$log" 2>&1 || {
        as_pg rm -rf -- "$pg_data"
        die_log "$log" "initdb failed"
    }
    me=$(id -un)
    as_pg mkdir -m 700 -p -- "$pg_socket"
    as_pg tee -a "$pg_data/postgresql.conf" >/dev/null <<END

# Hirundo quickstart
listen_addresses = ''
port = $pg_port
unix_socket_directories = '$pg_socket'
unix_socket_permissions = 0700
jit = off
END
    as_pg tee "$pg_data/pg_hba.conf" >/dev/null <<END
# The operating system says who is at the socket; pg_ident.conf says who that may be.
local all all peer map=hirundo
END
    as_pg tee "$pg_data/pg_ident.conf" >/dev/null <<END
hirundo "$me" postgres
hirundo "$me" hirundo_operator
hirundo "$me" hirundo_service
END
}

pg_running() {
    pg_find
    [[ -n $pg_bin && -d $home/pg ]] && as_pg "$pg_bin/pg_ctl" -D "$pg_data" status >/dev/null 2>&1
}

pg_up() {
    pg_find
    pg_init
    pg_running && return
    as_pg "$pg_bin/pg_ctl" -D "$pg_data" -l "$pg_data/server.log" -w -t 60 start >/dev/null 2>&1 9>&- ||
        die_log "$pg_data/server.log" "PostgreSQL does not start"
}

pg_down() {
    pg_running || return 0
    as_pg "$pg_bin/pg_ctl" -D "$pg_data" -m fast -w -t 60 stop >/dev/null ||
        die_log "$pg_data/server.log" "PostgreSQL does not stop"
}

# Removes the cluster, and the directory of a link that pg_place made.
pg_remove() {
    local dir=$home/pg
    if [[ -L $dir ]]; then
        dir=$(readlink -- "$dir")
        [[ $dir != /var/tmp/hirundo.* ]] || rm -rf -- "$dir"
        rm -f -- "$home/pg"
    else
        rm -rf -- "$dir"
    fi
}

# sql DATABASE USER ARGUMENT...: psql, stopping at errors.
sql() {
    local database=$1 user=$2
    shift 2
    psql -X -q -v ON_ERROR_STOP=1 -h "$pg_socket" -p "$pg_port" -d "$database" -U "$user" "$@"
}
