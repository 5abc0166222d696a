# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk starts by firmware: SeaBIOS, then what lies in its boot sector."""
import http.server
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import ABYME, debian_package
from patience import deadline, patience

def needs(path, package):
    return pytest.mark.skipif(not os.path.exists(path), reason=f"the package {package} is not installed")


seabios = needs("/usr/share/seabios/bios-256k.bin", "seabios")
ovmf = needs("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")
LIMIT = {"interp": 60, "jit": 30}


def boot_sector():
    """Writes its message to COM1, then powers off (16-bit code at 0x7c00)."""
    code = bytes.fromhex(
        "31c0 8ed8"              # xor ax, ax; mov ds, ax
        "baf803 be1c7c"          # mov dx, 0x3f8; mov si, message
        "ac 08c0 7403 ee ebf8"   # 1: lodsb; or al, al; jz 2f; out dx, al; jmp 1b
        "ba0406 b80020 ef"       # 2: mov dx, 0x604; mov ax, 0x2000; out dx, ax
        "f4 ebfd")               # 3: hlt; jmp 3b
    assert len(code) == 0x1c
    return (code + b"BOOT SECTOR RUNS\r\n\0").ljust(510, b"\0") + b"\x55\xaa"


@seabios
@pytest.mark.parametrize("engine", ["interp", "jit"])
def test_boot_sector(abyme, tmp_path, engine):
    disk = tmp_path / "disk.img"
    disk.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    m = abyme.start("run", "--rm", "--engine", engine, "--memory", "64M", str(disk))
    m.expect("SeaBIOS", LIMIT[engine])
    m.expect("Booting from Hard Disk", LIMIT[engine])
    m.expect("BOOT SECTOR RUNS", 20)
    assert m.wait(20) == 0


@seabios
def test_nothing_to_boot(abyme, tmp_path):
    disk = tmp_path / "empty.img"
    disk.write_bytes(b"\0" * (1 << 20))
    m = abyme.start("run", "--rm", "--engine", "interp", "--memory", "64M", str(disk))
    m.expect("not a bootable disk|No bootable device", 60)


def grub_image(tmp_path, name):
    """A copy of one of GRUB's rescue images, out of Debian's package."""
    return shutil.copy(f"{debian_package('grub-rescue-pc')}/usr/lib/grub-rescue/{name}", tmp_path)


@seabios
@pytest.mark.parametrize("image, place", [
    ("grub-rescue-usb.img", "--disk={}"),
    ("grub-rescue-usb.img", "--disk={},bus=ahci"),
    ("grub-rescue-usb.img", "--disk={},bus=nvme"),
    ("grub-rescue-usb.img", "--disk={},bus=ide"),
    ("grub-rescue-usb.img", "--disk={},bus=scsi"),
    ("grub-rescue-cdrom.iso", "--cdrom={}"),
    ("grub-rescue-cdrom.iso", "--cdrom={},bus=ide"),
])
def test_grub(abyme, tmp_path, image, place):
    where = place.format(grub_image(tmp_path, image))
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "128M", *where.split("=", 1))
    m.expect("GNU GRUB", 150)
    m.send("c")
    m.expect("grub> ", 30)
    m.send("halt\r")
    assert m.wait(60) == 0


def to_shell(m):
    m.expect("UEFI v2", 120)
    m.expect("any other key to continue", 60)
    m.send("\x1b")
    m.expect("Shell>", 60)


@ovmf
def test_uefi_variables_survive(abyme):
    """OVMF to its shell; what it writes to its flash is there on the next start."""
    m = abyme.start("run", "--name", "u", "--engine", "jit", "--memory", "256M", "--firmware", "uefi")
    to_shell(m)
    m.send("setvar Kept -guid 11111111-2222-3333-4444-555555555555 -bs -nv =0x4711\r")
    m.expect("Shell>", 60)
    m.send("reset -s\r")
    assert m.wait(60) == 0
    m = abyme.start("start", "--attach", "u")
    to_shell(m)
    m.send("setvar Kept -guid 11111111-2222-3333-4444-555555555555\r")
    m.expect("11 47", 60)
    m.send("reset -s\r")
    assert m.wait(60) == 0


def test_not_a_rom(abyme, tmp_path):
    rom = tmp_path / "rom"
    rom.write_bytes(b"x" * 1000)
    status, _, text = abyme("run", "--rm", "--firmware", str(rom))
    assert status == 1 and str(rom) in text and text.count("\n") == 1


@seabios
def test_screenshot(abyme, tmp_path):
    """GRUB's menu on the VGA, as a picture that is not blank."""
    disk = grub_image(tmp_path, "grub-rescue-usb.img")
    m = abyme.start("run", "--name", "s", "--engine", "jit", "--memory", "128M", "--display", "headless", disk)
    m.expect("GNU GRUB", 150)
    png = tmp_path / "s.png"
    end, data = deadline(20), b""
    while data.count(b"\xaa\xaa\xaa") <= 1000 and time.monotonic() < end:
        status, _, text = abyme("screenshot", "s", str(png))
        assert status == 0, text
        data = png.read_bytes()
        time.sleep(0.2)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data.count(b"\xaa\xaa\xaa") > 1000, data.count(b"\xaa\xaa\xaa")
    status, _, text = abyme("screenshot", "s", "/nonexistent/x.png")
    assert status == 1 and "/nonexistent/x.png" in text


