/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of abyme-oci's verbs. */
#include "container/verbs.h"

const struct oci_verb oci_verbs[] = {
	{ "create", "create [--bundle DIR] [--console-socket FILE] [--pid-file FILE] [--preserve-fds N] [--no-pivot] ID",
		"make a container that waits for start", oci_create },
	{ "start", "start ID", "run the process of a created container", oci_start },
	{ "state", "state ID", "print the state of a container as JSON", oci_state },
	{ "kill", "kill [--all] ID [SIGNAL]", "send a signal (TERM) to a container", oci_kill },
	{ "delete", "delete [--force] ID", "remove a stopped container", oci_delete },
	{ "run", "run [--detach] [options of create] ID", "create, start, wait, delete", oci_run },
	{ "exec", "exec [--tty] [--detach] [--process FILE] [--user UID[:GID]] [--env K=V] [--cwd DIR] ID COMMAND...",
		"run a further process in a container", oci_exec },
	{ "ps", "ps [--format table|json] ID [OPTIONS OF ps]", "list the processes of a container", oci_ps },
	{ "list", "list [--quiet] [--format table|json]", "list the containers", oci_list },
	{ "pause", "pause ID", "stop all processes of a container", oci_pause },
	{ "resume", "resume ID", "let them go on", oci_resume },
	{ "update", "update [--resources FILE|-] [--memory SIZE] [--cpu-quota N] ... ID", "change the limits", oci_update },
	{ "archive", "archive [--follow] [--name NAME] ID PATH", "write a file or directory of a container as tar", oci_archive },
	{ "extract", "extract [--owners] [--name NAME] ID PATH", "read a tar into a container", oci_extract },
	{ "events", "events [--stats] [--interval SECONDS] ID", "print statistics and out-of-memory events", oci_events },
	{ "spec", "spec [--rootless] [--bundle DIR]", "write a config.json to start from", oci_spec },
	{ "features", "features", "print what this runtime can do as JSON", oci_features },
	{ NULL, NULL, NULL, NULL },
};
