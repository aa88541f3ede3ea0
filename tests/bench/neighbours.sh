#!/usr/bin/env bash
# bench/neighbours: where blocks lie, known of an allocator that only bumps; and the tables name all racers. test: timeout=120
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$LOAM_SOURCE"
bench/neighbours --reps 1 --peers none --only fresh-nodes,fresh-mixed,parsing,large --json "$work/told.json" \
    bump="$LOAM_BUILD/libbench-bump.so" ready="$LOAM_BUILD/libloam-malloc.so+prefault:64k" \
    paged="$LOAM_BUILD/libloam-malloc.so+prefault:0" >"$work/tables"
python3 - "$work/told.json" <<'END'
import json, sys
told = {(row["workload"], row["allocator"]): row["runs"][0]["figures"] for row in json.load(open(sys.argv[1]))["rows"]}
bump, loam, ready, paged = (told["fresh-nodes", name] for name in ("bump", "loam", "ready", "paged"))
assert bump["median-distance"] == 64 and bump["within-a-page"] > 0.999, bump  # it keeps the size before each block
assert bump["lines-per-1000"] == 1000 and bump["lines-of-bytes"] == 750, bump
assert abs(bump["pages-per-1000"] - 16.5) < 0.2, bump
assert loam["lines-per-1000"] < 760 and loam["pages-per-1000"] < 14, loam
# the same pages, but fewer stops; where the kernel lets nobody count stops, all pages were counted
assert ready["faults-per-mib"] <= 1.1 * loam["faults-per-mib"] <= 1.2 * paged["faults-per-mib"], (loam, ready, paged)
assert paged["faults-per-mib"] > 200, paged
texts = told["parsing", "bump"]
assert texts["pages-per-1000"] > 2 * told["parsing", "loam"]["pages-per-1000"], texts  # what was freed lies between
assert "median-distance" not in told["large", "loam"] and told["large", "loam"]["faults-per-mib"] > 0
END
grep -q "^| fresh-nodes | 750 | " "$work/tables"
grep -q "^| page faults for each MiB | loam | libc | bump | ready | paged |" "$work/tables"
if bench/neighbours --only no-such-phase 2>"$work/told"; then exit 1; fi
grep -q "no row no-such-phase" "$work/told"
