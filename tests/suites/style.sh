#!/bin/bash
# Formatting, clang-tidy, shellcheck, pyflakes, and which part may include which
# shellcheck source=tests/lib/suite.sh
. "$(dirname "$0")/../lib/suite.sh"

mapfile -t c_files < <(sources '*.c' '*.h')
mapfile -t shipped < <(sources 'common/*.c' 'sensor/*.c' 'collector/*.c')
mapfile -t test_units < <(sources 'tests/*.c')
mapfile -t python_files < <(sources '*.py')
mapfile -t scripts < <(sources '*' | while read -r file; do
    # By name, or by the first line.
    if [[ $file == *.sh ]] || head -c 64 "$file" | LC_ALL=C grep -aqE '^#!.*[/ ](ba)?sh'; then
        printf '%s\n' "$file"
    fi
done)

# in_index FILE...: each is linked in the README beside it.
in_index() {
    local file
    for file; do
        grep -qF "(${file##*/})" "$(dirname "$file")/README.md" || { printf '%s is not in the index\n' "$file" && return 1; }
    done
}

# none_match PATTERN FILE...: no line of the files matches.
none_match() {
    local pattern=$1
    shift
    ! grep -nE -- "$pattern" "$@" /dev/null
}

mapfile -t sensor_files < <(sources 'sensor/*.[ch]')
mapfile -t collector_files < <(sources 'collector/*.[ch]')
mapfile -t common_files < <(sources 'common/*.[ch]')
mapfile -t not_wire < <(sources '*.[ch]' | grep -v '^common/wire')
mapfile -t decisions < <(sources 'docs/decisions/0*.md')
mapfile -t modules < <(sources 'common/*' 'sensor/*' 'collector/*')
mapfile -t ours < <(sources '*' | grep -vE '^tests/suites/style\.sh$|\.(pcap|pcapng|gz|png|bin)$')

check 'a release build has no warnings' build_with shipped gcc --buildtype=release -Dtests=false
build test
check 'clang-format' clang-format-14 --dry-run -Werror "${c_files[@]}"
check 'clang-tidy' "$PYTHON" tests/lib/tidy.py "$HIRUNDO_BUILD" "${shipped[@]}"
check 'clang-tidy of tests' "$PYTHON" tests/lib/tidy.py --no-analyzer "$HIRUNDO_BUILD" "${test_units[@]}" # with it: suite analysis
check 'shellcheck' shellcheck -x "${scripts[@]}"
check 'pyflakes' "$PYTHON" -m pyflakes "${python_files[@]}"
check 'the sensor does not include the collector' \
    none_match '#include "(\.\./)?collector/' "${sensor_files[@]}"
check 'the collector does not include the sensor' \
    none_match '#include "(\.\./)?sensor/' "${collector_files[@]}"
check 'common includes neither' \
    none_match '#include "(\.\./)?(sensor|collector)/' "${common_files[@]}"
check 'only common/wire includes generated protobuf code' \
    none_match '#include .*\.pb-c\.h' "${not_wire[@]}"
check 'each file is in the module map' "$PYTHON" tests/lib/module_map.py "${modules[@]}"
check 'each decision is in the index' in_index "${decisions[@]}"
check 'no .c file is included' none_match '#include ".*\.c"' "${c_files[@]}"
check 'no left-over marks' \
    none_match '\b(TODO|FIXME|XXX|HACK)\b|^(<<<<<<<|>>>>>>>) ' "${ours[@]}"
