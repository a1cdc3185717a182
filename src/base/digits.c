/* SPDX-License-Identifier: Apache-2.0 */
/* The table of digits, and numbers too long to be frequent. Pure; any thread. */
#include "base/digits.h"

#define THREE(n)                                                                                          \
	{                                                                                                 \
		{'0' + (n) / 100, '0' + (n) / 10 % 10, '0' + (n) % 10}, (n) < 10 ? 16 : (n) < 100 ? 8 : 0 \
	}
#define FIVE(n)     THREE(n), THREE((n) + 1), THREE((n) + 2), THREE((n) + 3), THREE((n) + 4)
#define FIFTY(n)    TEN(n), TEN((n) + 10), TEN((n) + 20), TEN((n) + 30), TEN((n) + 40)
#define TEN(n)      FIVE(n), FIVE((n) + 5)
#define HUNDRED(n)  FIFTY(n), FIFTY((n) + 50)
#define HUNDREDS(n) HUNDRED(n), HUNDRED((n) + 100), HUNDRED((n) + 200), HUNDRED((n) + 300), HUNDRED((n) + 400)

const struct clv_three clv_three[1000] = {HUNDREDS(0), HUNDREDS(500)};

#define NINE_DIGITS 1000000000u

char *clv_digits_many(char *out, uint64_t v)
{
	uint64_t high = v / NINE_DIGITS;
	uint32_t low = (uint32_t)(v - high * NINE_DIGITS), millions = low / 1000000;

	if (high)
		return clv_digits_nine(clv_digits(out, high), low);
	uint32_t rest = low - millions * 1000000, thousands = rest / 1000;

	return clv_digits_three(clv_digits_three(clv_digits_few(out, millions), thousands), rest - thousands * 1000);
}
