/* SPDX-License-Identifier: Apache-2.0 */
/* TLS: what hellos say, however they are cut, and what is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/guess.h"
#include "proto/tls.h"

/* ---- a hello ---------------------------------------------------------------------------------------------------- */

struct text {
	uint8_t bytes[40000];
	size_t len;
};

static void add(struct text *t, size_t value, unsigned bytes)
{
	while (bytes--)
		t->bytes[t->len++] = (uint8_t)(value >> 8 * bytes);
}

static void add_bytes(struct text *t, const void *bytes, size_t len)
{
	if (len)
		memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

/* Room for a length of `bytes` bytes, which closes() fills in. */
static size_t opens(struct text *t, unsigned bytes)
{
	add(t, 0, bytes);
	return t->len;
}

static void closes(struct text *t, size_t from, unsigned bytes)
{
	size_t len = t->len - from;

	for (unsigned i = 0; i < bytes; i++)
		t->bytes[from - bytes + i] = (uint8_t)(len >> 8 * (bytes - 1 - i));
}

static void extension(struct text *t, unsigned type, const void *data, size_t len)
{
	add(t, type, 2);
	add(t, len, 2);
	add_bytes(t, data, len);
}

static void name_extension(struct text *t, const char *name)
{
	add(t, 0, 2);
	size_t all = opens(t, 2), list = opens(t, 2);
	add(t, 0, 1);
	add(t, strlen(name), 2);
	add_bytes(t, name, strlen(name));
	closes(t, list, 2);
	closes(t, all, 2);
}

static void alpn_extension(struct text *t, const char *const *names, size_t count)
{
	add(t, 16, 2);
	size_t all = opens(t, 2), list = opens(t, 2);
	for (size_t i = 0; i < count; i++) {
		add(t, strlen(names[i]), 1);
		add_bytes(t, names[i], strlen(names[i]));
	}
	closes(t, list, 2);
	closes(t, all, 2);
}

/* The message up to its extensions; extensions and message are open. */
static size_t hello_begins(struct text *t, bool client, unsigned version, size_t *message)
{
	static const uint8_t random[32] = {7};

	t->len = 0;
	add(t, client ? 1 : 2, 1);
	*message = opens(t, 3);
	add(t, version, 2);
	add_bytes(t, random, sizeof(random));
	add(t, 32, 1);
	add_bytes(t, random, 32);
	if (client)
		add(t, 4, 2);
	add(t, 0x1301, 2);
	if (client)
		add(t, 0xc02f, 2);
	if (client)
		add(t, 1, 1);
	add(t, 0, 1);
	return opens(t, 2);
}

static void hello_ends(struct text *t, size_t message, size_t extensions)
{
	closes(t, extensions, 2);
	closes(t, message, 3);
}

static void client_hello(struct text *t)
{
	static const char *const alpn[] = {"\x1a\x1a", "h2", "http/1.1"};
	static const uint8_t versions[] = {6, 0x7a, 0x7a, 3, 4, 3, 3};
	size_t message, extensions = hello_begins(t, true, 0x0303, &message);

	extension(t, 0x3a3a, NULL, 0);
	name_extension(t, "shop.example");
	alpn_extension(t, alpn, 3);
	extension(t, 43, versions, sizeof(versions));
	hello_ends(t, message, extensions);
}

/* `version` 0: the extension is left out, as before TLS 1.3. */
static void server_hello(struct text *t, unsigned version, const char *alpn)
{
	uint8_t v[2] = {(uint8_t)(version >> 8), (uint8_t)version};
	size_t message, extensions = hello_begins(t, false, 0x0303, &message);

	if (version)
		extension(t, 43, v, 2);
	if (alpn)
		alpn_extension(t, &alpn, 1);
	hello_ends(t, message, extensions);
}

/* Records of `most` bytes. */
static struct text records_of(const struct text *m, size_t most)
{
	struct text t = {.len = 0};

	for (size_t at = 0, n; at < m->len; at += n) {
		n = m->len - at < most ? m->len - at : most;
		add(&t, 22, 1);
		add(&t, 0x0301, 2);
		add(&t, n, 2);
		add_bytes(&t, m->bytes + at, n);
	}
	return t;
}

/* ---- the parser ---------------------------------------------------------------------------------------------------
 */

struct ear {
	struct clv_sink sink;
	char note[CLV_NOTES][300];
};

static void on_note(struct clv_sink *sink, enum clv_note note, struct clv_slice text)
{
	struct ear *e = (struct ear *)sink;

	snprintf(e->note[note], sizeof(e->note[note]), "%.*s", (int)text.len, (const char *)text.data);
}

static struct ear ear;
static _Alignas(16) uint8_t state[64];

static void begin(void)
{
	assert_true(clv_tls.state_size <= sizeof(state));
	memset(state, 0, sizeof(state));
	ear = (struct ear){.sink = {.note = on_note}};
	clv_tls.open(state, &(struct clv_conn_info){.server_port = 443});
}

/* Gives `t` in steps of `step` bytes, each time all that is there; returns the verdict on the last. */
static struct clv_fed feed(enum clv_dir dir, const struct text *t, size_t step)
{
	struct clv_fed fed = {.v = CLV_FED_MORE};

	for (size_t n = step; fed.v == CLV_FED_MORE; n += step) {
		size_t there = n < t->len ? n : t->len;

		if (fed.need > there && there < t->len)
			continue;
		fed = clv_tls.feed(state, dir, clv_slice(t->bytes, there), &ear.sink);
		if (fed.v == CLV_FED_MORE) {
			assert_int_equal(fed.used, 0);
			assert_true(fed.need > there);
			if (there == t->len)
				break;
		}
	}
	return fed;
}

static void expect(const char *name, const char *offered, const char *version_offered, const char *alpn,
		   const char *version)
{
	assert_string_equal(ear.note[CLV_NOTE_SERVER_NAME], name);
	assert_string_equal(ear.note[CLV_NOTE_ALPN_OFFERED], offered);
	assert_string_equal(ear.note[CLV_NOTE_VERSION_OFFERED], version_offered);
	assert_string_equal(ear.note[CLV_NOTE_ALPN], alpn);
	assert_string_equal(ear.note[CLV_NOTE_VERSION], version);
}

static void test_however_it_is_cut(void **st)
{
	static const size_t sizes[] = {16384, 100, 7, 1};
	struct text client, server;

	client_hello(&client);
	server_hello(&server, 0x0304, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct text c = records_of(&client, sizes[i]), s = records_of(&server, sizes[i]);

		for (size_t step = 1; step < 400; step += step < 20 ? 1 : 37) {
			begin();
			struct clv_fed fed = feed(CLV_TO_SERVER, &c, step);
			assert_int_equal(fed.v, CLV_FED_OK);
			assert_int_equal(fed.used, c.len);
			assert_true(fed.skip == CLV_SKIP_TO_FIN);
			expect("shop.example", "h2,http/1.1", "1.3", "", "");
			fed = feed(CLV_TO_CLIENT, &s, step);
			assert_int_equal(fed.v, CLV_FED_OPAQUE);
			assert_int_equal(fed.used, s.len);
			expect("shop.example", "h2,http/1.1", "1.3", "", "1.3");
		}
	}
}

static void test_what_was_chosen(void **st)
{
	static const struct {
		unsigned legacy;
		const char *text;
	} old[] = {{0x0300, "3"}, {0x0301, "1.0"}, {0x0302, "1.1"}, {0x0303, "1.2"}, {0x0305, ""}};
	struct text m, r;

	server_hello(&m, 0, "h2");
	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
		m.bytes[4] = (uint8_t)(old[i].legacy >> 8);
		m.bytes[5] = (uint8_t)old[i].legacy;
		r = records_of(&m, 16384);
		begin();
		assert_int_equal(feed(CLV_TO_CLIENT, &r, r.len).v, CLV_FED_OPAQUE);
		expect("", "", "", "h2", old[i].text);
	}
}

