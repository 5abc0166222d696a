# SPDX-License-Identifier: GPL-2.0-or-later
"""The screen over VNC: what a client sees and types, passwords, malformed clients."""
import contextlib
import os
import random
import re
import select
import socket
import ssl
import struct
import subprocess
import time

import pytest

from conftest import debian_package, free_port, pixels
from patience import deadline, patience

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/share/seabios/bios-256k.bin"),
                                reason="the package seabios is not installed")


class Client:
    """RFB 3.8 (RFC 6143), raw encoding, no password."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), patience(30))
        assert self.take(12) == b"RFB 003.008\n"
        self.s.sendall(b"RFB 003.008\n")
        self.types = self.take(self.take(1)[0])

    def close(self):
        self.s.close()

    def take(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            assert more, "the server closed the connection"
            data += more
        return data

    def choose(self):
        assert 1 in self.types
        self.s.sendall(b"\x01")

    def enter(self):
        self.init()
        self.encodings()

    def init(self):
        """As far as what the server says of its screen."""
        self.choose()
        assert self.take(4) == bytes(4)
        self.s.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self.take(4))
        bits, _, big, true, _, _, _, *self.shifts = struct.unpack(">BBBBHHHBBB3x", self.take(16))
        assert (bits, big, bool(true)) == (32, 0, True)
        self.take(struct.unpack(">I", self.take(4))[0])
        self.picture = bytearray(self.width * self.height * 4)

    def encodings(self):
        self.s.sendall(struct.pack(">BBHii", 2, 0, 2, 0, -223))     # raw, desktop size

    def ask(self, incremental):
        self.s.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self):
        """Take one update; how many bytes of pixels it had."""
        pixels = 0
        while self.take(1) != b"\0":
            pass                       # a bell
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, w, h, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == -223:
                self.width, self.height = w, h
                self.picture = bytearray(w * h * 4)
                continue
            for row in range(y, y + h):
                at = (row * self.width + x) * 4
                self.picture[at:at + w * 4] = self.take(w * 4)
            pixels += w * h * 4
        return pixels

    def step(self):
        """Take one update and ask for the next: for all if a new size has emptied the picture."""
        size = self.width, self.height
        self.update()
        self.ask(size == (self.width, self.height))

    def seen(self):
        """Width, height and colours, as pixels() gives those of a file."""
        rgb = bytearray(self.width * self.height * 3)
        for i, shift in enumerate(self.shifts):
            rgb[i::3] = self.picture[shift // 8::4]
        return self.width, self.height, bytes(rgb)

    def ready(self, seconds):
        return select.select([self.s], [], [], seconds)[0]

    def key(self, sym):
        for down in (1, 0):
            self.s.sendall(struct.pack(">BBHI", 4, down, 0, sym))


class TlsClient(Client):
    """VeNCrypt 0.2 with the server's certificate checked; its first kind, and perhaps a certificate of one's own."""

    def __init__(self, port, folder, *own):
        super().__init__(port)
        assert self.types == b"\x13"
        self.s.sendall(b"\x13")
        assert self.take(2) == b"\0\2"
        self.s.sendall(b"\0\2")
        assert self.take(2) == b"\0\1"
        self.kind = struct.unpack(">I", self.take(4))[0]
        self.s.sendall(struct.pack(">I", self.kind))
        assert self.take(1) == b"\1"
        context = ssl.create_default_context(cafile=f"{folder}/server-cert.pem")
        if own:
            context.load_cert_chain(*own)
        self.s = context.wrap_socket(self.s, server_hostname="127.0.0.1")

    def choose(self):
        assert self.kind == 260

    def ready(self, seconds):
        return self.s.pending() or super().ready(seconds)


def certificates(folder, *names):
    """Self-signed: NAME-cert.pem and NAME-key.pem each."""
    folder.mkdir(exist_ok=True)
    for name in names:
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        f"{folder}/{name}-key.pem", "-out", f"{folder}/{name}-cert.pem"], check=True, capture_output=True)
    return folder


@pytest.fixture
def grub(abyme, tmp_path):
    return boot_grub(abyme, tmp_path)


def boot_grub(abyme, tmp_path, options=""):
    """A machine with GRUB's menu on its screen, and its VNC port."""
    port = free_port()
    cd = f"{debian_package('grub-rescue-pc')}/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
    abyme.start("run", "--name", "v", "--engine", "jit", "--memory", "128M", "--serial", "none",
                "--display", f"vnc:{port}{options}", "--cdrom", cd)
    wait_text(abyme, tmp_path, "GNU GRUB", 150)
    return port


