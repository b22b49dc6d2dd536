# shellcheck shell=bash disable=SC2154 # variables: see deploy/quickstart
# The scenario, and sensors that replay capture files, several at a time, with one progress bar. Sourced.

batches_acked=0 batches_total=0 frames_read=0 frames_total=0

scenario_name() {
    printf 'seed %s, %s packets a day' "$seed" "$packets_per_day"
    [[ -z $plant_surges ]] || printf ', surges %s' "$plant_surges"
}

scenario_done() {
    [[ -s $home/state/scenario ]]
}

# A database holds one scenario.
scenario_check() {
    if scenario_done && [[ $(cat "$home/state/scenario") != "$(scenario_name)" ]]; then
        die "the database holds the scenario of $(cat "$home/state/scenario"). $self clean removes it, then run this again; or set HIRUNDO_HOME to another directory"
    fi
}

truth_prefixes() {
    "$python" "$lib/truth.py" "$home/scenario/truth.json" prefixes
}

# sensor_add NAME COUNTRY [OPTION...]: key, enrolment and configuration of a sensor.
sensor_add() {
    local name=$1 country=$2 key log=$home/log/set-up.log
    shift 2
    key=$("$bin/hirundo-sensor" keygen --out "$home/keys/$name.key" 2>>"$log") ||
        die_log "$log" "hirundo-sensor keygen failed"
    hirundo_collector sensor add "$name" --country "$country" --key="$key" "$@"
    cat >"$home/conf/$name.conf" <<END
[sensor]
key = $home/keys/$name.key

[collector]
endpoint = $(collector_endpoint)
server_key = $(collector_key)

[spool]
path = $home/spool/$name.db
END
}

