/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser contract. A protocol is one file with one const struct clv_proto, listed in registry.c.
 *
 * A parser sees bytes in stream order and nothing else: no clock, no socket, no file, no allocation. It
 * reports messages to a sink and says how many bytes it used. The laws that every parser obeys are run by
 * tests/laws on every registered one:
 *   1. any split of the input into segments gives the same messages;
 *   2. losing any segment may lose pairs, but never pairs the wrong two;
 *   3. starting at any offset recovers at a later message;
 *   4. steady state allocates nothing;
 *   5. no byte outside the slice is read (every input sits against a guard page);
 *   6. memory per connection is bounded, whatever arrives.
 *
 * All calls for one connection come from one thread.
 */
#ifndef CLV_PROTO_PROTO_H
#define CLV_PROTO_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "model/msg.h"

struct clv_span;

enum clv_match {
	CLV_MATCH_NO,    /* these bytes are not this protocol, whatever follows */
	CLV_MATCH_MAYBE, /* more bytes may decide */
	CLV_MATCH_YES,
};

enum clv_fed_verdict {
	CLV_FED_OK,     /* `used` bytes consumed; call again with the rest, if any (see `skip`) */
	CLV_FED_MORE,   /* consumed `used`; the rest is the start of something that needs at least `need` bytes in
			   all (0: not known) before calling again makes sense */
	CLV_FED_BAD,    /* framing is lost at `used`: the engine treats what follows as after a gap of length 0 */
	CLV_FED_OPAQUE, /* from here on both directions are no longer this protocol's (tunnel, upgrade) */
};

/*
 * What feed() did. `skip`: after the `used` bytes, that many bytes are payload nobody needs to read
 * (CLV_SKIP_TO_FIN: all until the direction ends). The engine pays them from data and from holes alike, counts
 * them as the current message's body, and then calls feed() at once, with an empty slice if nothing is there yet.
 */
struct clv_fed {
	enum clv_fed_verdict v;
	uint32_t used;
	uint32_t need;
	uint64_t skip;
};

#define CLV_SKIP_TO_FIN UINT64_MAX

/* The engine's ear. Offsets are into the slice of the running call. Valid during the call only. */
struct clv_sink {
	/*
	 * A message's head is complete. For a response (or interim) returns the facts of the request that it
	 * answers, NULL when that is not known; for a request returns NULL.
	 */
	const void *(*head)(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg);
	/*
	 * The message last announced in this direction is complete; its last byte is the one before offset `at`.
	 * Interim responses end too, right after their head.
	 */
	void (*end)(struct clv_sink *sink, enum clv_dir dir, uint32_t at);
};

/*
 * One field of a head: its name as it stands there, its value without white space at both ends (line folds are left
 * in). Borrowed from the head.
 */
typedef void (*clv_field_fn)(void *ctx, struct clv_slice name, struct clv_slice value);

struct clv_conn_info {
	uint16_t server_port; /* host byte order */
	bool midstream;       /* joined after the start: the first bytes may be the middle of anything */
};

enum clv_cap {
	CLV_CAP_BY_ID = 1 << 0, /* pairs by clv_msg.id; otherwise first in, first out */
};

struct clv_proto {
	const char *name;    /* lower case, as --port PORT:NAME takes it */
	uint16_t ports[8];   /* usual server ports, 0-ended: only to break ties */
	uint32_t caps;       /* enum clv_cap */
	uint32_t state_size; /* bytes of `st`, zeroed before open() */

	/* Could a stream (`first`: these are its first bytes) or, mid-stream, a packet begin like this? */
	enum clv_match (*probe)(enum clv_dir dir, struct clv_slice in, bool first);
	/* A connection begins. */
	void (*open)(void *st, const struct clv_conn_info *conn);
	/*
	 * Consumes what it can of `in`. The unconsumed rest comes again, with more behind it. What one direction
	 * says may decide how the other reads on (HTTP/1: bytes behind a CONNECT wait for its answer): after a
	 * head() or end() in one direction the engine feeds the other one again, if a tail waits there.
	 */
	struct clv_fed (*feed)(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink);
	/*
	 * `lost` bytes (0: unknown) after `rest`, the unconsumed tail, will never come. A head that is cut short
	 * but still says what it is may be reported (CLV_MSG_TRUNCATED); then the direction starts afresh: the
	 * engine calls resync() on what follows. The sink learns of the gap from the engine, after this call.
	 */
	void (*gap)(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink);
	/*
	 * Where in `in` does a next message begin? `at_packet`: in[0] is the first byte of a packet. Returns its
	 * offset, or -1 - k when none was found and the last k bytes may be the start of one.
	 */
	ptrdiff_t (*resync)(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet);
	/* The direction ended in order (FIN); `rest` is what was never consumed. Ends a body that runs to the close. */
	void (*fin)(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink);
	/*
	 * Calls fn for each field of a head that was reported, in order. Of a head that was cut the last field is left
	 * out unless it is complete. Not on everybody's path: only when CLV_MSG_CONTEXT says that there is something to
	 * find, or when fields were asked for.
	 */
	void (*fields)(struct clv_slice head, clv_field_fn fn, void *ctx);
	/*
	 * Writes name, status and protocol attributes of a finished exchange into the span, whose kind, addresses
	 * and times are set. Called once per span.
	 */
	void (*describe)(const struct clv_pair *pair, struct clv_span *span);
};

/* registry.c: every protocol built in, NULL-ended. */
extern const struct clv_proto *const clv_protos[];

/* By name; NULL when there is none. */
const struct clv_proto *clv_proto_find(const char *name);

#endif
