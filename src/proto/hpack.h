/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header compression of one direction of an HTTP/2 connection (RFC 7541), for a reader who may have missed some of it.
 *
 * An index counts back from the newest entry, so whoever has seen the newest ones knows what they are, whatever came
 * before them: a field that points further back is left out, and said to be missing. No name is ever guessed.
 * libnghttp2's inflater does the decoding; it is shown only what it can know. Engine thread.
 */
#ifndef CLV_PROTO_HPACK_H
#define CLV_PROTO_HPACK_H

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "proto/proto.h"

/* The largest table that is kept; an encoder may use a larger one, and then its old entries are not known. */
#define CLV_HPACK_TABLE_BYTES 65536u
/* And where the encoder's size is not known: more than all but a few use. */
#define CLV_HPACK_JOINED_BYTES 16384u

struct clv_hpack {
	nghttp2_hd_inflater *inflater; /* NULL: none yet, or no memory for it */
	nghttp2_mem mem;
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *ctx;
	bool joined;      /* the encoder's table had begun before what was seen */
	uint64_t changes; /* of the table, so far: while this stands still the same block means the same */
};

enum clv_hpack_result {
	CLV_HPACK_WHOLE,   /* every field was told */
	CLV_HPACK_PARTIAL, /* some are not known */
	CLV_HPACK_BAD,     /* what follows the fields that were told is no header block; the table is lost */
};

/*
 * One field; both are valid during the call only. `literal_at`: where in the block the value stands, when it is a
 * string that does not enter the table; 0: it is not.
 */
typedef void (*clv_hpack_fn)(void *ctx, struct clv_slice name, struct clv_slice value, size_t literal_at);

/* `h` must not move from here on. `joined`: in the middle of a connection. */
void clv_hpack_init(struct clv_hpack *h, const struct clv_conn_info *conn, bool joined);
void clv_hpack_fini(struct clv_hpack *h);
/* Some of what the encoder said was missed, or (`joined` false) it starts afresh. */
void clv_hpack_forget(struct clv_hpack *h, bool joined);
/* A whole header block, in order with all others of its direction. */
enum clv_hpack_result clv_hpack_block(struct clv_hpack *h, struct clv_slice block, clv_hpack_fn fn, void *ctx);

/*
 * The string that `in` begins with, as the value of a field; what must be decoded is put into *room. Returns its bytes
 * in `in`; 0: it is not there whole, or too rare or too long for this.
 */
size_t clv_hpack_string(struct clv_slice in, struct clv_buf *room, struct clv_slice *text);
/* Only its bytes. */
size_t clv_hpack_string_bytes(struct clv_slice in);

/* What a header block says of itself without any table: is it well formed, and whose may it be? */
enum clv_hpack_look {
	CLV_HPACK_LOOKS_BAD,
	CLV_HPACK_LOOKS_CUT,      /* well formed as far as it is there */
	CLV_HPACK_LOOKS_PLAIN,    /* well formed; trailers, or nothing that can be told */
	CLV_HPACK_LOOKS_REQUEST,  /* has :method, :scheme, :path or :authority */
	CLV_HPACK_LOOKS_RESPONSE, /* has :status */
};
enum clv_hpack_look clv_hpack_look(struct clv_slice block);

#endif
