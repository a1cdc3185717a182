/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: any bytes as SQL. What is written stays within its bounds, and no literal comes out: one is put into the
 * statement wherever the input has a NUL byte, quoted as its dialect wants.
 *
 * Input: a byte of settings, then the statement.
 */
#include <assert.h>
#include <stdlib.h>

#include "proto/sql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum setting { SETTING_MYSQL = 1 << 0, SETTING_WHOLE = 1 << 1, SETTING_BACKSLASH = 3 << 2 };

static bool within(struct clv_slice s, const char *room, size_t size)
{
	const char *from = (const char *)s.data;

	return !s.len || (from >= room && from + s.len <= room + size);
}

/* Alone, as the input is. */
static void alone(uint8_t settings, struct clv_slice in)
{
	char *text = malloc(CLV_SQL_TEXT_BYTES), *summary = malloc(CLV_SQL_SUMMARY_BYTES);
	uint8_t *copy = malloc(in.len + 1);

	assert(text && summary && copy);
	if (in.len)
		memcpy(copy, in.data, in.len);
	struct clv_sql s = clv_sql_read(settings & SETTING_MYSQL ? CLV_SQL_MYSQL : CLV_SQL_POSTGRESQL,
					((settings & SETTING_BACKSLASH) >> 2) % 3, clv_slice(copy, in.len),
					settings & SETTING_WHOLE, text, summary);
	assert(within(s.text, text, CLV_SQL_TEXT_BYTES) && within(s.summary, summary, CLV_SQL_SUMMARY_BYTES));
	assert(within(s.verb, summary, s.summary.len) && within(s.target, summary, s.summary.len));
	assert(s.verb.len + s.target.len <= s.summary.len);
	assert(!s.text.len || s.text.data[0] != ' ');
	free(copy);
	free(text);
	free(summary);
}

/* A literal behind a statement whose own quotes are closed, whatever it is. */
static void with_secret(uint8_t settings, struct clv_slice in)
{
	static const char secret[] = "zqzqzq";
	char text[CLV_SQL_TEXT_BYTES], summary[CLV_SQL_SUMMARY_BYTES], *whole = malloc(in.len + 16);
	size_t len = 0;

	assert(whole);
	/* Quotes, dollars, backslashes and comments are what hides a quote: without them the literal is one. */
	for (size_t i = 0; i < in.len; i++)
		if (!strchr("'\"`$\\-/*#_", in.data[i]) && (in.data[i] | 0x20) != 'z' && (in.data[i] | 0x20) != 'q')
			whole[len++] = (char)in.data[i];
	len += (size_t)(stpcpy(stpcpy(stpcpy(whole + len, " '"), secret), "'") - (whole + len));
	struct clv_sql s = clv_sql_read(settings & SETTING_MYSQL ? CLV_SQL_MYSQL : CLV_SQL_POSTGRESQL,
					((settings & SETTING_BACKSLASH) >> 2) % 3, clv_slice(whole, len),
					settings & SETTING_WHOLE, text, summary);
	assert(!s.text.len || !memmem(s.text.data, s.text.len, secret, 2));
	assert(!s.summary.len || !memmem(s.summary.data, s.summary.len, secret, 2));
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	alone(data[0], clv_slice(data + 1, size - 1));
	with_secret(data[0], clv_slice(data + 1, size - 1));
	return 0;
}
