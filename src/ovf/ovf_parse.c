/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading OVF descriptors.  Elements are known by their local names: VirtualBox and
 * VMware put them into different namespaces (rasd, sasd, epasd) and name their own
 * additions vbox: and vmw:.  The hardware family is told, and means nothing here.
 */
#include "ovf/ovf.h"

#include <libxml/parser.h>
#include <stdio.h>

/* CIM_ResourceAllocationSettingData.ResourceType */
enum { R_CPU = 3, R_MEMORY = 4, R_IDE = 5, R_SCSI = 6, R_NIC = 10, R_DISK = 17, R_STORAGE = 20 };
enum { MAX_CONTROLLERS = 16 };

struct reading {
	const char *what;
	json_t *files, *disks;            /* id -> href; diskId -> {"file", "capacity"} */
	struct { char id[32]; const char *bus; } controller[MAX_CONTROLLERS];
	unsigned ncontrollers;
	json_t *machine;
	struct error *err;
};

static bool is(const xmlNode *n, const char *name)
{
	return n->type == XML_ELEMENT_NODE && !strcmp((const char *)n->name, name);
}

static const xmlNode *child(const xmlNode *n, const char *name)
{
	for (n = n ? n->children : NULL; n && !is(n, name); )
		n = n->next;
	return n;
}

/* The text of an element, or of a child by that name; "" if there is none. */
static void text_of(const xmlNode *n, char *out, size_t size)
{
	const xmlNode *t = n ? n->children : NULL;
	snprintf(out, size, "%s", t && t->type == XML_TEXT_NODE && t->content ? (const char *)t->content : "");
}

static void attribute(const xmlNode *n, const char *name, char *out, size_t size)
{
	xmlChar *v = n ? xmlGetProp((xmlNode *)n, (const xmlChar *)name) : NULL;      /* whatever its namespace */
	snprintf(out, size, "%s", v ? (const char *)v : "");
	xmlFree(v);
}

/* "byte * 2^30", "GigaBytes", "" (the default unit): as a power of two. */
static bool unit_bits(const char *unit, unsigned otherwise, unsigned *bits)
{
	static const struct { const char *name; unsigned bits; } names[] = {
		{ "byte", 0 }, { "bytes", 0 }, { "KB", 10 }, { "KiloBytes", 10 }, { "MB", 20 }, { "MegaBytes", 20 },
		{ "GB", 30 }, { "GigaBytes", 30 } };
	*bits = otherwise;
	if (!*unit)
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(unit, names[i].name)) {
			*bits = names[i].bits;
			return true;
		}
	return sscanf(unit, "byte * 2^%u", bits) == 1 && *bits < 50;
}

static bool scaled(const char *number, const char *unit, unsigned otherwise, uint64_t *out)
{
	unsigned bits;
	uint64_t n;
	if (!parse_u64(number, 0, UINT64_MAX, &n) || !unit_bits(unit, otherwise, &bits) || n > (uint64_t)INT64_MAX >> bits)
		return false;
	*out = n << bits;
	return true;
}

static bool refuse(struct reading *r, const char *why)
{
	return error_set(r->err, 0, "'%s' is not a machine that can be imported: %s", r->what, why);
}

/* Names go into a directory of ours: nothing but names. */
static bool name_sound(const char *s)
{
	return *s && strlen(s) < 200 && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..");
}

static bool read_files(struct reading *r, const xmlNode *references)
{
	for (const xmlNode *n = references ? references->children : NULL; n; n = n->next) {
		char id[256], href[256], packed[32];
		if (!is(n, "File"))
			continue;
		attribute(n, "id", id, sizeof(id));
		attribute(n, "href", href, sizeof(href));
		attribute(n, "compression", packed, sizeof(packed));
		if (!name_sound(href))
			return refuse(r, "a file of it has a directory in its name");
		if (*packed && strcmp(packed, "identity"))
			return refuse(r, "its disks are compressed as files: unpack them first");
		json_object_set_new(r->files, id, json_string(href));
	}
	return true;
}