/* What follows in the record is not waited for. */
static void test_more_in_the_record(void **st)
{
	struct text m;

	server_hello(&m, 0, NULL);
	size_t len = m.len;
	add(&m, 11, 1);
	add(&m, 3000, 3);
	m.len += 3000;
	struct text r = records_of(&m, 16384);
	r.len = len + 50;
	begin();
	struct clv_fed fed = feed(CLV_TO_CLIENT, &r, 1);
	assert_int_equal(fed.v, CLV_FED_OPAQUE);
	assert_int_equal(fed.used, len + 5);
	expect("", "", "", "", "1.2");
}

/* What was there before a gap still counts, whole extensions only. */
static void test_cut_short(void **st)
{
	struct text m;
	unsigned named = 0;

	client_hello(&m);
	struct text r = records_of(&m, 16384);
	for (size_t len = 0; len < r.len; len++) {
		begin();
		clv_tls.gap(state, CLV_TO_SERVER, clv_slice(r.bytes, len), 100, &ear.sink);
		assert_true(!*ear.note[CLV_NOTE_SERVER_NAME] ||
			    strcmp(ear.note[CLV_NOTE_SERVER_NAME], "shop.example") == 0);
		assert_true(!*ear.note[CLV_NOTE_ALPN_OFFERED] ||
			    strcmp(ear.note[CLV_NOTE_ALPN_OFFERED], "h2,http/1.1") == 0);
		named += *ear.note[CLV_NOTE_SERVER_NAME] != 0;
		assert_int_equal(clv_tls.resync(state, CLV_TO_SERVER, clv_slice(r.bytes, 1), false), 0);
		assert_int_equal(clv_tls.feed(state, CLV_TO_SERVER, clv_slice(r.bytes, 1), &ear.sink).v, CLV_FED_OK);
	}
	assert_true(named > 30);
}

