# SPDX-License-Identifier: GPL-2.0-or-later
"""Run all tests: unit programs, short fuzzing, guest programs, end to end.

    run.py [--build DIR] [unit|fuzz|guest|e2e ...]

Prints a line a test program; the last line is "N passed, N failed, N skipped".
"""
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FUZZ_SECONDS = "3"
UNIT_LIMIT, FUZZ_LIMIT, GUEST_LIMIT = 900, 300, 300     # against hangs; sanitized builds get more
SKIPPED = 77  # exit status of a program that cannot run here


# What a hostile file asks for may be refused, as it is without a sanitizer.
os.environ.setdefault("ASAN_OPTIONS", "allocator_may_return_null=1")


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self, word, name, seconds, more=""):
        print(f"{word:4} {name} ({seconds:.1f} s){': ' + more if more else ''}", flush=True)

    def add(self, name, seconds, passed, failed, skipped, output):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        self.line("FAIL" if failed else "skip" if skipped and not passed else "ok", name, seconds,
                  f"{passed} passed" + (f", {failed} failed" if failed else ""))
        if failed:
            print(output[-6000:], flush=True)


def run(argv, limit, **more):
    """(status, output, seconds); a time-out is status 124."""
    start = time.monotonic()
    try:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=limit, cwd=TOP, check=False, **more)
        status, out = p.returncode, p.stdout
    except subprocess.TimeoutExpired as e:
        status, out = 124, (e.stdout or b"") + b"\ntimed out\n"
    except OSError as e:
        status, out = 126, str(e).encode()
    return status, out.decode(errors="replace"), time.monotonic() - start


def programs(folder):
    found = []
    for root, _, files in os.walk(folder):
        for f in files:
            path = os.path.join(root, f)
            if os.access(path, os.X_OK) and "." not in f:
                found.append(path)
    return sorted(found)


def run_units(build, tally):
    def one(path):
        return path, run([path], UNIT_LIMIT * (5 if build.endswith("-san") else 1))
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for path, (status, out, seconds) in pool.map(one, programs(f"{build}/tests")):
            ok = len(re.findall(r"\[       OK \]", out))
            bad = len(set(re.findall(r"^\[  FAILED  \] ([^\d ]\S*)$", out, re.M)))
            skip = len(set(re.findall(r"^\[  SKIPPED \] ([^\d ]\S*)$", out, re.M)))
            if status == SKIPPED:
                skip = max(skip, 1)
            elif status and not bad:
                bad = 1
            elif not status and not ok + skip:
                ok = 1
            tally.add("unit/" + os.path.basename(path), seconds, ok, bad, skip, out)


def run_fuzz(build, tally):
    def one(path):
        return path, run([path, FUZZ_SECONDS], FUZZ_LIMIT)
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for path, (status, out, seconds) in pool.map(one, programs(f"{build}/fuzz")):
            tally.add("fuzz/" + os.path.basename(path), seconds, int(status == 0), int(status != 0), 0, out)


def run_guests(build, tally):
    """tests/guest/run compares what a guest program prints with its .expected."""
    folder = f"{TOP}/tests/guest"
    topics = sorted(os.path.relpath(os.path.join(root, f), folder)[:-len(".expected")]
                    for root, _, files in os.walk(folder) for f in files if f.endswith(".expected"))
    env = dict(os.environ, ABYME_STATE=f"{build}/state")

    def one(job):
        engine, topic = job
        return job, run(["tests/guest/run", "-e", engine, "-b", build, topic], GUEST_LIMIT, env=env)
    with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for (engine, topic), (status, out, seconds) in pool.map(
                one, [(e, t) for e in ("interp", "jit", "jit,hot=1000") for t in topics]):
            tally.add(f"guest/{topic} [{engine}]", seconds, int(status == 0), int(status != 0), 0, out)


def run_e2e(build, tally):
    report = f"{build}/e2e.xml"
    if os.path.exists(report):
        os.unlink(report)
    env = dict(os.environ, ABYME=f"{build}/abyme")
    if build.endswith("-san"):       # a verb that ends gives no memory back: unit tests and fuzzers look for leaks
        env["ASAN_OPTIONS"] += ":detect_leaks=0"
        env.setdefault("ABYME_PATIENCE", "30")
    start = time.monotonic()
    workers = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"] if find_spec("xdist") else []
    p = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider", *workers,
                        f"--junitxml={report}", "tests/e2e"], cwd=TOP, env=env, check=False)
    try:
        suite = xml.parse(report).getroot().find("testsuite")
        n, bad, skip = (int(suite.get(k)) for k in ("tests", "failures", "skipped"))
        bad += int(suite.get("errors"))
    except (OSError, AttributeError, xml.ParseError):
        n, bad, skip = 1, 1, 0
    if p.returncode not in (0, 1, 5) and not bad:
        n, bad = n + 1, 1
    tally.add("e2e", time.monotonic() - start, n - bad - skip, bad, skip, "")


STAGES = {"unit": run_units, "fuzz": run_fuzz, "guest": run_guests, "e2e": run_e2e}


def main(argv):
    build = f"{TOP}/build"
    if argv[:1] == ["--build"]:
        build, argv = os.path.abspath(argv[1]), argv[2:]
    tally = Tally()
    for name, stage in STAGES.items():
        if not argv or name in argv:
            stage(build, tally)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
