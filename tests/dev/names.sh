#!/usr/bin/env bash
# dev/check-names finds what it is for, and the tree is free of it.
set -euo pipefail
cd "$LOAM_SOURCE"
dev/check-names
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src/page"
refused() {
    if dev/check-names --root "$work" >"$work/out"; then
        echo "not found: $1"
        exit 1
    fi
    grep -q "$1" "$work/out"
    rm -rf "${work:?}/src/page/"*
}
printf '/* TO%s: later */\n' DO >"$work/src/page/a.c"
refused "unfinished"
printf '/* see /ho%s/somebody/notes */\n' me >"$work/src/page/a.c"
refused "somebody"
printf 'static int twice(void)\n{\n}\n' | tee "$work/src/page/a.c" >"$work/src/page/b.c"
refused "static twice"
dev/check-names --root "$work"