/* Lengths that lie: nothing is read past the end (the sanitizers watch), nothing wrong is said. */
static void test_lies(void **st)
{
	struct text m, r;

	client_hello(&m);
	r = records_of(&m, 16384);
	for (size_t at = 0; at < r.len; at++)
		for (int v = 0; v < 256; v += 17) {
			uint8_t was = r.bytes[at];

			r.bytes[at] = (uint8_t)v;
			begin();
			clv_tls.probe(CLV_TO_SERVER, clv_slice(r.bytes, r.len), CLV_WHERE_START);
			clv_tls.feed(state, CLV_TO_SERVER, clv_slice(r.bytes, r.len), &ear.sink);
			clv_tls.fin(state, CLV_TO_SERVER, clv_slice(r.bytes, r.len), &ear.sink);
			r.bytes[at] = was;
		}
}

/* ---- what is taken for it ---------------------------------------------------------------------------------------- */

static enum clv_match probe(enum clv_dir dir, const struct text *t, size_t len, enum clv_where where)
{
	return clv_tls.probe(dir, clv_slice(t->bytes, len), where);
}

static void test_probe(void **st)
{
	struct text m, r;

	client_hello(&m);
	r = records_of(&m, 16384);
	for (size_t len = 0; len <= r.len; len++)
		assert_int_equal(probe(CLV_TO_SERVER, &r, len, CLV_WHERE_START),
				 len < 44 ? CLV_MATCH_MAYBE : CLV_MATCH_YES);
	assert_int_equal(probe(CLV_TO_CLIENT, &r, r.len, CLV_WHERE_START), CLV_MATCH_NO);
	struct text small = records_of(&m, 20);
	assert_int_equal(probe(CLV_TO_SERVER, &small, small.len, CLV_WHERE_START), CLV_MATCH_YES);
	server_hello(&m, 0x0304, NULL);
	r = records_of(&m, 16384);
	assert_int_equal(probe(CLV_TO_CLIENT, &r, r.len, CLV_WHERE_START), CLV_MATCH_YES);
	assert_int_equal(probe(CLV_TO_SERVER, &r, r.len, CLV_WHERE_START), CLV_MATCH_NO);
}

static void test_probe_refuses(void **st)
{
	/* where, and a value that no hello has there */
	static const uint8_t no[][2] = {{0, 23}, {1, 2}, {2, 5}, {3, 0x7f}, {5, 4}, {6, 1}, {9, 2}, {10, 5}, {43, 33}};
	struct text m, r;

	client_hello(&m);
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		r = records_of(&m, 16384);
		r.bytes[no[i][0]] = no[i][1];
		assert_int_equal(probe(CLV_TO_SERVER, &r, r.len, CLV_WHERE_START), CLV_MATCH_NO);
	}
}

/* In the middle only sealed records are to be seen, which others could look like. */
static void test_probe_midstream(void **st)
{
	struct text t = {.len = 0};

	for (int i = 0; i < 2; i++) {
		add(&t, 0x170303, 3);
		add(&t, 40, 2);
		t.len += 40;
	}
	assert_int_equal(probe(CLV_TO_CLIENT, &t, t.len, CLV_WHERE_PACKET), CLV_MATCH_LIKELY);
	assert_int_equal(probe(CLV_TO_CLIENT, &t, t.len, CLV_WHERE_START), CLV_MATCH_NO);
	t.bytes[45] = 0x18;
	assert_int_equal(probe(CLV_TO_CLIENT, &t, t.len, CLV_WHERE_PACKET), CLV_MATCH_NO);
}

/* ---- words for what has no parser -------------------------------------------------------------------------------- */

static const char *guess(const char *bytes, size_t len, bool datagram)
{
	const char *word = clv_guess(clv_slice(bytes, len), datagram);

	return word ? word : "-";
}

#define GUESS(s) guess((s), sizeof(s) - 1, false)

static void test_guesses(void **st)
{
	static uint8_t quic[1200] = {0xc3, 0, 0, 0, 1, 8};

	assert_string_equal(GUESS("SSH-2.0-OpenSSH_9.2\r\n"), "ssh");
	assert_string_equal(GUESS("220 mail.example ESMTP Postfix\r\n"), "smtp");
	assert_string_equal(GUESS("220 (vsFTPd 3.0.3)\r\n"), "ftp");
	assert_string_equal(GUESS("220 hello\r\nSMTP"), "-");
	assert_string_equal(GUESS("\x10\x10\0\4MQTT\4"), "mqtt");
	assert_string_equal(GUESS(""), "-");
	assert_string_equal(GUESS("nothing that is known"), "-");
	assert_string_equal(guess((const char *)quic, sizeof(quic), true), "quic");
	assert_string_equal(guess((const char *)quic, sizeof(quic), false), "-");
	quic[4] = 9; /* no version */
	assert_string_equal(guess((const char *)quic, sizeof(quic), true), "-");
	assert_string_equal(guess("SSH-2.0-OpenSSH", 15, true), "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_however_it_is_cut),
		cmocka_unit_test(test_what_was_chosen),
		cmocka_unit_test(test_more_in_the_record),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_refuses),
		cmocka_unit_test(test_probe_midstream),
		cmocka_unit_test(test_guesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
