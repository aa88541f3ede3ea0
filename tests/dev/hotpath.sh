#!/usr/bin/env bash
# The common path is within its budget; the counter can tell when it is not; and only the known families of names
# are exported.
set -euo pipefail
cd "$LOAM_SOURCE"
if [ "$(uname -m)" = x86_64 ] && grep -q 'LOAM_DEBUG:BOOL=OFF' "$LOAM_BUILD/CMakeCache.txt"; then
    dev/check-hotpath --max "$LOAM_BUILD/libloam-malloc.so"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cat >"$work/slow.c" <<'END'
int a[100];
void *malloc(unsigned long n) { for (int i = 0; i < 9; i++) if (a[i] == (int)n) { a[i + 1] = 2; } a[7]++; return a; }
void free(void *p) { for (volatile int i = 0; i < 9; i++) a[i] += p == a; }
END
    gcc -O2 -funroll-all-loops -fno-builtin -shared -fPIC -o "$work/slow.so" "$work/slow.c"
    if dev/check-hotpath --max "$work/slow.so"; then
        echo "a slow malloc passed"
        exit 1
    fi
fi
strange=$(nm -D --defined-only "$LOAM_BUILD/libloam-malloc.so" | awk '{ print $3 }' | grep -vE \
    '^(loam_.*|_Zn[wa].*|_Zd[la].*|malloc|calloc|realloc|reallocarray|c?free|free_(aligned_)?sized|posix_memalign|aligned_alloc|memalign|p?valloc|malloc_(usable_size|trim|info|stats)|mallinfo2?|mallopt|dlopen)$' || true)
[ -z "$strange" ] || { echo "exported: $strange"; exit 1; }
