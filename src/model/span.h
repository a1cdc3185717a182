/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span: what exporters see. Built on the engine thread when an exchange ends, lent to the consumer for the
 * length of one call. String attributes borrow from the exchange or from the span's own scratch.
 */
#ifndef CLV_MODEL_SPAN_H
#define CLV_MODEL_SPAN_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"
#include "model/attrs.h"
#include "model/resource.h"

enum clv_span_kind { CLV_KIND_SERVER, CLV_KIND_CLIENT };
enum clv_span_status { CLV_STATUS_UNSET, CLV_STATUS_ERROR };

/* What is known to be missing; also attributes of the same names. */
enum clv_span_flag {
	CLV_SPAN_TRUNCATED = 1 << 0,
	CLV_SPAN_GAP = 1 << 1,
	CLV_SPAN_MIDSTREAM = 1 << 2,
	CLV_SPAN_UNPAIRED = 1 << 3,
	CLV_SPAN_REUSED = 1 << 4, /* not the connection's first request */
};

enum clv_attr_type {
	CLV_TYPE_STRING,
	CLV_TYPE_INT,
	CLV_TYPE_BOOL,
	CLV_TYPE_STRINGS, /* an array: `s` holds its strings, each ended by a NUL byte */
};

struct clv_attr {
	uint16_t key;  /* enum clv_attr_key, or from CLV_ATTR_COUNT on one that clv_attr_key() gave */
	uint16_t type; /* enum clv_attr_type */
	union {
		/* Any bytes (in STRINGS: but NUL): exporters make valid text of them (json.h). Of INT and BOOL len is
		 * 0. */
		struct clv_slice s;
		int64_t i;
		bool b;
	};
};

#define CLV_SPAN_ATTRS 52
/* Of these, for who is at the other side: added last, by the node agent alone. */
#define CLV_SPAN_PEER_ATTRS 9
#define CLV_SPAN_SCRATCH    1024

/* What the request's own trace context says of sampling. */
enum clv_decision { CLV_UNDECIDED, CLV_NOT_SAMPLED, CLV_SAMPLED };

/* A header field that was asked for by --capture-header. */
struct clv_span_header {
	struct clv_slice name;  /* lower case; fields of one name stand side by side and make one attribute */
	struct clv_slice value; /* any bytes */
	bool response;          /* http.response.header.NAME, else http.request.header.NAME */
};
#define CLV_SPAN_HEADERS 32

struct clv_common; /* model/common.h */
struct clv_commons;

struct clv_span {
	uint8_t trace_id[16];
	uint8_t span_id[8];
	uint8_t parent_id[8];
	bool has_parent;
	bool remote;         /* the trace, mostly the parent too, is the application's own, from the request */
	uint8_t trace_flags; /* W3C trace-flags (sampled, random) as the request has them; 0 without */
	enum clv_decision parent_sampled;    /* CLV_UNDECIDED without a context, or when it leaves that open */
	struct clv_slice traceparent;        /* from describe(), if no other field has trace context; else empty */
	struct clv_slice tracestate;         /* as OTLP wants it: members joined by commas; empty: none, or not valid */
	uint32_t net;                        /* the place of capture, as clv_packet.net */
	const struct clv_resource *resource; /* whom it is about; set before it is exported */
	const char *protocol;                /* clv_proto.name; describe() may set another that lives as long (grpc) */
	enum clv_span_kind kind;
	uint8_t transport; /* enum clv_transport */
	bool side_known;   /* false: a capture file that does not tell; kind is SERVER then */
	enum clv_span_status status;
	uint32_t flags; /* enum clv_span_flag */
	struct clv_slice name;
	uint64_t start_ns, end_ns;          /* Unix time: first request byte, last response byte (or last byte known) */
	uint64_t first_ns;                  /* first response byte; 0: none */
	struct clv_endpoint client, server; /* as on the wire */
	uint64_t bytes;                     /* request and response bodies together, as far as seen */

	/* Common to all protocols, set by describe() for text output and filters. */
	struct clv_slice method, target, result;
	int status_code; /* 0: none; the protocol's own number */

