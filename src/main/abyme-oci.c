/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-oci: the container runtime (OCI runtime-spec 1.1), called by engines
 * with the command line that runc has.  Its start time is its speed: it links
 * only libseccomp beside the C library; --systemd-cgroup opens libsystemd when it
 * is needed.
 */
#include "container/command.h"
#include "container/scope.h"

int main(int argc, char **argv)
{
	scope_use(&systemd_manager);
	return oci_command(argc, argv);
}
