# SPDX-License-Identifier: GPL-2.0-or-later
"""Many ports, many comings and goings, many deaths of a switch.

    network.py [--ports 1000] [--turns 10000] [--kills 50]

Ports are rings of one process (bench/attach.c); prints a tally.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
ABYME = os.environ.get("ABYME", f"{TOP}/build/abyme")
LOAD = f"{TOP}/build/bench/attach"


def network(env, *argv):
    p = subprocess.run([ABYME, "network", *argv], env=env, capture_output=True, text=True, check=False)
    assert p.returncode == 0, p.stderr
    return p.stdout


def memory(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss_Anon:"):      # what others share and drop is no leak
            return int(line.split()[1])
    return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def running(env):
    return json.loads(network(env, "inspect", "--format", "json", "n"))["run"]


def state(env):
    run = running(env)
    return {w: (memory(run[w]), descriptors(run[w])) for w in ("keeper", "switch")}, run


def settled(env, before):
    """Once the last to leave has gone from the tables, too; after a minute, as it is."""
    end = time.monotonic() + 60
    while True:
        after, run = state(env)
        if all(after[who][1] <= before[who][1] for who in after) or time.monotonic() > end:
            return after, run
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ports", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=10000)
    parser.add_argument("--kills", type=int, default=50)
    o = parser.parse_args()
    work = tempfile.mkdtemp(prefix="abyme-network-")
    env = dict(os.environ, ABYME_STATE=f"{work}/state")
    network(env, "create", "n", "--kind", "internal", "--subnet", "10.99.0.0/16")
    network(env, "start", "n")
    try:
        subprocess.run([LOAD, "n", "20", "0"], env=env, check=True)
        before, _ = state(env)
        subprocess.run([LOAD, "n", str(o.turns), "0"], env=env, check=True)
        after, run = settled(env, before)
        for who, (kib, fds) in after.items():
            print(f"{o.turns} attached and detached: {who} {before[who][0]} to {kib} KiB, "
                  f"{before[who][1]} to {fds} descriptors")
            assert fds <= before[who][1] and kib <= before[who][0] + 1024, "it leaks"
        p = subprocess.Popen([LOAD, "n", "0", str(o.ports)], env=env, stdout=subprocess.PIPE, text=True)
        print(p.stdout.readline().strip())
        for _ in range(o.kills):
            os.kill(run["switch"], signal.SIGKILL)
            end, old = time.monotonic() + 60, run["switch"]
            while run["switch"] in (0, old):
                assert time.monotonic() < end
                time.sleep(0.05)
                run = running(env)
        print(p.stdout.readline().strip())
        assert p.wait(120) == 0
        print(f"{o.kills} deaths of the switch survived")
    finally:
        network(env, "delete", "--force", "n")
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
