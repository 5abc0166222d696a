/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Backups: see backup.h. */
#include "instance/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "disk/copy.h"
#include "disk/resume.h"
#include "instance/backup_job.h"
#include "instance/snapshot.h"

enum { NUMBER_MAX = 9999 };

/* --- backup.json ------------------------------------------------------------ */

static json_t *load(const char *dir)
{
	auto_free char *path = xasprintf("%s/backup.json", dir);
	return json_load_file(path, 0, NULL);
}

struct json_t *backup_list(const char *dir, struct error *err)
{
	json_t *o = load(dir);
	if (json_is_array(json_object_get(o, "backups")) && json_is_string(json_object_get(o, "id")))
		return o;
	json_decref(o);
	return error_null(err, 0, "there are no backups in '%s'", dir);
}

static bool sync_directory(const char *dir)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && !fsync(fd);
}

/* The moment at which a backup exists. */
static bool store(const char *dir, json_t *o, struct error *err)
{
	auto_free char *path = xasprintf("%s/backup.json", dir), *tmp = xasprintf("%s/.backup.json", dir);
	auto_free char *text = json_dumps(o, JSON_INDENT(2));
	auto_close int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && fd_write_full(fd, text, strlen(text)) && !fsync(fd) && !rename(tmp, path) && sync_directory(dir))
		return true;
	return error_set(err, errno, "cannot write '%s'", path);
}

static json_t *list_or_new(const struct instance *i, const char *dir, struct error *err)
{
	uint8_t b[4] = { 0 };
	char id[16];
	json_t *o = load(dir);
	if (o) {
		json_decref(o);
		o = backup_list(dir, err);
		const char *of = json_string_value(json_object_get(o, "instance"));
		if (!o || (of && !strcmp(of, i->name)))
			return o;
		error_set(err, 0, "the backups in '%s' are of instance '%s'", dir, of ? of : "?");
		json_decref(o);
		return NULL;
	}
	if (mkdir(dir, 0700) && errno != EEXIST)
		return error_null(err, errno, "cannot create '%s'", dir);
	ssize_t n UNUSED = getrandom(b, sizeof(b), 0);
	snprintf(id, sizeof(id), "%02x%02x%02x%02x", b[0], b[1], b[2], b[3]);
	/* at once, so that what is interrupted can be told from other directories' */
	o = json_pack("{s:s, s:s, s:[]}", "id", id, "instance", i->name, "backups");
	if (store(dir, o, err))
		return o;
	json_decref(o);
	return NULL;
}

static unsigned number_of(json_t *backup)
{
	return (unsigned)json_integer_value(json_object_get(backup, "number"));
}

/* By number, 0: the last; borrowed. */
static json_t *find(json_t *o, unsigned number)
{
	json_t *all = json_object_get(o, "backups"), *b;
	size_t n;
	if (!number)
		return json_array_get(all, json_array_size(all) - 1);
	json_array_foreach(all, n, b)
		if (number_of(b) == number)
			return b;
	return NULL;
}

/* --- the source ------------------------------------------------------------- */

static bool is_written(const struct def_disk *d) { return !d->readonly && !d->cdrom; }

/* As it was at a snapshot; the machine may be writing to it. */
static struct image *open_state(const struct def_disk *d, const char *snapshot, struct error *err)
{
	struct image_open o = { .path = d->file, .fd = -1, .format = d->format, .readonly = true, .no_lock = true };
	struct image *i = image_open(&o, err);
	if (!i || !snapshot || qcow2_snapshot_show(i, snapshot, err))
		return i;
	image_close(i);
	return NULL;
}

static bool has_snapshot(const struct def_disk *d, const char *name)
{
	struct image *i = open_state(d, name, NULL);
	image_close(i);
	return i != NULL;
}

/* Every disk has the state of the last backup still. */
static bool can_increment(const struct definition *d, const char *anchor, json_t *last)
{
	size_t disks = json_array_size(json_object_get(last, "disks")), n = 0;
	for (unsigned k = 0; k < d->ndisks; k++) {
		if (!is_written(&d->disks[k]))
			continue;
		if (!has_snapshot(&d->disks[k], anchor))
			return false;
		n++;
	}
	return last && n == disks;
}

