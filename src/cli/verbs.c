/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of verbs, and help. */
#include "cli/cli.h"

#include <stdio.h>

const struct verb verbs[] = {
	{ "run", "[OPTIONS] [DISK | IMAGE [COMMAND...]]", "create an instance and start it", verb_run },
	{ "create", "[OPTIONS] [DISK | IMAGE [COMMAND...]]", "create an instance", verb_create },
	{ "start", "[--attach] [--rm] NAME", "start a stopped instance", verb_start },
	{ "ls", "[--quiet] [--format json]", "list the instances (also: ps)", verb_ls },
	{ "inspect", "[--format json] NAME", "show an instance's definition and run", verb_inspect },
	{ "edit", "NAME", "change a definition in $EDITOR", verb_edit },
	{ "set", "NAME OPTIONS", "change a definition by options of run", verb_set },
	{ "stop", "[--force] [--timeout SECONDS] NAME", "press the power button and wait", verb_stop },
	{ "kill", "[--signal SIGNAL] NAME", "end an instance at once, or send a signal", verb_kill },
	{ "exec", "[OPTIONS] NAME COMMAND...", "run a further program in a container", verb_exec },
	{ "cp", "[OPTIONS] NAME:PATH PATH|-, or PATH|- NAME:PATH", "copy files out of a container or into it", verb_cp },
	{ "attach", "NAME", "join a container's program", verb_attach },
	{ "wait", "NAME", "wait for a container's end, print its status", verb_wait },
	{ "top", "NAME", "the processes of a container", verb_top },
	{ "update", "NAME OPTIONS", "change a container's limits while it runs", verb_update },
	{ "pause", "NAME", "let a machine stand still", verb_pause },
	{ "unpause", "NAME", "let it go on", verb_unpause },
	{ "console", "NAME", "join the serial console", verb_console },
	{ "logs", "[--follow] [--monitor] NAME", "what the console has shown", verb_logs },
	{ "suspend", "NAME FILE", "save a running machine to a file and end it", verb_suspend },
	{ "resume", "[OPTIONS] FILE", "go on from such a file", verb_resume },
	{ "screenshot", "NAME FILE.png|FILE.txt", "a picture of what the screen shows", verb_screenshot },
	{ "mouse", "[--at] NAME X Y [left|right|middle]", "move the mouse, and click", verb_mouse },
	{ "change", "[--force] NAME cdrom|floppy[N] FILE", "put another medium into a drive", verb_change },
	{ "eject", "[--force] NAME cdrom|floppy[N]", "take the medium out of a drive", verb_eject },
	{ "engine", "NAME [kvm|jit|interp]", "show or change what runs a running machine", verb_engine },
	{ "type", "NAME TEXT", "type text on the keyboard", verb_type },
	{ "key", "NAME CHORD", "press keys: ctrl-alt-delete, f2, enter", verb_key },
	{ "stats", "[--engine] [--format json] NAME", "resource use of a machine", verb_stats },
	{ "rm", "[--force] NAME...", "remove instances", verb_rm },
	{ "disk", "create|info|check|convert|resize|map|compare|bench ...", "virtual disks", verb_disk },
	{ "snapshot", "create|list|tree|restore|delete NAME ...", "states of an instance's disks", verb_snapshot },
	{ "clone", "[--full] NAME NEW", "another instance like a stopped one", verb_clone },
	{ "backup", "create|list|restore|verify ...", "copies of an instance's disks elsewhere", verb_backup },
	{ "machine", "import|export ...", "whole machines from and for other programs", verb_machine },
	{ "images", "[--format json]", "list the images", verb_images },
	{ "pull", "[--credentials FILE] NAME[:TAG]", "fetch an image from a registry", verb_pull },
	{ "push", "[--credentials FILE] NAME[:TAG] [TO[:TAG]]", "send an image to a registry", verb_push },
	{ "load", "[--name NAME] FILE|DIR|-", "take in images from an archive", verb_load },
	{ "save", "[--output FILE] NAME...", "write images to an archive", verb_save },
	{ "rmi", "NAME...", "remove images", verb_rmi },
	{ "image", "import|inspect|tag|prune ...", "make and look at images", verb_image },
	{ "chroot", "[OPTIONS] DIR [COMMAND...]", "run a program with another root, apart from the rest", verb_chroot },
	{ "network", "create|list|inspect|edit|delete|join ...", "networks between machines", verb_network },
	{ "doctor", "[--format json]", "what can run on this host, and why not", verb_doctor },
	{ "completion", "[WORD...]", "words for the shell's completion", verb_completion },
	{ "help", "[VERB]", "what there is", verb_help },
	{ NULL }
};

int verb_help(int argc, char **argv)
{
	printf("Abyme %s: virtual machines on whatever machine there is.\n\nusage: abyme VERB ...\n", ABYME_VERSION);
	for (const struct verb *v = verbs; v->name; v++)
		printf("  %-10s %s\n", v->name, v->help);
	printf("abyme VERB --help shows a verb's options; man abyme tells the whole story.\n");
	return 0;
}
