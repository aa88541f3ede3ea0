"""What bench/run, bench/programs and bench/limits share: allocators, runs in shuffled order, tables, JSON.

An allocator is a library to preload, "" for libc, and perhaps settings for loam behind it: LIBRARY.so+KEY:VALUE,KEY:VALUE.
A row is a function of an allocator that returns one run: a dictionary with seconds, peak_kib,
user, system, faults and figures (by name, what the program printed), or with `failed`, a reason."""
import argparse
import glob
import json
import math
import os
import platform
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("LOAM_BUILD", os.path.join(HERE, "..", "build")))
INSTALLED = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2*",
             "tcmalloc": "libtcmalloc_minimal.so.4", "tbb": "libtbbmalloc_proxy.so.2"}
POLICIES = ("speed", "lean", "steady", "single")
CALLS = "mmap,munmap,mremap,madvise,process_madvise,mprotect,brk,futex,membarrier"
LONGEST_SECONDS = 120


def built(name):
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        sys.exit(f"{sys.argv[0]}: {path} is missing; run make first")
    return path


def parser(doc):
    given = argparse.ArgumentParser(usage=doc.split("\n\n")[1][7:])
    given.add_argument("--reps", type=int, default=5)
    given.add_argument("--only", default="", help="rows, by name or shell pattern, separated by commas")
    given.add_argument("--json")
    given.add_argument("--seed", type=int, default=None, help="of the order of the runs")
    given.add_argument("--peers", default="installed", help="installed, or none: only loam, libc and those named")
    given.add_argument("--policies", action="store_true", help="loam under each policy as well")
    given.add_argument("more", nargs="*", metavar="NAME=LIBRARY.so")
    return given


def installed():
    """Name -> library of what the system has."""
    found = {}
    for name, pattern in INSTALLED.items():
        for path in sorted(glob.glob(f"/usr/lib/*/{pattern}") + glob.glob(f"/usr/lib/{pattern}"))[:1]:
            found[name] = path
    return found


def allocators(given):
    """Name -> allocator: loam, libc, what is installed, loam's policies, and NAME=LIBRARY.so[+SETTINGS]."""
    found = {"loam": built("libloam-malloc.so"), "libc": ""}
    if given.peers == "installed":
        found.update(installed())
    for policy in POLICIES if given.policies else ():
        found[policy] = f"{found['loam']}+policy:{policy}"
    for word in given.more:
        name, _, library = word.partition("=")
        path, *conf = library.split("+", 1)
        if not os.path.exists(path):
            sys.exit(f"{sys.argv[0]}: {word}: no such library")
        found[name] = "+".join([os.path.abspath(path), *conf])
    return found


def settings(library):
    """An allocator as words NAME=VALUE of an environment."""
    path, *conf = library.split("+", 1)
    return [f"LD_PRELOAD={path}"] * bool(path) + [f"LOAM_CONF={words}" for words in conf]


def chosen(rows, only):
    """The rows of a dictionary that --only names."""
    if not only:
        return rows
    picked = {}
    for pattern in only.split(","):
        matching = {name: row for name, row in rows.items() if re.fullmatch(pattern.replace("*", ".*"), name)}
        if not matching:
            sys.exit(f"{sys.argv[0]}: no row {pattern}; there are {', '.join(rows)}")
        picked.update(matching)
    return picked


def environment(library):
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "LOAM_CONF")}
    return dict(clean, **dict(word.split("=", 1) for word in settings(library)))


