/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin of one line protocol for test_plugin.py, right in all things but the one that -DFAULT names:
 *     client: fixture KEY CRLF        server: yes KEY CRLF
 */
#define CLOVISOR_PLUGIN
#include <clovisor/proto.h>
#include <stdio.h>
#include <stdlib.h>

enum fault {
	NONE,
	OTHER_ABI,
	OTHER_SIZE,
	NO_FEED,
	BAD_NAME,
	TAKEN_NAME,
	TWICE,
	NO_PROTOCOLS,
	READS_BEYOND,
	ALLOCATES,
	DUPLICATES,
	ENDLESS,
	ABORTS,
	KEEPS_ALL,
	SPLITS,
	BAD_ATTRIBUTE,
	NO_SPAN_NAME,
	SAYS_WRONG,
	PROBES_NO,
	NO_TALK,
	NO_TRUTH,
	STRANGE_TALK,
	DESCRIBE_ALLOCATES,
	NOT_GIVEN_BACK
};

#ifndef FAULT
#define FAULT NONE
#endif

struct facts {
	uint16_t key_at, key_len;
};

struct state {
	void *taken;
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
};

static const struct clv_host *host;
static volatile unsigned sum;
static void *volatile kept;

static size_t line_len(struct clv_slice in)
{
	size_t at = clv_slice_find(in, 0, '\n');

	return at < in.len ? at + 1 : 0;
}

static struct clv_slice first_word(enum clv_dir dir)
{
	return dir == CLV_TO_SERVER ? CLV_LIT("fixture ") : CLV_LIT("yes ");
}

static bool is_line(enum clv_dir dir, struct clv_slice in)
{
	size_t len = line_len(in), word = first_word(dir).len;

	return len > word + 2 && len < 100 && clv_slice_starts(in, first_word(dir)) && in.data[len - 2] == '\r';
}

static enum clv_match probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	struct clv_slice word = first_word(dir);

	if (FAULT == PROBES_NO)
		return in.len == 3 ? CLV_MATCH_NO : CLV_MATCH_YES;
	if (in.len >= word.len)
		return clv_slice_starts(in, word) ? CLV_MATCH_YES : CLV_MATCH_NO;
	return clv_slice_starts(word, in) ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
}

static void begin(void *st, const struct clv_conn_info *conn)
{
	struct state *s = st;

	*s = (struct state){conn->alloc(conn->mem, 100), conn->free, conn->mem};
}

static void end(void *st)
{
	struct state *s = st;

	if (FAULT != NOT_GIVEN_BACK)
		s->free(s->mem, s->taken, 100);
}

static struct clv_fed feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	size_t len = line_len(in);

	if (FAULT == READS_BEYOND)
		sum += in.data[in.len];
	if (FAULT == ALLOCATES)
		free(malloc(24));
	if (FAULT == DUPLICATES) { /* within the C library */
		kept = strdup("a copy");
		free(kept);
	}
	while (FAULT == ENDLESS && in.len > 3)
		sum++;
	if (FAULT == ABORTS && in.len > 3)
		abort();
	if (FAULT == KEEPS_ALL && !len)
		return (struct clv_fed){.v = CLV_FED_MORE};
	if (!len && in.len < 100)
		return (struct clv_fed){.v = FAULT == SPLITS && in.len > 10 ? CLV_FED_BAD : CLV_FED_MORE};
	if (!len || !is_line(dir, in))
		return (struct clv_fed){.v = FAULT == KEEPS_ALL ? CLV_FED_MORE : CLV_FED_BAD,
					.used = FAULT == KEEPS_ALL ? 0 : (uint32_t)(len ? len : in.len)};
	size_t word = first_word(dir).len;
	struct facts f = {(uint16_t)word, (uint16_t)(len - word - 2)};
	struct clv_msg msg = {.role = dir == CLV_TO_SERVER ? CLV_REQUEST : CLV_RESPONSE,
			      .head = clv_slice_head(in, len),
			      .method = CLV_LIT("FIXTURE"),
			      .facts = &f,
			      .facts_size = sizeof(f)};
	struct clv_end over = {.at = (uint32_t)len};
	sink->head(sink, dir, &msg);
	sink->end(sink, dir, &over);
	return (struct clv_fed){.v = CLV_FED_OK, .used = (uint32_t)len};
}

static void gap(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
}

static ptrdiff_t resync(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	return at_packet && is_line(dir, in) ? 0 : -1;
}

