/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal digits, three at once, from a table. Pure; any thread. */
#ifndef CLV_BASE_DIGITS_H
#define CLV_BASE_DIGITS_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

struct clv_three {
	_Alignas(uint32_t) char digits[3];
	uint8_t zeros; /* bits of those digits that are zeros before the number; 0 itself has a digit */
};

/* Each number below 1000. */
extern const struct clv_three clv_three[1000];

/* All three digits of a number below 1000. Stores a byte too many. Returns the end of the digits. */
static inline char *clv_digits_three(char *out, uint32_t v)
{
	memcpy(out, &clv_three[v], sizeof(clv_three[v]));
	return out + sizeof(clv_three[v].digits);
}

/* The same without the zeros before it. Stores up to three bytes too many. */
static inline char *clv_digits_few(char *out, uint32_t v)
{
	unsigned zeros = clv_three[v].zeros;
	uint32_t digits;

	memcpy(&digits, &clv_three[v], sizeof(digits));
	digits = htole32(le32toh(digits) >> zeros);
	memcpy(out, &digits, sizeof(digits));
	return out + sizeof(clv_three[v].digits) - zeros / 8;
}

/* All nine digits of a number below 10^9, likewise. */
static inline char *clv_digits_nine(char *out, uint32_t v)
{
	uint32_t millions = v / 1000000, rest = v - millions * 1000000, thousands = rest / 1000;

	return clv_digits_three(clv_digits_three(clv_digits_three(out, millions), thousands), rest - thousands * 1000);
}

/* Of a number from 10^6 on. */
char *clv_digits_many(char *out, uint64_t v);

/* Any number, without zeros before it. Stores up to three bytes too many. */
static inline char *clv_digits(char *out, uint64_t v)
{
	if (v < 1000)
		return clv_digits_few(out, (uint32_t)v);
	if (v >= 1000000)
		return clv_digits_many(out, v);
	uint32_t thousands = (uint32_t)v / 1000;

	return clv_digits_three(clv_digits_few(out, thousands), (uint32_t)v - thousands * 1000);
}

#endif
