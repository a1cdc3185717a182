/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis (RESP2 and RESP3): what is kept of a command, and of what it was answered with.
 */
#ifndef CLV_PROTO_REDIS_H
#define CLV_PROTO_REDIS_H

#include "proto/proto.h"

/* Commands that change what later bytes mean, or that an observer must read otherwise than by their answer. */
enum clv_redis_kind {
	CLV_REDIS_PLAIN,
	CLV_REDIS_SECRET, /* its arguments are credentials: none is kept */
	CLV_REDIS_CLIENT, /* CLIENT REPLY */
	CLV_REDIS_SELECT,
	CLV_REDIS_HELLO,
	CLV_REDIS_RESET,
	CLV_REDIS_MULTI,
	CLV_REDIS_EXEC,
	CLV_REDIS_DISCARD,
	CLV_REDIS_SUBSCRIBE,
	CLV_REDIS_UNSUBSCRIBE,
	CLV_REDIS_REPLICATE, /* SYNC, PSYNC */
	CLV_REDIS_REPLICA,   /* REPLCONF */
	CLV_REDIS_ANYTIME,   /* allowed of a RESP2 client that has subscribed: PING, QUIT */
};

enum clv_redis_command_flag {
	CLV_REDIS_KEY = 1 << 0,    /* its first argument is a key */
	CLV_REDIS_WORDS = 1 << 1,  /* its first argument belongs to its name: CLUSTER NODES */
	CLV_REDIS_SCRIPT = 1 << 2, /* its first argument names a script or a function */
};

/* A command on record (redis_commands.c). Names are upper case. */
struct clv_redis_command {
	struct clv_slice name;
	uint8_t kind;  /* enum clv_redis_kind */
	uint8_t flags; /* enum clv_redis_command_flag */
};

extern const struct clv_redis_command clv_redis_commands[];
extern const uint16_t clv_redis_command_count;

/* Its place in clv_redis_commands[], plus 1; 0: not on record. Any case. */
uint16_t clv_redis_find(struct clv_slice name);
/* What may be shown of a command that is not on record: letters first, then digits and ". _ -", and short. */
bool clv_redis_is_word(struct clv_slice word);

enum clv_redis_flag {
	CLV_REDIS_ERROR = 1 << 0,
	CLV_REDIS_NIL = 1 << 1,
	CLV_REDIS_QUEUED = 1 << 2,
	CLV_REDIS_OK = 1 << 3,
	CLV_REDIS_BATCH = 1 << 4, /* `batch` is known */
};

/* Facts of a request or a response. */
struct clv_redis_facts {
	uint64_t bytes; /* of the message, on the wire; 0: its end was not seen */
	/* Requests: */
	uint32_t index;   /* counts those that are answered */
	uint32_t epoch;   /* counts the gaps before it */
	uint32_t words;   /* the name and its arguments */
	int32_t number;   /* of SELECT: the database; -1: none that can be read */
	uint16_t name_at; /* into the head */
	uint16_t arg_at;
	uint8_t name_len;
	uint8_t arg_len;  /* of the first argument; 0: there is none, or it is too long to be kept */
	uint16_t command; /* as clv_redis_find() */
	/* Responses: */
	int32_t db;     /* the database that the command worked on; -1: not known */
	uint32_t batch; /* EXEC: the commands that were queued */
	uint8_t type;   /* the first byte; 0 in requests */
	uint8_t flags;  /* enum clv_redis_flag */
};

/* On record under that number, or NULL. */
static inline const struct clv_redis_command *clv_redis_command(uint16_t number)
{
	return number ? &clv_redis_commands[number - 1] : NULL;
}

extern const struct clv_proto clv_redis;

/* clv_proto.describe (redis_span.c). */
void clv_redis_describe(const struct clv_pair *pair, struct clv_span *span);

#endif
