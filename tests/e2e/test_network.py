# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks between real peers: namespaces and machines on one switch."""
import os
import signal
import subprocess

import pytest

from conftest import ABYME, TOP, guest_args, off, run, shell
from netpeers import iperf, line, sink, source, sunk, until
from patience import patience


def test_life_of_a_definition(abyme):
    def ok(*argv):
        status, out, err = abyme("network", *argv)
        assert status == 0, err
        return out
    ok("create", "lan", "--kind", "internal", "--mtu", "9000")
    assert "9000" in ok("list") and "internal" in ok("ls")
    status, _, err = abyme("network", "create", "lan", "--kind", "internal")
    assert status == 1 and "exists already" in err
    ok("edit", "lan", "--mtu", "4000", "--vlan-aware")
    assert "mtu: 4000" in ok("inspect", "lan")
    for bad, word in ((["create", "user"], "another name"), (["create", "x", "--kind", "wan"], "not known"),
                      (["create", "x", "--subnet", "10.1.2.3/24"], "behind its prefix"),
                      (["create", "x", "--kind", "vxlan"], "--peer"), (["create", "x", "--mtu", "90"], "out of range"),
                      (["inspect", "nothere"], "no network")):
        status, _, err = abyme("network", *bad)
        assert status in (1, 2) and word in err, err
    status, _, err = abyme("run", "--dry-run", "--net", "nothere")
    assert status == 2 and "no network 'nothere'" in err
    ok("delete", "lan")
    assert "lan" not in ok("list")


