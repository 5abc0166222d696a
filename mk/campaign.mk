# SPDX-License-Identifier: GPL-2.0-or-later
# Long runs, outside `make check`; each prints its tally.
#   make campaign-boots COUNT=100 ENGINE=jit VCPUS=2 FLAVOUR=amd64
#   make campaign-hops COUNT=200 VCPUS=1
#   make campaign-try TRY_USER=someone    ./try in a fresh copy, as root and as someone
#   make campaign-debian            packages, gcc, 1 GiB, network in a whole Debian
#   make campaign-kvm BOOTS=100     engine kvm in QEMU's emulated AMD-V
#   make campaign-pc                firmware and boot loaders on every controller
#   make campaign-kill COUNT=1000   kill -9 under a guest that writes
#   make campaign-resume COUNT=100  long jobs on disks, killed and gone on with
#   make campaign-scribble          a million requests, 20,000 power cuts
#   make campaign-systemd           the runtime under systemd in a Debian guest: scopes, delegation, both versions
#   make campaign-verify            whole boots, each block run by both engines (amd64 without its
#                                   decompressor: billions of turns of one loop)
.PHONY: campaign-try campaign-kvm campaign-debian campaign-boots campaign-hops campaign-verify
campaign-boots: all
	/usr/bin/python3 tests/campaign/boots.py --count $(or $(COUNT),100) --engine $(or $(ENGINE),jit) \
		--vcpus $(or $(VCPUS),1) --flavour $(or $(FLAVOUR),cloud-amd64)
campaign-hops: all
	/usr/bin/python3 tests/campaign/hops.py --count $(or $(COUNT),200) --vcpus $(or $(VCPUS),1) --seed $(or $(SEED),1)
campaign-verify: all
	for f in "cloud-amd64" "amd64 --unpack" 686-pae; do \
		/usr/bin/python3 tests/campaign/boots.py --count 1 --options verify --limit 3600 --flavour $$f || exit 1; done
campaign-debian: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider \
		tests/campaign/test_debian.py
campaign-try:
	/usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider tests/campaign/test_try.py
campaign-pc: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider \
		tests/campaign/test_pc.py tests/campaign/test_pc_debian.py tests/campaign/test_pc_install.py
campaign-kvm: all guest
	ABYME=$(abspath $(B))/abyme BOOTS=$(or $(BOOTS),100) /usr/bin/python3 -m pytest -v --tb=short \
		-p no:cacheprovider tests/e2e/test_kvm.py tests/campaign/test_nested.py
# the OCI runtime-tools suite beside runc: make campaign-oci RUNTIME_TOOLS=DIR, a checkout of it
.PHONY: campaign-oci
campaign-oci: all
	/usr/bin/python3 tests/campaign/oci_validation.py --tools $(RUNTIME_TOOLS)
# Podman, containerd and Docker over abyme-oci
.PHONY: campaign-engines
campaign-engines: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider tests/campaign/test_oci_engines.py
# the tests of abyme run IMAGE in micro-VMs, all of them; kernels and snapshots that are not as they should be
.PHONY: campaign-isolation
campaign-isolation: all
	ABYME=$(abspath $(B))/abyme ABYME_TEST_ISOLATION=microvm /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider \
		tests/e2e/test_run_image.py tests/campaign/test_walls.py
# the runtime where systemd rules: a Debian guest with control groups of version 2, of 1, of both; scopes, limits, delegation
.PHONY: campaign-systemd
campaign-systemd: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider tests/campaign/test_systemd.py tests/campaign/test_systemd_v1.py
# 10,000 members that come and go, 1,000 at once, 50 deaths of the switch
campaign-network: all $(B)/bench/attach
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 tests/campaign/network.py
# machines on Open vSwitch's vhost-user ports
.PHONY: campaign-vhost
campaign-vhost: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider tests/campaign/test_vhost_ovs.py
# kill -9 of a machine whose guest writes: make campaign-kill COUNT=1000
.PHONY: campaign-kill campaign-scribble campaign-resume
campaign-resume: all
	for s in $$(seq $(or $(COUNT),100)); do ABYME_SEED=$$s ABYME=$(abspath $(B))/abyme /usr/bin/python3 -m pytest -q --tb=short \
		-p no:cacheprovider tests/e2e/test_resume.py || exit 1; done
campaign-kill: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 tests/campaign/kills.py --count $(or $(COUNT),1000) --seed $(or $(SEED),1)
# a million random requests on qcow2 beside a copy in memory, qemu-img check in between; 10,000 power cuts
campaign-scribble: $(B)/tests/qcow2_test $(B)/tests/qcow2_crash_test $(B)/tests/qcow2_bitmap_test
	QCOW2_SCALE=40 $(B)/tests/qcow2_test
	QCOW2_CUTS=10000 $(B)/tests/qcow2_crash_test
	QCOW2_CUTS=10000 $(B)/tests/qcow2_bitmap_test
# make chaos SEED=1 WAYS="--stop --burst" TESTS=tests/e2e/test_oci.py: tests whose processes are stopped for
# moments, or robbed of a processor, at random; WAYS="--quota 50": on half of one
.PHONY: chaos
chaos: all
	ABYME=$(abspath $(B))/abyme /usr/bin/python3 tests/chaos.py --seed $(or $(SEED),1) $(or $(WAYS),--stop) \
		/usr/bin/python3 -m pytest -v --tb=short -p no:cacheprovider -n 2 --dist loadfile $(or $(TESTS),tests/e2e)
