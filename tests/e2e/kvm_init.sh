#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Init of the computer with AMD-V (nested.py): loads KVM, runs the job, powers off.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm && mount -t devpts pts /dev/pts
ip link set lo up
while read -r m; do insmod "/modules/$m.ko"; done </modules/order
export ABYME_STATE=/tmp/state PATH=/bin
# wait_log NAME PATTERN SECONDS: until the machine's console has said it. Looks into the
# file itself: a program started twice a second would take the only CPU from the machine.
wait_log() {
	n=$3
	while ! grep -q "$2" "$ABYME_STATE/instances/$1/console.log" 2>/dev/null; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "NO $2 FROM $1"; abyme logs "$1" | tail -n 30; return 1; }
		sleep 1
	done
}
# keep FILE: leave it to the test, on the disk
keep() {
	tar -C "$(dirname "$1")" -cf /dev/vda state-file && sync && echo STATE-SAVED
}
kernel="--kernel /guest/vmlinux --initrd /guest/initrd.gz --cpu abyme-v2.1 --memory 128M"
console="console=ttyS0 panic=-1 loglevel=5"
echo OUTER-READY
. /job
poweroff -f
