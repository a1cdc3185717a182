/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters on finished spans: KEY=VALUE, and expressions, which are compiled into an array of nodes once. Borrows its
 * values, never allocates. Filled at start or by a reload, then read by the engine thread.
 */
#include "export/filter.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

_Static_assert(CLV_FILTER_NODES <= UINT8_MAX, "nodes are named by a byte");

/* Linear in practice: on a mismatch only the last star is tried again, one byte further. */
bool clv_glob_match(struct clv_slice glob, struct clv_slice text)
{
	size_t g = 0, t = 0, star = SIZE_MAX, resume = 0;

	while (t < text.len) {
		if (g < glob.len && glob.data[g] == '*') {
			star = g++;
			resume = t;
		} else if (g < glob.len && (glob.data[g] == '?' || glob.data[g] == text.data[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (g < glob.len && glob.data[g] == '*')
		g++;
	return g == glob.len;
}

int clv_duration_parse(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	char *end;

	if (*text < '0' || *text > '9') /* strtod would take signs, blanks, "inf" */
		return -EINVAL;
	double v = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		v *= units[i].ns;
		if (v >= 9e18)
			return -EINVAL;
		*ns = (uint64_t)(v + 0.5);
		return 0;
	}
	return -EINVAL;
}

/* 404, or a class: 4xx. */
static int filter_status(const char *text, int *least, int *most)
{
	if (strlen(text) != 3 || text[0] < '1' || text[0] > '9')
		return -EINVAL;
	int class = (text[0] - '0') * 100;
	if (strcasecmp(text + 1, "xx") == 0) {
		*least = class;
		*most = class + 99;
		return 0;
	}
	if (text[1] < '0' || text[1] > '9' || text[2] < '0' || text[2] > '9')
		return -EINVAL;
	*least = *most = class + (text[1] - '0') * 10 + text[2] - '0';
	return 0;
}

/* ---- KEY=VALUE ------------------------------------------------------------------------------------------------- */

static bool filter_is_pair(const char *text)
{
	static const char *const keys[] = {"method=", "path=", "status=", "min-duration="};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		size_t len = strlen(keys[i]);

		if (strncmp(text, keys[i], len) == 0)
			return text[len] != '=' && text[len] != '~';
	}
	return false;
}

static int filter_add_pair(struct clv_filter *f, const char *text, const char **why)
{
	const char *equals = strchr(text, '=');
	struct clv_slice key = clv_slice(text, (size_t)(equals - text));
	const char *value = equals + 1;
	bool method = clv_slice_eq(key, CLV_LIT("method")), path = clv_slice_eq(key, CLV_LIT("path"));
	bool status = clv_slice_eq(key, CLV_LIT("status")), least = clv_slice_eq(key, CLV_LIT("min-duration"));

	*why = "there is no value after the =";
	if (!*value)
		return -EINVAL;
	if (least) {
		*why = "a duration is a number with its unit: 10ms (ns, us, ms, s, m, h)";
		return clv_duration_parse(value, &f->min_ns);
	}
	*why = "too many values of one key";
	if ((method && f->methods == CLV_FILTER_VALUES) || (path && f->paths == CLV_FILTER_VALUES) ||
	    (status && f->statuses == CLV_FILTER_VALUES))
		return -EINVAL;
	if (method) {
		f->method[f->methods++] = clv_slice_str(value);
	} else if (path) {
		f->path[f->paths++] = clv_slice_str(value);
	} else {
		*why = "a status is a code or a class: 404, 4xx";
		if (filter_status(value, &f->status[f->statuses].least, &f->status[f->statuses].most))
			return -EINVAL;
		f->statuses++;
	}
	return 0;
}

/* ---- expressions: names and values ----------------------------------------------------------------------------- */

enum filter_op { FILTER_TEST, FILTER_AND, FILTER_OR, FILTER_NOT };

enum filter_compare {
	FILTER_EQ,
	FILTER_NE,
	FILTER_LT,
	FILTER_LE,
	FILTER_GT,
	FILTER_GE,
	FILTER_LIKE,
	FILTER_UNLIKE,
	FILTER_HAS
};

/* By what comes first. */
enum filter_subject {
	FILTER_ATTRIBUTE, /* of the span, or of its resource, or a header field */
	FILTER_NAME,
	FILTER_KIND,
	FILTER_DURATION,
	FILTER_STATUS,
	FILTER_METHOD,
	FILTER_TARGET,
	FILTER_PATH,
	FILTER_PROTOCOL,
	FILTER_TRACE_ID,
};

enum filter_value { FILTER_TEXT, FILTER_NUMBER, FILTER_TIME };

static const struct {
	const char *name;
	enum filter_subject subject;
} filter_fields[] = {
	{"name", FILTER_NAME},     {"kind", FILTER_KIND},         {"duration", FILTER_DURATION},
	{"status", FILTER_STATUS}, {"method", FILTER_METHOD},     {"target", FILTER_TARGET},
	{"path", FILTER_PATH},     {"protocol", FILTER_PROTOCOL}, {"trace_id", FILTER_TRACE_ID},
};

/* The number that all of the text is; a time, if it has a unit. */
static enum filter_value filter_number(struct clv_slice text, double *out)
{
	char copy[64], *end;
	uint64_t ns;
	size_t digits = text.len && text.data[0] == '-';

	if (text.len >= sizeof(copy) || digits >= text.len || text.data[digits] < '0' || text.data[digits] > '9' ||
	    memchr(text.data, 'x', text.len) || memchr(text.data, 'X', text.len))
		return FILTER_TEXT;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	if (!clv_duration_parse(copy, &ns)) {
		*out = (double)ns;
		return FILTER_TIME;
	}
	double v = strtod(copy, &end);
	if (*end)
		return FILTER_TEXT;
	*out = v;
	return FILTER_NUMBER;
}

/* ---- expressions: the compiler ------------------------------------------------------------------------------------
 */

struct filter_parser {
	struct clv_filter *f;
	const char *text;
	size_t at, len;
	unsigned depth;
	const char **why;
};

static int filter_or(struct filter_parser *p, uint8_t *out);

static int filter_fail(const struct filter_parser *p, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static int filter_fail(const struct filter_parser *p, size_t at, const char *fmt, ...)
{
	static _Thread_local char why[200];
	va_list ap;
	int n = snprintf(why, sizeof(why), "column %zu: ", at + 1);

	va_start(ap, fmt);
	vsnprintf(why + n, sizeof(why) - (size_t)n, fmt, ap);
	va_end(ap);
	*p->why = why;
	return -EINVAL;
}

static void filter_blanks(struct filter_parser *p)
{
	while (p->at < p->len && strchr(" \t\n\r", p->text[p->at]))
		p->at++;
}

static bool filter_take(struct filter_parser *p, const char *token)
{
	size_t len = strlen(token);

	filter_blanks(p);
	if (p->len - p->at < len || memcmp(p->text + p->at, token, len) != 0)
		return false;
	p->at += len;
	return true;
}

static int filter_node(struct filter_parser *p, struct clv_filter_node node, uint8_t *out)
{
	if (p->f->nodes == CLV_FILTER_NODES)
		return filter_fail(p, p->at, "there are more than %d tests in all filters together",
				   CLV_FILTER_NODES / 2);
	*out = p->f->nodes++;
	p->f->node[*out] = node;
	return 0;
}

static bool filter_in_name(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
	       c == '-';
}

/* A name, as the subject of a test. */
static int filter_name(struct filter_parser *p, struct clv_filter_node *node)
{
	filter_blanks(p);
	size_t from = p->at;
	while (p->at < p->len && filter_in_name(p->text[p->at]))
		p->at++;
	node->name = clv_slice(p->text + from, p->at - from);
	node->key = CLV_ATTR_COUNT;
	if (!node->name.len)
		return filter_fail(p, from, "the name of an attribute is expected, or ( or !");
	for (size_t i = 0; i < sizeof(filter_fields) / sizeof(*filter_fields); i++)
		if (clv_slice_eq(node->name, clv_slice_str(filter_fields[i].name))) {
			node->subject = (uint8_t)filter_fields[i].subject;
			return 0;
		}
	if (clv_slice_find(node->name, 0, '.') == node->name.len)
		return filter_fail(p, from,
				   "'%.*s' is no attribute, nor one of name, kind, duration, status, method, target, "
				   "path, protocol, trace_id",
				   (int)(node->name.len < 40 ? node->name.len : 40), (const char *)node->name.data);
	for (unsigned key = 0; key < CLV_ATTR_COUNT; key++)
		if (clv_slice_eq(node->name, clv_slice_str(clv_attr_name((enum clv_attr_key)key))))
			node->key = (uint16_t)key;
	return 0;
}

static int filter_value(struct filter_parser *p, struct clv_filter_node *node)
{
	filter_blanks(p);
	size_t from = p->at;
	char quote = p->at < p->len ? p->text[p->at] : '\0';

	if (quote == '"' || quote == '\'') {
		struct clv_slice rest = clv_slice(p->text, p->len);
		size_t end = clv_slice_find(rest, from + 1, (uint8_t)quote);

		if (end == p->len)
			return filter_fail(p, from, "the quote %c is not closed", quote);
		node->text = clv_slice(p->text + from + 1, end - from - 1);
		p->at = end + 1;
	} else {
		while (p->at < p->len && !strchr(" \t\r\n()\"'&|<>=!", p->text[p->at]))
			p->at++;
		node->text = clv_slice(p->text + from, p->at - from);
		if (!node->text.len)
			return filter_fail(p, from,
					   "a value is expected: a word, a number, a duration, or a text in quotes");
	}
	node->value = (uint8_t)filter_number(node->text, &node->number);
	bool ordered = node->compare >= FILTER_LT && node->compare <= FILTER_GE;
	if (node->subject == FILTER_DURATION && (node->compare >= FILTER_LIKE || node->value != FILTER_TIME))
		return filter_fail(p, from,
				   "a duration is compared with a number and its unit: duration > 10ms "
				   "(ns, us, ms, s, m, h)");
	if (ordered && node->value == FILTER_TEXT)
		return filter_fail(p, from, "a number or a duration is expected behind <, <=, > and >=");
	return 0;
}

static int filter_test(struct filter_parser *p, uint8_t *out)
{
	static const struct {
		const char *token;
		enum filter_compare compare;
	} operators[] = {{"==", FILTER_EQ},   {"!=", FILTER_NE},     {"<=", FILTER_LE}, {">=", FILTER_GE},
			 {"=~", FILTER_LIKE}, {"!~", FILTER_UNLIKE}, {"<", FILTER_LT},  {">", FILTER_GT}};
	struct clv_filter_node node = {.op = FILTER_TEST, .compare = FILTER_HAS};
	int err;

	if (filter_take(p, "has(")) {
		err = filter_name(p, &node);
		if (err)
			return err;
		if (!filter_take(p, ")"))
			return filter_fail(p, p->at, ") is expected");
		return filter_node(p, node, out);
	}
	err = filter_name(p, &node);
	if (err)
		return err;
	filter_blanks(p);
	size_t at = p->at;
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (filter_take(p, operators[i].token)) {
			node.compare = (uint8_t)operators[i].compare;
			err = filter_value(p, &node);
			return err ? err : filter_node(p, node, out);
		}
	if (at < p->len && !strchr("&|)", p->text[at]))
		return filter_fail(p, at, "one of == != < <= > >= =~ !~ && || is expected");
	return filter_node(p, node, out);
}

static int filter_not(struct filter_parser *p, uint8_t *out)
{
	uint8_t inner;
	int err;

	filter_blanks(p);
	size_t at = p->at;
	bool negated = p->at + 1 < p->len && p->text[p->at] == '!';
	if (!negated && !(p->at < p->len && p->text[p->at] == '('))
		return filter_test(p, out);
	p->at++;
	if (++p->depth > CLV_FILTER_DEPTH)
		return filter_fail(p, at, "more than %d of ( and ! are within each other", CLV_FILTER_DEPTH);
	err = negated ? filter_not(p, &inner) : filter_or(p, out);
	if (!err && negated)
		err = filter_node(p, (struct clv_filter_node){.op = FILTER_NOT, .left = inner}, out);
	if (!err && !negated && !filter_take(p, ")"))
		err = filter_fail(p, p->at, ") is expected, or && or ||");
	p->depth--;
	return err;
}

/* What `token` joins, from left to right. */
static int filter_joined(struct filter_parser *p, const char *token, enum filter_op op,
			 int (*part)(struct filter_parser *p, uint8_t *out), uint8_t *out)
{
	int err = part(p, out);

	while (!err && filter_take(p, token)) {
		struct clv_filter_node node = {.op = (uint8_t)op, .left = *out};

		err = part(p, &node.right);
		if (!err)
			err = filter_node(p, node, out);
	}
	return err;
}

static int filter_and(struct filter_parser *p, uint8_t *out)
{
	return filter_joined(p, "&&", FILTER_AND, filter_not, out);
}

static int filter_or(struct filter_parser *p, uint8_t *out)
{
	return filter_joined(p, "||", FILTER_OR, filter_and, out);
}

static int filter_add_expression(struct clv_filter *f, const char *text, const char **why)
{
	struct filter_parser p = {.f = f, .text = text, .len = strlen(text), .why = why};
	uint8_t nodes = f->nodes, root = 0;

	if (p.len > CLV_FILTER_BYTES)
		return filter_fail(&p, CLV_FILTER_BYTES, "an expression has at most %d bytes", CLV_FILTER_BYTES);
	int err = filter_or(&p, &root);
	filter_blanks(&p);
	if (!err && p.at < p.len)
		err = filter_fail(&p, p.at, "&& or || is expected");
	if (!err && nodes)
		err = filter_node(&p, (struct clv_filter_node){.op = FILTER_AND, .left = f->root, .right = root},
				  &root);
	if (err)
		f->nodes = nodes;
	else
		f->root = root;
	return err;
}

int clv_filter_add(struct clv_filter *f, const char *text, const char **why)
{
	return filter_is_pair(text) ? filter_add_pair(f, text, why) : filter_add_expression(f, text, why);
}

/* ---- matching: KEY=VALUE ----------------------------------------------------------------------------------------- */

/* What the request asked for, without its query. */
static struct clv_slice filter_path(const struct clv_span *span)
{
	const struct clv_attr *path = clv_span_get(span, CLV_ATTR_URL_PATH);

	if (path && path->type == CLV_TYPE_STRING)
		return path->s;
	return clv_slice_head(span->target, clv_slice_find(span->target, 0, '?'));
}

static bool filter_method_matches(const struct clv_filter *f, const struct clv_span *span)
{
	for (unsigned i = 0; i < f->methods; i++)
		if (clv_slice_eq_nocase(f->method[i], span->method))
			return true;
	return f->methods == 0;
}

static bool filter_path_matches(const struct clv_filter *f, const struct clv_span *span)
{
	if (f->paths == 0)
		return true;
	struct clv_slice path = filter_path(span);
	for (unsigned i = 0; i < f->paths; i++)
		if (clv_glob_match(f->path[i], path))
			return true;
	return false;
}

static bool filter_status_matches(const struct clv_filter *f, const struct clv_span *span)
{
	for (unsigned i = 0; i < f->statuses; i++)
		if (span->status_code >= f->status[i].least && span->status_code <= f->status[i].most)
			return true;
	return f->statuses == 0;
}

static uint64_t filter_lasted_ns(const struct clv_span *span)
{
	return span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
}

/* ---- matching: expressions --------------------------------------------------------------------------------------- */

static bool filter_orders(const struct clv_filter_node *n, double v)
{
	switch (n->compare) {
	case FILTER_LT:
		return v < n->number;
	case FILTER_LE:
		return v <= n->number;
	case FILTER_GT:
		return v > n->number;
	case FILTER_GE:
		return v >= n->number;
	default:
		return v == n->number;
	}
}

/* != and !~ are asked as == and =~, and then turned round: also of several values, and where there is none. */
static bool filter_is_turned(const struct clv_filter_node *n)
{
	return n->compare == FILTER_NE || n->compare == FILTER_UNLIKE;
}

static bool filter_like(const struct clv_filter_node *n)
{
	return n->compare == FILTER_LIKE || n->compare == FILTER_UNLIKE;
}

static bool filter_text_fits(const struct clv_filter_node *n, struct clv_slice text, bool fold)
{
	double v;

	if (n->compare == FILTER_HAS)
		return text.len > 0;
	if (filter_like(n))
		return clv_glob_match(n->text, text);
	if (n->compare == FILTER_EQ || n->compare == FILTER_NE)
		return fold ? clv_slice_eq_nocase(n->text, text) : clv_slice_eq(n->text, text);
	return filter_number(text, &v) == FILTER_NUMBER && filter_orders(n, v);
}

static bool filter_number_fits(const struct clv_filter_node *n, int64_t v)
{
	char text[24];

	if (n->compare == FILTER_HAS)
		return true;
	if (filter_like(n))
		return clv_glob_match(n->text,
				      clv_slice(text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)v)));
	return n->value != FILTER_TEXT && filter_orders(n, (double)v);
}

static bool filter_attr_fits(const struct clv_filter_node *n, const struct clv_attr *a)
{
	switch (a->type) {
	case CLV_TYPE_INT:
		return filter_number_fits(n, a->i);
	case CLV_TYPE_BOOL:
		return n->compare == FILTER_HAS ||
		       filter_text_fits(n, a->b ? CLV_LIT("true") : CLV_LIT("false"), false);
	case CLV_TYPE_STRINGS:
		if (n->compare == FILTER_HAS)
			return true;
		for (struct clv_slice rest = a->s; rest.len;) {
			size_t end = clv_slice_find(rest, 0, '\0');

			if (filter_text_fits(n, clv_slice_head(rest, end), false))
				return true;
			rest = clv_slice_from(rest, end + 1);
		}
		return false;
	default:
		return n->compare == FILTER_HAS || filter_text_fits(n, a->s, false);
	}
}

/* A header field that was captured; of several of a name one must fit. */
static bool filter_header_fits(const struct clv_filter_node *n, const struct clv_span *span)
{
	static const struct clv_slice prefix[] = {CLV_LIT("http.request.header."), CLV_LIT("http.response.header.")};

	for (uint16_t i = 0; i < span->header_count; i++) {
		const struct clv_span_header *h = &span->header[i];
		struct clv_slice start = prefix[h->response];

		if (clv_slice_starts(n->name, start) &&
		    clv_slice_eq_nocase(clv_slice_from(n->name, start.len), h->name) &&
		    (n->compare == FILTER_HAS || filter_text_fits(n, h->value, false)))
			return true;
	}
	return false;
}

static bool filter_attribute_fits(const struct clv_filter_node *n, const struct clv_span *span)
{
	for (uint16_t i = 0; i < span->attr_count; i++) {
		const struct clv_attr *a = &span->attr[i];
		bool same = n->key < CLV_ATTR_COUNT
				    ? a->key == n->key
				    : a->key >= CLV_ATTR_COUNT &&
					      clv_slice_eq(n->name,
							   clv_slice_str(clv_attr_name((enum clv_attr_key)a->key)));

		if (same)
			return filter_attr_fits(n, a);
	}
	for (uint32_t i = 0; span->resource && i < span->resource->count; i++)
		if (clv_slice_eq(n->name, span->resource->attr[i].key))
			return n->compare == FILTER_HAS || filter_text_fits(n, span->resource->attr[i].value, false);
	return span->header_count && filter_header_fits(n, span);
}

/* ok, error, a code or a class of codes, or what the protocol calls its result. */
static bool filter_status_fits(const struct clv_filter_node *n, const struct clv_span *span)
{
	bool failed = span->status == CLV_STATUS_ERROR;
	char text[8];
	int least, most;

	if (n->compare == FILTER_HAS)
		return span->status_code || span->result.len;
	if (n->compare >= FILTER_LT && n->compare <= FILTER_GE)
		return span->status_code && filter_orders(n, span->status_code);
	if (!filter_like(n) && clv_slice_eq_nocase(n->text, CLV_LIT("error")))
		return failed;
	if (!filter_like(n) && clv_slice_eq_nocase(n->text, CLV_LIT("ok")))
		return !failed;
	if (!filter_like(n) && n->text.len == 3) {
		memcpy(text, n->text.data, 3);
		text[3] = '\0';
		if (!filter_status(text, &least, &most))
			return span->status_code >= least && span->status_code <= most;
	}
	if (!filter_like(n) && n->value == FILTER_NUMBER)
		return filter_orders(n, span->status_code);
	return span->result.len && filter_text_fits(n, span->result, true);
}

static bool filter_trace_id_fits(const struct clv_filter_node *n, const struct clv_span *span)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * sizeof(span->trace_id)];

	for (size_t i = 0; i < sizeof(span->trace_id); i++) {
		text[2 * i] = digits[span->trace_id[i] >> 4];
		text[2 * i + 1] = digits[span->trace_id[i] & 15];
	}
	return filter_text_fits(n, clv_slice(text, sizeof(text)), true);
}

