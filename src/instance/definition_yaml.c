/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions as YAML: one libcyaml schema serves reading, writing, freeing,
 * and (walked by to_json) the JSON form.  Unknown keys, wrong types and
 * oversized lists are refused with their line.
 */
#include "instance/definition.h"
#include "disk/nbd.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

enum { OPT = CYAML_FLAG_OPTIONAL, MAX_FILE = 1 << 20, MAX_STRING = 65536 };

#define STRING(key, type, member) \
	CYAML_FIELD_STRING_PTR(key, OPT | CYAML_FLAG_POINTER, type, member, 0, MAX_STRING)
#define STRING_NEEDED(key, type, member) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, MAX_STRING)

static const cyaml_schema_field_t disk_fields[] = {
	STRING_NEEDED("file", struct def_disk, file),
	CYAML_FIELD_BOOL("readonly", OPT, struct def_disk, readonly),
	STRING("format", struct def_disk, format),
	STRING("bus", struct def_disk, bus),
	CYAML_FIELD_BOOL("cdrom", OPT, struct def_disk, cdrom),
	STRING("data-file", struct def_disk, data_file),
	STRING("reconnect", struct def_disk, reconnect),
	STRING("on-error", struct def_disk, on_error),
	CYAML_FIELD_UINT("iops", OPT, struct def_disk, iops),
	CYAML_FIELD_UINT("iops-burst", OPT, struct def_disk, iops_burst),
	STRING("bps", struct def_disk, bps),
	STRING("bps-burst", struct def_disk, bps_burst),
	CYAML_FIELD_END
};
static const cyaml_schema_value_t disk_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct def_disk, disk_fields) };

static const cyaml_schema_field_t net_fields[] = {
	STRING_NEEDED("name", struct def_net, name),
	STRING("mac", struct def_net, mac),
	STRING("model", struct def_net, model),
	STRING("ip", struct def_net, ip),
	STRING("trunk", struct def_net, trunk),
	CYAML_FIELD_UINT("vlan", OPT, struct def_net, vlan),
	STRING("rate", struct def_net, limits.rate),
	STRING("rate-up", struct def_net, limits.rate_up),
	STRING("rate-down", struct def_net, limits.rate_down),
	STRING("burst", struct def_net, limits.burst),
	STRING("group", struct def_net, limits.group),
	CYAML_FIELD_BOOL("isolated", OPT, struct def_net, limits.isolated),
	CYAML_FIELD_END
};
static const cyaml_schema_value_t net_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct def_net, net_fields) };

static const cyaml_schema_field_t share_fields[] = {
	STRING_NEEDED("dir", struct def_share, dir),
	STRING_NEEDED("tag", struct def_share, tag),
	CYAML_FIELD_BOOL("readonly", OPT, struct def_share, readonly),
	CYAML_FIELD_END
};
static const cyaml_schema_value_t share_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct def_share, share_fields) };

static const cyaml_schema_value_t string_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 0, MAX_STRING) };

#define LIST(key, member, count, schema, most) \
	CYAML_FIELD_SEQUENCE_COUNT(key, OPT | CYAML_FLAG_POINTER, struct definition, \
				   member, count, schema, 0, most)
#define FIELD(key, member) STRING(key, struct definition, member)

