/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it MySQL's protocol, and where does something begin? Packets have no mark of their own, and so what can be
 * checked is: lengths against what follows, sequence numbers, the shape of what each kind of packet must hold. Owns
 * nothing: pure functions. Any thread.
 */
#include "proto/mysql_wire.h"

#include "engine/limits.h"

/* Looked at of a statement. */
#define PROBE_TEXT_BYTES 64u
/* No greeting, login or error is longer. */
#define PROBE_START_BYTES 4096u

_Static_assert(MYSQL_HEADER + PROBE_START_BYTES <= 2 * CLV_DETECT_BYTES, "greetings fit into what is looked at");

static bool probe_printable(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((s.data[i] < 0x20 && !mysql_is_blank(s.data[i])) || s.data[i] == 0x7f)
			return false;
	return true;
}

static bool probe_zeros(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i])
			return false;
	return true;
}

static bool probe_letter(uint8_t c)
{
	return clv_ascii_lower(c) >= 'a' && clv_ascii_lower(c) <= 'z';
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

/* Bytes of a value in the binary protocol; SIZE_MAX: its type is not known. */
static size_t query_value(struct mysql_reader *r, uint8_t type)
{
	switch (type) {
	case 1: /* TINY */
		return 1;
	case 2:  /* SHORT */
	case 13: /* YEAR */
		return 2;
	case 3: /* LONG */
	case 4: /* FLOAT */
	case 9: /* INT24 */
		return 4;
	case 5: /* DOUBLE */
	case 8: /* LONGLONG */
		return 8;
	case 6: /* NULL */
		return 0;
	case 7:  /* TIMESTAMP */
	case 10: /* DATE */
	case 11: /* TIME */
	case 12: /* DATETIME */
		return (size_t)mysql_number(r, 1);
	case 0:           /* DECIMAL */
	case 15 ... 16:   /* VARCHAR, BIT */
	case 242 ... 255: /* VECTOR, JSON, NEWDECIMAL, ENUM, SET, BLOBs, STRINGs, GEOMETRY */
		return (size_t)mysql_lenenc(r);
	default:
		return SIZE_MAX;
	}
}

/* Behind `count` attributes: null bitmap, a flag, types and names, then values. 0: that is not what is there. */
static size_t query_skip_attributes(struct mysql_reader r, uint64_t count)
{
	struct clv_slice nulls = mysql_take(&r, (count + 7) / 8);

	if (mysql_number(&r, 1) != 1 || r.bad)
		return 0;
	struct mysql_reader types = r;
	for (uint64_t i = 0; i < count && !r.bad; i++) {
		mysql_take(&r, 2);
		mysql_take(&r, mysql_lenenc(&r));
	}
	for (uint64_t i = 0; i < count && !r.bad; i++) {
		uint8_t type = (uint8_t)mysql_number(&types, 2);
		mysql_take(&types, mysql_lenenc(&types));
		if (!(nulls.data[i / 8] >> i % 8 & 1))
			mysql_take(&r, query_value(&r, type));
	}
	return r.bad ? 0 : r.at;
}

size_t clv_mysql_query_text(struct clv_slice payload, bool told)
{
	struct mysql_reader r = mysql_reader(payload, 1);
	uint64_t count = mysql_lenenc(&r), sets = mysql_lenenc(&r);
	/* No statement begins with a byte like these: 1 is no blank. */
	bool attributes = !r.bad && sets == 1 && (told || payload.data[1] < 0x20);

	if (!attributes)
		return told && payload.len > 1 && payload.data[1] < 0x20 && !mysql_is_blank(payload.data[1]) ? 0 : 1;
	return count ? query_skip_attributes(r, count) : r.at;
}

/* Words that statements begin with. */
static const struct clv_slice probe_verbs[] = {
	CLV_LIT("alter"),      CLV_LIT("analyze"),   CLV_LIT("begin"),    CLV_LIT("binlog"),    CLV_LIT("call"),
	CLV_LIT("change"),     CLV_LIT("check"),     CLV_LIT("checksum"), CLV_LIT("commit"),    CLV_LIT("create"),
	CLV_LIT("deallocate"), CLV_LIT("delete"),    CLV_LIT("desc"),     CLV_LIT("describe"),  CLV_LIT("do"),
	CLV_LIT("drop"),       CLV_LIT("execute"),   CLV_LIT("explain"),  CLV_LIT("flush"),     CLV_LIT("get"),
	CLV_LIT("grant"),      CLV_LIT("handler"),   CLV_LIT("help"),     CLV_LIT("insert"),    CLV_LIT("install"),
	CLV_LIT("kill"),       CLV_LIT("load"),      CLV_LIT("lock"),     CLV_LIT("optimize"),  CLV_LIT("prepare"),
	CLV_LIT("purge"),      CLV_LIT("release"),   CLV_LIT("rename"),   CLV_LIT("repair"),    CLV_LIT("replace"),
	CLV_LIT("reset"),      CLV_LIT("revoke"),    CLV_LIT("rollback"), CLV_LIT("savepoint"), CLV_LIT("select"),
	CLV_LIT("set"),        CLV_LIT("show"),      CLV_LIT("start"),    CLV_LIT("stop"),      CLV_LIT("table"),
	CLV_LIT("truncate"),   CLV_LIT("uninstall"), CLV_LIT("unlock"),   CLV_LIT("update"),    CLV_LIT("use"),
	CLV_LIT("values"),     CLV_LIT("with"),      CLV_LIT("xa"),
};

/* Does a statement begin like this? `whole`: no more of it will come. */
static enum clv_match probe_statement(struct clv_slice text, bool whole)
{
	size_t at = 0, end;

	text = clv_slice_head(text, PROBE_TEXT_BYTES);
	if (!probe_printable(text))
		return CLV_MATCH_NO;
	while (at < text.len && (mysql_is_blank(text.data[at]) || text.data[at] == '('))
		at++;
	struct clv_slice comment = clv_slice_sub(text, at, 2);
	if (clv_slice_eq(comment, CLV_LIT("/*")) || clv_slice_eq(comment, CLV_LIT("--")))
		return CLV_MATCH_LIKELY;
	for (end = at; end < text.len && probe_letter(text.data[end]);)
		end++;
	struct clv_slice word = clv_slice_sub(text, at, end - at);
	if (end == text.len && !whole && text.len < PROBE_TEXT_BYTES)
		return CLV_MATCH_MAYBE;
	for (size_t i = 0; i < sizeof(probe_verbs) / sizeof(probe_verbs[0]); i++)
		if (clv_slice_eq_nocase(word, probe_verbs[i]))
			return CLV_MATCH_LIKELY;
	return CLV_MATCH_NO;
}

/* ---- the client's side ---------------------------------------------------------------------------------------------
 */

/* Is a command of this length possible? For those whose payload says little. */
static bool probe_length(uint8_t command, uint32_t len)
{
	switch (command) {
	case CLV_MYSQL_QUIT:
	case CLV_MYSQL_STATISTICS:
	case CLV_MYSQL_PROCESS_INFO:
	case CLV_MYSQL_DEBUG:
	case CLV_MYSQL_PING:
	case CLV_MYSQL_RESET_CONNECTION:
		return len == 1;
	case CLV_MYSQL_SET_OPTION:
		return len == 3;
	case CLV_MYSQL_PROCESS_KILL:
	case CLV_MYSQL_CLOSE_STATEMENT:
	case CLV_MYSQL_RESET_STATEMENT:
		return len == 5;
	case CLV_MYSQL_FETCH:
		return len == 9;
	case CLV_MYSQL_INIT_DB:
		return len > 1 && len <= 1 + 4 * 64; /* characters of a name */
	case CLV_MYSQL_EXECUTE:
		return len >= 10;
	case CLV_MYSQL_BULK_EXECUTE:
		return len > 7;
	case CLV_MYSQL_QUERY:
	case CLV_MYSQL_PREPARE:
		return len > 2;
	default:
		return false; /* it may be one, but nothing shows it */
	}
}

/* A packet ends at `at`: does what follows look like another command of the client's? */
static bool probe_followed(struct clv_slice in, size_t at)
{
	struct clv_slice next = clv_slice_from(in, at);
	struct mysql_header h;

	if (next.len <= MYSQL_HEADER)
		return next.len < MYSQL_HEADER || next.data[3] == 0;
	return mysql_header(next, 0, &h) && h.seq == 0 && h.len &&
	       (probe_length(next.data[MYSQL_HEADER], h.len) || next.data[MYSQL_HEADER] == CLV_MYSQL_LONG_DATA);
}

enum clv_match clv_mysql_is_command(struct clv_slice in)
{
	struct mysql_header h;

	if (!mysql_header(in, 0, &h) || in.len == MYSQL_HEADER)
		return in.len < MYSQL_HEADER || (in.data[3] == 0 && mysql_u24(in.data)) ? CLV_MATCH_MAYBE
											: CLV_MATCH_NO;
	uint8_t command = in.data[MYSQL_HEADER];
	if (h.seq || !h.len || !probe_length(command, h.len) || !probe_followed(in, MYSQL_HEADER + (size_t)h.len))
		return CLV_MATCH_NO;
	struct clv_slice p = clv_slice_sub(in, MYSQL_HEADER, h.len);
	bool whole = p.len == h.len;

	switch (command) {
	case CLV_MYSQL_QUERY: {
		size_t at = clv_mysql_query_text(p, false);
		if (p.len < 4 && !whole)
			return CLV_MATCH_MAYBE;
		return at ? probe_statement(clv_slice_from(p, at), whole) : CLV_MATCH_NO;
	}
	case CLV_MYSQL_PREPARE:
		return probe_statement(clv_slice_from(p, 1), whole);
	case CLV_MYSQL_INIT_DB:
		if (!probe_printable(p))
			return CLV_MATCH_NO;
		return whole ? CLV_MATCH_LIKELY : CLV_MATCH_MAYBE;
	case CLV_MYSQL_EXECUTE:
		if (p.len < 10)
			return CLV_MATCH_MAYBE;
		return mysql_u32(p.data + 1) && p.data[5] <= 0x0f && mysql_u32(p.data + 6) == 1 ? CLV_MATCH_LIKELY
												: CLV_MATCH_NO;
	case CLV_MYSQL_CLOSE_STATEMENT:
	case CLV_MYSQL_RESET_STATEMENT:
	case CLV_MYSQL_FETCH:
		if (!whole)
			return CLV_MATCH_MAYBE;
		return mysql_u32(p.data + 1) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	case CLV_MYSQL_BULK_EXECUTE:
		if (p.len < 7)
			return CLV_MATCH_MAYBE;
		return mysql_u32(p.data + 1) && !(mysql_u16(p.data + 5) & ~0xc0u) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	default:
		return whole ? CLV_MATCH_LIKELY : CLV_MATCH_MAYBE;
	}
}

/* HandshakeResponse41 or the SSLRequest that is its beginning: 19 zeros and the packet's end are hard to miss. */
enum clv_match clv_mysql_is_login(struct clv_slice in)
{
	struct mysql_header h;

	if (!mysql_header(in, 0, &h))
		return in.len < MYSQL_HEADER ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
	if (h.seq != 1 || h.len < 32 || h.len > PROBE_START_BYTES || in.len > MYSQL_HEADER + h.len)
		return CLV_MATCH_NO;
	struct clv_slice p = clv_slice_from(in, MYSQL_HEADER);
	if (p.len < 32)
		return p.len > 9 && !probe_zeros(clv_slice_sub(p, 9, 19)) ? CLV_MATCH_NO : CLV_MATCH_MAYBE;
	uint32_t caps = mysql_u32(p.data);
	if (!(caps & MYSQL_CAP_PROTOCOL_41) || !probe_zeros(clv_slice_sub(p, 9, 19)))
		return CLV_MATCH_NO;
	if (p.len < h.len)
		return CLV_MATCH_MAYBE;
	if (h.len == 32)
		return caps & MYSQL_CAP_SSL ? CLV_MATCH_YES : CLV_MATCH_NO;
	struct mysql_reader r = mysql_reader(p, 32);
	struct clv_slice user = mysql_cstring(&r);
	return !r.bad && probe_printable(user) ? CLV_MATCH_YES : CLV_MATCH_NO;
}

/* ---- the server's side ---------------------------------------------------------------------------------------------
 */

/* "8.0.33", "5.5.5-10.11.6-MariaDB-1": a digit, a point, nothing that cannot be printed. */
static bool probe_version(struct clv_slice v)
{
	return v.len >= 3 && v.data[0] >= '0' && v.data[0] <= '9' && clv_slice_find(v, 0, '.') < v.len &&
	       probe_printable(v);
}

enum clv_match clv_mysql_is_greeting(struct clv_slice in)
{
	struct mysql_header h;

	if (!mysql_header(in, 0, &h) || in.len == MYSQL_HEADER)
		return in.len < MYSQL_HEADER || in.data[3] == 0 ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
	struct clv_slice p = clv_slice_from(in, MYSQL_HEADER);
	if (h.seq || h.len < 16 || h.len > PROBE_START_BYTES || p.len > h.len || (p.data[0] != 10 && p.data[0] != 9))
		return CLV_MATCH_NO;
	struct mysql_reader r = mysql_reader(p, 1);
	struct clv_slice version = mysql_cstring(&r);
	if (r.bad) /* not all of it is here */
		return p.len < h.len && probe_printable(clv_slice_from(p, 1)) ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
	if (!probe_version(version))
		return CLV_MATCH_NO;
	if (p.len < h.len)
		return CLV_MATCH_MAYBE;
	mysql_take(&r, 4);
	if (p.data[0] == 9) {
		mysql_cstring(&r);
		return !r.bad && r.at == p.len ? CLV_MATCH_YES : CLV_MATCH_NO;
	}
	mysql_take(&r, 8);
	bool zero = mysql_number(&r, 1) == 0;
	mysql_take(&r, 2);
	return zero && !r.bad ? CLV_MATCH_YES : CLV_MATCH_NO;
}

/* What a server says in place of a greeting: "Too many connections". */
static enum clv_match probe_refusal(struct clv_slice in)
{
	struct mysql_header h;

	if (!mysql_header(in, 0, &h))
		return in.len < MYSQL_HEADER ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
	struct clv_slice p = clv_slice_from(in, MYSQL_HEADER);
	if (h.seq || h.len < 8 || h.len > 1024 || p.len > h.len || (p.len && p.data[0] != MYSQL_ERR))
		return CLV_MATCH_NO;
	if (p.len < h.len)
		return CLV_MATCH_MAYBE;
	uint32_t code = mysql_u16(p.data + 1);
	return code >= 1000 && code < 5000 && probe_printable(clv_slice_from(p, 3)) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
}

/* Does the packet at `at` define a column, as the second one of an answer? */
static enum clv_match probe_definition(struct clv_slice in, size_t at)
{
	static const struct clv_slice begin = CLV_LIT("\2\3def");
	struct clv_slice next = clv_slice_sub(in, at + 3, begin.len);

	if (!clv_slice_eq(next, clv_slice_head(begin, next.len)))
		return CLV_MATCH_NO;
	return next.len == begin.len ? CLV_MATCH_LIKELY : CLV_MATCH_MAYBE;
}

/* An OK or an error is a whole answer, mostly: another may follow it, or its own next result. */
static bool probe_answer_ends(struct clv_slice in, size_t at)
{
	struct clv_slice next = clv_slice_from(in, at);

	return next.len < MYSQL_HEADER || next.data[3] == 1 || next.data[3] == 2;
}

static enum clv_match probe_ok(struct clv_slice in, struct clv_slice p, uint32_t len)
{
	struct mysql_ok ok;
	size_t end = MYSQL_HEADER + (size_t)len;

	if (len > 1024)
		return CLV_MATCH_NO;
	if (p.len < len)
		return CLV_MATCH_MAYBE;
	/* A PREPARE's: an id, two counts, 0, warnings; what it counts follows. */
	if ((len == 12 || (len == 13 && p.data[12] <= 1)) && !p.data[9] && mysql_u32(p.data + 5) && in.len > end)
		return probe_definition(in, end);
	if (!mysql_ok(p, false, &ok) || ok.status & 0x0004 || !probe_answer_ends(in, end))
		return CLV_MATCH_NO;
	if (ok.info.len && !(ok.status & MYSQL_STATE_CHANGED) && !probe_printable(clv_slice_from(ok.info, 1)))
		return CLV_MATCH_NO;
	return CLV_MATCH_LIKELY;
}

static enum clv_match probe_error(struct clv_slice in, struct clv_slice p, uint32_t len)
{
	if (len < 10 || len > 1024)
		return CLV_MATCH_NO;
	if (p.len < len)
		return p.len > 3 && p.data[3] != '#' ? CLV_MATCH_NO : CLV_MATCH_MAYBE;
	uint32_t code = mysql_u16(p.data + 1);
	if (code < 1000 || code == MYSQL_PROGRESS || p.data[3] != '#' || !probe_printable(clv_slice_from(p, 4)))
		return CLV_MATCH_NO;
	return probe_answer_ends(in, MYSQL_HEADER + (size_t)len) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
}

enum clv_match clv_mysql_is_answer(struct clv_slice in)
{
	struct mysql_header h;

	if (!mysql_header(in, 0, &h) || in.len == MYSQL_HEADER)
		return in.len < MYSQL_HEADER || in.data[3] == 1 ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
	if (h.seq != 1 || !h.len)
		return CLV_MATCH_NO;
	struct clv_slice p = clv_slice_sub(in, MYSQL_HEADER, h.len);
	size_t end = MYSQL_HEADER + (size_t)h.len;

	switch (p.data[0]) {
	case MYSQL_OK:
		return probe_ok(in, p, h.len);
	case MYSQL_ERR:
		return probe_error(in, p, h.len);
	case 1 ... 0xfa: /* columns, and maybe whether they are defined */
		return h.len <= 2 ? probe_definition(in, end) : CLV_MATCH_NO;
	case 0xfc:
		return h.len <= 4 ? probe_definition(in, end) : CLV_MATCH_NO;
	default:
		return CLV_MATCH_NO;
	}
}

/* ---- detection ------------------------------------------------------------------------------------------------------
 */

static enum clv_match probe_better(enum clv_match a, enum clv_match b)
{
	return a > b ? a : b;
}

/* In its middle a connection may be asked for, or joined before anything was said. */
enum clv_match clv_mysql_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_DATAGRAM)
		return CLV_MATCH_NO;
	if (!in.len)
		return CLV_MATCH_MAYBE;
	bool start = where == CLV_WHERE_START;
	if (dir == CLV_TO_SERVER)
		return start ? clv_mysql_is_login(in) : probe_better(clv_mysql_is_login(in), clv_mysql_is_command(in));
	return probe_better(clv_mysql_is_greeting(in), start ? probe_refusal(in) : clv_mysql_is_answer(in));
}
