/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's own struct, shared within engine/ only. */
#ifndef CLV_ENGINE_INTERNAL_H
#define CLV_ENGINE_INTERNAL_H

#include "engine/engine.h"
#include "flow/table.h"
#include "model/common.h"
#include "proto/proto.h"
#include "trace/exchange.h"

/* So many packets back clv_engine_expect() remembers. */
#define CLV_AHEAD 8

struct clv_conn;
struct clv_half;

/*
 * The parser's sink (conn.c). Lives for a call of the parser, or for several; knows where the slice it was given stands
 * in the stream.
 */
struct clv_conn_sink {
	struct clv_sink base;
	struct clv_conn *c;
	struct clv_half *h;           /* the direction's that speaks */
	const struct clv_mark *first; /* of the slice's first byte, when it is not the tail */
	bool spoke;                   /* something was reported */
};

struct clv_engine {
	struct clv_engine_config config;
	struct clv_mem mem;
	struct clv_exchange_pool exchanges; /* of all connections */
	struct clv_flows flows;
	struct clv_engine_stats stats;
	struct clv_stream_user streams; /* of all flows */
	uint64_t now_ns;                /* newest packet or tick */
	uint64_t due_ns;                /* before this nothing is to happen by itself */
	struct clv_flow *busy;          /* being worked on: not to be evicted */
	struct clv_conn_sink
		sink; /* of the usual packet being worked on: its parser calls nothing that leads to another's */
	struct clv_report report; /* of the span being made */
	struct clv_span span;
	char *overflow;
	struct clv_commons commons;
	struct {
		struct clv_expected {
			uint32_t hash;  /* of its flow */
			uint32_t place; /* where that was found, once it was looked for */
			bool speaks;    /* not a mere acknowledgement: the conn will hear of it */
		} last[CLV_AHEAD];
		uint32_t count;
	} ahead;
};

/* A block under the budget; evicts least recently used flows to make room. NULL only when nothing helps. */
void *clv_engine_alloc(struct clv_engine *e, size_t size);

/* conn.c: whom parsers tell. */
extern const struct clv_sink clv_conn_sink_base;

/* Something is to happen at this time, unless it is put off. */
void clv_engine_due(struct clv_engine *e, uint64_t ns);
/* The flow's connection is over; it lingers. */
void clv_engine_close(struct clv_engine *e, struct clv_flow *f);

/* A flow that lingered was removed: what the next ones will need for that is fetched (ahead.c). */
void clv_engine_expect_end(const struct clv_engine *e);

/* Does the configuration want requests to `server`, made by the observed endpoint (`client_side`) or to it? */
bool clv_engine_wants(const struct clv_engine *e, uint32_t net, const struct clv_endpoint *server, bool client_side);
/* The protocol that a --port rule names for this server port, or NULL. */
const struct clv_proto *clv_engine_forced(const struct clv_engine *e, uint16_t port);

#endif
