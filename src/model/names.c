/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of attributes: those of attrs.h, and any others that plugins use. Owns the latter, for good; allocates
 * nothing. Engine thread.
 */
#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "model/span.h"

/* Open addressing, never more than half full. */
#define TABLE 2048u
_Static_assert(CLV_ATTR_COUNT + CLV_ATTR_NAMES_MAX <= TABLE / 2, "the table of names has room");

/* Names met last, by the address of their text: most are constants. */
#define RECENT 256u

static const char *const built_in[CLV_ATTR_COUNT] = {
#define X(id, name) name,
	CLV_ATTRS(X)
#undef X
};

static struct {
	char name[CLV_ATTR_NAMES_MAX][CLV_ATTR_NAME_MAX + 1];
	unsigned count;
	bool filled;
	uint16_t table[TABLE]; /* key + 1; 0: empty */
	struct {
		const char *text;
		uint16_t key;
	} recent[RECENT];
} names;

const char *clv_attr_name(enum clv_attr_key key)
{
	return key < CLV_ATTR_COUNT ? built_in[key] : names.name[key - CLV_ATTR_COUNT];
}

static bool is_name(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i], lower = clv_ascii_lower(c);
		bool letter = lower >= 'a' && lower <= 'z';

		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-')))
			return false;
	}
	return s.len && s.len <= CLV_ATTR_NAME_MAX;
}

/* Where the name is in the table, or would be. */
static uint16_t *find(struct clv_slice name)
{
	for (uint64_t i = clv_hash(name.data, name.len, 1);; i++) {
		uint16_t *at = &names.table[i % TABLE];

		if (!*at || clv_slice_eq(name, clv_slice_str(clv_attr_name((enum clv_attr_key)(*at - 1)))))
			return at;
	}
}

static void fill(void)
{
	for (unsigned key = 0; key < CLV_ATTR_COUNT; key++)
		*find(clv_slice_str(built_in[key])) = (uint16_t)(key + 1);
	names.filled = true;
}

static int name_add(struct clv_slice name, uint16_t *at)
{
	if (names.count == CLV_ATTR_NAMES_MAX)
		return -ENOSPC;
	memcpy(names.name[names.count], name.data, name.len);
	*at = (uint16_t)(CLV_ATTR_COUNT + names.count++ + 1);
	return 0;
}

int clv_attr_key(const char *text)
{
	unsigned slot = (unsigned)((uintptr_t)text % RECENT);
	struct clv_slice name = {0};
	int err = 0;

	/* The same address need not be the same text. */
	if (names.recent[slot].text == text && strcmp(clv_attr_name(names.recent[slot].key), text) == 0)
		return names.recent[slot].key;
	name = clv_slice(text, strnlen(text, CLV_ATTR_NAME_MAX + 1));
	if (!is_name(name))
		return -EINVAL;
	if (!names.filled)
		fill();
	uint16_t *at = find(name);
	if (!*at)
		err = name_add(name, at);
	if (err)
		return err;
	names.recent[slot].text = text;
	names.recent[slot].key = (uint16_t)(*at - 1);
	return *at - 1;
}
