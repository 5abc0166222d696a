# SPDX-License-Identifier: GPL-2.0-or-later
"""The house's rules that a machine can check; prints what breaks them.

Licence line first, no file above 1,000 lines, no marks of unfinished work,
no #ifdef inside functions, and includes that only go down the floors.
"""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPDX = "SPDX-License-Identifier: GPL-2.0-or-later"
# Each room may include those of its own and of lower floors.
FLOOR = {"main": 9, "cli": 8, "instance": 7, "guest": 7, "session": 6.5, "network": 6, "gdb": 6, "machine": 6, "image": 6, "container": 6,
         "device": 5, "engine": 4, "disk": 3, "ovf": 3, "install": 3, "net": 3, "x86": 3, "memory": 2, "jail": 2, "base": 1}
# Contracts that everything above base/ may know: what a machine is made of.
SHARED = {"machine/machine.h", "machine/config.h", "device/device.h", "engine/engine.h", "engine/lines.h"}
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
MAX_LINES = 1000


def tracked():
    out = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=True).stdout
    return [f for f in out.splitlines() if os.path.isfile(os.path.join(TOP, f))]


def floors(path, number, line, bad):
    m = re.match(r'#include "([a-z0-9_]+)/', line)
    if not m or not path.startswith("src/"):
        return
    here, there = path.split("/")[1], m.group(1)
    target = line.split('"')[1]
    if FLOOR.get(there, 0) > FLOOR.get(here, 99) and target not in SHARED:
        bad.append(f"{path}:{number}: {here}/ includes {target}, which is above it")


def code(path, lines, bad):
    depth = 0
    for n, line in enumerate(lines, 1):
        floors(path, n, line, bad)
        if path.startswith("src/") and re.match(r"#\s*if(n?def)?\b", line) and depth > 0:
            bad.append(f"{path}:{n}: #if inside a function")
        if line.startswith("{"):
            depth = 1
        elif line.startswith("}"):
            depth = 0


def check(path, bad):
    with open(os.path.join(TOP, path), encoding="utf-8", errors="replace") as f:
        lines = f.read().splitlines()
    is_code = path.endswith((".c", ".h"))
    if is_code or path.endswith((".py", ".sh", ".mk", ".def", ".S")):
        if not any(SPDX in line for line in lines[:2]):
            bad.append(f"{path}:1: no licence line")
        if len(lines) > MAX_LINES:
            bad.append(f"{path}: {len(lines)} lines; at most {MAX_LINES}")
    if path != "scripts/lint.py":
        bad += [f"{path}:{n}: mark of unfinished work" for n, line in enumerate(lines, 1) if MARKS.search(line)]
    if is_code:
        code(path, lines, bad)


def manual(bad):
    """Every verb has a page, and every option of run stands in its page."""
    def text(name):
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            return f.read()
    for verb in re.findall(r'^\t\{ "([a-z]+)", "', text("src/cli/verbs.c"), re.M):
        if not os.path.exists(os.path.join(TOP, f"docs/man/abyme-{verb}.1.scd")):
            bad.append(f"docs/man: no page for abyme {verb}")
    page = text("docs/man/abyme-run.1.scd")
    for option in re.findall(r'\("(--?[a-z-]+)"', text("src/cli/options.c") + text("src/cli/options_program.c") + text("src/cli/run.c")):
        if f"*{option}*" not in page:
            bad.append(f"docs/man/abyme-run.1.scd: {option} is missing")


def main():
    bad = []
    manual(bad)
    for path in tracked():
        check(path, bad)
    print("\n".join(bad) if bad else "lint: the house's rules hold")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