def test_subnets_never_clash(lab):
    """Neither with each other nor with what the host routes."""
    subnets = []
    for i in range(4):
        lab.network(f"n{i}", "--kind", "internal")
        subnets.append(lab.inspect(f"n{i}")["subnet"])
    assert len(set(subnets)) == 4
    status, _, err = lab.abyme("network", "create", "x", "--subnet", subnets[0])
    assert status == 2 and "overlaps" in err
    peer = lab.peer("host")
    base = subnets[0].split("/")[0]
    lab.ok("network", "delete", "n0")
    peer("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    peer("ip", "addr", "add", base[:-1] + "1/24", "dev", "v0")
    peer("ip", "link", "set", "v0", "up")
    p = subprocess.run(["ip", "netns", "exec", peer.ns, lab.abyme.env.get("ABYME", f"{TOP}/build/abyme"), "network",
                        "create", "n0", "--kind", "internal"], env=lab.abyme.env, check=False)
    assert p.returncode == 0
    assert lab.inspect("n0")["subnet"] != subnets[0]


def test_peers_talk_and_nobody_else_listens(lab):
    lab.network("lan", "--kind", "internal", "--ipv6")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert a.pings(b.ip) and b.pings(a.ip)
    for p in (a, b):
        p("ip", "addr", "add", f"{p.ip6}/64", "dev", "eth0", "nodad")
    assert a.pings(b.ip6)
    iperf(a, b, b.ip)
    iperf(a, b, b.ip6, "-R")
    c = lab.join("lan", "c")
    before = lab.stats("lan")["c"]["tx-bytes"]
    iperf(a, b, b.ip)
    assert lab.stats("lan")["c"]["tx-bytes"] - before < 5000, "unicast between others reached a third port"


def test_addresses_stay(lab):
    lab.network("lan", "--kind", "internal")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    first = (a.ip, b.ip)
    for p in (a, b):
        lab.leave(p)
    b, a = lab.join("lan", "b"), lab.join("lan", "a")
    assert (a.ip, b.ip) == first
    c = lab.join("lan", "c", "--ip", first[0].rsplit(".", 1)[0] + ".77")
    assert c.ip.endswith(".77") and a.pings(c.ip)
    status, _, err = lab.abyme("network", "join", "lan", "--as", "d", "--ip", c.ip, "--ifname", "abt0")
    assert status == 1 and "belongs to another" in err


def test_jumbo_frames(lab):
    lab.network("big", "--kind", "internal", "--mtu", "9000")
    a, b = lab.join("big", "a"), lab.join("big", "b")
    assert a.pings(b.ip, size=8972)
    assert not a.pings(b.ip, size=8980, seconds=1)


def test_vlans_keep_apart(lab):
    lab.network("lan", "--kind", "internal", "--vlan-aware", "--subnet", "none")
    ten = [lab.join("lan", n, "--vlan", "10", address=False) for n in ("a", "b")]
    twenty = lab.join("lan", "c", "--vlan", "20", address=False)
    for i, p in enumerate([*ten, twenty]):
        p("ip", "addr", "add", f"192.0.2.{i + 1}/24", "dev", "eth0")
        p("ip", "link", "set", "eth0", "up")
    assert ten[0].pings("192.0.2.2")
    assert not ten[0].pings("192.0.2.3", seconds=2)
    status, _, err = lab.abyme("network", "join", "lan", "--as", "d", "--vlan", "4095", "--ifname", "abt0")
    assert status == 1 and "out of range" in err


def test_isolated_members(lab):
    lab.network("lan", "--kind", "internal", "--isolate")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert not a.pings(b.ip, seconds=2)
    until(lambda: lab.stats("lan")["a"]["drops"].get("isolated"))


def test_a_killed_switch_comes_back(lab):
    lab.network("lan", "--kind", "internal")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert a.pings(b.ip)
    server = sink(b)
    old = lab.inspect("lan")["run"]["switch"]
    source(a, b.ip, 2000000, lambda: os.kill(old, signal.SIGKILL))
    assert a.pings(b.ip)
    now = lab.inspect("lan")["run"]
    assert now["switch"] != old and now["switch-starts"] == 2
    assert sunk(server) == 2000000, "the connection did not live on"


def test_a_killed_keeper_is_replaced(lab):
    lab.network("lan", "--kind", "internal")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert a.pings(b.ip)
    server = sink(b)
    old = lab.inspect("lan")["run"]["keeper"]
    source(a, b.ip, 2000000, lambda: os.kill(old, signal.SIGKILL))
    assert sunk(server) == 2000000, "the connection did not live on"
    for p in (a, b):
        assert p.process.stdout.readline() == "joined again\n"
    now = lab.inspect("lan")["run"]
    assert now["keeper"] != old and {p["name"]: p["ip"] for p in now["ports"]} == {"a": a.ip, "b": b.ip}
    lab.ok("network", "stop", "--force", "lan")
    assert a.process.wait(patience(20)) == 1, "a network that was stopped has ended"


def test_limits_of_members(lab):
    """Rates, groups in rules, isolation of some; each is told by a counter."""
    status, _, err = lab.abyme("network", "join", "lan", "--as", "x", "--rate", "fast")
    assert status == 1 and "no network 'lan'" in err
    lab.network("lan", "--kind", "internal", "--rule", "deny in udp to @db port 9")
    status, _, err = lab.abyme("network", "join", "lan", "--as", "x", "--rate", "fast")
    assert status == 1 and "rate 'fast'" in err
    a = lab.join("lan", "a", "--rate-up", "200k", "--burst", "150k")
    b, c = (lab.join("lan", n, "--group", "db", "--isolated") for n in "bc")
    assert a.pings(b.ip) and a.pings(c.ip)
    assert not b.pings(c.ip, seconds=2)
    for to in (b, c):
        a("/usr/bin/python3", "-c", f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{to.ip}', 9))")
    until(lambda: lab.stats("lan")["a"]["drops"].get("rule") == 2)
    # half a megabyte at once: a burst passes, then 200 KiB a second
    a("/usr/bin/python3", "-c", f"""
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
for i in range(500):
    s.sendto(bytes(1000), ('{b.ip}', 7))
""")
    until(lambda: lab.stats("lan")["a"]["drops"].get("rate"))


def test_a_stopped_member_harms_nobody(lab):
    """A port whose other side takes nothing fills its own queue, no more."""
    lab.network("lan", "--kind", "internal")
    a, b, c = (lab.join("lan", n) for n in "abc")
    assert a.pings(b.ip) and a.pings(c.ip)
    c("ip", "link", "set", "eth0", "down")
    a("ip", "neigh", "replace", c.ip, "lladdr", lab.inspect("lan")["run"]["ports"][0]["mac"], "dev", "eth0")
    a("sh", "-c", f"head -c 3000000 /dev/zero | timeout 3 busybox nc -u {c.ip} 9", check=False)
    assert a.pings(b.ip, count=5)


def test_rules(lab):
    status, _, err = lab.abyme("network", "create", "bad", "--rule", "permit everything")
    assert status == 2 and "does not begin with" in err
    lab.network("lan", "--kind", "internal", "--rule", "allow in tcp to @b port 7777", "--rule", "deny in to @b")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert not a.pings(b.ip, seconds=2)
    until(lambda: lab.stats("lan")["a"]["drops"].get("rule"))
    server = sink(b)
    source(a, b.ip, 300000)
    assert sunk(server) == 300000
    assert b.pings(a.ip), "answers to what a member began come back"
    lab.ok("network", "edit", "lan", "--no-rules")
    assert a.pings(b.ip)


LISTEN = """
import socket, struct, sys
v6 = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7777))
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, sys.argv[1]) +
                 struct.pack("i", socket.if_nametoindex("eth0")))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", socket.inet_aton(sys.argv[1]),
                 bytes(4), socket.if_nametoindex("eth0")))
print("joined", flush=True)
while True:
    s.recv(2000)
    print("got one", flush=True)
"""
SPEAK = """
import socket, struct, sys
v6 = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
if v6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0"))
else:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[2]))
for i in range(50):
    s.sendto(bytes(1000), (sys.argv[1], 7777))
"""


def test_groups_reach_their_members_only(lab):
    """Linux answers the switch's queries by IGMPv3 and MLDv2."""
    lab.network("lan", "--kind", "internal", "--ipv6")
    a, b, c = (lab.join("lan", n) for n in "abc")
    for group in ("239.1.2.3", "ff05::123"):
        listener = b.spawn("/usr/bin/python3", "-c", LISTEN, group)
        line(listener, "joined")

        def spared():
            before = lab.stats("lan")["c"]["tx-bytes"]
            a("/usr/bin/python3", "-c", SPEAK, group, a.ip)
            line(listener, "got one")
            return lab.stats("lan")["c"]["tx-bytes"] - before < 50 * 1000
        until(spared, pause=0.5)
        listener.kill()
        listener.wait()


def test_capture(lab, tmp_path):
    lab.network("lan", "--kind", "internal", "--rule", "deny in udp to @b port 9")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")
    assert a.pings(b.ip)
    path = tmp_path / "lan.pcapng"
    looker = subprocess.Popen([ABYME, "network", "capture", "lan", str(path), "--port", "a", "--drops"], env=lab.abyme.env,
                              stdout=subprocess.PIPE)
    line(looker, "capturing")
    assert a.pings(b.ip, count=3)
    a("/usr/bin/python3", "-c", f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{b.ip}', 9))")
    until(lambda: lab.stats("lan")["a"]["drops"].get("rule"))
    looker.send_signal(signal.SIGINT)
    assert looker.wait(patience(20)) == 0
    looker.stdout.close()
    text = subprocess.run(["tcpdump", "-n", "-r", str(path)], capture_output=True, text=True, check=True).stdout
    assert text.count("ICMP echo request") >= 3 and text.count("ICMP echo reply") >= 3, text
    assert f"> {b.ip}.9:" in text, text
    assert b"dropped, a rule denies it" in path.read_bytes()
    # ring files: small ones, the last two stay
    small = tmp_path / "small"
    looker = subprocess.Popen([ABYME, "network", "capture", "lan", str(small), "--size", "4k", "--count", "60"],
                              env=lab.abyme.env, stdout=subprocess.PIPE)
    line(looker, "capturing")
    a("ping", "-c", "100", "-i", "0.02", b.ip)
    assert looker.wait(patience(20)) == 0
    looker.stdout.close()
    files = sorted(tmp_path.glob("small*"))
    assert len(files) == 2
    for f in files:
        subprocess.run(["tcpdump", "-n", "-r", str(f)], capture_output=True, check=True)


def test_trace(lab):
    lab.network("lan", "--kind", "internal", "--rule", "deny in tcp to @b port 22")
    a, b = lab.join("lan", "a"), lab.join("lan", "b")

    def trace(*words):
        status, out, err = lab.abyme("network", "trace", "lan", *words)
        return status, out + err
    assert trace("a", "b:80")[0] == 0
    status, text = trace("a", "b:22")
    assert status == 1 and "DROP" in text and "a rule denies it" in text
    assert trace("b", a.ip)[0] == 0
    assert "no other port" in trace("a", "192.0.2.1")[1]
    assert "not a member" in trace("a", "nobody")[1]
    assert lab.stats("lan")["a"]["drops"].get("rule", 0) == 0, "a trace changes nothing"
    assert b.ip


# ---- machines ----

def reaches(address):
    """A guest's command that ends when an answer comes."""
    return f"until ping -c 1 -W 2 {address}; do :; done"


@pytest.fixture(scope="module", name="guest")
def fixture_guest(kernel_tree, tmp_path_factory):
    return guest_args(kernel_tree("cloud-amd64"), tmp_path_factory.mktemp("network"), ["virtio_pci", "virtio_net", "8021q", "bridge"])


FLOOD = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
for i in range(2000):
    s.sendto(bytes(1000), (sys.argv[1], 9))
"""


def machine_of(m):
    """The process of a started machine that maps its memory: its keeper's child."""
    keeper, = children(m.process.pid, "abyme-keeper")
    return children(keeper, "abyme-machine")[0]


def children(pid, name):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(pid), "-x", name], capture_output=True, text=True,
                                           check=False).stdout.split()]


