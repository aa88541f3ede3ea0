#!/usr/bin/env bash
# test: own
# malloc_info writes XML that a parser accepts, whose totals agree with mallinfo2's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program.c" <<'END'
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    static void *volatile kept[1000];
    for (int i = 0; i < 1000; i++)
        kept[i] = malloc(1000);
    for (int i = 0; i < 1000; i += 2)
        free(kept[i]);
    kept[0] = malloc(64 << 20);
    setvbuf(stdout, NULL, _IONBF, 0);
    struct mallinfo2 info = mallinfo2();
    if (malloc_info(0, stdout))
        return 1;
    fprintf(stderr, "%zu %zu %zu %zu\n", info.arena, info.fordblks, info.hblks, info.hblkhd);
    return 0;
}
END
gcc -w -o "$work/program" "$work/program.c"
LD_PRELOAD=$LOAM_BUILD/libloam-malloc.so "$work/program" >"$work/xml" 2>"$work/totals"
python3 - "$work" <<'END'
import sys
import xml.etree.ElementTree as tree

root = tree.parse(sys.argv[1] + "/xml").getroot()
arena, free, mappings, mapped = map(int, open(sys.argv[1] + "/totals").read().split())
total = {(e.tag, e.get("type")): e for e in root if e.tag != "heap"}
size = {key: int(e.get("size")) for key, e in total.items()}
assert root.tag == "malloc" and root.get("version") == "1"
assert size["system", "current"] == arena + mapped, size
assert size["total", "fast"] + size["total", "rest"] == free, (size, free)
assert (int(total["total", "mmap"].get("count")), size["total", "mmap"]) == (mappings, mapped) == (1, 64 << 20)
assert size["aspace", "total"] >= size["aspace", "mprotect"] >= size["system", "current"]
assert size["system", "max"] >= size["system", "current"]
END
echo "malloc_info agrees with mallinfo2"
