/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a capture file: from a file or a pipe, gunzipped on the way when they need it. As a stdio stream, or as
 * blocks for who needs no stream; one after the other, never both at a time.
 */
#ifndef CLV_SOURCE_INPUT_H
#define CLV_SOURCE_INPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

struct clv_input;

/*
 * Opens `path` ("-": standard input) and looks at its first bytes. Returns 0 and the input in *out, owned by the
 * stream *stream: fclose() ends both. Otherwise -errno; -ENODATA when it is empty, -ENOTSUP when it is compressed in
 * a way that is not read.
 */
int clv_input_open(const char *path, struct clv_input **out, FILE **stream);

/*
 * What the stream has read ahead in its buffer. Valid until it reads again. The C library has no call for it; its
 * struct is public.
 */
static inline struct clv_slice clv_input_peek(const FILE *stream)
{
	return clv_slice(stream->_IO_read_ptr, (size_t)(stream->_IO_read_end - stream->_IO_read_ptr));
}

/* The same, and the stream stands behind it from now on. */
static inline struct clv_slice clv_input_buffered(FILE *stream)
{
	struct clv_slice s = clv_input_peek(stream);

	stream->_IO_read_ptr = stream->_IO_read_end;
	return s;
}

/*
 * Reads up to `size` bytes past the stream. Returns how many, at least 1; 0 at the end, and on errors
 * (clv_input_error()).
 */
size_t clv_input_read(struct clv_input *in, uint8_t *buf, size_t size);
/* Bytes that were read and are to be read again, copied; all that was there before was read. Returns 0 or -ENOMEM. */
int clv_input_unread(struct clv_input *in, struct clv_slice s);

/* Is there something to read (or the end)? Waits up to timeout_ms for it; a regular file never waits. */
bool clv_input_ready(struct clv_input *in, int timeout_ms);

/* Nothing more comes: whatever still misses bytes was cut short. */
bool clv_input_ended(const struct clv_input *in);

/*
 * What went wrong while reading, for people, and as -errno in *err (0: the input was cut short, what came before is
 * sound); NULL when nothing did. Borrowed.
 */
const char *clv_input_error(const struct clv_input *in, int *err);

#endif
