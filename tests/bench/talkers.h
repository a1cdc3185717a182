/* SPDX-License-Identifier: Apache-2.0 */
/* What clients and servers of a made capture say to each other: mkcapture.c puts it into packets. */
#ifndef CLVT_BENCH_TALKERS_H
#define CLVT_BENCH_TALKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TALK_BYTES = 1400 }; /* a message is one segment */

/* One exchange of one connection. */
struct talk {
	uint64_t random;     /* chosen for this exchange, the same for request and response */
	unsigned connection; /* counted from 0 */
	unsigned exchange;   /* of this connection, from 0 */
	bool last;           /* the connection ends behind it */
};

struct talker {
	const char *kind;
	uint16_t port;
	bool datagrams;          /* UDP: nothing before or behind the exchange */
	unsigned per_connection; /* exchanges of a connection; 0: until the capture is long enough */
	/* Each writes at most TALK_BYTES and returns how many. */
	size_t (*request)(const struct talk *t, uint8_t *out);
	size_t (*response)(const struct talk *t, uint8_t *out);
};

/* NULL: there is none of that kind. */
const struct talker *talker_find(const char *kind);
/* Their kinds, with commas. */
const char *talker_kinds(void);

#endif
