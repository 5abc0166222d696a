/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing OVF 1.0 descriptors that VMware and VirtualBox both take: SATA for all disks
 * (of IDE: IDE), E1000 for network cards, and VMware's hardware family, which
 * VirtualBox accepts; the other way round it is refused.
 */
#include "ovf/ovf.h"

#include <libxml/xmlwriter.h>

enum { R_CPU = 3, R_MEMORY = 4, R_IDE = 5, R_NIC = 10, R_DISK = 17, R_STORAGE = 20, FIRST_DISK = 20, SATA = 10, IDE = 11 };
static const char SPEC[] = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
static const char CIM[] = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_";

static void begin(xmlTextWriter *w, const char *name) { xmlTextWriterStartElement(w, (const xmlChar *)name); }
static void end(xmlTextWriter *w) { xmlTextWriterEndElement(w); }

static void element(xmlTextWriter *w, const char *name, const char *text)
{
	xmlTextWriterWriteElement(w, (const xmlChar *)name, (const xmlChar *)text);
}

static void put(xmlTextWriter *w, const char *name, const char *text)
{
	xmlTextWriterWriteAttribute(w, (const xmlChar *)name, (const xmlChar *)text);
}

PRINTF(3, 4) static void putf(xmlTextWriter *w, const char *name, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	xmlTextWriterWriteVFormatAttribute(w, (const xmlChar *)name, fmt, args);
	va_end(args);
}

struct hw { int type, id, parent, address; const char *name, *sub, *units; uint64_t quantity; char host[64]; };

/* The schema wants the children in the order of their names. */
static void item(xmlTextWriter *w, const struct hw *i)
{
	begin(w, "Item");
	if (i->parent)
		xmlTextWriterWriteFormatElement(w, (const xmlChar *)"rasd:AddressOnParent", "%d", i->address);
	if (i->units)
		element(w, "rasd:AllocationUnits", i->units);
	if (i->type == R_NIC) {
		element(w, "rasd:AutomaticAllocation", "true");
		element(w, "rasd:Connection", "network");
	}
	element(w, "rasd:ElementName", i->name);
	if (i->host[0])
		element(w, "rasd:HostResource", i->host);
	xmlTextWriterWriteFormatElement(w, (const xmlChar *)"rasd:InstanceID", "%d", i->id);
	if (i->parent)
		xmlTextWriterWriteFormatElement(w, (const xmlChar *)"rasd:Parent", "%d", i->parent);
	if (i->sub)
		element(w, "rasd:ResourceSubType", i->sub);
	xmlTextWriterWriteFormatElement(w, (const xmlChar *)"rasd:ResourceType", "%d", i->type);
	if (i->quantity)
		xmlTextWriterWriteFormatElement(w, (const xmlChar *)"rasd:VirtualQuantity", "%llu", (unsigned long long)i->quantity);
	end(w);
}

