/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-oci: the container runtime (OCI runtime-spec 1.1), called by engines
 * with the command line that runc has.  Its start time is its speed: it links
 * only libseccomp beside the C library.
 */
#include "container/command.h"

int main(int argc, char **argv)
{
	return oci_command(argc, argv);
}
