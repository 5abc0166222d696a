# SPDX-License-Identifier: GPL-2.0-or-later
"""A TPM 2.0: Debian's driver in the guest, swtpm behind it."""
import json
import os
import signal

import pytest

from conftest import guest_args, off, run, shell

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/bin/swtpm"), reason="the package swtpm is not installed")

# Part 3: TPM2_GetRandom of 16 bytes; TPM2_PCR_Extend of PCR 16's SHA-256 bank with 32 bytes of 0x5a
RANDOM = "8001 0000000c 0000017b 0010"
EXTEND = "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000b" + "5a" * 32
SOME = r"^80010000001c000000000010(\w{32})\s+done"


def command(m, text, pattern):
    """Send a command through /dev/tpm0; its reply in hexadecimal."""
    octal = "".join(f"\\{b:03o}" for b in bytes.fromhex(text))
    return run(m, f"printf '{octal}' >/tmp/c; exec 3<>/dev/tpm0; dd bs=4096 if=/tmp/c 2>/dev/null >&3; dd bs=4096 count=1 "
               "<&3 2>/dev/null | busybox od -An -v -tx1 | tr -d ' \\n'; exec 3<&-; echo; echo do''ne", pattern)


def pcr(m, n):
    return run(m, f"echo pcr=$(cat /sys/class/tpm/tpm0/pcr-sha256/{n})", r"^pcr=([0-9A-F]{64})\s").group(1)


@pytest.fixture(scope="module")
def guest(kernel_tree, tmp_path_factory):
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("tpm"), [])


def test_kernel_uses_it(abyme, guest, tmp_path):
    """Random numbers and PCRs; what was extended is there under another engine and after a suspend, and gone after
    a power-off."""
    m = abyme.start("run", "--name", "t", *guest, "--tpm")
    shell(m)
    run(m, "cat /sys/class/tpm/tpm0/tpm_version_major", r"^2\s")
    first, second = (command(m, RANDOM, SOME).group(1) for _ in range(2))
    assert first != second and len(set(first)) > 4
    assert pcr(m, 16) == "0" * 64
    command(m, EXTEND, r"^80020000001300000000\w+\s+done")
    extended = pcr(m, 16)
    assert extended != "0" * 64
    assert "tpm2-00.permall" in os.listdir(abyme.state / "instances" / "t" / "tpm")
    status, _, text = abyme("engine", "t", "interp", seconds=120)
    assert status == 0, text
    assert pcr(m, 16) == extended
    status, _, text = abyme("suspend", "t", str(tmp_path / "saved"), seconds=120)
    assert status == 0, text
    assert m.wait(60) == 0
    m = abyme.start("resume", str(tmp_path / "saved"))
    m.send("\n")
    m.expect("# ", 60)
    assert pcr(m, 16) == extended
    command(m, RANDOM, SOME)
    off(m)
    m = abyme.start("start", "--attach", "t")
    shell(m)
    assert pcr(m, 16) == "0" * 64
    off(m)


def parent_and_name(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            name, rest = f.read().split("(", 1)[1].rsplit(")", 1)
    except OSError:
        return None                                           # it has just ended
    return int(rest.split()[1]), name


def test_it_dies(abyme, guest):
    """Without swtpm the guest's TPM fails, and nothing else does."""
    m = abyme.start("run", "--name", "t", *guest, "--tpm")
    shell(m)
    pcr(m, 0)
    keeper = json.loads((abyme.state / "instances" / "t" / "run.json").read_text())["keeper"]
    pid = next(int(p) for p in os.listdir("/proc") if p.isdigit() and parent_and_name(p) == (keeper, "swtpm"))
    os.kill(pid, signal.SIGKILL)
    run(m, "cat /sys/class/tpm/tpm0/pcr-sha256/0 || echo fai''led", "^failed", 120)
    off(m)
