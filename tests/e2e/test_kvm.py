# SPDX-License-Identifier: GPL-2.0-or-later
"""Engine kvm, for real (nested.py). Short here: one boot with two vCPUs, which goes from KVM's
local APICs to those in user space, is suspended there and goes on under jit in this computer.
The rest is tests/campaign/test_nested.py."""
import re

from nested import BEAT, TROUBLE, beats_of, check_beats

JOB = """
abyme doctor | head -n 1
abyme run --detach --name hopper --engine kvm --board microvm $kernel --vcpus 2 --append "$console beat"
wait_log hopper "^beat 3 " 300
abyme engine hopper kvm,apic=user && more_beats hopper 2 100
abyme stats --engine hopper
abyme logs --monitor hopper
abyme suspend hopper /tmp/state-file && keep /tmp/state-file
abyme logs hopper | sed "s/^/inner: /"
"""


def test_kvm_boots_and_moves_to_jit(nested, abyme):
    text = nested.run("short", JOB)
    assert "OUTER-READY" in text, text[-3000:]
    assert re.search(r"engine kvm +yes", text), text[-3000:]
    assert "STATE-SAVED" in text, text[-3000:]
    assert re.search(r"inner: .*beat 3 fcd6bcb56c1689fcef28b57c22475bad", text), text[-3000:]
    assert re.findall(r"info: local APICs: (.*)", text) == ["KVM's", "in user space, as asked for"], text[-3000:]
    assert int(re.search(r"exits-msr +(\d+)", text).group(1)) > 0, text[-3000:]      # x2APIC's, as it had been before
    assert not TROUBLE.search(text)
    m = abyme.start("resume", "--rm", "--engine", "jit", str(nested.tmp / "state-file"))
    for _ in range(6):
        m.expect(BEAT, 60)
    check_beats(beats_of(m.text), beats_of(text, "inner: ")[-1])
    assert not TROUBLE.search(m.text)
