# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces as peers: each is made by the test and removed by it."""
import json
import os
import shutil
import subprocess
import time
import uuid

import pytest

from conftest import ABYME
from patience import deadline, patience


def needs_namespaces():
    """A reason why this host cannot make network namespaces, or None."""
    if os.geteuid() != 0:
        return "network namespaces for peers need root"
    if not shutil.which("ip") or not os.path.exists("/dev/net/tun"):
        return "iproute2 and /dev/net/tun are needed"
    name = f"ab{uuid.uuid4().hex[:8]}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "this host refuses network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=False)
    return None


class Peer:
    """A namespace, and what runs in it."""

    def __init__(self, label):
        self.ns = f"ab-{label[:6]}-{uuid.uuid4().hex[:5]}"
        self.processes = []
        subprocess.run(["ip", "netns", "add", self.ns], check=True)
        self("ip", "link", "set", "lo", "up")
        self.ip = self.ip6 = None

    def __call__(self, *argv, seconds=30, check=True):
        p = subprocess.run(["ip", "netns", "exec", self.ns, *argv], capture_output=True, text=True,
                           timeout=patience(seconds), check=False)
        assert not check or p.returncode == 0, f"{argv}: {p.stdout}{p.stderr}"
        return p.stdout if check else p.returncode

    def spawn(self, *argv, env=None):
        p = subprocess.Popen(["ip", "netns", "exec", self.ns, *argv], stdin=subprocess.DEVNULL, env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(p)
        return p

    def pings(self, address, count=2, seconds=100, size=None):
        """Until an answer comes, at most so long."""
        end = time.monotonic() + seconds
        more = ["-s", str(size), "-M", "do"] if size else []
        while time.monotonic() < end:
            if not self("ping", "-c", str(count), "-i", "0.1", "-W", "1", *more, address, check=False):
                return True
        return False

    def close(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait()
            if p.stdout:
                p.stdout.close()
        subprocess.run(["ip", "netns", "del", self.ns], check=False)


class Lab:
    def __init__(self, abyme):
        self.abyme = abyme
        self.peers = []
        self.joins = []

    def ok(self, *argv):
        status, out, err = self.abyme(*argv)
        assert status == 0, err
        return out

    def network(self, name, *options):
        self.ok("network", "create", name, *options)

    def peer(self, label):
        p = Peer(label)
        self.peers.append(p)
        return p

    def join(self, network, label, *options, address=True, peer=None):
        """A namespace on the network; waits until it is."""
        p = peer or self.peer(label)
        more = ["--address"] if address else []
        j = subprocess.Popen([ABYME, "network", "join", network, "--as", label, "--netns", p.ns, *more, *options],
                             env=self.abyme.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.joins.append(j)
        p.process = j
        words = j.stdout.readline().split()
        assert words[:1] == ["joined"], j.stderr.read()
        p.ip, p.ip6 = [None if w == "-" else w for w in words[1:]]
        return p

    def leave(self, peer):
        peer.process.terminate()
        peer.process.wait(10)

    def inspect(self, network):
        return json.loads(self.ok("network", "inspect", "--format", "json", network))

    def stats(self, network):
        ports = json.loads(self.ok("network", "stats", "--format", "json", network))["ports"]
        return {p["name"]: p for p in ports}

    def close(self):
        for j in self.joins:
            if j.poll() is None:
                j.terminate()
            j.wait()
            j.stdout.close()
            j.stderr.close()
        for p in self.peers:
            p.close()
        for n in json.loads(self.ok("network", "list", "--format", "json")):
            self.ok("network", "delete", "--force", n["name"])


SINK = """
import socket
s = socket.create_server(("0.0.0.0", 7777))
print("ready", flush=True)
c, n = s.accept()[0], 0
while data := c.recv(65536):
    n += len(data)
print(n)
"""
SOURCE = """
import socket, sys, time
c = socket.create_connection((sys.argv[1], 7777))
for part in range(2):
    c.sendall(bytes(int(sys.argv[2]) // 2))
    time.sleep(0 if part else float(sys.argv[3]))
c.close()
"""


def sink(peer):
    """A listener on port 7777 that counts what one connection brings."""
    p = peer.spawn("/usr/bin/python3", "-c", SINK)
    assert p.stdout.readline() == b"ready\n"
    return p


def source(peer, address, size, pause=0.0):
    return peer.spawn("/usr/bin/python3", "-c", SOURCE, address, str(size), str(pause))


def sunk(process, seconds=60):
    return int(process.communicate(timeout=patience(seconds))[0])


def iperf(client, server, address, *options, seconds=2):
    """Bits a second, as the receiver saw them."""
    s = server.spawn("iperf3", "-s")
    end = deadline(20)
    while time.monotonic() < end:
        p = subprocess.run(["ip", "netns", "exec", client.ns, "iperf3", "-c", address, "-t", str(seconds), "-J",
                            *options], capture_output=True, text=True, timeout=patience(60), check=False)
        end_part = json.loads(p.stdout)["end"]      # an error has status 0, too
        if "sum_received" in end_part:
            s.kill()
            return end_part["sum_received"]["bits_per_second"]
        time.sleep(0.2)
    pytest.fail(f"iperf3: {p.stdout[-500:]}{p.stderr}")
    return 0
