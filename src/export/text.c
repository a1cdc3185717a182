/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans as aligned lines. Owns the look of `-o text`; never decides what is shown. Engine thread.
 *
 * A line is built of cells: text, then blanks up to the column's width. A cell that is wider than its column
 * pushes the rest to the right; only the target is ever shortened, and only for a terminal.
 */
#include "export/text.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "export/utf8.h"
#include "model/packet.h"

enum {
	SIDE_WIDTH = 4,
	PAIR_WIDTH = 30, /* to begin with: 10.0.0.2:40000 -> 10.0.0.1:80 */
	METHOD_WIDTH = 7,
	METHOD_MOST = 20,  /* on a terminal */
	TARGET_WIDTH = 40, /* to a file; on a terminal what the other columns leave over */
	TARGET_LEAST = 20,
	STATUS_WIDTH = 6,
	DURATION_WIDTH = 8,
	BYTES_WIDTH = 7,
	FLAGS_WIDTH = 10, /* what a terminal keeps free for them */
};

#define PAIR_BYTES (2 * (CLV_ADDR_TEXT + 8) + 8) /* [addr]:65535 -> [addr]:65535 */
/* Blanks, colours, times, addresses, flags of a line, and the header. */
#define LINE_BYTES 1024
/* No terminal is wider. */
#define WIDTH_MOST 10000

#define RESULT_MOST 40 /* bytes */
/* What lasts so long is shown with its first byte's time as well. */
#define STREAM_NS (1000ull * 1000 * 1000)

#define DIM    "2"
#define BOLD   "1"
#define RED    "31"
#define GREEN  "32"
#define YELLOW "33"
#define CYAN   "36"

static const char *const text_sides[] = {[CLV_KIND_SERVER] = "in", [CLV_KIND_CLIENT] = "out"};

static char *text_put(char *out, const char *s)
{
	size_t len = strlen(s);

	memcpy(out, s, len);
	return out + len;
}

/* At least `digits` digits. */
static char *text_u64(char *out, uint64_t v, unsigned digits)
{
	char tmp[20], *p = tmp + sizeof(tmp);

	for (; v || digits; v /= 10, digits -= digits != 0)
		*--p = (char)('0' + v % 10);
	memcpy(out, p, (size_t)(tmp + sizeof(tmp) - p));
	return out + (tmp + sizeof(tmp) - p);
}

static char *text_blank(char *out, size_t used, size_t width)
{
	size_t n = used < width ? width - used : 0;

	memset(out, ' ', n + 1);
	return out + n + 1;
}

/* From here on; "0": no more. */
static char *text_color(const struct clv_text *t, char *out, const char *color)
{
	if (!t->color || !color)
		return out;
	return text_put(text_put(text_put(out, "\033["), color), "m");
}

/* Coloured when there is a colour and colours are wanted. */
static char *text_cell(const struct clv_text *t, char *out, const char *s, size_t width, bool right, const char *color)
{
	size_t len = strlen(s);

	if (right) {
		size_t blank = len < width ? width - len : 0;

		memset(out, ' ', blank);
		out += blank;
		width = 0;
	}
	out = text_color(t, out, color);
	out = text_put(out, s);
	out = text_color(t, out, color ? "0" : NULL);
	return text_blank(out, len, width);
}