progress_draw() {
    local part percent width=24 bar line columns
    ((frames_total)) || return 0
    # Reading is quick; what counts is what the database has.
    percent=$((100 * frames_read / frames_total))
    if ((batches_total)); then
        percent=$((percent * batches_acked / batches_total))
    fi
    if [[ -t 1 ]]; then
        part=$((width * percent / 100))
        printf -v bar '%*s' "$part" ''
        printf -v line '  [%s%*s] %3d%%  %d of %d frames, %d of %d batches' "${bar// /#}" \
            $((width - part)) '' "$percent" "$frames_read" "$frames_total" "$batches_acked" \
            "$batches_total"
        # Cut to the terminal, as it is now: a line that wraps cannot be drawn over.
        columns=$(stty size 2>/dev/null </dev/tty)
        columns=${columns#* }
        ((columns > 1)) || columns=80
        printf '\r%s\e[K' "${line:0:columns-1}"
    elif ((percent / 10 > progress_shown)); then
        progress_shown=$((percent / 10))
        printf '  %3d%%  %d of %d frames read, %d of %d batches in the database\n' "$percent" \
            "$frames_read" "$frames_total" "$batches_acked" "$batches_total"
    fi
}

# replay_all < LINES: starts a replay for each line "SENSOR FILE...", $jobs at a time. Prints their progress
# lines with the sensor in front, and "SENSOR exit STATUS"; what else they say goes to their logs.
replay_all() {
    local -A names=()
    local name pid status running=0 files
    trap 'kill ${!names[@]} 2>/dev/null; wait; exit 143' HUP INT TERM
    while read -r name files; do
        if ((running == jobs)); then
            wait -n -p pid
            status=$?
            printf '%s exit %d\n' "${names[$pid]}" "$status"
            running=$((running - 1))
        fi
        # shellcheck disable=SC2086 # a list of files without white space
        (cd "$home/scenario" && exec "$bin/hirundo-sensor" replay --progress --timeout 300 \
            -c "$home/conf/$name.conf" $files) </dev/null 2> >(sed -un \
            -e "s/^progress /$name progress /p" -e t -e "w $home/log/replay-$name.log") &
        names[$!]=$name
        running=$((running + 1))
    done
    while ((running)); do
        wait -n -p pid
        status=$?
        printf '%s exit %d\n' "${names[$pid]}" "$status"
        running=$((running - 1))
    done
}

# replay_watch: says once why nothing moves.
replay_watch() {
    if ((frames_read + batches_acked != moved)); then
        moved=$((frames_read + batches_acked)) moved_at=$SECONDS
        return
    fi
    if ((SECONDS - moved_at < 10)); then
        return
    fi
    moved_at=$((SECONDS + 3600))
    [[ ! -t 1 ]] || echo
    if collector_running; then
        warn "nothing moved for 10 s. The collector's last word: $(tail -n 1 "$home/log/collector.log")"
    else
        warn "the collector is gone; the sensors keep their batches and wait for five minutes. Start it again with: $self start (log: $home/log/collector.log)"
    fi
}

# replay_interrupted STATUS: ends the sensors of replay(), and this program.
replay_interrupted() {
    kill "$runner" 2>/dev/null
    wait "$runner"
    [[ ! -t 1 ]] || echo
    warn "interrupted; database and collector run on, $self stop ends them"
    exit "$1"
}

# replay FRAMES < LINES: replays and shows how far it is; 1 if a sensor failed, which it names.
replay() {
    local -A read=() acked=() total=()
    local name word line link a b c drawn=0 now failed=() jobs lines fd runner
    local moved=-1 moved_at=$SECONDS
    frames_total=$1 frames_read=0 batches_acked=0 batches_total=0 progress_shown=-1
    jobs=$(nproc)
    jobs=$((jobs < 2 ? 2 : jobs > 4 ? 4 : jobs))
    exec {lines}<&0
    exec {fd}< <(replay_all <&"$lines")
    runner=$!
    trap 'replay_interrupted 130' INT
    trap 'replay_interrupted 143' HUP TERM
    while true; do
        name=
        if read -r -t 2 -u "$fd" name word a b c; then
            case $word in
            progress)
                frames_read=$((frames_read + a - ${read[$name]:-0}))
                batches_acked=$((batches_acked + b - ${acked[$name]:-0}))
                batches_total=$((batches_total + c - ${total[$name]:-0}))
                read[$name]=$a acked[$name]=$b total[$name]=$c
                ;;
            exit)
                ((a == 0)) || failed+=("$name")
                ;;
            esac
        elif (($? <= 128)); then
            break
        fi
        now=${EPOCHREALTIME/[.,]/}
        if ((now - drawn > 200000)); then
            drawn=$now
            progress_draw
            replay_watch
        fi
    done
    wait "$runner"
    exec {fd}<&- {lines}<&-
    trap - HUP INT TERM
    progress_draw
    [[ ! -t 1 ]] || echo
    for name in "${failed[@]}"; do
        # What failed, rather than what was said last.
        line=$(grep '^hirundo-sensor: ' "$home/log/replay-$name.log" | tail -n 1)
        if [[ $line =~ \.\./run/own/([0-9]+) ]]; then # the newcomer's name of it
            link=$(readlink -- "$home/run/own/${BASH_REMATCH[1]}")
            line=${line/"${BASH_REMATCH[0]}"/"$link"}
        fi
        warn "sensor $name: ${line:-$(tail -n 1 "$home/log/replay-$name.log")}"
    done
    ((${#failed[@]} == 0))
}

scenario_run() {
    local log=$home/log/set-up.log dir=$home/scenario frames code country label_en label_ja files
    if scenario_done; then
        say "The scenario ($(scenario_name)) is in the database already."
        return
    fi
    say "Generating what 13 sensors would have captured in January to March 2023 ..."
    "$bin/scenario-gen" --out "$dir" --seed "$seed" --packets-per-day "$packets_per_day" \
        ${plant_surges:+--plant-surges "$plant_surges"} >>"$log" 2>&1 || die_log "$log" "scenario-gen failed"
    hirundo_collector import prefixes "$dir/prefixes.tsv"
    hirundo_collector import organisations "$dir/organisations.csv"
    hirundo_collector import holidays "$top/deploy/data/holidays-jp.csv"
    grep -v '^#' "$dir/sensors.tsv" >"$home/run/sensors.tsv"
    while IFS=$'\t' read -r code country label_en label_ja files; do
        sensor_add "$code" "$country" --label-en "$label_en" --label-ja "$label_ja"
    done <"$home/run/sensors.tsv"
    say "Replaying it: sensor -> spool -> CURVE -> collector -> PostgreSQL ..."
    frames=$("$python" "$lib/truth.py" "$dir/truth.json" frames | awk '{ n += $2 } END { print n }')
    replay "$frames" < <(cut -f 1,5 "$home/run/sensors.tsv" | tr '\t,' '  ') ||
        die "the scenario did not get through; the sensors' logs are $home/log/replay-*.log. Run $self again: it begins anew"
    scenario_name >"$home/state/scenario"
}

# replay_own FILE...: the newcomer's own captures through a sensor of their own.
replay_own() {
    local log=$home/log/set-up.log n name file frames=0 status=0 links=()
    scenario_done || die "run $self first: it makes the database and the collector"
    pg_up
    collector_up
    : >"$log"
    for ((n = 1; ; n++)); do
        name=own-$n
        [[ -e $home/conf/$name.conf ]] || break
    done
    sensor_add "$name" "$own_country" --label-en "Own captures $n"
    rm -rf -- "$home/run/own"
    mkdir -p "$home/run/own"
    n=0
    for file in "$@"; do
        # By a name without white space.
        ln -s -- "$file" "$home/run/own/$((++n))"
        links+=("../run/own/$n")
    done
    frames=$("$bin/hirundo-sensor" flows --summary "$@" 2>/dev/null |
        sed -nE 's/.*"frames": ?([0-9]+).*/\1/p')
    say "Replaying through the new sensor $name ..."
    replay "${frames:-0}" <<<"$name ${links[*]}" || status=1
    answers_own "$name"
    return "$status"
}
