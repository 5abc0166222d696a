#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Init of the computer with AMD-V (nested.py): loads KVM, runs the job, powers off.
# The root that the kernel unpacks into cannot be left by pivot_root, which the jail wants to
# do: on with a mount of it, moved over it.
if [ -z "$moved" ]; then
	mkdir /moved && mount -o bind / /moved && cd /moved && mount -o move . /
	moved=yes exec chroot . /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm && mount -t devpts pts /dev/pts
ip link set lo up
# QEMU leaves its translated code at each PAUSE: a thousand times what the instruction counts. So
# KVM does not poll before it puts a halted vCPU to sleep, and a vCPU that spins because another
# has no turn spins for a tenth of a millisecond, not until the next tick.
mount -t debugfs debug /sys/kernel/debug
echo 100000 >/sys/kernel/debug/sched/min_granularity_ns
echo 100000 >/sys/kernel/debug/sched/latency_ns
echo HRTICK >/sys/kernel/debug/sched/features
while read -r m; do
	[ "$m" = kvm ] && set -- halt_poll_ns=0 || set --
	insmod "/modules/$m.ko" "$@"
done </modules/order
export ABYME_STATE=/tmp/state PATH=/bin
# QEMU would bring some interrupts twice: kvm_reenter.c.
kvm_reenter || { echo NOTHING STOPS INTERRUPTS FROM COMING TWICE; poweroff -f; }
# count_lines NAME PATTERN: lines of its console. Looks into the file itself: a program
# started twice a second would take the only CPU from the machine.
count_lines() {
	grep -c "$2" "$ABYME_STATE/instances/$1/console.log" 2>/dev/null || :
}
# wait_lines NAME PATTERN COUNT SECONDS: until there are as many; now and then the last line,
# for a test that is cut short meanwhile.
wait_lines() {
	n=$4 log=$ABYME_STATE/instances/$1/console.log
	while lines=$(count_lines "$1" "$2"); [ "${lines:-0}" -lt "$3" ]; do
		n=$((n - 1))
		[ $n -gt 0 ] || { echo "NO $2 FROM $1"; abyme ls; sed "s/^/inner: /" "$log"; return 1; }
		[ $((n % 15)) -ne 0 ] || { echo "waiting for '$2': $(tail -n 1 "$log")"; }
		sleep 1
	done
}
wait_log() { wait_lines "$1" "$2" 1 "$3"; }
# more_beats NAME COUNT SECONDS: until its console has that many beats more than now: what it
# has said already was said before whatever the caller has just done to the machine.
more_beats() { wait_lines "$1" "$beat" $(($(count_lines "$1" "$beat") + $2)) "$3"; }
# recorder: KVM's last entries, exits and interrupts are kept from now on; recorded: tells them
trace=/sys/kernel/debug/tracing
recorder() {
	echo 256 >$trace/buffer_size_kb
	for event in kvm_entry kvm_exit kvm_inj_virq; do echo 1 >$trace/events/kvm/$event/enable; done
}
recorded() {
	echo 0 >$trace/tracing_on
	tail -n 100 $trace/trace | sed "s/^/recorded: /"
	: >$trace/trace
	echo 1 >$trace/tracing_on
}
# keep FILE: leave it to the test, on the disk
keep() {
	tar -C "$(dirname "$1")" -cf /dev/vda state-file && sync && echo STATE-SAVED
}
kernel="--kernel /guest/vmlinux --initrd /guest/initrd.gz --cpu abyme-v2.1 --memory 96M"
console="console=ttyS0 panic=-1 loglevel=5"
beat="^beat .* fcd6bcb56c1689fcef28b57c22475bad"
echo OUTER-READY
. /job
poweroff -f
