/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One span as one line for people: local time, side, client -> server, method, target, status, duration, bytes,
 * flags. Nothing that a peer sends reaches the terminal as a command: control characters, invalid bytes and
 * characters that turn the direction of text are written as escapes.
 *
 * One struct belongs to one thread. No allocation.
 */
#ifndef CLV_EXPORT_TEXT_H
#define CLV_EXPORT_TEXT_H

#include <time.h>

#include "model/flow_record.h"
#include "model/span.h"

enum clv_color { CLV_COLOR_AUTO, CLV_COLOR_ALWAYS, CLV_COLOR_NEVER };

struct clv_text {
	bool color;
	bool started;   /* the header line is out */
	unsigned width; /* of the terminal; 0: not a terminal, nothing is shortened */
	unsigned pair;  /* of the client -> server column; grows with what it has to hold */
	time_t second;  /* the one that `clock` says */
	char clock[16]; /* HH:MM:SS */
};

/* For output to `fd`. auto: colours on a terminal, unless NO_COLOR is set or TERM is dumb. */
void clv_text_init(struct clv_text *t, int fd, enum clv_color color);

/*
 * Instead of the header before the first line: writes it into `out` of CLV_TEXT_HEADER bytes and returns its length.
 * Lines that are written from here on have none.
 */
#define CLV_TEXT_HEADER (24u << 10)
size_t clv_text_header(struct clv_text *t, char out[CLV_TEXT_HEADER]);

/* The terminal's width may have changed. */
void clv_text_resize(struct clv_text *t, int fd);

/* No line of this span (with the header before the first one) is longer. */
size_t clv_text_bound(const struct clv_text *t, const struct clv_span *span);
/* Writes the line, with its newline, into `out` of clv_text_bound() bytes. Returns its length. */
size_t clv_text_write(struct clv_text *t, const struct clv_span *span, char *out);

/* Likewise of a connection record: <tcp> or <udp> stands where a request has its method. */
size_t clv_text_flow_bound(const struct clv_flow_record *r);
size_t clv_text_flow(struct clv_text *t, const struct clv_flow_record *r, char *out);

/* Writes `ns` like 812us, 1.23ms, 45.6s into `out`; returns its length (at most 8 for less than a day). */
#define CLV_TEXT_DURATION 24
size_t clv_text_duration(char out[CLV_TEXT_DURATION], uint64_t ns);
/* Writes a count of bytes like 0, 612, 1.2k, 10.5M. */
size_t clv_text_bytes(char out[CLV_TEXT_DURATION], uint64_t bytes);

#endif