def test_machines_and_a_namespace(lab, guest):
    lab.network("lan", "--kind", "internal", "--poll", "100")
    machines = [lab.abyme.start("run", "--rm", "--name", n, "--net", "lan", *guest) for n in ("one", "two")]
    peer = lab.join("lan", "peer")
    for m in machines:
        shell(m)
    ports = {p["name"]: p for p in lab.inspect("lan")["run"]["ports"]}
    for m, name in zip(machines, ("one", "two")):
        run(m, f"ip link set eth0 up; ip addr add {ports[name]['ip']}/24 dev eth0; echo set-$?", "set-0")
    run(machines[0], f"{reaches(ports['two']['ip'])}; echo ping-$?", "ping-0")
    assert peer.pings(ports["one"]["ip"])
    # bulk both ways, between machine and namespace
    server = sink(peer)
    run(machines[0], f"head -c 3000000 /dev/zero | nc {peer.ip} 7777; echo sent-$?", "sent-")
    assert sunk(server) == 3000000
    # one that is stuck fills its own ring, and nothing else
    assert peer.pings(ports["two"]["ip"])
    stuck = machine_of(machines[1])
    os.kill(stuck, signal.SIGSTOP)
    peer("/usr/bin/python3", "-c", FLOOD, ports["two"]["ip"])
    until(lambda: lab.stats("lan")["two"]["drops"].get("full"))
    assert peer.pings(ports["one"]["ip"], count=5)
    os.kill(stuck, signal.SIGCONT)
    assert peer.pings(ports["two"]["ip"])
    os.kill(lab.inspect("lan")["run"]["switch"], signal.SIGKILL)
    run(machines[0], f"{reaches(ports['two']['ip'])}; echo again-$?", "again-0")
    # and its keeper
    os.kill(lab.inspect("lan")["run"]["keeper"], signal.SIGKILL)
    until(lambda: len(lab.inspect("lan").get("run", {}).get("ports", [])) == 3)
    run(machines[0], f"{reaches(ports['two']['ip'])}; echo third-$?", "third-0")
    # one that is killed takes its port with it, and nothing else
    os.kill(stuck, signal.SIGKILL)
    assert machines[1].wait(60) != 0
    until(lambda: sorted(p["name"] for p in lab.inspect("lan")["run"]["ports"]) == ["one", "peer"])
    assert peer.pings(ports["one"]["ip"])
    off(machines[0])