/* Snapshots of backups into this directory, except the one to build on. */
static bool drop_stale(struct instance *i, const struct definition *d, const char *id, const char *keep,
		       struct error *err)
{
	auto_free char *begin = xasprintf("backup-%s-", id);
	for (unsigned k = 0; k < d->ndisks; k++) {
		struct image_snapshot *list;
		unsigned n;
		struct image *image = is_written(&d->disks[k]) ? open_state(&d->disks[k], NULL, err) : NULL;
		if (!image && is_written(&d->disks[k]))
			return false;
		if (!image)
			continue;
		bool ok = qcow2_snapshot_list(image, &list, &n, err);
		image_close(image);
		for (unsigned s = 0; ok && s < n; s++)
			if (!strncmp(list[s].name, begin, strlen(begin)) && strcmp(list[s].name, keep))
				ok = snapshot_disks_delete(i, list[s].name, err);
		image_snapshots_free(list, n);
		if (!ok)
			return false;
	}
	return true;
}

/* --- creating --------------------------------------------------------------- */

struct job {
	struct instance *i;
	struct definition *d;
	const char *id, *snapshot, *anchor;   /* anchor NULL: a full backup */
	struct backup_job files;
	bool stopped;
	const struct backup_progress *progress;
};

static bool copy_disk(struct job *j, unsigned k, unsigned n, json_t *disks, struct error *err)
{
	auto_free char *path = backup_job_disk(&j->files, n);
	auto_free char *below = j->anchor ? xasprintf("../%04u/disk-%u.qcow2", j->files.parent, n) : NULL;
	auto_free char *what = xasprintf("backup %s disk %u on %u", j->snapshot, n, j->files.parent);
	struct image *from = open_state(&j->d->disks[k], j->snapshot, err);
	struct image *since = from && j->anchor ? open_state(&j->d->disks[k], j->anchor, err) : NULL;
	struct qcow2_create c = { .size = from ? from->size : 0, .cluster_bits = 16, .version = 3, .zstd = true,
				  .backing = below, .backing_format = below ? "qcow2" : NULL };
	struct image_copy copy = { .from = from, .since = since, .compress = true, .resumable = true,
				   .progress = j->progress->fn, .rate = j->progress->rate, .stop = j->progress->stop };
	if (from && (since || !j->anchor))
		copy.to = resume_image(path, "qcow2", &c, what, &copy.at, err);
	int r = copy.to ? image_copy(&copy) : 0;
	j->stopped = r == -EINTR;
	if (copy.to)
		json_array_append_new(disks, json_pack("{s:i, s:s, s:I}", "disk", (int)k, "file",
						       path + strlen(j->files.dir) + 1, "size", (json_int_t)from->size));
	bool ok = copy.to && !r;
	image_close(copy.to);
	image_close(since);
	image_close(from);
	if (j->stopped)
		return error_set(err, 0, "stopped: abyme backup create --resume goes on where it was");
	return ok || (r && error_set(err, -r, "cannot copy disk '%s' to '%s'", j->d->disks[k].file, path));
}

/* The files, then the entry that says that they are a backup. */
static bool copy_all(struct job *j, json_t *o, struct error *err)
{
	json_t *disks = json_array();
	bool ok = true;
	for (unsigned k = 0, n = 0; ok && k < j->d->ndisks; k++)
		if (is_written(&j->d->disks[k]))
			ok = copy_disk(j, k, n++, disks, err);
	auto_free char *sub = xasprintf("%s/%04u", j->files.dir, j->files.number);
	if (ok && !sync_directory(sub))
		ok = error_set(err, errno, "cannot write '%s'", sub);
	json_t *entry = json_pack("{s:i, s:i, s:I, s:s, s:o}", "number", (int)j->files.number, "parent",
				  j->anchor ? (int)j->files.parent : 0, "time", (json_int_t)j->files.time, "definition",
				  j->files.definition, "disks", disks);
	json_array_append_new(json_object_get(o, "backups"), entry);
	return ok && store(j->files.dir, o, err);
}

