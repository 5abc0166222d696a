/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abyme change, eject: the media of CD and floppy drives, whether the machine runs
 * or not.  The definition keeps what is in a drive.
 */
#include "cli/cli.h"
#include "cli/options.h"
#include "instance/client.h"
#include "instance/store.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

enum { ANSWER_SECONDS = 60 };

struct media_options { bool force; };
static const struct cli_option media_options[] = {
	{ "--force", NULL, "even if the guest has locked the drive", OPTION_FLAG, offsetof(struct media_options, force) },
	{ NULL }
};

static int open_medium(const struct def_disk *drive, struct error *err)
{
	int fd = open(drive->file, (drive->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	return fd >= 0 ? fd : error_minus(err, errno, "cannot open '%s'", drive->file);
}

/* The running machine changes the medium and keeps the new definition for its state. */
static bool tell(const struct instance *i, const struct definition *d, const struct def_disk *drive, bool force,
		 struct error *err)
{
	bool empty = !strcmp(drive->file, "none");
	auto_close int fd = empty ? -1 : open_medium(drive, err);
	auto_free char *text = definition_to_yaml(d, err);
	if ((fd < 0 && !empty) || !text)
		return false;
	json_t *args = json_pack("{s:i, s:b, s:s}", "disk", (int)(drive - d->disks), "force", force, "definition", text);
	json_t *o = control_call_with(i, "change", args, fd, ANSWER_SECONDS, err);
	json_decref(args);
	json_decref(o);
	return o;
}

static bool change(const struct instance *i, const char *word, const char *file, bool force, struct error *err)
{
	struct definition *d = instance_definition(i, err);
	struct def_disk *drive = d ? definition_drive(d, word, err) : NULL;
	bool ok = drive;
	if (ok) {
		free(drive->file);
		drive->file = file ? absolute_path(file) : xstrdup("none");
		ok = (!instance_keeper(i) || tell(i, d, drive, force, err)) && instance_set_definition(i, d, err);
	}
	definition_free(d);
	return ok;
}

static int run(int argc, char **argv, unsigned nwords)
{
	struct media_options o = { 0 };
	const struct cli_group groups[] = { { media_options, &o }, { NULL } };
	const char *words[3] = { NULL };
	struct error err = { 0 };
	int status = cli_parse(groups, argc, argv, words, nwords, nwords);
	if (status >= 0)
		return status;
	struct instance *i = instance_open(words[0], &err);
	bool ok = i && change(i, words[1], words[2], o.force, &err);
	instance_close(i);
	return ok ? 0 : cli_fail(&err);
}

int verb_change(int argc, char **argv) { return run(argc, argv, 3); }
int verb_eject(int argc, char **argv) { return run(argc, argv, 2); }
