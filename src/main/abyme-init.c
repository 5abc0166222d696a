/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme-init: the first program of a micro-VM that runs an image, and its container
 * runtime; and the first process of `run --init`.  Linked statically: it is alone in its initial
 * RAM disk, and a guest in the images.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "container/command.h"
#include "container/reaper.h"
#include "guest/guest.h"

int main(int argc, char **argv)
{
	if (argc && !strcmp(argv[0], "abyme-oci"))
		return oci_command(argc, argv);
	if (argc > 2 && !strcmp(argv[1], "--"))
		return reaper_main(argv + 2);
	if (getpid() == 1)
		guest_main();
	fprintf(stderr, "abyme-init is the first process of a micro-VM: abyme run --isolation microvm IMAGE\n");
	return 2;
}
