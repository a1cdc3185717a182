/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Memcached text protocol (memcached's doc/protocol.txt): what memcached.c, span.c and talk.c share. Written with
 * clovisor/proto.h alone.
 */
#ifndef MEMCACHED_H
#define MEMCACHED_H

#include <clovisor/proto.h>

/* The longest line: a get of many keys. The server itself takes 2048 bytes of any other. */
#define MEMCACHED_LINE_BYTES (32u * 1024u)
#define MEMCACHED_KEY_BYTES  250u

/* X(IDENTIFIER, "name", how its line goes on). */
#define MEMCACHED_COMMANDS(X)                      \
	X(SET, "set", STORE)                       \
	X(ADD, "add", STORE)                       \
	X(REPLACE, "replace", STORE)               \
	X(APPEND, "append", STORE)                 \
	X(PREPEND, "prepend", STORE)               \
	X(CAS, "cas", STORE)                       \
	X(GET, "get", KEYS)                        \
	X(GETS, "gets", KEYS)                      \
	X(GAT, "gat", TIME_KEYS)                   \
	X(GATS, "gats", TIME_KEYS)                 \
	X(DELETE, "delete", KEY)                   \
	X(INCR, "incr", KEY_NUMBER)                \
	X(DECR, "decr", KEY_NUMBER)                \
	X(TOUCH, "touch", KEY_NUMBER)              \
	X(MG, "mg", META)                          \
	X(MS, "ms", META)                          \
	X(MD, "md", META)                          \
	X(MA, "ma", META)                          \
	X(ME, "me", META)                          \
	X(MN, "mn", WORDS)                         \
	X(STATS, "stats", WORDS)                   \
	X(FLUSH_ALL, "flush_all", WORDS)           \
	X(VERSION, "version", WORDS)               \
	X(VERBOSITY, "verbosity", WORDS)           \
	X(CACHE_MEMLIMIT, "cache_memlimit", WORDS) \
	X(SLABS, "slabs", WORDS)                   \
	X(LRU, "lru", WORDS)                       \
	X(LRU_CRAWLER, "lru_crawler", WORDS)       \
	X(WATCH, "watch", WORDS)                   \
	X(SHUTDOWN, "shutdown", WORDS)             \
	X(QUIT, "quit", WORDS)

enum memcached_command {
	MEMCACHED_OTHER,
#define X(id, name, form) MEMCACHED_##id,
	MEMCACHED_COMMANDS(X)
#undef X
		MEMCACHED_COMMAND_COUNT
};

/*
 * What an answer begins with: X(IDENTIFIER, "word", what follows, is it an answer by itself that nothing else's middle
 * looks like).
 */
#define MEMCACHED_ANSWERS(X)                        \
	X(STORED, "STORED", LINE, true)             \
	X(NOT_STORED, "NOT_STORED", LINE, true)     \
	X(EXISTS, "EXISTS", LINE, true)             \
	X(NOT_FOUND, "NOT_FOUND", LINE, true)       \
	X(DELETED, "DELETED", LINE, true)           \
	X(TOUCHED, "TOUCHED", LINE, true)           \
	X(OK, "OK", LINE, true)                     \
	X(RESET, "RESET", LINE, true)               \
	X(BUSY, "BUSY", TEXT, true)                 \
	X(BADCLASS, "BADCLASS", TEXT, true)         \
	X(NOSPARE, "NOSPARE", TEXT, true)           \
	X(NOTFULL, "NOTFULL", TEXT, true)           \
	X(UNSAFE, "UNSAFE", TEXT, true)             \
	X(SAME, "SAME", TEXT, true)                 \
	X(IS_VERSION, "VERSION", TEXT, true)        \
	X(ERROR, "ERROR", TEXT, true)               \
	X(CLIENT_ERROR, "CLIENT_ERROR", TEXT, true) \
	X(SERVER_ERROR, "SERVER_ERROR", TEXT, true) \
	X(HD, "HD", TEXT, true)                     \
	X(EN, "EN", LINE, true)                     \
	X(NF, "NF", TEXT, true)                     \
	X(NS, "NS", TEXT, true)                     \
	X(EX, "EX", TEXT, true)                     \
	X(IS_MN, "MN", LINE, true)                  \
	X(IS_ME, "ME", TEXT, true)                  \
	X(VA, "VA", DATA, true)                     \
	X(END, "END", LINE, false)                  \
	X(VALUE, "VALUE", LIST, false)              \
	X(STAT, "STAT", LIST, false)                \
	X(ITEM, "ITEM", LIST, false)                \
	X(PREFIX, "PREFIX", LIST, false)

enum memcached_answer {
	MEMCACHED_NONE,
#define X(id, word, follows, alone) MEMCACHED_##id,
	MEMCACHED_ANSWERS(X)
#undef X
		MEMCACHED_NUMBER, /* incr, decr */
	MEMCACHED_DUMP,           /* key=...: lru_crawler metadump; a list */
};

/* Facts of a request and of an answer alike. */
struct memcached_facts {
	uint16_t key_at, key_len; /* of the first key, or of what a command is about (stats items); in the head */
	uint16_t keys;            /* how many; at most UINT16_MAX are counted */
	uint8_t command;          /* enum memcached_command */
	uint8_t answer;           /* enum memcached_answer: how it began */
	uint8_t ended;            /* enum memcached_answer: a list, how it ended; 0 while it has not */
	bool noreply;
	uint16_t hits; /* an answer: items in it, likewise */
};

/* As it is on the wire; "_OTHER" for what is none. */
struct clv_slice memcached_command_name(enum memcached_command command);

/* clv_proto.describe (span.c). */
void memcached_describe(const struct clv_pair *pair, struct clv_span *span);

extern const struct clv_proto memcached_proto;
extern const struct clv_talk_source memcached_talk; /* talk.c */
extern const struct clv_host *memcached_host;

#endif
