#!/usr/bin/env bash
# dev/check-layers finds what it is for, and the tree is free of it.
set -euo pipefail
cd "$LOAM_SOURCE"
dev/check-layers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src/page" "$work/src/heap" "$work/src/block"
refused() {
    if dev/check-layers --root "$work" >"$work/out"; then
        echo "not found: $1"
        exit 1
    fi
    grep -q "$1" "$work/out"
}
echo '#include "heap/heap.h"' >"$work/src/page/a.c"
refused "looks up"
echo '#include "page/arena.h"' >"$work/src/heap/b.c"
rm "$work/src/page/a.c"
refused "go through page/page.h"
echo '#include "block/pool.h"' >"$work/src/block/region.c"
rm "$work/src/heap/b.c"
refused "never include each other"
echo '#include "page/page.h"' >"$work/src/block/region.c"
dev/check-layers --root "$work"
