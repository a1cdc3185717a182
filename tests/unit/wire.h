/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of protobuf for tests, written without a look at the product's: every check is an assert of cmocka. */
#ifndef CLV_TESTS_WIRE_H
#define CLV_TESTS_WIRE_H

#include <stdbool.h>

#include "base/slice.h"

struct wire_field {
	uint64_t number, value; /* the value of a number, or the length of bytes */
	unsigned type;
	struct clv_slice bytes;
};

static inline uint64_t wire_varint(struct clv_slice *in)
{
	uint64_t value = 0;

	for (unsigned shift = 0;; shift += 7) {
		assert_true(in->len > 0 && shift < 64);
		uint8_t b = *in->data++;

		in->len--;
		value += (uint64_t)(b % 128) << shift;
		if (b < 128)
			return value;
	}
}

/* The next field of a message; false at its end. */
static inline bool wire_next(struct clv_slice *in, struct wire_field *f)
{
	if (in->len == 0)
		return false;
	uint64_t tag = wire_varint(in);

	*f = (struct wire_field){.number = tag / 8, .type = tag % 8};
	assert_true(f->number > 0);
	if (f->type == 0) {
		f->value = wire_varint(in);
		return true;
	}
	assert_true(f->type == 1 || f->type == 2 || f->type == 5);
	size_t len = f->type == 1 ? 8 : f->type == 5 ? 4 : wire_varint(in);

	assert_true(len <= in->len);
	if (f->type == 2)
		f->value = len;
	else
		for (size_t i = 0; i < len; i++)
			f->value |= (uint64_t)in->data[i] << 8 * i;
	f->bytes = clv_slice(in->data, len);
	in->data += len;
	in->len -= len;
	return true;
}

/* The `nth` field of that number, from 0 on; false when there are fewer. */
static inline bool wire_nth(struct clv_slice in, unsigned number, unsigned nth, struct wire_field *f)
{
	*f = (struct wire_field){0};
	while (wire_next(&in, f))
		if (f->number == number && nth-- == 0)
			return true;
	return false;
}

/* The bytes of the only field of that number. */
static inline struct clv_slice wire_only(struct clv_slice in, unsigned number)
{
	struct wire_field f, another;

	assert_true(wire_nth(in, number, 0, &f));
	assert_false(wire_nth(in, number, 1, &another));
	assert_int_equal(f.type, 2);
	return f.bytes;
}

/* The number of the only field of that number; `none` without. */
static inline uint64_t wire_number(struct clv_slice in, unsigned number, unsigned type, uint64_t none)
{
	struct wire_field f, another;

	if (!wire_nth(in, number, 0, &f))
		return none;
	assert_false(wire_nth(in, number, 1, &another));
	assert_int_equal(f.type, type);
	return f.value;
}

#endif