static const cyaml_schema_field_t definition_fields[] = {
	CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, struct definition, version),
	FIELD("name", name),
	FIELD("uuid", uuid),
	FIELD("board", board),
	FIELD("engine", engine),
	FIELD("cpu", cpu),
	CYAML_FIELD_FLOAT("cpus", OPT, struct definition, cpus),
	CYAML_FIELD_UINT("vcpus", OPT, struct definition, vcpus),
	FIELD("memory", memory),
	FIELD("firmware", firmware),
	FIELD("boot", boot),
	FIELD("display", display),
	FIELD("gpu", gpu),
	FIELD("sound", sound),
	FIELD("input", input),
	CYAML_FIELD_BOOL("tpm", OPT, struct definition, tpm),
	FIELD("kernel", kernel),
	FIELD("initrd", initrd),
	FIELD("append", append),
	LIST("disks", disks, ndisks, &disk_schema, 16),
	LIST("net", nets, nnets, &net_schema, 4),
	LIST("publish", publish, npublish, &string_schema, 64),
	FIELD("serial", serial),
	LIST("shares", shares, nshares, &share_schema, 8),
	CYAML_FIELD_UINT("vsock", OPT, struct definition, vsock),
	FIELD("on-error", on_error),
	FIELD("on-reboot", on_reboot),
	FIELD("clock", clock),
	FIELD("gdb", gdb),
	FIELD("jail", jail),
	FIELD("trace", trace),
	CYAML_FIELD_BOOL("debug-exit", OPT, struct definition, debug_exit),
	CYAML_FIELD_BOOL("test-device", OPT, struct definition, test_device),
	FIELD("isolation", isolation),
	FIELD("image", image),
	FIELD("image-digest", digest),
	LIST("command", command, ncommand, &string_schema, 1024),
	LIST("env", env, nenv, &string_schema, 1024),
	FIELD("user", user),
	FIELD("workdir", workdir),
	FIELD("hostname", hostname),
	FIELD("stop-signal", stop_signal),
	LIST("volumes", volumes, nvolumes, &string_schema, 64),
	LIST("tmpfs", tmpfs, ntmpfs, &string_schema, 64),
	LIST("cap-add", cap_add, ncap_add, &string_schema, 64),
	LIST("cap-drop", cap_drop, ncap_drop, &string_schema, 64),
	LIST("devices", devices, ndevices, &string_schema, 64),
	FIELD("restart", restart),
	FIELD("cpuset", cpuset),
	FIELD("io", io),
	CYAML_FIELD_UINT("pids", OPT, struct definition, pids),
	CYAML_FIELD_BOOL("tty", OPT, struct definition, tty),
	CYAML_FIELD_BOOL("interactive", OPT, struct definition, interactive),
	CYAML_FIELD_BOOL("privileged", OPT, struct definition, privileged),
	CYAML_FIELD_BOOL("init", OPT, struct definition, init),
	CYAML_FIELD_BOOL("read-only", OPT, struct definition, read_only),
	CYAML_FIELD_END
};
static const cyaml_schema_value_t definition_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct definition, definition_fields) };

/* libcyaml tells the story of a failure line by line: the first says what, the
 * first with a position says where. */
struct complaint { char what[200], where[120]; };

static void collect(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct complaint *c = ctx;
	char line[200];
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = 0;
	const char *text = strncmp(line, "Load: ", 6) ? line : line + 6;
	const char *at = strstr(text, "(line:");
	if (!c->what[0] && !at)
		snprintf(c->what, sizeof(c->what), "%s", text);
	else if (at && !c->where[0])
		snprintf(c->where, sizeof(c->where), " %s", at);
}

static cyaml_config_t config_of(struct complaint *c)
{
	return (cyaml_config_t){ .log_fn = collect, .log_ctx = c, .mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_WARNING, .flags = CYAML_CFG_NO_ALIAS };
}

struct definition *definition_parse(const char *text, size_t size, const char *what,
				    struct error *err)
{
	struct complaint c = { .what = "" };
	cyaml_config_t config = config_of(&c);
	struct definition *d = NULL;
	cyaml_err_t r = cyaml_load_data((const uint8_t *)text, size, &config,
					&definition_schema, (cyaml_data_t **)&d, NULL);
	if (r != CYAML_OK)
		return error_null(err, 0, "'%s' is not a definition: %s%s", what,
				  c.what[0] ? c.what : cyaml_strerror(r), c.where);
	if (!d)
		return error_null(err, 0, "'%s' is empty: a definition needs 'version: 1'", what);
	if (d->version != DEFINITION_VERSION) {
		error_set(err, 0, "'%s' has definition version %u; this program knows version %d",
			  what, d->version, DEFINITION_VERSION);
		definition_free(d);
		return NULL;
	}
	return d;
}

static void from_directory(char **path, const char *dir, size_t n)
{
	if (!*path || **path == '/' || !**path || nbd_is_uri(*path))
		return;
	char *full = xasprintf("%.*s/%s", (int)n, dir, *path);
	free(*path);
	*path = full;
}