static bool begin(struct job *j, struct error *err)
{
	auto_free char *keep = xasprintf("backup-%s-%u", j->id, j->files.parent);
	uint64_t ns;
	free(j->files.definition);
	j->files.definition = definition_to_yaml(j->d, err);
	if (!j->anchor)
		j->files.parent = 0;
	if (!j->files.definition || !drop_stale(j->i, j->d, j->id, keep, err) ||
	    !snapshot_disks_create(j->i, j->snapshot, &ns, err))
		return false;
	j->files.time = time(NULL);
	if (backup_job_begin(&j->files, err))
		return true;
	snapshot_disks_delete(j->i, j->snapshot, NULL);
	return false;
}

static bool run_job(struct job *j, json_t *o, struct error *err)
{
	if (!copy_all(j, o, err)) {
		if (!j->stopped) {
			backup_job_remove(&j->files);
			snapshot_disks_delete(j->i, j->snapshot, NULL);
		}
		return false;
	}
	/* from here on it exists; what is left over is dropped now, or by the next */
	backup_job_end(&j->files);
	return drop_stale(j->i, j->d, j->id, j->snapshot, err);
}

/* Every disk has the state that an interrupted backup was copying. */
static bool can_resume(struct job *j, json_t *last, const char *anchor)
{
	unsigned before = j->files.parent;
	for (unsigned k = 0; k < j->d->ndisks; k++)
		if (is_written(&j->d->disks[k]) && !has_snapshot(&j->d->disks[k], j->snapshot))
			return false;
	bool ok = j->files.ndisks && backup_job_find(&j->files) &&
		  (!j->files.parent || (j->files.parent == before && can_increment(j->d, anchor, last)));
	if (ok)
		j->anchor = j->files.parent ? anchor : NULL;
	else
		j->files.parent = before;
	return ok;
}

bool backup_create(struct instance *i, const char *dir, struct backup_make *make, const struct backup_progress *p,
		   struct error *err)
{
	struct definition *d = instance_definition(i, err);
	json_t *o = d ? list_or_new(i, dir, err) : NULL, *last = o ? find(o, 0) : NULL;
	if (!o) {
		definition_free(d);
		return false;
	}
	struct job j = { .i = i, .d = d, .id = json_string_value(json_object_get(o, "id")), .progress = p,
			 .files = { .dir = dir, .parent = last ? number_of(last) : 0 } };
	make->number = j.files.number = j.files.parent + 1;
	auto_free char *anchor = xasprintf("backup-%s-%u", j.id, j.files.parent);
	auto_free char *snapshot = xasprintf("backup-%s-%u", j.id, j.files.number);
	j.snapshot = snapshot;
	for (unsigned k = 0; k < d->ndisks; k++)
		j.files.ndisks += is_written(&d->disks[k]);
	make->resume = make->resume && can_resume(&j, last, anchor);
	if (!make->resume)
		j.anchor = make->incremental && can_increment(d, anchor, last) ? anchor : NULL;
	make->incremental = j.anchor;
	bool ok = make->number <= NUMBER_MAX || error_set(err, 0, "'%s' holds %d backups: begin another directory", dir, NUMBER_MAX);
	ok = ok && (make->resume || begin(&j, err)) && run_job(&j, o, err);
	free(j.files.definition);
	json_decref(o);
	definition_free(d);
	return ok;
}

/* --- using them ------------------------------------------------------------- */

static json_t *find_or_say(json_t *o, const char *dir, unsigned number, struct error *err)
{
	json_t *b = find(o, number);
	return b ? b : error_null(err, 0, "'%s' has no backup %u", dir, number);
}

/* The n-th disk of a backup, with all that it stands on. */
static struct image *open_backup(const char *dir, json_t *backup, size_t n, unsigned *disk, struct error *err)
{
	json_t *o = json_array_get(json_object_get(backup, "disks"), n);
	*disk = (unsigned)json_integer_value(json_object_get(o, "disk"));
	auto_free char *path = xasprintf("%s/%04u/disk-%zu.qcow2", dir, number_of(backup), n);
	struct image_open open = { .path = path, .fd = -1, .format = "qcow2", .readonly = true };
	return image_open(&open, err);
}

