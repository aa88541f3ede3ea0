#!/usr/bin/env bash
# A set-user-ID program does not believe LOAM_CONF, linked statically or dynamically.
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
    echo "needs root to make a set-user-ID program"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cat >"$work/program.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
size_t loam_good_size(size_t);
#pragma weak loam_good_size
int main(void)
{
    free(malloc(10));
    puts(loam_good_size ? "on loam" : "not on loam");
    return 0;
}
END
cp "$LOAM_BUILD/libloam-malloc.so" "$work"

believes() { # program; LOAM_CONF has a key that nobody knows, so whoever reads it complains
    local said
    said=$(LOAM_CONF=nonsense:1 setpriv --reuid 65534 --clear-groups "$1" 2>&1)
    case $said in
    *nonsense*"on loam") return 0 ;;
    "on loam") return 1 ;;
    *) echo "$1 said: $said"; exit 1 ;;
    esac
}

gcc -static -o "$work/static" "$work/program.c" "$LOAM_BUILD/libloam-malloc.a" -pthread 2>/dev/null
gcc -o "$work/dynamic" "$work/program.c" -Wl,--no-as-needed "$work/libloam-malloc.so" -Wl,-rpath,"$work"
for program in static dynamic; do
    believes "$work/$program" || { echo "$program: the control did not complain"; exit 1; }
    chmod 4755 "$work/$program"
    if believes "$work/$program"; then
        echo "$program: believed its environment"
        exit 1
    fi
done
echo "set-user-ID programs ignore LOAM_CONF"
