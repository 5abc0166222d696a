# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces as peers: each is made by the test and removed by it."""
import json
import os
import select
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

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


def until(fn, seconds=30, pause=0.05, why=()):
    """What fn returns, once it is true; the last of `why` is said if that never comes."""
    end = deadline(seconds)
    while not (got := fn()):
        assert time.monotonic() < end, f"not within {seconds} s: {fn} {why[-1:]}"
        time.sleep(pause)
    return got


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
        p = subprocess.Popen(["ip", "netns", "exec", self.ns, *argv], stdin=subprocess.PIPE, env=env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(p)
        return p

    def pings(self, address, count=2, seconds=120, size=None):
        """Until all answers come, at most so long; for "no answer comes" give it few seconds."""
        end = time.monotonic() + seconds
        more = ["-s", str(size), "-M", "do"] if size else []
        while time.monotonic() < end:
            if not self("ping", "-c", str(count), "-i", "0.1", "-W", "1", *more, address, check=False):
                return True
        return False

    def close(self):
        """Ends what was started, and whatever else lives in the namespace."""
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait()
            p.stdin.close()
            p.stdout.close()
        until(self._emptied)
        subprocess.run(["ip", "netns", "del", self.ns], check=False)

    def _emptied(self):
        pids = subprocess.run(["ip", "netns", "pids", self.ns], capture_output=True, text=True, check=False).stdout.split()
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids


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

    def join(self, network, label, *options, address=True, peer=None, home=None):
        """A namespace on the network; waits until it is. home: where the joining program lives."""
        p = peer or self.peer(label)
        more = ["--address"] if address else []
        words, p.process = self.joined(network, label, p.ns, *more, *options, home=home)
        p.ip, p.ip6 = [None if w == "-" else w for w in words]
        return p

    def joined(self, network, label, ns, *options, home=None):
        """The addresses of a namespace that joins, and the program that sees to it."""
        at = ["ip", "netns", "exec", home.ns] if home else []
        j = subprocess.Popen([*at, ABYME, "network", "join", network, "--as", label, "--netns", ns, *options],
                             env=self.abyme.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.joins.append(j)
        words = j.stdout.readline().split()
        assert words[:1] == ["joined"], j.stderr.read()
        return words[1:], j

    def leave(self, peer):
        peer.process.terminate()
        peer.process.wait(patience(20))

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
        for n in json.loads(self.ok("network", "list", "--format", "json")):
            self.ok("network", "delete", "--force", n["name"])
        for p in self.peers:
            p.close()


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
import socket, sys
c = socket.create_connection((sys.argv[1], 7777))
for part in range(2):
    c.sendall(bytes(int(sys.argv[2]) // 2))
    if sys.argv[3] == "halfway" and not part:
        print("half", flush=True)
        sys.stdin.readline()
c.close()
"""


def line(process, wanted, seconds=30):
    """Its output up to and with the first line that has `wanted` in it."""
    end, text, fd = deadline(seconds), "", process.stdout.fileno()
    while wanted not in text or not text.endswith("\n"):
        left = end - time.monotonic()
        assert left > 0 and select.select([fd], [], [], left)[0], f"no {wanted!r} within {seconds} s:\n{text}"
        data = os.read(fd, 4096)
        assert data, f"ended without {wanted!r}:\n{text}"
        text += data.decode(errors="replace")
    return text


def sink(peer):
    """A listener on port 7777 that counts what one connection brings."""
    p = peer.spawn("/usr/bin/python3", "-c", SINK)
    line(p, "ready")
    return p


def source(peer, address, size, halfway=None):
    """Connect to a sink, send; with `halfway`, that is called in the middle of it."""
    p = peer.spawn("/usr/bin/python3", "-c", SOURCE, address, str(size), "halfway" if halfway else "")
    if halfway:
        line(p, "half")
        halfway()
        p.stdin.write(b"\n")
        p.stdin.flush()
    return p


def sunk(process, seconds=60):
    return int(process.communicate(timeout=patience(seconds))[0])


def iperf(client, server, address, *options):
    """Bulk goes through; how fast is no matter of a test. What is still in flight when the
    sender ends does not count as received. The peers' own buffers are bounded (-w), so that
    it is what a socket of a NAT's may hold, and little more: at most half of the whole."""
    size = 2 * (int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2]) + (8 << 20))
    s, said = server.spawn("iperf3", "-s"), []

    def attempt():
        p = subprocess.run(["ip", "netns", "exec", client.ns, "iperf3", "-c", address, "-n", str(size), "-w", "128K",
                            "-J", *options], capture_output=True, text=True, timeout=patience(60), check=False)
        said.append(p.stdout[-400:])
        return json.loads(p.stdout)["end"].get("sum_received")      # an error has status 0, too
    got = until(attempt, why=said)
    s.kill()
    s.wait()        # the next one wants its port
    assert got["bytes"] > size // 2, got
