#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Make a Debian guest out of Debian's own packages, once, in the cache; print
# its directory: disk.img (ext4, whole disk), vmlinuz, initrd.img; with grub-pc-bin
# also GRUB's boot.img, core.img and grub.cfg, with shim-signed what UEFI starts.
#   guest.sh [--fresh] [PACKAGE...]      more packages make a guest of their own
# As root or not: an ordinary user needs the package uidmap and user namespaces.
set -eu
PATH=$PATH:/usr/sbin:/sbin
suite=bookworm
size=4G
cache=${ABYME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/abyme}
fresh=
[ "${1:-}" = --fresh ] && { fresh=1; shift; }
more=$(echo "$*" | tr ' ' ',')
tag=$(echo "$*" | tr -c 'a-z0-9\n' '-')
out=$cache/guest-$suite${tag:+-$tag}
if [ -z "$fresh" ] && [ -e "$out/.complete" ]; then
	echo "$out"
	exit 0
fi
for tool in mmdebstrap mke2fs; do
	command -v $tool >/dev/null || { echo "guest.sh: $tool is missing: make deps" >&2; exit 1; }
done

packages=linux-image-amd64,initramfs-tools,systemd-sysv,udev,dbus,kmod,iproute2,iputils-ping,netbase
packages=$packages,ca-certificates,wget,procps,less,nano,apt${more:+,$more}

# The apt sources of this host, if they are Debian's for this suite.
sources=
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
	if [ -s "$f" ] && grep -qw "$suite" "$f" && grep -q 'debian' "$f"; then
		sources="$sources $f"
	fi
done

mkdir -p "$cache"
work=$(mktemp -d "$cache/guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"
chmod 755 "$work"
# In a user namespace the hooks run under another id: a place that it can write.
chmod 1777 "$work/out"

# Before the kernel's own scripts run: a small initrd that finds the disk on any controller.
cat >"$work/early" <<'EARLY'
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$1/etc/initramfs-tools/conf.d/abyme"
printf '%s\n' virtio_pci virtio_blk virtio_net virtio_scsi ahci nvme ata_piix sd_mod ext4 crc32c_generic \
	>"$1/etc/initramfs-tools/modules"
EARLY
cat >"$work/late" <<'LATE'
set -e
echo abyme >"$1/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 abyme\n' >"$1/etc/hosts"
echo 'LABEL=abyme / ext4 errors=remount-ro 0 1' >"$1/etc/fstab"
rm -f "$1/etc/resolv.conf"
echo 'nameserver 10.0.2.3' >"$1/etc/resolv.conf"
mkdir -p "$1/etc/systemd/network"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n' >"$1/etc/systemd/network/10-dhcp.network"
chroot "$1" systemctl -q enable systemd-networkd
chroot "$1" systemctl -q disable systemd-networkd-wait-online || true
chroot "$1" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer
echo 'root:abyme' | chroot "$1" chpasswd
rm -rf "$1/var/cache/apt/archives/"*.deb
cp "$1"/boot/vmlinuz-* "$2/vmlinuz"
cp "$1"/boot/initrd.img-* "$2/initrd.img"
# What firmware starts, where GRUB is among the packages: boot sector, core, and what goes to an ESP.
if [ -d "$1/usr/lib/grub/i386-pc" ]; then
	mkdir -p "$1/boot/grub"
	cat >"$1/boot/grub/grub.cfg" <<'GRUB'
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=3
search --set=root --label abyme
menuentry Debian --hotkey=d {
	linux /vmlinuz root=LABEL=abyme ro console=tty0 console=ttyS0
	initrd /initrd.img
}
if [ -e /boot/xen-4.17-amd64.gz ]; then
	menuentry Xen --hotkey=x {
		multiboot2 /boot/xen-4.17-amd64.gz dom0_mem=768M console=com1 com1=115200,8n1 $xen
		module2 /vmlinuz root=LABEL=abyme ro console=hvc0 $dom0
		module2 /initrd.img
	}
fi
GRUB
	echo 'search --set=root --label abyme
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg' >"$2/grub.cfg"
	chroot "$1" grub-mkimage -O i386-pc -p /boot/grub -c /dev/stdin -o /boot/grub/core.img biosdisk part_msdos ext2 \
		search search_label normal configfile serial terminal linux test multiboot2 gzio echo halt reboot <"$2/grub.cfg"
	cp "$1/usr/lib/grub/i386-pc/boot.img" "$1/boot/grub/core.img" "$2/"
	for f in usr/lib/shim/shimx64.efi.signed usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed; do
		[ ! -e "$1/$f" ] || cp "$1/$f" "$2/"
	done
fi
echo "Writing the disk image ..." >&2
# The tree without what is mounted on it (proc, sys).
mkdir "$2/tree"
mount --bind "$1" "$2/tree"
mke2fs -q -t ext4 -L abyme -E root_owner=0:0 -d "$2/tree" "$2/disk.img" "$3" || { umount "$2/tree"; exit 1; }
umount "$2/tree"
rmdir "$2/tree"
chmod 644 "$2"/*
LATE
echo "Making a Debian guest in $out (once; some minutes) ..." >&2
build() {
	# shellcheck disable=SC2086
	mmdebstrap --variant=minbase --format=null --architectures=amd64 --include="$packages" \
		--aptopt='Acquire::Retries "3"' --aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--essential-hook="sh '$work/early' \"\$1\"" \
		--customize-hook="sh '$work/late' \"\$1\" '$work/out' $size" \
		"$suite" /dev/null $sources >&2
}
build || { echo "guest.sh: once more, as a package server may have been busy ..." >&2; build; }
mkdir -p "$out"
cp --sparse=always "$work/out/disk.img" "$out/disk.img"
# A subordinate user's file, where an ordinary user runs this: plain rm would ask.
rm -f "$work/out/disk.img"
cp "$work/out/"* "$out/"
touch "$out/.complete"
echo "$out"