def wait_text(abyme, tmp_path, pattern, seconds):
    end, text = deadline(seconds), ""
    while time.monotonic() < end:
        if abyme("screenshot", "v", str(tmp_path / "v.txt"))[0] == 0:
            text = (tmp_path / "v.txt").read_text()
            if re.search(pattern, text, re.M):
                return
        time.sleep(0.3)
    raise AssertionError(f"no {pattern!r} on the screen:\n{text}")


def screenshot(abyme, tmp_path):
    assert abyme("screenshot", "v", str(tmp_path / "v.png"))[0] == 0
    return pixels(tmp_path / "v.png")


def settle(c, abyme, tmp_path):
    """Until the client sees what a screenshot shows; then it waits for what changes."""
    end = deadline(60)
    c.ask(0)
    while True:
        shot = screenshot(abyme, tmp_path)
        while c.ready(0.2):
            c.step()
        if c.seen() == shot:
            return
        assert time.monotonic() < end, f"the client sees {c.width}x{c.height}, the screen has {shot[0]}x{shot[1]}"


def test_see_and_type(abyme, grub, tmp_path):
    c = Client(grub)
    c.enter()
    assert (c.width, c.height) == (720, 400)      # the first one, too, is not let in before that is known
    settle(c, abyme, tmp_path)
    c.key(ord("c"))
    wait_text(abyme, tmp_path, "grub>", 60)
    for ch in "echo Yes":
        if ch.isupper():
            c.s.sendall(struct.pack(">BBHI", 4, 1, 0, 0xffe1))
        c.key(ord(ch))
        if ch.isupper():
            c.s.sendall(struct.pack(">BBHI", 4, 0, 0, 0xffe1))
    wait_text(abyme, tmp_path, "grub> echo Yes", 60)
    settle(c, abyme, tmp_path)
    c.key(ord("x"))
    assert 0 < c.update() < 720 * 400 * 4 // 2    # far less than the whole screen
    wait_text(abyme, tmp_path, "grub> echo Yesx", 60)
    c.s.sendall(struct.pack(">BBHH", 5, 1, 10, 10) + struct.pack(">BBHH", 5, 0, 50, 20))   # the mouse
    settle(c, abyme, tmp_path)
    assert abyme("engine", "v", "interp")[0] == 0                 # another process draws the picture
    c.key(ord("y"))
    wait_text(abyme, tmp_path, "grub> echo Yesxy", 60)
    settle(c, abyme, tmp_path)


def test_sizes(abyme, grub, tmp_path):
    """A new size reaches a client that has not yet said that it wants to know; colours stay what they are."""
    c = Client(grub)
    c.init()
    assert abyme("key", "v", "c")[0] == 0
    wait_text(abyme, tmp_path, "grub> *$", 60)
    assert abyme("type", "v", "insmod vbe\nvideotest\n")[0] == 0
    end = deadline(60)
    while screenshot(abyme, tmp_path)[0] == 720:
        assert time.monotonic() < end
    c.encodings()
    settle(c, abyme, tmp_path)
    rgb = c.seen()[2]
    assert len({rgb[n:n + 3] for n in range(0, len(rgb), 3)}) > 8
    c.key(0xff1b)
    wait_text(abyme, tmp_path, "grub>", 60)
    settle(c, abyme, tmp_path)
    assert (c.width, c.height) == (720, 400)


def test_tls(abyme, tmp_path):
    """A viewer over TLS; one that speaks in clear, one that does not go on and one that talks nonsense are no hindrance."""
    folder = certificates(tmp_path / "tls", "server")
    port = boot_grub(abyme, tmp_path, f",tls={folder}")
    silent = socket.create_connection(("127.0.0.1", port), patience(30))
    assert Client(port).types == b"\x13"
    with contextlib.closing(Client(port)) as bad:
        bad.s.sendall(b"\x13\0\2" + struct.pack(">I", 260) + b"\xff" * 600)
        with contextlib.suppress(OSError):
            while bad.s.recv(4096):
                pass
    c = TlsClient(port, folder)
    c.enter()
    assert (c.width, c.height) == (720, 400)
    settle(c, abyme, tmp_path)
    c.key(ord("c"))
    wait_text(abyme, tmp_path, "grub>", 60)
    settle(c, abyme, tmp_path)
    silent.close()
    c.s.close()
    again = TlsClient(port, folder)
    again.enter()
    settle(again, abyme, tmp_path)


