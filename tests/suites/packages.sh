#!/bin/bash
# Debian packages and deploy/install-sensor on machines with systemd (booted containers), from installation to purge; alerts by promtool
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"
# shellcheck source=deploy/lib/say.sh
. "$TOP/deploy/lib/say.sh"
# shellcheck source=deploy/lib/packages.sh
. "$TOP/deploy/lib/packages.sh"

packages_need "$RESULTS/packages.log" "$TOP/tests/packages/packages"
build test

# Debian's promtool, unpacked and not installed: its package would start a server here.
unpack_promtool() {
    mkdir "$RESULTS/prometheus" && cd "$RESULTS/prometheus" && apt-get -q download prometheus && dpkg-deb -x prometheus_*.deb .
}
check 'promtool is unpacked' unpack_promtool
PATH=$RESULTS/prometheus/usr/bin:$PATH pytests alerts tests/integration/test_metrics.py -k promtool
rm -rf "$RESULTS/prometheus"

check 'packages build, lintian is content' deploy/debian/build --out "$RESULTS/one"
check 'those of a later version too' deploy/debian/build --version 99.0 --out "$RESULTS/two"
check 'the static sensor builds' deploy/static/build
export HIRUNDO_PACKAGES=$RESULTS/one HIRUNDO_PACKAGES_LATER=$RESULTS/two
pytests packages tests/packages
