/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and formatted text for clv_buf. No allocation, any thread. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

void clv_buf_u64(struct clv_buf *b, uint64_t v)
{
	char tmp[20];
	size_t at = sizeof(tmp);

	for (; v > UINT32_MAX; v /= 10)
		tmp[--at] = (char)('0' + v % 10);
	uint32_t rest = (uint32_t)v; /* mostly all of it, and divided faster */
	do {
		tmp[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	clv_buf_put(b, tmp + at, sizeof(tmp) - at);
}

void clv_buf_i64(struct clv_buf *b, int64_t v)
{
	if (v < 0) {
		clv_buf_char(b, '-');
		clv_buf_u64(b, 0 - (uint64_t)v);
	} else {
		clv_buf_u64(b, (uint64_t)v);
	}
}

void clv_buf_hex(struct clv_buf *b, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		char pair[2] = {digits[data[i] >> 4], digits[data[i] & 15]};

		clv_buf_put(b, pair, 2);
	}
}

void clv_buf_printf(struct clv_buf *b, const char *fmt, ...)
{
	if (b->cut)
		return;
	size_t room = b->cap - b->len;
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(b->data + b->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) /* the NUL must fit as well: vsnprintf writes one */
		b->cut = true;
	else
		b->len += (size_t)n;
}
