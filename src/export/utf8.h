/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from the network as text: which of them are a valid UTF-8 character (RFC 3629), and how the others are
 * written. Overlong forms, surrogates and anything past U+10FFFF are not valid.
 */
#ifndef CLV_EXPORT_UTF8_H
#define CLV_EXPORT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * Length (1..4) of the character at `s`, of which `len` >= 1 bytes may be read, and its code point in *point;
 * 0 when no valid character begins there.
 */
static inline size_t utf8_decode(const uint8_t *s, size_t len, uint32_t *point)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	uint32_t c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*point = c;
	return n;
}

/*
 * What docs/output.md calls escaping: the length of the character at `s` (`len` >= 1 as above) that stands for itself
 * in exported text, its code point in *point; or 0 when the byte s[0] stands there as \xNN, because it is no valid
 * character or a backslash before an x.
 */
static inline size_t utf8_plain(const uint8_t *s, size_t len, uint32_t *point)
{
	if (s[0] == '\\' && len > 1 && s[1] == 'x')
		return 0;
	return utf8_decode(s, len, point);
}

/* Terminals take these as commands: C0, DEL and C1. */
static inline int utf8_is_control(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0);
}

static inline char *utf8_hex(char *out, uint8_t byte)
{
	static const char digits[] = "0123456789abcdef";

	*out++ = digits[byte >> 4];
	*out++ = digits[byte & 15];
	return out;
}

#endif
