/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace context: vectors made from the rules of W3C Trace Context (sections 3.2 and 3.3, levels 1 and 2), B3, Jaeger's
 * uber-trace-id and X-Ray; which one wins; lists of propagators.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <errno.h>

#include "base/buf.h"
#include "trace/context.h"

#define TRACE    "0af7651916cd43dd8448eb211c80319c"
#define PARENT   "b7ad6b7169203331"
#define SHORT    "8448eb211c80319c"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct clv_propagators all;
static struct clv_context_fields fields;

/* "Name: value" lines into `fields`. */
static void head(const char *text)
{
	struct clv_slice rest = clv_slice_str(text);

	memset(&fields, 0, sizeof(fields));
	while (rest.len) {
		size_t end = clv_slice_find(rest, 0, '\n'), colon = clv_slice_find(rest, 0, ':');

		clv_context_take(&fields, clv_slice_head(rest, colon),
				 clv_slice_trim(clv_slice_sub(rest, colon + 1, end - colon - 1)));
		rest = clv_slice_from(rest, end + 1);
	}
}

/* The context as "trace parent decision flags", dashes for what is not there; "" without one. */
static const char *read_by(const char *text, const struct clv_propagators *p)
{
	static const char *const decisions[] = {"undecided", "no", "yes"};
	static char out[128];
	struct clv_context c;
	struct clv_buf b = clv_buf(out, sizeof(out) - 1);

	head(text);
	if (!clv_context_read(&fields, p, &c))
		return "";
	if (c.has_trace)
		clv_buf_hex(&b, c.trace_id, 16);
	else
		clv_buf_lit(&b, "-");
	clv_buf_lit(&b, " ");
	if (c.has_parent)
		clv_buf_hex(&b, c.parent_id, 8);
	else
		clv_buf_lit(&b, "-");
	clv_buf_printf(&b, " %s %02x", decisions[c.decision], c.flags);
	out[b.len] = '\0';
	return out;
}

struct vector {
	const char *head, *want;
};

static void check(const struct vector *v, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *got = read_by(v[i].head, &all);

		if (strcmp(got, v[i].want) != 0)
			fail_msg("%s\n  gives: %s\n  and not: %s", v[i].head, got, v[i].want);
	}
}

#define YES(trace) trace " " PARENT " yes 01"
#define NO(trace)  trace " " PARENT " no 00"
#define PADDED     "0000000000000000" SHORT

/* ---- W3C --------------------------------------------------------------------------------------------------------- */

static void w3c(void **state)
{
	static const struct vector vectors[] = {
		{"traceparent: 00-" TRACE "-" PARENT "-01", YES(TRACE)},
		{"TRACEPARENT: 00-" TRACE "-" PARENT "-01", YES(TRACE)},
		{"TraceParent: 00-" TRACE "-" PARENT "-00", NO(TRACE)},
		{"traceparent: 00-" TRACE "-" PARENT "-ff", TRACE " " PARENT " yes 03"}, /* flags of nobody's */
		{"traceparent: 00-" TRACE "-" PARENT "-02", TRACE " " PARENT " no 02"},  /* random, level 2 */
		{"traceparent: 00-" TRACE "-" PARENT "-08", NO(TRACE)},
		{"traceparent: 00-" TRACE "-" PARENT "-09", YES(TRACE)},
		{"traceparent: cc-" TRACE "-" PARENT "-01", YES(TRACE)},
		{"traceparent: cc-" TRACE "-" PARENT "-01-what-the-future-brings", YES(TRACE)},
		{"traceparent: 01-" TRACE "-" PARENT "-01-", YES(TRACE)},
		{"traceparent: fe-" TRACE "-" PARENT "-00", NO(TRACE)},
		{"traceparent:  00-" TRACE "-" PARENT "-01 \t", YES(TRACE)}, /* white space around is HTTP's */
		{"traceparent: 00-00000000000000000000000000000001-0000000000000001-01",
		 "00000000000000000000000000000001 0000000000000001 yes 01"},
		/* Two of them: none. */
		{"traceparent: 00-" TRACE "-" PARENT "-01\ntraceparent: 00-" TRACE "-" PARENT "-01", ""},
		{"traceparent: 00-" TRACE "-" PARENT "-01\nTraceParent: garbage", ""},
	};

	check(vectors, COUNT(vectors));
}