/* Marks and overrides that turn the direction of text, and invisible separators. */
static bool text_is_treacherous(uint32_t point)
{
	return utf8_is_control(point) || point == 0x61c || (point >= 0x200b && point <= 0x200f) ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

/* The character at `s` as it is safe to show: at most 6 bytes for each of it. Returns the columns it takes. */
static size_t text_escape_one(char **out, const uint8_t *s, size_t len, size_t *used)
{
	uint32_t point;
	size_t n = utf8_decode(s, len, &point);

	*used = n ? n : 1;
	if (n && !text_is_treacherous(point)) {
		memcpy(*out, s, n);
		*out += n;
		return point < 0x1100 ? 1 : 2; /* rather too wide than too narrow */
	}
	char *p = *out;
	if (n == 0 || point < 0x80) {
		p = utf8_hex(text_put(p, "\\x"), s[0]);
	} else {
		p = text_put(p, "\\u");
		p = utf8_hex(p, (uint8_t)(point >> 8));
		p = utf8_hex(p, (uint8_t)point);
	}
	size_t columns = (size_t)(p - *out);
	*out = p;
	return columns;
}

/* Escapes `s`; past `most` columns (0: no limit) the rest becomes an ellipsis. Returns the columns taken. */
static size_t text_escape(char **out, struct clv_slice s, size_t most)
{
	char *keep = *out; /* where an ellipsis would go */
	size_t columns = 0, keep_columns = 0;

	for (size_t i = 0, used; i < s.len; i += used) {
		if (most && columns < most) {
			keep = *out;
			keep_columns = columns;
		}
		columns += text_escape_one(out, s.data + i, s.len - i, &used);
		if (most && columns > most) {
			*out = text_put(keep, "…");
			return keep_columns + 1;
		}
	}
	return columns;
}

static char *text_endpoint(char *out, const struct clv_endpoint *e)
{
	bool bracket = !clv_addr_is_v4(&e->addr);

	if (bracket)
		*out++ = '[';
	out += clv_addr_format(&e->addr, out);
	if (bracket)
		*out++ = ']';
	*out++ = ':';
	return text_u64(out, e->port, 1);
}

/* Both ends as text; the column grows to hold them. */
static void text_pair(struct clv_text *t, char out[PAIR_BYTES], const struct clv_endpoint *client,
		      const struct clv_endpoint *server)
{
	char *p = text_endpoint(out, client);

	p = text_put(p, " -> ");
	p = text_endpoint(p, server);
	*p = '\0';
	if ((size_t)(p - out) > t->pair)
		t->pair = (unsigned)(p - out);
}

static char *text_time(struct clv_text *t, char *out, uint64_t ns)
{
	time_t second = (time_t)(ns / 1000000000);
	char cell[32];

	if (second != t->second || !t->clock[0]) {
		struct tm tm;

		localtime_r(&second, &tm);
		strftime(t->clock, sizeof(t->clock), "%H:%M:%S", &tm);
		t->second = second;
	}
	char *p = text_put(cell, t->clock);
	*p++ = '.';
	p = text_u64(p, ns / 1000000 % 1000, 3);
	*p = '\0';
	return text_cell(t, out, cell, 12, false, DIM);
}

/* Columns that are left for the target, or 0 when it is not to be shortened. */
static size_t text_target_room(const struct clv_text *t)
{
	size_t others = 12 + SIDE_WIDTH + t->pair + METHOD_WIDTH + STATUS_WIDTH + DURATION_WIDTH + BYTES_WIDTH +
			FLAGS_WIDTH + 8;

	if (!t->width)
		return 0;
	return t->width > others + TARGET_LEAST ? t->width - others : TARGET_LEAST;
}

static char *text_slice(char *out, struct clv_slice s, size_t most, size_t width)
{
	size_t columns = text_escape(&out, s, most);

	return text_blank(out, columns, width);
}

/* Of HTTP nobody needs to be told that it is HTTP, and its status is a number. */
static bool text_is_http(const struct clv_span *span)
{
	return !span->protocol || strncmp(span->protocol, "http", 4) == 0;
}

static char *text_status(const struct clv_text *t, char *out, const struct clv_span *span)
{
	static const char *const colors[] = {NULL, NULL, GREEN, CYAN, YELLOW, RED};
	int code = span->status_code;
	char cell[16];

	if (!text_is_http(span) && span->result.len) {
		const char *color = span->status == CLV_STATUS_ERROR ? RED : GREEN;

		out = text_color(t, out, color);
		size_t columns = text_escape(&out, clv_slice_head(span->result, RESULT_MOST), 0);
		return text_blank(text_color(t, out, "0"), columns, STATUS_WIDTH);
	}
	if (code <= 0)
		return text_cell(t, out, "-", STATUS_WIDTH, false, RED);
	*text_u64(cell, (uint64_t)code, 1) = '\0';
	return text_cell(t, out, cell, STATUS_WIDTH, false, code < 600 ? colors[code / 100] : NULL);
}

/* "1 row", "12 rows", "sent 3": if the span says so. */
static char *text_count(char *out, const struct clv_span *span, enum clv_attr_key key, const char *before,
			const char *after)
{
	const struct clv_attr *a = clv_span_get(span, key);

	if (!a || a->type != CLV_TYPE_INT || a->i < 0)
		return out;
	out = text_u64(text_put(out, before), (uint64_t)a->i, 1);
	out = text_put(out, after);
	if (a->i == 1 && *after == ' ' && out[-1] == 's')
		out--;
	return text_blank(out, 0, 0);
}

/* What it is if it is not HTTP, and how it went on if it took its time. */
static char *text_details(const struct clv_text *t, char *out, const struct clv_span *span)
{
	uint64_t lasted_ns = span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
	uint64_t first_ns = span->first_ns > span->start_ns ? span->first_ns - span->start_ns : 0;
	char number[CLV_TEXT_DURATION];

	if (!text_is_http(span))
		out = text_cell(t, out, span->protocol, 0, false, DIM);
	if (first_ns && lasted_ns >= STREAM_NS && first_ns < lasted_ns / 2) {
		clv_text_duration(number, first_ns);
		out = text_blank(text_put(text_put(out, "first "), number), 0, 0);
	}
	out = text_count(out, span, CLV_ATTR_CLOVISOR_MESSAGES_SENT, "sent ", "");
	out = text_count(out, span, CLV_ATTR_CLOVISOR_MESSAGES_RECEIVED, "received ", "");
	out = text_count(out, span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS, "", " rows");
	return text_count(out, span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED, "", " affected");
}

/* What went wrong, and what is known to be missing. Ends the line. */
static char *text_flags(const struct clv_text *t, char *out, const struct clv_span *span)
{
	static const struct {
		uint32_t flag;
		const char *word;
	} words[] = {
		{CLV_SPAN_TRUNCATED, "truncated"},
		{CLV_SPAN_GAP, "gap"},
		{CLV_SPAN_MIDSTREAM, "midstream"},
		{CLV_SPAN_UNPAIRED, "unpaired"},
	};
	const struct clv_attr *error = clv_span_get(span, CLV_ATTR_ERROR_TYPE);

	out = text_details(t, out, span);
	/* A number only repeats the status code; a word says more, as gRPC's behind HTTP's 200. */
	bool number = error && error->type == CLV_TYPE_STRING && error->s.len && (uint8_t)(error->s.data[0] - '0') < 10;
	if (error && error->type == CLV_TYPE_STRING && (span->status_code <= 0 || !number) &&
	    !clv_slice_eq(error->s, span->result))
		out = text_slice(out, error->s, 40, 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (span->flags & words[i].flag)
			out = text_cell(t, out, words[i].word, 0, false, YELLOW);
	while (out[-1] == ' ')
		out--;
	*out++ = '\n';
	return out;
}

static char *text_header(const struct clv_text *t, char *out)
{
	size_t target = text_target_room(t);

	out = text_cell(t, out, "TIME", 12, false, BOLD);
	out = text_cell(t, out, "SIDE", SIDE_WIDTH, false, BOLD);
	out = text_cell(t, out, "CLIENT -> SERVER", t->pair, false, BOLD);
	out = text_cell(t, out, "METHOD", METHOD_WIDTH, false, BOLD);
	out = text_cell(t, out, "TARGET", target ? target : TARGET_WIDTH, false, BOLD);
	out = text_cell(t, out, "STATUS", STATUS_WIDTH, false, BOLD);
	out = text_cell(t, out, "DURATION", DURATION_WIDTH, true, BOLD);
	out = text_cell(t, out, "BYTES", BYTES_WIDTH, true, BOLD);
	return text_put(out, "FLAGS\n");
}

_Static_assert(LINE_BYTES + 2 * WIDTH_MOST <= CLV_TEXT_HEADER, "room for the header");

size_t clv_text_header(struct clv_text *t, char out[CLV_TEXT_HEADER])
{
	t->started = true;
	return (size_t)(text_header(t, out) - out);
}

void clv_text_resize(struct clv_text *t, int fd)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	t->width = 0;
	if (!isatty(fd))
		return;
	if (columns)
		t->width = (unsigned)strtoul(columns, NULL, 10);
	else if (ioctl(fd, TIOCGWINSZ, &size) == 0)
		t->width = size.ws_col;
	if (t->width == 0 || t->width > WIDTH_MOST)
		t->width = 80;
}

void clv_text_init(struct clv_text *t, int fd, enum clv_color color)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	*t = (struct clv_text){.pair = PAIR_WIDTH};
	clv_text_resize(t, fd);
	if (color == CLV_COLOR_AUTO)
		t->color = isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	else
		t->color = color == CLV_COLOR_ALWAYS;
}

