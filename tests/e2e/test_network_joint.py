# SPDX-License-Identifier: GPL-2.0-or-later
"""A network's members of different kinds: a container, a machine, firmware that boots."""
import os

import pytest

from conftest import guest_args, off, run, shell
from netpeers import line, sink, sunk, until
from oci import Bundle
from test_network_kinds import start_in, wire


@pytest.fixture(name="box")
def fixture_box(tmp_path):
    (tmp_path / "box").mkdir()
    b = Bundle(tmp_path / "box")
    yield b
    b.close()


def test_container_and_machine(lab, box, kernel_tree, tmp_path):
    """Bulk both ways, names, and a way through the death of the switch's keeper."""
    lab.network("lan", "--kind", "internal")
    m = lab.abyme.start("run", "--rm", "--name", "vm", "--net", "lan",
                        *guest_args(kernel_tree("cloud-amd64"), tmp_path, ["virtio_pci", "virtio_net"]))
    # an nc whose input has ended says so, and the other one leaves: so it gets one that never does
    script = ("b=/bin/busybox; $b nslookup vm.abyme $(cat /tmp/dns); $b mkfifo /tmp/p; exec 3<>/tmp/p; "
              "$b nc -l -p 7777 <&3 | wc -c; "
              "until head -c 300000 /dev/zero | $b nc $(cat /tmp/vm) 7778; do sleep 0.2; done; echo sent; sleep 1000")
    assert box.create(script) == (0, "")
    (address, _), program = lab.joined("lan", "box", f"/proc/{box.state()['pid']}/ns/net", "--address")
    vm = until(lambda: next((p["ip"] for p in lab.inspect("lan")["run"]["ports"] if p["name"] == "vm"), None))
    for name, text in (("vm", vm), ("dns", vm.rsplit(".", 1)[0] + ".2")):
        with open(f"{box.rootfs}/tmp/{name}", "w", encoding="ascii") as f:
            f.write(text)
    shell(m)
    run(m, f"ip link set eth0 up; ip addr add {vm}/24 dev eth0; echo set-$?", "set-0")
    box.ok("start", box.id)
    run(m, f"until head -c 1000000 /dev/zero | nc {address} 7777; do sleep 0.2; done; echo went-$?", "went-0", 120)
    until(lambda: "1000000\n" in box.output(), why=[box.output()])
    assert f"{vm}\n" in box.output(), "the machine's name"
    os.kill(lab.inspect("lan")["run"]["keeper"], 9)
    assert program.stdout.readline() == "joined again\n"
    run(m, "nc -l -p 7778 | wc -c | sed s/^/got-/", "got-300000", 120)
    until(lambda: "sent" in box.output())
    off(m)


SERVE = """
import socket
s = socket.create_server(("0.0.0.0", 7778))
print("ready", flush=True)
c = s.accept()[0]
c.sendall(bytes(5000000))
c.close()
"""


def test_a_machine_behind_a_nat(lab, kernel_tree, tmp_path):
    """Bulk to the outside and back; the machine has said all it has to say when that comes."""
    lab.network("n", "--kind", "nat")
    host, far = lab.peer("host"), lab.peer("far")
    wire(host, far, "up0", "down0", "198.51.100.1/24", "198.51.100.2/24")
    start_in(lab, host, "n")
    m = lab.abyme.start("run", "--rm", "--name", "vm", "--net", "n",
                        *guest_args(kernel_tree("cloud-amd64"), tmp_path, ["virtio_pci", "virtio_net"]))
    shell(m)
    port = next(p for p in lab.inspect("n")["run"]["ports"] if p["name"] == "vm")
    gateway = port["ip"].rsplit(".", 1)[0] + ".1"
    run(m, f"ip link set eth0 up; ip addr add {port['ip']}/24 dev eth0; ip route add default via {gateway}; echo set-$?", "set-0")
    server = sink(far)
    run(m, "head -c 5000000 /dev/zero | nc 198.51.100.2 7777; echo sent-$?", "sent-0", 120)
    assert sunk(server) == 5000000
    line(far.spawn("/usr/bin/python3", "-c", SERVE), "ready")
    run(m, "nc 198.51.100.2 7778 < /dev/null | wc -c | sed s/^/got-/", "got-5000000", 120)
    off(m)


FILES = """
import http.server
class Script(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"#!ipxe\\necho booted ${filename} as ${hostname}\\npoweroff\\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
s = http.server.HTTPServer(("0.0.0.0", 8000), Script)
print("ready", flush=True)
s.serve_forever()
"""


@pytest.mark.skipif(not os.path.exists("/usr/share/seabios/bios-256k.bin") or
                    not os.path.exists("/usr/lib/ipxe/qemu/efi-virtio.rom"), reason="seabios and ipxe-qemu are needed")
def test_network_boot(lab):
    """iPXE asks the switch, which names a file, which another member serves."""
    lab.network("lan", "--kind", "internal")
    files = lab.join("lan", "files", "--ip", lab.inspect("lan")["subnet"].rsplit(".", 1)[0] + ".50")
    lab.ok("network", "edit", "lan", "--boot-file", f"http://{files.ip}:8000/start")
    line(files.spawn("/usr/bin/python3", "-c", FILES), "ready")
    m = lab.abyme.start("run", "--rm", "--name", "diskless", "--memory", "64M", "--boot", "net", "--net", "lan")
    m.expect(f"booted http://{files.ip}:8000/start as diskless", 120)
