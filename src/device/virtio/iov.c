/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying to and from arrays of iovecs, and trimming them. */
#include "device/virtio/virtio.h"

static size_t iov_copy(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len,
		       bool to_iov)
{
	size_t done = 0;
	for (unsigned i = 0; i < n && done < len; i++) {
		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		uint8_t *p = (uint8_t *)iov[i].iov_base + offset;
		size_t piece = MIN(iov[i].iov_len - offset, len - done);
		if (to_iov)
			memcpy(p, (uint8_t *)buf + done, piece);
		else
			memcpy((uint8_t *)buf + done, p, piece);
		done += piece;
		offset = 0;
	}
	return done;
}

size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
	return iov_copy(iov, n, offset, buf, len, false);
}

size_t buf_to_iov(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len)
{
	return iov_copy(iov, n, offset, (void *)buf, len, true);
}

unsigned iov_trim_front(struct iovec **iov, unsigned n, size_t len)
{
	while (n && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		n--;
	}
	if (n && len) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
		(*iov)->iov_len -= len;
	}
	return n;
}

unsigned iov_trim_back(struct iovec *iov, unsigned n, size_t len)
{
	while (n && len >= iov[n - 1].iov_len)
		len -= iov[--n].iov_len;
	if (n)
		iov[n - 1].iov_len -= len;
	return n;
}
