/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OVF descriptors come from anywhere. */
#include "lib/fuzz.h"
#include "ovf/ovf.h"

static const char SAMPLE[] =
	"<?xml version=\"1.0\"?><Envelope xmlns:ovf=\"o\"><References><File ovf:id=\"f\" ovf:href=\"d.vmdk\"/></References>"
	"<DiskSection><Disk ovf:diskId=\"v\" ovf:fileRef=\"f\" ovf:capacity=\"32\" ovf:capacityAllocationUnits=\"byte * 2^20\"/>"
	"</DiskSection><VirtualSystem ovf:id=\"m\"><VirtualHardwareSection><System><VirtualSystemType>vmx-07"
	"</VirtualSystemType></System><Item><ResourceType>3</ResourceType><VirtualQuantity>2</VirtualQuantity></Item>"
	"<Item><ResourceType>4</ResourceType><AllocationUnits>MegaBytes</AllocationUnits><VirtualQuantity>512"
	"</VirtualQuantity></Item><Item><InstanceID>3</InstanceID><ResourceType>20</ResourceType></Item>"
	"<Item><Parent>3</Parent><HostResource>ovf:/disk/v</HostResource><ResourceType>17</ResourceType></Item>"
	"<Item><ResourceSubType>E1000</ResourceSubType><ResourceType>10</ResourceType></Item>"
	"</VirtualHardwareSection></VirtualSystem></Envelope>";

size_t fuzz_sample(unsigned n, uint8_t *buf)
{
	if (n)
		return 0;
	memcpy(buf, SAMPLE, sizeof(SAMPLE) - 1);
	return sizeof(SAMPLE) - 1;
}

void fuzz_one(const uint8_t *data, size_t size)
{
	struct error err;
	json_decref(ovf_parse((const char *)data, size, "fuzz", &err));
}
