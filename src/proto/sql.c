/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL into tokens, and tokens into a text without literals. The summary: sql_summary.c.
 *
 *	blank    = white space | "--" line | "#" line (MySQL) | "/" "*" ... "*" "/" (nested in PostgreSQL)
 *	literal  = '...' with '' inside | E'...' B'...' X'...' N'...' U&'...' | $tag$...$tag$ | "..." (MySQL)
 *	         | number with its sign | 0x1F | TRUE | FALSE
 *	name     = letters, digits, "_", "$" | "..." (PostgreSQL) | `...` (MySQL)
 *
 * PostgreSQL manual, "Lexical Structure"; MySQL manual, "Language Structure". What is not closed runs to the end. In
 * doubt something is a literal. Owns nothing, allocates nothing, any thread.
 */
#include "proto/sql.h"

#include "proto/sql_lex.h"

bool clv_sql_verbatim;

struct sql_lexer {
	struct clv_slice in;
	size_t at;
	enum clv_sql_dialect dialect;
	enum clv_sql_backslash backslash;
	bool whole;
	bool executable; /* within a comment that MySQL executes */
	bool value;      /* the token before was a value, so that a sign is an operator... */
	bool after_dot;  /* ...or a dot that follows a name, so that a digit begins a name */
	bool was_is;     /* IS, or IS NOT: what follows is no literal */
	bool ambiguous;  /* nobody can tell where the last literal ends */
};

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

static bool sql_is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool sql_is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

static bool sql_begins_name(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26 || c == '_' || c >= 0x80;
}

static bool sql_in_name(uint8_t c)
{
	return sql_begins_name(c) || sql_is_digit(c) || c == '$';
}

/* The byte `ahead` of the place; 0 past the end. */
static uint8_t sql_peek(const struct sql_lexer *l, size_t ahead)
{
	return l->at + ahead < l->in.len ? l->in.data[l->at + ahead] : 0;
}

/* ---- what is blank --------------------------------------------------------------------------------------------- */

static void sql_line_comment(struct sql_lexer *l)
{
	while (l->at < l->in.len && l->in.data[l->at] != '\n' &&
	       !(l->dialect == CLV_SQL_POSTGRESQL && l->in.data[l->at] == '\r'))
		l->at++;
}

static void sql_block_comment(struct sql_lexer *l)
{
	uint32_t depth = 0;

	do {
		if (sql_peek(l, 0) == '/' && sql_peek(l, 1) == '*' && (!depth || l->dialect == CLV_SQL_POSTGRESQL)) {
			depth++;
			l->at += 2;
		} else if (sql_peek(l, 0) == '*' && sql_peek(l, 1) == '/') {
			depth--;
			l->at += 2;
		} else {
			l->at++;
		}
	} while (depth && l->at < l->in.len);
}

/* MySQL executes what stands in such a comment: only its marks are blank. */
static bool sql_executable_comment(struct sql_lexer *l)
{
	size_t mark = sql_peek(l, 2) == 'M' ? 3 : 2;

	if (l->dialect != CLV_SQL_MYSQL || sql_peek(l, mark) != '!')
		return false;
	l->at += mark + 1;
	while (sql_is_digit(sql_peek(l, 0)))
		l->at++;
	l->executable = true;
	return true;
}

/* Takes one piece of what is blank; false when there is none. */
static bool sql_blank_piece(struct sql_lexer *l)
{
	uint8_t c = sql_peek(l, 0), d = sql_peek(l, 1);
	bool mysql = l->dialect == CLV_SQL_MYSQL;

	if (l->at >= l->in.len)
		return false;
	if (sql_is_space(c)) {
		l->at++;
	} else if ((c == '#' && mysql) ||
		   (c == '-' && d == '-' && (!mysql || l->at + 2 >= l->in.len || sql_peek(l, 2) <= ' '))) {
		sql_line_comment(l);
	} else if (c == '/' && d == '*') {
		if (!sql_executable_comment(l))
			sql_block_comment(l);
	} else if (l->executable && c == '*' && d == '/') {
		l->at += 2;
		l->executable = false;
	} else {
		return false;
	}
	return true;
}

