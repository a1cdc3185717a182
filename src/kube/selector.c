/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors: read once, matched often. Owns one piece of memory a selector; never changes it after parsing.
 *
 *     selector    = [ requirement *( "," requirement ) ]
 *     requirement = key | "!" key | key ( "=" / "==" / "!=" ) [ value ] | key ( ">" / "<" ) number
 *                   | key ( "in" / "notin" ) "(" [ value ] *( "," [ value ] ) ")"
 *
 * "in" and "notin" are operators only where one is due: labels may be called so.
 */
#include "kube/selector.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

#define NAME_MAX_BYTES   63  /* of a key's name, and of a value */
#define PREFIX_MAX_BYTES 253 /* of a key's prefix */
#define TEXT_MAX_BYTES   16384

enum op { OP_EXISTS, OP_ABSENT, OP_IN, OP_NOT_IN, OP_GREATER, OP_LESS };

struct requirement {
	const char *key;
	enum op op;
	uint32_t first, count; /* its values */
	int64_t number;        /* of GREATER and LESS */
};

struct clv_kube_selector {
	size_t requirement_count, value_count;
	struct requirement *requirement;
	const char **value;
	char text[]; /* the selector's; keys and values are cut out of it */
};

struct parser {
	struct clv_kube_selector *s;
	struct clv_slice text;
	size_t at;
	char *room; /* where the next key or value goes */
	char *why;
};

/* ---- what the API takes for a key, a value, a number ------------------------------------------------------------ */

static bool is_alnum(uint8_t c)
{
	uint8_t lower = clv_ascii_lower(c);

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

/* Letters, digits, and "-", "_", "." between them. */
static bool is_name(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.data[i]) && s.data[i] != '-' && s.data[i] != '_' && s.data[i] != '.')
			return false;
	return s.len && s.len <= NAME_MAX_BYTES && is_alnum(s.data[0]) && is_alnum(s.data[s.len - 1]);
}

/* A DNS subdomain: labels of lower-case letters, digits and "-" between them, joined by dots. */
static bool is_prefix(struct clv_slice s)
{
	uint8_t before = '.';

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];
		bool joint = c == '.' || c == '-';

		if (!joint && (!is_alnum(c) || (c >= 'A' && c <= 'Z')))
			return false;
		if ((c == '.' && !is_alnum(before)) || (c == '-' && before == '.'))
			return false;
		before = c;
	}
	return s.len && s.len <= PREFIX_MAX_BYTES && is_alnum(before);
}

static const char *key_fault(struct clv_slice key)
{
	size_t slash = clv_slice_find(key, 0, '/');

	if (slash < key.len && !is_prefix(clv_slice_head(key, slash)))
		return "before its \"/\" belongs a DNS name of at most 253 lower-case letters, digits, \"-\", \".\"";
	if (!is_name(slash < key.len ? clv_slice_from(key, slash + 1) : key))
		return "a name has at most 63 letters, digits, \"-\", \"_\", \".\", a letter or digit at both ends";
	return NULL;
}

/* Decimal, not negative: no label's value can have a sign. */
static bool number_of(const char *text, int64_t *out)
{
	int64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, *text - '0', &n))
			return false;
	}
	*out = n;
	return true;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

