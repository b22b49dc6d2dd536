#!/bin/bash
# seeds.sh WIRE_SEEDS DIRECTORY: all seeds, made anew.
set -euo pipefail
rm -rf "$2"
mkdir -p "$2/wire" "$2/columns" "$2/message"
/usr/bin/python3 -B "$(dirname "$0")/make_seeds.py" "$2"
"$1" "$2"
