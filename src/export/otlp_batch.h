/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records to requests. A record is an encoded span or an encoded resource; each resource stands before the first
 * span that names it, in the queue as in a chunk, and holds until another record takes its slot. So chunks, one after
 * the other, are a sequence of records as well, also when they come from different runs.
 *
 * The exporter's thread.
 */
#ifndef CLV_EXPORT_OTLP_BATCH_H
#define CLV_EXPORT_OTLP_BATCH_H

#include "export/otlp_config.h"

enum clv_otlp_record_type { CLV_OTLP_RECORD_RESOURCE = 1, CLV_OTLP_RECORD_SPAN = 2 };

struct clv_otlp_record {
	uint32_t len; /* of what follows */
	uint16_t type;
	uint16_t zero;
	uint32_t resource;
};

/* The first record of `s`, which becomes the rest. False: there is none, or it is cut. */
static inline bool clv_otlp_record_next(struct clv_slice *s, struct clv_otlp_record *r, struct clv_slice *data)
{
	if (s->len < sizeof(*r))
		return false;
	memcpy(r, s->data, sizeof(*r));
	if (r->len > s->len - sizeof(*r))
		return false;
	*data = clv_slice(s->data + sizeof(*r), r->len);
	*s = clv_slice(s->data + sizeof(*r) + r->len, s->len - sizeof(*r) - r->len);
	return true;
}

struct clv_otlp_batch;

/* Returns 0 or -ENOMEM. */
int clv_otlp_batch_new(struct clv_otlp_batch **out);
void clv_otlp_batch_free(struct clv_otlp_batch *b);

void clv_otlp_batch_clear(struct clv_otlp_batch *b);
/* Bytes added so far. */
size_t clv_otlp_batch_bytes(const struct clv_otlp_batch *b);
/* Adds a chunk, copied. Returns 0 or -ENOMEM. */
int clv_otlp_batch_add(struct clv_otlp_batch *b, struct clv_slice chunk);
/*
 * The ExportTraceServiceRequest with all of it, one ResourceSpans for each resource; borrowed until the next call.
 * *spans: how many are in it. Returns 0 or -ENOMEM.
 */
int clv_otlp_batch_build(struct clv_otlp_batch *b, struct clv_slice *message, uint32_t *spans);

/*
 * A message as the target wants it: JSON, compressed, in a frame of gRPC. *body is freed with free(). Returns 0,
 * -ENOMEM or what config->json said.
 */
int clv_otlp_pack(const struct clv_otlp_config *config, enum clv_export_signal signal, struct clv_slice message,
		  char **body, size_t *len);

#endif
