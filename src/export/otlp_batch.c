/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts requests together. Owns the buffers that it builds in; never sends, never encodes a span. What the records
 * hold may come from a file: lengths are checked. The exporter's thread.
 */
#include "export/otlp_batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/hash.h"
#include "export/otlp_encode.h"

#define GRPC_FRAME 5u
/* Fast; a request shrinks to an eighth, and the next levels gain a tenth for twice the time. */
#define GZIP_LEVEL 1
/* deflateInit2(): the largest window, with gzip's head and trailer. */
#define GZIP_WINDOW (15 + 16)
#define NONE        UINT32_MAX

struct batch_group {
	struct clv_slice resource;
	uint64_t hash;
	uint32_t first, last; /* spans */
};

struct batch_span {
	struct clv_slice data;
	uint32_t next; /* of the same group */
};

struct clv_otlp_batch {
	char *in;
	size_t in_len, in_cap;
	char *out;
	size_t out_cap;
	struct batch_group *group;
	struct batch_span *span;
	size_t groups, group_cap, spans, span_cap;
	size_t bound;
	struct {
		uint32_t id, group;
	} slot[CLV_OTLP_SLOTS];
};

int clv_otlp_batch_new(struct clv_otlp_batch **out)
{
	struct clv_otlp_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*out = b;
	return 0;
}

void clv_otlp_batch_free(struct clv_otlp_batch *b)
{
	if (!b)
		return;
	free(b->in);
	free(b->out);
	free(b->group);
	free(b->span);
	free(b);
}

void clv_otlp_batch_clear(struct clv_otlp_batch *b)
{
	b->in_len = 0;
}

size_t clv_otlp_batch_bytes(const struct clv_otlp_batch *b)
{
	return b->in_len;
}

/* Room for `count` items of `size` bytes; grows by half and more. */
static int batch_grow(void *array, size_t *cap, size_t count, size_t size)
{
	void **at = array;

	if (count <= *cap)
		return 0;
	size_t wanted = count + count / 2 + 16;
	void *p = realloc(*at, wanted * size);
	if (!p)
		return -ENOMEM;
	*at = p;
	*cap = wanted;
	return 0;
}

int clv_otlp_batch_add(struct clv_otlp_batch *b, struct clv_slice chunk)
{
	int err = batch_grow(&b->in, &b->in_cap, b->in_len + chunk.len, 1);

	if (err)
		return err;
	memcpy(b->in + b->in_len, chunk.data, chunk.len);
	b->in_len += chunk.len;
	return 0;
}

/* The group of a resource; resources are the same when their bytes are. */
static int batch_resource(struct clv_otlp_batch *b, uint32_t id, struct clv_slice resource)
{
	uint64_t hash = clv_hash(resource.data, resource.len, 0);
	uint32_t g = 0;

	while (g < b->groups && !(b->group[g].hash == hash && clv_slice_eq(b->group[g].resource, resource)))
		g++;
	if (g == b->groups) {
		int err = batch_grow(&b->group, &b->group_cap, b->groups + 1, sizeof(*b->group));

		if (err)
			return err;
		b->group[b->groups++] =
			(struct batch_group){.resource = resource, .hash = hash, .first = NONE, .last = NONE};
		b->bound += resource.len + CLV_OTLP_GROUP_BYTES;
	}
	b->slot[id % CLV_OTLP_SLOTS].id = id;
	b->slot[id % CLV_OTLP_SLOTS].group = g;
	return 0;
}

static int batch_span(struct clv_otlp_batch *b, uint32_t id, struct clv_slice data)
{
	if (b->slot[id % CLV_OTLP_SLOTS].id != id)
		return 0; /* not from us: its resource is missing */
	int err = batch_grow(&b->span, &b->span_cap, b->spans + 1, sizeof(*b->span));
	if (err)
		return err;
	struct batch_group *g = &b->group[b->slot[id % CLV_OTLP_SLOTS].group];
	uint32_t i = (uint32_t)b->spans++;
	b->span[i] = (struct batch_span){.data = data, .next = NONE};
	if (g->first == NONE)
		g->first = i;
	else
		b->span[g->last].next = i;
	g->last = i;
	b->bound += data.len + CLV_OTLP_SPAN_BYTES;
	return 0;
}

