/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns templates as a tree of segments. A node is reached by one way only, so that a search visits each at most once,
 * whatever the path is. Never allocates in a search. Read-only once made; any thread.
 */
#include "trace/route.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"

#define NONE UINT32_MAX

enum kind { KIND_WORD, KIND_ONE, KIND_REST };

struct node {
	uint32_t parent;
	struct clv_slice word; /* of KIND_WORD, in the text of a template */
	uint32_t one;          /* the child that takes any segment, or NONE */
	uint32_t exact, rest;  /* templates that end here, or whose rest begins here; NONE */
};

struct clv_routes {
	uint32_t templates, nodes, slots; /* slots: a power of two, at least twice the nodes */
	uint32_t longest;                 /* word */
	struct node *node;                /* 0: the root, before the first slash */
	uint32_t *slot;                   /* children by word: numbers of nodes, or NONE */
	struct clv_slice *text;           /* the templates */
	char *bytes;
};

/* ---- the tree -------------------------------------------------------------------------------------------------- */

static uint32_t *routes_slot(const struct clv_routes *r, uint32_t parent, struct clv_slice word)
{
	uint32_t i = (uint32_t)clv_hash(word.data, word.len, parent) & (r->slots - 1);

	while (r->slot[i] != NONE) {
		const struct node *n = &r->node[r->slot[i]];

		if (n->parent == parent && clv_slice_eq(n->word, word))
			break;
		i = (i + 1) & (r->slots - 1);
	}
	return &r->slot[i];
}

static uint32_t routes_add_node(struct clv_routes *r, uint32_t parent, struct clv_slice word)
{
	r->node[r->nodes] = (struct node){.parent = parent, .word = word, .one = NONE, .exact = NONE, .rest = NONE};
	return r->nodes++;
}

static uint32_t routes_child(struct clv_routes *r, uint32_t at, enum kind kind, struct clv_slice word)
{
	if (kind == KIND_ONE) {
		if (r->node[at].one == NONE) {
			uint32_t child = routes_add_node(r, at, clv_slice(NULL, 0));
			r->node[at].one = child;
		}
		return r->node[at].one;
	}
	uint32_t *slot = routes_slot(r, at, word);
	if (*slot == NONE)
		*slot = routes_add_node(r, at, word);
	if (word.len > r->longest)
		r->longest = (uint32_t)word.len;
	return *slot;
}

/* ---- templates ------------------------------------------------------------------------------------------------- */

