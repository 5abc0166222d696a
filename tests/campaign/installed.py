# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian as firmware finds it: a disk with a partition table, GRUB in its
gap for a BIOS and in an EFI system partition, and a root file system."""
import os
import struct
import subprocess

from conftest import TOP

PACKAGES = ("grub-pc-bin grub-efi-amd64-bin grub-efi-amd64-signed shim-signed xen-hypervisor-4.17-amd64 "
            "xserver-xorg-core xserver-xorg-input-libinput xinit x11-xserver-utils x11-apps xterm xfonts-base").split()
SECTOR = 512
ESP_AT, ESP_SIZE = 1 << 20, 64 << 20
ROOT_AT = ESP_AT + ESP_SIZE


def guest():
    """The folder of the guest, made once in the cache; None where it cannot be."""
    p = subprocess.run(["sh", f"{TOP}/scripts/guest.sh", *PACKAGES], stdout=subprocess.PIPE, text=True, check=False)
    return None if p.returncode else p.stdout.strip()


def partition(kind, at, size, active=0):
    return struct.pack("<B3sB3sII", active, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", at // SECTOR, size // SECTOR)


def boot_sector(folder, root_size):
    """GRUB's boot.img, told that core.img follows it, with a table of two partitions."""
    sector = bytearray(open(f"{folder}/boot.img", "rb").read())
    sector[0x5c:0x64] = struct.pack("<Q", 1)
    sector[0x1b8:0x1be] = b"abym\0\0"
    table = partition(0xef, ESP_AT, ESP_SIZE) + partition(0x83, ROOT_AT, root_size, 0x80)
    sector[0x1be:0x1fe] = table.ljust(64, b"\0")
    return bytes(sector)


def core(folder):
    """core.img, whose first sector loads the rest: where it lies and how long it is."""
    data = bytearray(open(f"{folder}/core.img", "rb").read())
    data += bytes(-len(data) % SECTOR)
    data[0x1f4:0x200] = struct.pack("<QHH", 2, len(data) // SECTOR - 1, 0x820)
    assert len(data) + SECTOR <= ESP_AT
    return bytes(data)


def make_esp(folder, image):
    at = f"{image}@@{ESP_AT}"
    subprocess.run(["mformat", "-i", at, "-F", "-T", str(ESP_SIZE // SECTOR), "::"], check=True)
    for name in ("EFI", "EFI/BOOT", "EFI/debian"):
        subprocess.run(["mmd", "-i", at, f"::{name}"], check=True)
    for source, target in (("shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"), ("grubx64.efi.signed", "EFI/BOOT/grubx64.efi"),
                           ("grub.cfg", "EFI/debian/grub.cfg")):
        subprocess.run(["mcopy", "-i", at, f"{folder}/{source}", f"::{target}"], check=True)


def make_disk(folder, image):
    """The whole disk at `image`."""
    root = os.path.getsize(f"{folder}/disk.img")
    with open(image, "wb") as f:
        f.write(boot_sector(folder, root) + core(folder))
        f.truncate(ROOT_AT + root)
    subprocess.run(["dd", f"if={folder}/disk.img", f"of={image}", "bs=1M", f"seek={ROOT_AT >> 20}", "conv=sparse,notrunc",
                    "status=none"], check=True)
    make_esp(folder, image)
