# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of a whole PC under Linux's own drivers: disk controllers, media."""
import hashlib
import math
import os
import random
import struct
import subprocess
import time

import pytest

from conftest import TOP, guest_args, off, pixels, run, shell
from patience import deadline

MODULES = ["virtio_pci", "virtio_scsi", "ahci", "nvme", "ata_piix", "sd_mod", "sr_mod", "isofs"]
BUSES = {"ahci": "sda", "nvme": "nvme0n1", "ide": "sda", "scsi": "sda"}


@pytest.fixture(scope="module")
def guest(kernel_tree, tmp_path_factory):
    """Arguments for a guest with the drivers of a PC's controllers."""
    return guest_args(kernel_tree("amd64"), tmp_path_factory.mktemp("pc"), MODULES)


@pytest.mark.parametrize("bus", list(BUSES))
def test_disk(abyme, guest, tmp_path, bus):
    """Reads what the host wrote, writes what the host finds, goes on after a suspend."""
    disk, dev = tmp_path / "disk.img", f"/dev/{BUSES[bus]}"
    data = random.Random(bus).randbytes(8 << 20)
    with open(disk, "wb") as f:
        f.write(data)
        f.truncate(32 << 20)
    m = abyme.start("run", "--name", "d", *guest, "--disk", f"{disk},bus={bus}")
    shell(m)
    run(m, f"ls {dev}; head -c {len(data)} {dev} | md5sum", f"^{md5(data)}  -")
    run(m, "cat /proc/mtrr; echo", "base=0x080000000.*size= 2048MB, count=1: uncachable")
    m.send(f"n=0; while head -c 1048576 {dev} | dd of={dev} bs=256k seek=64 conv=fsync 2>/tmp/e; do "
           "n=$((n+1)); [ $n = 2 ] && echo t''wo; [ -e /tmp/stop ] && break; done & sleep 1; echo\n")
    m.expect("two", 60)                                   # behind the prompt, perhaps
    m = travel(abyme, m, "d", tmp_path)
    run(m, "touch /tmp/stop; wait; cat /tmp/e; echo over-$((1+1))", "^over-2")
    run(m, f"dd if={dev} bs=256k skip=64 count=4 2>/dev/null | md5sum", f"^{md5(data[:1 << 20])}  -")
    off(m)
    with open(disk, "rb") as f:
        f.seek(16 << 20)
        assert f.read(1 << 20) == data[:1 << 20]


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_change_medium(abyme, guest, tmp_path, bus):
    """A CD is taken out and another put in, under the guest's eyes, also when it has locked the drive."""
    first, second = tmp_path / "first.iso", tmp_path / "second.iso"
    first.write_bytes(b"one\n".ljust(4096, b"\0"))
    second.write_bytes(b"two\n".ljust(8192, b"\0"))
    m = abyme.start("run", "--name", "c", *guest, "--cdrom", f"{first},bus={bus}")
    shell(m)
    run(m, "head -c 4 /dev/sr0; echo clo''sed", r"^one\s+closed")
    assert abyme("change", "c", "cdrom2", str(second))[0] == 1
    status, _, text = abyme("eject", "c", "cdrom")
    assert status == 0, text
    run(m, "head -c 4 /dev/sr0 || echo em''pty", "^empty")
    status, _, text = abyme("change", "c", "cdrom", str(second))
    assert status == 0, text
    run(m, "until head -c 4 /dev/sr0; do sleep 1; done 2>/dev/null; cat /sys/block/sr0/size", r"^two\s+16\s")
    m.expect("# ", 60)
    m.send("exec 3</dev/sr0; echo locked-$?\n")          # an open drive is a locked one
    m.expect("^locked-0", 60)
    status, _, text = abyme("change", "c", "cdrom", str(first))
    assert status == 1 and "--force" in text, text
    status, _, text = abyme("engine", "c", "interp", seconds=120)
    assert status == 0, text
    status, _, text = abyme("eject", "--force", "c", "cdrom")
    assert status == 0, text
    run(m, "exec 3<&-; head -c 4 /dev/sr0 || echo go''ne", "^gone", 120)
    assert "none" in abyme("inspect", "c")[1]
    off(m)


