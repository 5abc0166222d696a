# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines on a vhost-user back end that others wrote: Open vSwitch with DPDK.

    make campaign-vhost         wants openvswitch-switch-dpdk, and root
"""
import os
import shutil
import signal
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
# pylint: disable=unused-import,wrong-import-position
from conftest import abyme, guest_args, kernel_tree, lab, off, run, shell  # noqa: E402, F401
from netpeers import needs_namespaces, until  # noqa: E402
from test_vhost_user import bulk, reach  # noqa: E402

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PORTS = "vu0", "vu1"


class Vswitch:
    """One bridge in a namespace of its own: the ports, and the namespace's own interface br0."""

    def __init__(self, peer, place):
        self.peer, self.place = peer, place
        self.env = dict(os.environ, **{f"OVS_{w}": place for w in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")})
        self.processes = []
        peer("ovsdb-tool", "create", f"{place}/conf.db", SCHEMA)
        self.spawn("ovsdb-server", f"{place}/conf.db", f"--remote=punix:{place}/db.sock")
        until(lambda: os.path.exists(f"{place}/db.sock"))
        self("--no-wait", "init")
        # without huge pages, one thread that polls
        self("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", "other_config:pmd-cpu-mask=2",
             "other_config:per-port-memory=true", "other_config:dpdk-extra=--no-huge --legacy-mem --no-pci --no-telemetry -m 1024")
        self.start()
        self("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        for p in PORTS:
            self("add-port", "br0", p, "--", "set", "Interface", p, "type=dpdkvhostuser")
        self.address()

    def spawn(self, *argv):
        self.processes.append(self.peer.spawn(*argv, f"--log-file={self.place}/{os.path.basename(argv[0])}.log",
                                              env=self.env))
        return self.processes[-1]

    def __call__(self, *argv):
        return self.peer("ovs-vsctl", f"--db=unix:{self.place}/db.sock", "--timeout=60", *argv, seconds=90)

    def start(self):
        self.daemon = self.spawn(VSWITCHD, f"unix:{self.place}/db.sock")

    def address(self):
        until(lambda: all(os.path.exists(f"{self.place}/{p}") for p in PORTS))
        until(lambda: not self.peer("ip", "addr", "replace", "192.0.2.1/24", "dev", "br0", check=False))
        self.peer("ip", "link", "set", "br0", "address", "02:00:00:00:77:02", "up")

    def restart(self):
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        for p in PORTS:
            os.unlink(f"{self.place}/{p}")
        self.start()
        self.address()

    def stop(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.terminate()
                p.wait(60)


@pytest.fixture(name="vswitch")
def fixture_vswitch(lab, tmp_path):  # noqa: F811
    why = needs_namespaces() or ("" if os.path.exists(VSWITCHD) and shutil.which("ovsdb-tool") else
                                 "the package openvswitch-switch-dpdk is not installed")
    if why:
        pytest.skip(why)
    v = Vswitch(lab.peer("ovs"), str(tmp_path))
    yield v
    v.stop()


def test_two_machines(lab, vswitch, kernel_tree, tmp_path):  # noqa: F811
    guest = guest_args(kernel_tree("cloud-amd64"), tmp_path, ["virtio_pci", "virtio_net"])
    machines = []
    for i, port in enumerate(PORTS):
        m = lab.abyme.start("run", "--rm", "--name", f"m{i}", "--net", f"vhost-user:{vswitch.place}/{port}", *guest)
        shell(m)
        run(m, f"ip link set eth0 up; ip addr add 192.0.2.{2 + i}/24 dev eth0; echo set-$?", "set-0")
        reach(m, f"first{i}")
        machines.append(m)
    bulk(machines[0], vswitch.peer)
    # from machine to machine
    machines[1].send("sleep 9999 | nc -l -p 7777 | wc -c | sed s/^/got-/ &\n")
    run(machines[1], "until netstat -ltn | grep -q :7777; do :; done; echo listens-$?", "listens-0")
    run(machines[0], "head -c 2000000 /dev/zero | nc 192.0.2.3 7777; echo sent-$?", "sent-")
    machines[1].expect("got-2000000", 120)
    # the switch dies, and another takes its place
    vswitch.restart()
    for i, m in enumerate(machines):
        reach(m, f"second{i}")
    bulk(machines[0], vswitch.peer)
    for m in machines:
        off(m)
