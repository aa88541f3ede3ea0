#!/usr/bin/env python3
"""Records traces of the real programs in catalog.py that are installed, for bench/run to replay.

usage: bench/traces.py [--again] [PROGRAM...]     traces that are there are kept, but for --again

They go to BUILD/traces/PROGRAM, some two bytes a call (trace.h)."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import catalog
import racing

EVENTS_MOST = 1500000
EVENTS_LEAST = 5000  # fewer say nothing
EVENTS_A_RUN = 4000000  # what a row replays, in rounds


def folder():
    return os.path.join(racing.BUILD, "traces")


def trace_info(path):
    told = subprocess.run([racing.built("bench-replay"), "-i", path], capture_output=True, text=True, check=False)
    return json.loads(told.stdout) if told.returncode == 0 else None


def record(program, target):
    """The largest trace of the processes that the program's name is for; False when there was none."""
    with tempfile.TemporaryDirectory() as work:
        program.lay(work, 1)
        subprocess.run(program.find(1), cwd=work, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=racing.LONGEST_SECONDS,
                       env=dict(racing.environment(racing.built("libbench-record.so")), LOAM_TRACE=f"{work}/trace",
                                LOAM_TRACE_EVENTS=str(EVENTS_MOST)))
        wanted = program.process or os.path.basename(program.find()[0])
        made = [os.path.join(work, name) for name in os.listdir(work)
                if name.startswith("trace.") and name.split(".", 2)[2].startswith(wanted[:15])]
        made = [path for path in made if trace_info(path)]
        if not made:
            return False
        shutil.copy(max(made, key=os.path.getsize), target)
        return True


def make(names=(), again=False):
    os.makedirs(folder(), exist_ok=True)
    for program in catalog.available():
        target = os.path.join(folder(), program.name)
        if names and program.name not in names or os.path.exists(target) and not again:
            continue
        print(f"recording {program.name}", file=sys.stderr)
        if not record(program, target):
            print(f"bench: no trace of {program.name}", file=sys.stderr)


def replay_commands(percent):
    """Row -> command, for every trace; makes those that are missing."""
    make()
    rows = {}
    for name in sorted(os.listdir(folder())):
        path = os.path.join(folder(), name)
        info = trace_info(path)
        events = sum(info["recorded"].values()) if info else 0
        if events >= EVENTS_LEAST:
            rounds = max(1, EVENTS_A_RUN * percent // 100 // events)
            rows[f"trace-{name}"] = [racing.built("bench-replay"), "-r", str(rounds), path]
    return rows


if __name__ == "__main__":
    make([word for word in sys.argv[1:] if not word.startswith("-")], "--again" in sys.argv[1:])
    for row, command in replay_commands(100).items():
        told = trace_info(command[-1])
        print(f"{row:18} {os.path.getsize(command[-1]):9} bytes  {sum(told['recorded'].values()):8} events  "
              f"{told['threads']:3} threads  {told['live_peak_bytes'] / 2**20:8.1f} MiB live at the peak")