/* A byte that is never part of a word. */
static bool is_special(uint8_t c)
{
	return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '<' || c == '>';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next byte that is no blank; 0 at the end. */
static uint8_t peek(struct parser *p)
{
	while (p->at < p->text.len && is_blank(p->text.data[p->at]))
		p->at++;
	return p->at < p->text.len ? p->text.data[p->at] : 0;
}

static bool take(struct parser *p, uint8_t c)
{
	if (peek(p) != c)
		return false;
	p->at++;
	return true;
}

/* The word that is next, which may be empty. */
static struct clv_slice peek_word(struct parser *p)
{
	size_t end;

	peek(p);
	for (end = p->at; end < p->text.len && !is_special(p->text.data[end]) && !is_blank(p->text.data[end]); end++)
		;
	return clv_slice_sub(p->text, p->at, end - p->at);
}

static struct clv_slice take_word(struct parser *p)
{
	struct clv_slice word = peek_word(p);

	p->at += word.len;
	return word;
}

/* `why` has room for the sentence and for this much of what is wrong. */
#define SHOWN 24

static int fail(const struct parser *p, size_t at, const char *what)
{
	struct clv_slice rest = clv_slice_from(p->text, at);
	bool cut = rest.len > SHOWN;

	rest = clv_slice_head(rest, SHOWN);
	if (rest.len)
		snprintf(p->why, CLV_KUBE_SELECTOR_WHY, "at \"%.*s%s\" (byte %zu): %s", (int)rest.len,
			 (const char *)rest.data, cut ? "..." : "", at + 1, what);
	else
		snprintf(p->why, CLV_KUBE_SELECTOR_WHY, "at its end: %s", what);
	return -EINVAL;
}

/* A copy of the word that ends in NUL. */
static const char *keep(struct parser *p, struct clv_slice word)
{
	char *to = p->room;

	if (word.len)
		memcpy(to, word.data, word.len);
	to[word.len] = '\0';
	p->room += word.len + 1;
	return to;
}

static int parse_value(struct parser *p)
{
	struct clv_slice word = take_word(p);

	if (word.len && !is_name(word))
		return fail(p, p->at - word.len,
			    "a value has at most 63 letters, digits, \"-\", \"_\", \".\", a letter or digit at both "
			    "ends");
	p->s->value[p->s->value_count++] = keep(p, word);
	return 0;
}

static int parse_set(struct parser *p)
{
	int err = take(p, '(') ? parse_value(p) : fail(p, p->at, "\"(\" is missing here");

	while (!err && take(p, ','))
		err = parse_value(p);
	if (!err && !take(p, ')'))
		err = fail(p, p->at, "\",\" or \")\" is missing here");
	return err;
}

static int parse_number(struct parser *p, struct requirement *r)
{
	int err = parse_value(p);

	if (!err && !number_of(p->s->value[p->s->value_count - 1], &r->number))
		err = fail(p, p->at, "before this belongs a number: \"<\" and \">\" compare numbers");
	return err;
}

/* What follows the key. */
static int parse_condition(struct parser *p, struct requirement *r)
{
	struct clv_slice word = peek_word(p);
	uint8_t c = peek(p);

	if (c == '=' || c == '!') {
		bool twice = p->at + 1 < p->text.len && p->text.data[p->at + 1] == '=';

		if (!twice && c == '!')
			return fail(p, p->at, "\",\" is missing here, or it should be KEY!=VALUE");
		r->op = c == '=' ? OP_IN : OP_NOT_IN;
		p->at += twice ? 2 : 1;
		return parse_value(p);
	}
	if (c == '<' || c == '>') {
		r->op = c == '<' ? OP_LESS : OP_GREATER;
		p->at++;
		return parse_number(p, r);
	}
	if (clv_slice_eq(word, CLV_LIT("in")) || clv_slice_eq(word, CLV_LIT("notin"))) {
		r->op = word.len == 2 ? OP_IN : OP_NOT_IN;
		p->at += word.len;
		return parse_set(p);
	}
	r->op = OP_EXISTS;
	return 0;
}

static int parse_requirement(struct parser *p)
{
	struct requirement *r = &p->s->requirement[p->s->requirement_count++];
	bool absent = take(p, '!');
	struct clv_slice key = take_word(p);
	const char *fault = key.len ? key_fault(key) : "a label's key is missing here";

	if (fault)
		return fail(p, p->at - key.len, fault);
	*r = (struct requirement){.key = keep(p, key), .op = OP_ABSENT, .first = (uint32_t)p->s->value_count};
	int err = absent ? 0 : parse_condition(p, r);
	r->count = (uint32_t)p->s->value_count - r->first;
	return err;
}

static int parse(struct parser *p)
{
	if (!peek(p))
		return 0;
	for (;;) {
		int err = parse_requirement(p);

		if (err)
			return err;
		if (take(p, ','))
			continue;
		if (p->at == p->text.len)
			return 0;
		return fail(p, p->at, "\",\" or an operator (=, ==, !=, in, notin, <, >) is missing here");
	}
}

int clv_kube_selector_parse(const char *text, struct clv_kube_selector **out, char why[CLV_KUBE_SELECTOR_WHY])
{
	struct parser p = {.text = clv_slice_str(text), .why = why};
	size_t most = 1; /* requirements, and values: a comma stands between any two */

	if (p.text.len > TEXT_MAX_BYTES) {
		snprintf(why, CLV_KUBE_SELECTOR_WHY, "it has %zu bytes, and %u are the most", p.text.len,
			 TEXT_MAX_BYTES);
		return -EINVAL;
	}
	for (size_t i = 0; i < p.text.len; i++)
		most += text[i] == ',';
	p.s = calloc(1, sizeof(*p.s) + p.text.len + 2 * most);
	if (!p.s)
		return -ENOMEM;
	p.room = p.s->text;
	p.s->requirement = calloc(most, sizeof(*p.s->requirement));
	p.s->value = calloc(most, sizeof(*p.s->value));
	int err = p.s->requirement && p.s->value ? parse(&p) : -ENOMEM;
	if (err) {
		clv_kube_selector_free(p.s);
		return err;
	}
	*out = p.s;
	return 0;
}

void clv_kube_selector_free(struct clv_kube_selector *s)
{
	if (!s)
		return;
	free(s->requirement);
	free(s->value);
	free(s);
}

/* ---- matching ---------------------------------------------------------------------------------------------------- */

static bool requirement_has(const struct clv_kube_selector *s, const struct requirement *r, const char *value)
{
	for (uint32_t i = 0; i < r->count; i++)
		if (strcmp(s->value[r->first + i], value) == 0)
			return true;
	return false;
}

/* `value`: the label's, or NULL without one. */
static bool requirement_holds(const struct clv_kube_selector *s, const struct requirement *r, const char *value)
{
	int64_t number;

	switch (r->op) {
	case OP_EXISTS:
		return value;
	case OP_ABSENT:
		return !value;
	case OP_IN:
		return value && requirement_has(s, r, value);
	case OP_NOT_IN:
		return !value || !requirement_has(s, r, value);
	case OP_GREATER:
		return value && number_of(value, &number) && number > r->number;
	case OP_LESS:
		return value && number_of(value, &number) && number < r->number;
	}
	return false;
}

bool clv_kube_selector_matches(const struct clv_kube_selector *s, const struct clv_kube_pairs *labels)
{
	for (size_t i = 0; i < s->requirement_count; i++) {
		const struct requirement *r = &s->requirement[i];

		if (!requirement_holds(s, r, clv_kube_pairs_get(labels, r->key)))
			return false;
	}
	return true;
}
