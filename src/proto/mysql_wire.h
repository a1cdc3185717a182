/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of MySQL's protocol that its parser (mysql.c) and its detection (mysql_probe.c) both read. Every reader checks
 * what it reads against the slice. Pure functions.
 *
 *	packet = length (3 bytes, little endian), sequence number (1 byte), payload; a payload of 0xffffff bytes goes on
 *	         in the next packet
 */
#ifndef CLV_PROTO_MYSQL_WIRE_H
#define CLV_PROTO_MYSQL_WIRE_H

#include "proto/mysql.h"

#define MYSQL_HEADER  4u
#define MYSQL_FULL    0xffffffu /* the payload goes on in the next packet */
#define MYSQL_COLUMNS 4096u     /* a table has no more; nor has a result set */

/* First bytes of what a server says. */
#define MYSQL_OK     0x00
#define MYSQL_EOF    0xfe
#define MYSQL_ERR    0xff
#define MYSQL_INFILE 0xfb
/* The "error" by which MariaDB tells how far it is. */
#define MYSQL_PROGRESS 0xffff

/* Capabilities; those of the first 16 bits in both dialects. */
#define MYSQL_CAP_CONNECT_WITH_DB 0x00000008u
#define MYSQL_CAP_COMPRESS        0x00000020u
#define MYSQL_CAP_PROTOCOL_41     0x00000200u
#define MYSQL_CAP_SSL             0x00000800u
#define MYSQL_CAP_SECURE          0x00008000u
#define MYSQL_CAP_PLUGIN_AUTH     0x00080000u
#define MYSQL_CAP_LENENC_AUTH     0x00200000u
#define MYSQL_CAP_ZSTD            0x04000000u
#define MYSQL_CAP_NO_EOF          0x01000000u /* CLIENT_DEPRECATE_EOF */
#define MYSQL_CAP_ATTRIBUTES      0x08000000u

/* Server status. */
#define MYSQL_MORE_RESULTS  0x0008
#define MYSQL_CURSOR        0x0040
#define MYSQL_NO_BACKSLASH  0x0200
#define MYSQL_STATE_CHANGED 0x4000

struct mysql_header {
	uint32_t len; /* of the payload */
	uint8_t seq;
};

static inline uint32_t mysql_u16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t mysql_u24(const uint8_t *p)
{
	return mysql_u16(p) | (uint32_t)p[2] << 16;
}

static inline uint32_t mysql_u32(const uint8_t *p)
{
	return mysql_u24(p) | (uint32_t)p[3] << 24;
}

/* The header at `at`; false when it is not all there. */
static inline bool mysql_header(struct clv_slice in, size_t at, struct mysql_header *h)
{
	if (in.len < MYSQL_HEADER || at > in.len - MYSQL_HEADER)
		return false;
	*h = (struct mysql_header){.len = mysql_u24(in.data + at), .seq = in.data[at + 3]};
	return true;
}

/* What can be read; `bad`: more was wanted than there is. */
struct mysql_reader {
	struct clv_slice in;
	size_t at;
	bool bad;
};

static inline struct mysql_reader mysql_reader(struct clv_slice in, size_t at)
{
	return (struct mysql_reader){.in = in, .at = at};
}

/* The next `n` bytes; empty, and bad, when there are fewer. */
static inline struct clv_slice mysql_take(struct mysql_reader *r, uint64_t n)
{
	r->bad |= r->at > r->in.len || n > r->in.len - r->at;
	if (r->bad)
		return clv_slice(NULL, 0);
	struct clv_slice s = clv_slice(r->in.data + r->at, (size_t)n);
	r->at += (size_t)n;
	return s;
}

/* A little-endian number of `n` bytes, at most 8. */
static inline uint64_t mysql_number(struct mysql_reader *r, unsigned n)
{
	struct clv_slice s = mysql_take(r, n);
	uint64_t v = 0;

	for (size_t i = s.len; i--;)
		v = v << 8 | s.data[i];
	return v;
}

/* A length-encoded number. NULL (0xfb) is none. */
static inline uint64_t mysql_lenenc(struct mysql_reader *r)
{
	uint64_t v = mysql_number(r, 1);

	if (v < 0xfb)
		return v;
	if (v == 0xfc)
		return mysql_number(r, 2);
	if (v == 0xfd)
		return mysql_number(r, 3);
	if (v == 0xfe)
		return mysql_number(r, 8);
	r->bad = true;
	return 0;
}

/* A string that ends with a NUL, without it. */
static inline struct clv_slice mysql_cstring(struct mysql_reader *r)
{
	size_t end = r->bad ? r->in.len : clv_slice_find(r->in, r->at, 0);

	if (end >= r->in.len) {
		r->bad = true;
		return clv_slice(NULL, 0);
	}
	struct clv_slice s = clv_slice_sub(r->in, r->at, end - r->at);
	r->at = end + 1;
	return s;
}

/* What an OK says, and an end of rows, which has the same in either of two forms. */
struct mysql_ok {
	uint64_t affected;
	uint16_t status, warnings;
	struct clv_slice info; /* what follows */
};

/* Payload of an OK, header byte included. `old`: as before protocol 4.1. False: it is none. */
static inline bool mysql_ok(struct clv_slice payload, bool old, struct mysql_ok *ok)
{
	struct mysql_reader r = mysql_reader(payload, 1);

	*ok = (struct mysql_ok){.affected = mysql_lenenc(&r)};
	mysql_lenenc(&r); /* the last id that was given out */
	if (!old || payload.len >= r.at + 2)
		ok->status = (uint16_t)mysql_number(&r, 2);
	if (!old)
		ok->warnings = (uint16_t)mysql_number(&r, 2);
	ok->info = clv_slice_from(payload, r.at);
	return !r.bad;
}

/* Blanks as SQL has them. */
static inline bool mysql_is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/*
 * Where the statement begins in the payload of a COM_QUERY: behind the attributes, if there are any. `told`: the two
 * sides have agreed on attributes; otherwise only what can be nothing else is taken for them. 0: it cannot be told.
 */
size_t clv_mysql_query_text(struct clv_slice payload, bool told);

/*
 * mysql_probe.c. Does a packet that begins like this say such a thing, for one who does not know what was before?
 * CLV_MATCH_MAYBE: it needs more bytes, a few dozen at most but for greeting and login, which it wants whole.
 */
enum clv_match clv_mysql_is_greeting(struct clv_slice in);
enum clv_match clv_mysql_is_login(struct clv_slice in);
enum clv_match clv_mysql_is_command(struct clv_slice in);
enum clv_match clv_mysql_is_answer(struct clv_slice in);

static inline struct clv_slice mysql_command_name(uint8_t command)
{
	switch (command) {
#define X(name, code) \
	case (code):  \
		return CLV_LIT(#name);
		CLV_MYSQL_COMMANDS(X)
#undef X
	default:
		return CLV_LIT("_OTHER");
	}
}

#endif
