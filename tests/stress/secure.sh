#!/usr/bin/env bash
# A set-user-ID program does not believe LOAM_CONF.
set -euo pipefail
if [ "$(id -u)" != 0 ]; then
    echo "needs root to make a set-user-ID program"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cat >"$work/program.c" <<'END'
#include <stdlib.h>
int main(void)
{
    free(malloc(10));
    return 0;
}
END
gcc -static -o "$work/program" "$work/program.c" "$LOAM_BUILD/libloam-malloc.a" -pthread 2>/dev/null
said=$(LOAM_CONF=nonsense:1 "$work/program" 2>&1)
case $said in *nonsense*) ;; *) echo "the control did not complain: $said"; exit 1 ;; esac
chmod 4755 "$work/program"
said=$(LOAM_CONF=nonsense:1 setpriv --reuid 65534 --clear-groups "$work/program" 2>&1)
[ -z "$said" ] || { echo "believed its environment: $said"; exit 1; }
echo "set-user-ID programs ignore LOAM_CONF"