static void first_bad(struct image_scrub *s, uint64_t at, uint64_t len)
{
	*(uint64_t *)s->opaque = MIN(*(uint64_t *)s->opaque, at);
}

static bool enough(struct image_scrub *s) { return s->bad != 0; }

static bool read_all(struct image *i, const struct backup_progress *p, struct error *err)
{
	uint64_t at = UINT64_MAX;
	struct image_scrub s = { .image = i, .stop = enough, .found = first_bad, .progress = p->fn, .opaque = &at };
	image_scrub(&s);
	return !s.bad || error_set(err, 0, "the backup's file '%s' is damaged: byte %llu of the disk cannot be read", i->path,
				   (unsigned long long)at);
}

static bool check_chain(struct image *i, struct error *err)
{
	for (; i; i = i->backing) {
		struct image_check found;
		if (!qcow2_check(i, false, &found, err))
			return false;
		if (found.corruptions)
			return error_set(err, 0, "the backup's file '%s' is damaged: its tables contradict each other", i->path);
	}
	return true;
}

bool backup_verify(const char *dir, unsigned number, const struct backup_progress *p, struct error *err)
{
	json_t *o = backup_list(dir, err), *b = o ? find_or_say(o, dir, number, err) : NULL;
	bool ok = b != NULL;
	for (size_t n = 0; ok && n < json_array_size(json_object_get(b, "disks")); n++) {
		unsigned disk;
		struct image *i = open_backup(dir, b, n, &disk, err);
		ok = i && check_chain(i, err) && read_all(i, p, err);
		image_close(i);
	}
	json_decref(o);
	return ok;
}

static bool restore_disk(const char *dir, json_t *b, size_t n, const char *name, const char *to, struct definition *d,
			 const struct backup_progress *p, struct error *err)
{
	unsigned disk;
	struct image *from = open_backup(dir, b, n, &disk, err);
	if (!from || disk >= d->ndisks) {
		image_close(from);
		return !from ? false : error_set(err, 0, "the backup's definition has no disk %u", disk);
	}
	char *path = xasprintf("%s/%s-%u.qcow2", to, name, disk);
	struct qcow2_create c = { .size = from->size, .cluster_bits = 16, .version = 3 };
	struct image *copy = image_make(path, "qcow2", &c, err);
	int r = copy ? image_copy(&(struct image_copy){ .from = from, .to = copy, .progress = p->fn }) : 0;
	bool ok = copy && (!r || error_set(err, -r, "cannot restore disk '%s'", path));
	image_close(copy);
	image_close(from);
	free(d->disks[disk].file);
	d->disks[disk].file = path;
	free(d->disks[disk].format);
	d->disks[disk].format = xstrdup("qcow2");
	return ok;
}

bool backup_restore(const char *dir, unsigned number, const char *name, const char *to, const struct backup_progress *p,
		    struct error *err)
{
	if (!instance_name_ok(name, err))
		return false;
	json_t *o = backup_list(dir, err), *b = o ? find_or_say(o, dir, number, err) : NULL;
	const char *yaml = json_string_value(json_object_get(b, "definition"));
	struct definition *d = yaml ? definition_parse(yaml, strlen(yaml), dir, err) : NULL;
	auto_free char *real = d ? realpath(to, NULL) : NULL;
	bool ok = real || (d && error_set(err, errno, "cannot use the directory '%s'", to));
	if (b && !yaml)
		error_set(err, 0, "the backup in '%s' has no definition", dir);
	for (size_t n = 0; ok && n < json_array_size(json_object_get(b, "disks")); n++)
		ok = restore_disk(dir, b, n, name, real, d, p, err);
	if (ok) {
		free(d->name);
		d->name = xstrdup(name);
	}
	struct instance *i = ok ? instance_create(name, d, err) : NULL;
	instance_close(i);
	definition_free(d);
	json_decref(o);
	return i != NULL;
}