/* {name} or {name...}: is what stands between the braces a name? */
static bool route_is_name(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = clv_ascii_lower(s.data[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
			return false;
	}
	return s.len > 0;
}

/* What kind of segment this is. Returns NULL, or what is wrong with it. */
static const char *route_segment(struct clv_slice s, bool last, enum kind *kind)
{
	*kind = KIND_WORD;
	if (clv_slice_eq(s, CLV_LIT("*"))) {
		*kind = last ? KIND_REST : KIND_ONE;
		return NULL;
	}
	if (s.len && s.data[0] == '{' && s.data[s.len - 1] == '}') {
		struct clv_slice name = clv_slice_sub(s, 1, s.len - 2);
		bool rest = name.len >= 3 && memcmp(name.data + name.len - 3, "...", 3) == 0;

		if (rest)
			name.len -= 3;
		if (!route_is_name(name))
			return "a name between braces may have letters, digits, '_', '-' and '.'";
		if (rest && !last)
			return "only the last segment may take the rest";
		*kind = rest ? KIND_REST : KIND_ONE;
		return NULL;
	}
	if (memchr(s.data, '{', s.len) || memchr(s.data, '}', s.len) || memchr(s.data, '*', s.len))
		return "'{', '}' and '*' must be a whole segment";
	return NULL;
}

static const char *route_check(struct clv_slice t)
{
	if (!t.len || t.data[0] != '/')
		return "it must begin with '/'";
	if (t.len > CLV_ROUTE_BYTES)
		return "it is too long";
	for (size_t i = 0; i < t.len; i++)
		if (t.data[i] <= ' ' || t.data[i] == 0x7f || t.data[i] == '?' || t.data[i] == '#')
			return "it is no path";
	return NULL;
}

/* Puts template `number` into the tree. Returns NULL, or what is wrong with it. */
static const char *route_insert(struct clv_routes *r, uint32_t number)
{
	struct clv_slice t = r->text[number];
	const char *wrong = route_check(t);
	uint32_t at = 0, segments = 0;
	enum kind kind = KIND_WORD;

	for (size_t from = 1; !wrong && from <= t.len; segments++) {
		size_t end = clv_slice_find(t, from, '/');
		struct clv_slice s = clv_slice(t.data + from, end - from);

		if (segments == CLV_ROUTE_SEGMENTS)
			return "it has too many segments";
		wrong = route_segment(s, end == t.len, &kind);
		if (!wrong && kind != KIND_REST)
			at = routes_child(r, at, kind, s);
		from = end + 1;
	}
	if (wrong)
		return wrong;
	uint32_t *place = kind == KIND_REST ? &r->node[at].rest : &r->node[at].exact;
	if (*place != NONE)
		return "another one stands for the same paths";
	*place = number;
	return NULL;
}

static uint32_t route_count_segments(struct clv_slice t)
{
	uint32_t n = 1;

	for (size_t i = 0; i < t.len; i++)
		n += t.data[i] == '/';
	return n;
}

/* Room for all of them. Returns false without memory. */
static bool routes_reserve(struct clv_routes *r, const char *const *templates, uint32_t count)
{
	size_t bytes = 0, nodes = 1, used = 0;

	for (uint32_t i = 0; i < count; i++) {
		bytes += strlen(templates[i]);
		nodes += route_count_segments(clv_slice_str(templates[i]));
	}
	for (r->slots = 4; r->slots < 2 * nodes;)
		r->slots *= 2;
	r->node = calloc(nodes, sizeof(*r->node));
	r->slot = malloc(r->slots * sizeof(*r->slot));
	r->text = calloc(count + 1, sizeof(*r->text));
	r->bytes = malloc(bytes + 1);
	if (!r->node || !r->slot || !r->text || !r->bytes)
		return false;
	memset(r->slot, 0xff, r->slots * sizeof(*r->slot));
	for (uint32_t i = 0; i < count; i++) {
		size_t len = strlen(templates[i]);

		memcpy(r->bytes + used, templates[i], len);
		r->text[i] = clv_slice(r->bytes + used, len);
		used += len;
	}
	return true;
}

int clv_routes_new(const char *const *templates, size_t count, struct clv_routes **out, char *why, size_t why_size)
{
	struct clv_routes *r;

	if (count > CLV_ROUTES_MAX) {
		snprintf(why, why_size, "more than %u templates", CLV_ROUTES_MAX);
		return -E2BIG;
	}
	for (size_t i = 0; i < count; i++)
		if (strlen(templates[i]) > CLV_ROUTE_BYTES) {
			snprintf(why, why_size, "template %zu is longer than %u bytes", i + 1, CLV_ROUTE_BYTES);
			return -EINVAL;
		}
	if (!(r = calloc(1, sizeof(*r))) || !routes_reserve(r, templates, (uint32_t)count)) {
		clv_routes_free(r);
		return -ENOMEM;
	}
	routes_add_node(r, NONE, clv_slice(NULL, 0));
	for (; r->templates < count; r->templates++) {
		const char *wrong = route_insert(r, r->templates);

		if (!wrong)
			continue;
		snprintf(why, why_size, "template %s: %s", templates[r->templates], wrong);
		clv_routes_free(r);
		return -EINVAL;
	}
	*out = r;
	return 0;
}

void clv_routes_free(struct clv_routes *r)
{
	if (!r)
		return;
	free(r->node);
	free(r->slot);
	free(r->text);
	free(r->bytes);
	free(r);
}

/* ---- matching -------------------------------------------------------------------------------------------------- */

/*
 * The best template for what follows behind node `at`, where `path` goes on at `from`: behind a slash, or past the end
 * when the path is used up. Words first, then {name}, then the rest. As deep as templates are long.
 */
static uint32_t routes_search(const struct clv_routes *r, uint32_t at, struct clv_slice path, size_t from)
{
	const struct node *n = &r->node[at];
	uint32_t found = NONE;

	if (from > path.len)
		return n->exact;
	size_t end = clv_slice_find(path, from, '/');
	struct clv_slice s = clv_slice(path.data + from, end - from);
	if (s.len <= r->longest) {
		uint32_t child = *routes_slot(r, at, s);

		if (child != NONE)
			found = routes_search(r, child, path, end + 1);
	}
	if (found == NONE && s.len && n->one != NONE)
		found = routes_search(r, n->one, path, end + 1);
	return found != NONE ? found : n->rest;
}

struct clv_slice clv_routes_match(const struct clv_routes *r, struct clv_slice path)
{
	if (!path.len || path.data[0] != '/')
		return clv_slice(NULL, 0);
	uint32_t found = routes_search(r, 0, path, 1);
	return found != NONE ? r->text[found] : clv_slice(NULL, 0);
}

/* ---- guessing -------------------------------------------------------------------------------------------------- */

/* What a segment is made of. */
struct census {
	size_t digits, upper, lower, hex; /* hex: letters a to f of either case */
	size_t joints;                    /* - _ . ~ */
	size_t others;
};

static struct census take_census(struct clv_slice s)
{
	struct census c = {0};

	for (size_t i = 0; i < s.len; i++) {
		uint8_t b = s.data[i], low = clv_ascii_lower(b);

		c.digits += b >= '0' && b <= '9';
		c.upper += b >= 'A' && b <= 'Z';
		c.lower += b >= 'a' && b <= 'z';
		c.hex += low >= 'a' && low <= 'f';
		c.joints += b == '-' || b == '_' || b == '.' || b == '~';
	}
	c.others = s.len - c.digits - c.upper - c.lower - c.joints;
	return c;
}

/* Does `s` follow the pattern: # a digit, h a hex digit, anything else itself? */
static bool looks_like(struct clv_slice s, const char *pattern)
{
	if (s.len != strlen(pattern))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i], low = clv_ascii_lower(c);
		bool digit = c >= '0' && c <= '9';

		if (pattern[i] == '#'   ? !digit
		    : pattern[i] == 'h' ? !digit && !(low >= 'a' && low <= 'f')
					: c != (uint8_t)pattern[i])
			return false;
	}
	return true;
}

