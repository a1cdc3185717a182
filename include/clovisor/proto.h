/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clovisor is taught a protocol: the whole contract, for the protocols built in and for plugins alike. C11 and the
 * four headers below; nothing else of clovisor is needed to write a plugin, and nothing else is promised.
 *
 * A protocol is one const struct clv_proto. Its functions see bytes in stream order and nothing else: no clock, no
 * socket, no file, no allocation. They report messages to a sink and say how many bytes they used. The laws:
 *   1. any split of the input into segments gives the same messages;
 *   2. losing any segment may lose pairs, but never pairs the wrong two;
 *   3. starting at any offset recovers at a later message;
 *   4. steady state allocates nothing;
 *   5. no byte outside the slice is read;
 *   6. memory per connection is bounded, whatever arrives.
 * clovisor's own tests run them on every protocol built in, and `clovisor check-plugin FILE.so` on a plugin's.
 *
 * All calls for one connection come from one thread, and so do all calls of describe().
 *
 * A plugin is a shared object that exports one symbol, clovisor_plugin (at the end of this file). What it may ask of
 * clovisor comes to it as a table of functions, struct clv_host, when it is loaded. A table, and not symbols that the
 * program exports: so a plugin links complete (-Wl,-z,defs), the same file works in every build of clovisor, static
 * libraries and tests included, and no name of the program's becomes part of its interface by accident.
 *
 * Versions. CLV_PROTO_ABI is the number of all of this together: of what stands in the structs, and of what it means.
 * Any change of either is another number, except a function added at the end of struct clv_host or of struct
 * clv_talk_host, which have their size in them. A plugin made for another number is refused, not guessed at.
 */
#ifndef CLOVISOR_PROTO_H
#define CLOVISOR_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CLV_PROTO_ABI 1u

/* ---- slices ---------------------------------------------------------------------------------------------------- */

/* Borrowed bytes with a length. It never owns, never ends in NUL, and may be empty with any pointer. */
struct clv_slice {
	const uint8_t *data;
	size_t len;
};

static inline struct clv_slice clv_slice(const void *data, size_t len)
{
	return (struct clv_slice){.data = data, .len = len};
}

/* A slice of a string literal, without its NUL. */
#define CLV_LIT(s) ((struct clv_slice){.data = (const uint8_t *)(s), .len = sizeof(s) - 1})

static inline struct clv_slice clv_slice_str(const char *s)
{
	return clv_slice(s, strlen(s));
}

/* Everything from `from` on; empty when `from` is past the end. */
static inline struct clv_slice clv_slice_from(struct clv_slice s, size_t from)
{
	if (from >= s.len)
		return clv_slice(NULL, 0);
	return clv_slice(s.data + from, s.len - from);
}

/* The first `len` bytes, or all of it when it is shorter. */
static inline struct clv_slice clv_slice_head(struct clv_slice s, size_t len)
{
	return clv_slice(s.data, len < s.len ? len : s.len);
}

/* `len` bytes from `from`, cut to what is there. */
static inline struct clv_slice clv_slice_sub(struct clv_slice s, size_t from, size_t len)
{
	return clv_slice_head(clv_slice_from(s, from), len);
}

