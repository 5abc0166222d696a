# SPDX-License-Identifier: GPL-2.0-or-later
"""What networks lead to, and what they tell their members; peers are namespaces."""
import os
import signal
import subprocess

from conftest import ABYME
from netpeers import iperf, line, sink, source, sunk, until
from patience import patience


def wire(a, b, a_if, b_if, a_ip=None, b_ip=None):
    """A cable between two namespaces."""
    a("ip", "link", "add", a_if, "type", "veth", "peer", "name", b_if, "netns", b.ns)
    for p, dev, ip in ((a, a_if, a_ip), (b, b_if, b_ip)):
        if ip:
            p("ip", "addr", "add", ip, "dev", dev)
        p("ip", "link", "set", dev, "up")


def start_in(lab, peer, network):
    """The network's outside is that of the namespace."""
    p = subprocess.run(["ip", "netns", "exec", peer.ns, ABYME, "network", "start", network], env=lab.abyme.env,
                       capture_output=True, text=True, check=False, timeout=patience(30))
    assert p.returncode == 0, p.stderr


def by_dhcp(peer, tmp_path, *options):
    """What dhclient was told. It stays in the foreground until its namespace ends."""
    lease = tmp_path / f"{peer.ns}.leases"
    p = peer.spawn("dhclient", "-d", "-1", "-v", *options, "-sf", "/bin/true", "-lf", str(lease), "-pf",
                   str(tmp_path / f"{peer.ns}.pid"), "eth0")
    return line(p, "ound to") + lease.read_text()


def test_nat_reaches_the_outside(lab, tmp_path):
    lab.network("n", "--kind", "nat", "--host-loopback")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    start_in(lab, host, "n")
    a, b = lab.join("n", "a", address=False), lab.join("n", "b")
    a("ip", "link", "set", "eth0", "up")
    text = by_dhcp(a, tmp_path)
    net = lab.inspect("n")["subnet"].rsplit(".", 1)[0]
    for word in (f"fixed-address {a.ip}", f"routers {net}.1", f"domain-name-servers {net}.2", 'domain-name "abyme"',
                 'host-name "a"', "interface-mtu 1500"):
        assert word in text, text
    said = b("sh", "-c", "exec busybox udhcpc \"$@\" 2>&1", "sh", "-f", "-q", "-n", "-t", "20", "-i", "eth0", "-s", "/bin/true")
    assert f"lease of {b.ip} obtained" in said, said
    a("ip", "addr", "add", f"{a.ip}/24", "dev", "eth0")
    for p in (a, b):
        p("ip", "route", "add", "default", "via", f"{net}.1")
    assert a.pings(b.ip), "members of one NAT reach each other"
    server = sink(far)
    source(a, "198.51.100.2", 5000000)
    assert sunk(server) == 5000000
    iperf(a, far, "198.51.100.2")
    iperf(a, far, "198.51.100.2", "-R")
    # what the host serves on its loopback, through the gateway
    server = sink(host)
    source(b, f"{net}.1", 100000)
    assert sunk(server) == 100000


def test_nat_outlives_its_processes(lab):
    lab.network("n", "--kind", "nat")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    start_in(lab, host, "n")
    a = lab.join("n", "a", "--publish", "198.51.100.1:7777:7777", home=host)
    net = lab.inspect("n")["subnet"].rsplit(".", 1)[0]
    a("ip", "route", "add", "default", "via", f"{net}.1")

    def pid(name):
        return lab.inspect("n").get("run", {}).get(name)
    server = sink(far)
    source(a, "198.51.100.2", 2000000, lambda: os.kill(pid("switch"), signal.SIGKILL))
    assert sunk(server) == 2000000, "the connection did not live on"
    for name in ("nat", "keeper"):
        old = pid(name)
        os.kill(old, signal.SIGKILL)
        until(lambda: pid(name) not in (None, 0, old) and [p for p in lab.inspect("n")["run"]["ports"] if p["name"] == "a"])
        for one, other in ((a, far), (far, a)):
            server = sink(other)
            source(one, "198.51.100.2" if one is a else "198.51.100.1", 100000)
            assert sunk(server) == 100000, f"{name}: {one.ns} to {other.ns}"


