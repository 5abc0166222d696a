#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Init of the outer machine of test_kvm.py: loads KVM, runs machines inside, and
# leaves a state file on the disk.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r m; do insmod "/modules/$m.ko"; done </modules/order
export ABYME_STATE=/tmp/state PATH=/bin
echo OUTER-READY
abyme doctor | head -n 1
args="--engine kvm --cpu abyme-v2.1 --jail none --memory 128M --kernel /guest/vmlinux --initrd /guest/initrd.gz"
for cpus in 1 2; do
	{
		while ! grep -q USERSPACE-REACHED /tmp/log$cpus 2>/dev/null; do sleep 0.3; done
		sleep 0.5
		echo "echo cpus=\$(grep -c ^processor /proc/cpuinfo)"
		echo "poweroff -f"
		sleep 20
	} | abyme run --rm $args --vcpus $cpus --append "console=ttyS0 panic=-1 loglevel=5" >/tmp/log$cpus 2>&1
	echo "INNER-$cpus-STATUS $?"
	sed "s/^/inner-$cpus: /" /tmp/log$cpus
done
abyme run --detach --name hopper $args --vcpus 2 --append "console=ttyS0 panic=-1 loglevel=5 beat"
while ! abyme logs hopper | grep -q "^beat 3 "; do sleep 0.5; done
abyme stats --engine hopper
abyme suspend hopper /tmp/state-file && tar -C /tmp -cf /dev/vda state-file && sync && echo STATE-SAVED
poweroff -f