static bool read_disks(struct reading *r, const xmlNode *section)
{
	for (const xmlNode *n = section ? section->children : NULL; n; n = n->next) {
		char id[256], ref[256], capacity[64], unit[64];
		uint64_t bytes;
		if (!is(n, "Disk"))
			continue;
		attribute(n, "diskId", id, sizeof(id));
		attribute(n, "fileRef", ref, sizeof(ref));
		attribute(n, "capacity", capacity, sizeof(capacity));
		attribute(n, "capacityAllocationUnits", unit, sizeof(unit));
		if (!scaled(capacity, unit, 0, &bytes))
			return refuse(r, "the size of a disk cannot be understood");
		json_t *file = json_object_get(r->files, ref);
		json_object_set_new(r->disks, id, json_pack("{s:O?, s:I}", "file", file, "capacity", (json_int_t)bytes));
	}
	return true;
}

struct item { int type; char id[32], parent[32], sub[64], quantity[32], units[64], host[256]; };

static void read_item(const xmlNode *n, struct item *i)
{
	char type[16];
	text_of(child(n, "ResourceType"), type, sizeof(type));
	text_of(child(n, "InstanceID"), i->id, sizeof(i->id));
	text_of(child(n, "Parent"), i->parent, sizeof(i->parent));
	text_of(child(n, "ResourceSubType"), i->sub, sizeof(i->sub));
	text_of(child(n, "VirtualQuantity"), i->quantity, sizeof(i->quantity));
	text_of(child(n, "AllocationUnits"), i->units, sizeof(i->units));
	text_of(child(n, "HostResource"), i->host, sizeof(i->host));
	i->type = atoi(type);
}

/* A guest that knew a SCSI adapter of theirs finds its disk on SATA, which all know. */
static void add_controller(struct reading *r, const struct item *i)
{
	bool ours = !strcasecmp(i->sub, "virtio") || !strcasecmp(i->sub, "virtio-scsi");
	if (r->ncontrollers == MAX_CONTROLLERS)
		return;
	snprintf(r->controller[r->ncontrollers].id, sizeof(r->controller[0].id), "%s", i->id);
	r->controller[r->ncontrollers++].bus = i->type == R_IDE ? "ide" : ours && i->type == R_SCSI ? "scsi" :
					       ours ? "virtio" : "ahci";
}

static const char *bus_of(const struct reading *r, const char *parent)
{
	for (unsigned k = 0; k < r->ncontrollers; k++)
		if (!strcmp(r->controller[k].id, parent))
			return r->controller[k].bus;
	return "ahci";
}

/* HostResource: "ovf:/disk/vmdisk1", "/disk/vmdisk1", or a file at once. */
static bool add_disk(struct reading *r, const struct item *i)
{
	const char *at = strstr(i->host, "/disk/"), *file = strstr(i->host, "/file/");
	json_t *disk = at ? json_object_get(r->disks, at + 6) : NULL, *all = json_object_get(r->machine, "disks");
	json_t *name = disk ? json_object_get(disk, "file") : file ? json_object_get(r->files, file + 6) : NULL;
	if (!disk && !name)
		return refuse(r, "one of its disks leads to no file");
	if (json_array_size(all) == OVF_MAX_DISKS)
		return refuse(r, "it has more than 16 disks");
	json_array_append_new(all, json_pack("{s:O?, s:s, s:I}", "file", name, "bus", bus_of(r, i->parent), "capacity",
					     json_integer_value(json_object_get(disk, "capacity"))));
	return true;
}

static bool take_item(struct reading *r, const struct item *i)
{
	json_t *nics = json_object_get(r->machine, "nics");
	uint64_t n;
	switch (i->type) {
	case R_CPU:
		if (!parse_u64(i->quantity, 1, 64, &n))
			return refuse(r, "its number of CPUs is not from 1 to 64");
		json_object_set_new(r->machine, "vcpus", json_integer((json_int_t)n));
		return true;
	case R_MEMORY:
		if (!scaled(i->quantity, i->units, 20, &n) || n < 16 * MiB)
			return refuse(r, "its memory size cannot be understood");
		json_object_set_new(r->machine, "memory_mib", json_integer((json_int_t)(n / MiB)));
		return true;
	case R_NIC:
		if (json_array_size(nics) < OVF_MAX_NICS)
			json_array_append_new(nics, json_string(strcasestr(i->sub, "virtio") ? "virtio" : "e1000"));
		return true;
	case R_DISK: return add_disk(r, i);
	default: return true;
	}
}

