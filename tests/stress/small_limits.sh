#!/usr/bin/env bash
# test: own
# Programs start and run within 64 MiB of address space; nothing is printed that was not asked for.
set -euo pipefail
library=$LOAM_BUILD/libloam-malloc.so

for program in "/bin/true" "/bin/ls /" "sed s/a/b/ /etc/passwd" "sort /etc/passwd"; do
    said=$(bash -c "ulimit -v 65536; LD_PRELOAD=$library $program 2>&1 >/dev/null")
    [ -z "$said" ] || { echo "$program: printed: $said"; exit 1; }
done
plain=$(sort /etc/passwd)
on_loam=$(LD_PRELOAD=$library sort /etc/passwd 2>&1)
[ "$plain" = "$on_loam" ]
# what cannot be had is refused by the program, in its own words
said=$(bash -c "ulimit -v 65536; LD_PRELOAD=$library sort -S 1G /etc/passwd 2>&1" || true)
case $said in *loam*) echo "loam spoke unasked: $said"; exit 1 ;; esac
echo "64 MiB are enough"
