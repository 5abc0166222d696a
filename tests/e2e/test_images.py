# SPDX-License-Identifier: GPL-2.0-or-later
"""The image store: in, out, shared, swept; what is hostile or cut short leaves nothing behind."""
import json
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import time

import pytest

from conftest import ABYME
from images import Image, busybox_layer, digest, directory, entry, hardlink, layer, symlink
from patience import patience

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="looks at owners and whiteouts as root")


def store(abyme, kind):
    try:
        return sorted(f for f in os.listdir(f"{abyme.state}/images/{kind}") if f[0] != ".")
    except FileNotFoundError:
        return []


def ok(abyme, *args, **more):
    status, out, err = abyme(*args, **more)
    assert status == 0, (args, out, err)
    return out


def root(abyme, tar):
    return f"{abyme.state}/images/layers/{digest(tar)[7:]}"


def test_ways_in_and_out(abyme, tmp_path):
    base = layer(directory("etc"), entry("etc/a", b"one"))
    image = Image(base, layer(entry("etc/b", b"two")), tag="reg.example:5000/team/app:v1")
    assert ok(abyme, "load", image.tar(tmp_path / "oci.tar")) == "reg.example:5000/team/app:v1\n"
    assert ok(abyme, "load", "--name", "again", image.layout(tmp_path / "layout")) == "again:latest\n"
    old = Image(base, tag="old:1", compress=None)
    ok(abyme, "load", old.tar(tmp_path / "docker.tar", old.docker_files()))
    names = [i["name"] for i in json.loads(ok(abyme, "images", "--format", "json"))]
    assert names == ["again:latest", "old:1", "reg.example:5000/team/app:v1"]
    assert len(store(abyme, "layers")) == 2, "layers are shared"
    ok(abyme, "save", "-o", str(tmp_path / "out.tar"), "again", "old:1")
    ok(abyme, "save", "-o", str(tmp_path / "out2.tar"), "again", "old:1")
    assert (tmp_path / "out.tar").read_bytes() == (tmp_path / "out2.tar").read_bytes()
    ok(abyme, "rmi", "again", "old:1")
    assert len(store(abyme, "layers")) == 2, "one tag is left"
    ok(abyme, "rmi", "reg.example:5000/team/app:v1")
    assert not store(abyme, "layers") + store(abyme, "blobs") + store(abyme, "tmp") + store(abyme, "refs")
    assert ok(abyme, "load", str(tmp_path / "out.tar")).split() == ["again:latest", "old:1"]
    assert open(f"{root(abyme, base)}/etc/a", encoding="ascii").read() == "one"


def test_a_peer_reads_and_writes(abyme, tmp_path):
    """skopeo, which is Podman's half that copies images."""
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed: scripts/deps.sh")
    def copy(source, target):
        p = subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, target], capture_output=True, text=True,
                           timeout=patience(120), check=False)
        assert p.returncode == 0, p.stderr
    image = Image(layer(entry("a", b"1")), layer(entry("b", b"2")), tag="peer.example/ours:1")
    ok(abyme, "load", image.tar(tmp_path / "in.tar"))
    out = str(tmp_path / "out.tar")
    ok(abyme, "save", "-o", out, "peer.example/ours:1")
    for n, source in enumerate((f"oci-archive:{out}", f"docker-archive:{out}")):
        copy(source, f"docker-archive:{tmp_path}/docker{n}.tar:peer.example/theirs:{n}")
        assert ok(abyme, "load", f"{tmp_path}/docker{n}.tar") == f"peer.example/theirs:{n}\n"
    assert len(store(abyme, "layers")) == 2


def test_what_a_layer_keeps(abyme, tmp_path):
    caps = bytes.fromhex("0100000200040000000000000000000000000000")
    tar = layer(directory("a", 0o751, uid=5, gid=6, mtime=1000), entry("a/set", b"x", mode=0o4755, uid=7, gid=8),
                entry("a/cap", b"y", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": caps.decode("latin1"),
                                                              "SCHILY.xattr.user.note": "kept"}),
                hardlink("a/same", "a/set"), symlink("a/link", "/etc/shadow"), entry("a/pipe", kind=tarfile.FIFOTYPE),
                entry("n\u00e4me \u4e16", b"z"), entry("./a/dot", b""))
    ok(abyme, "load", Image(tar).tar(tmp_path / "i.tar"))
    top = root(abyme, tar)
    s, d = os.lstat(f"{top}/a/set"), os.lstat(f"{top}/a")
    assert (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_nlink) == (0o4755, 7, 8, 2)
    assert (stat.S_IMODE(d.st_mode), d.st_uid, d.st_gid, d.st_mtime) == (0o751, 5, 6, 1000)
    assert os.getxattr(f"{top}/a/cap", "security.capability")[:4] == caps[:4]
    assert os.getxattr(f"{top}/a/cap", "user.note") == b"kept"
    assert os.readlink(f"{top}/a/link") == "/etc/shadow" and stat.S_ISFIFO(os.lstat(f"{top}/a/pipe").st_mode)
    assert os.path.exists(f"{top}/n\u00e4me \u4e16") and os.path.exists(f"{top}/a/dot")