def test_nat_carries_ipv6(lab):
    lab.network("n", "--kind", "nat", "--ipv6")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    for p, dev, address in ((host, "up0", "2001:db8::1/64"), (far, "down0", "2001:db8::2/64")):
        p("ip", "addr", "add", address, "dev", dev, "nodad")
    start_in(lab, host, "n")
    a = lab.join("n", "a")
    prefix = lab.inspect("n")["subnet6"].split("/")[0]
    a("ip", "addr", "add", f"{a.ip6}/64", "dev", "eth0", "nodad")
    a("ip", "-6", "route", "replace", "default", "via", f"{prefix}1", "dev", "eth0")
    iperf(a, far, "2001:db8::2")
    iperf(a, far, "2001:db8::2", "-R")
    a("ip", "route", "add", "default", "via", lab.inspect("n")["subnet"].rsplit(".", 1)[0] + ".1")
    iperf(a, far, "198.51.100.2", "--bidir")


WHO = """
import socket
s = socket.create_server(("0.0.0.0", 7777))
print("ready", flush=True)
print(s.accept()[1][0])
"""


def test_published_ports_keep_the_clients_address(lab):
    lab.network("n", "--kind", "nat")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    start_in(lab, host, "n")
    a = lab.join("n", "a", "--publish", "198.51.100.1:8080:7777")
    net = lab.inspect("n")["subnet"].rsplit(".", 1)[0]
    a("ip", "route", "add", "default", "via", f"{net}.1")
    server = a.spawn("/usr/bin/python3", "-c", WHO)
    line(server, "ready")
    far("/usr/bin/python3", "-c", "import socket; socket.create_connection(('198.51.100.1', 8080))")
    assert server.communicate(timeout=patience(30))[0].decode().strip() == "198.51.100.2"
    status, _, err = lab.abyme("network", "join", "n", "--as", "b", "--ifname", "abt0", "--publish", "198.51.100.1:8080:1")
    assert status == 1 and "cannot publish" in err
    lab.leave(a)
    lab.join("n", "c", "--publish", "198.51.100.1:8080:7777")


BLIND = """
import socket, struct, sys
mine, gateway, to, word = sys.argv[1:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0x800))
ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(word), 1, 0, 64, 17, 0, socket.inet_aton(mine), socket.inet_aton(to)))
total = sum(struct.unpack("!10H", ip))
ip[10:12] = struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff)
udp = struct.pack("!HHHH", 5555, 9999, 8 + len(word), 0) + word.encode()
s.send(bytes.fromhex(gateway.replace(":", "")) + s.getsockname()[4] + b"\\x08\\0" + bytes(ip) + udp)
"""
DEAF = """
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 9999))
print("ready", flush=True)
print(s.recv(100).decode(), flush=True)
"""


