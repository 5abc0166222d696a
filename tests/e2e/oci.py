# SPDX-License-Identifier: GPL-2.0-or-later
"""A bundle, the runtime, and a check that nothing of a container stays behind."""
import copy
import json
import os
import shutil
import subprocess
import uuid

from patience import patience
from status import Status

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OCI = os.path.abspath(os.environ.get("ABYME_OCI", os.path.join(
    os.path.dirname(os.path.abspath(os.environ.get("ABYME", f"{TOP}/build/abyme"))), "abyme-oci")))
APPLETS = ("sh true false sleep cat ls echo id mount umount ps stat hostname env touch rm mkdir ln head wc grep kill tr "
           "stty tty dd date readlink pwd nproc test sysctl cut sort mv chmod mknod unshare ulimit yes").split()
CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT", "CAP_MKNOD"]
CONFIG = {
    "ociVersion": "1.1.0",
    "process": {
        "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": True,
        "capabilities": {s: CAPS for s in ("bounding", "effective", "permitted")}},
    "root": {"path": "rootfs"},
    "hostname": "inside",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}],
    "linux": {
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": ["/proc/keys", "/proc/acpi", "/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/sysrq-trigger"]},
}


def make_rootfs(path):
    for d in ("bin", "proc", "dev", "sys", "tmp", "etc", "room"):
        os.makedirs(f"{path}/{d}")
    shutil.copy("/bin/busybox", f"{path}/bin/busybox")
    for a in APPLETS:
        os.symlink("busybox", f"{path}/bin/{a}")
    with open(f"{path}/etc/passwd", "w", encoding="ascii") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")


def mounts(below):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return sorted(line.split(" ", 3)[3] for line in f if below in line)


def find_cgroups(name):
    return [os.path.join(top, d) for top, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if d == name]


class Bundle:
    def __init__(self, path):
        self.path = str(path)
        self.config = copy.deepcopy(CONFIG)
        self.id = "t" + uuid.uuid4().hex[:12]
        self.root = f"{path}/state"
        self.rootfs = f"{path}/rootfs"
        os.makedirs(self.root)
        make_rootfs(self.rootfs)
        self.before = mounts(self.path)

    def sh(self, script):
        self.config["process"]["args"] = ["/bin/sh", "-c", script]
        return self

    def write(self):
        with open(f"{self.path}/config.json", "w", encoding="utf-8") as f:
            json.dump(self.config, f)

    def argv(self, *args):
        return [OCI, "--root", self.root, *args]

    def __call__(self, *args, seconds=20, text=None, **more):
        """(status, output of both)"""
        p = subprocess.run(self.argv(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience(seconds),
                           check=False, input=text, text=True, **more)
        return Status(p.returncode, p.stdout), p.stdout

    def ok(self, *args, **more):
        status, out = self(*args, **more)
        assert status == 0, f"{args}: {status}: {out}"
        return out

    def run(self, script=None, **more):
        if script is not None:
            self.sh(script)
        self.write()
        return self("run", "--bundle", self.path, self.id, **more)

    def create(self, script=None, *options):
        """The output of a detached process goes to a file."""
        if script is not None:
            self.sh(script)
        self.write()
        with open(f"{self.path}/out", "wb") as out:
            p = subprocess.run(self.argv("create", "--bundle", self.path, *options, self.id), stdin=subprocess.DEVNULL,
                               stdout=out, stderr=subprocess.STDOUT, timeout=patience(60), check=False)
        return Status(p.returncode, self.output()), self.output()

    def output(self):
        with open(f"{self.path}/out", encoding="utf-8", errors="replace") as f:
            return f.read()

    def state(self):
        return json.loads(self.ok("state", self.id))

    def close(self):
        self("delete", "--force", self.id)
        left = [f for f in os.listdir(self.root)]
        groups, after = find_cgroups(self.id), mounts(self.path)
        for g in groups:
            try:
                os.rmdir(g)
            except OSError:
                pass
        assert not left, f"records stayed behind: {left}"
        assert not groups, f"control groups stayed behind: {groups}"
        assert after == self.before, f"mounts stayed behind: {set(after) ^ set(self.before)}"