size_t clv_text_bound(const struct clv_text *t, const struct clv_span *span)
{
	return LINE_BYTES + 6 * (span->method.len + span->target.len) + 2 * (size_t)t->width;
}

size_t clv_text_write(struct clv_text *t, const struct clv_span *span, char *line)
{
	uint64_t lasted_ns = span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;
	char number[CLV_TEXT_DURATION], pair[PAIR_BYTES], *out = line;

	text_pair(t, pair, &span->client, &span->server);
	if (!t->started)
		out = text_header(t, out);
	t->started = true;
	out = text_time(t, out, span->start_ns);
	out = text_cell(t, out, span->side_known ? text_sides[span->kind] : "-", SIDE_WIDTH, false, NULL);
	out = text_cell(t, out, pair, t->pair, false, NULL);
	size_t target = text_target_room(t);
	size_t width = target ? target : TARGET_WIDTH;
	size_t columns = text_escape(&out, span->method.len ? span->method : CLV_LIT("-"), target ? METHOD_MOST : 0);
	out = text_blank(out, columns, METHOD_WIDTH);
	/* A long method takes room from the target. */
	if (columns > METHOD_WIDTH)
		width = width + METHOD_WIDTH > columns + TARGET_LEAST / 2 ? width + METHOD_WIDTH - columns
									  : TARGET_LEAST / 2;
	out = text_slice(out, span->target, target ? width : 0, width);
	out = text_status(t, out, span);
	clv_text_duration(number, lasted_ns);
	out = text_cell(t, out, number, DURATION_WIDTH, true, NULL);
	clv_text_bytes(number, span->bytes);
	out = text_cell(t, out, number, BYTES_WIDTH, true, NULL);
	out = text_flags(t, out, span);
	return (size_t)(out - line);
}

