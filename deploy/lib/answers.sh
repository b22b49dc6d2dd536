# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# The tables at the end. The questions are in deploy/sql. Sourced.

ask() {
    local file=$1
    shift
    sql hirundo hirundo_operator -P pager=off -P footer=off "$@" -f "$top/deploy/sql/$file" ||
        die "the database did not answer (deploy/sql/$file)"
}

answers() {
    local sent
    sent=$("$python" "$lib/truth.py" "$home/scenario/truth.json" frames |
        sed -E "s/(.*) (.*)/('\1', \2)/" | paste -sd,)
    say
    ask quarter.sql -v prefixes="$(truth_prefixes)" -v sent="$sent"
    [[ $(ask accounted.sql -A -t -v sent="$sent") == t ]] ||
        die "the accounting does not show every frame that was sent: see the last table"
}

# answers_own SENSOR: what arrived from a capture of one's own.
answers_own() {
    ask own.sql -v sensor="$1"
}