static bool is_item(const xmlNode *n)
{
	return is(n, "Item") || is(n, "StorageItem") || is(n, "EthernetPortItem");
}

/* Controllers first: disks name them. */
static bool read_hardware(struct reading *r, const xmlNode *section)
{
	struct item i;
	char family[64];
	text_of(child(child(section, "System"), "VirtualSystemType"), family, sizeof(family));
	json_object_set_new(r->machine, "family", json_string(family));
	for (const xmlNode *n = section->children; n; n = n->next) {
		if (!is_item(n))
			continue;
		read_item(n, &i);
		if (i.type == R_IDE || i.type == R_SCSI || i.type == R_STORAGE)
			add_controller(r, &i);
	}
	for (const xmlNode *n = section->children; n; n = n->next) {
		char key[64], value[64];
		attribute(n, "key", key, sizeof(key));
		attribute(n, "value", value, sizeof(value));
		if (is(n, "Config") && !strcmp(key, "firmware") && !strcmp(value, "efi"))       /* VMware's */
			json_object_set_new(r->machine, "firmware", json_string("uefi"));
		if (!is_item(n))
			continue;
		read_item(n, &i);
		if (!take_item(r, &i))
			return false;
	}
	return true;
}

/* VirtualBox's own description beside the standard's: only its firmware is looked at. */
static bool wants_efi(const xmlNode *system)
{
	char type[32];
	attribute(child(child(child(system, "Machine"), "Hardware"), "Firmware"), "type", type, sizeof(type));
	return !strncmp(type, "EFI", 3);
}

static bool read_system(struct reading *r, const xmlNode *system)
{
	char name[128];
	const xmlNode *hardware = child(system, "VirtualHardwareSection");
	if (!hardware)
		return refuse(r, "it says nothing about hardware");
	text_of(child(system, "Name"), name, sizeof(name));
	if (!*name)
		attribute(system, "id", name, sizeof(name));
	json_object_set_new(r->machine, "name", json_string(name));
	if (wants_efi(system))
		json_object_set_new(r->machine, "firmware", json_string("uefi"));
	return read_hardware(r, hardware);
}

static bool read_envelope(struct reading *r, const xmlNode *root)
{
	const xmlNode *system = child(root, "VirtualSystem"), *many = child(root, "VirtualSystemCollection");
	if (!root || !is(root, "Envelope"))
		return refuse(r, "its outermost element is not Envelope");
	if (!system && many) {
		system = child(many, "VirtualSystem");
		for (const xmlNode *n = system ? system->next : NULL; n; n = n->next)
			if (is(n, "VirtualSystem"))
				return refuse(r, "it holds several machines: take them apart first");
	}
	if (!system)
		return refuse(r, "it holds no machine");
	return read_files(r, child(root, "References")) && read_disks(r, child(root, "DiskSection")) &&
	       read_system(r, system);
}

static void quiet(void *ctx, const char *message, ...) { }

json_t *ovf_parse(const char *text, size_t size, const char *what, struct error *err)
{
	struct reading r = { .what = what, .err = err, .files = json_object(), .disks = json_object() };
	if (size > OVF_MAX_BYTES)
		return error_null(err, 0, "'%s' is too large for a descriptor", what);
	xmlSetGenericErrorFunc(NULL, quiet);
	/* neither entities nor files nor networks of the descriptor's choice */
	xmlDoc *doc = xmlReadMemory(text, (int)size, "ovf", NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	r.machine = json_pack("{s:i, s:i, s:s, s:[], s:[]}", "vcpus", 1, "memory_mib", 1024, "firmware", "bios", "disks", "nics");
	bool ok = doc ? doc->intSubset ? refuse(&r, "it has a document type of its own") : read_envelope(&r, xmlDocGetRootElement(doc)) :
		  refuse(&r, "it is not XML");
	xmlFreeDoc(doc);
	json_decref(r.files);
	json_decref(r.disks);
	if (ok)
		return r.machine;
	json_decref(r.machine);
	return NULL;
}
