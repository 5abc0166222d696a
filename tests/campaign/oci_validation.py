# SPDX-License-Identifier: GPL-2.0-or-later
"""The OCI runtime-tools validation suite over two runtimes in turns.

    oci_validation.py --tools DIR [--runtime FILE] [--peer runc]

DIR is a checkout of github.com/opencontainers/runtime-tools; it is built with
Debian's golang where it is not yet.  Go 1.19 takes every commit up to
260e151 (March 2025).  A check counts as passed when its line says "ok" and is no
skip.  Fails when the peer passes what we do not; prints each difference.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRIES = 4
LINE = re.compile(r"^(not ok|ok) \d+ ?-? ?(.*)$")


def build(tools):
    env = dict(os.environ, GOFLAGS="-mod=vendor", CGO_ENABLED="0")
    if not os.path.exists(f"{tools}/runtimetest"):
        subprocess.run(["go", "build", "-o", "runtimetest", "./cmd/runtimetest"], cwd=tools, env=env, check=True)
    for folder in sorted(glob.glob(f"{tools}/validation/*/")):
        name = os.path.basename(folder[:-1])
        if name != "util" and not os.path.exists(f"{folder}{name}.t"):
            subprocess.run(["go", "build", "-o", f"{folder}{name}.t", f"./validation/{name}"], cwd=tools, env=env, check=True)


def run(tools, test, runtime):
    """{check: passed}, and the output."""
    try:
        p = subprocess.run([test], cwd=tools, env=dict(os.environ, RUNTIME=runtime), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        out = p.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        out = (e.stdout or b"").decode(errors="replace") + "\nnot ok 0 - timed out\n"
    checks = {}
    for line in out.splitlines():
        m = LINE.match(line.strip())
        if m and "# SKIP" not in line.upper():
            name = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4,}", "N", m.group(2))
            checks[name] = checks.get(name, True) and m.group(1) == "ok"
    return checks, out


def loses(ours, theirs):
    """A test that stops at its first failure names fewer checks: count, then compare."""
    missing = any(ok and not ours.get(c, False) for c, ok in theirs.items())
    return missing and sum(ours.values()) < sum(theirs.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", required=True)
    parser.add_argument("--runtime", default=f"{TOP}/build/abyme-oci")
    parser.add_argument("--peer", default="runc")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    for need in ("go", args.peer):
        if not shutil.which(need):
            sys.exit(f"oci_validation: '{need}' is missing (packages golang-go, runc)")
    build(args.tools)
    total, worse = [0, 0, 0, 0], []
    for test in sorted(glob.glob(f"{args.tools}/validation/*/*.t")):
        name = os.path.basename(test)[:-2]
        (ours, out), (theirs, _) = run(args.tools, test, args.runtime), run(args.tools, test, args.peer)
        # some tests race ("pidfile" kills a /bin/true that may have ended): a loss must repeat
        for _ in range(TRIES):
            if not loses(ours, theirs):
                break
            ours, out = run(args.tools, test, args.runtime)
        counts = [sum(ours.values()), len(ours), sum(theirs.values()), len(theirs)]
        total = [a + b for a, b in zip(total, counts)]
        missing = [c for c, ok in theirs.items() if ok and not ours.get(c, False)]
        if loses(ours, theirs):
            worse.append(name)
        print(f"{'WORSE' if name in worse else 'ok':5} {name:40} ours {counts[0]:3}/{counts[1]:<3} "
              f"{args.peer} {counts[2]:3}/{counts[3]:<3} {'; '.join(missing)[:200]}", flush=True)
        if args.verbose and name in worse:
            print(out[-3000:])
    print(f"checks passed: ours {total[0]} of {total[1]}, {args.peer} {total[2]} of {total[3]}; "
          f"{len(worse)} tests where {args.peer} passes more: {' '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
