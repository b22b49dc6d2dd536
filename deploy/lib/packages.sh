# shellcheck shell=bash
# Debian packages: which are missing, what they cost, installing them. Sourced after say.sh.

# packages_missing FILE...: names in the lists that are not installed. A line NAME?COMMAND asks for the package only
# where that command is not there from elsewhere.
packages_missing() {
    local name command
    sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' -- "$@" | sort -u | while IFS='?' read -r name command; do
        [[ -z $command ]] || ! command -v "$command" >/dev/null || continue
        # shellcheck disable=SC2016 # dpkg's own format
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) != installed ]]; then
            printf '%s\n' "$name"
        fi
    done
}

# packages_cost NAME...: prints "N packages, X MB to download, Y MB of disk space". Changes nothing.
packages_cost() {
    LC_ALL=C apt-get -s install --no-install-recommends "$@" </dev/null 2>/dev/null |
        sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' |
        LC_ALL=C xargs -r apt-cache show 2>/dev/null |
        awk '/^Package:/ { n++ } /^Size:/ { get += $2 } /^Installed-Size:/ { use += $2 }
            END { printf "%d packages, %d MB to download, %d MB of disk space", n,
                  get / 1e6 + 0.5, use / 1e3 + 0.5 }'
}

# packages_need LOG FILE...: installs what the lists name and is missing; says first what that costs.
packages_need() {
    local log=$1 missing
    shift
    command -v apt-get >/dev/null || die "there is no apt-get here: Hirundo's set-up knows Debian 12 only. It needs the packages named in: $*"
    mapfile -t missing < <(packages_missing "$@")
    ((${#missing[@]})) || return 0
    say "Packages missing: ${missing[*]}"
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >"$log" 2>&1 ||
        die_log "$log" "apt-get update failed: is this machine connected?"
    say "Installing from Debian: $(packages_cost "${missing[@]}")"
    as_root /bin/sh "$(dirname "${BASH_SOURCE[0]}")/apt-install.sh" "${missing[@]}" >>"$log" 2>&1 ||
        die_log "$log" "apt-get install failed; the whole log is $log"
}
