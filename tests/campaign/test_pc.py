# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware and boot loaders of Debian's packages, on every disk controller.

    make campaign-pc
"""
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from conftest import (abyme, debian_package, guest_args, kernel_tree, off, pixels, run, shell,  # noqa: E402, F401
                      vmlinuz)  # pylint: disable=unused-import,wrong-import-position

BUSES = ["virtio", "scsi", "ahci", "nvme", "ide"]


def tool(name, package):
    if not shutil.which(name):
        pytest.skip(f"the package {package} is not installed")


def wait_screen(vm, name, tmp_path, pattern, seconds):
    end, text = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        if vm("screenshot", name, str(tmp_path / "s.txt"))[0] == 0:
            text = (tmp_path / "s.txt").read_text()
            if re.search(pattern, text):
                return text
        time.sleep(1)
    raise AssertionError(f"no {pattern!r} on the screen within {seconds} s:\n{text}")


def esp(tmp_path, loader, more=()):
    """A disk whose one FAT file system holds the loader where UEFI looks for it."""
    tool("mformat", "mtools")
    image = str(tmp_path / "esp.img")
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mformat", "-i", image, "-F", "::"], check=True)
    for folder in ("EFI", "EFI/BOOT", "loader"):
        subprocess.run(["mmd", "-i", image, f"::{folder}"], check=True)
    for source, target in [(loader, "EFI/BOOT/BOOTX64.EFI"), *more]:
        subprocess.run(["mcopy", "-i", image, source, f"::{target}"], check=True)
    return image


def uefi(vm, *args):
    return vm.start("run", "--rm", "--engine", "jit", "--memory", "256M", "--firmware", "uefi", *args)


@pytest.mark.parametrize("bus", BUSES)
def test_uefi_grub(abyme, tmp_path, bus):  # noqa: F811
    grub = f"{debian_package('grub-efi-amd64-bin')}/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"
    m = uefi(abyme, "--boot", "disk", "--disk", f"{esp(tmp_path, grub)},bus={bus}")
    m.expect("grub> |GNU GRUB", 300)


def test_secure_boot_refuses(abyme, tmp_path):  # noqa: F811
    """A loader without a signature is not started; the same firmware starts what Debian has had signed
    (test_pc_debian.py)."""
    grub = f"{debian_package('grub-efi-amd64-bin')}/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "256M", "--firmware", "uefi-secure", "--boot", "disk",
                    "--disk", esp(tmp_path, grub))
    m.expect("Access Denied", 600)
    assert "GNU GRUB" not in m.text and "grub>" not in m.text


def test_uefi_systemd_boot(abyme, tmp_path):  # noqa: F811
    boot = f"{debian_package('systemd-boot-efi')}/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    conf = tmp_path / "loader.conf"
    conf.write_text("timeout 60\n")
    m = uefi(abyme, "--boot", "disk", "--disk", f"{esp(tmp_path, boot, [(str(conf), 'loader/loader.conf')])},bus=nvme")
    m.expect("Reboot Into Firmware Interface", 300)


def test_uefi_memtest(abyme, tmp_path):  # noqa: F811
    memtest = f"{debian_package('memtest86+')}/boot/memtest86+x64.efi"
    disk = esp(tmp_path, memtest)
    abyme.start("run", "--name", "m", "--engine", "jit", "--memory", "256M", "--firmware", "uefi",
                "--display", "headless", "--serial", "none", "--disk", f"{disk},bus=ahci")
    end = time.monotonic() + 300
    while time.monotonic() < end:             # its blue, in a graphics mode
        status, _, _ = abyme("screenshot", "m", str(tmp_path / "m.png"))
        if status == 0 and blue_share(tmp_path / "m.png") > 0.5:
            return
        time.sleep(2)
    raise AssertionError("memtest86+ has not drawn its screen")


def blue_share(path):
    """The share of pixels that are pure blue."""
    width, height, rgb = pixels(path)
    blue = sum(rgb[i:i + 2] == b"\0\0" and rgb[i + 2] > 0x80 for i in range(0, len(rgb), 30))
    return blue / (width * height / 10)


def test_memtest_full_pass(abyme, tmp_path):  # noqa: F811
    """A whole pass over a machine of 64 MiB finds nothing."""
    iso = f"{debian_package('memtest86+')}/usr/lib/memtest86+/memtest86+x64.iso"
    abyme.start("run", "--name", "m", "--engine", "jit", "--memory", "64M", "--display", "headless",
                "--serial", "none", "--cdrom", iso)
    text = wait_screen(abyme, "m", tmp_path, r"Pass: +[1-9]", 1800)
    assert re.search(r"Errors: +0\b", text), text


def test_ipxe_iso(abyme):  # noqa: F811
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "64M", "--net", "user,model=e1000", "--cdrom",
                    f"{debian_package('ipxe')}/usr/lib/ipxe/ipxe.iso", "--boot", "cdrom")
    m.expect("Configuring", 120)
    m.expect("net0: 10.0.2.15", 120)
    m.expect("Ctrl-B", 120)
    m.send("\x02")
    m.expect("iPXE> ", 60)


@pytest.mark.parametrize("bus", ["ahci", "ide"])
def test_isolinux(abyme, tmp_path, bus):  # noqa: F811
    tool("xorriso", "xorriso")
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(f"{debian_package('isolinux')}/usr/lib/ISOLINUX/isolinux.bin", root)
    shutil.copy(f"{debian_package('syslinux-common')}/usr/lib/syslinux/modules/bios/ldlinux.c32", root)
    (root / "isolinux.cfg").write_text("SERIAL 0 115200\nPROMPT 1\nTIMEOUT 0\nSAY The CD speaks\nDEFAULT none\n")
    iso = str(tmp_path / "i.iso")
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b", "isolinux.bin", "-c", "boot.cat",
                    "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", str(root)], check=True)
    m = abyme.start("run", "--rm", "--engine", "jit", "--memory", "64M", "--cdrom", f"{iso},bus={bus}")
    m.expect("ISOLINUX", 120)
    m.expect("The CD speaks", 60)
    m.expect("boot:", 60)


def fat(tmp_path, files):
    """A disk that is one FAT file system with these files."""
    tool("mformat", "mtools")
    image = str(tmp_path / "fat.img")
    with open(image, "wb") as f:
        f.truncate(256 << 20)
    subprocess.run(["mformat", "-i", image, "-F", "::"], check=True)
    for f in files:
        subprocess.run(["mcopy", "-i", image, f, "::"], check=True)
    return image


@pytest.mark.parametrize("arch", ["amd64", "i386"])
def test_graphical_installer(abyme, tmp_path, arch):  # noqa: F811
    """Debian's installer, started by GRUB in a VBE mode, draws its first question: with less memory it would draw it
    in text. Its kernel's driver of the card chooses the mode."""
    package = debian_package(f"debian-installer-12-netboot-{arch}")
    folder = f"{package}/usr/lib/debian-installer/images/12/{arch}/gtk/debian-installer/{arch}"
    grub = f"{debian_package('grub-rescue-pc')}/usr/lib/grub-rescue/grub-rescue-cdrom.iso"
    m = abyme.start("run", "--name", "i", "--engine", "jit", "--memory", "1536M", "--display", "headless", "--cdrom", grub,
                    "--boot", "cdrom", "--disk", fat(tmp_path, [f"{folder}/linux", f"{folder}/initrd.gz"]))
    m.expect("GNU GRUB", 300)
    m.send("c")
    m.expect("grub> ", 120)
    for line in ("insmod all_video", "set gfxpayload=800x600x32", "linux (hd0)/linux", "initrd (hd0)/initrd.gz"):
        for key in line:                      # the BIOS keeps few keys: wait for the echo of each
            m.send(key)
            m.expect(re.escape(key), 120)
        m.send("\r")
        m.expect("grub> ", 300)
    m.send("boot\r")
    end = time.monotonic() + 1800
    while time.monotonic() < end:             # its list of languages is dark on white, in a window
        if abyme("screenshot", "i", str(tmp_path / "i.png"))[0] == 0:
            width, height, rgb = pixels(tmp_path / "i.png")
            light = sum(min(rgb[i:i + 3]) > 0xe0 for i in range(0, len(rgb), 30)) / (width * height / 10)
            if width >= 800 and light > 0.4:
                return
        time.sleep(2)
    raise AssertionError("the installer has not drawn its first screen")