static inline bool clv_slice_eq(struct clv_slice a, struct clv_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool clv_slice_starts(struct clv_slice s, struct clv_slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

static inline uint8_t clv_ascii_lower(uint8_t c)
{
	return (uint8_t)(c - 'A') < 26 ? (uint8_t)(c | 0x20) : c;
}

/* Four to eight bytes as one word; those in the middle may be in it twice. */
static inline uint64_t clv_eight(const uint8_t *p, size_t len)
{
	uint32_t first, last;

	memcpy(&first, p, sizeof(first));
	memcpy(&last, p + len - sizeof(last), sizeof(last));
	return (uint64_t)last << 32 | first;
}

/* Do the bytes of two words differ, if at all, in nothing but the case of ASCII letters? */
static inline bool clv_eight_eq_nocase(uint64_t a, uint64_t b)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t low = (b | ones * 0x20) & ones * 0x7f;
	uint64_t letters = (low + ones * (0x80 - 'a')) & ~(low + ones * (0x7f - 'z')) & ~b & ones * 0x80;

	return ((a ^ b) & ~(letters >> 2)) == 0; /* what differs is the bit that makes small letters */
}

/* Equality with ASCII letters folded, as header field names compare (RFC 9110 section 5.1). */
static inline bool clv_slice_eq_nocase(struct clv_slice a, struct clv_slice b)
{
	size_t at = 0;

	if (a.len != b.len)
		return false;
	for (; a.len - at > 8; at += 8)
		if (!clv_eight_eq_nocase(clv_eight(a.data + at, 8), clv_eight(b.data + at, 8)))
			return false;
	if (a.len >= 4) { /* the last word begins where it fits, maybe in the one before */
		at = a.len > 8 ? a.len - 8 : 0;
		return clv_eight_eq_nocase(clv_eight(a.data + at, a.len - at), clv_eight(b.data + at, a.len - at));
	}
	for (; at < a.len; at++)
		if (clv_ascii_lower(a.data[at]) != clv_ascii_lower(b.data[at]))
			return false;
	return true;
}

/* Offset of the first byte `c` at or after `from`, or s.len when there is none. */
static inline size_t clv_slice_find(struct clv_slice s, size_t from, uint8_t c)
{
	if (from >= s.len)
		return s.len;
	if (s.len > PTRDIFF_MAX) /* no object is that large; compilers warn of it all the same */
		__builtin_unreachable();
	const uint8_t *p = memchr(s.data + from, c, s.len - from);
	return p ? (size_t)(p - s.data) : s.len;
}

/* Without SP and HTAB at both ends (optional whitespace, RFC 9110 section 5.6.3). */
static inline struct clv_slice clv_slice_trim(struct clv_slice s)
{
	while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
		s.data++;
		s.len--;
	}
	while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/*
 * A message as a parser reports it: its head as bytes, and the protocol's own facts about them. Facts are a plain
 * struct of the protocol's (no pointers: offsets into the head), so that a request can be kept until its response
 * comes by copying two runs of bytes.
 */

/* Which way bytes go on a connection. */
enum clv_dir { CLV_TO_SERVER = 0, CLV_TO_CLIENT = 1 };

enum clv_role {
	CLV_REQUEST,
	CLV_RESPONSE,
	CLV_INTERIM, /* a response that another one follows (HTTP 1xx); answers nothing */
};

enum clv_msg_flag {
	CLV_MSG_TRUNCATED = 1 << 0, /* the head was cut (gap, snaplen, limit): facts hold what was there */
	CLV_MSG_CONTEXT = 1 << 1,   /* a request: its head has fields that may carry trace context */
	CLV_MSG_ONEWAY = 1 << 2,    /* a request that is never answered: it is reported when it ends */
	CLV_MSG_MIDSTREAM = 1 << 3, /* what came before was not seen, and facts are missing for it (HPACK, names) */
	CLV_MSG_QUIET = 1 << 4,     /* a request that nobody cares for unless it fails: no span of it otherwise */
	CLV_MSG_ENDS = 1 << 5,      /* a request that ends with its `raw`, or else its head: no end() follows */
};

#define CLV_FACTS_MAX 64
/* Bytes of a response that are kept for describe(). */
#define CLV_KEEP_MAX 2048

struct clv_msg {
	enum clv_role role;
	uint32_t flags; /* enum clv_msg_flag */
	uint64_t id;    /* pairs request and response where the protocol has CLV_CAP_BY_ID */
	/* The first byte is at this offset of the slice given to feed() or gap(); the head follows there. */
	uint32_t at;
	struct clv_slice head; /* borrowed; begins at the message's first byte */
	/* A request's method if OpenTelemetry knows it, else "_OTHER"; lives as long as the program. */
	struct clv_slice method;
	const void *facts; /* at most CLV_FACTS_MAX bytes, borrowed */
	uint16_t facts_size;
	/*
	 * A request's bytes as they were on the wire, where the head is something else (decoded). Ids are made from
	 * them, so that observers who know more or less of the connection agree. Empty: the head is what was there.
	 */
	struct clv_slice raw;
	/* A response: what describe() will need of it, as far as CLV_KEEP_MAX; borrowed. */
	struct clv_slice keep;
};

/* The end of a message. */
struct clv_end {
	uint64_t id; /* as clv_msg.id; not looked at without CLV_CAP_BY_ID */
	uint32_t at; /* its last byte is the one before this offset of the slice */
	/* What is known now and was not at the head (trailers, row counts): takes the place of the head's. NULL:
	 * nothing. The facts have the size that the head's had. */
	const void *facts;
	uint16_t facts_size;
	struct clv_slice keep; /* responses; empty: what the head said stays */
	bool cancelled;        /* one side gave it up on purpose: the exchange ends here, with what there is */
	bool failed;           /* an answer to what was asked with CLV_MSG_QUIET: there is a span after all */
	bool lingers;          /* but an answer may be on its way: told with it, or when this is said again without */
};

/* A request and its response, as kept for describe(). What is borrowed stays valid during the call only. */
struct clv_pair {
	struct clv_slice request_head;
	const void *request;   /* facts */
	const void *response;  /* facts; NULL when there was no response */
	struct clv_slice kept; /* of the response, as the parser asked: clv_msg.keep, clv_end.keep */
	uint64_t request_body_bytes;
	uint64_t response_body_bytes;
	bool request_ended;  /* the whole request was seen, so its body size is known */
	bool response_ended; /* likewise */
};

/* ---- a protocol ------------------------------------------------------------------------------------------------ */

struct clv_span;
struct clv_proto;

enum clv_match {
	CLV_MATCH_NO,     /* these bytes are not this protocol, whatever follows */
	CLV_MATCH_MAYBE,  /* more bytes may decide */
	CLV_MATCH_LIKELY, /* well formed, but other protocols could look so by chance: the engine believes it on one of
			     the protocol's own ports, or when the other direction fits as well */
	CLV_MATCH_YES,    /* nothing else begins like this */
};

/* Where the bytes that probe() gets were found. */
enum clv_where {
	CLV_WHERE_START,    /* the first ones of a stream */
	CLV_WHERE_PACKET,   /* the beginning of a packet, in the middle of a stream that was joined late */
	CLV_WHERE_DATAGRAM, /* one whole datagram (UDP) */
};

enum clv_fed_verdict {
	CLV_FED_OK,     /* `used` bytes consumed; call again with the rest, if any (see `skip`) */
	CLV_FED_MORE,   /* consumed `used`; the rest is the start of something that needs at least `need` bytes in
			   all (0: not known) before calling again makes sense */
	CLV_FED_BAD,    /* framing is lost at `used`: the engine treats what follows as after a gap of length 0 */
	CLV_FED_OPAQUE, /* from here on both directions are no longer this protocol's (tunnel) */
	CLV_FED_SWITCH, /* from here on both directions speak `next` (upgrade). An answer that was announced and has
			   not ended ends here; if there is none, the request waits for its answer in `next`. Then
			   feed() of `next` is called at once, with an empty slice if nothing is there yet */
};

/*
 * What feed() did. `skip`: after the `used` bytes, that many bytes are payload nobody needs to read
 * (CLV_SKIP_TO_FIN: all until the direction ends). The engine pays them from data and from holes alike, counts
 * them as the current message's body (not with CLV_CAP_BY_ID: there the parser says whose they are, by body()), and
 * then calls feed() at once, with an empty slice if nothing is there yet.
 */
struct clv_fed {
	enum clv_fed_verdict v;
	uint32_t used;
	uint32_t need;
	uint64_t skip;
	const struct clv_proto *next; /* with CLV_FED_SWITCH */
};

#define CLV_SKIP_TO_FIN UINT64_MAX

/* What a parser can say of a whole connection; it ends up in connection records. */
enum clv_note {
	CLV_NOTE_SERVER_NAME, /* whom the client wants to reach (TLS: server_name) */
	CLV_NOTE_ALPN,        /* the protocol that is chosen inside */
	CLV_NOTE_VERSION,
	CLV_NOTE_USER,
	CLV_NOTE_ALPN_OFFERED,    /* what the client would speak inside, its choices between commas */
	CLV_NOTE_VERSION_OFFERED, /* the highest that the client speaks */
	CLV_NOTES
};

/* The engine's ear. Offsets are into the slice of the running call. Valid during the call only. */
struct clv_sink {
	/*
	 * A message's head is complete. For a response (or interim) returns the facts of the request that it
	 * answers, NULL when that is not known; for a request returns NULL. With CLV_MSG_ONEWAY the request may come
	 * from either side, whatever `dir` says.
	 */
	const void *(*head)(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg);
	/*
	 * The message last announced in this direction (with CLV_CAP_BY_ID: the one of that id) is complete. Interim
	 * responses end too, right after their head.
	 */
	void (*end)(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end);
	/* With CLV_CAP_BY_ID: `bytes` more of the body of message `id` are here, or about to be skipped. */
	void (*body)(struct clv_sink *sink, enum clv_dir dir, uint64_t id, uint64_t bytes);
	/*
	 * With CLV_CAP_BY_ID: what a message that has not ended has become so far takes the place of its facts, for the
	 * case that its end is never seen. `size` is that of the head's.
	 */
	void (*update)(struct clv_sink *sink, enum clv_dir dir, uint64_t id, const void *facts, uint16_t size);
	/* Something about the connection; copied, as far as it has room. */
	void (*note)(struct clv_sink *sink, enum clv_note note, struct clv_slice text);
};

/*
 * How a length-prefixed protocol's frames look, so that the kernel can walk over them and leave out what nobody reads.
 * A frame is `header_bytes`, in which `length_bytes` bytes at `length_at` say how long the frame is: that many bytes
 * and `length_adds` (may be negative), counted from the frame's first byte. Of each frame the first `keep_bytes` are
 * sent up, or, if its byte at `type_at` is in `whole`, all of it.
 */
struct clv_framing {
	uint8_t header_bytes; /* at most 16 */
	uint8_t length_at, length_bytes;
	bool little_endian;
	int8_t length_adds;
	uint8_t type_at;
	uint16_t keep_bytes; /* at least header_bytes */
	uint32_t whole[8];   /* 256 bits */
};

/*
 * One field of a head: its name as it stands there, its value without white space at both ends (line folds are left
 * in). Borrowed from the head.
 */
typedef void (*clv_field_fn)(void *ctx, struct clv_slice name, struct clv_slice value);

/* The request with which another protocol led here (CLV_FED_SWITCH). Borrowed during open(). */
struct clv_upgrade {
	const struct clv_proto *from;
	struct clv_slice head;
	const void *facts;
	bool missed[2]; /* by enum clv_dir: the first bytes of that direction may be missing */
};

struct clv_conn_info {
	uint16_t server_port;              /* host byte order */
	bool midstream;                    /* joined after the start: the first bytes may be the middle of anything */
	bool datagram;                     /* UDP: each feed() is one datagram, whole, and none is kept */
	bool multicast;                    /* one end is a group: what it is asked is answered from elsewhere */
	const struct clv_upgrade *upgrade; /* NULL: the connection began with this protocol */
	/* Memory beyond `st`, for what is not known to be needed: under the engine's budget, NULL when that is used up.
	 * The parser gives it back in close(), bounds what it takes, and takes nothing in steady state. */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
};

enum clv_cap {
	CLV_CAP_BY_ID = 1 << 0,     /* pairs by clv_msg.id; otherwise first in, first out */
	CLV_CAP_DATAGRAM = 1 << 1,  /* is spoken over UDP */
	CLV_CAP_NO_STREAM = 1 << 2, /* and not over TCP */
	CLV_CAP_FOLLOWS = 1 << 3,   /* never begins a connection: only another protocol leads to it */
};

struct clv_proto {
	const char *name;    /* lower case, as --port PORT:NAME takes it */
	uint16_t ports[8];   /* usual server ports, 0-ended: only to break ties */
	uint32_t caps;       /* enum clv_cap */
	uint32_t state_size; /* bytes of `st`, zeroed before open() */

	/* Could what begins like this be the protocol? Servers may be the first to speak. NULL with CLV_CAP_FOLLOWS. */
	enum clv_match (*probe)(enum clv_dir dir, struct clv_slice in, enum clv_where where);
	/* A connection begins. */
	void (*open)(void *st, const struct clv_conn_info *conn);
	/* It is over: gives back what open() or feed() allocated. NULL when there is nothing. */
	void (*close)(void *st);
	/*
	 * Consumes what it can of `in`. The unconsumed rest comes again, with more behind it. What one direction
	 * says may decide how the other reads on (HTTP/1: bytes behind a CONNECT wait for its answer): after a
	 * head() or end() in one direction the engine feeds the other one again, if a tail waits there. Of a datagram
	 * everything must be used; what was cut off (snaplen) comes as a gap() instead, with the rest in `rest`.
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
	 * The frames that begin behind the last byte used in this direction, or, where more is to be skipped, behind
	 * that, if the kernel may leave out what they carry: whatever it leaves out of a frame must be what the parser
	 * would ask to be skipped. NULL: not here, not now. The function itself may be NULL.
	 */
	const struct clv_framing *(*framing)(const void *st, enum clv_dir dir);
	/*
	 * NULL where heads have no fields. Calls fn for each field of a head that was reported, in order. Of a head
	 * that was cut the last field is left out unless it is complete. Not on everybody's path: only when
	 * CLV_MSG_CONTEXT says that there is something to find, or when fields were asked for.
	 */
	void (*fields)(struct clv_slice head, clv_field_fn fn, void *ctx);
	/*
	 * Writes name, status and protocol attributes of a finished exchange into the span, whose kind, addresses
	 * and times are set. Called once per span.
	 */
	void (*describe)(const struct clv_pair *pair, struct clv_span *span);
};

/* ---- what a plugin may ask of clovisor ------------------------------------------------------------------------- */

/* An attribute's longest name in bytes: letters, digits, "_", "." and "-", the first one a letter. */
#define CLV_ATTR_NAME_MAX 45
/* Attributes that describe() may set on one span, those of `ends` included. */
#define CLV_ATTRS_MAX 28

enum clv_span_text {
	CLV_SPAN_NAME,   /* of few values; without it the span is named after the protocol */
	CLV_SPAN_METHOD, /* these three are what text output, filters and metrics show of any protocol: */
	CLV_SPAN_TARGET, /*   "GET", "user:1", "NOT_FOUND" */
	CLV_SPAN_RESULT,
};

/*
 * For describe(), and there only. Texts are borrowed for as long as the span lives: constants, slices of the pair, and
 * what `room` gave are good, a buffer on the stack is not. Any bytes are good: exporters make valid text of them.
 *
 * An attribute may have any name; take OpenTelemetry's semantic conventions where they have one, and
 * "<protocol>.<what>" elsewhere. What has no valid name, or no room, is left out, counted in the span
 * (dropped_attributes_count) and found by check-plugin.
 */
struct clv_host {
	uint32_t abi;  /* CLV_PROTO_ABI of this clovisor */
	uint32_t size; /* of this struct, in this clovisor */

	void (*set_str)(struct clv_span *span, const char *name, struct clv_slice value); /* empty: not set */
	void (*set_int)(struct clv_span *span, const char *name, int64_t value);
	void (*set_bool)(struct clv_span *span, const char *name, bool value);
	/* An array: `values` holds its strings, each ended by a NUL byte. */
	void (*set_strs)(struct clv_span *span, const char *name, struct clv_slice values);

	void (*set_text)(struct clv_span *span, enum clv_span_text which, struct clv_slice value);
	/* The protocol's own number for how it went; 0: none. */
	void (*set_status)(struct clv_span *span, int code);
	/* The exchange failed: the span's status is ERROR, and error.type is `type`, of few values. */
	void (*set_error)(struct clv_span *span, struct clv_slice type);
	/*
	 * server.*, client.*, network.peer.*, network.transport and network.type as the wire says them. `server`: whom
	 * the client meant, where the protocol tells (a host name); empty: the address that it reached.
	 */
	void (*set_ends)(struct clv_span *span, struct clv_slice server);

	/* Is the observed endpoint the server? False: the client. */
	bool (*is_server)(const struct clv_span *span);
	/* `size` bytes that live as long as the span, contents undefined; NULL when there is no room left. */
	char *(*room)(struct clv_span *span, size_t size);
	/* The number as text, in such room. */
	struct clv_slice (*number)(struct clv_span *span, uint64_t n);
};

/* ---- talks: what check-plugin needs ---------------------------------------------------------------------------- */

/*
 * A talk is what a client and a server say to each other on one connection, made from a seed, with the truth about
 * every message in it. check-plugin cuts it into segments, loses some, starts late, and compares.
 */
struct clv_talk;

struct clv_talk_host {
	uint32_t size; /* of this struct, in this clovisor */

	/* A number below n (> 0), and true in `percent` of cases: the talk's own dice. Use no others. */
	uint32_t (*below)(struct clv_talk *t, uint32_t n);
	bool (*chance)(struct clv_talk *t, uint32_t percent);

	/* Bytes that one side says. At most 1 MiB a side; a text at most 1000 bytes. */
	void (*put)(struct clv_talk *t, enum clv_dir dir, const void *data, size_t len);
	void (*print)(struct clv_talk *t, enum clv_dir dir, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
	/* `len` bytes of payload: they look like text, lines among them. */
	void (*fill)(struct clv_talk *t, enum clv_dir dir, size_t len);
	/* What was said since the last flush in this direction is one write. At most 1000 of them. */
	void (*flush)(struct clv_talk *t, enum clv_dir dir);

	/*
	 * A message begins here (at most 250 of them); returns its number. `request`: of the message that this one
	 * answers, -1 for a request. Its head ends where head_ends() is called, itself where ends() is, of which
	 * `body_bytes` are skipped (clv_fed.skip) or counted by body(). `tag` is what clv_talk_source.tag() makes of
	 * its head.
	 */
	int (*begin)(struct clv_talk *t, enum clv_dir dir, enum clv_role role, int request);
	void (*tag)(struct clv_talk *t, int message, uint64_t tag);
	void (*head_ends)(struct clv_talk *t, int message);
	void (*ends)(struct clv_talk *t, int message, uint32_t body_bytes);
	/* The head is reported as something else than its bytes (decoded). */
	void (*decoded)(struct clv_talk *t, int message);

	/*
	 * What the span of a request must say: method, target, result, status. Method and target must tell it from all
	 * other requests of the talk, or wrong pairs among these are not seen. Of a span that has a result or a status
	 * both are compared. Texts are copied. Without it only messages are compared, not pairs.
	 */
	void (*span)(struct clv_talk *t, int request, struct clv_slice method, struct clv_slice target,
		     struct clv_slice result, int status);

	/* At the end: the side closes in order; both directions are the protocol's no longer from here on. */
	void (*closes)(struct clv_talk *t, enum clv_dir dir);
	void (*opaque)(struct clv_talk *t);
};

/* How to make talks of one protocol, and how to know its messages again. */
struct clv_talk_source {
	const char *proto;
	bool datagrams; /* each write is one UDP datagram, and holds whole messages; a protocol may have talks of both
			 */
	/*
	 * Least shares, in percent, of messages seen under loss and of requests answered under loss and when joined
	 * late; 0: 70, 60, 50. Say less only with a reason.
	 */
	uint8_t seen_under_loss, answered_under_loss, answered_late;
	/* Random and rich: everything that the protocol has, in any order. Called in check-plugin only. */
	void (*make)(struct clv_talk *t, const struct clv_talk_host *host);
	/* What identifies a parsed message. */
	uint64_t (*tag)(const struct clv_msg *msg);
};

/* ---- a plugin -------------------------------------------------------------------------------------------------- */

struct clv_plugin {
	uint32_t abi;         /* CLV_PROTO_ABI */
	uint32_t plugin_size; /* sizeof(struct clv_plugin), */
	uint32_t proto_size;  /*   of struct clv_proto, */
	uint32_t msg_size;    /*   of struct clv_msg: a plugin built against changed headers of one number shows */
	const char *name;     /* for people, as the version: at most 32 letters each */
	const char *version;
	const struct clv_host **host;               /* here the table is put, before anything is called */
	const struct clv_proto *const *protos;      /* at least one, NULL-ended */
	const struct clv_talk_source *const *talks; /* NULL-ended; NULL: none */
};

/* The first four fields. */
#define CLV_PLUGIN_HEADER                                                                                       \
	.abi = CLV_PROTO_ABI, .plugin_size = sizeof(struct clv_plugin), .proto_size = sizeof(struct clv_proto), \
	.msg_size = sizeof(struct clv_msg)

/* What a plugin exports; build the rest of it with -fvisibility=hidden. It is never unloaded. */
#define CLV_PLUGIN_SYMBOL "clovisor_plugin"
#ifdef CLOVISOR_PLUGIN
extern const struct clv_plugin clovisor_plugin __attribute__((visibility("default")));
#endif

#endif