def measured(command, library, folder=None, stdin=None, keep_output=True):
    """One run of a command; figures are lines `figure NAME VALUE` of its output."""
    with tempfile.NamedTemporaryFile("r") as cost:
        with subprocess.Popen([built("bench-measure"), cost.name, "env", *settings(library), *command], cwd=folder,
                              env=environment(""), stdin=stdin or subprocess.DEVNULL, start_new_session=True,
                              stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as process:
            try:
                output, errors = process.communicate(timeout=LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return {"failed": f"more than {LONGEST_SECONDS} seconds"}
        words = cost.read().split()
    if process.returncode or len(words) != 7:
        last = (errors or b"").decode("utf-8", "replace").strip().splitlines()[-1:]
        return {"failed": f"status {process.returncode}" + "".join(f": {line}" for line in last)}
    figures = dict(re.findall(r"^figure (\S+) (\S+)$", (output or b"").decode("utf-8", "replace"), re.M))
    return dict(cost_of(words), figures={name: float(value) for name, value in figures.items()})


def cost_of(words):
    """bench/measure's line as a run."""
    return {"seconds": float(words[0]), "peak_kib": int(words[1]), "user": float(words[2]), "system": float(words[3]),
            "faults": int(words[4]), "figures": {}}


def command_row(command, folder=None):
    return lambda library: measured(command, library, folder)


def calls(command, library, folder=None):
    """Calls to the OS for memory and for locks, by name; None without strace."""
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile("r") as trace:
        subprocess.run(["strace", "-f", "-c", "-U", "calls,name", "-o", trace.name, "-e", f"trace={CALLS}",
                        *(word for setting in settings(library) for word in ("-E", setting)), *command], cwd=folder,
                       check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=10 * LONGEST_SECONDS)
        counts = re.findall(r"^\s*(\d+)\s+(\w+)$", trace.read(), re.M)
    return {name: int(count) for count, name in counts if name != "total"}


def progress(words):
    if sys.stderr.isatty():
        print(f"\r{words:20}\r", end="", file=sys.stderr, flush=True)


def race(rows, racers, reps, seed=None):
    """Every row on every allocator, once as a warm-up and then `reps` times, each time in another order, so that a
    slow moment of the machine meets all alike. -> {(row, allocator): runs}"""
    runs = {(row, racer): [] for row in rows for racer in racers}
    dice = random.Random(seed)
    for repetition in range(reps + 1):
        order = list(runs)
        dice.shuffle(order)
        for number, (row, racer) in enumerate(order, 1):
            progress(f"{repetition}/{reps} {number}/{len(order)}")
            run = rows[row](racers[racer])
            if repetition or "failed" in run:  # the first is a warm-up
                runs[row, racer].append(run)
    progress("")
    return runs


# -- what came out ------------------------------------------------------------------------------------------------------

def good(runs):
    return [run for run in runs if "failed" not in run]


def middle(runs, field):
    """The median of a field over the runs that went well, or None."""
    values = [run[field] for run in good(runs)]
    return statistics.median(values) if values else None


def mean_ratio(ratios):
    return math.exp(statistics.mean(math.log(ratio) for ratio in ratios)) if ratios else float("nan")


def table(title, rows, racers, value, show):
    """A line a row: each allocator's ratio to the best of the row, and loam's to the best of the others."""
    print(f"\n{title}")
    print(f"{'':18}" + "".join(f"{racer:>20}" for racer in racers) + f"{'loam/best peer':>16}")
    ratios = {racer: [] for racer in (*racers, "loam/best peer")}
    for row in rows:
        values = {racer: value(row, racer) for racer in racers}
        known = {racer: max(found, 1e-9) for racer, found in values.items() if found is not None}
        if not known:
            continue
        best = min(known.values())
        line = f"{row:18}"
        for racer in racers:
            if racer in known:
                ratios[racer].append(known[racer] / best if best > 1e-9 else 1.0 + values[racer])
            line += f"{show(row, racer, values[racer], best) if racer in known else 'failed':>20}"
        peers = [found for racer, found in known.items() if racer != "loam"]
        if "loam" in known and peers and min(peers) > 1e-9:
            ratios["loam/best peer"].append(known["loam"] / min(peers))
            line += f"{ratios['loam/best peer'][-1]:16.2f}"
        print(line)
    print(f"{'geometric mean':18}" + "".join(f"{mean_ratio(ratios[racer]):20.3f}" for racer in racers)
          + f"{mean_ratio(ratios['loam/best peer']):16.3f}")


def tables(rows, racers, runs, made=None):
    def field(name):
        return lambda row, racer: middle(runs[row, racer], name)

    def spread(row, racer, value, best):
        times = [run["seconds"] for run in good(runs[row, racer])]
        return f"{value / best:.2f} ({min(times):.2f}-{max(times):.2f})"

    table("time: ratio to the best (least - most seconds)", rows, racers, field("seconds"), spread)
    table("peak resident memory: ratio to the best, MiB", rows, racers, field("peak_kib"),
          lambda _row, _racer, value, best: f"{value / best:.2f} {value / 1024:9.1f}")
    table("page faults: ratio to the best, count", rows, racers, field("faults"),
          lambda _row, _racer, value, best: f"{value / best:.2f} {value:9.0f}")
    if made:
        table("system calls for memory and locks: count", list(dict.fromkeys(row for row, _ in made)), racers,
              lambda row, racer: sum(made[row, racer].values()) if (row, racer) in made else None,
              lambda _row, _racer, value, _best: f"{value:d}")
        kinds = {racer: {} for racer in racers}
        for (_row, racer), counts in made.items():
            for name, count in counts.items():
                kinds[racer][name] = kinds[racer].get(name, 0) + count
        print("\nof all rows, by kind")
        for racer in racers:
            print(f"{racer:18}" + "  ".join(f"{name} {count}" for name, count in sorted(kinds[racer].items())))
    print_figures(rows, racers, runs)


def print_figures(rows, racers, runs):
    for row in rows:
        names = dict.fromkeys(name for racer in racers for run in good(runs[row, racer]) for name in run["figures"])
        for name in names:
            print(f"\n{row}: {name}")
            for racer in racers:
                values = [run["figures"][name] for run in good(runs[row, racer]) if name in run["figures"]]
                if values:
                    print(f"  {racer:16}{statistics.median(values):14.6g}  ({min(values):.6g} - {max(values):.6g})")


def failures(runs):
    """Prints what failed; how many runs did."""
    count = 0
    for (row, racer), made in runs.items():
        for run in made:
            if "failed" in run:
                print(f"{row} failed on {racer}: {run['failed']}", file=sys.stderr)
                count += 1
    return count


def write_json(path, runs, made=None):
    with open(path, "w", encoding="utf-8") as file:
        words = [re.sub("=.*/", "=", word) for word in sys.argv[1:]]
        if "--json" in words:
            del words[words.index("--json"):words.index("--json") + 2]
        json.dump({"command": " ".join([f"bench/{os.path.basename(sys.argv[0])}", *words]),
                   "machine": {"processors": os.cpu_count(), "kernel": platform.release(),
                               "libc": " ".join(platform.libc_ver()), "processor": processor()},
                   "rows": [{"workload": row, "allocator": racer, "runs": good(runs[row, racer]),
                             "failures": [run["failed"] for run in runs[row, racer] if "failed" in run],
                             "calls": (made or {}).get((row, racer))} for row, racer in runs]}, file, indent=1)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = re.findall(r"^model name\s*: (.*)$", file.read(), re.M)
    return names[0] if names else platform.machine()


resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
