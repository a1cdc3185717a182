/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations and targets of SQL, in the order they stand in: "INSERT orders SELECT carts". Each pair of
 * parentheses is a level of its own, with its own operation. What a statement of a kind that nobody listed here is done
 * to is not guessed: its first word stands alone. Literals and names that programs make up (of savepoints, cursors)
 * never get in. Owns nothing, allocates nothing, any thread.
 */
#include "proto/sql_lex.h"

/* ---- words ----------------------------------------------------------------------------------------------------- */

struct sql_entry {
	struct clv_slice text;
	uint8_t word;
	uint16_t traits;
};

#define W(text, word, traits)                           \
	{                                               \
		CLV_LIT(text), CLV_SQL_##word, (traits) \
	}

static const struct sql_entry sql_2[] = {
	W("IN", IN, CLV_SQL_SIGNED),    W("IS", IS, 0),    W("ON", ON, CLV_SQL_SIGNED),  W("OR", OTHER, CLV_SQL_SIGNED),
	W("BY", OTHER, CLV_SQL_SIGNED), W("DO", OTHER, 0), W("IF", OTHER, CLV_SQL_SKIP),
};
static const struct sql_entry sql_3[] = {
	W("AND", OTHER, CLV_SQL_SIGNED),
	W("NOT", OTHER, CLV_SQL_SIGNED | CLV_SQL_SKIP),
	W("SET", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("FOR", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("USE", ACT, 0),
	W("ANY", OTHER, 0),
	W("DIV", OTHER, CLV_SQL_SIGNED),
	W("MOD", OTHER, CLV_SQL_SIGNED),
	W("END", OTHER, 0),
	W("ALL", OTHER, CLV_SQL_SIGNED),
};
static const struct sql_entry sql_4[] = {
	W("FROM", FROM, CLV_SQL_SIGNED),
	W("JOIN", JOIN, 0),
	W("INTO", INTO, CLV_SQL_SKIP),
	W("WITH", WITH, 0),
	W("TRUE", BOOL, 0),
	W("DROP", DDL, CLV_SQL_LIST),
	W("CALL", ACT, 0),
	W("EXEC", ACT, 0),
	W("COPY", ACT, 0),
	W("LOCK", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("DESC", ACT, 0),
	W("SHOW", PAIR, 0),
	W("LOAD", PAIR, CLV_SQL_QUERY),
	W("ONLY", OTHER, CLV_SQL_SKIP),
	W("FULL", OTHER, CLV_SQL_SKIP),
	W("LIKE", OTHER, CLV_SQL_SIGNED),
	W("THEN", OTHER, CLV_SQL_SIGNED),
	W("ELSE", OTHER, CLV_SQL_SIGNED),
	W("WHEN", OTHER, CLV_SQL_SIGNED),
	W("CASE", OTHER, CLV_SQL_SIGNED),
	W("TYPE", OTHER, CLV_SQL_OBJECT),
	W("USER", OTHER, CLV_SQL_OBJECT | CLV_SQL_HUSH),
	W("ROLE", OTHER, CLV_SQL_OBJECT | CLV_SQL_HUSH),
	W("VIEW", OTHER, CLV_SQL_OBJECT | CLV_SQL_KIND | CLV_SQL_QUERY),
	W("RULE", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
};
static const struct sql_entry sql_5[] = {
	W("WHERE", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("GROUP", OTHER, CLV_SQL_ENDS),
	W("ORDER", OTHER, CLV_SQL_ENDS),
	W("LIMIT", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("FETCH", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("UNION", OTHER, CLV_SQL_ENDS),
	W("USING", USING, 0),
	W("FALSE", BOOL, 0),
	W("TABLE", ACT, CLV_SQL_SKIP | CLV_SQL_OBJECT | CLV_SQL_KIND | CLV_SQL_QUERY),
	W("INDEX", OTHER, CLV_SQL_OBJECT | CLV_SQL_KIND),
	W("EVENT", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("ALTER", DDL, 0),
	W("MERGE", INSERT, 0),
	W("START", PAIR, 0),
	W("CHECK", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("ILIKE", OTHER, CLV_SQL_SIGNED),
};
static const struct sql_entry sql_6[] = {
	W("SELECT", SELECT, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("INSERT", INSERT, 0),
	W("UPDATE", UPDATE, CLV_SQL_LIST),
	W("DELETE", DELETE, 0),
	W("VALUES", OTHER, CLV_SQL_ENDS),
	W("HAVING", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("OFFSET", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("EXCEPT", OTHER, CLV_SQL_ENDS),
	W("WINDOW", OTHER, CLV_SQL_ENDS),
	W("RETURN", OTHER, CLV_SQL_SIGNED),
	W("IGNORE", OTHER, CLV_SQL_SKIP),
	W("EXISTS", OTHER, CLV_SQL_SKIP),
	W("FREEZE", OTHER, CLV_SQL_SKIP),
	W("CREATE", DDL, 0),
	W("SCHEMA", OTHER, CLV_SQL_OBJECT | CLV_SQL_KIND),
	W("DOMAIN", OTHER, CLV_SQL_OBJECT),
	W("POLICY", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("SERVER", OTHER, CLV_SQL_OBJECT),
	W("VACUUM", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("REPAIR", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("TABLES", OTHER, CLV_SQL_KIND),
	W("SYSTEM", OTHER, CLV_SQL_KIND),
};
static const struct sql_entry sql_7[] = {
	W("REPLACE", INSERT, 0),
	W("EXPLAIN", EXPLAIN, 0),
	W("PREPARE", EXPLAIN, 0),
	W("DECLARE", EXPLAIN, 0),
	W("EXECUTE", ACT, 0),
	W("ANALYZE", ACT, CLV_SQL_LIST | CLV_SQL_MORE | CLV_SQL_SKIP),
	W("ANALYSE", ACT, CLV_SQL_LIST | CLV_SQL_MORE | CLV_SQL_SKIP),
	W("CLUSTER", ACT, CLV_SQL_MORE),
	W("REINDEX", ACT, CLV_SQL_MORE),
	W("REFRESH", ACT, CLV_SQL_MORE),
	W("LATERAL", OTHER, CLV_SQL_SKIP),
	W("VERBOSE", OTHER, CLV_SQL_SKIP),
	W("DELAYED", OTHER, CLV_SQL_SKIP),
	W("OUTFILE", OTHER, CLV_SQL_ENDS),
	W("BETWEEN", OTHER, CLV_SQL_SIGNED),
	W("DEFAULT", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("TRIGGER", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
};
static const struct sql_entry sql_8[] = {
	W("DISTINCT", DISTINCT, CLV_SQL_SIGNED),
	W("TRUNCATE", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("OPTIMIZE", ACT, CLV_SQL_LIST | CLV_SQL_MORE),
	W("DESCRIBE", ACT, 0),
	W("DATABASE", OTHER, CLV_SQL_OBJECT | CLV_SQL_KIND),
	W("FUNCTION", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("SEQUENCE", OTHER, CLV_SQL_OBJECT),
	W("OPERATOR", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("DUMPFILE", OTHER, CLV_SQL_ENDS),
};
static const struct sql_entry sql_9[] = {
	W("RETURNING", OTHER, CLV_SQL_ENDS | CLV_SQL_SIGNED),
	W("INTERSECT", OTHER, CLV_SQL_ENDS),
	W("RECURSIVE", OTHER, 0),
	W("PROCEDURE", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("EXTENSION", OTHER, CLV_SQL_OBJECT),
	W("AGGREGATE", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
};
static const struct sql_entry sql_long[] = {
	W("TABLESPACE", OTHER, CLV_SQL_OBJECT),
	W("STATISTICS", OTHER, CLV_SQL_OBJECT | CLV_SQL_BODY),
	W("PUBLICATION", OTHER, CLV_SQL_OBJECT),
	W("LOW_PRIORITY", OTHER, CLV_SQL_SKIP),
	W("MATERIALIZED", OTHER, CLV_SQL_OBJECT | CLV_SQL_KIND | CLV_SQL_MORE),
	W("SUBSCRIPTION", OTHER, CLV_SQL_OBJECT | CLV_SQL_HUSH),
	W("CONCURRENTLY", OTHER, CLV_SQL_SKIP),
	W("HIGH_PRIORITY", OTHER, CLV_SQL_SKIP),
	W("STRAIGHT_JOIN", JOIN, 0),
};
#undef W

#define COUNTED(list)                                  \
	{                                              \
		list, sizeof(list) / sizeof((list)[0]) \
	}
static const struct {
	const struct sql_entry *list;
	size_t count;
} sql_words[] = {
	[2] = COUNTED(sql_2), [3] = COUNTED(sql_3), [4] = COUNTED(sql_4),
	[5] = COUNTED(sql_5), [6] = COUNTED(sql_6), [7] = COUNTED(sql_7),
	[8] = COUNTED(sql_8), [9] = COUNTED(sql_9), [10] = COUNTED(sql_long),
};
#undef COUNTED

void clv_sql_know(struct clv_sql_token *t)
{
	size_t len = t->text.len < 10 ? t->text.len : 10;

	for (size_t i = 0; i < sql_words[len].count; i++) {
		const struct sql_entry *e = &sql_words[len].list[i];

		if (clv_slice_eq_nocase(t->text, e->text)) {
			t->word = (enum clv_sql_word)e->word;
			t->traits = e->traits;
			return;
		}
	}
}

/* ---- what is written ------------------------------------------------------------------------------------------- */

static struct clv_sql_level *sum_level(struct clv_sql_summary *s)
{
	return &s->level[s->depth < CLV_SQL_DEPTH ? s->depth : CLV_SQL_DEPTH - 1];
}

/* One word more. What does not fit as a whole ends the summary. */
static void sum_put(struct clv_sql_summary *s, struct clv_slice text, bool apart)
{
	size_t len = text.len + (apart && s->out.len);

	if (s->out.cut || len > s->out.cap - s->out.len) {
		s->out.cut = true;
		return;
	}
	if (apart && s->out.len)
		clv_buf_char(&s->out, ' ');
	clv_buf_slice(&s->out, text);
}

/* A word of an operation's name. */
static void sum_word(struct clv_sql_summary *s, struct clv_slice text)
{
	sum_put(s, text, true);
	if (s->operations == 1 && !s->targets && !s->out.cut)
		s->verb_len = s->out.len;
}

static void sum_operation(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	s->operations++;
	sum_word(s, t->text);
}

/* ---- targets --------------------------------------------------------------------------------------------------- */

static bool sum_is_cte(const struct clv_sql_summary *s, struct clv_slice name)
{
	for (uint32_t i = 0; i < s->ctes; i++)
		if (clv_slice_eq_nocase(s->cte[i], name))
			return true;
	return false;
}

static void sum_target_begin(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	sum_level(s)->expecting = false;
	s->target_at = s->out.len;
	s->building = true;
	s->dotted = false;
	sum_put(s, t->text, true);
}

static void sum_target_end(struct clv_sql_summary *s)
{
	if (!s->building)
		return;
	struct clv_sql_level *l = sum_level(s);
	s->building = false;
	size_t from = s->target_at + (s->target_at && s->out.len > s->target_at);
	struct clv_slice name = clv_slice(s->out.data + from, s->out.len - from);

	/* The names of a statement's own subqueries are none of the database's; half a name is none. */
	if (s->out.cut || sum_is_cte(s, name))
		s->out.len = s->target_at;
	else
		s->targets++;
	if (s->object && !(s->object & CLV_SQL_QUERY) && !l->list && !l->on)
		l->over = true;
	/* Code has semicolons of its own; in PostgreSQL it mostly is a string. */
	if (s->object & CLV_SQL_BODY && s->dialect == CLV_SQL_MYSQL)
		s->done = true;
}

/* A name with dots in it. True: the token was a part of it. */
static bool sum_target_goes_on(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	if (t->kind == CLV_SQL_PUNCT && t->text.data[0] == '.' && !s->dotted) {
		s->dotted = true;
	} else if (s->dotted && (t->kind == CLV_SQL_WORD || t->kind == CLV_SQL_QUOTED)) {
		s->dotted = false;
		sum_put(s, CLV_LIT("."), false);
		sum_put(s, t->text, false);
	} else {
		sum_target_end(s);
		return false;
	}
	return true;
}

static void sum_cte(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	if (clv_slice_eq_nocase(t->text, CLV_LIT("RECURSIVE")))
		return;
	sum_level(s)->names = false;
	if (s->ctes < CLV_SQL_CTES)
		s->cte[s->ctes++] = t->text;
}

/* ---- statements ------------------------------------------------------------------------------------------------ */

static void sum_expect(struct clv_sql_level *l, bool list)
{
	l->expecting = true;
	l->list = list;
}

/* An operation that a query is made of. True: the word is one. */
static bool sum_verb(struct clv_sql_summary *s, struct clv_sql_level *l, const struct clv_sql_token *t)
{
	bool here = (l->verbs || l->waiting) && t->next != '(';

	switch (t->word) {
	case CLV_SQL_SELECT:
		l->expecting = l->list = false;
		break;
	case CLV_SQL_INSERT:
	case CLV_SQL_UPDATE:
		if (!here)
			return false;
		sum_expect(l, t->word == CLV_SQL_UPDATE);
		break;
	case CLV_SQL_DELETE:
		if (!here)
			return false;
		break;
	default:
		return false;
	}
	sum_operation(s, t);
	l->verb = t->word;
	l->waiting = l->names = false;
	l->from = t->word != CLV_SQL_INSERT;
	return true;
}

static void sum_with(struct clv_sql_level *l)
{
	l->with = l->waiting = l->names = true;
	l->expecting = l->list = false;
}

/* The first word of a statement, whatever it is. */
static void sum_begin(struct clv_sql_summary *s, struct clv_sql_level *l, const struct clv_sql_token *t)
{
	switch (t->word) {
	case CLV_SQL_WITH:
		sum_with(l);
		return;
	case CLV_SQL_DDL:
		s->choosing = true;
		l->list = t->traits & CLV_SQL_LIST;
		break;
	case CLV_SQL_EXPLAIN:
		l->waiting = true;
		break;
	case CLV_SQL_ACT:
		s->kinds = t->traits & CLV_SQL_MORE;
		sum_expect(l, t->traits & CLV_SQL_LIST);
		break;
	case CLV_SQL_PAIR:
		s->pair = true;
		l->over = !(t->traits & CLV_SQL_QUERY);
		break;
	default:
		l->over = true;
	}
	l->verb = t->word;
	sum_operation(s, t);
}

/* Behind an operation whose name may have more words. True: this is one, or not what is waited for. */
static bool sum_more(struct clv_sql_summary *s, struct clv_sql_level *l, const struct clv_sql_token *t)
{
	if (s->pair) {
		s->pair = false;
		sum_word(s, t->text);
		return true;
	}
	if (s->choosing) {
		if (!(t->traits & CLV_SQL_OBJECT))
			return true;
		sum_word(s, t->text);
		s->choosing = t->traits & CLV_SQL_MORE;
		s->object = t->traits;
		l->expecting = true;
		l->on = clv_slice_eq_nocase(t->text, CLV_LIT("INDEX"));
		l->over = t->traits & CLV_SQL_HUSH;
		return true;
	}
	if (s->kinds) {
		s->kinds = t->traits & CLV_SQL_MORE && t->traits & CLV_SQL_KIND;
		if (!(t->traits & CLV_SQL_KIND))
			return false;
		sum_word(s, t->text);
		return true;
	}
	return false;
}

/* Words that lead to a target, or away from it. True: the word is one. */
static bool sum_lead(struct clv_sql_summary *s, struct clv_sql_level *l, const struct clv_sql_token *t)
{
	switch (t->word) {
	case CLV_SQL_FROM:
		if (l->from && s->last != CLV_SQL_DISTINCT)
			sum_expect(l, true);
		else
			l->expecting = false;
		return true;
	case CLV_SQL_JOIN:
		if (l->from)
			l->expecting = true;
		return true;
	case CLV_SQL_INTO:
		if (!l->expecting && (l->verb == CLV_SQL_SELECT || l->verb == CLV_SQL_PAIR))
			sum_expect(l, false);
		return true;
	case CLV_SQL_USING:
		l->expecting = false;
		if ((l->verb == CLV_SQL_DELETE || l->verb == CLV_SQL_INSERT) && t->next != '(')
			sum_expect(l, l->verb == CLV_SQL_DELETE);
		return true;
	case CLV_SQL_ON:
		l->expecting = l->on;
		l->on = false;
		return true;
	default:
		break;
	}
	if (t->traits & CLV_SQL_ENDS) {
		l->expecting = l->list = false;
		return true;
	}
	return l->expecting && t->traits & CLV_SQL_SKIP;
}

/* A name, or a keyword that nothing depends on. */
static void sum_name(struct clv_sql_summary *s, struct clv_sql_level *l, const struct clv_sql_token *t)
{
	if (l->names)
		sum_cte(s, t);
	else if (l->expecting && !s->choosing)
		sum_target_begin(s, t);
}

static void sum_bare(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	struct clv_sql_level *l = sum_level(s);

	if (l->over && !s->pair)
		return;
	if (!s->choosing && sum_verb(s, l, t))
		return;
	if (s->depth == 0 && !l->begun)
		sum_begin(s, l, t);
	else if (t->word == CLV_SQL_WITH && t->next != '(' && (!l->from || !l->begun))
		sum_with(l);
	else if (!sum_more(s, l, t) && !sum_lead(s, l, t))
		sum_name(s, l, t);
}

static void sum_open(struct clv_sql_summary *s)
{
	struct clv_sql_level *l = sum_level(s),
			     inner = {.verbs = l->verb != CLV_SQL_DDL, .over = l->over || s->choosing};

	if (l->expecting && l->list && l->from) /* FROM (a JOIN b ...) */
		inner.expecting = inner.list = inner.from = true;
	if (l->verb != CLV_SQL_ACT || !s->kinds) /* VACUUM (FULL) t; else the subquery is the target */
		l->expecting = false;
	if (++s->depth < CLV_SQL_DEPTH)
		s->level[s->depth] = inner;
}

static void sum_punct(struct clv_sql_summary *s, uint8_t c)
{
	struct clv_sql_level *l = sum_level(s);

	if (s->depth >= CLV_SQL_DEPTH && !memchr("();", c, 3))
		return;
	switch (c) {
	case '(':
		sum_open(s);
		return;
	case ')':
		if (s->depth)
			s->depth--;
		return;
	case ',':
		l->expecting = l->list && !s->choosing;
		l->names = l->with && l->waiting;
		return;
	case ';':
		sum_target_end(s);
		s->depth = 0;
		s->level[0] = (struct clv_sql_level){.verbs = true};
		s->object = 0;
		s->choosing = s->kinds = s->pair = false;
		s->ctes = 0;
		return;
	default:
		l->expecting = false;
	}
}

void clv_sql_summary_init(struct clv_sql_summary *s, enum clv_sql_dialect dialect, char *out)
{
	*s = (struct clv_sql_summary){.out = clv_buf(out, CLV_SQL_SUMMARY_BYTES), .dialect = dialect};
	s->level[0].verbs = true;
}

void clv_sql_summary_token(struct clv_sql_summary *s, const struct clv_sql_token *t)
{
	bool punct = t->kind == CLV_SQL_PUNCT;
	uint8_t c = punct ? t->text.data[0] : 0;

	if (s->out.cut || s->done || (s->building && sum_target_goes_on(s, t)))
		return;
	struct clv_sql_level *l = sum_level(s);
	bool deep = s->depth >= CLV_SQL_DEPTH;

	if (punct)
		sum_punct(s, c);
	else if (!deep && t->kind == CLV_SQL_WORD && !s->after_dot)
		sum_bare(s, t);
	else if (!deep && t->kind == CLV_SQL_QUOTED && !l->over)
		sum_name(s, l, t);
	else if (!deep)
		l->expecting = false; /* what is no name is no target */
	if (!punct && t->kind != CLV_SQL_WORD)
		s->pair = false;
	s->after_dot = c == '.';
	s->last = t->word;
	if (c == ';')
		return;
	l->begun = true;
	l->verbs = false;
}

void clv_sql_summary_end(struct clv_sql_summary *s)
{
	sum_target_end(s);
	s->out.cut = false;
}
