# SPDX-License-Identifier: GPL-2.0-or-later
"""--net vhost-user: a machine on a foreign back end, which comes, goes and misbehaves."""
import signal

import pytest

from conftest import TOP, guest_args, off, run, shell
from netpeers import line, sink, source, sunk

PEER = f"{TOP}/tests/e2e/vhost_peer.py"


@pytest.fixture(scope="module", name="guest")
def fixture_guest(kernel_tree, tmp_path_factory):
    return guest_args(kernel_tree("cloud-amd64"), tmp_path_factory.mktemp("vhost"), ["virtio_pci", "virtio_net"])


def back_end(peer, path, mode="offload"):
    p = peer.spawn("/usr/bin/python3", PEER, path, mode)
    line(p, "listening")
    peer("ip", "addr", "replace", "192.0.2.1/24", "dev", "eth0")
    peer("ip", "link", "set", "eth0", "address", "02:00:00:00:77:02", "up")     # the guest remembers it
    return p


def bulk(m, peer, size=2000000):
    """Both ways through the back end."""
    server = sink(peer)
    run(m, f"head -c {size} /dev/zero | nc 192.0.2.1 7777; echo sent-$?", "sent-")
    assert sunk(server) == size
    m.send("nc -l -p 7777 < /dev/null | wc -c | sed s/^/got-/ &\n")
    run(m, "until netstat -ltn | grep -q :7777; do :; done; echo listens-$?", "listens-0")
    source(peer, "192.0.2.2", size)
    m.expect(f"got-{size}", 60)


def reach(m, tag):
    run(m, f"until ping -c 1 -W 2 192.0.2.1; do :; done; echo {tag}-$?", f"{tag}-0", 120)


def test_a_machine_on_a_back_end(lab, guest, tmp_path):
    path = str(tmp_path / "vu.sock")
    status, _, err = lab.abyme("run", "--rm", "--net", f"vhost-user:{path}", *guest)
    assert status == 1 and f"cannot connect to the vhost-user back end '{path}'" in err
    peer = lab.peer("back")
    p = back_end(peer, path)
    m = lab.abyme.start("run", "--rm", "--name", "v", "--net", f"vhost-user:{path},mac=02:00:00:00:77:01", *guest)
    line(p, "running")
    shell(m)
    run(m, "ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0; echo set-$?", "set-0")
    reach(m, "first")
    bulk(m, peer)
    # one that breaks the rules is left, and dialled again
    p.send_signal(signal.SIGUSR1)
    peer("ping", "-c", "1", "-W", "1", "192.0.2.2", check=False)      # so that it wakes
    line(p, "running")
    reach(m, "second")
    # another takes its place, and takes finished frames only
    p.kill()
    p.wait()
    p = back_end(peer, path, "plain")
    line(p, "running")
    reach(m, "third")
    bulk(m, peer)
    # suspended and resumed, with frames coming
    flood = peer.spawn("ping", "-f", "-s", "1000", "192.0.2.2")
    status, _, err = lab.abyme("suspend", "v", str(tmp_path / "saved"), seconds=120)
    assert status == 0, err
    m.wait(60)
    line(p, "left")
    m = lab.abyme.start("resume", str(tmp_path / "saved"))
    line(p, "running")
    flood.kill()
    assert peer.pings("192.0.2.2")
    m.send("\n")
    m.expect("# ", 60)
    bulk(m, peer)
    off(m)
