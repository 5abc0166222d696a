# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian guest whose first process is systemd and whose control groups are as asked, with the runtime in
it. What is asked of it and what it answers goes through a shared folder, so that the terminal's lines do not matter."""
import copy
import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from conftest import ABYME, TOP, Abyme  # noqa: E402  pylint: disable=wrong-import-position
from images import Image, busybox_layer  # noqa: E402  pylint: disable=wrong-import-position
from oci import APPLETS, CONFIG, OCI  # noqa: E402  pylint: disable=wrong-import-position

PACKAGES = "libpam-systemd dbus-user-session uidmap busybox-static podman runc".split()
APPLETS = [*APPLETS, "timeout", "tail", "awk", "sed", "find", "expr"]
CGROUPS = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "nodev", "noexec"]}
USER = 1000


def folder():
    """Of the guest, made once in the cache; None where it cannot be."""
    p = subprocess.run(["sh", f"{TOP}/scripts/guest.sh", *PACKAGES], stdout=subprocess.PIPE, text=True, check=False)
    return None if p.returncode else p.stdout.strip()


def copy_programs(share):
    """All of Abyme's, and the libraries that they link."""
    build, libraries = os.path.dirname(ABYME), set()
    programs = [f for f in os.listdir(build) if f.split("-")[0] == "abyme" and os.access(f"{build}/{f}", os.X_OK)]
    for name in programs:
        shutil.copy(f"{build}/{name}", share / "bin")
        out = subprocess.run(["ldd", f"{build}/{name}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
        libraries |= {line.split()[2] for line in out.splitlines() if "=> /" in line}
    for path in libraries:
        shutil.copy(path, share / "lib")


class Guest:
    def __init__(self, start, path, where, append=""):
        self.share = path / "share"
        self.count = 0
        for d in ("bin", "lib", "out", "bundles"):
            os.makedirs(self.share / d)
        copy_programs(self.share)
        shutil.copy(OCI, self.share / "bin" / "abyme-oci")
        Image(busybox_layer(), tag="box").tar(self.share / "box.tar")
        subprocess.run(["cp", "--sparse=always", f"{where}/disk.img", str(path / "disk.img")], check=True)
        with open(path / "data.img", "wb") as f:
            f.truncate(64 << 20)
        self.m = start("run", "--rm", "--engine", "jit", "--vcpus", "2", "--memory", "2G", "--kernel", f"{where}/vmlinuz",
                       "--initrd", f"{where}/initrd.img", "--append", f"root=LABEL=abyme rw console=ttyS0 {append}",
                       "--disk", str(path / "disk.img"), "--disk", str(path / "data.img"), "--share", f"{self.share}:share")
        self.m.expect("abyme login: ", 300)
        self.m.send("root\n")
        self.m.expect("Password: ", 60)
        self.m.send("abyme\n")
        self.m.expect(r"root@abyme:\S*# ", 60)
        self.m.send("stty -echo; mkdir -p /t && mount -t 9p -o trans=virtio,version=9p2000.L share /t && echo mounted-$?\n")
        self.m.expect("mounted-0", 60)
        self.prepare()

    def prepare(self):
        links = "".join(f"ln -s busybox bin/{a}; " for a in APPLETS)
        self.ok("install -m 755 /t/bin/* /usr/local/bin/; cd /t/lib; for f in *; do [ -e /lib/x86_64-linux-gnu/$f ] || "
                "cp $f /usr/local/lib/; done; ldconfig; mkdir -p /srv/rootfs; cd /srv/rootfs; "
                f"mkdir bin proc dev sys tmp etc room; cp /bin/busybox bin; {links} echo root:x:0:0::/:/bin/sh >etc/passwd")
        self.ok(f"useradd -m -u {USER} someone && mkdir -p /srv/own && cp -a /srv/rootfs /srv/own/ && chown -R someone: /srv/own")
        self.data = self.ok("lsblk -ndo NAME,SIZE,MAJ:MIN | awk '$2 == \"64M\" {print $3}'").strip()

    def __call__(self, command, seconds=60):
        """Status and output of both streams."""
        self.count += 1
        script, out = self.share / "out" / f"{self.count}.sh", self.share / "out" / f"{self.count}.out"
        script.write_text(command + "\n", encoding="utf-8")
        self.m.send(f"sh /t/out/{self.count}.sh </dev/null >/t/out/{self.count}.out 2>&1; echo end-{self.count}=$?\n")
        got = self.m.expect(rf"end-{self.count}=(\d+)", seconds)
        return int(got.group(1)), out.read_text(encoding="utf-8", errors="replace")

    def ok(self, command, seconds=60):
        status, text = self(command, seconds)
        assert status == 0, f"{command}: {status}: {text}"
        return text

    def user(self, command, lingers=True):
        """The command line for the ordinary user, from outside of his own systemd, if he has one."""
        bus = f"XDG_RUNTIME_DIR=/run/user/{USER} DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{USER}/bus"
        run = bus if lingers else "-u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS"
        return f"runuser -u someone -- env {run} HOME=/home/someone sh -c {shlex.quote('cd; ' + command)}"

    def bundle(self, name, script, resources=None, rootless=False, **linux):
        """The bundle's directory in the guest."""
        config = copy.deepcopy(CONFIG)
        config["process"]["args"] = ["/bin/sh", "-c", script]
        config["root"]["path"] = "/srv/own/rootfs" if rootless else "/srv/rootfs"
        config["mounts"].append(CGROUPS)
        config["annotations"] = linux.pop("annotations", {})
        if rootless:
            config["linux"]["namespaces"].append({"type": "user"})
            ids = [{"containerID": 0, "hostID": USER, "size": 1}]
            config["linux"].update(uidMappings=ids, gidMappings=ids)
            config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/sys"]
            config["mounts"].insert(-1, {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]})
        config["linux"].update(resources=resources or {}, **linux)
        where = self.share / "bundles" / name
        os.makedirs(where, exist_ok=True)
        (where / "config.json").write_text(json.dumps(config), encoding="utf-8")
        os.chmod(where / "config.json", 0o644)
        return f"/t/bundles/{name}"

    def show(self, unit, *names, user=False):
        """Properties of a unit."""
        command = f"systemctl {'--user ' if user else ''}show {shlex.quote(unit)} -p {','.join(names)}"
        lines = self.ok(self.user(command) if user else command).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def by_each_runtime(self, resources, look):
        """What look() sees of docker-same.scope, a container with these limits by Debian's runc and one by ours."""
        seen = {}
        for runtime in ("runc", "abyme-oci"):
            bundle = self.bundle("same", "sleep 1000", resources, cgroupsPath="system.slice:docker:same")
            self.ok(f"{runtime} --systemd-cgroup create --bundle {bundle} same >/tmp/out 2>&1 </dev/null || {{ cat /tmp/out; exit 1; }}; "
                    f"{runtime} start same")
            seen[runtime] = look()
            self.ok(f"{runtime} delete --force same")
            self.wait("[ $(systemctl show -p LoadState docker-same.scope) = LoadState=not-found ]")
        return seen

    def wait(self, command, seconds=60):
        """Until the command succeeds in the guest."""
        self.ok(f"i=0; until {command}; do i=$((i+1)); [ $i -lt {seconds * 10} ] || exit 1; sleep 0.1; done", seconds + 30)


def started(tmp_path_factory, append=""):
    """A guest for all tests of a module; for a fixture to yield from."""
    where = folder()
    if not where:
        pytest.skip("the Debian guest cannot be made here")
    path = tmp_path_factory.mktemp("systemd")
    abyme = Abyme(path / "state")
    g = Guest(abyme.start, path, where, append)
    yield g
    g.m.send("poweroff\n")
    g.m.wait(120)
    abyme.close()
