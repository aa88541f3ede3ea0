#!/usr/bin/env bash
# libloam-malloc.a in static programs, with glibc and with musl.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program.c" <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
size_t loam_good_size(size_t);
static void *work(void *arg)
{
    char *p = NULL;
    for (int i = 1; i < 3000; i++) {
        p = realloc(p, (size_t)i * 37);
        p[i] = 1;
        free(strdup("words"));
    }
    free(p);
    return arg;
}
int main(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("%zu\n", loam_good_size(100));
    return 0;
}
END
gcc -static -O2 -o "$work/glibc" "$work/program.c" "$LOAM_BUILD/libloam-malloc.a" -pthread 2>/dev/null
[ "$("$work/glibc")" = 112 ]
if ! command -v musl-gcc >/dev/null; then
    echo "musl-gcc is missing"
    exit 77
fi
musl-gcc -static -O2 -o "$work/musl" "$work/program.c" "$LOAM_BUILD/libloam-malloc.a" -pthread
[ "$("$work/musl")" = 112 ]
# a C program on loam does not need a C++ runtime
readelf -d "$LOAM_BUILD/libloam-malloc.so" | grep NEEDED | grep -q 'stdc++' && exit 1
echo "static with glibc and musl"
