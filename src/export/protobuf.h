/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as a writer needs it: each function
 * writes at `out` and returns the end. Nothing is checked for room: the caller has computed a bound.
 *
 * A message inside a message has its length before it. Where it is not known yet, protobuf_open() leaves
 * PROTOBUF_LENGTH bytes for it and protobuf_close() fills them: a varint may be longer than it needs to be.
 *
 * Pure functions; any thread.
 */
#ifndef CLV_EXPORT_PROTOBUF_H
#define CLV_EXPORT_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

enum protobuf_wire { PROTOBUF_VARINT = 0, PROTOBUF_FIXED64 = 1, PROTOBUF_BYTES = 2, PROTOBUF_FIXED32 = 5 };

/* The longest varint, and the longest tag of a field below 2048. */
#define PROTOBUF_VARINT_MAX 10
#define PROTOBUF_TAG_MAX    2
/* Room for a length that is filled in later, up to 2^28 - 1. */
#define PROTOBUF_LENGTH 4

static inline char *protobuf_varint(char *out, uint64_t v)
{
	while (v >= 0x80) {
		*out++ = (char)(v | 0x80);
		v >>= 7;
	}
	*out++ = (char)v;
	return out;
}

/* How many bytes protobuf_varint() writes: one for each 7 bits; 9/64 is 1/7, exact enough up to 64 bits. */
static inline size_t protobuf_varint_size(uint64_t v)
{
	return ((size_t)(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

static inline char *protobuf_tag(char *out, uint32_t field, enum protobuf_wire wire)
{
	return protobuf_varint(out, field << 3 | wire);
}

static inline char *protobuf_uint(char *out, uint32_t field, uint64_t v)
{
	return protobuf_varint(protobuf_tag(out, field, PROTOBUF_VARINT), v);
}

static inline char *protobuf_fixed64(char *out, uint32_t field, uint64_t v)
{
	out = protobuf_tag(out, field, PROTOBUF_FIXED64);
	memcpy(out, &v, sizeof(v)); /* little endian, as are all machines with BPF that clovisor is built for */
	return out + sizeof(v);
}

static inline char *protobuf_fixed32(char *out, uint32_t field, uint32_t v)
{
	out = protobuf_tag(out, field, PROTOBUF_FIXED32);
	memcpy(out, &v, sizeof(v));
	return out + sizeof(v);
}

static inline char *protobuf_double(char *out, uint32_t field, double d)
{
	uint64_t v;

	memcpy(&v, &d, sizeof(v));
	return protobuf_fixed64(out, field, v);
}

static inline char *protobuf_bytes(char *out, uint32_t field, struct clv_slice s)
{
	out = protobuf_varint(protobuf_tag(out, field, PROTOBUF_BYTES), s.len);
	if (s.len)
		memcpy(out, s.data, s.len);
	return out + s.len;
}

/* Begins a message in a message; `*begin` is for protobuf_close(). */
static inline char *protobuf_open(char *out, uint32_t field, char **begin)
{
	out = protobuf_tag(out, field, PROTOBUF_BYTES);
	*begin = out;
	return out + PROTOBUF_LENGTH;
}

/* Ends it at `out`. */
static inline void protobuf_close(char *begin, const char *out)
{
	uint32_t len = (uint32_t)(out - begin - PROTOBUF_LENGTH);

	for (int i = 0; i < PROTOBUF_LENGTH - 1; i++, len >>= 7)
		begin[i] = (char)(len | 0x80);
	begin[PROTOBUF_LENGTH - 1] = (char)len;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fixed64 is stored as it stands in memory");

#endif