static void w3c_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"0",
		"00",
		"00-",
		"00-" TRACE "-" PARENT,
		"00-" TRACE "-" PARENT "-",
		"00-" TRACE "-" PARENT "-1",
		"00-" TRACE "-" PARENT "-001",
		"00-" TRACE "-" PARENT "-01-",     /* version 00 ends there */
		"00-" TRACE "-" PARENT "-01-more", /* likewise */
		"00-" TRACE "-" PARENT "-01 00",   /* likewise */
		"cc-" TRACE "-" PARENT "-01.more", /* what follows must begin with '-' */
		"cc-" TRACE "-" PARENT "-0",       /* shorter than 55 */
		"cc-" TRACE "-" PARENT "-011",     /* flags are two characters */
		"ff-" TRACE "-" PARENT "-01",      /* a version that never will be */
		"0x-" TRACE "-" PARENT "-01",      /* no hex */
		"0-" TRACE "-" PARENT "-01",
		"000-" TRACE "-" PARENT "-01",
		".0-" TRACE "-" PARENT "-01",
		"0G-" TRACE "-" PARENT "-01",
		"CC-" TRACE "-" PARENT "-01",
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" TRACE "-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01", /* upper case */
		"00-" TRACE "-B7AD6B7169203331-01",
		"00-" TRACE "-" PARENT "-0A",
		"00-.af7651916cd43dd8448eb211c80319c-" PARENT "-01",
		"00-" TRACE "-.7ad6b7169203331-01",
		"00-" TRACE "-" PARENT "-.0",
		"00-" TRACE "-" PARENT "-0.",
		"00_" TRACE "-" PARENT "-01",
		"00-" TRACE "_" PARENT "-01",
		"00-" TRACE "-" PARENT "_01",
		"00-0af7651916cd43dd8448eb211c80319-" PARENT "-001",
		"00-" TRACE "0-" PARENT "-01",
		"00-" TRACE "-" PARENT "0-01",
		"00-" TRACE "-b7ad6b716920333-01",
	};
	struct clv_context c = {.flags = 0x55};

	for (size_t i = 0; i < COUNT(bad); i++)
		if (clv_context_parse(clv_slice_str(bad[i]), &c))
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(c.flags, 0x55);
}

static const char *tracestate(const char *text)
{
	static char out[CLV_TRACESTATE_BYTES + 1];
	char *room = test_malloc(CLV_TRACESTATE_BYTES); /* so that a write beyond is seen */

	head(text);
	struct clv_slice s = clv_context_tracestate(&fields, room);
	memcpy(out, room, s.len);
	out[s.len] = '\0';
	test_free(room);
	return out;
}

static void expect_tracestate(const char *text, const char *want)
{
	const char *got = tracestate(text);

	if (strcmp(got, want) != 0)
		fail_msg("%s\n  gives: %s\n  and not: %s", text, got, want);
}

