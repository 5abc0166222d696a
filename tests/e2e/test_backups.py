# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme clone and abyme backup."""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import guest_args
from test_disks import guest, ok, qemu_img, run, shell  # noqa: F401, pylint: disable=unused-import
from test_snapshots import words, write


def poke(disk, *changes):
    """Change a qcow2 disk from outside, through QEMU: (offset, byte) each, 0 makes zeros."""
    if not shutil.which("qemu-io"):
        pytest.skip("qemu-io is needed (package qemu-utils)")
    commands = []
    for offset, byte in changes:
        commands += ["-c", f"write -P {byte} {offset} 65536" if byte else f"write -z {offset} 65536"]
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, str(disk)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def guest_on_net(kernel_tree, tmp_path_factory):
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("identity"), ["virtio_pci", "virtio_net", "vmgenid"])


def instance(abyme, name, disk):
    ok(abyme, "create", "--name", name, "--firmware", "bios", "--net", "user", "--disk", f"{disk},format=qcow2")


def definition(abyme, name):
    return json.loads(ok(abyme, "inspect", "--format", "json", name))["definition"]


def test_linked_clones(abyme, tmp_path):
    disk = tmp_path / "disk.qcow2"
    ok(abyme, "disk", "create", str(disk), "--size", "100G")
    poke(disk, *((k << 32, k + 1) for k in range(20)))
    instance(abyme, "origin", disk)
    begin = time.monotonic()
    ok(abyme, "clone", "origin", "copy")
    print(f"a linked clone of 100 GiB: {1000 * (time.monotonic() - begin):.1f} ms")
    first, second = definition(abyme, "origin"), definition(abyme, "copy")
    assert first["uuid"] != second["uuid"] and first["net"][0]["mac"] != second["net"][0]["mac"]
    other = tmp_path / "copy-0.qcow2"
    assert second["disks"][0]["file"] == str(other)
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(other))
    poke(disk, (1 << 32, 99))
    poke(other, (2 << 32, 98))
    status, out, _ = abyme("disk", "compare", str(disk), str(other))
    assert status == 1 and str(1 << 32) in out
    ok(abyme, "clone", "copy", "third")
    chain = json.loads(ok(abyme, "disk", "info", "--format", "json", str(tmp_path / "third-0.qcow2")))
    assert [os.path.basename(c["file"]) for c in chain] == ["third-0.qcow2", "copy-0.qcow2.base-1", "disk.qcow2.base-1"]
    ok(abyme, "clone", "third", "fourth")       # nothing of its own yet: on the same base
    chain = json.loads(ok(abyme, "disk", "info", "--format", "json", str(tmp_path / "fourth-0.qcow2")))
    assert len(chain) == 3
    for path in (disk, other, tmp_path / "third-0.qcow2"):
        qemu_img("check", path)
    ok(abyme, "clone", "--full", "third", "alone")
    assert "equal" in ok(abyme, "disk", "compare", str(tmp_path / "third-0.qcow2"), str(tmp_path / "alone-0.qcow2"))
    for args, word in ((("origin", "copy"), "exists already"), (("origin", "a/b"), "name"), (("nobody", "x"), "no instance")):
        status, _, err = abyme("clone", *args)
        assert status == 1 and word in err, err
    for name in ("origin", "copy", "third", "fourth", "alone"):
        abyme("rm", name)


def identity(m):
    """What a guest knows itself by: (generation id, machine id, network address)."""
    genid = run(m, "busybox xxd -p -s $((0xe0000 + 40)) -l 16 /dev/mem",     # its page, where there is no firmware
                "^([0-9a-f]{32})\r?$").group(1)
    uuid = run(m, "cat /sys/class/dmi/id/product_uuid", r"^([0-9a-f]{8}-[0-9a-f-]{27})").group(1)
    return genid, uuid, run(m, "cat /sys/class/net/eth0/address", r"^((?:[0-9a-f]{2}:){5}[0-9a-f]{2})").group(1)


def test_identity_of_a_clone(abyme, guest_on_net, tmp_path):
    """The clone's guest sees a generation id, a machine id and an address of its own; a resumed guest hears of a new id."""
    disk, state = tmp_path / "disk.qcow2", str(tmp_path / "saved.state")
    ok(abyme, "disk", "create", str(disk), "--size", "64M")
    m = abyme.start("run", "--name", "origin", *guest_on_net, "--net", "user", "--disk", f"{disk},format=qcow2")
    shell(m)
    origin = identity(m)
    ok(abyme, "suspend", "origin", state)
    m.wait(60)
    m = abyme.start("resume", state)
    m.send("\n")
    run(m, "while ! dmesg | grep 'reseeded due to virtual machine fork'; do sleep 1; done; echo heard=$?", "^heard=0")
    resumed = identity(m)
    assert resumed[0] != origin[0] and resumed[1:] == origin[1:]
    m.send("poweroff -f\n")
    assert m.wait(60) == 0
    ok(abyme, "clone", "origin", "copy")
    m = abyme.start("start", "--attach", "copy")
    shell(m)
    copy = identity(m)
    assert copy[0] not in (origin[0], resumed[0]) and copy[1] != origin[1] and copy[2] != origin[2]
    m.send("poweroff -f\n")
    assert m.wait(60) == 0


