/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113), and gRPC on it: what is kept of a message beside its head.
 *
 * A head is reported as text, as HTTP/1 would have it, whatever it was on the wire:
 *	METHOD SP target SP "HTTP/2.0" CRLF *( name ": " value CRLF ) CRLF
 *	"HTTP/2.0" SP status CRLF *( name ": " value CRLF ) CRLF
 * :authority stands there as host; names are lower case. What is not known is not there.
 */
#ifndef CLV_PROTO_HTTP2_H
#define CLV_PROTO_HTTP2_H

#include "proto/http1.h"

enum clv_http2_kind {
	CLV_HTTP2_PLAIN,
	CLV_HTTP2_GRPC,          /* content-type application/grpc, +anything */
	CLV_HTTP2_GRPC_WEB,      /* application/grpc-web, +anything: the trailers are in the body */
	CLV_HTTP2_GRPC_WEB_TEXT, /* application/grpc-web-text: the same in base64, which nobody reads */
};

enum clv_http2_flag {
	CLV_HTTP2_RESET = 1 << 0,           /* ended by RST_STREAM */
	CLV_HTTP2_RESET_BY_CLIENT = 1 << 1, /* that the client sent */
	CLV_HTTP2_REFUSED = 1 << 2,         /* GOAWAY said that it will not be looked at */
	CLV_HTTP2_CUT = 1 << 3,             /* part of the body was not seen: sizes and counts are not known */
	CLV_HTTP2_STATUS = 1 << 4,          /* grpc_status is there */
	CLV_HTTP2_SCHEME = 1 << 5,          /* :scheme is there */
	CLV_HTTP2_HTTPS = 1 << 6,           /* and is https */
};

/* What is said of both directions of an exchange. */
struct clv_http2_facts {
	struct clv_http1_facts http;
	uint32_t messages;   /* gRPC messages that began */
	uint64_t bytes;      /* in them, without their prefixes */
	uint64_t timeout_ns; /* requests: grpc-timeout; 0: none */
	uint32_t reset;      /* error code of RST_STREAM */
	uint8_t kind;        /* enum clv_http2_kind */
	uint8_t flags;       /* enum clv_http2_flag */
	uint8_t grpc_status; /* responses; UINT8_MAX: one that gRPC does not have */
};

extern const struct clv_proto clv_http2;

/* clv_proto.describe (http2_span.c). */
void clv_http2_describe(const struct clv_pair *pair, struct clv_span *span);

/* The gRPC side of it (grpc_span.c): after what HTTP says. */
void clv_grpc_describe(const struct clv_pair *pair, struct clv_span *span);

#endif
