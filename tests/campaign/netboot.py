# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's own installer with what a mirror lacks of its components.

A mirror that keeps only some of the installer's packages (udebs) serves its index all
the same, and the installer stops at the first one missing.  Those come from the ordinary
packages of the same release instead: kernel modules by where they lie, programs by name.
They go into the installer's initrd, whose list says that they are there."""
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from conftest import cache_dir

ARCH = "amd64"
MODULES = {"ext4": ["fs/ext4"], "isofs": ["fs/isofs"], "loop": ["drivers/block/loop"], "cdrom-core": ["drivers/cdrom", "drivers/scsi/sr_mod"],
           "scsi": ["drivers/block/virtio_blk", "drivers/scsi/virtio_scsi"], "sata": ["drivers/ata"], "md": ["drivers/md"]}
PROGRAMS = {"e2fsprogs-udeb": ["e2fsprogs", "libext2fs2t64", "libcom-err2", "libss2"], "libmount1-udeb": ["libmount1"]}

# What an installation onto a virtio disk with ext4 does without.
DISPENSABLE = ("ata", "pata", "btrfs", "jfs", "xfs", "firewire-core", "pcmcia-storage", "ntfs-3g-udeb", "xfsprogs-udeb")


class Lacking(Exception):
    """A component that nothing takes the place of."""


def host_mirror():
    """The archive that this host's apt uses."""
    p = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"],
                       stdout=subprocess.PIPE, text=True, check=False)
    return next((x.rstrip("/") for x in p.stdout.split("\n") if x.startswith("http") and x.rstrip("/").endswith("/debian")), None)


def stanzas(text):
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", block, re.M))
        if "Package" in fields:
            yield fields


class Archive:
    """One suite of a mirror."""

    def __init__(self, mirror, suite):
        self.mirror, self.suite = mirror, suite
        self.debs = self.index("binary-" + ARCH)

    def get(self, path):
        with urllib.request.urlopen(f"{self.mirror}/{path}", timeout=300) as r:
            return r.read()

    def index(self, part):
        text = lzma.decompress(self.get(f"dists/{self.suite}/main/{part}/Packages.xz")).decode()
        return {x["Package"]: x for x in stanzas(text)}

    def has(self, path):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{self.mirror}/{path}", method="HEAD"), timeout=300):
                return True
        except urllib.error.HTTPError:
            return False

    def unpack(self, package, folder):
        deb = self.debs[package]
        data = self.get(deb["Filename"])
        assert hashlib.sha256(data).hexdigest() == deb["SHA256"], package
        with open(f"{folder}.deb", "wb") as f:
            f.write(data)
        subprocess.run(["dpkg", "-x", f"{folder}.deb", folder], check=True)
        os.unlink(f"{folder}.deb")


def add_modules(archive, kernel, kinds, lib, work):
    """The modules of these kinds, and those that they need, below `lib`."""
    archive.unpack(f"linux-image-{kernel}", f"{work}/kernel")
    base = f"{work}/kernel/lib/modules/{kernel}"
    if not os.path.isdir(base):
        os.symlink("usr/lib", f"{work}/kernel/lib")       # depmod(8) looks below /lib
    subprocess.run(["depmod", "-b", f"{work}/kernel", kernel], check=True)
    with open(f"{base}/modules.dep", encoding="ascii") as f:
        needs = {k: v.split() for k, _, v in (line.strip().partition(":") for line in f)}
    places = tuple(f"kernel/{p}" for k in kinds for p in MODULES.get(k, []))
    for module in [m for m in needs if m.startswith(places)]:
        for one in [module, *needs[module]]:
            to = f"{lib}/modules/{kernel}/{one}"
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(f"{base}/{one}", to)


def missing(archive, installed):
    """Components that the index names, that the initrd does not have, and the mirror neither."""
    rest = [x for x in archive.index(f"debian-installer/binary-{ARCH}").values() if x["Package"] not in installed]
    with ThreadPoolExecutor(8) as pool:
        there = list(pool.map(lambda x: archive.has(x["Filename"]), rest))
    return [x for x, has in zip(rest, there) if not has]