/* ---- connection records ------------------------------------------------------------------------------------------ */

static char *text_word(char *out, struct clv_slice s)
{
	if (s.len)
		text_escape(&out, s, 0);
	return out;
}

/* "tls 1.3 shop.example (h2)"; what is only offered, or guessed, with a question mark. */
static char *text_flow_protocol(char *out, const struct clv_flow_record *r)
{
	struct clv_slice version = r->version.len ? r->version : r->version_offered;
	struct clv_slice alpn = r->alpn.len ? r->alpn : r->alpn_offered;

	out = text_put(out, r->protocol ? r->protocol : "-");
	out = text_put(out, r->guessed ? "?" : "");
	if (version.len)
		out = text_put(text_word(text_put(out, " "), version), r->version.len ? "" : "?");
	if (r->server_name.len)
		out = text_word(text_put(out, " "), r->server_name);
	if (alpn.len)
		out = text_put(text_word(text_put(out, " ("), alpn), r->alpn.len ? ")" : "?)");
	return out;
}

/* Ends the line. */
static char *text_flow_figures(char *out, const struct clv_flow_record *r)
{
	uint64_t again = r->retransmits[CLV_TO_SERVER] + r->retransmits[CLV_TO_CLIENT];
	char number[CLV_TEXT_DURATION];

	clv_text_bytes(number, r->bytes[CLV_TO_SERVER]);
	out = text_put(text_put(out, "sent "), number);
	clv_text_bytes(number, r->bytes[CLV_TO_CLIENT]);
	out = text_put(text_put(out, ", received "), number);
	if (r->requests)
		out = text_put(text_u64(text_put(out, ", "), r->requests, 1),
			       r->requests == 1 ? " request" : " requests");
	if (again)
		out = text_put(text_u64(text_put(out, ", "), again, 1), again == 1 ? " retransmit" : " retransmits");
	if (r->handshake_ns) {
		clv_text_duration(number, r->handshake_ns);
		out = text_put(text_put(out, ", handshake "), number);
	}
	out = text_put(out, r->midstream ? ", midstream" : "");
	*out++ = '\n';
	return out;
}