def des_answer(password, challenge):
    """What VNC authentication wants to hear: RFC 6143 7.2.2, each byte of the key from its low bit on."""
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.ljust(8, b"\0"))
    return subprocess.run(["openssl", "enc", "-des-ecb", "-nopad", "-K", key.hex(), "-provider", "legacy", "-provider", "default"],
                          input=challenge, check=True, capture_output=True).stdout


def test_tls_password_and_certificate(abyme, tmp_path):
    folder = certificates(tmp_path / "tls", "server", "client", "other")
    (tmp_path / "secret").write_text("sesame\n")
    status, _, text = abyme("run", "--rm", "--display", f"vnc:0.0.0.0:{free_port()},tls={folder}")
    assert status and "client-ca.pem" in text and text.count("\n") == 1
    status, _, text = abyme("run", "--rm", "--display", f"vnc,tls={tmp_path}/none")
    assert status and f"{tmp_path}/none" in text and text.count("\n") == 1
    (folder / "client-ca.pem").write_bytes((folder / "client-cert.pem").read_bytes())
    (tmp_path / "d.img").write_bytes(bytes(1 << 20))
    port = free_port()
    m = abyme.start("run", "--rm", "--memory", "32M", "--display",
                    f"vnc:0.0.0.0:{port},tls={folder},password-file={tmp_path}/secret", "--disk", str(tmp_path / "d.img"))
    m.expect("SeaBIOS", 60)
    for own in (), (folder / "other-cert.pem", folder / "other-key.pem"):
        with pytest.raises((OSError, AssertionError)):     # in TLS 1.3 it is told with the first answer
            TlsClient(port, folder, *own).take(16)
    for password, result in (b"nonsense", False), (b"sesame", True):
        c = TlsClient(port, folder, folder / "client-cert.pem", folder / "client-key.pem")
        assert c.kind == 261
        c.s.sendall(des_answer(password, c.take(16)))
        assert (c.take(4) == bytes(4)) == result
        c.s.close()


def test_malformed_clients(abyme, grub, tmp_path):
    rng = random.Random(7)
    for n in range(40):
        with socket.create_connection(("127.0.0.1", grub), patience(30)) as s:
            with contextlib.suppress(OSError):       # the server may have hung up on it
                if n % 2:
                    s.sendall(b"RFB 003.008\n\x01\x01")
                s.sendall(rng.randbytes(rng.randrange(1, 400)))
                if n % 3:
                    s.shutdown(socket.SHUT_WR)
    for message in (b"\x00" + b"\xff" * 19, b"\x02\0\xff\xff", b"\x06\0\0\0\xff\xff\xff\xff", b"\xfa" * 100,
                    b"\x03" + b"\xff" * 9, b"\x05" + b"\xff" * 5, b"\x04" + b"\xff" * 7):
        c = Client(grub)
        c.enter()
        c.s.sendall(message)
        c.s.close()
    c = Client(grub)
    c.enter()
    c.ask(0)
    assert c.update()
    assert abyme("key", "v", "c")[0] == 0
    wait_text(abyme, tmp_path, "grub>", 60)


def test_password(abyme, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    port = free_port()
    status, _, text = abyme("run", "--rm", "--display", f"vnc:0.0.0.0:{port}")
    assert status and "password-file" in text and text.count("\n") == 1
    disk = tmp_path / "d.img"
    disk.write_bytes(bytes(1 << 20))
    m = abyme.start("run", "--rm", "--memory", "32M", "--display", f"vnc:127.0.0.1:{port},password-file={secret}",
                    "--disk", str(disk))
    m.expect("SeaBIOS", 60)
    c = Client(port)
    assert c.types == b"\x02"               # VNC authentication and nothing else
    c.s.sendall(b"\x02")
    c.take(16)
    c.s.sendall(bytes(16))                  # a wrong answer
    assert c.take(4) != bytes(4)
    c = Client(port)
    c.s.sendall(b"\x02")
    c.s.sendall(des_answer(b"sesame", c.take(16)))
    assert c.take(4) == bytes(4)
    secret.write_text("far too long\n")
    status, _, text = abyme("run", "--rm", "--display", f"vnc:{free_port()},password-file={secret}")
    assert status and str(secret) in text and text.count("\n") == 1