def test_whiteouts(abyme, tmp_path):
    tar = layer(entry(".wh.gone", b""), directory("d"), entry("d/.wh..wh..opq", b""), entry("d/new", b"n"),
                entry("replaced/below", b"x"), entry(".wh.replaced", b""), entry(".wh..wh.aufs", b""),
                entry(".wh.again", b""), directory("again"))
    ok(abyme, "load", Image(tar).tar(tmp_path / "i.tar"))
    top = root(abyme, tar)
    gone = os.lstat(f"{top}/gone")
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    for opaque in ("d", "replaced", "again"):
        assert os.getxattr(f"{top}/{opaque}", "user.overlay.opaque") == b"y", opaque
    assert os.path.exists(f"{top}/replaced/below")
    assert not [f for f in os.listdir(top) + os.listdir(f"{top}/d") if f.startswith(".wh.")]


ESCAPES = {
    "dots": [entry("../out", b"x")],
    "dots inside": [entry("a/../../out", b"x")],
    "hard link out": [hardlink("h", "../../../../etc/passwd")],
    "hard link to nothing": [hardlink("h", "/etc/passwd")],
    "hard link through a link": [symlink("s", "/etc"), hardlink("h", "s/passwd")],
    "hard link to a directory": [directory("d"), hardlink("h", "d")],
    "whiteout of dots": [entry(".wh...", b"")],
    "whiteout of nothing": [entry(".wh.", b"")],
    "file as a parent": [entry("f", b""), entry("f/g", b"")],
    "owner out of range": [entry("f", b"", uid=1 << 33)],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_refused_layers(abyme, tmp_path, name):
    status, out, err = abyme("load", Image(layer(*ESCAPES[name])).tar(tmp_path / "i.tar"))
    assert status == 1 and not out and len(err.strip().splitlines()) == 1, (out, err)
    assert not store(abyme, "layers") + store(abyme, "tmp") + store(abyme, "refs")
    assert not os.path.exists(tmp_path / "out") and not os.path.exists("/out")


def test_harmless_layers(abyme, tmp_path):
    """What looks like an escape and is taken, but leads nowhere."""
    canary = tmp_path / "canary"
    canary.mkdir()
    tar = layer(entry("/abs", b"x"), symlink("up", "../../../../.."), entry(f"up{canary}/file", b"x"),
                symlink("abs-link", str(canary)), entry("abs-link/file", b"x"), symlink("late", str(canary)), entry("late", b"file"),
                entry("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3), entry("disk", kind=tarfile.BLKTYPE, devmajor=8),
                entry("hidden", kind=tarfile.CHRTYPE, devmajor=0, devminor=0),
                directory("o", pax_headers={"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.opaque": "y",
                                            "SCHILY.xattr.user.overlay.redirect": "/etc"}),
                symlink("dir-to-be", "/etc"), directory("dir-to-be"), entry("dir-to-be/x", b""))
    ok(abyme, "load", Image(tar).tar(tmp_path / "i.tar"))
    top = root(abyme, tar)
    assert not list(canary.iterdir()) and os.path.exists(f"{top}/abs") and os.path.exists(f"{top}{canary}/file")
    assert not [f for f in ("null", "disk", "hidden") if os.path.lexists(f"{top}/{f}")]
    assert os.listxattr(f"{top}/o") == [] and os.path.isdir(f"{top}/dir-to-be") and os.path.exists(f"{top}/dir-to-be/x")


def broken_images(tmp_path):
    good = Image(layer(entry("f", b"x" * 5000)))
    files = good.files()
    blob = f"blobs/sha256/{digest(good.blobs[0])[7:]}"
    yield "flipped byte", dict(files, **{blob: files[blob][:-9] + b"!" + files[blob][-8:]})
    yield "cut blob", dict(files, **{blob: files[blob][:-20]})
    yield "no blob", {k: v for k, v in files.items() if k != blob}
    yield "no index", {k: v for k, v in files.items() if k != "index.json"}
    yield "index no json", dict(files, **{"index.json": b"{"})
    yield "index of nothing", dict(files, **{"index.json": b"{}"})
    yield "index of a path", dict(files, **{"index.json": json.dumps({"manifests": [
        {"digest": "sha256:../../../etc/passwd", "size": 1}]}).encode()})
    wrong = Image(layer(entry("f", b"x")))
    wrong.config["rootfs"]["diff_ids"] = [digest(b"other")]
    yield "wrong diff id", wrong.files()
    short = Image(layer(entry("f", b"x")))
    short.change = {0: {"size": 3}}
    yield "wrong size", short.files()
    more = Image(layer(entry("f", b"x")))
    more.config["rootfs"]["diff_ids"] = []
    yield "fewer diff ids", more.files()
    yield "no tar", Image(b"this is no tar, but it is long enough" * 100).files()
    cut = layer(entry("f", b"x" * 100000))
    yield "cut tar", Image(cut[:50000]).files()
    foreign = Image(layer(entry("f", b"x")))
    foreign.config["os"] = "windows"
    yield "windows", foreign.files()
    many = Image(*[layer(entry(f"f{i}", b"")) for i in range(129)])
    yield "129 layers", many.files()
    docker = Image(layer(entry("f", b"")), tag="UPPER//bad")
    yield "bad tag", docker.docker_files()


def test_broken_images(abyme, tmp_path):
    for name, files in broken_images(tmp_path):
        status, out, err = abyme("load", Image().tar(tmp_path / "i.tar", files))
        assert status == 1 and len(err.strip().splitlines()) == 1, (name, out, err)
        assert not store(abyme, "tmp") + store(abyme, "refs"), name
    ok(abyme, "image", "prune")
    assert not store(abyme, "blobs") + store(abyme, "layers")


def test_deep(abyme, tmp_path):
    """Deeper than any path, by way of links; it can still be removed."""
    part = "/".join(["d"] * 200)
    entries = [directory(part)]
    for n in range(5):
        entries += [symlink(f"s{n}", f"s{n - 1}/{part}" if n else part), directory(f"s{n}/{part}")]
    ok(abyme, "load", Image(layer(*entries)).tar(tmp_path / "i.tar"))
    ok(abyme, "rmi", "test")
    assert not store(abyme, "layers") + store(abyme, "tmp")


def test_full_disk(abyme, tmp_path):
    image = Image(layer(entry("big", os.urandom(3 << 20))), compress=None).tar(tmp_path / "i.tar")
    os.makedirs(f"{abyme.state}/images")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", f"{abyme.state}/images"], check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        status, _, err = abyme("load", image)
        assert status == 1 and "No space left" in err, err
        assert not store(abyme, "tmp") + store(abyme, "refs") + store(abyme, "layers")
        small = Image(layer(entry("small", b"s"))).tar(tmp_path / "s.tar")
        ok(abyme, "image", "prune")
        ok(abyme, "load", small)
    finally:
        subprocess.run(["umount", f"{abyme.state}/images"], check=True)


def test_killed_at_any_moment(abyme, tmp_path):
    """What is there after a kill is whole; the next sweep takes the rest."""
    tar = layer(*[entry(f"f{i}", os.urandom(2000)) for i in range(100)])
    image = Image(tar, layer(entry("more", b"m"))).tar(tmp_path / "i.tar")
    start = time.monotonic()
    ok(abyme, "load", image)
    whole = time.monotonic() - start
    ok(abyme, "rmi", "test")
    for n in range(6):
        p = subprocess.Popen([ABYME, "load", image], env=abyme.env, stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(whole * n / 6)
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        if store(abyme, "refs"):
            assert len(store(abyme, "layers")) == 2
            ok(abyme, "rmi", "test")
        for have in store(abyme, "layers"):
            assert have != digest(tar)[7:] or len(os.listdir(root(abyme, tar))) == 100
        ok(abyme, "load", image)
        assert len(os.listdir(root(abyme, tar))) == 100
        ok(abyme, "rmi", "test")
        assert not store(abyme, "tmp") + store(abyme, "blobs") + store(abyme, "layers"), n


def test_import(abyme, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_text("data")
    os.link(tree / "sub/file", tree / "sub/other")
    os.symlink("/nowhere", tree / "link")
    assert ok(abyme, "image", "import", str(tree), "mine:1") == "mine:1\n"
    out = json.loads(ok(abyme, "image", "inspect", "mine:1"))
    top = f"{abyme.state}/images/layers/{out['config']['rootfs']['diff_ids'][0][7:]}"
    assert os.lstat(f"{top}/sub/file").st_nlink == 2 and os.readlink(f"{top}/link") == "/nowhere"
    with tarfile.open(tmp_path / "t.tar.xz", "w:xz") as t:
        t.add(tree, ".")
    ok(abyme, "image", "import", str(tmp_path / "t.tar.xz"), "mine:2")
    ok(abyme, "image", "tag", "mine:2", "mine:3")
    assert len(json.loads(ok(abyme, "images", "--format", "json"))) == 3
    for wrong in (["image", "import", str(tree), "Bad Name"], ["image", "inspect", "nothing"], ["rmi", "nothing"], ["save", "nothing"],
                  ["image", "import", "/nonexistent", "x"], ["load", "/etc/hostname"], ["load", str(tree)]):
        status, _, err = abyme(*wrong)
        assert status == 1 and len(err.strip().splitlines()) == 1, (wrong, err)
