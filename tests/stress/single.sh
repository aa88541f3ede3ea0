#!/usr/bin/env bash
# test: timeout=600
# A process with one thread executes no atomic instruction of loam's: the ones that callgrind saw executed are looked up
# in the disassembly. By itself, and promised by option; and as a control a process with two threads, which must.
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || { echo "only for x86-64"; exit 77; }
command -v valgrind >/dev/null || { echo "valgrind is missing"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program.c" <<'END'
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static void *work(void *arg)
{
    static void *p[500];
    unsigned r = 1;
    for (int i = 0; i < 12000; i++) {
        void **q = &p[(r = r * 1103515245 + 12345) >> 8 & 255];
        size_t size = r % 97 == 0 ? r % 3000000 : r % 7 == 0 ? r % 70000 : r % 900;
        if (r % 5 == 0) {
            *q = realloc(*q, size + 1);
        } else {
            free(*q);
            *q = r % 11 == 0 ? memalign(1u << r % 17, size) : r % 3 == 0 ? calloc(1, size) : malloc(size);
        }
        if (i % 3000 == 0)
            malloc_trim(0);
    }
    for (int i = 0; i < 256; i++)
        free(p[i]), p[i] = NULL;
    free(malloc(100 << 20));
    return arg;
}
int main(int argc, char **argv)
{
    pthread_t thread;
    (void)argv;
    work(NULL);
    if (argc > 1) {
        pthread_create(&thread, NULL, work, NULL);
        pthread_join(thread, NULL);
        work(NULL);
    }
    return 0;
}
END
gcc -O1 -fno-builtin -o "$work/program" "$work/program.c" -pthread
library=$LOAM_BUILD/libloam-malloc.so
objdump -d --no-show-raw-insn "$library" >"$work/disassembly"
cat >"$work/count.py" <<'END'
"""count.py CALLGRIND DISASSEMBLY: atomic instructions of libloam-malloc.so that were executed, and all that were."""
import re
import sys

executed, names, here, at, call = set(), {}, False, 0, False
for line in open(sys.argv[1]):
    if found := re.match(r"(c?)ob=(\(\d+\)) ?(.*)", line):
        if found.group(3):
            names[found.group(2)] = found.group(3)
        if not found.group(1):
            here = "libloam-malloc.so" in names[found.group(2)]
    elif line.startswith("calls="):
        call = True
    elif found := re.match(r"(0x[0-9a-f]+|\+\d+|-\d+|\*) ", line):
        word = found.group(1)
        at = at if word == "*" else int(word, 16) if word[0] == "0" else at + int(word)
        if here and not call:
            executed.add(at)
        call = False
atomic = {}
for line in open(sys.argv[2]):
    if found := re.match(r"\s+([0-9a-f]+):\t(lock .*|xchg .*\(.*)", line):
        atomic[int(found.group(1), 16)] = found.group(2)
hit = sorted(executed & atomic.keys())
print(len(executed), len(hit), len(atomic))
for address in hit:
    print(f"{address:x}: {atomic[address]}", file=sys.stderr)
END
count() { # conf, arguments
    LOAM_CONF=$1 LD_PRELOAD=$library valgrind --tool=callgrind --soname-synonyms=somalloc=nouserintercepts --dump-instr=yes \
        --callgrind-out-file="$work/out" "$work/program" ${2-} 2>"$work/err" || { cat "$work/err"; exit 1; }
    read -r executed atomic known < <(python3 "$work/count.py" "$work/out" "$work/disassembly" 2>"$work/which")
    echo "LOAM_CONF='$1' ${2:-one thread}: $executed instructions of loam's executed, $atomic of $known atomic ones"
    [ "$executed" -gt 500 ] && [ "$known" -gt 5 ] || { echo "the counting is broken"; exit 1; }
}
for conf in "" policy:single policy:speed "policy:lean,scavenge_ms:0" "heaps:1,holes:1,single:1" stats:1; do
    count "$conf"
    [ "$atomic" = 0 ] || { cat "$work/which"; exit 1; }
done
count "" threads
[ "$atomic" -gt 0 ] || { echo "two threads without an atomic instruction: the counting is broken"; exit 1; }
