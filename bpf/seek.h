/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads Content-Length in the kernel, for directions that user space trusts with it: a 10 MB body is over
 * before user space has read its head.
 *
 * Layout (RFC 9112): "HTTP/1.x NNN ...", then fields "name: value", each line ended by LF or CR LF, then an empty
 * line. Anything unusual (folding, a second length, Transfer-Encoding, a head longer than SEEK_BYTES) means: do
 * not skip. A wrong guess would be noticed by the parser, which checks where the hole begins and ends.
 */
#ifndef CLV_BPF_SEEK_H
#define CLV_BPF_SEEK_H

#include <stddef.h>

#include <bpf/bpf_core_read.h>

#include "maps.h"

/* Shorter bodies cost less to copy than to look for. */
#define SEEK_MIN_BODY (32u * 1024u)
/* A connection's first answer is looked at when its first packet is no shorter: then it has a body. */
#define SEEK_FIRST_BYTES 2048u

/* volatile: merged into a section of constants, the kernel would not find them. */
static const volatile char length_name[32] = "content-length:";
static const volatile char coding_name[32] = "transfer-encoding:";
#define LENGTH_NAME_LEN (sizeof("content-length:") - 1)
#define CODING_NAME_LEN (sizeof("transfer-encoding:") - 1)

static __always_inline void seek_line_end(struct seek *k)
{
	if (k->in_value && !k->digits)
		k->bad = true;
	k->column = k->length_match = k->coding_match = 0;
	k->in_value = k->gap = k->cr = false;
}

static __always_inline void seek_value(struct seek *k, __u8 c)
{
	__u32 digit = c - '0';

	if (c == ' ' || c == '\t') {
		k->gap = k->digits > 0;
	} else if (digit <= 9 && !k->gap && k->digits < 15) {
		k->length = k->length * 10 + digit;
		k->digits++;
	} else {
		k->bad = true;
	}
}

static __always_inline void seek_name(struct seek *k, __u8 c)
{
	__u8 lower = c - 'A' < 26u ? c | 0x20 : c;
	__u32 at = k->column & 31;

	if (k->length_match == k->column && lower == length_name[at])
		k->length_match++;
	if (k->coding_match == k->column && lower == coding_name[at])
		k->coding_match++;
	if (k->column == 0 && (c == ' ' || c == '\t'))
		k->bad = true;
	k->column++;
	if (k->coding_match == CODING_NAME_LEN && k->column == CODING_NAME_LEN)
		k->bad = true;
	if (k->length_match == LENGTH_NAME_LEN && k->column == LENGTH_NAME_LEN) {
		k->bad |= k->found;
		k->found = k->in_value = true;
		k->digits = 0;
	}
}

static long seek_byte(__u32 i, void *ctx)
{
	struct seek *k = *(struct seek **)ctx;

	if (i >= k->len || i >= SEEK_BYTES || k->bad)
		return 1;
	__u8 c = k->data[i];

	if (c == '\n') {
		if (k->column == 0) {
			k->head_len = i + 1;
			return 1;
		}
		seek_line_end(k);
	} else if (k->cr) {
		k->bad = true;
	} else if (c == '\r') {
		k->cr = true;
	} else if (k->in_value) {
		seek_value(k, c);
	} else {
		seek_name(k, c);
	}
	return 0;
}

/* Four bytes and a literal of four, compared as one word. */
static __always_inline bool word_is(const __u8 *bytes, const char *text)
{
	__u32 a, b;

	__builtin_memcpy(&a, bytes, sizeof(a));
	__builtin_memcpy(&b, text, sizeof(b));
	return a == b;
}

/* Status codes whose responses have no body, whatever their fields say (RFC 9112 section 6.3). */
static __always_inline bool seek_has_body(const __u8 *status)
{
	__u32 code = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');

	return code >= 200 && code <= 599 && code != 204 && code != 304;
}

/* To be left again, with scratch_leave(). NULL: it is in use. */
static __always_inline struct seek *seek_take(void)
{
	__u32 zero = 0;
	struct seek *k = bpf_map_lookup_elem(&seek_state, &zero);

	return k && scratch_take(&k->busy) ? k : NULL;
}

/* Reads the head that may begin at `off`. False when there is nothing to read. */
static __always_inline bool seek_head(struct seek *k, struct __sk_buff *skb, __u32 off, __u32 len)
{
	if (len > SEEK_BYTES)
		len = SEEK_BYTES;
	barrier_var(len);
	if (len == 0 || len > SEEK_BYTES || bpf_skb_load_bytes(skb, off, k->data, len))
		return false;
	__builtin_memset(k, 0, offsetof(struct seek, busy));
	k->len = len;
	bpf_loop(SEEK_BYTES, seek_byte, &k, 0); /* the context has to be on the stack */
	return k->head_len && !k->bad;
}

/*
 * Does the payload at `off` begin a response with a long body of known length? Then *head_len and *body_len say
 * where the head and the body end.
 */
__noinline int seek_body(struct __sk_buff *skb, __u32 off, __u32 len, __u32 *head_len, __u64 *body_len)
{
	__u8 start[16];

	if (!head_len || !body_len || len < sizeof(start) || bpf_skb_load_bytes(skb, off, start, sizeof(start)))
		return 0;
	if (!word_is(start, "HTTP") || !word_is(start + 3, "P/1.") || !seek_has_body(start + 9))
		return 0;

	struct seek *k = seek_take();

	if (!k)
		return 0;
	bool long_body = seek_head(k, skb, off, len) && k->found && k->length > SEEK_MIN_BODY;

	*head_len = k->head_len;
	*body_len = k->length;
	scratch_leave(&k->busy);
	return long_body;
}

/* Is the payload at `off` one request, whole, without a body, and not a HEAD, whose answer would have none? */
__noinline int seek_plain_request(struct __sk_buff *skb, __u32 off, __u32 len)
{
	__u8 start[5];

	if (len < sizeof(start) || bpf_skb_load_bytes(skb, off, start, sizeof(start)))
		return 0;
	if (word_is(start, "HEAD") && start[4] == ' ')
		return 0;

	struct seek *k = seek_take();

	if (!k)
		return 0;
	bool plain = seek_head(k, skb, off, len) && !k->found && k->head_len == len;

	scratch_leave(&k->busy);
	return plain;
}

/* Does a request begin at `off` whose answer may have a body, whatever it is? Most do, by one of these methods. */
static __always_inline bool seek_usual_request(struct __sk_buff *skb, __u32 off, __u32 len)
{
	__u8 start[4];

	if (len < sizeof(start) || bpf_skb_load_bytes(skb, off, start, sizeof(start)))
		return false;
	return word_is(start, "GET ") || word_is(start, "POST") || word_is(start, "PUT ");
}

/* bpf_loop() is in kernels from 5.17 on; below that the branch that calls it is cut off at load. */
static __always_inline bool seek_possible(void)
{
	return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop);
}

#endif