def test_a_trunk_into_a_machine(lab, guest):
    """A Linux guest with a bridge on a trunk port, and VLAN interfaces of its own on that."""
    lab.network("lan", "--kind", "internal", "--vlan-aware", "--subnet", "none")
    m = lab.abyme.start("run", "--rm", "--name", "t", "--net", "lan,trunk=10:20", *guest)
    peers = {v: lab.join("lan", f"v{v}", "--vlan", str(v), address=False) for v in (10, 20, 30)}
    for v, p in peers.items():
        p("ip", "addr", "add", f"192.0.2.{v}/24", "dev", "eth0")
        p("ip", "link", "set", "eth0", "up")
    shell(m)
    run(m, "brctl addbr br0; brctl addif br0 eth0; ip link set eth0 up; ip link set br0 up; "
        "for v in 10 20 30; do ip link add link br0 name e$v type vlan id $v; "
        "ip link set e$v up; ip addr add 192.0.2.1$v/32 dev e$v; ip route add 192.0.2.$v/32 dev e$v src 192.0.2.1$v; done; "
        "echo set-$?", "set-0")
    for v in (10, 20):
        run(m, f"{reaches(f'192.0.2.{v}')}; echo v{v}-$?", f"v{v}-0")
    run(m, "ping -c 2 -W 2 192.0.2.30; echo v30-$?", "v30-1")
    off(m)