static bool filter_fits(const struct clv_filter_node *n, const struct clv_span *span)
{
	switch ((enum filter_subject)n->subject) {
	case FILTER_NAME:
		return filter_text_fits(n, span->name, false);
	case FILTER_KIND:
		return filter_text_fits(n, span->kind == CLV_KIND_CLIENT ? CLV_LIT("client") : CLV_LIT("server"), true);
	case FILTER_DURATION:
		return n->compare == FILTER_HAS || filter_orders(n, (double)filter_lasted_ns(span));
	case FILTER_STATUS:
		return filter_status_fits(n, span);
	case FILTER_METHOD:
		return filter_text_fits(n, span->method, true);
	case FILTER_TARGET:
		return filter_text_fits(n, span->target, false);
	case FILTER_PATH:
		return filter_text_fits(n, filter_path(span), false);
	case FILTER_PROTOCOL:
		return filter_text_fits(n, clv_slice_str(span->protocol ? span->protocol : ""), true);
	case FILTER_TRACE_ID:
		return filter_trace_id_fits(n, span);
	case FILTER_ATTRIBUTE:
		break;
	}
	return filter_attribute_fits(n, span);
}

/* No deeper than there are nodes. */
static bool filter_holds(const struct clv_filter *f, uint8_t at, const struct clv_span *span)
{
	const struct clv_filter_node *n = &f->node[at];

	switch ((enum filter_op)n->op) {
	case FILTER_AND:
		return filter_holds(f, n->left, span) && filter_holds(f, n->right, span);
	case FILTER_OR:
		return filter_holds(f, n->left, span) || filter_holds(f, n->right, span);
	case FILTER_NOT:
		return !filter_holds(f, n->left, span);
	case FILTER_TEST:
		break;
	}
	return filter_fits(n, span) != filter_is_turned(n);
}

bool clv_filter_match(const struct clv_filter *f, const struct clv_span *span)
{
	return filter_lasted_ns(span) >= f->min_ns && filter_method_matches(f, span) &&
	       filter_status_matches(f, span) && filter_path_matches(f, span) &&
	       (!f->nodes || filter_holds(f, f->root, span));
}