size_t clv_text_flow_bound(const struct clv_flow_record *r)
{
	struct clv_slice version = r->version.len ? r->version : r->version_offered;
	struct clv_slice alpn = r->alpn.len ? r->alpn : r->alpn_offered;

	return 2 * LINE_BYTES + 6 * (version.len + alpn.len + r->server_name.len);
}

size_t clv_text_flow(struct clv_text *t, const struct clv_flow_record *r, char *line)
{
	char number[CLV_TEXT_DURATION], pair[PAIR_BYTES], *out = line;

	text_pair(t, pair, &r->client, &r->server);
	if (!t->started)
		out = text_header(t, out);
	t->started = true;
	out = text_time(t, out, r->start_ns);
	out = text_cell(t, out, r->side_known ? text_sides[r->role] : "-", SIDE_WIDTH, false, NULL);
	out = text_cell(t, out, pair, t->pair, false, NULL);
	out = text_cell(t, out, r->transport == CLV_TRANSPORT_UDP ? "<udp>" : "<tcp>", METHOD_WIDTH, false, CYAN);
	char *protocol = out;
	out = text_flow_protocol(out, r);
	size_t target = text_target_room(t);
	out = text_blank(out, (size_t)(out - protocol), target ? target : TARGET_WIDTH);
	out = text_cell(t, out, clv_flow_end_word(r->end), STATUS_WIDTH, false,
			r->end == CLV_FLOW_RESET || r->end == CLV_FLOW_FAILED ? RED : NULL);
	clv_text_duration(number, r->end_ns - r->start_ns);
	out = text_cell(t, out, number, DURATION_WIDTH, true, NULL);
	out = text_flow_figures(out, r);
	return (size_t)(out - line);
}

static size_t text_whole(char out[CLV_TEXT_DURATION], uint64_t v, const char *unit)
{
	char *p = text_put(text_u64(out, v, 1), unit);

	*p = '\0';
	return (size_t)(p - out);
}

/* Three significant digits of a number given in thousandths. */
static size_t text_scaled(char out[CLV_TEXT_DURATION], uint64_t thousandths, const char *unit)
{
	char *p = out;

	if (thousandths >= 99950)
		return text_whole(out, (thousandths + 500) / 1000, unit);
	if (thousandths < 9995) {
		thousandths = (thousandths + 5) / 10;
		p = text_u64(p, thousandths / 100, 1);
		*p++ = '.';
		p = text_u64(p, thousandths % 100, 2);
	} else {
		thousandths = (thousandths + 50) / 100;
		p = text_u64(p, thousandths / 10, 1);
		*p++ = '.';
		p = text_u64(p, thousandths % 10, 1);
	}
	p = text_put(p, unit);
	*p = '\0';
	return (size_t)(p - out);
}

size_t clv_text_duration(char out[CLV_TEXT_DURATION], uint64_t ns)
{
	if (ns < 1000)
		return text_whole(out, ns, "ns");
	if (ns < 999500)
		return text_scaled(out, ns, "us");
	if (ns < 999500000)
		return text_scaled(out, ns / 1000, "ms");
	return text_scaled(out, ns / 1000000, "s");
}

size_t clv_text_bytes(char out[CLV_TEXT_DURATION], uint64_t bytes)
{
	static const char units[][2] = {"k", "M", "G", "T", "P", "E"};
	size_t unit = 0;

	if (bytes < 1000)
		return text_whole(out, bytes, "");
	for (; bytes >= 999500; bytes /= 1000)
		unit++;
	return text_scaled(out, bytes, units[unit]);
}
