/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Definitions of networks: YAML by a schema, defaults, checks. */
#include "network/network.h"

#include <cyaml/cyaml.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>

#include "jail/jail.h"
#include "net/switch/acl.h"
#include "network/subnet.h"

enum { OPT = CYAML_FLAG_OPTIONAL, MAX_STRING = 4096, MTU_DEFAULT = 1500, MTU_MAX = 65520, MAX_POLL = 1000, BOOT_FILE_LONGEST = 127,
       VXLAN_PORT = 4789, VXLAN_OVERHEAD = 50 };

static const char *const kind_names[] = { "nat", "internal", "host-only", "bridged", "vxlan" };

static const cyaml_schema_value_t string_schema = { CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, MAX_STRING) };

#define STRING(key, member) CYAML_FIELD_STRING_PTR(key, OPT | CYAML_FLAG_POINTER, struct network_definition, member, 0, MAX_STRING)
#define NUMBER(key, member) CYAML_FIELD_UINT(key, OPT, struct network_definition, member)
#define FLAG(key, member) CYAML_FIELD_BOOL(key, OPT, struct network_definition, member)
#define LIST(key, member, count, most) \
	CYAML_FIELD_SEQUENCE_COUNT(key, OPT | CYAML_FLAG_POINTER, struct network_definition, member, count, &string_schema, 0, most)

static const cyaml_schema_field_t fields[] = {
	CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, struct network_definition, version),
	STRING("kind", kind),
	STRING("subnet", subnet),
	STRING("subnet6", subnet6),
	STRING("interface", interface),
	STRING("uplink", uplink),
	STRING("domain", domain),
	STRING("boot-file", boot_file),
	STRING("jail", jail),
	NUMBER("mtu", mtu),
	NUMBER("poll", poll),
	FLAG("vlan-aware", vlan_aware),
	FLAG("isolate", isolate),
	FLAG("host-loopback", host_loopback),
	FLAG("no-guard", no_guard),
	NUMBER("vni", vni),
	NUMBER("vxlan-port", vxlan_port),
	LIST("peers", peers, npeers, NETWORK_MAX_PEERS),
	LIST("rules", rules, nrules, NETWORK_MAX_RULES),
	CYAML_FIELD_END
};
static const cyaml_schema_value_t schema = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct network_definition, fields) };

static void quiet(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	char *first = ctx;
	if (!*first)
		vsnprintf(first, 200, fmt, args);
	first[strcspn(first, "\n")] = 0;
}

static cyaml_config_t config_of(char first[200])
{
	*first = 0;
	return (cyaml_config_t){ .log_fn = quiet, .log_ctx = first, .mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_WARNING, .flags = CYAML_CFG_NO_ALIAS | CYAML_CFG_STYLE_BLOCK };
}

void network_definition_free(struct network_definition *d)
{
	char first[200];
	cyaml_config_t c = config_of(first);
	if (d)
		cyaml_free(&c, &schema, d, 0);
}

struct network_definition *network_definition_parse(const char *text, size_t size, const char *what, struct error *err)
{
	char first[200];
	cyaml_config_t c = config_of(first);
	struct network_definition *d = NULL;
	if (cyaml_load_data((const uint8_t *)text, size, &c, &schema, (cyaml_data_t **)&d, NULL) != CYAML_OK || !d)
		return error_null(err, 0, "'%s' is not the definition of a network: %s", what, *first ? first : "it is empty");
	if (d->version == NETWORK_VERSION)
		return d;
	error_set(err, 0, "'%s' has version %u; this program knows version %d", what, d->version, NETWORK_VERSION);
	network_definition_free(d);
	return NULL;
}

char *network_definition_yaml(const struct network_definition *d, struct error *err)
{
	char first[200], *out = NULL;
	size_t n = 0;
	cyaml_config_t c = config_of(first);
	if (cyaml_save_data(&out, &n, &c, &schema, (const cyaml_data_t *)d, 0) != CYAML_OK)
		return error_null(err, 0, "cannot write the network's definition: %s", first);
	char *text = xasprintf("%.*s", (int)n, out);
	free(out);
	return text;
}

static json_t *strings(char *const *list, unsigned n)
{
	json_t *a = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(a, json_string(list[i]));
	return a;
}

struct json_t *network_definition_json(const struct network_definition *d)
{
	json_t *o = json_object();
	for (const cyaml_schema_field_t *f = fields; f->key; f++) {
		const char *at = (const char *)d + f->data_offset;
		if (f->value.type == CYAML_STRING && *(char *const *)(const void *)at)
			json_object_set_new(o, f->key, json_string(*(char *const *)(const void *)at));
		else if (f->value.type == CYAML_UINT)
			json_object_set_new(o, f->key, json_integer(*(const unsigned *)(const void *)at));
		else if (f->value.type == CYAML_BOOL)
			json_object_set_new(o, f->key, json_boolean(*(const bool *)at));
	}
	json_object_set_new(o, "peers", strings(d->peers, d->npeers));
	json_object_set_new(o, "rules", strings(d->rules, d->nrules));
	return o;
}

/* ---- checks ---- */

bool network_kind_parse(const char *text, enum network_kind *kind, struct error *err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(kind_names); i++)
		if (!strcmp(text, kind_names[i])) {
			*kind = (enum network_kind)i;
			return true;
		}
	return error_set(err, 0, "kind '%s' is not known: use nat, internal, host-only, bridged or vxlan", text);
}

enum network_kind network_kind(const struct network_definition *d)
{
	enum network_kind k = NETWORK_internal;
	network_kind_parse(d->kind, &k, NULL);
	return k;
}