static int batch_sort(struct clv_otlp_batch *b)
{
	struct clv_slice rest = clv_slice(b->in, b->in_len), data;
	struct clv_otlp_record r;
	int err = 0;

	b->groups = b->spans = b->bound = 0;
	memset(b->slot, 0, sizeof(b->slot)); /* no id is 0 */
	while (!err && clv_otlp_record_next(&rest, &r, &data)) {
		if (r.type == CLV_OTLP_RECORD_RESOURCE && r.resource)
			err = batch_resource(b, r.resource, data);
		else if (r.type == CLV_OTLP_RECORD_SPAN && r.resource)
			err = batch_span(b, r.resource, data);
	}
	return err;
}

int clv_otlp_batch_build(struct clv_otlp_batch *b, struct clv_slice *message, uint32_t *spans)
{
	int err = batch_sort(b);

	if (!err)
		err = batch_grow(&b->out, &b->out_cap, b->bound, 1);
	if (err)
		return err;
	char *out = b->out;
	for (size_t i = 0; i < b->groups; i++) {
		struct clv_otlp_group group;

		if (b->group[i].first == NONE)
			continue;
		out = clv_otlp_group_begin(&group, out, b->group[i].resource);
		for (uint32_t s = b->group[i].first; s != NONE; s = b->span[s].next)
			out = clv_otlp_group_span(out, b->span[s].data);
		out = clv_otlp_group_end(&group, out);
	}
	*message = clv_slice(b->out, (size_t)(out - b->out));
	*spans = (uint32_t)b->spans;
	return 0;
}

/* ---- packing --------------------------------------------------------------------------------------------- */

/* Into `out`, after `skip` bytes that are left free. */
static int pack_gzip(struct clv_slice in, size_t skip, char **out, size_t *len)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.len};

	if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	size_t bound = deflateBound(&z, in.len);
	char *p = malloc(skip + bound);
	if (p) {
		z.next_out = (Bytef *)p + skip;
		z.avail_out = (uInt)bound;
		deflate(&z, Z_FINISH);
	}
	deflateEnd(&z);
	if (!p)
		return -ENOMEM;
	*out = p;
	*len = skip + z.total_out;
	char *smaller = realloc(p, *len);
	if (smaller)
		*out = smaller;
	return 0;
}

static int pack_plain(struct clv_slice in, size_t skip, char **out, size_t *len)
{
	char *p = malloc(skip + in.len + 1);

	if (!p)
		return -ENOMEM;
	if (in.len)
		memcpy(p + skip, in.data, in.len);
	*out = p;
	*len = skip + in.len;
	return 0;
}

int clv_otlp_pack(const struct clv_otlp_config *config, enum clv_export_signal signal, struct clv_slice message,
		  char **body, size_t *len)
{
	const struct clv_otlp_target *t = &config->target[signal];
	size_t skip = t->protocol == CLV_OTLP_GRPC ? GRPC_FRAME : 0;
	char *json = NULL;

	if (t->protocol == CLV_OTLP_HTTP_JSON) {
		size_t n;
		int err = config->json(message, signal, &json, &n);

		if (err)
			return err;
		message = clv_slice(json, n);
	}
	int err = t->gzip ? pack_gzip(message, skip, body, len) : pack_plain(message, skip, body, len);
	free(json);
	if (!err && skip) { /* compressed or not, and the length (PROTOCOL-HTTP2.md) */
		uint32_t n = htonl((uint32_t)(*len - skip));

		(*body)[0] = (char)t->gzip;
		memcpy(*body + 1, &n, sizeof(n));
	}
	return err;
}