static void fin(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

static void describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct facts *f = pair->request;

	if (FAULT == DESCRIBE_ALLOCATES)
		free(malloc(100000));
	if (FAULT != NO_SPAN_NAME)
		host->set_text(span, CLV_SPAN_NAME, CLV_LIT("ask"));
	host->set_text(span, CLV_SPAN_METHOD, CLV_LIT("FIXTURE"));
	host->set_text(span, CLV_SPAN_TARGET, clv_slice_sub(pair->request_head, f->key_at, f->key_len));
	host->set_ends(span, clv_slice(NULL, 0));
	host->set_int(span, "fixture.key.bytes", f->key_len);
	host->set_bool(span, "fixture.answered", pair->response != NULL);
	host->set_str(span, "fixture.secret", CLV_LIT("token=abc"));
	host->set_strs(span, "fixture.parts", clv_slice("a\0b", 4));
	host->set_str(span, "db.system.name", CLV_LIT("fixture"));
	if (FAULT == BAD_ATTRIBUTE)
		host->set_int(span, "two words", 1);
	if (!pair->response)
		return;
	host->set_text(span, CLV_SPAN_RESULT, FAULT == SAYS_WRONG ? CLV_LIT("NO") : CLV_LIT("YES"));
	host->set_status(span, 200);
}

static const struct clv_proto proto = {
	.name = FAULT == BAD_NAME     ? "Fixture"
		: FAULT == TAKEN_NAME ? "http"
				      : "fixture",
	.ports = {7777},
	.state_size = sizeof(struct state),
	.probe = probe,
	.open = begin,
	.close = end,
	.feed = FAULT == NO_FEED ? NULL : feed,
	.gap = gap,
	.resync = resync,
	.fin = fin,
	.describe = describe,
};

/* ---- talks ----------------------------------------------------------------------------------------------------- */

static uint64_t tag(const struct clv_msg *msg)
{
	const struct facts *f = msg->facts;
	uint64_t v = 0;

	for (unsigned i = 0; i < f->key_len; i++)
		v = v * 10 + msg->head.data[f->key_at + i];
	return v;
}

static int say(struct clv_talk *t, const struct clv_talk_host *h, enum clv_dir dir, int id, int request)
{
	char key[16];
	int m = h->begin(t, dir, dir == CLV_TO_SERVER ? CLV_REQUEST : CLV_RESPONSE, request);
	uint64_t v = 0;

	snprintf(key, sizeof(key), "%d", id);
	for (const char *c = key; *c; c++)
		v = v * 10 + (uint8_t)*c;
	h->tag(t, m, v);
	h->print(t, dir, "%s%s\r\n", dir == CLV_TO_SERVER ? "fixture " : "yes ", key);
	h->head_ends(t, m);
	h->ends(t, m, 0);
	if (dir == CLV_TO_SERVER && FAULT != NO_TRUTH)
		h->span(t, m, CLV_LIT("FIXTURE"), clv_slice_str(key), CLV_LIT("YES"), 200);
	return m;
}

static void make(struct clv_talk *t, const struct clv_talk_host *h)
{
	for (int id = 0, n = 5 + (int)h->below(t, 50); id < n; id++) {
		int m = say(t, h, CLV_TO_SERVER, id, -1);

		h->flush(t, CLV_TO_SERVER);
		say(t, h, CLV_TO_CLIENT, id, m);
		h->flush(t, CLV_TO_CLIENT);
	}
}

static const struct clv_talk_source talk = {
	.proto = FAULT == STRANGE_TALK ? "stranger" : "fixture", .make = make, .tag = tag};
static const struct clv_talk_source *const talks[] = {&talk, NULL};
static const struct clv_proto *const protos[] = {FAULT == NO_PROTOCOLS ? NULL : &proto, FAULT == TWICE ? &proto : NULL,
						 NULL};

#ifndef NO_SYMBOL
const struct clv_plugin clovisor_plugin = {
	.abi = FAULT == OTHER_ABI ? CLV_PROTO_ABI + 1 : CLV_PROTO_ABI,
	.plugin_size = sizeof(struct clv_plugin),
	.proto_size = sizeof(struct clv_proto) + (FAULT == OTHER_SIZE ? 8 : 0),
	.msg_size = sizeof(struct clv_msg),
	.name = "fixture",
	.version = "0.1",
	.host = &host,
	.protos = protos,
	.talks = FAULT == NO_TALK ? NULL : talks,
};
#endif
