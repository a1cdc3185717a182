/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): what is kept of a head beside its bytes.
 */
#ifndef CLV_PROTO_HTTP1_H
#define CLV_PROTO_HTTP1_H

#include "proto/proto.h"

/* A part of the head: `len` bytes at offset `at`; empty when absent. Two bytes each reach all of CLV_HEAD_BYTES. */
struct clv_http1_field {
	uint16_t at, len;
};

enum clv_http1_flag {
	CLV_HTTP1_HEAD = 1 << 0,       /* the method is HEAD: its response has no body */
	CLV_HTTP1_CONNECT = 1 << 1,    /* the method is CONNECT: a 2xx opens a tunnel */
	CLV_HTTP1_UPGRADE = 1 << 2,    /* there is an Upgrade header: a 101 ends HTTP/1 here */
	CLV_HTTP1_CONFLICT = 1 << 3,   /* what says where the body ends contradicts itself */
	CLV_HTTP1_CONTEXT = 1 << 4,    /* there are fields that may carry trace context */
	CLV_HTTP1_NO_VERSION = 1 << 5, /* the request line names no version that can be read */
	CLV_HTTP1_WEBSOCKET = 1 << 6,  /* Upgrade is "websocket" (RFC 6455 section 4.1) */
	CLV_HTTP1_H2C = 1 << 7,        /* Upgrade is, or offers, "h2c" (RFC 7540 section 3.2) */
};

/*
 * Facts of a request or response, those of its start line first (CLV_HTTP1_LINE_BYTES). Fields are those of requests; a
 * header that occurs twice counts once, the first.
 */
struct clv_http1_facts {
	struct clv_http1_field target;
	uint16_t method_len; /* the method begins at 0; 0 in a response */
	uint16_t status;     /* 100..999; 0 in a request */
	uint8_t minor;       /* HTTP/1.minor */
	uint8_t method;      /* enum clv_http1_method */

	uint8_t flags;    /* enum clv_http1_flag */
	uint8_t unfolded; /* no field goes on in another line; 0: that was not looked at */
	/* Where the value of traceparent is, if it is known that no other field carries trace context; 0: it is not. */
	uint16_t traceparent;
	struct clv_http1_field host;
	struct clv_http1_field user_agent;
	struct clv_http1_field forwarded;
	struct clv_http1_field forwarded_for;  /* X-Forwarded-For */
	struct clv_http1_field forwarded_host; /* X-Forwarded-Host */
};

#define CLV_HTTP1_LINE_BYTES offsetof(struct clv_http1_facts, flags)
/* Of the value of traceparent, where facts say where it is. */
#define CLV_HTTP1_TRACEPARENT_BYTES 55u

/* What OpenTelemetry calls known: RFC 9110, PATCH, QUERY. Case-sensitive. */
#define CLV_HTTP1_METHODS(X) X(GET) X(POST) X(PUT) X(DELETE) X(HEAD) X(OPTIONS) X(CONNECT) X(PATCH) X(TRACE) X(QUERY)

enum clv_http1_method {
	CLV_HTTP1_OTHER,
#define X(name) CLV_HTTP1_METHOD_##name,
	CLV_HTTP1_METHODS(X)
#undef X
};

/* As http.request.method has it: "_OTHER" for CLV_HTTP1_OTHER. */
extern const struct clv_slice clv_http1_known[];

static inline struct clv_slice clv_http1_method_name(enum clv_http1_method method)
{
	return clv_http1_known[method];
}

extern const struct clv_proto clv_http1;

/*
 * For other versions of HTTP, whose heads are written down as this one's. The method, and what it means for the answer;
 * what is kept of the field line head[at..end), without its line end; clv_proto.fields.
 */
void clv_http1_set_method(struct clv_http1_facts *f, struct clv_slice method);
void clv_http1_note_field(struct clv_http1_facts *f, const uint8_t *head, size_t at, size_t end);
void clv_http1_fields(struct clv_slice head, clv_field_fn fn, void *ctx);

/* clv_proto.describe (http1_span.c). */
void clv_http1_describe(const struct clv_pair *pair, struct clv_span *span);

/* What the versions of HTTP say differently. */
struct clv_http_form {
	struct clv_slice version; /* as network.protocol.version has it; empty: not known */
	struct clv_slice scheme;
	bool partial;          /* parts of the request may be unknown: what is not there is left out */
	bool sizes_unknown[2]; /* by enum clv_dir: not all of that body was seen */
};

/* For any of them: the facts of request and response begin with struct clv_http1_facts. */
void clv_http_describe(const struct clv_pair *pair, const struct clv_http_form *form, struct clv_span *span);

#endif