static json_int_t number(json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }
static const char *string(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static void references(xmlTextWriter *w, json_t *machine)
{
	json_t *d;
	size_t n;
	begin(w, "References");
	json_array_foreach(json_object_get(machine, "disks"), n, d) {
		begin(w, "File");
		put(w, "ovf:href", string(d, "file"));
		putf(w, "ovf:id", "file%zu", n + 1);
		putf(w, "ovf:size", "%lld", (long long)number(d, "size"));
		end(w);
	}
	end(w);
	begin(w, "DiskSection");
	element(w, "Info", "Virtual disks");
	json_array_foreach(json_object_get(machine, "disks"), n, d) {
		begin(w, "Disk");
		putf(w, "ovf:capacity", "%lld", (long long)number(d, "capacity"));
		put(w, "ovf:capacityAllocationUnits", "byte");
		putf(w, "ovf:diskId", "vmdisk%zu", n + 1);
		putf(w, "ovf:fileRef", "file%zu", n + 1);
		put(w, "ovf:format", SPEC);
		end(w);
	}
	end(w);
	begin(w, "NetworkSection");
	element(w, "Info", "Networks");
	begin(w, "Network");
	put(w, "ovf:name", "network");
	element(w, "Description", "The network");
	end(w);
	end(w);
}

static void disks(xmlTextWriter *w, json_t *machine)
{
	json_t *d;
	size_t n;
	int sata = 0, ide = 0;
	json_array_foreach(json_object_get(machine, "disks"), n, d) {
		bool is_ide = !strcmp(string(d, "bus"), "ide") && ide < 2;
		struct hw i = { .type = R_DISK, .id = FIRST_DISK + (int)n, .parent = is_ide ? IDE : SATA,
				.address = is_ide ? ide++ : sata++, .name = "disk" };
		snprintf(i.host, sizeof(i.host), "ovf:/disk/vmdisk%zu", n + 1);
		item(w, &i);
	}
}

static void hardware(xmlTextWriter *w, json_t *machine, bool virtualbox)
{
	json_t *nic;
	size_t n;
	begin(w, "VirtualHardwareSection");
	element(w, "Info", "Virtual hardware");
	begin(w, "System");
	element(w, "vssd:ElementName", "Virtual Hardware Family");
	element(w, "vssd:InstanceID", "0");
	element(w, "vssd:VirtualSystemIdentifier", string(machine, "name"));
	element(w, "vssd:VirtualSystemType", virtualbox ? "virtualbox-2.2" : "vmx-10");
	end(w);
	item(w, &(struct hw){ .type = R_CPU, .id = 1, .name = "virtual CPUs", .units = "hertz * 10^6",
			      .quantity = (uint64_t)number(machine, "vcpus") });
	item(w, &(struct hw){ .type = R_MEMORY, .id = 2, .name = "memory", .units = "byte * 2^20",
			      .quantity = (uint64_t)number(machine, "memory_mib") });
	item(w, &(struct hw){ .type = R_STORAGE, .id = SATA, .name = "SATA controller", .sub = virtualbox ? "AHCI" : "vmware.sata.ahci" });
	item(w, &(struct hw){ .type = R_IDE, .id = IDE, .name = "IDE controller", .sub = "PIIX4" });
	disks(w, machine);
	json_array_foreach(json_object_get(machine, "nics"), n, nic)
		item(w, &(struct hw){ .type = R_NIC, .id = 50 + (int)n, .name = "network card", .sub = "E1000" });
	if (!strcmp(string(machine, "firmware"), "uefi") && !virtualbox) {
		begin(w, "vmw:Config");
		put(w, "ovf:required", "false");
		put(w, "vmw:key", "firmware");
		put(w, "vmw:value", "efi");
		end(w);
	}
	end(w);
}

static void system_of(xmlTextWriter *w, json_t *machine, bool virtualbox)
{
	begin(w, "VirtualSystem");
	put(w, "ovf:id", string(machine, "name"));
	element(w, "Info", "A virtual machine");
	element(w, "Name", string(machine, "name"));
	begin(w, "OperatingSystemSection");
	put(w, "ovf:id", "101");              /* CIM: other Linux, 64 bits */
	element(w, "Info", "The operating system");
	end(w);
	hardware(w, machine, virtualbox);
	end(w);
}

char *ovf_write(json_t *machine, bool virtualbox, struct error *err)
{
	xmlBuffer *b = xmlBufferCreate();
	xmlTextWriter *w = b ? xmlNewTextWriterMemory(b, 0) : NULL;
	if (!w)
		return error_null(err, 0, "there is no memory for the descriptor");
	xmlTextWriterSetIndent(w, 1);
	xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL);
	begin(w, "Envelope");
	put(w, "xmlns", "http://schemas.dmtf.org/ovf/envelope/1");
	put(w, "xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1");
	putf(w, "xmlns:rasd", "%sResourceAllocationSettingData", CIM);
	putf(w, "xmlns:vssd", "%sVirtualSystemSettingData", CIM);
	put(w, "xmlns:vmw", "http://www.vmware.com/schema/ovf");
	references(w, machine);
	system_of(w, machine, virtualbox);
	end(w);
	xmlTextWriterEndDocument(w);
	xmlFreeTextWriter(w);
	char *text = xstrdup((const char *)xmlBufferContent(b));
	xmlBufferFree(b);
	return text;
}