def test_ovmf_measures(abyme, kernel_tree, tmp_path):  # noqa: F811
    """OVMF measures itself and what it starts; the kernel finds its log."""
    tool("swtpm", "swtpm")
    tree = kernel_tree("amd64")
    args = guest_args(tree, tmp_path, [])
    shutil.copy(vmlinuz(tree), tmp_path / "vmlinuz.efi")
    (tmp_path / "startup.nsh").write_text(
        "fs0:\r\nvmlinuz.efi initrd=\\initrd.gz console=ttyS0 quiet loglevel=3 panic=-1\r\n")
    disk = fat(tmp_path, [str(tmp_path / "vmlinuz.efi"), args[args.index("--initrd") + 1], str(tmp_path / "startup.nsh")])
    m = uefi(abyme, "--memory", "512M", "--tpm", "--disk", disk)
    m.expect("any other key to continue", 300)
    m.send("\r")
    shell(m)
    for pcr in (0, 4):
        run(m, f"echo pcr{pcr}=$(tr -d 0 </sys/class/tpm/tpm0/pcr-sha256/{pcr})", rf"^pcr{pcr}=[1-9A-F]")
    run(m, "mount -t securityfs none /sys/kernel/security; wc -c </sys/kernel/security/tpm0/binary_bios_measurements",
        r"^\d{4,}\s")
    off(m)


def test_bios_interp(abyme, tmp_path):  # noqa: F811
    """The interpreter alone takes SeaBIOS to GRUB's prompt."""
    image = shutil.copy(f"{debian_package('grub-rescue-pc')}/usr/lib/grub-rescue/grub-rescue-usb.img", tmp_path)
    m = abyme.start("run", "--rm", "--engine", "interp", "--memory", "128M", "--disk", image)
    m.expect("GNU GRUB", 900)
    m.send("c")
    m.expect("grub> ", 300)


def test_uefi_interp(abyme):  # noqa: F811
    """The interpreter alone takes OVMF to its shell."""
    m = abyme.start("run", "--rm", "--engine", "interp", "--memory", "256M", "--firmware", "uefi")
    m.expect("any other key to continue", 1800)
    m.send("\x1b")
    m.expect("Shell>", 300)