static void tracestates(void **state)
{
	static const struct vector vectors[] = {
		{"tracestate: congo=t61rcWkgMzE", "congo=t61rcWkgMzE"},
		{"TraceState: foo=1,bar=2", "foo=1,bar=2"},
		{"tracestate: foo=1 \t , \t bar=2,\tbaz=3", "foo=1,bar=2,baz=3"},
		{"tracestate: foo=1\ntracestate: bar=2\nTRACESTATE: rojo=1,congo=2", "foo=1,bar=2,rojo=1,congo=2"},
		{"tracestate: foo=1\ntracestate:\ntracestate: bar=2", "foo=1,bar=2"},
		{"tracestate: ,foo=1,,\t,bar=2,", "foo=1,bar=2"},
		{"tracestate:", ""},
		{"tracestate: ,", ""},
		{"tracestate: foo=1,foo=2", "foo=1,foo=2"}, /* as it came */
		{"tracestate: abcdefghijklmnopqrstuvwxyz0123456789_-*/@="
		 " !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
		 "abcdefghijklmnopqrstuvwxyz0123456789_-*/@="
		 " !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"},
		{"tracestate: t-0@v=1,1a-_*/2b@foo=2", "t-0@v=1,1a-_*/2b@foo=2"},
		{"tracestate: 0foo=1", "0foo=1"},                 /* level 2 */
		{"tracestate: foo@=1,b@r@z=2", "foo@=1,b@r@z=2"}, /* level 2 */
		{"tracestate: foo= 1", "foo= 1"},                 /* a blank may begin a value */
		/* One bad member, and all of it is gone. */
		{"tracestate: foo", ""},
		{"tracestate: foo,bar=2", ""},
		{"tracestate: bar=2,foo=", ""},
		{"tracestate: =1", ""},
		{"tracestate: foo =1", ""},
		{"tracestate: FOO=1", ""},
		{"tracestate: foo.bar=1", ""},
		{"tracestate: @foo=1", ""},
		{"tracestate: -foo=1", ""},
		{"tracestate: foo@bar=1,@=2", ""},
		{"tracestate: foo=bar=baz", ""},
		{"tracestate: foo=a\tb", ""},
		{"tracestate: foo=\x7f", ""},
		{"tracestate: foo=\xc3\xa9", ""},
		{"tracestate: foo=1;bar=2,x", ""},
	};

	for (size_t i = 0; i < COUNT(vectors); i++)
		expect_tracestate(vectors[i].head, vectors[i].want);
}

/* `count` members of `len` characters each, by a key of two. */
static char *many(char *out, unsigned count, unsigned len)
{
	char *p = out + sprintf(out, "tracestate: ");

	for (unsigned i = 0; i < count; i++) {
		p += sprintf(p, "%s%c%c=", i ? "," : "", 'a' + i / 26, 'a' + i % 26);
		memset(p, 'x', len - 3);
		p += len - 3;
	}
	*p = '\0';
	return out;
}

static void tracestate_bounds(void **state)
{
	static char text[32768], want[32768];

	assert_string_equal(tracestate(many(text, 32, 8)), text + 12);
	assert_string_equal(tracestate(many(text, 33, 8)), "");
	assert_int_equal(strlen(tracestate(many(text, 1, 259))), 259); /* a value of 256 */
	assert_string_equal(tracestate(many(text, 1, 260)), "");       /* and one more */
	assert_int_equal(strlen(tracestate(many(text, 4, 127))), 511);
	assert_int_equal(strlen(tracestate(many(text, 27, 18))), 512); /* 512 may be propagated as a whole */
	/* Longer: the last ones go, as many as must. */
	assert_int_equal(strlen(tracestate(many(text, 5, 127))), 511);
	memcpy(want, text + 12, 511);
	want[511] = '\0';
	assert_string_equal(tracestate(text), want);
	/* Before that those that are longer than 128. */
	sprintf(text, "tracestate: aa=1,bb=%0126d,cc=%0250d,dd=%0125d,ee=5", 1, 2, 3);
	sprintf(want, "aa=1,bb=%0126d,dd=%0125d,ee=5", 1, 3);
	assert_string_equal(tracestate(text), want);
	sprintf(text, "tracestate: aa=%0125d,bb=%0125d,cc=%0125d,dd=%0125d,ee=5", 1, 2, 3, 4);
	sprintf(want, "aa=%0125d,bb=%0125d,cc=%0125d", 1, 2, 3);
	assert_memory_equal(tracestate(text), want, strlen(want));
	/* A key of 256, and one more. */
	sprintf(text, "tracestate: %0256d=1", 0);
	assert_int_equal(strlen(tracestate(text)), 258);
	sprintf(text, "tracestate: %0257d=1", 0);
	assert_string_equal(tracestate(text), "");
	/* So many headers are an attack. */
	text[0] = '\0';
	for (unsigned i = 0; i <= CLV_TRACESTATE_FIELDS; i++)
		strcat(text, "tracestate: a=1\n");
	assert_string_equal(tracestate(text), "");
	assert_string_equal(tracestate(text + 16), "a=1,a=1,a=1,a=1,a=1,a=1,a=1,a=1");
}

