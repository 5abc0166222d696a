#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A small busybox initramfs for tests and measurements.
#   initrd.sh OUT [INIT [KERNELDIR MODULE...]]
# INIT replaces the default init, which says USERSPACE-REACHED and gives a shell
# on the console. BUSYBOX=FILE takes another busybox (an i386 one),
# EXTRA=FILE goes to /bin. Modules of the kernel tree (from kernel.sh) go to /modules.
set -eu
out=$1 init=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/proc" "$work/sys" "$work/dev" "$work/modules" "$work/tmp"
cp "${BUSYBOX:-$(command -v busybox)}" "$work/bin/busybox"
for a in sh mount echo cat ls sleep poweroff reboot insmod ip udhcpc wget nc dmesg grep date uname \
	head tail dd sync mkdir cut wc md5sum sha256sum time true false test ps kill touch chmod rm cp mv; do
	ln -s busybox "$work/bin/$a"
done
[ -z "${EXTRA:-}" ] || cp "$EXTRA" "$work/bin/"
# A module after those that it needs; names may differ in - and _.
add_module() {
	grep -qx "$1" "$work/modules/order" 2>/dev/null && return 0
	file=$(find "$tree/lib/modules" -name "$(echo "$1" | sed 's/[-_]/[-_]/g').ko*" | head -n 1)
	[ -n "$file" ] || return 0
	case $file in
	*.xz) xz -dc "$file" >"$work/modules/$1.ko" ;;
	*) cp "$file" "$work/modules/$1.ko" ;;
	esac
	for needed in $(tr '\0' '\n' <"$work/modules/$1.ko" | LC_ALL=C sed -n 's/^depends=//p' | tr ',' ' '); do
		(add_module "$needed")
	done
	echo "$1" >>"$work/modules/order"
}
if [ $# -gt 2 ]; then
	tree=$3
	shift 3
	for m in "$@"; do
		add_module "$m"
	done
fi
if [ -n "$init" ]; then
	cp "$init" "$work/init"
else
	cat >"$work/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
[ -e /modules/order ] && while read -r m; do insmod "/modules/$m.ko"; done </modules/order
echo USERSPACE-REACHED
exec sh </dev/console >/dev/console 2>&1
INIT
fi
chmod 755 "$work" "$work/init"    # mktemp made it for root alone
(cd "$work" && find . | cpio -o -H newc --quiet | gzip -1) >"$out.tmp"
mv "$out.tmp" "$out"
