#!/usr/bin/env bash
# bench/blocks in a very short form: its programs are there, their tables come through. test: timeout=280 serial
set -euo pipefail
cd "$LOAM_SOURCE"
said=$(bench/blocks --only heap --rounds 1 --peers none)
rows=$(grep -c '^| [30]*, [12] |.*[0-9]' <<<"$said")
[ "$rows" -eq 6 ] || {
    echo "$rows rows instead of 6: $said"
    exit 1
}
if bench/blocks --only nothing >/dev/null 2>&1; then
    echo "a block that is none was taken"
    exit 1
fi