/* ---- others ---------------------------------------------------------------------------------------------------- */

static void b3(void **state)
{
	static const struct vector vectors[] = {
		{"b3: " TRACE "-" PARENT "-1-05e3ac9a4f6e3b90", YES(TRACE)},
		{"B3: " TRACE "-" PARENT "-1", YES(TRACE)},
		{"b3: " TRACE "-" PARENT "-0", NO(TRACE)},
		{"b3: " TRACE "-" PARENT "-d", YES(TRACE)},
		{"b3: " TRACE "-" PARENT, TRACE " " PARENT " undecided 00"},
		{"b3: " SHORT "-" PARENT "-1", YES(PADDED)},
		{"b3: 0", "- - no 00"},
		{"b3: 1", "- - yes 01"},
		{"b3: d", "- - yes 01"},
		{"b3: 2", ""},
		{"b3:", ""},
		{"b3: " TRACE, ""},
		{"b3: " TRACE "-", ""},
		{"b3: " TRACE "-" PARENT "-", ""},
		{"b3: " TRACE "-" PARENT "-2", ""},
		{"b3: " TRACE "-" PARENT "-1-", ""},
		{"b3: " TRACE "-" PARENT "-1-05e3ac9a4f6e3b9", ""},
		{"b3: " TRACE "-" PARENT "-1-05e3ac9a4f6e3b90-1", ""},
		{"b3: " TRACE "-" PARENT "-true", ""},
		{"b3: " TRACE "0-" PARENT "-1", ""},
		{"b3: 0AF7651916CD43DD8448EB211C80319C-" PARENT "-1", ""},
		{"b3: 00000000000000000000000000000000-" PARENT "-1", ""},
		{"b3: 0000000000000000-" PARENT "-1", ""},
		{"b3: " TRACE "-0000000000000000-1", ""},
		{"b3: " TRACE "-b7ad6b7169203331b7ad6b7169203331-1", ""},

		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Sampled: 1", YES(TRACE)},
		{"x-b3-traceid: " SHORT "\nx-b3-spanid: " PARENT "\nx-b3-sampled: 0", NO(PADDED)},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-ParentSpanId: junk\nX-B3-Sampled: 1",
		 YES(TRACE)},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT, TRACE " " PARENT " undecided 00"},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Flags: 1", YES(TRACE)},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Flags: 1\nX-B3-Sampled: 0", YES(TRACE)},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Flags: 0\nX-B3-Sampled: 0", NO(TRACE)},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Sampled: True", YES(TRACE)},
		{"X-B3-Sampled: 0", "- - no 00"},
		{"X-B3-Sampled: 1", "- - yes 01"},
		{"X-B3-Flags: 1", "- - yes 01"},
		{"X-B3-Flags: 0", ""},
		{"X-B3-Sampled: maybe", ""},
		{"X-B3-TraceId: " TRACE "\nX-B3-SpanId: " PARENT "\nX-B3-Sampled: maybe", ""},
		{"X-B3-TraceId: " TRACE "\nX-B3-Sampled: 1", ""},
		{"X-B3-SpanId: " PARENT "\nX-B3-Sampled: 1", ""},
		{"X-B3-TraceId: " TRACE "0\nX-B3-SpanId: " PARENT, ""},
		/* One header is stronger than several, unless it is broken. */
		{"X-B3-TraceId: " SHORT "\nX-B3-SpanId: " PARENT "\nX-B3-Sampled: 0\nb3: " TRACE "-" PARENT "-1",
		 YES(TRACE)},
		{"b3: junk\nX-B3-TraceId: " SHORT "\nX-B3-SpanId: " PARENT "\nX-B3-Sampled: 0", NO(PADDED)},
	};

	check(vectors, COUNT(vectors));
}

