/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a capture file as a stdio stream: from a file or a pipe, gunzipped on the way when they need it. */
#ifndef CLV_SOURCE_INPUT_H
#define CLV_SOURCE_INPUT_H

#include <stdbool.h>
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
 * What of the stream lies ready in its buffer, to be read without a copy; empty: nothing. Valid until the next read.
 * The C library has no call for it; its struct is public.
 */
static inline struct clv_slice clv_input_peek(const FILE *stream)
{
	return clv_slice(stream->_IO_read_ptr, (size_t)(stream->_IO_read_end - stream->_IO_read_ptr));
}

/* Steps over the first `len` bytes of it. */
static inline void clv_input_take(FILE *stream, size_t len)
{
	stream->_IO_read_ptr += len;
}

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