@seabios
def test_keyboard(abyme, tmp_path):
    """GRUB is told to halt, on the PS/2 keyboard."""
    disk = grub_image(tmp_path, "grub-rescue-usb.img")
    m = abyme.start("run", "--name", "k", "--engine", "jit", "--memory", "128M", "--display", "headless", disk)
    m.expect("GNU GRUB", 150)
    m.expect("automatically in", 60)
    assert abyme("key", "k", "c")[0] == 0
    m.expect("grub>", 30)
    text = "more than the fifteen keys that a BIOS holds"
    typing = subprocess.Popen([ABYME, "type", "k", f"echo {text}\nhalt\n"], env=abyme.env)
    try:
        m.expect(text, 60)
        typing.send_signal(signal.SIGSTOP)           # it asks again when the machine is gone
        m.expect(text + "\r", 60)
        assert m.wait(60) == 0
    finally:
        typing.send_signal(signal.SIGCONT)
    assert typing.wait(patience(60)) == 0


@seabios
def test_boot_order(abyme, tmp_path):
    """A CD wins over a disk when it is told to."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(boot_sector().ljust(1 << 20, b"\0"))
    cd = grub_image(tmp_path, "grub-rescue-cdrom.iso")
    m = abyme.start("run", "--rm", "--memory", "64M", "--boot", "disk,cdrom", "--cdrom", cd, "--disk", str(disk))
    m.expect("BOOT SECTOR RUNS", 60)
    assert m.wait(20) == 0
    m = abyme.start("run", "--rm", "--memory", "128M", "--boot", "cdrom,disk", "--cdrom", cd, "--disk", str(disk))
    m.expect("GNU GRUB", 150)
    assert "BOOT SECTOR RUNS" not in m.text


class Script(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"#!ipxe\necho booted from ${net0/mac}\npoweroff\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@seabios
@needs("/usr/lib/ipxe/qemu/efi-e1000.rom", "ipxe-qemu")
@pytest.mark.parametrize("card", ["e1000", "virtio"])
def test_network_boot(abyme, card):
    """iPXE from the card's ROM gets an address, then a script over HTTP."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Script)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    m = abyme.start("run", "--rm", "--memory", "64M", "--boot", "net", "--net",
                    f"user,model={card},mac=02:00:00:00:00:07")
    for _ in range(10):          # it waits for the key for two seconds: else the firmware begins again a minute later
        m.expect("Configuring \\(net0 02:00:00:00:00:07\\)", 90)
        m.expect("net0: 10.0.2.15", 60)
        m.expect("Nothing to boot", 60)
        m.expect("Ctrl-B", 60)
        m.send("\x02")
        if "iPXE" in m.expect("iPXE> |No bootable device", 60).group(0):
            break
    for key in f"chain http://10.0.2.2:{server.server_address[1]}/script":
        m.send(key)          # the BIOS keeps few keys: wait for the echo of each
        m.expect(re.escape(key), 20)
    m.send("\r")
    m.expect("booted from 02:00:00:00:00:07", 60)
    server.shutdown()


def screen(abyme, name, tmp_path, pattern, seconds):
    """Wait until the text on the screen matches."""
    end, text = deadline(seconds), ""
    while time.monotonic() < end:
        status, _, text = abyme("screenshot", name, str(tmp_path / "screen.txt"))
        if status == 0:
            text = (tmp_path / "screen.txt").read_text()
            if re.search(pattern, text):
                return text
        time.sleep(0.5)
    raise AssertionError(f"no {pattern!r} on the screen within {seconds} s:\n{text}")


@seabios
def test_memtest(abyme, tmp_path):
    """memtest86+ tests memory; what its first tests find must be nothing."""
    iso = f"{debian_package('memtest86+')}/usr/lib/memtest86+/memtest86+x64.iso"
    abyme.start("run", "--name", "mt", "--engine", "jit", "--memory", "16M", "--display", "headless",
                "--serial", "none", "--cdrom", iso)
    text = screen(abyme, "mt", tmp_path, r"(?s)Test #[3-9].*Errors: +\d", 120)
    assert re.search(r"Errors: +0\b", text), text
    assert abyme("key", "mt", "esc")[0] == 0


@seabios
def test_floppy(abyme, tmp_path):
    """GRUB's rescue floppy: its core loads its modules from the diskette by DMA."""
    image = grub_image(tmp_path, "grub-rescue-floppy.img")
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "128M", "--boot", "floppy", "--floppy", image)
    m.expect("GNU GRUB", 300)
    m.send("c")
    m.expect("grub> ", 60)
    m.send("ls (fd0)\r")
    m.expect("Device fd0: Filesystem type iso9660", 60)
    m.send("halt\r")
    assert m.wait(60) == 0
