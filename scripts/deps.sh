#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Install the Debian packages that building and testing need.
#   deps.sh            install what is missing, saying what
#   deps.sh --missing  only print what is missing
#   deps.sh --build    only what building needs
#   deps.sh --engines  what bench/container, campaign-oci, campaign-engines and campaign-vhost need
set -eu

build="gcc make pkg-config libc6-dev libuv1-dev libjansson-dev libcyaml-dev liburing-dev
	libseccomp-dev libcap-ng-dev libslirp-dev libvncserver-dev libgnutls28-dev zlib1g-dev libzstd-dev liblzma-dev
	libarchive-dev libxml2-dev libcurl4-openssl-dev libssl-dev scdoc"
guest="mmdebstrap uidmap e2fsprogs cpio busybox-static xz-utils zstd"
tests="libcmocka-dev libzydis-dev python3 python3-pytest python3-pytest-xdist qemu-system-x86 qemu-utils libnbd-bin seabios ovmf ipxe-qemu swtpm mtools xorriso acpica-tools shellcheck
	cppcheck curl gdb openssl gcc-multilib procps skopeo docker-registry"
peers="iproute2 iputils-ping iperf3 tcpdump bind9-dnsutils isc-dhcp-client ethtool vde2 slirp4netns passt"

# for campaigns and benches only: deps.sh --engines
engines="crun runc podman conmon containerd docker.io golang-go time bsdutils openvswitch-switch-dpdk librte-meta-mempool"

mode=install
want="$build $guest $tests $peers"
for a in "$@"; do
	case $a in
	--missing) mode=missing ;;
	--build) want=$build ;;
	--guest) want="$build $guest" ;;
	--engines) want="$build $tests $engines" ;;
	*) echo "deps.sh: unknown argument '$a'" >&2; exit 2 ;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: this is not a Debian system; install the equivalents of: $want" >&2
	exit 1
fi
missing=
for p in $want; do
	dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ $mode = missing ]; then
	[ -z "$missing" ] || echo "${missing# }"
	exit 0
fi
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps.sh: please install as root: apt-get install$missing" >&2
		exit 1
	fi
	as_root=sudo
fi
echo "Installing missing packages:$missing"
export DEBIAN_FRONTEND=noninteractive
install_all() {
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
install_all || { $as_root apt-get update -qq && install_all; }