def test_the_hosts_loopback_is_closed(lab):
    lab.network("n", "--kind", "nat")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    start_in(lab, host, "n")
    a = lab.join("n", "a")
    host.spawn("/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "8000")
    until(lambda: not host("curl", "-s", "http://127.0.0.1:8000/", check=False))
    net = lab.inspect("n")["subnet"].rsplit(".", 1)[0]
    a("ip", "route", "add", "default", "via", f"{net}.1")
    assert a("curl", "-s", "-m", "3", f"http://{net}.1:8000/", check=False) != 0
    # nor by its own name: a packet that no honest kernel would send; the next one arrives
    assert a.pings(f"{net}.1")
    gateway = a("ip", "neigh", "show", f"{net}.1").split()[4]
    ear = host.spawn("/usr/bin/python3", "-c", DEAF)
    line(ear, "ready")
    for to, word in (("127.0.0.1", "loopback"), ("0.0.0.0", "nowhere"), ("198.51.100.1", "outside")):
        a("/usr/bin/python3", "-c", BLIND, a.ip, gateway, to, word)
    assert line(ear, "\n") == "outside\n"


def test_names(lab):
    lab.network("n", "--kind", "internal", "--ipv6", "--domain", "lan.test")
    web, db = lab.join("n", "web"), lab.join("n", "db")
    dns = lab.inspect("n")["subnet"].rsplit(".", 1)[0] + ".2"

    def dig(*words):
        return web("dig", "+tries=20", "+time=2", f"@{dns}", *words)
    assert dig("+short", "db.lan.test").strip() == db.ip
    assert dig("+short", "DB").strip() == db.ip
    assert dig("+short", "AAAA", "db.lan.test").strip() == db.ip6
    assert dig("+short", "-x", db.ip).strip() == "db.lan.test."
    assert "NXDOMAIN" in dig("nobody.lan.test")
    assert "REFUSED" in dig("example.org")
    web("ip", "addr", "add", f"{web.ip6}/64", "dev", "eth0", "nodad")
    prefix = lab.inspect("n")["subnet6"].split("/")[0]
    assert web("dig", "+tries=20", "+time=2", f"@{prefix}2", "+short", "db").strip() == db.ip
    lab.leave(db)
    until(lambda: "NXDOMAIN" in dig("db.lan.test"))


def test_ipv6_by_itself(lab, tmp_path):
    lab.network("n", "--kind", "internal", "--ipv6")
    a, b = lab.join("n", "a"), lab.join("n", "b")
    prefix = lab.inspect("n")["subnet6"].split("::")[0]

    def address(p):
        lines = p("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global").splitlines()
        return next((x.split()[3].split("/")[0] for x in lines if prefix in x and "tentative" not in x), None)
    until(lambda: address(a))
    assert a.pings(until(lambda: address(b)))
    assert a.ip6 in by_dhcp(a, tmp_path, "-6")


def test_members_keep_to_their_addresses(lab):
    lab.network("n", "--kind", "internal")
    a, b, c = (lab.join("n", x) for x in "abc")
    assert a.pings(b.ip)
    # another's IP, another's MAC
    a("ip", "addr", "add", f"{c.ip}/32", "dev", "lo")
    assert a("ping", "-c", "1", "-W", "1", "-I", c.ip, b.ip, check=False) != 0
    until(lambda: lab.stats("n")["a"]["drops"].get("spoofed"))
    a("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    assert not a.pings(b.ip, seconds=2)
    assert b.pings(c.ip)


def test_host_only(lab):
    lab.network("n", "--kind", "host-only", "--interface", "abhost0")
    host = lab.peer("host")
    start_in(lab, host, "n")
    a = lab.join("n", "a")
    net = lab.inspect("n")["subnet"].rsplit(".", 1)[0]
    assert a.pings(f"{net}.1") and host.pings(a.ip)
    iperf(a, host, f"{net}.1")


def a_member_reaches(lab, far):
    """A member of n at 192.0.2.2, and far at 192.0.2.1: both ways."""
    a = lab.join("n", "a", address=False)
    a("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
    a("ip", "link", "set", "eth0", "up")
    assert a.pings("192.0.2.1") and far.pings("192.0.2.2")
    iperf(a, far, "192.0.2.1")
    iperf(a, far, "192.0.2.1", "-R")
    return a


def bridged(lab, *options):
    """A member of a network that is plugged into a cable, and who is at its far end."""
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", None, "192.0.2.1/24")
    lab.network("n", "--kind", "bridged", "--interface", "up0", *options)
    start_in(lab, host, "n")
    return host, far, a_member_reaches(lab, far)


def test_bridged(lab):
    bridged(lab)
    status, _, err = lab.abyme("network", "create", "m", "--kind", "bridged", "--interface", "x", "--uplink", "tap")
    assert status == 2 and "use packet or macvtap" in err


def test_bridged_by_macvtap(lab):
    probe = lab.peer("probe")
    probe("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    if probe("ip", "link", "add", "link", "v0", "name", "m0", "type", "macvtap", "mode", "passthru", check=False):
        lab.network("n", "--kind", "bridged", "--interface", "v0", "--uplink", "macvtap")
        p = subprocess.run(["ip", "netns", "exec", probe.ns, ABYME, "network", "start", "n"], env=lab.abyme.env,
                           capture_output=True, text=True, check=False)
        assert p.returncode == 1 and "use --uplink packet" in p.stderr
        return
    host, far, a = bridged(lab, "--uplink", "macvtap")

    def interfaces():
        return [x.split()[1] for x in host("ip", "-o", "link", "show", "type", "macvtap").splitlines()]
    assert len(interfaces()) == 1
    # another network finds the interface taken, and leaves it alone
    lab.network("m", "--kind", "bridged", "--interface", "up0", "--uplink", "macvtap")
    p = subprocess.run(["ip", "netns", "exec", host.ns, ABYME, "network", "start", "m"], env=lab.abyme.env,
                       capture_output=True, text=True, check=False, timeout=patience(30))
    assert p.returncode == 1 and "in use by another" in p.stderr
    assert far.pings("192.0.2.2")
    os.kill(lab.inspect("n")["run"]["switch"], signal.SIGKILL)
    assert far.pings("192.0.2.2")
    lab.ok("network", "stop", "--force", "n")
    assert a.process.wait(patience(20)) == 1
    until(lambda: not interfaces())


def test_a_trunk_between_hosts(lab):
    """One cable carries all VLANs, the default one without a tag; by a packet socket and, where
    that is offered, by macvtap."""
    hosts = lab.peer("one"), lab.peer("two")
    wire(*hosts, "up0", "down0")
    offered = not hosts[1]("ip", "link", "add", "link", "down0", "name", "m0", "type", "macvtap", check=False)
    if offered:
        hosts[1]("ip", "link", "del", "m0")
    for name, host, dev, uplink in (("n1", hosts[0], "up0", "packet"), ("n2", hosts[1], "down0", "macvtap" if offered else "packet")):
        lab.network(name, "--kind", "bridged", "--interface", dev, "--vlan-aware", "--uplink", uplink)
        start_in(lab, host, name)
    members = {}
    for n in (1, 2):
        for v in (1, 10, 20):
            m = members[n, v] = lab.join(f"n{n}", f"m{n}x{v}", *(["--vlan", str(v)] if v > 1 else []), address=False)
            m("ip", "addr", "add", f"192.0.2.{n * 100 + v}/24", "dev", "eth0")
            m("ip", "link", "set", "eth0", "up")
    for v, other in ((1, 10), (10, 20), (20, 1)):
        assert members[1, v].pings(f"192.0.2.{200 + v}"), f"VLAN {v}"
        assert not members[1, v].pings(f"192.0.2.{200 + other}", seconds=1), f"VLAN {v} to {other}"
    iperf(members[1, 10], members[2, 10], "192.0.2.210")
    iperf(members[1, 10], members[2, 10], "192.0.2.210", "-R")


def test_vxlan_with_linux(lab):
    """Linux's own vxlan device at the far end."""
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    far("ip", "link", "add", "vx0", "type", "vxlan", "id", "77", "remote", "198.51.100.1", "local", "198.51.100.2",
        "dstport", "4789", "dev", "down0")
    far("ip", "addr", "add", "192.0.2.1/24", "dev", "vx0")
    far("ip", "link", "set", "vx0", "up")
    # a veth never completes a checksum that it was told to: inside a tunnel nobody would
    far("ethtool", "-K", "vx0", "tx", "off")
    lab.network("n", "--kind", "vxlan", "--vni", "77", "--peer", "198.51.100.2", "--subnet", "none")
    start_in(lab, host, "n")
    a_member_reaches(lab, far)


def test_vxlan_between_two_hosts(lab):
    one, two = lab.peer("one"), lab.peer("two")
    wire(one, two, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    for name, there, host in (("n1", "198.51.100.2", one), ("n2", "198.51.100.1", two)):
        lab.network(name, "--kind", "vxlan", "--vni", "5", "--peer", there, "--subnet", "none", "--vlan-aware")
        start_in(lab, host, name)
    members = [lab.join(n, f"m{i}", "--vlan", str(v), address=False) for i, (n, v) in
               enumerate((("n1", 10), ("n2", 10), ("n2", 20)))]
    for i, m in enumerate(members):
        m("ip", "addr", "add", f"192.0.2.{i + 1}/24", "dev", "eth0")
        m("ip", "link", "set", "eth0", "up")
    assert members[0].pings("192.0.2.2")
    assert not members[0].pings("192.0.2.3", seconds=2)


def test_vxlan_by_multicast(lab):
    """No list of peers: three hosts in one group, who is where is learnt."""
    hub, hosts = lab.peer("hub"), [lab.peer(f"h{i}") for i in range(3)]
    hub("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
    hub("ip", "link", "set", "br0", "up")
    members = []
    for i, h in enumerate(hosts):
        wire(hub, h, f"p{i}", "up0", None, f"198.51.100.{i + 1}/24")
        hub("ip", "link", "set", f"p{i}", "master", "br0")
        lab.network(f"n{i}", "--kind", "vxlan", "--vni", "9", "--peer", "239.1.1.9", "--interface", "up0", "--subnet", "none")
        start_in(lab, h, f"n{i}")
        m = lab.join(f"n{i}", f"m{i}", address=False)
        m("ip", "addr", "add", f"192.0.2.{i + 1}/24", "dev", "eth0")
        m("ip", "link", "set", "eth0", "up")
        members.append(m)
    for i in range(3):
        assert members[i].pings(f"192.0.2.{(i + 1) % 3 + 1}")
    # what one host's member says to another is not the third's to hear
    before = lab.stats("n2")["m2"]["tx-bytes"]
    iperf(members[0], members[1], "192.0.2.2")
    assert lab.stats("n2")["m2"]["tx-bytes"] - before < 5000