static void jaeger(void **state)
{
	static const struct vector vectors[] = {
		{"uber-trace-id: " TRACE ":" PARENT ":0:1", YES(TRACE)},
		{"Uber-Trace-Id: " TRACE ":" PARENT ":05e3ac9a4f6e3b90:0", NO(TRACE)},
		{"uber-trace-id: " TRACE "%3A" PARENT "%3a0%3A1", YES(TRACE)},
		{"uber-trace-id: " SHORT ":" PARENT ":0:3", YES(PADDED)},
		{"uber-trace-id: " SHORT ":" PARENT ":0:2", YES(PADDED)}, /* debug */
		{"uber-trace-id: " SHORT ":" PARENT ":0:01", YES(PADDED)},
		{"uber-trace-id: " SHORT ":" PARENT ":0:8", NO(PADDED)}, /* firehose only */
		{"uber-trace-id: 1f:2e:0:1", "0000000000000000000000000000001f 000000000000002e yes 01"},
		{"uber-trace-id: ABC:DEF:0000000000000000:00",
		 "00000000000000000000000000000abc 0000000000000def no 00"},
		{"uber-trace-id: 0:" PARENT ":0:1", ""},
		{"uber-trace-id: " TRACE ":0:0:1", ""},
		{"uber-trace-id: " TRACE "0:" PARENT ":0:1", ""},
		{"uber-trace-id: " TRACE ":" PARENT "0:0:1", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":0:100", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":0:", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":0", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":x:1", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":0:1:1", ""},
		{"uber-trace-id: " TRACE ":" PARENT ":0:x", ""},
		{"uber-trace-id: ::0:1", ""},
		{"uber-trace-id: %3", ""},
		{"uber-trace-id:", ""},
	};

	check(vectors, COUNT(vectors));
}

static void xray(void **state)
{
#define ROOT "1-5759e988-bd862e3fe1be46a994272793"
#define ID   "5759e988bd862e3fe1be46a994272793"
	static const struct vector vectors[] = {
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=" PARENT ";Sampled=1", YES(ID)},
		{"x-amzn-trace-id: Sampled=0; Parent=" PARENT " ; Root=" ROOT, NO(ID)},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=" PARENT ";Sampled=?", ID " " PARENT " undecided 00"},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=" PARENT, ID " " PARENT " undecided 00"},
		{"X-Amzn-Trace-Id: Self=1-67891234-12456789abcdef012345678;Root=" ROOT ";Lineage=a87bd80c:0",
		 ID " - undecided 00"},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Sampled=1", ID " - yes 01"},
		{"X-Amzn-Trace-Id: Sampled=1", "- - yes 01"},
		{"X-Amzn-Trace-Id: Sampled=?", ""},
		{"X-Amzn-Trace-Id: Parent=" PARENT ";Sampled=1", ""},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=" PARENT ";Sampled=2", ""},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=0000000000000000;Sampled=1", ""},
		{"X-Amzn-Trace-Id: Root=" ROOT ";Parent=b7ad;Sampled=1", ""},
		{"X-Amzn-Trace-Id: Root=2-5759e988-bd862e3fe1be46a994272793;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: Root=1-5759e98-bd862e3fe1be46a994272793;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a99427279;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a99427279x;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: Root=1-00000000-000000000000000000000000;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: Root=;Parent=" PARENT, ""},
		{"X-Amzn-Trace-Id: " TRACE, ""},
		{"X-Amzn-Trace-Id: ;;;", ""},
	};

	check(vectors, COUNT(vectors));
}

static void request_id(void **state)
{
	static const char *const bad[] = {
		"",
		"secret",
		"3f2504e0-4f89-41d3-9a0c-0305e82c330",
		"3f2504e0-4f89-41d3-9a0c-0305e82c33011",
		"3f2504e0-4f89-41d3-9a0c-0305e82c330g",
		"3f2504e04f89-41d3-9a0c-0305e82c3301-",
		"3f2504e04f8941d39a0c0305e82c3301",
		"{3f2504e0-4f89-41d3-9a0c-0305e82c33}",
	};
	char text[128];

	head("X-Request-ID: 3f2504e0-4f89-41d3-9a0c-0305e82c3301");
	assert_true(clv_slice_eq(clv_context_request_id(&fields), CLV_LIT("3f2504e0-4f89-41d3-9a0c-0305e82c3301")));
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(text, sizeof(text), "x-request-id: %s", bad[i]);
		head(text);
		assert_int_equal(clv_context_request_id(&fields).len, 0);
	}
	assert_int_equal(clv_context_request_decision(CLV_LIT("3f2504e0-4f89-41d3-9a0c-0305e82c3301")), CLV_UNDECIDED);
	assert_int_equal(clv_context_request_decision(CLV_LIT("3f2504e0-4f89-91d3-9a0c-0305e82c3301")), CLV_SAMPLED);
	assert_int_equal(clv_context_request_decision(CLV_LIT("3f2504e0-4f89-a1d3-9a0c-0305e82c3301")), CLV_SAMPLED);
	assert_int_equal(clv_context_request_decision(CLV_LIT("3f2504e0-4f89-b1d3-9a0c-0305e82c3301")), CLV_SAMPLED);
	assert_int_equal(clv_context_request_decision(CLV_LIT("3f2504e0-4f89-71d3-9a0c-0305e82c3301")), CLV_UNDECIDED);
	assert_int_equal(clv_context_request_decision(CLV_LIT("9")), CLV_UNDECIDED);
}