def add_programs(archive, udebs, tree, work):
    """What ordinary packages have of these, below `tree`/usr and /etc."""
    for package in [p for u in udebs for p in PROGRAMS.get(u, [])]:
        archive.unpack(package, f"{work}/programs")
    for part in ("sbin", "lib/x86_64-linux-gnu", "usr/sbin", "usr/lib/x86_64-linux-gnu", "etc"):
        if os.path.isdir(f"{work}/programs/{part}"):
            to = part if part.startswith(("usr", "etc")) else f"usr/{part}"
            shutil.copytree(f"{work}/programs/{part}", f"{tree}/{to}", symlinks=True, dirs_exist_ok=True)


def must_be_there(gone, kernel):
    """Nothing takes the place of a script of the installer's own."""
    lacking = [x["Package"] for x in gone if x.get("Priority") in ("required", "important", "standard")
               and not x["Package"].startswith((*MODULES, *PROGRAMS, *DISPENSABLE)) and x.get("Kernel-Version", kernel) == kernel]
    if lacking:
        raise Lacking(" ".join(lacking))


def amend(archive, initrd, tree, work):
    """`tree` gets what is to be laid over the initrd."""
    os.makedirs(f"{work}/initrd")
    subprocess.run(f"zcat '{initrd}' | cpio -id --quiet --no-absolute-filenames", shell=True, cwd=f"{work}/initrd",
                   stderr=subprocess.DEVNULL, check=False)
    with open(f"{work}/initrd/var/lib/dpkg/status", encoding="utf-8") as f:
        status = f.read()
    lib = "usr/lib" if os.path.islink(f"{work}/initrd/lib") else "lib"
    kernel, = os.listdir(f"{work}/initrd/{lib}/modules")
    gone = missing(archive, {x["Package"] for x in stanzas(status)})
    must_be_there(gone, kernel)
    end = f"-modules-{kernel}-di"
    kinds = [x["Package"][:-len(end)] for x in gone if x["Package"].endswith(end)]
    if kinds:
        add_modules(archive, kernel, kinds, f"{tree}/{lib}", work)
    add_programs(archive, [x["Package"] for x in gone], tree, work)
    os.makedirs(f"{tree}/var/lib/dpkg", exist_ok=True)
    with open(f"{tree}/var/lib/dpkg/status", "w", encoding="utf-8") as f:
        f.write(status.rstrip("\n") + "\n\n")
        for x in gone:
            provides = f"Provides: {x['Provides']}\n" if "Provides" in x else ""
            f.write(f"Package: {x['Package']}\nStatus: install ok unpacked\nVersion: {x['Version']}\n{provides}Description: -\n\n")


def make(mirror, suite, package):
    """A folder with the installer's linux and initrd.gz; made once in the cache."""
    out = os.path.join(cache_dir(), f"installer-{suite}")
    if os.path.isdir(out):
        return out
    archive, work = Archive(mirror, suite), f"{out}.{os.getpid()}"
    os.makedirs(f"{work}/tree")
    try:
        archive.unpack(package, f"{work}/images")
        images = f"{work}/images/usr/lib/debian-installer/images"
        source = f"{images}/{os.listdir(images)[0]}/{ARCH}/text/debian-installer/{ARCH}"
        amend(archive, f"{source}/initrd.gz", f"{work}/tree", work)
        os.makedirs(f"{work}/done")
        shutil.copy(f"{source}/linux", f"{work}/done/linux")
        subprocess.run(f"(cat '{source}/initrd.gz'; find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) > '{work}/done/initrd.gz'", shell=True,
                       cwd=f"{work}/tree", check=True)
        os.rename(f"{work}/done", out)
    finally:
        shutil.rmtree(work)
    return out