static bool is_date(struct clv_slice s)
{
	return looks_like(clv_slice_head(s, 10), "####-##-##") && (s.len == 10 || s.data[10] == 'T');
}

/* What stands for a segment; itself when it looks like a word. */
static struct clv_slice route_guess_segment(struct clv_slice s)
{
	/* Only so much is looked at. What is longer is no word, whatever it is. */
	struct clv_slice seen = clv_slice_head(s, 4 * CLV_TEMPLATE_WORD);
	struct census c = take_census(seen);

	if (!s.len || (c.digits == 0 && c.others == 0 && s.len < 16))
		return s;
	if (s.len == c.digits)
		return CLV_LIT("{id}");
	if (looks_like(s, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"))
		return CLV_LIT("{uuid}");
	if (is_date(s))
		return CLV_LIT("{date}");
	/* "feedface" is a word, "facade01" is not; 16 hex digits are none even without a digit among them. */
	if (c.digits + c.hex == s.len && (s.len >= 16 || (s.len >= 8 && c.digits && c.hex)))
		return CLV_LIT("{hash}");
	/* base64url, ULID, JWT: letters and digits mixed, of both cases or without anything that joins words. */
	if (s.len >= 20 && !c.others && c.digits && c.upper + c.lower && ((c.upper && c.lower) || !c.joints))
		return CLV_LIT("{token}");
	if (c.others || s.len > CLV_TEMPLATE_WORD)
		return CLV_LIT("{text}");
	return s;
}

struct clv_slice clv_route_guess(struct clv_slice path, char *out)
{
	struct clv_buf b = clv_buf(out, CLV_TEMPLATE_BYTES);

	if (!path.len || path.data[0] != '/')
		return clv_slice(NULL, 0);
	for (size_t from = 1, depth = 0; from <= path.len; depth++) {
		size_t end = clv_slice_find(path, from, '/');

		clv_buf_char(&b, '/');
		if (depth == CLV_TEMPLATE_DEPTH) {
			clv_buf_lit(&b, "...");
			break;
		}
		clv_buf_slice(&b, route_guess_segment(clv_slice(path.data + from, end - from)));
		from = end + 1;
	}
	return clv_slice(b.data, b.len);
}