static void set_default(char **field, const char *value)
{
	if (!*field)
		*field = xstrdup(value);
}

struct other { const char *name; const struct subnet *subnet; char hit[64]; };

static bool overlaps_other(const char *name, void *opaque)
{
	struct other *o = opaque;
	struct network *n = strcmp(name, o->name) ? network_open(name, NULL) : NULL;
	struct network_definition *d = n ? network_definition(n, NULL) : NULL;
	struct subnet s;
	if (d && d->subnet && subnet_parse(d->subnet, &s, NULL) && subnet_overlaps(&s, o->subnet))
		snprintf(o->hit, sizeof(o->hit), "%s", name);
	network_definition_free(d);
	network_close(n);
	return true;
}

static bool taken(const struct subnet *s, void *opaque)
{
	struct other o = { opaque, s, "" };
	network_each(overlaps_other, &o, NULL);
	return o.hit[0];
}

static bool resolve_subnet(struct network_definition *d, const char *name, struct error *err)
{
	enum network_kind kind = network_kind(d);
	struct subnet s;
	set_default(&d->subnet, kind == NETWORK_bridged ? "none" : "auto");
	if (!strcmp(d->subnet, "none"))
		return kind != NETWORK_nat || error_set(err, 0, "a network of kind nat needs a subnet");
	if (kind == NETWORK_bridged)
		return error_set(err, 0, "a bridged network has the subnet of the network it is plugged into: "
				 "--subnet none");
	if (strcmp(d->subnet, "auto"))
		return subnet_parse(d->subnet, &s, err);
	if (!subnet_pick(name, taken, (void *)name, &s, err))
		return false;
	free(d->subnet);
	d->subnet = xasprintf("%u.%u.%u.%u/%u", s.base >> 24, s.base >> 16 & 255, s.base >> 8 & 255, s.base & 255, s.prefix);
	return true;
}

static bool check_subnet_free(const struct network_definition *d, const char *name, struct error *err)
{
	struct subnet s;
	if (!strcmp(d->subnet, "none") || !subnet_parse(d->subnet, &s, NULL))
		return true;
	struct other o = { name, &s, "" };
	network_each(overlaps_other, &o, NULL);
	return !o.hit[0] || error_set(err, 0, "subnet %s overlaps that of network '%s'", d->subnet, o.hit);
}

static bool resolve_kind(struct network_definition *d, const char *name, struct error *err)
{
	switch (network_kind(d)) {
	case NETWORK_bridged:
		set_default(&d->uplink, "packet");
		if (strcmp(d->uplink, "packet") && strcmp(d->uplink, "macvtap"))
			return error_set(err, 0, "--uplink value '%s' is not known: use packet or macvtap", d->uplink);
		return d->interface || error_set(err, 0, "a bridged network needs --interface, one of this host's");
	case NETWORK_host_only:
		if (!d->interface)
			d->interface = xasprintf("ab-%.11s", name);
		return strlen(d->interface) < IFNAMSIZ ||
			error_set(err, 0, "interface name '%s' is longer than 15 bytes", d->interface);
	case NETWORK_vxlan:
		d->vxlan_port = d->vxlan_port ? d->vxlan_port : VXLAN_PORT;
		if (!d->npeers)
			return error_set(err, 0, "a vxlan network needs --peer ADDRESS, at least one");
		if (!d->vni || d->vni >= 1u << 24 || d->vxlan_port > 65535)
			return error_set(err, 0, "a vxlan network needs --vni, from 1 to 16777215, and a port up to 65535");
		return true;
	default:
		return true;
	}
}

bool network_definition_resolve(struct network_definition *d, const char *name, struct error *err)
{
	enum network_kind kind = NETWORK_nat;
	enum jail_mode mode;
	uint8_t prefix[16];
	d->version = NETWORK_VERSION;
	set_default(&d->kind, "nat");
	set_default(&d->domain, "abyme");
	if (d->boot_file && strlen(d->boot_file) > BOOT_FILE_LONGEST)
		return error_set(err, 0, "--boot-file is longer than %d bytes", BOOT_FILE_LONGEST);
	set_default(&d->jail, "auto");
	if (!network_kind_parse(d->kind, &kind, err) || !resolve_kind(d, name, err) || !resolve_subnet(d, name, err) ||
	    !check_subnet_free(d, name, err))
		return false;
	if (d->uplink && kind != NETWORK_bridged)
		return error_set(err, 0, "--uplink is of networks of kind bridged");
	d->mtu = d->mtu ? d->mtu : kind == NETWORK_vxlan ? MTU_DEFAULT - VXLAN_OVERHEAD : MTU_DEFAULT;
	if (d->mtu < NETWORK_MTU_MIN || d->mtu > MTU_MAX)
		return error_set(err, 0, "an MTU of %u is out of range: from 1280 to 65520", d->mtu);
	if (d->poll > MAX_POLL)
		return error_set(err, 0, "polling for %u microseconds is out of range: at most 1000", d->poll);
	if (d->subnet6 && !strcmp(d->subnet6, "auto")) {
		free(d->subnet6);
		d->subnet6 = subnet6_make();
	}
	for (unsigned i = 0; i < d->nrules; i++) {
		struct acl_rule r;
		if (!acl_parse(d->rules[i], &r, err))
			return false;
	}
	if (!jail_mode_parse(d->jail, &mode))
		return error_set(err, 0, "--jail value '%s' is not known: use auto, require or none", d->jail);
	return !d->subnet6 || subnet6_parse(d->subnet6, prefix, err);
}