	/*
	 * What spans have in common (common.h): where it is kept, NULL for nowhere; and which of it stands among the
	 * attributes, from common_at on. NULL: none, or whoever changed one of these has said so.
	 */
	struct clv_commons *commons;
	struct clv_common *common;
	const struct clv_attr *common_at;
	uint16_t header_count, attr_count;
	uint16_t attrs_dropped; /* that a plugin's describe() wanted, and that had no room or no valid name */
	struct clv_attr attr[CLV_SPAN_ATTRS];
	struct clv_span_header header[CLV_SPAN_HEADERS];
	uint16_t scratch_used;
	char *overflow; /* for strings longer than scratch: CLV_SPAN_OVERFLOW bytes, owned by the engine */
	uint32_t overflow_used;
	char scratch[CLV_SPAN_SCRATCH];
};

/* Room for composed strings of one span (url.full): twice the largest head, plus addresses. */
#define CLV_SPAN_OVERFLOW (160u * 1024u)

static inline void clv_attr_set(struct clv_attr *a, enum clv_attr_key key, enum clv_attr_type type,
				struct clv_slice value)
{
	a->key = (uint16_t)key;
	a->type = (uint16_t)type;
	a->s = value;
}

/* Adds an attribute; past CLV_SPAN_ATTRS is a bug (assert). The slice must live as long as the span. */
static inline struct clv_attr *clv_span_add(struct clv_span *s, enum clv_attr_key key, enum clv_attr_type type,
					    struct clv_slice value)
{
	assert(s->attr_count < CLV_SPAN_ATTRS);
	struct clv_attr *a = &s->attr[s->attr_count++];

	clv_attr_set(a, key, type, value);
	return a;
}

static inline void clv_span_str(struct clv_span *s, enum clv_attr_key key, struct clv_slice value)
{
	clv_span_add(s, key, CLV_TYPE_STRING, value);
}

static inline void clv_span_int(struct clv_span *s, enum clv_attr_key key, int64_t value)
{
	clv_span_add(s, key, CLV_TYPE_INT, clv_slice(NULL, 0))->i = value;
}

static inline void clv_span_bool(struct clv_span *s, enum clv_attr_key key, bool value)
{
	clv_span_add(s, key, CLV_TYPE_BOOL, clv_slice(NULL, 0))->b = value;
}

/*
 * The same for who adds many, and wants to find the place for each only once: room for `most`, which clv_attrs_str()
 * and its kin fill, each giving the place behind it, and clv_span_end() closes. Meanwhile nothing else is added.
 */
static inline struct clv_attr *clv_span_begin(struct clv_span *s, unsigned most)
{
	assert(s->attr_count + most <= CLV_SPAN_ATTRS);
	return &s->attr[s->attr_count];
}

static inline void clv_span_end(struct clv_span *s, const struct clv_attr *at)
{
	s->attr_count = (uint16_t)(at - s->attr);
}

static inline struct clv_attr *clv_attrs_str(struct clv_attr *at, enum clv_attr_key key, struct clv_slice value)
{
	clv_attr_set(at, key, CLV_TYPE_STRING, value);
	return at + 1;
}

static inline struct clv_attr *clv_attrs_int(struct clv_attr *at, enum clv_attr_key key, int64_t value)
{
	clv_attr_set(at, key, CLV_TYPE_INT, clv_slice(NULL, 0));
	at->i = value;
	return at + 1;
}

static inline struct clv_attr *clv_attrs_bool(struct clv_attr *at, enum clv_attr_key key, bool value)
{
	clv_attr_set(at, key, CLV_TYPE_BOOL, clv_slice(NULL, 0));
	at->b = value;
	return at + 1;
}

/* `value` as CLV_TYPE_STRINGS wants it; empty: an empty array. */
static inline void clv_span_strs(struct clv_span *s, enum clv_attr_key key, struct clv_slice value)
{
	assert(!value.len || !value.data[value.len - 1]);
	clv_span_add(s, key, CLV_TYPE_STRINGS, value);
}

/* Borrowed attribute, or NULL. */
const struct clv_attr *clv_span_get(const struct clv_span *s, enum clv_attr_key key);

/* The same where the scratch is full. */
char *clv_span_overflow(struct clv_span *s, size_t len);

/* `len` bytes that live as long as the span, contents undefined; NULL when there is no room left. */
static inline char *clv_span_scratch(struct clv_span *s, size_t len)
{
	char *p = s->scratch + s->scratch_used;

	if (len > sizeof(s->scratch) - s->scratch_used)
		return clv_span_overflow(s, len);
	s->scratch_used = (uint16_t)(s->scratch_used + len);
	return p;
}

/* What the engine calls for each finished span, in the order of their ends. The receiver sets its resource. */
typedef void (*clv_span_fn)(void *ctx, struct clv_span *span);

#endif