static bool sql_blank(struct sql_lexer *l)
{
	bool any = false;

	while (sql_blank_piece(l))
		any = true;
	return any;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* Behind the quotes whose first is at the place; a doubled one is a part of what they hold. */
static void sql_quotes(struct sql_lexer *l, bool escapes, bool unknown)
{
	uint8_t quote = l->in.data[l->at++];

	while (l->at < l->in.len) {
		uint8_t c = l->in.data[l->at++];

		if (c == '\\' && escapes) {
			l->at++;
		} else if (c == '\\' && unknown) {
			/* A pair of them means the same either way, unless one comes alone. */
			if (sql_peek(l, 0) == '\\') {
				l->at++;
			} else if (sql_peek(l, 0) == quote) {
				l->ambiguous = true;
				l->at = l->in.len;
			}
		} else if (c == quote) {
			if (sql_peek(l, 0) != quote)
				return;
			l->at++;
		}
	}
	l->at = l->in.len; /* an escape may have led past it */
}

static void sql_string(struct sql_lexer *l)
{
	sql_quotes(l, l->backslash == CLV_SQL_BACKSLASH_ESCAPES, l->backslash == CLV_SQL_BACKSLASH_UNKNOWN);
}

/* "$tag$" at the place: its length; 0 when there is none. */
static size_t sql_dollar_tag(const struct sql_lexer *l)
{
	size_t n = 1;

	if (sql_is_digit(sql_peek(l, 1)))
		return 0;
	while (sql_peek(l, n) != '$' && sql_in_name(sql_peek(l, n)))
		n++;
	return sql_peek(l, n) == '$' ? n + 1 : 0;
}

static void sql_dollar_string(struct sql_lexer *l, size_t tag_len)
{
	struct clv_slice tag = clv_slice_sub(l->in, l->at, tag_len), rest = clv_slice_from(l->in, l->at + tag_len);
	const uint8_t *end = rest.len && tag.data ? memmem(rest.data, rest.len, tag.data, tag.len) : NULL;

	l->at = end ? (size_t)(end - l->in.data) + tag_len : l->in.len;
}

/* A number, or what only begins like one: no part of it is shown. */
static void sql_number(struct sql_lexer *l)
{
	bool hex = sql_peek(l, 0) == '0' && (sql_peek(l, 1) | 0x20) == 'x';

	for (uint8_t c; l->at < l->in.len; l->at++) {
		c = sql_peek(l, 0);
		if (!hex && (c | 0x20) == 'e' && (sql_peek(l, 1) == '-' || sql_peek(l, 1) == '+') &&
		    sql_is_digit(sql_peek(l, 2)))
			l->at++;
		else if (!sql_in_name(c) && (c != '.' || sql_peek(l, 1) == '.'))
			break;
	}
}

static void sql_name(struct sql_lexer *l)
{
	while (sql_in_name(sql_peek(l, 0)))
		l->at++;
}

/* Letters that make a string of another kind of the quotes behind them: bytes of them; 0: none. */
static size_t sql_prefix(const struct sql_lexer *l)
{
	uint8_t c = sql_peek(l, 0) | 0x20;

	if (sql_peek(l, 1) == '\'' && memchr("bxn", c, 3))
		return 1;
	if (l->dialect == CLV_SQL_MYSQL)
		return 0;
	if (sql_peek(l, 1) == '\'' && c == 'e')
		return 1;
	return c == 'u' && sql_peek(l, 1) == '&' && (sql_peek(l, 2) == '\'' || sql_peek(l, 2) == '"') ? 2 : 0;
}

static enum clv_sql_kind sql_prefixed(struct sql_lexer *l, size_t prefix)
{
	bool escapes = (sql_peek(l, 0) | 0x20) == 'e';
	bool name = sql_peek(l, prefix) == '"';

	l->at += prefix;
	if (escapes || name)
		sql_quotes(l, escapes, false);
	else
		sql_string(l);
	return name ? CLV_SQL_QUOTED : CLV_SQL_LITERAL;
}

static enum clv_sql_kind sql_quoted(struct sql_lexer *l)
{
	uint8_t c = sql_peek(l, 0);

	if (c == '\'' || (c == '"' && l->dialect == CLV_SQL_MYSQL)) {
		sql_string(l);
		return CLV_SQL_LITERAL;
	}
	sql_quotes(l, false, false);
	return CLV_SQL_QUOTED;
}

static enum clv_sql_kind sql_dollar(struct sql_lexer *l)
{
	size_t tag = l->dialect == CLV_SQL_POSTGRESQL ? sql_dollar_tag(l) : 0;

	if (tag) {
		sql_dollar_string(l, tag);
		return CLV_SQL_LITERAL;
	}
	l->at++;
	if (l->dialect == CLV_SQL_MYSQL) {
		sql_name(l);
		return CLV_SQL_WORD;
	}
	if (!sql_is_digit(sql_peek(l, 0))) { /* half a tag */
		sql_name(l);
		return CLV_SQL_LITERAL;
	}
	while (sql_is_digit(sql_peek(l, 0)))
		l->at++;
	return CLV_SQL_PARAM;
}

/* MySQL has names that begin with digits; behind a dot nothing else does. */
static bool sql_digits_name(const struct sql_lexer *l)
{
	size_t n = 0;

	while (sql_is_digit(sql_peek(l, n)))
		n++;
	return n && l->after_dot && l->dialect == CLV_SQL_MYSQL && sql_in_name(sql_peek(l, n));
}

/* Does a number begin here, perhaps with its sign or its dot? */
static bool sql_begins_number(const struct sql_lexer *l)
{
	uint8_t c = sql_peek(l, 0);
	size_t sign = (c == '-' || c == '+') && !l->value ? 1 : 0;
	uint8_t d = sql_peek(l, sign);

	if (sql_is_digit(d))
		return sign || !sql_digits_name(l);
	return d == '.' && !l->value && sql_is_digit(sql_peek(l, sign + 1));
}

static enum clv_sql_kind sql_kind(struct sql_lexer *l)
{
	uint8_t c = sql_peek(l, 0);
	size_t prefix = sql_prefix(l);

	if (prefix)
		return sql_prefixed(l, prefix);
	if (c == '\'' || c == '"' || (c == '`' && l->dialect == CLV_SQL_MYSQL))
		return sql_quoted(l);
	if (sql_begins_number(l)) {
		if (c == '-' || c == '+')
			l->at++;
		sql_number(l);
		return CLV_SQL_LITERAL;
	}
	if (sql_begins_name(c) || sql_is_digit(c)) {
		sql_name(l);
		return CLV_SQL_WORD;
	}
	if (c == '$')
		return sql_dollar(l);
	l->at++;
	if (c == '?')
		return CLV_SQL_PARAM;
	if (c == ':' && sql_begins_name(sql_peek(l, 0)) && !(l->at >= 2 && l->in.data[l->at - 2] == ':')) {
		sql_name(l);
		return CLV_SQL_PARAM;
	}
	return CLV_SQL_PUNCT;
}

/* What the next token has to know of this one. */
static void sql_remember(struct sql_lexer *l, const struct clv_sql_token *t)
{
	uint8_t c = t->text.data[0];

	l->after_dot = t->kind == CLV_SQL_PUNCT && c == '.' && l->value && !t->spaced && !sql_is_space(sql_peek(l, 0));
	if (t->kind == CLV_SQL_WORD)
		l->value = !(t->traits & CLV_SQL_SIGNED);
	else
		l->value = t->kind != CLV_SQL_PUNCT || c == ')' || c == ']';
	l->was_is = t->word == CLV_SQL_IS || (l->was_is && clv_slice_eq_nocase(t->text, CLV_LIT("not")));
}

static bool sql_next(struct sql_lexer *l, struct clv_sql_token *t)
{
	*t = (struct clv_sql_token){.spaced = sql_blank(l)};
	if (l->at >= l->in.len || l->ambiguous)
		return false;
	size_t from = l->at;
	t->kind = sql_kind(l);
	t->text = clv_slice_sub(l->in, from, l->at - from);
	t->open = l->at == l->in.len && !l->whole;
	for (size_t i = l->at; i < l->in.len; i++)
		if (!sql_is_space(l->in.data[i])) {
			t->next = l->in.data[i];
			break;
		}
	if (t->kind == CLV_SQL_WORD && !l->after_dot)
		clv_sql_know(t);
	if (t->word == CLV_SQL_BOOL && !l->was_is)
		t->kind = CLV_SQL_LITERAL;
	sql_remember(l, t);
	return true;
}

/* ---- the text -------------------------------------------------------------------------------------------------- */

struct sql_text {
	struct clv_buf out;
	enum {
		SQL_NO_LIST,
		SQL_IN,    /* behind IN */
		SQL_FIRST, /* behind IN ( */
		SQL_MORE,  /* behind its first literal, or a comma that is held back behind it */
	} list;
	bool comma;    /* one is held back */
	uint32_t held; /* literals that are held back, each with the comma before it */
};

static void sql_put(struct sql_text *x, struct clv_slice text, bool spaced)
{
	struct clv_buf *b = &x->out;

	/* A token is shown as a whole, or it and all behind it are not. */
	if (b->cut || text.len + spaced > b->cap - b->len) {
		b->cut = true;
		return;
	}
	if (spaced && b->len)
		clv_buf_char(b, ' ');
	clv_buf_slice(b, text);
}

/* It was no list of literals only: what was held back is shown after all. */
static void sql_release(struct sql_text *x)
{
	for (; x->held && !x->out.cut; x->held--) {
		sql_put(x, CLV_LIT(","), false);
		sql_put(x, CLV_LIT("?"), true);
	}
	if (x->comma)
		sql_put(x, CLV_LIT(","), false);
	x->comma = false;
	x->held = 0;
	x->list = SQL_NO_LIST;
}

static bool sql_is(const struct clv_sql_token *t, char c)
{
	return t->kind == CLV_SQL_PUNCT && t->text.data[0] == (uint8_t)c;
}

/* A literal, or a place for one that looks like it. */
static bool sql_is_mark(const struct clv_sql_token *t)
{
	return t->kind == CLV_SQL_LITERAL || (t->kind == CLV_SQL_PARAM && t->text.data[0] == '?');
}

/* IN (?, ?, ?) becomes IN (?). True: the token was dealt with. */
static bool sql_list(struct sql_text *x, const struct clv_sql_token *t)
{
	switch (x->list) {
	case SQL_NO_LIST:
		break;
	case SQL_IN:
		x->list = sql_is(t, '(') ? SQL_FIRST : SQL_NO_LIST;
		return false;
	case SQL_FIRST:
		x->list = sql_is_mark(t) ? SQL_MORE : SQL_NO_LIST;
		return false;
	case SQL_MORE:
		if (!x->comma && sql_is(t, ',')) {
			x->comma = true;
			return true;
		}
		if (x->comma && sql_is_mark(t)) {
			x->comma = false;
			x->held++;
			return true;
		}
		if (!x->comma && sql_is(t, ')')) {
			x->held = 0;
			x->list = SQL_NO_LIST;
			return false;
		}
		sql_release(x);
	}
	return false;
}

static void sql_text_token(struct sql_text *x, const struct clv_sql_token *t)
{
	if (x->out.cut || sql_list(x, t))
		return;
	sql_put(x, t->kind == CLV_SQL_LITERAL ? CLV_LIT("?") : t->text, t->spaced);
	if (t->word == CLV_SQL_IN)
		x->list = SQL_IN;
}

/* The statement as it is, without half a character at the end. */
static struct clv_slice sql_verbatim(struct clv_slice in, char *text)
{
	struct clv_slice s = clv_slice_head(in, CLV_SQL_TEXT_BYTES);

	if (s.len < in.len)
		while (s.len && (in.data[s.len] & 0xc0) == 0x80)
			s.len--;
	if (s.len)
		memcpy(text, s.data, s.len);
	return clv_slice(text, s.len);
}

struct clv_sql clv_sql_read(enum clv_sql_dialect dialect, enum clv_sql_backslash backslash, struct clv_slice in,
			    bool whole, char *text, char *summary)
{
	struct sql_lexer l = {.in = in, .dialect = dialect, .backslash = backslash, .whole = whole};
	struct sql_text x = {.out = clv_buf(text, CLV_SQL_TEXT_BYTES)};
	struct clv_sql_summary s;
	struct clv_sql_token t;

	clv_sql_summary_init(&s, dialect, summary);
	while (sql_next(&l, &t)) {
		if (t.open && t.kind != CLV_SQL_LITERAL && t.kind != CLV_SQL_PUNCT)
			break;
		sql_text_token(&x, &t);
		clv_sql_summary_token(&s, &t);
	}
	if (!x.out.cut)
		sql_release(&x);
	clv_sql_summary_end(&s);
	struct clv_sql out = {.text = clv_slice(text, x.out.len),
			      .summary = clv_slice(summary, s.out.len),
			      .verb = clv_slice(summary, s.verb_len),
			      .target = clv_slice_from(clv_slice(summary, s.out.len), s.verb_len + 1),
			      .cut = x.out.cut || !whole || l.ambiguous};
	if (clv_sql_verbatim) {
		out.text = sql_verbatim(in, text);
		out.cut = !whole || out.text.len < in.len;
	}
	return out;
}
