#!/usr/bin/env bash
# `make install` below DESTDIR: libraries, headers, command, manual pages and pkg-config files land, and a program builds
# against what was installed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/root cmake --install "$LOAM_BUILD" --prefix /opt/loam >/dev/null
opt=$work/root/opt/loam
library=$(dirname "$(find "$opt" -name libloam.so)")
for file in "$opt/bin/loam" "$library/libloam-malloc.so" "$library/libloam.a" "$library/libloam-malloc.a" \
    "$opt/include/loam/loam.h" "$opt/share/man/man1/loam.1" "$opt/share/man/man3/libloam.3" \
    "$library/pkgconfig/libloam.pc" "$library/pkgconfig/libloam-malloc.pc"; do
    [ -s "$file" ] || { echo "missing: $file"; exit 1; }
done
grep -q '^prefix=/opt/loam$' "$library/pkgconfig/libloam.pc"
cat >"$work/program.c" <<'END'
#include <loam/loam.h>
#include <stdio.h>
int main(void)
{
    void *p = loam_malloc(100);
    printf("%zu\n", loam_usable_size(p));
    loam_free(p);
    return 0;
}
END
flags() { # what pkg-config would say, with the root in front
    sed -n "s/^$1: *//p" "$library/pkgconfig/libloam.pc" |
        sed "s|\${libdir}|$library|; s|\${includedir}|$opt/include|"
}
# shellcheck disable=SC2046 # a list of words
gcc $(flags Cflags) -o "$work/program" "$work/program.c" $(flags Libs) -Wl,-rpath,"$library"
[ "$("$work/program")" -ge 100 ]
"$opt/bin/loam" run -- /bin/true 2>&1 | grep -q '^loam: misuse     none seen'
echo "installed, and it works"
