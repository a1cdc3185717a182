/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the descriptor of a capture file and, when it is gzip'ed, zlib's state. Never seeks, so that pipes do as
 * well as files; never holds more than its two buffers and what is unread, however large or hostile the file. One
 * thread.
 */
#include "source/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* What stdio reads at once. Less, and every packet would cost calls; unbuffered, every byte would. */
#define STREAM_BYTES (64 * 1024)

struct clv_input {
	int fd;
	FILE *stream; /* on top of this; borrowed */
	bool regular; /* file: it never makes a reader wait */
	bool gzip;
	bool between; /* gzip members: one ended, whether another follows is not known yet */
	bool full;    /* there was no room for more, and zlib may have some, without further input */
	bool ended;
	int err;
	const char *error;
	z_stream z;            /* next_in points into raw */
	struct clv_slice rest; /* is handed out first; in raw or unread */
	uint8_t *unread;
	uint8_t raw[64 * 1024];
	char buffer[STREAM_BYTES]; /* the stream's; without one of ours it would choose a small one itself */
};

static void input_fail(struct clv_input *in, int err, const char *error)
{
	in->ended = true;
	in->err = err;
	in->error = error;
}

/* Returns the bytes read, at least 1, or 0 at the end and on errors. */
static size_t input_read(struct clv_input *in, uint8_t *buf, size_t size)
{
	ssize_t n;

	do
		n = read(in->fd, buf, size);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n < 0)
		input_fail(in, -errno, strerror(errno));
	in->ended = true;
	return 0;
}

/* After a member: zeros are padding, another member goes on, anything else is left alone, as gzip(1) does. */
static void gzip_next_member(struct clv_input *in)
{
	for (; in->z.avail_in && *in->z.next_in == 0; in->z.avail_in--)
		in->z.next_in++;
	if (!in->z.avail_in)
		return;
	in->between = false;
	if (*in->z.next_in == 0x1f)
		inflateReset(&in->z);
	else
		in->ended = true;
}

static void gzip_more(struct clv_input *in)
{
	in->z.next_in = in->raw;
	in->z.avail_in = (unsigned)input_read(in, in->raw, sizeof(in->raw));
	if (!in->z.avail_in && !in->between && !in->error)
		input_fail(in, 0, "the gzip data is cut short");
}

static size_t gzip_read(struct clv_input *in, uint8_t *buf, size_t size)
{
	in->z.next_out = buf;
	in->z.avail_out = (unsigned)size;
	while (in->z.avail_out == size && !in->ended) {
		if (!in->z.avail_in && !in->full) {
			gzip_more(in);
		} else if (in->between) {
			gzip_next_member(in);
		} else {
			int r = inflate(&in->z, Z_NO_FLUSH);

			in->between = r == Z_STREAM_END;
			in->full = r == Z_OK && !in->z.avail_out;
			if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
				input_fail(in, -EBADMSG, "the gzip data is damaged");
		}
	}
	return size - in->z.avail_out;
}

size_t clv_input_read(struct clv_input *in, uint8_t *buf, size_t size)
{
	size_t n = size < in->rest.len ? size : in->rest.len;

	if (n) {
		memcpy(buf, in->rest.data, n);
		in->rest = clv_slice_from(in->rest, n);
		return n;
	}
	if (in->ended)
		return 0;
	return in->gzip ? gzip_read(in, buf, size) : input_read(in, buf, size);
}

int clv_input_unread(struct clv_input *in, struct clv_slice s)
{
	uint8_t *unread = malloc(s.len + 1);

	if (!unread)
		return -ENOMEM;
	if (s.len)
		memcpy(unread, s.data, s.len);
	free(in->unread);
	in->unread = unread;
	in->rest = clv_slice(unread, s.len);
	return 0;
}

/* What stdio calls. Errors are ends here: clv_input_error() tells the difference, better than errno could. */
static ssize_t input_cookie_read(void *cookie, char *buf, size_t size)
{
	return (ssize_t)clv_input_read(cookie, (uint8_t *)buf, size);
}

static int input_cookie_close(void *cookie)
{
	struct clv_input *in = cookie;

	if (in->gzip)
		inflateEnd(&in->z);
	close(in->fd);
	free(in->unread);
	free(in);
	return 0;
}

static bool is_other_compression(const uint8_t *b)
{
	return !memcmp(b, "\x28\xb5\x2f\xfd", 4) || !memcmp(b, "\x04\x22\x4d\x18", 4) || /* zstd, lz4 */
	       !memcmp(b, "\xfd\x37\x7a\x58", 4) || !memcmp(b, "BZh", 3);                /* xz, bzip2 */
}

/* Reads the first bytes and decides by them. */
static int input_sniff(struct clv_input *in)
{
	size_t len = 0, n;

	while (len < 4 && (n = input_read(in, in->raw + len, sizeof(in->raw) - len)))
		len += n;
	if (in->err)
		return in->err;
	if (!len)
		return -ENODATA;
	if (len >= 4 && is_other_compression(in->raw))
		return -ENOTSUP;
	if (len >= 4 && in->raw[0] == 0x1f && in->raw[1] == 0x8b) {
		in->z.next_in = in->raw;
		in->z.avail_in = (unsigned)len;
		in->gzip = inflateInit2(&in->z, 15 + 16) == Z_OK; /* the largest window, gzip's framing */
		return in->gzip ? 0 : -ENOMEM;
	}
	in->rest = clv_slice(in->raw, len);
	return 0;
}

int clv_input_open(const char *path, struct clv_input **out, FILE **stream)
{
	static const cookie_io_functions_t io = {.read = input_cookie_read, .close = input_cookie_close};
	struct clv_input *in = calloc(1, sizeof(*in));
	FILE *f = NULL;
	struct stat st;
	int err;

	if (!in)
		return -ENOMEM;
	in->fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
	err = in->fd < 0 ? -errno : input_sniff(in);
	in->regular = !fstat(in->fd, &st) && S_ISREG(st.st_mode);
	if (!err) {
		f = fopencookie(in, "r", io);
		err = f ? 0 : -ENOMEM;
	}
	if (err) {
		if (in->fd < 0)
			free(in);
		else
			input_cookie_close(in);
		return err;
	}
	setvbuf(f, in->buffer, _IOFBF, sizeof(in->buffer));
	__fsetlocking(f, FSETLOCKING_BYCALLER);
	in->stream = f;
	*out = in;
	*stream = f;
	return 0;
}

bool clv_input_ready(struct clv_input *in, int timeout_ms)
{
	struct pollfd p = {.fd = in->fd, .events = POLLIN};

	if (in->regular)
		return true;
	if (clv_input_peek(in->stream).len || in->rest.len || in->z.avail_in || in->ended)
		return true;
	return poll(&p, 1, timeout_ms) > 0;
}

bool clv_input_ended(const struct clv_input *in)
{
	return in->ended;
}

const char *clv_input_error(const struct clv_input *in, int *err)
{
	*err = in->err;
	return in->error;
}
