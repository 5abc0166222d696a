#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetch a Debian kernel package into the cache, without installing it, and print
# the directory it is unpacked in (boot/vmlinuz-*, lib/modules/*).
#   kernel.sh amd64|cloud-amd64|686-pae
# The i386 kernel is found through a private apt configuration, so that no
# architecture is added to the user's system; a busybox it can run comes with it.
set -eu
flavour=${1:?"usage: kernel.sh amd64|cloud-amd64|686-pae"}
cache=${ABYME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/abyme}
out=$cache/kernel-$flavour
arch=amd64 more=
[ "$flavour" = 686-pae ] && arch=i386 more=busybox-static
apt=$cache/apt-$arch
is_whole() { [ -e "$out/.complete" ] && { [ -z "$more" ] || [ -e "$out/bin/busybox" ]; }; }
if ! is_whole; then
	mkdir -p "$apt/lists/partial" "$apt/archives/partial"
	exec 9>"$apt/lock"
	flock 9
fi
if is_whole; then
	echo "$out"
	exit 0
fi
rm -rf "$out.tmp"
mkdir "$out.tmp"
: >"$apt/status"
opts="-o APT::Architecture=$arch -o APT::Architectures::=$arch -o Dir::State=$apt -o Dir::State::Lists=$apt/lists
	-o Dir::State::status=$apt/status -o Dir::Cache=$apt -o Dir::Cache::archives=$apt/archives
	-o APT::Sandbox::User= -o Debug::NoLocking=1 -o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false"
# shellcheck disable=SC2086
{
	echo "Fetching the kernel package linux-image-$flavour ..." >&2
	find "$apt/lists" -name '*Packages*' 2>/dev/null | grep -q . || apt-get $opts update -qq >&2 ||
		echo "kernel.sh: some package lists could not be fetched; going on with the others" >&2
	real=$(apt-cache $opts depends "linux-image-$flavour" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$real" ] || { echo "kernel.sh: apt knows no package linux-image-$flavour" >&2; exit 1; }
	# Lists that have grown old name packages that are gone.
	(cd "$apt" && { apt-get $opts download -qq "$real" $more >&2 ||
		{ apt-get $opts update -qq >&2; apt-get $opts download -qq "$real" $more >&2; }; })
}
for deb in "$apt/${real}"_*.deb ${more:+"$apt/$more"_*.deb}; do
	dpkg-deb -x "$deb" "$out.tmp"
done
touch "$out.tmp/.complete"
rm -rf "$out"
mv "$out.tmp" "$out"
rm -f "$apt"/*.deb
echo "$out"
