# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# The collector and its database. Sourced after postgres.sh.

collector_endpoint() {
    printf 'tcp://127.0.0.1:%s' "$(cat -- "$home/state/port")"
}

collector_key() {
    sed -nE 's/^public *= *//p' "$home/keys/collector.key"
}

# hirundo_collector COMMAND...: a command of the collector, with the quickstart's configuration.
hirundo_collector() {
    local log=$home/log/set-up.log
    "$bin/hirundo-collector" "$@" -c "$home/conf/collector.conf" >>"$log" 2>&1 ||
        die_log "$log" "hirundo-collector $* failed"
}

# Roles, database, schema, settings. A database whose scenario was interrupted is made anew.
database_up() {
    local log=$home/log/set-up.log
    : >"$log"
    if ! scenario_done; then
        collector_stop
        rm -rf -- "${home:?}"/{keys,spool,conf,scenario}/* "$home"/state/*
        {
            sql postgres postgres -c 'drop database if exists hirundo with (force)' &&
                sql postgres postgres -c 'create database hirundo'
        } >>"$log" 2>&1 || die_log "$log" "cannot make the database"
    fi
    PGHOST=$pg_socket PGPORT=$pg_port PGDATABASE=hirundo PGUSER=postgres \
        "$bin/hirundo-collector" migrate >>"$log" 2>&1 ||
        die_log "$log" "hirundo-collector migrate failed; $self clean, then $self, makes all anew"
    sql hirundo postgres >>"$log" 2>&1 <<'END' || die_log "$log" "cannot set the database up"
-- Two logins: the collector's, and one for the person at the keyboard, who may do all that an
-- operator may.
select format('create role %I login', r)
from unnest(array['hirundo_service', 'hirundo_operator']) r
where not exists (select from pg_roles where rolname = r)
\gexec
alter role hirundo_service noinherit;
grant hirundo_collector, hirundo_owner to hirundo_service;
grant hirundo_owner, hirundo_analyst to hirundo_operator;
update hirundo.setting set value = 'Asia/Tokyo' where name = 'time_zone';
update hirundo.setting set value = 'JP' where name = 'home_country';
update hirundo.setting set value = 'off' where name = 'retention_flow';
update hirundo.setting set value = 'Example CSIRT' where name = 'reporter_name';
update hirundo.setting set value = 'csirt@example.org' where name = 'reporter_contact';
END
}

free_port() {
    "$python" -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

collector_configure() {
    [[ -s $home/state/port ]] || free_port >"$home/state/port" || die "no free port"
    cat >"$home/conf/collector.conf" <<END
[collector]
endpoint = $(collector_endpoint)
key = $home/keys/collector.key

[enrolment]
operator_key = $home/keys/operator.key

[sharing]
pseudonym_key = $home/keys/pseudonym.key

[metrics]
listen = off

[database]
connection = host='$pg_socket' port=$pg_port dbname=hirundo user=hirundo_service
END
    [[ -e $home/keys/collector.key ]] ||
        "$bin/hirundo-collector" keygen "$home/keys/collector.key" >>"$home/log/set-up.log" 2>&1 ||
        die_log "$home/log/set-up.log" "cannot make the collector's key"
}

collector_pid() {
    local pid
    pid=$(cat -- "$home/run/collector.pid" 2>/dev/null) || return
    # Ours, not a later process with the same number.
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF "$home/conf/collector.conf" || return
    printf '%s' "$pid"
}

collector_running() {
    collector_pid >/dev/null
}

port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$(cat -- "$home/state/port")") 2>/dev/null
}

collector_up() {
    local log=$home/log/collector.log i
    exec 8>>"$home/run/collector.lock"
    flock 8
    if collector_running; then
        exec 8>&-
        return
    fi
    if [[ -s $home/state/port ]] && port_taken; then
        say "Port $(cat "$home/state/port") was taken by another program: the collector moves to a free one."
        free_port >"$home/state/port"
        [[ ! -e $home/env ]] || env_write
    fi
    collector_configure
    setsid "$bin/hirundo-collector" serve -c "$home/conf/collector.conf" </dev/null >>"$log" 2>&1 8>&- 9>&- &
    printf '%s\n' $! >"$home/run/collector.pid"
    for ((i = 0; i < 300; i++)); do
        kill -0 $! 2>/dev/null || die_log "$log" "the collector does not start"
        if port_taken; then
            exec 8>&-
            return
        fi
        sleep 0.1
    done
    die_log "$log" "the collector does not listen after 30 s"
}

collector_stop() {
    local pid i
    pid=$(collector_pid) || return 0
    kill -TERM "$pid"
    for ((i = 0; i < 150; i++)); do
        collector_running || break
        ((i != 100)) || kill -KILL "$pid" 2>/dev/null
        sleep 0.1
    done
    rm -f -- "$home/run/collector.pid"
}
