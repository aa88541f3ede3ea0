#!/usr/bin/env bash
# bench/fairness in a very short form: every kind of greed ends, on loam and libc, with all its figures. test: timeout=120
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$LOAM_SOURCE"
bench/fairness --reps 1 --requests 300 --peers none --json "$work/told.json" \
    shared="$LOAM_BUILD/libloam-malloc.so+policy:lean" >"$work/tables"
python3 - "$work/told.json" "$LOAM_BUILD/bench-fairness" <<'END'
import json, subprocess, sys
told = json.load(open(sys.argv[1]))["rows"]
greeds = subprocess.run([sys.argv[2]], capture_output=True, text=True, check=True).stdout.split()
assert {(row["workload"], row["allocator"]) for row in told} == {
    (greed, racer) for greed in greeds for racer in ("loam", "libc", "shared")}
for row in told:
    figures = row["runs"][0]["figures"]
    for call in "malloc", "free", "request":
        ordered = [figures[f"{call}-{name}"] for name in ("p50-ns", "p99-ns", "p99.9-ns")]
        assert 0 < ordered[0] and ordered == sorted(ordered), row
        # a bucket of the histogram ends up to 1/16 behind what is in it
        assert ordered[-1] <= 1.07 * 1000 * figures[f"{call}-longest-us"], row
    assert (figures["greedy-rounds"] > 0) == (row["workload"] != "none"), row
END
grep -q "^| resident memory that they added, MiB | loam | libc | shared |" "$work/tables"
