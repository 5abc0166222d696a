/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to swtpm: see swtpm.h. */
#include "device/tpm/swtpm.h"
#include "base/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

enum { CMD_INIT = 2, CMD_CANCEL = 9, CMD_GET_BLOB = 12, CMD_SET_BLOB = 13, CMD_STOP = 14, CMD_SET_DATA = 16,
       CMD_SET_BUFFER = 17 };
enum { INIT_DELETE_VOLATILE = 1, BLOB_DECRYPTED = 1, NO_SUCH_BLOB = 0x800, PATIENCE_MS = 60000 };

static void put32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static uint32_t get32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }

/* A command that runs ends first: making an RSA key takes seconds. */
static bool receive(int fd, void *buf, size_t n, struct error *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	for (size_t got = 0; got < n; ) {
		int ready = poll(&p, 1, PATIENCE_MS);
		if (ready < 0 && errno == EINTR)
			continue;
		ssize_t r = ready > 0 ? recv(fd, (char *)buf + got, n - got, 0) : -1;
		if (r <= 0)
			return error_set(err, 0, "the TPM's process (swtpm) %s", ready ? "has ended" : "does not answer");
		got += (size_t)r;
	}
	return true;
}

static bool tell(int fd, const void *data, size_t n, struct error *err)
{
	for (size_t done = 0; done < n; ) {
		ssize_t r = send(fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return error_set(err, 0, "the TPM's process (swtpm) has ended");
		done += (size_t)r;
	}
	return true;
}

static bool answered(int fd, const char *what, struct error *err)
{
	uint8_t reply[4];
	if (!receive(fd, reply, sizeof(reply), err))
		return false;
	return !get32(reply) || error_set(err, 0, "the TPM refuses to %s (result 0x%x)", what, get32(reply));
}

static bool request(int fd, unsigned cmd, const uint32_t *arg, const char *what, struct error *err)
{
	uint8_t q[8];
	put32(q, cmd);
	if (arg)
		put32(q + 4, *arg);
	return tell(fd, q, arg ? 8 : 4, err) && answered(fd, what, err);
}

bool swtpm_set_data(int control, int data, struct error *err)
{
	uint8_t q[4];
	put32(q, CMD_SET_DATA);
	if (fds_send(control, q, sizeof(q), &data, 1, 0) != sizeof(q))
		return error_set(err, errno, "cannot speak with the TPM's process (swtpm)");
	return answered(control, "take its channel", err);
}

bool swtpm_power_off(int control, struct error *err)
{
	return request(control, CMD_STOP, NULL, "stop", err);
}

static bool set_buffer(int control, uint32_t size, struct error *err)
{
	uint8_t q[8], r[16];      /* result; what it is; least; most */
	put32(q, CMD_SET_BUFFER);
	put32(q + 4, size);
	if (!tell(control, q, sizeof(q), err) || !receive(control, r, sizeof(r), err))
		return false;
	return (!get32(r) && get32(r + 4) <= size) || error_set(err, 0, "the TPM does not do with %u bytes a reply", size);
}

bool swtpm_power_on(int control, uint32_t buffer, bool again, struct error *err)
{
	uint32_t flags = again ? INIT_DELETE_VOLATILE : 0;
	return swtpm_power_off(control, err) && set_buffer(control, buffer, err) &&
	       request(control, CMD_INIT, &flags, "start", err);
}

bool swtpm_cancel(int control, struct error *err)
{
	return request(control, CMD_CANCEL, NULL, "cancel a command", err);
}

bool swtpm_get_blob(int control, unsigned which, struct tpm_blob *b, struct error *err)
{
	uint8_t q[16], r[16];     /* result, flags, whole length, length of what follows */
	put32(q, CMD_GET_BLOB);
	put32(q + 4, BLOB_DECRYPTED);
	put32(q + 8, which + 1);
	put32(q + 12, 0);
	*b = (struct tpm_blob){ 0 };
	if (!tell(control, q, sizeof(q), err) || !receive(control, r, sizeof(r), err))
		return false;
	b->flags = get32(r + 4);
	b->size = get32(r + 12);
	if ((get32(r) && !(get32(r) & NO_SUCH_BLOB)) || b->size != get32(r + 8) || b->size > TPM_BLOB_MAX)
		return error_set(err, 0, "the TPM does not give its state (result 0x%x)", get32(r));
	b->data = xmalloc(b->size + 1);
	if (receive(control, b->data, b->size, err))
		return true;
	free(move_ptr(b->data));
	return false;
}

bool swtpm_set_blob(int control, unsigned which, const struct tpm_blob *b, struct error *err)
{
	uint8_t q[16];
	put32(q, CMD_SET_BLOB);
	put32(q + 4, b->flags);
	put32(q + 8, which + 1);
	put32(q + 12, b->size);
	return tell(control, q, sizeof(q), err) && tell(control, b->data, b->size, err) &&
	       answered(control, "take its state", err);
}
