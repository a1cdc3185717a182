/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a capture file as a stdio stream: from a file or a pipe, gunzipped on the way when they need it. */
#ifndef CLV_SOURCE_INPUT_H
#define CLV_SOURCE_INPUT_H

#include <stdbool.h>
#include <stdio.h>

struct clv_input;

/*
 * Opens `path` ("-": standard input) and looks at its first bytes. Returns 0 and the input in *out, owned by the
 * stream *stream: fclose() ends both. Otherwise -errno; -ENODATA when it is empty, -ENOTSUP when it is compressed in
 * a way that is not read.
 */
int clv_input_open(const char *path, struct clv_input **out, FILE **stream);

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