static void make_absolute(struct definition *d, const char *file)
{
	auto_free char *real = realpath(file, NULL);
	const char *slash = real ? strrchr(real, '/') : NULL;
	if (!slash)
		return;
	size_t n = (size_t)(slash - real);
	from_directory(&d->kernel, real, n);
	from_directory(&d->initrd, real, n);
	for (unsigned i = 0; i < d->ndisks; i++)
		if (!def_disk_removable(&d->disks[i]) || strcmp(d->disks[i].file, "none"))
			from_directory(&d->disks[i].file, real, n);
	for (unsigned i = 0; i < d->nshares; i++)
		from_directory(&d->shares[i].dir, real, n);
	for (unsigned i = 0; i < d->nvolumes; i++)
		if (d->volumes[i][0] == '.')
			from_directory(&d->volumes[i], real, n);
}

struct definition *definition_load(const char *path, struct error *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return error_null(err, errno, "cannot open definition '%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_FILE)
		return error_null(err, 0, "'%s' is not a definition: it must be a file of at most 1 MiB", path);
	auto_free char *text = xmalloc((size_t)st.st_size);
	if (!fd_read_full(fd, text, (size_t)st.st_size))
		return error_null(err, errno, "cannot read definition '%s'", path);
	struct definition *d = definition_parse(text, (size_t)st.st_size, path, err);
	if (d)
		make_absolute(d, path);
	return d;
}

char *definition_to_yaml(const struct definition *d, struct error *err)
{
	struct complaint c = { .what = "" };
	cyaml_config_t config = config_of(&c);
	char *out = NULL;
	size_t n = 0;
	config.flags |= CYAML_CFG_STYLE_BLOCK;
	cyaml_err_t r = cyaml_save_data(&out, &n, &config, &definition_schema,
					(const cyaml_data_t *)d, 0);
	if (r != CYAML_OK)
		return error_null(err, 0, "cannot write the definition as YAML: %s",
				  c.what[0] ? c.what : cyaml_strerror(r));
	char *text = xmalloc(n + 1);
	memcpy(text, out, n);
	text[n] = 0;
	free(out);
	return text;
}

void definition_free(struct definition *d)
{
	struct complaint c = { .what = "" };
	cyaml_config_t config = config_of(&c);
	if (d)
		cyaml_free(&config, &definition_schema, d, 0);
}

struct definition *definition_copy(const struct definition *d)
{
	auto_free char *text = definition_to_yaml(d, NULL);
	return text ? definition_parse(text, strlen(text), "copy", NULL) : NULL;
}

/* ---- JSON: the same schema, walked ---- */

static json_t *mapping_json(const cyaml_schema_field_t *f, const char *data);

static uint64_t unsigned_at(const void *p, size_t size)
{
	uint64_t v = 0;
	memcpy(&v, p, MIN(size, sizeof(v)));
	return v;
}

static json_t *value_json(const cyaml_schema_value_t *v, const char *p, uint64_t count)
{
	if (v->flags & CYAML_FLAG_POINTER && !(p = *(char *const *)p))
		return NULL;
	switch (v->type) {
	case CYAML_UINT:
		return json_integer((json_int_t)unsigned_at(p, v->data_size));
	case CYAML_FLOAT: {
		double d;
		memcpy(&d, p, sizeof(d));
		return d == (double)(json_int_t)d ? json_integer((json_int_t)d) : json_real(d);
	}
	case CYAML_BOOL:
		return json_boolean(*(const bool *)p);
	case CYAML_STRING:
		return json_string(p);
	case CYAML_MAPPING:
		return mapping_json(v->mapping.fields, p);
	case CYAML_SEQUENCE: {
		json_t *a = json_array();
		for (uint64_t i = 0; i < count; i++)
			json_array_append_new(a, value_json(v->sequence.entry, p + i * v->data_size, 0));
		return a;
	}
	default:
		return NULL;
	}
}

static json_t *mapping_json(const cyaml_schema_field_t *f, const char *data)
{
	json_t *o = json_object();
	for (; f->key; f++) {
		uint64_t n = f->value.type == CYAML_SEQUENCE ?
			unsigned_at(data + f->count_offset, f->count_size) : 0;
		json_t *v = value_json(&f->value, data + f->data_offset, n);
		if (v)
			json_object_set_new(o, f->key, v);
	}
	return o;
}

struct json_t *definition_to_json(const struct definition *d)
{
	return mapping_json(definition_fields, (const char *)d);
}