def test_incremental(abyme, tmp_path):
    disk, dest = tmp_path / "disk.qcow2", tmp_path / "backups"
    ok(abyme, "disk", "create", str(disk), "--size", "1G", "--cluster-size", "64k")
    instance(abyme, "kept", disk)
    rng = random.Random(5)
    states = []
    for turn in range(4):
        changes = [(rng.randrange(16000) << 16, rng.choice([0, rng.randrange(1, 256)])) for _ in range(12)]
        poke(disk, *changes, (1 << 16, 0 if turn == 2 else turn + 1))     # turn 2: it was data before
        assert ok(abyme, "backup", "create", "--incremental", "kept", str(dest)) == f"backup {turn + 1}\n"
        states.append(tmp_path / f"state{turn}.img")
        ok(abyme, "disk", "convert", str(disk), str(states[-1]))
        snapshots = os.popen(f"qemu-img snapshot -l {disk}").read()
        assert snapshots.count("backup-") == 1
    listed = json.loads(ok(abyme, "backup", "list", "--format", "json", str(dest)))
    assert [b["parent"] for b in listed["backups"]] == [0, 1, 2, 3]
    assert (dest / "0003" / "disk-0.qcow2").stat().st_size < 4 << 20
    for turn, state in enumerate(states):
        ok(abyme, "backup", "verify", "--number", str(turn + 1), str(dest))
        ok(abyme, "backup", "restore", "--number", str(turn + 1), "--output", str(tmp_path), str(dest), f"r{turn}")
        assert "equal" in ok(abyme, "disk", "compare", str(state), str(tmp_path / f"r{turn}-0.qcow2"))
        assert "equal" in ok(abyme, "disk", "compare", str(state), str(dest / f"{turn + 1:04}" / "disk-0.qcow2"))
        abyme("rm", f"r{turn}")
    qemu_img("check", disk)

    # an attempt that does not come to its end changes nothing for the next
    (dest / "0005").mkdir()
    (dest / "0005" / "disk-0.qcow2").write_bytes(b"half")
    poke(disk, (5 << 16, 77))
    listing = json.loads((dest / "backup.json").read_text())
    os.system(f"qemu-img snapshot -c backup-{listing['id']}-5 {disk}")
    poke(disk, (6 << 16, 78))
    ok(abyme, "backup", "create", "--incremental", "kept", str(dest))
    assert "equal" in ok(abyme, "disk", "compare", str(disk), str(dest / "0005" / "disk-0.qcow2"))

    # damage is found
    victim = dest / "0003" / "disk-0.qcow2"
    data = bytearray(victim.read_bytes())
    data[data.index(bytes.fromhex("28b52ffd")) + 9] ^= 4       # within the first frame of zstd
    victim.write_bytes(data)
    status, _, err = abyme("backup", "verify", str(dest))
    assert status == 1 and "damaged" in err, err
    abyme("rm", "kept")


def test_of_a_running_machine(abyme, guest, tmp_path):  # noqa: F811
    disk, dest = tmp_path / "disk.qcow2", tmp_path / "backups"
    ok(abyme, "disk", "create", str(disk), "--size", "256M")
    m = abyme.start("run", "--name", "live", *guest, "--disk", f"{disk},format=qcow2")
    shell(m)
    write(m, "alpha", 1)
    ok(abyme, "backup", "create", "live", str(dest))
    assert "0 of them in vain" in ok(abyme, "disk", "scrub", "--instance", "live", str(disk))
    write(m, "beta", 1)
    write(m, "gamma", 300000)
    ok(abyme, "backup", "create", "--incremental", "live", str(dest))
    write(m, "delta", 300000)
    abyme("kill", "live")
    m.wait(60)
    assert words(abyme, tmp_path, dest / "0001" / "disk-0.qcow2", 1, 300000) == ["alpha", ""]
    assert words(abyme, tmp_path, dest / "0002" / "disk-0.qcow2", 1, 300000) == ["beta", "gamma"]
    code, out, err = abyme("backup", "verify", "--boot", "--expect", "USERSPACE-REACHED", str(dest), seconds=300)
    assert code == 0 and "it starts" in out, err
    code, _, err = abyme("backup", "verify", "--boot", "--expect", "NO-SUCH-WORD", "--seconds", "1", str(dest), seconds=300)
    assert code == 1 and "NO-SUCH-WORD" in err
    assert ok(abyme, "ls", "--quiet").split() == ["live"]     # nothing is left of them
    ok(abyme, "backup", "create", "--incremental", "live", str(dest))
    assert words(abyme, tmp_path, dest / "0003" / "disk-0.qcow2", 1, 300000) == ["beta", "delta"]
    ok(abyme, "disk", "check", "--repair", str(disk))
    qemu_img("check", disk)
    abyme("rm", "live")
