/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff", lower-case hex. Pure; any thread. */
#include "trace/context.h"

#define TRACEPARENT_LEN 55

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool hex_bytes(const uint8_t *text, uint8_t *out, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int hi = hex_digit(text[2 * i]), lo = hex_digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static bool all_zero(const uint8_t *b, size_t len)
{
	while (len)
		if (b[--len])
			return false;
	return true;
}

bool clv_context_parse(struct clv_slice value, struct clv_context *out)
{
	struct clv_context c;
	uint8_t version;
	const uint8_t *t = value.data;

	if (value.len < TRACEPARENT_LEN || t[2] != '-' || t[35] != '-' || t[52] != '-')
		return false;
	if (!hex_bytes(t, &version, 1) || !hex_bytes(t + 3, c.trace_id, 16) || !hex_bytes(t + 36, c.parent_id, 8) ||
	    !hex_bytes(t + 53, &c.flags, 1))
		return false;
	if (version == 0xff || all_zero(c.trace_id, 16) || all_zero(c.parent_id, 8))
		return false;
	if (value.len > TRACEPARENT_LEN && (version == 0 || t[TRACEPARENT_LEN] != '-'))
		return false;
	*out = c;
	return true;
}