def md5(data):
    return hashlib.md5(data).hexdigest()


def test_refused(abyme, tmp_path):
    """A bus that does not exist is named, and what does."""
    disk = tmp_path / "d.img"
    disk.write_bytes(b"\0" * 4096)
    status, _, text = abyme("run", "--rm", "--disk", f"{disk},bus=mfm")
    assert status and "mfm" in text and "nvme" in text and text.count("\n") == 1
    assert os.path.exists(disk)


def test_virtio_screen_and_input(abyme, kernel_tree, tmp_path):
    """The guest paints its framebuffer on virtio-gpu; keys and places come by virtio-input; so after a suspend."""
    args = guest_args(kernel_tree("amd64"), tmp_path, ["virtio_pci", "virtio_blk", "virtio-gpu", "virtio_input", "evdev"])
    picture = bytearray(random.Random(5).randbytes(1280 * 800 * 4))
    picture[3::4] = bytes(1280 * 800)
    (tmp_path / "picture").write_bytes(picture)
    m = abyme.start("run", "--name", "v", *args, "--display", "headless", "--gpu", "virtio", "--input", "virtio",
                    "--disk", str(tmp_path / "picture"))
    shell(m)
    run(m, "cat /sys/class/graphics/fb0/virtual_size /proc/bus/input/devices", "^1280,800")
    m.expect("Abyme tablet", 60)
    run(m, "echo -e '\\033[?25l' > /dev/tty0; cat /dev/vda > /dev/fb0; echo pain''ted", "^painted", 120)
    wait_picture(abyme, "v", tmp_path, picture)
    record_events(m)
    assert abyme("key", "v", "a")[0] == 0
    status, _, text = abyme("mouse", "--at", "v", "1279", "0", "right")
    assert status == 0, text
    wait_event(m, "01 00 1e 00 01 00 00 00")               # EV_KEY, KEY_A, down
    wait_event(m, "03 00 00 00 ff 7f 00 00")               # EV_ABS, ABS_X, 32767
    wait_event(m, "01 00 11 01 01 00 00 00")               # EV_KEY, BTN_RIGHT, down
    m = travel(abyme, m, "v", tmp_path)
    wait_picture(abyme, "v", tmp_path, picture)
    assert abyme("key", "v", "b")[0] == 0
    wait_event(m, "01 00 30 00 01 00 00 00")
    off(m)


def travel(abyme, m, name, tmp_path):
    """The machine goes on from a state file, at the prompt of its shell."""
    status, _, text = abyme("suspend", name, str(tmp_path / "saved"), seconds=120)
    assert status == 0, text
    assert m.wait(60) == 0
    m = abyme.start("resume", str(tmp_path / "saved"))
    m.send("\n")
    m.expect("# ", 60)
    return m


def record_events(m):
    """A file for what each input device says from now on; each is open when this returns."""
    m.send("n=0; for e in /dev/input/event*; do cat <$e >/tmp/e$n & n=$((n+1)); done; "
           "until [ $(ls -l /proc/[0-9]*/fd/0 2>/dev/null | grep -c input/event) = $n ]; do sleep 1; done; echo rea''dy\n")
    m.expect("^ready", 60)


def wait_event(m, event):
    """Until one of the files that record events has it; each has 16 bytes of time before it."""
    run(m, f"until cat /tmp/e* | busybox od -An -v -tx1 -w24 | grep -q ' {event}$'; do sleep 1; done; echo fou''nd", "^found",
        120)


