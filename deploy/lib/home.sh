# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# The quickstart's directory, the programs in it, its life: start, stop, status, clean. Sourced.

# What quickstart makes in $home, and clean removes.
home_parts=(bin build conf env keys log report run scenario site spool state)

home_find() {
    home=$(realpath -m -- "${HIRUNDO_HOME:-$top/var/quickstart}")
    # These end up in configuration files and connection strings, each with quoting rules of its own.
    if [[ $home == *[$'\n\t\'"\\;,#%$']* ]]; then
        die "HIRUNDO_HOME=$home: choose a path without quotes, backslashes, commas, ; # % \$"
    fi
    self=deploy/quickstart # as people should type it
    [[ $home == "$top/var/quickstart" ]] || self="HIRUNDO_HOME=$(quoted "$home") $self"
    mark=$home/.hirundo-quickstart
    bin=$home/bin
}

home_make() {
    if [[ ! -e $mark ]]; then
        if [[ -d $home && -n $(ls -A -- "$home") ]]; then
            die "$home is not empty and not quickstart's: empty it, or set HIRUNDO_HOME to another directory"
        fi
        mkdir -p -- "$home" || die "cannot make $home"
        : >"$mark" || die "cannot write to $home"
    fi
    [[ -O $mark ]] || die "$home belongs to $(stat -c %U "$mark"): run as that user, or set HIRUNDO_HOME to another directory"
    mkdir -p "$home"/{bin,conf,keys,log,run,state,spool}
    chmod 700 "$home/keys"
}

# The process that quickstart.pid names, if that is a quickstart still.
quickstart_pid() {
    local pid
    pid=$(cat -- "$home/run/quickstart.pid" 2>/dev/null) || return
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -q '/quickstart$' || return
    printf '%s' "$pid"
}

# Ends sensors of ours whose quickstart was killed: they hold the lock too.
sensors_end() {
    local dir
    for dir in /proc/[0-9]*; do
        if tr '\0' '\n' 2>/dev/null <"$dir/cmdline" | head -n 1 | grep -qxF "$bin/hirundo-sensor"; then
            kill -TERM "${dir#/proc/}" 2>/dev/null
        fi
    done
}

home_lock() {
    [[ -e $mark ]] || die "there is no quickstart in $home yet: run $self first"
    exec 9>>"$home/run/lock"
    if ! flock -n 9; then
        if quickstart_pid >/dev/null; then
            die "a quickstart is at work in $home already; wait for it, or end it with: $self stop"
        fi
        sensors_end
        flock -w 30 9 || die "another process holds $home/run/lock"
    fi
    printf '%s\n' $$ >"$home/run/quickstart.pid"
}

# Ends a quickstart that is at work, and takes its place.
home_take() {
    local pid
    exec 9>>"$home/run/lock"
    flock -n 9 && return
    if pid=$(quickstart_pid); then
        say "Ending the quickstart that is at work (process $pid) ..."
        kill -TERM "$pid"
    else
        sensors_end
    fi
    flock -w 30 9 || die "another process holds $home/run/lock"
}

# What is about to happen, and what it takes. Measured: 256 MB with 400 packets a day, 1,224 with 4,000.
home_describe() {
    local have need=$((260 + packets_per_day * 27 / 100))
    say "Hirundo quickstart, in $home"
    have=$(df --output=avail -m -- "$home" | tail -n 1)
    if ! scenario_done; then
        say "It takes about $need MB there ($((have)) MB are free) and downloads Debian packages and, from npm, what draws the report."
        ((have > need)) || die "too little room on the disk of $home; set HIRUNDO_HOME to a directory with more"
    fi
    if [[ -z $(packages_missing "$top"/deploy/packages/{quickstart,report}) ]]; then
        say "All Debian packages it needs are installed."
    fi
}

