#!/usr/bin/env bash
# bench/run in a very short form: every workload on every allocator, and nothing fails. test: timeout=280 serial
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$LOAM_SOURCE"
bench/run --percent 1 --reps 1 --no-traces --seed 1 --peers none --json "$work/run.json" \
    bump="$LOAM_BUILD/libbench-bump.so" lifo="$LOAM_BUILD/libbench-lifo.so" >"$work/tables"
python3 - "$work/run.json" "$LOAM_BUILD/bench-workloads" <<'END'
import json, subprocess, sys
told = json.load(open(sys.argv[1]))
names = [line.split()[0] for line in subprocess.run([sys.argv[2]], capture_output=True, text=True).stdout.splitlines()]
assert len(names) >= 25, names
allocators = {row["allocator"] for row in told["rows"]}
assert {"loam", "libc", "bump", "lifo"} <= allocators, allocators
seen = {(row["workload"], row["allocator"]) for row in told["rows"]}
assert seen == {(name, allocator) for name in names for allocator in allocators}
for row in told["rows"]:
    assert row["failures"] == [] and len(row["runs"]) == 1, row
    run = row["runs"][0]
    assert run["seconds"] > 0 and run["peak_kib"] > 0 and run["faults"] > 0, row
    if row["workload"].startswith("idle-"):
        assert run["figures"]["resident_kib_at_peak"] > 0 and "returned" in run["figures"], row
    if row["calls"] is not None and row["workload"] == "large" and row["allocator"] == "libc":
        assert row["calls"]["brk"] + row["calls"]["mmap"] > 2, row
print(len(seen), "rows without a failure")
END

# Settings reach the loam that is raced: under the policy for one thread a second thread is refused.
if bench/run --percent 1 --reps 1 --no-traces --peers none --only fixed-lifo,threadtest --policies \
    --json "$work/policies.json" lean2="$LOAM_BUILD/libloam-malloc.so+policy:lean" >"$work/tables" 2>&1; then
    echo "a second thread went unrefused"
    exit 1
fi
python3 - "$work/policies.json" <<'END'
import json, sys
told = json.load(open(sys.argv[1]))
assert "/" not in told["command"].replace("bench/run", ""), told["command"]
failed = {(row["workload"], row["allocator"]) for row in told["rows"] if row["failures"]}
assert failed == {("threadtest", "single")}, failed
assert {row["allocator"] for row in told["rows"]} == {"loam", "libc", "speed", "lean", "steady", "single", "lean2"}
END

# A row that fails is told, in the table, in the JSON and by the status.
printf 'int x __attribute__((constructor)); extern void abort(void); __attribute__((constructor)) void f(void) { abort(); }\n' |
    cc -shared -fPIC -w -x c -o "$work/broken.so" -
if bench/run --percent 1 --reps 1 --no-traces --no-calls --only fixed-lifo --json "$work/broken.json" \
    broken="$work/broken.so" >"$work/tables" 2>"$work/told"; then
    echo "a broken allocator went unseen"
    exit 1
fi
grep -q "fixed-lifo failed on broken" "$work/told"
grep -q failed "$work/tables"
python3 -c 'import json, sys; rows = json.load(open(sys.argv[1]))["rows"]
assert [r["failures"] != [] for r in rows] == [r["allocator"] == "broken" for r in rows]' "$work/broken.json"
if bench/run --only no-such-row --no-traces 2>"$work/told"; then exit 1; fi
grep -q "no row no-such-row" "$work/told"

# What was written can be drawn, every allocator in it; and the limits are raced with the two floors among the racers.
bench/plot --to "$work/plots" "$work/run.json" >/dev/null
python3 - "$work" <<'END'
import sys, xml.etree.ElementTree
for name in "scatter", "time", "memory", "faults":
    drawn = xml.etree.ElementTree.parse(f"{sys.argv[1]}/plots/{name}.svg")
    text = " ".join(drawn.getroot().itertext())
    assert all(allocator in text for allocator in ("loam", "libc", "bump", "lifo")), name
END
bench/limits --percent 1 --reps 1 --no-count --peers none --only fixed-lifo,growing >"$work/tables"
grep -q "ratio to the faster of bump and lifo" "$work/tables"
bench/programs --list >"$work/list" 2>/dev/null
grep -q python3 "$work/list"
