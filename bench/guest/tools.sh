#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Workloads that are other people's programs: run in the guests and natively in
# the same tree (a chroot). Prints RESULT lines as `work` does.
# The data is the same everywhere: made from the programs of the tree itself.
PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
export PATH LC_ALL=C
cd /tmp || exit 1
[ -f data ] || cat /usr/bin/openssl /usr/bin/python3.11 /bin/busybox 2>/dev/null | head -c 6000000 > data

now() { read -r up _ < /proc/uptime; echo "$up"; }
# measure NAME CLASS COMMAND...: the checksum is of what the command prints.
measure() {
	name=$1 class=$2
	shift 2
	wanted "$name" "$class" || return 0
	/usr/bin/timed "$name" "$class" "$@"
}
wanted() { [ -z "$ONLY" ] || case " $ONLY " in *" $1 "*|*" $2 "*) ;; *) return 1;; esac; }

measure gzip integer gzip -6 -n -c data
measure xz integer xz -1 -c -T1 data
measure zstd integer zstd -9 -q -c --single-thread data
measure sqlite integer sqlite3 :memory: "create table t(a integer primary key, b text, c int);
with recursive n(i) as (select 1 union all select i+1 from n where i<60000)
insert into t select i, hex(i*2654435761 % 4294967296), i*7919 % 1000 from n;
create index x on t(c); select c, count(*), max(b) from t group by c order by 2, 1 limit 5;
select sum(length(b)) from t where b like '%7%' and c > 500;"
measure python integer python3 -c 'import sys
d, s = {}, 0
for i in range(300000):
    k = (i * 7919) % 5003
    d[k] = d.get(k, 0) + i
    s = (s * 31 + d[k]) & 0xffffffff
print(s)'
measure cc integer sh -c 'gcc -O1 -S -o - /usr/src/sample.c'
measure aes-128-gcm float evp aes-128-gcm
measure evp-sha256 float evp sha256
measure openssl float sh -c 'i=0; while [ $i -lt 4 ]; do openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 < data | openssl dgst -sha256 -r; i=$((i+1)); done'
measure find kernel sh -c 'i=0; while [ $i -lt 20 ]; do find /usr -xdev; i=$((i+1)); done | sort | tail -n 3'
measure shell kernel sh -c 'i=0; while [ $i -lt 300 ]; do x=$(/bin/echo $i); i=$((i+1)); done; echo $x'
# Two compilers after one another and at once. Not measured before that: what is paid
# once, by whichever comes first (reading its files; under a translator, translating it).
if wanted compile-1 smp || wanted compile-2 smp; then
	gcc -O1 -S -o a.s /usr/src/sample.c
fi
measure compile-1 smp sh -c 'gcc -O1 -S -o a.s /usr/src/sample.c; gcc -O1 -S -o b.s /usr/src/sample.c; cat a.s b.s'
measure compile-2 smp sh -c 'gcc -O1 -S -o a.s /usr/src/sample.c & gcc -O1 -S -o b.s /usr/src/sample.c & wait; cat a.s b.s'
