# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# The report at the end: its page is bundled before the build, written after the answers. Sourced.

# Sets bundle; without npm's registry the rest goes on, and report_write says what is missing.
report_bundle() {
    local log=$home/log/report.log
    bundle=$home/report/out/report.js
    mkdir -p "$home/report"
    "$top/collector/report/build" "$home/report" >"$log" 2>&1 ||
        warn "the report's page could not be bundled (see $log): all goes on without it"
}

# Rolled up first: figures are faster then, and who the sources are is known. The collector rolls up, too; whoever does it,
# this waits for the scenario's months.
rolled_up() {
    local log=$1
    for _ in {1..300}; do
        "$bin/hirundo-collector" maintain -c "$home/conf/collector.conf" >>"$log" 2>&1 ||
            die_log "$log" "the rollups could not be made"
        [[ $(sql hirundo hirundo_operator -A -t -c "select not exists (select from hirundo.dirty where hour < '2023-04-01')
            and not exists (select from hirundo.dirty_day where day < '2023-04-01')
            and not exists (select from hirundo.dirty_month where month < '2023-04-01')") == f ]] || return
        sleep 1
    done
}

report_write() {
    local log=$home/log/report.log
    if [[ ! -f $bundle ]]; then
        say "No report: its page could not be bundled, see $log."
        return 0
    fi
    rolled_up "$log"
    # What an earlier version wrote there is no part of this one.
    rm -rf -- "${home:?}/site"
    PGHOST=$pg_socket PGPORT=$pg_port PGDATABASE=hirundo PGUSER=hirundo_operator \
        "$bin/hirundo-collector" report 2023Q1 --audience internal --lang "$report_lang" --out "$home/site" --quiet >>"$log" 2>&1 ||
        die_log "$log" "the report could not be written"
    say "The report of 2023 Q1, for internal use (Japanese and English):"
    say "    $home/site/index.html"
}