def wait_picture(abyme, name, tmp_path, picture):
    """The screen shows these pixels: blue, green, red, nothing."""
    end = deadline(120)
    while time.monotonic() < end:
        status, _, text = abyme("screenshot", name, str(tmp_path / "s.png"))
        assert status == 0, text
        _, _, rgb = pixels(tmp_path / "s.png")
        got = bytearray(len(rgb) // 3 * 4)
        got[0::4], got[1::4], got[2::4] = rgb[2::3], rgb[1::3], rgb[0::3]
        if got == picture:
            return
        time.sleep(0.5)
    raise AssertionError("the screen does not show what the guest has painted")


def test_usb_input(abyme, kernel_tree, tmp_path):
    """Keys and places come by the USB keyboard and tablet, before and after a suspend."""
    args = guest_args(kernel_tree("amd64"), tmp_path, ["virtio_pci", "virtio-gpu", "xhci-pci", "usbhid", "hid-generic", "evdev"])
    m = abyme.start("run", "--name", "u", *args, "--display", "headless", "--gpu", "virtio", "--input", "usb")
    shell(m)
    run(m, "until grep -q 'Abyme tablet' /proc/bus/input/devices && grep -q 'Abyme keyboard' /proc/bus/input/devices; do "
           "sleep 1; done; echo pluggg''ed", "^pluggged", 120)
    record_events(m)
    assert abyme("key", "u", "shift-a")[0] == 0
    status, _, text = abyme("mouse", "--at", "u", "1279", "0", "right")
    assert status == 0, text
    wait_event(m, "01 00 2a 00 01 00 00 00")               # EV_KEY, KEY_LEFTSHIFT, down
    wait_event(m, "01 00 1e 00 01 00 00 00")               # EV_KEY, KEY_A, down
    wait_event(m, "01 00 1e 00 00 00 00 00")               # and up
    wait_event(m, "03 00 00 00 ff 7f 00 00")               # EV_ABS, ABS_X, 32767
    wait_event(m, "01 00 11 01 01 00 00 00")               # EV_KEY, BTN_RIGHT, down
    m = travel(abyme, m, "u", tmp_path)
    assert abyme("key", "u", "b")[0] == 0
    wait_event(m, "01 00 30 00 01 00 00 00")
    run(m, "dmesg | grep -ciE 'xhci.*(warn|error|fail|died|timeout)'", r"^0\s")
    off(m)


def test_sound(abyme, kernel_tree, tmp_path, monkeypatch):
    """What the guest plays is in the file to the last sample, although it was suspended meanwhile."""
    subprocess.run(["gcc", "-O1", "-static", "-o", str(tmp_path / "play"), f"{TOP}/tests/guest/tools/play.c"], check=True)
    monkeypatch.setenv("EXTRA", str(tmp_path / "play"))
    args = guest_args(kernel_tree("amd64"), tmp_path, ["virtio_pci", "virtio_blk", "snd-hda-codec-generic", "snd-hda-intel"])
    tone = b"".join(struct.pack("<hh", round(20000 * math.sin(n * 440 * math.tau / 48000)), n % 65536 - 32768)
                    for n in range(48000 * 8))         # long: it is to be caught while it plays
    (tmp_path / "tone").write_bytes(tone)
    file = tmp_path / "sound.wav"
    m = abyme.start("run", "--name", "s", *args, "--sound", f"wav={file}", "--disk", str(tmp_path / "tone"))
    shell(m)
    run(m, "until [ -e /dev/snd/pcmC0D0p ]; do sleep 1; done; play /dev/vda >/tmp/said 2>&1 & echo beg''un", "^begun")
    end = deadline(60)
    while file.stat().st_size < 50000 and time.monotonic() < end:
        time.sleep(0.05)
    assert 50000 <= file.stat().st_size < len(tone), "not while it plays"
    m = travel(abyme, m, "s", tmp_path)
    run(m, "wait; cat /tmp/said", "^played")
    off(m)
    data = file.read_bytes()
    assert struct.unpack("<4sI8sIHHIIHH4sI", data[:44]) == (
        b"RIFF", len(data) - 8, b"WAVEfmt ", 16, 1, 2, 48000, 192000, 4, 16, b"data", len(data) - 44)
    assert data[44:44 + len(tone)] == tone and len(data) - 44 - len(tone) < 192000