/* ---- which one wins -------------------------------------------------------------------------------------------- */

#define T1 "11111111111111111111111111111111"
#define T2 "22222222222222222222222222222222"
#define T3 "33333333333333333333333333333333"

static void precedence(void **state)
{
	static const char everything[] =
		"X-Amzn-Trace-Id: Root=1-44444444-444444444444444444444444;Parent=" PARENT "\nuber-trace-id: " T3
		":" PARENT ":0:1\nb3: " T2 "-" PARENT "-1\ntraceparent: 00-" T1 "-" PARENT "-01";
	static const struct vector orders[] = {
		{"tracecontext", YES(T1)},
		{"b3", YES(T2)},
		{"b3multi", YES(T2)},
		{"jaeger,tracecontext", YES(T3)},
		{"xray,b3", "44444444444444444444444444444444 " PARENT " undecided 00"},
		{"baggage, b3 ,tracecontext", YES(T2)},
		{"none", ""},
	};
	static const struct vector vectors[] = {
		{everything, YES(T1)},
		/* What is broken counts as not there. */
		{"traceparent: junk\nb3: " T2 "-" PARENT "-1\nuber-trace-id: " T3 ":" PARENT ":0:1", YES(T2)},
		/* Ids are stronger than a decision without any, */
		{"b3: 0\nuber-trace-id: " T3 ":" PARENT ":0:1", YES(T3)},
		/* and of those the first counts. */
		{"b3: 0\nX-Amzn-Trace-Id: Sampled=1", "- - no 00"},
	};

	check(vectors, COUNT(vectors));
	for (size_t i = 0; i < COUNT(orders); i++) {
		struct clv_propagators p;

		assert_int_equal(clv_propagators_parse(orders[i].head, &p, NULL), 0);
		assert_string_equal(read_by(everything, &p), orders[i].want);
	}
}

static void lists(void **state)
{
	struct clv_propagators p = {.count = 77};
	struct clv_slice unknown;

	assert_int_equal(clv_propagators_parse("tracecontext,zipkin,b3", &p, &unknown), -EINVAL);
	assert_true(clv_slice_eq(unknown, CLV_LIT("zipkin")));
	assert_int_equal(clv_propagators_parse("", &p, NULL), -EINVAL);
	assert_int_equal(clv_propagators_parse("b3,,jaeger", &p, NULL), -EINVAL);
	assert_int_equal(p.count, 77);
	assert_int_equal(clv_propagators_parse("xray,b3,b3multi,xray,tracecontext,jaeger,b3", &p, NULL), 0);
	assert_true(p.chosen);
	assert_int_equal(p.count, 4);
	assert_int_equal(p.order[0], CLV_PROPAGATOR_XRAY);
	assert_int_equal(p.order[3], CLV_PROPAGATOR_JAEGER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(w3c),         cmocka_unit_test(w3c_refused),
		cmocka_unit_test(tracestates), cmocka_unit_test(tracestate_bounds),
		cmocka_unit_test(b3),          cmocka_unit_test(jaeger),
		cmocka_unit_test(xray),        cmocka_unit_test(request_id),
		cmocka_unit_test(precedence),  cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
