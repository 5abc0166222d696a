# SPDX-License-Identifier: GPL-2.0-or-later
"""Engine kvm, for real: QEMU's TCG emulates AMD-V, a Debian kernel in it loads kvm-amd,
and machines run inside it. One of them is suspended there and goes on under jit here."""
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from conftest import ABYME, TOP, vmlinuz

# Five minutes where the cores are shared: a campaign of its own.
pytestmark = pytest.mark.skipif(not os.environ.get("ABYME_CAMPAIGN"), reason="run by make campaign-kvm")

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ["irqbypass", "ccp", "kvm", "kvm-amd", "virtio", "virtio_ring", "virtio_pci", "virtio_blk"]
INNER_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo USERSPACE-REACHED
if grep -q beat /proc/cmdline; then
	n=0
	while true; do
		n=$((n+1)); s=$(dd if=/dev/zero bs=4k count=16 2>/dev/null | md5sum)
		echo "beat $n ${s%% *}" >/dev/console
		sleep 0.1
	done
fi
exec sh </dev/console >/dev/console 2>&1
"""


def add_tree(image, files, work):
    """Append files {path in the initrd: host file} to a compressed initrd (a second archive)."""
    for path, source in files.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    names = "\n".join(sorted(str(p.relative_to(work)) for p in work.rglob("*")))
    cpio = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=work, input=names.encode(),
                          capture_output=True, check=True).stdout
    with open(image, "ab") as f:
        f.write(subprocess.run(["gzip", "-1"], input=cpio, capture_output=True, check=True).stdout)


def libraries(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+)", out)


@pytest.fixture(scope="module")
def nested(kernel_tree, tmp_path_factory):
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86 is needed to emulate AMD-V")
    tmp = tmp_path_factory.mktemp("kvm")
    tree = kernel_tree("amd64")
    inner_init, inner = tmp / "inner-init", tmp / "inner.gz"
    inner_init.write_text(INNER_INIT)
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", inner, inner_init], check=True)
    outer, disk = tmp / "outer.gz", tmp / "disk.img"
    subprocess.run(["sh", f"{TOP}/scripts/initrd.sh", outer, f"{HERE}/kvm_init.sh", tree, *MODULES], check=True)
    files = {"bin/abyme": ABYME, "guest/initrd.gz": inner, "guest/vmlinux": vmlinuz(kernel_tree("cloud-amd64"))}
    for tool in ("tar", "sed"):
        files["bin/" + tool] = shutil.which("busybox")
    for library in libraries(ABYME):
        files[library.lstrip("/")] = library
    add_tree(outer, files, tmp / "tree")
    with open(disk, "wb") as f:
        f.truncate(400 << 20)
    argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-m", "1024",
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", vmlinuz(tree), "-initrd", outer, "-drive", f"file={disk},format=raw,if=virtio",
            "-append", "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off"]
    try:
        p = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
        text = p.stdout.decode(errors="replace").replace("\r", "")
    except subprocess.TimeoutExpired as e:
        text = (e.stdout or b"").decode(errors="replace") + "\nTIME IS UP"
    return text, disk, tmp


def test_kvm_boots(nested):
    text = nested[0]
    assert "OUTER-READY" in text, text[-3000:]
    assert re.search(r"engine kvm +yes", text), text[-3000:]
    for cpus in (1, 2):
        assert f"inner-{cpus}: USERSPACE-REACHED" in text, text[-3000:]
        assert f"inner-{cpus}: cpus={cpus}" in text, text[-3000:]
        assert f"INNER-{cpus}-STATUS 0" in text, text[-3000:]
    assert not re.search(r"inner.*(BUG|WARNING|Oops):?", text)


def test_kvm_to_jit(nested, abyme):
    """Suspended under kvm, in another computer; goes on here, in software."""
    text, disk, tmp = nested
    assert "STATE-SAVED" in text, text[-3000:]
    with tarfile.open(disk, "r:", ignore_zeros=False) as tar:
        tar.extract("state-file", tmp)
    m = abyme.start("resume", "--rm", "--engine", "jit", str(tmp / "state-file"))
    first = int(m.expect(r"^beat (\d+) fcd6bcb56c1689fcef28b57c22475bad", 60).group(1))
    assert first > 3
    for _ in range(5):
        assert int(m.expect(r"^beat (\d+) fcd6bcb56c1689fcef28b57c22475bad", 30).group(1)) == first + 1
        first += 1