# Builds if something changed; places programs as files of their own.
build() {
    local log=$home/log/build.log program changed=()
    say "Building ..."
    report_bundle
    # Of this clone, not of another one that used the directory before.
    if [[ ! -f $home/build/build.ninja || $(cat "$home/build/source" 2>/dev/null) != "$top, $bundle" ]]; then
        rm -rf -- "$home/build"
        meson setup --buildtype=release -Dwerror=false -Dreport_bundle="$bundle" "$home/build" "$top" >"$log" 2>&1 ||
            die_log "$log" "meson setup failed"
        printf '%s\n' "$top, $bundle" >"$home/build/source"
    fi
    ninja -C "$home/build" sensor/hirundo-sensor collector/hirundo-collector \
        tests/scenario/scenario-gen >>"$log" 2>&1 || die_log "$log" "the build failed"
    for program in sensor/hirundo-sensor collector/hirundo-collector tests/scenario/scenario-gen; do
        cmp -s "$home/build/$program" "$bin/${program##*/}" || changed+=("$program")
    done
    ((${#changed[@]})) || return 0
    collector_stop
    for program in "${changed[@]}"; do
        install -s -m 755 "$home/build/$program" "$bin/${program##*/}" ||
            die "cannot place ${program##*/} in $bin"
    done
}

# quoted TEXT: for sh, in single quotes.
quoted() {
    printf "'%s'" "${1//\'/\'\\\'\'}"
}

env_write() {
    local name new=$home/env.new
    local -A values=(
        [PGHOST]=$pg_socket [PGPORT]=$pg_port [PGDATABASE]=hirundo [PGUSER]=hirundo_operator
        [HIRUNDO_HOME]=$home [HIRUNDO_CONF]=$home/conf/collector.conf
        [HIRUNDO_ENDPOINT]=$(collector_endpoint) [HIRUNDO_SERVER_KEY]=$(collector_key)
    )
    for name in PGHOST PGPORT PGDATABASE PGUSER HIRUNDO_HOME HIRUNDO_CONF HIRUNDO_ENDPOINT \
        HIRUNDO_SERVER_KEY; do
        printf 'export %s=%s\n' "$name" "$(quoted "${values[$name]}")"
    done >"$new" || die "cannot write $new"
    mv -- "$new" "$home/env"
}

farewell() {
    cat <<END

Database and collector keep running. To ask questions of your own:
    . $(quoted "$home/env") && psql
    select * from hirundo.ttl_spread(hirundo.quarter('2023Q1'), '$(truth_prefixes)', '{22/TCP}');
    \\df+ hirundo.*          every function, with an example
To send a capture file of your own:
    $self replay FILE
To stop both, and to remove all:
    $self stop
    $self clean
END
}

# No lock: the collector may be started again while a replay waits for it.
start() {
    [[ -x $bin/hirundo-collector ]] || die "nothing was set up yet in $home: run $self"
    pg_up
    collector_up
    say "Database and collector run."
}

stop() {
    if [[ ! -e $mark ]]; then
        say "There is no quickstart in $home."
        return 0
    fi
    home_take
    collector_stop
    pg_down
    say "Database and collector are stopped; the data stay in $home. Again: $self start"
}

status() {
    [[ -e $mark ]] || die "there is no quickstart in $home yet: run $self"
    if ! pg_running; then
        say "The database is stopped. $self start starts it."
        return 1
    fi
    say "The database runs (PGHOST=$pg_socket)."
    if ! collector_running; then
        say "The collector is stopped. $self start starts it."
        return 1
    fi
    say "The collector runs at $(collector_endpoint)."
    if scenario_done; then
        say "The scenario is in the database."
    else
        say "The scenario is not complete; $self begins it anew."
    fi
    "$bin/hirundo-collector" status -c "$home/conf/collector.conf"
}

clean() {
    local part
    if [[ ! -e $mark ]]; then
        say "There is no quickstart in $home."
        return 0
    fi
    [[ -O $mark ]] || die "$home belongs to $(stat -c %U "$mark"): run as that user"
    home_take
    collector_stop
    pg_down
    pg_remove
    for part in "${home_parts[@]}"; do
        rm -rf -- "${home:?}/$part"
    done
    rm -f -- "$mark"
    rmdir --ignore-fail-on-non-empty -- "$home"
    say "Removed what quickstart made in $home."
}
