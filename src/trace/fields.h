/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header fields that were asked for by name (OpenTelemetry: http.request.header.NAME, http.response.header.NAME).
 * Nothing that is not listed is kept; of a field that carries credentials only that it was there.
 */
#ifndef CLV_TRACE_FIELDS_H
#define CLV_TRACE_FIELDS_H

#include "model/span.h"
#include "proto/proto.h"

/* Names for requests, and as many for responses. */
#define CLV_CAPTURE_NAMES 16
/* The longest of them. */
#define CLV_CAPTURE_NAME_BYTES 64u
/* What is kept of one response's fields until its span is made. */
#define CLV_CAPTURE_BYTES 16384u

struct clv_capture_name {
	char text[CLV_CAPTURE_NAME_BYTES]; /* lower case */
	uint8_t len;
	bool secret; /* its value is never told */
};

struct clv_capture_list {
	uint16_t count;
	struct clv_capture_name name[CLV_CAPTURE_NAMES];
};

/* Zeroed: nothing is captured. */
struct clv_capture {
	struct clv_capture_list request, response;
};

/*
 * Adds a field name, in any case; one that is in the list already changes nothing. Returns 0, -EINVAL when it is no
 * field name (RFC 9110 section 5.1), or -E2BIG when it is too long or the list is full.
 */
int clv_capture_add(struct clv_capture_list *list, const char *name);

/*
 * The listed fields of a head, in the order of the list, those of one name side by side, at most `room` of them. They
 * borrow from the list and the head. Returns how many; adds what found no room to *dropped.
 */
size_t clv_capture_gather(const struct clv_capture_list *list, const struct clv_proto *proto, struct clv_slice head,
			  bool response, struct clv_span_header *out, size_t room, uint64_t *dropped);

/* Bytes that clv_capture_pack() needs for so many of them as fit into CLV_CAPTURE_BYTES; *count becomes their number.
 */
size_t clv_capture_packed(const struct clv_span_header *h, size_t *count);
/* Copies them to `out`, for as long as neither head nor list lives. */
void clv_capture_pack(const struct clv_span_header *h, size_t count, uint8_t *out);
/* As gather, from what was packed. */
size_t clv_capture_unpack(struct clv_slice packed, struct clv_span_header *out, size_t room, uint64_t *dropped);

#endif
