#!/usr/bin/env bash
# The recorder counts exactly what a program asked for, and a replay asks for exactly that again. test: timeout=200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
record() { # name, command...
    local name=$1
    shift
    LD_PRELOAD=$LOAM_BUILD/libbench-record.so LOAM_TRACE=$work/$name "$@" >"$name.out"
}
replay=$LOAM_BUILD/bench-replay
counts() { # file, group, of which
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]][sys.argv[3]])' "$1" "$2" "$3"
}

# A program that makes N rounds of known calls: two recordings differ by exactly the rounds between them.
cat >known.c <<'END'
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    (void)argc;
    for (int i = atoi(argv[1]); i-- > 0;) {
        void *volatile p = malloc(100), *volatile q = calloc(3, 50), *volatile r;
        if (posix_memalign((void **)&r, 64, 10) != 0)
            return 1;
        p = realloc(p, 5000);
        free(NULL);
        q = realloc(q, 0); /* frees */
        free(p);
        p = reallocarray(NULL, 4, 5); /* allocates */
        free(memalign(128, 1000));
        free(r);
        free(p);
        if (malloc((size_t)-1 / 2) || realloc(NULL, (size_t)-1 / 2)) /* fail, so they are not counted */
            return 1;
    }
    if (argv[2])
        _exit(0);
    return 0;
}
END
cc -O0 -w -o known known.c
record few ./known 10
record many ./known 1010
record left ./known 1010 leave
for name in few many left; do
    "$replay" -i "$name".*.known >"$name.json"
done
for pair in malloc:2 calloc:1 aligned:2 realloc:1 free:5; do
    call=${pair%:*} each=${pair#*:}
    difference=$(($(counts many.json recorded "$call") - $(counts few.json recorded "$call")))
    [ "$difference" = $((1000 * each)) ] || {
        echo "$call: recorded $difference of $((1000 * each))"
        exit 1
    }
    [ "$(counts many.json recorded "$call")" = "$(counts left.json recorded "$call")" ] || {
        echo "$call: _exit lost some"
        exit 1
    }
done

# Replayed are as many as were recorded, on every allocator; a replay that is recorded gives the same trace.
trace=$(echo many.*.known)
for library in "" "$LOAM_BUILD/libloam-malloc.so"; do
    LD_PRELOAD=$library "$replay" -c -r 3 "$trace" >told.json
    for call in malloc calloc aligned realloc free; do
        [ $((3 * $(counts told.json recorded "$call"))) = "$(counts told.json replayed "$call")" ]
    done
done
record again "$replay" "$trace"
cmp again.*.bench-replay "$trace"

# The same for a real program, and for several threads whose order the trace fixes.
record sed sed -n 's/\([a-z]*\) \(.*\)/\2 \1/p' known.c
record sed2 "$replay" sed.*.sed
cmp sed2.*.bench-replay sed.*.sed
record threads "$LOAM_BUILD/bench-workloads" exchange 1
for library in "" "$LOAM_BUILD/libloam-malloc.so"; do
    LD_PRELOAD=$library "$replay" -c -r 2 threads.*.bench-workload* >told.json
    for call in malloc free; do
        [ $((2 * $(counts told.json recorded "$call"))) = "$(counts told.json replayed "$call")" ]
    done
    [ "$(python3 -c 'import json; print(json.load(open("told.json"))["threads"])')" -ge 3 ]
done

# What is not a whole trace is refused, or replayed as far as it goes.
refused() {
    if "$replay" "$1" >/dev/null 2>refusal; then
        echo "replayed: $2"
        exit 1
    fi
    grep -q "$2" refusal
}
head -c 30 "$trace" >short
refused short "not a trace"
head -c 4000 "$trace" >short
refused short "cut short"
{ head -c 64 "$trace" && head -c "$(($(stat -c %s "$trace") - 64))" /dev/zero | tr '\0' '\177'; } >damaged
refused damaged damaged
LOAM_TRACE_EVENTS=500 record some ./known 1000
"$replay" -c some.*.known >told.json
total=0
for call in malloc calloc aligned realloc free; do
    total=$((total + $(counts told.json replayed "$call")))
done
[ "$total" = 500 ]
echo "recorded and replayed alike"
