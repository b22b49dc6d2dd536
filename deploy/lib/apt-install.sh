#!/bin/sh
# apt-install.sh PACKAGE...: installs Debian packages, as root, without asking anything.
#
# Debian's PostgreSQL makes and starts a cluster "main" when it is first installed. Hirundo has its
# own and wants no other service on this machine, so the package's own switch
# (create_main_cluster) is off while it is installed, and its file is put back as it was.
set -eu

conf=/etc/postgresql-common/createcluster.conf
saved=

restore() {
    if [ -n "$saved" ]; then
        cat "$saved" >"$conf"
        rm -f "$saved"
        saved=
    fi
}
trap restore EXIT
trap 'exit 130' HUP INT TERM

export DEBIAN_FRONTEND=noninteractive
export LC_ALL=C

install() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends \
        "$@" </dev/null
}

for package in "$@"; do
    case $package in
    postgresql-[1-9][0-9])
        install postgresql-common
        saved=$(mktemp)
        cat "$conf" >"$saved"
        printf '\ncreate_main_cluster = false\n' >>"$conf"
        ;;
    esac
done
install "$@"
