# Sourced by the program tests: runs real programs on libc and on loam and compares what they print, byte for byte.
# shellcheck shell=bash
set -euo pipefail
library=${LOAM_LIBRARY:-$LOAM_BUILD/libloam-malloc.so}
work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
export LC_ALL=C PYTHONHASHSEED=0 PERL_HASH_SEED=0

# Skips (77) when a program is missing and that is allowed, else fails.
need() {
    local program
    for program in "$@"; do
        if ! command -v "$program" >/dev/null; then
            echo "missing: $program"
            [ -n "${LOAM_ALLOW_MISSING-}" ] && exit 77
            exit 1
        fi
    done
}

# same NAME COMMAND...: the command's output, and its status, on both.
same() {
    local name=$1 status=0
    shift
    "$@" >"$name.libc" 2>"$name.libc.err" || status=$?
    echo "status $status" >>"$name.libc"
    status=0
    LD_PRELOAD=$library "$@" >"$name.loam" 2>"$name.loam.err" || status=$?
    echo "status $status" >>"$name.loam"
    if ! cmp "$name.libc" "$name.loam"; then
        echo "$name differs on loam:"
        tail -n 5 "$name.loam.err"
        exit 1
    fi
    if grep -q '^loam:' "$name.loam.err"; then
        echo "$name: loam spoke:"
        cat "$name.loam.err"
        exit 1
    fi
    echo "$name: $(wc -c <"$name.libc") bytes alike"
}
