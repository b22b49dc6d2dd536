# shellcheck shell=bash disable=SC2154 # variables: see deploy/static/build
# Brings the pinned files into the cache. Sourced.
#
# A line of deploy/static/pins: WHAT ARCH VERSION SHA256 PATH. ARCH is "source", an architecture, or
# "tool" (then SHA256 and PATH are "-"). PATH is the file's in any Debian mirror.

# pins ARCH...: the lines of these kinds.
pins() {
    local arch
    for arch in "$@"; do
        awk -v arch="$arch" '$1 !~ /^#/ && $2 == arch' "$here/pins"
    done
}

pins_date() {
    awk '$1 == "date" { print $2 }' "$here/pins"
}

# The file of a path, by the name it has in a .dsc.
pin_file() {
    local name=${1##*/}
    printf '%b' "${name//%/\\x}"
}

# Where this machine gets Debian from, as apt knows it.
mirrors() {
    apt-get --print-uris update | sed -nE "s|^'(.*)/dists/[^']*/InRelease' .*|\1|p" | sort -u
}

fetch_one() {
    local what=$1 version=$2 sha256=$3 path=$4 mirror file
    file=$here/out/cache/$(pin_file "$path")
    if [[ -f $file ]] && sha256sum --quiet -c <<<"$sha256  $file"; then
        return
    fi
    rm -f -- "$file"
    for mirror in $mirrors; do
        # It checks the sum itself, and leaves nothing under this name that fails it.
        if /usr/lib/apt/apt-helper download-file "$mirror/$path" "$file" "SHA256:$sha256"; then
            return
        fi
        rm -f -- "$file" "$file.FAILED"
    done
    cat <<END
$what $version ($path) with the pinned SHA-256 is on none of this machine's mirrors:
$mirrors
Debian has probably replaced it by a newer version: run deploy/static/renew-pins, or use a mirror that
keeps old versions.
END
    return 1
}

fetch() {
    local what version sha256 path mirrors
    mirrors=$(mirrors)
    pins source "$arch" >"$work/pinned"
    while read -r what _ version sha256 path; do
        fetch_one "$what" "$version" "$sha256" "$path"
    done <"$work/pinned"
}

# Another compiler may make another program: said, not refused.
tools_compare() {
    local name version here_version
    [[ $(dpkg --print-architecture) == amd64 ]] || return 0 # pinned for builds on amd64
    while read -r name _ version _; do
        [[ $name == *-aarch64-linux-gnu && $arch == amd64 ]] && continue
        [[ $name != *-aarch64-linux-gnu && $arch == arm64 ]] && continue
        # shellcheck disable=SC2016 # dpkg's own format
        here_version=$(dpkg-query -W -f '${Version}' "$name" 2>/dev/null) || here_version="not installed"
        [[ $here_version == "$version" ]] ||
            warn "$name is $here_version here, $version in deploy/static/pins: the program may differ from what others build"
    done < <(pins tool)
}
