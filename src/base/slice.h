/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slice: borrowed bytes with a length. It never owns, never ends in NUL, and may be empty with any pointer.
 */
#ifndef CLV_BASE_SLICE_H
#define CLV_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/* Equality with ASCII letters folded, as header field names compare (RFC 9110 section 5.1). */
static inline bool clv_slice_eq_nocase(struct clv_slice a, struct clv_slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (clv_ascii_lower(a.data[i]) != clv_ascii_lower(b.data[i]))
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

#endif
