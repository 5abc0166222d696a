# SPDX-License-Identifier: GPL-2.0-or-later
"""abyme snapshot: of a running machine and of a stopped one, as a tree."""
import json

from test_disks import guest, ok, qemu_img, run, shell  # noqa: F401, pylint: disable=unused-import


def write(m, word, sector):
    run(m, f"echo {word} | dd of=/dev/vda bs=512 seek={sector} conv=fsync 2>/dev/null; echo {word}-written=$?",
        f"^{word}-written=0")


def words(abyme, tmp_path, disk, *sectors):
    flat = tmp_path / "flat.img"
    flat.unlink(missing_ok=True)
    ok(abyme, "disk", "convert", str(disk), str(flat))
    data = flat.read_bytes()
    return [data[512 * s:512 * s + 8].split(b"\n")[0].strip(b"\0").decode() for s in sectors]


def test_running_and_stopped(abyme, guest, tmp_path):  # noqa: F811
    disk = tmp_path / "disk.qcow2"
    ok(abyme, "disk", "create", str(disk), "--size", "256M")
    m = abyme.start("run", "--name", "tree", *guest, "--disk", f"{disk},format=qcow2")
    shell(m)
    write(m, "alpha", 1)
    ok(abyme, "snapshot", "create", "tree", "first")
    write(m, "beta", 1)
    write(m, "gamma", 90000)
    ok(abyme, "snapshot", "create", "tree", "second")
    status, _, err = abyme("snapshot", "create", "tree", "second")
    assert status == 1 and "already" in err
    status, _, err = abyme("snapshot", "restore", "tree", "first")
    assert status == 1 and "stop it" in err
    write(m, "delta", 90000)
    m.send("poweroff -f\n")
    assert m.wait(60) == 0
    assert words(abyme, tmp_path, disk, 1, 90000) == ["beta", "delta"]
    qemu_img("check", disk)

    ok(abyme, "snapshot", "restore", "tree", "first")
    assert words(abyme, tmp_path, disk, 1, 90000) == ["alpha", ""]
    ok(abyme, "snapshot", "create", "tree", "third")
    tree = json.loads(ok(abyme, "snapshot", "tree", "--format", "json", "tree"))
    assert tree["current"] == "third"
    assert {s["name"]: s["parent"] for s in tree["snapshots"]} == {"first": None, "second": "first", "third": "first"}
    lines = ok(abyme, "snapshot", "tree", "tree").splitlines()
    assert [line.split()[0] for line in lines] == ["first", "second", "third"]
    assert lines[1].startswith("  second") and "here" in lines[2]

    ok(abyme, "snapshot", "delete", "tree", "first")
    tree = json.loads(ok(abyme, "snapshot", "list", "--format", "json", "tree"))
    assert {s["name"]: s["parent"] for s in tree["snapshots"]} == {"second": None, "third": None}
    ok(abyme, "snapshot", "restore", "tree", "second")
    assert words(abyme, tmp_path, disk, 1, 90000) == ["beta", "gamma"]
    for name in ("second", "third"):
        ok(abyme, "snapshot", "delete", "tree", name)
    assert "no errors" in ok(abyme, "disk", "check", str(disk))
    qemu_img("check", disk)
    status, _, err = abyme("snapshot", "delete", "tree", "third")
    assert status == 1 and "no snapshot" in err
    abyme("rm", "tree")


def test_delete_while_running(abyme, guest, tmp_path):  # noqa: F811
    disk = tmp_path / "disk.qcow2"
    ok(abyme, "disk", "create", str(disk), "--size", "64M", "--cluster-size", "4k")
    m = abyme.start("run", "--rm", "--name", "busy", *guest, "--disk", f"{disk},format=qcow2")
    shell(m)
    run(m, "dd if=/dev/urandom of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; echo filled=$?", "^filled=0")
    ok(abyme, "snapshot", "create", "busy", "one")
    run(m, "dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; echo zeroed=$?", "^zeroed=0")
    ok(abyme, "snapshot", "delete", "busy", "one")
    write(m, "omega", 3)
    m.send("poweroff -f\n")
    assert m.wait(60) == 0
    assert words(abyme, tmp_path, disk, 3) == ["omega"]
    assert "no errors" in ok(abyme, "disk", "check", str(disk))
    qemu_img("check", disk)


def test_raw_is_refused(abyme, tmp_path):
    disk = tmp_path / "raw.img"
    ok(abyme, "disk", "create", str(disk), "--size", "1M")
    ok(abyme, "create", "--name", "plain", "--firmware", "bios", "--disk", str(disk))
    status, _, err = abyme("snapshot", "create", "plain", "one")
    assert status == 1 and "qcow2" in err
    assert json.loads(ok(abyme, "snapshot", "list", "--format", "json", "plain"))["snapshots"] == []
    abyme("rm", "plain")
