/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a collector's answer means: OTLP's rules of success, partial success and retry (opentelemetry-proto,
 * docs/specification.md; gRPC: grpc/doc/PROTOCOL-HTTP2.md, http-grpc-status-mapping.md). Answers are hostile: each is
 * bounded, and what is no OTLP means nothing beyond its status.
 *
 * Pure functions; any thread.
 */
#ifndef CLV_EXPORT_OTLP_ANSWER_H
#define CLV_EXPORT_OTLP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* What is kept of an answer's body; beyond that it is read and forgotten, up to CLV_OTLP_ANSWER_MAX. */
#define CLV_OTLP_ANSWER_KEPT (64u << 10)
#define CLV_OTLP_ANSWER_MAX  (4u << 20)
/* What of a collector's message is shown. */
#define CLV_OTLP_MESSAGE 200
/* The longest wait that a collector can ask for. */
#define CLV_OTLP_WAIT_MAX_NS (300ull * 1000000000)

/* Fields of an answer's head or trailers that matter. */
struct clv_otlp_fields {
	int grpc_status; /* -1: none */
	bool has_grpc_message;
	char grpc_message[CLV_OTLP_MESSAGE];
	uint8_t details[1024]; /* grpc-status-details-bin, decoded: google.rpc.Status */
	size_t details_len;
	bool has_retry_after;
	uint64_t retry_after_ns;
	bool json;     /* content-type: application/json */
	bool protobuf; /* application/x-protobuf or application/grpc */
};

enum clv_otlp_verdict {
	CLV_OTLP_DELIVERED, /* rejected of them excepted */
	CLV_OTLP_RETRY,
	CLV_OTLP_REFUSED, /* never to be sent again */
};

struct clv_otlp_answer {
	enum clv_otlp_verdict verdict;
	uint64_t rejected;              /* of partial success; not bounded by what was sent */
	uint64_t wait_ns;               /* with RETRY: what the collector asked for; 0: nothing */
	bool strange;                   /* delivered, but the body was no answer of OTLP */
	char message[CLV_OTLP_MESSAGE]; /* for people: what the collector said, or which status */
};

/* One line of an answer's head or trailers. `now_s`: Unix time, for a date in Retry-After. */
void clv_otlp_field(struct clv_otlp_fields *f, struct clv_slice line, int64_t now_s);

/* HTTP: `status` and `body` (its first CLV_OTLP_ANSWER_KEPT bytes; `whole`: there was no more). */
void clv_otlp_answer_http(const struct clv_otlp_fields *f, long status, struct clv_slice body, bool whole,
			  struct clv_otlp_answer *a);
/* gRPC: likewise; `status` is HTTP's. */
void clv_otlp_answer_grpc(const struct clv_otlp_fields *f, long status, struct clv_slice body, bool whole,
			  struct clv_otlp_answer *a);

/* Text from outside for a log line: printable ASCII, cut, NUL at the end. */
void clv_otlp_printable(char *out, size_t size, struct clv_slice text);

#endif
