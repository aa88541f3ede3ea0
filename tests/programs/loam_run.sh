#!/usr/bin/env bash
# `loam run`: figures, statuses, refusals; and `loam config`.
set -euo pipefail
loam=$LOAM_BUILD/loam
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # text, what was said
    case $2 in *"$1"*) ;; *) echo "expected \"$1\" in: $2"; exit 1 ;; esac
}
status() { # wanted, command...
    local wanted=$1 got=0
    shift
    said=$("$@" 2>&1) || got=$?
    [ "$got" = "$wanted" ] || { echo "status $got, not $wanted: $*: $said"; exit 1; }
}

cat >"$work/program.c" <<'END'
#include <signal.h>
#include <stdlib.h>
#include <string.h>
static void *keep;
int main(int argc, char **argv)
{
    for (int i = 0; i < 1000; i++)
        free(malloc(1 << 20));
    keep = malloc(100);
    if (argc > 1 && strcmp(argv[1], "die") == 0)
        raise(SIGTERM);
    if (argc > 1 && strcmp(argv[1], "twice") == 0) {
        void *volatile p = malloc(10);
        free(p);
        free(p);
    }
    return 7;
}
END
gcc -w -o "$work/program" "$work/program.c"
gcc -w -static -o "$work/static" "$work/program.c"

status 7 "$loam" run "$work/program"
[ "$(wc -l <<<"$said")" = 6 ]
expect "in 1001 allocations and 1000 frees" "$said"
expect "misuse     none seen" "$said"
status 7 "$loam" run --report "$work/report" -- "$work/program"
[ -z "$said" ]
expect "loam: rounding" "$(cat "$work/report")"
expect "loam: threads    1 had heaps of their own" "$(cat "$work/report")"
grep -qE "^loam: thread     [0-9]+: held [0-9.]+ [KM]iB, cached [0-9.]+ [KM]?i?B, stolen 0 B, given 0 B$" "$work/report"
cat >"$work/threads.c" <<'END'
#include <pthread.h>
#include <stdlib.h>
static void *keep[4][1000];
static void *hold(void *number)
{
    for (int i = 0; i < 1000; i++)
        keep[(size_t)number][i] = malloc(1000);
    return NULL;
}
int main(void)
{
    pthread_t thread[4];

    for (size_t i = 0; i < 4; i++) {
        pthread_create(&thread[i], NULL, hold, (void *)i);
        pthread_join(thread[i], NULL);
    }
    return 0;
}
END
gcc -w -o "$work/threads" "$work/threads.c" -pthread
status 0 "$loam" run --report "$work/report" "$work/threads"
expect "loam: threads    5 had heaps of their own" "$(cat "$work/report")"
[ "$(grep -c 'held 1[.0-9]* MiB, .*, when it ended$' "$work/report")" = 4 ]
grep -qE "stolen [1-9][0-9.]* KiB" "$work/report" # what the first left partly used, the second took over
status 0 "$loam" run -c cache:cpu --report "$work/report" "$work/threads"
expect "loam: threads    0 had heaps of their own" "$(cat "$work/report")"
status 7 "$loam" run --fast -c purge_ms:0 "$work/program"
expect "not counted" "$said"
status 7 "$loam" run --fast -p lean -c large:512k "$work/program"
status 2 "$loam" run -p laen "$work/program"
expect 'did you mean "lean"' "$said"
status 2 "$loam" run -c purge_sm:5 "$work/program"
[ "$said" = 'loam: -c: unknown option "purge_sm"; did you mean "purge_ms"?' ]
status 2 "$loam" run -c large:1 "$work/program"
expect 'bad value "1"' "$said"
status 143 "$loam" run "$work/program" die
expect "1001 allocations" "$said" # counted in place, so not lost
status 134 "$loam" run "$work/program" twice
expect "misuse     loam: double free" "$said"
status 0 "$loam" run sh -c 'exit 0'
status 126 "$loam" run "$work/static"
expect "statically linked" "$said"
chmod u+s "$work/program"
status 126 "$loam" run "$work/program"
expect "set-user-ID" "$said"
status 127 "$loam" run no-such-program
expect "not found" "$said"
status 2 "$loam" run
status 2 "$loam" run --reprot x
expect 'did you mean "--report"' "$said"
status 2 "$loam" rnu
expect 'did you mean "run"' "$said"
status 0 "$loam" --help
status 0 "$loam" run --help
status 0 "$loam" config --help
status 0 env LOAM_CONF=purge_ms:5 "$loam" config -c large:1M
expect "purge_ms       5            200          LOAM_CONF" "$said"
expect "large          1M           32M          -c" "$said"
status 0 "$loam" config -c policy:steady,carve:8k
expect "reserve        64M          0            policy" "$said"
expect "carve          8k           4k           -c" "$said"
status 2 "$loam" config -c lagre:1M
expect 'did you mean "large"' "$said"
grep -q 'purge_ms' "$LOAM_BUILD/loam.1"
grep -q 'policy:steady' "$LOAM_BUILD/loam.1"
[ -z "$(man --warnings -l "$LOAM_BUILD/loam.1" 2>&1 >/dev/null || true)" ]
[ -z "$(ls "${TMPDIR:-/tmp}" | grep loam-report || true)" ] || { echo "a file of figures was left"; exit 1; }
echo "run and config"
