# shellcheck shell=bash
# Words for people, and root rights where they are needed. Sourced.

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
    warn "$*"
    exit 1
}

# die_log FILE WORDS...: the end of a log file, then the words.
die_log() {
    local file=$1
    shift
    if [[ -s $file ]]; then
        printf -- '--- the end of %s\n' "$file" >&2
        tail -n 15 -- "$file" >&2
        printf -- '---\n' >&2
    fi
    die "$*"
}

# Only the system's own tools, and none of the caller's settings for PostgreSQL: a private python or
# a PGHOST of another database must not leak into what is built and asked here. Nothing is made for
# others to write to, however lax the caller's umask.
clean_environment() {
    local name
    umask "$(printf '%04o' $((8#$(umask) | 8#022)))"
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    export LC_ALL=C.UTF-8
    unset CDPATH PYTHONPATH PYTHONHOME
    for name in ${!PG*}; do
        unset "$name"
    done
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "needs root rights and there is no sudo. Run as root: $*"
    fi
}
