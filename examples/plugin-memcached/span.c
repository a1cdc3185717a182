/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memcached commands as spans: OpenTelemetry's database conventions (v1.44), and memcached.* for what they have no name
 * for. Keys are what text output shows and filters match (the target); they are no attributes, for they may hold what
 * should not leave. Engine's thread.
 */
#include "memcached.h"

static const struct clv_slice words[] = {
#define X(id, text, follows, alone) [MEMCACHED_##id] = {(const uint8_t *)(text), sizeof(text) - 1},
	MEMCACHED_ANSWERS(X)
#undef X
		[MEMCACHED_NUMBER] = {(const uint8_t *)"OK", 2}, /* the number is a value */
	[MEMCACHED_DUMP] = {(const uint8_t *)"END", 3},
};

static bool is_error(unsigned answer)
{
	return answer == MEMCACHED_ERROR || answer == MEMCACHED_CLIENT_ERROR || answer == MEMCACHED_SERVER_ERROR;
}

static bool is_list(unsigned answer)
{
	return answer == MEMCACHED_VALUE || answer == MEMCACHED_STAT || answer == MEMCACHED_ITEM ||
	       answer == MEMCACHED_PREFIX || answer == MEMCACHED_DUMP;
}

static bool is_retrieval(unsigned command)
{
	return command == MEMCACHED_GET || command == MEMCACHED_GETS || command == MEMCACHED_GAT ||
	       command == MEMCACHED_GATS;
}

/* "KEY", or "KEY +2" for two more. */
static struct clv_slice target(const struct memcached_facts *f, struct clv_slice head, struct clv_span *span)
{
	struct clv_slice key = clv_slice_sub(head, f->key_at, f->key_len);

	if (f->keys < 2)
		return key;
	struct clv_slice more = memcached_host->number(span, f->keys - 1u);
	char *text = memcached_host->room(span, key.len + 2 + more.len);
	if (!text)
		return key;
	memcpy(text, key.data, key.len);
	memcpy(text + key.len, " +", 2);
	memcpy(text + key.len + 2, more.data, more.len);
	return clv_slice(text, key.len + 2 + more.len);
}

static void describe_items(const struct memcached_facts *request, const struct memcached_facts *response,
			   struct clv_span *span)
{
	const struct clv_host *host = memcached_host;
	unsigned keys = request->keys, hits = response->hits, missed = hits < keys ? keys - hits : 0;

	host->set_int(span, "db.response.returned_rows", hits);
	host->set_int(span, "memcached.keys.missed", missed);
	host->set_text(span, CLV_SPAN_RESULT, !missed ? CLV_LIT("HIT") : hits ? CLV_LIT("PARTIAL") : CLV_LIT("MISS"));
}

static void describe_answer(const struct clv_pair *pair, const struct memcached_facts *request,
			    const struct memcached_facts *response, struct clv_span *span)
{
	const struct clv_host *host = memcached_host;
	unsigned answer = is_error(response->ended) ? response->ended : response->answer;
	struct clv_slice word = words[answer];

	if (is_error(answer)) {
		host->set_error(span, word);
		host->set_str(span, "memcached.error.message", pair->kept);
	}
	if (is_retrieval(request->command) && !is_error(answer) && (response->ended || answer == MEMCACHED_END)) {
		describe_items(request, response, span);
		return;
	}
	if (!is_list(answer))
		host->set_str(span, "db.response.status_code", word);
	else if (response->ended)
		word = words[response->ended];
	else
		return; /* its end was not seen */
	host->set_text(span, CLV_SPAN_RESULT, word);
}

void memcached_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_host *host = memcached_host;
	const struct memcached_facts *request = pair->request, *response = pair->response;
	struct clv_slice name = memcached_command_name((enum memcached_command)request->command);

	host->set_text(span, CLV_SPAN_NAME, request->command == MEMCACHED_OTHER ? CLV_LIT("memcached") : name);
	host->set_text(span, CLV_SPAN_METHOD, name);
	host->set_text(span, CLV_SPAN_TARGET, target(request, pair->request_head, span));
	host->set_str(span, "db.system.name", CLV_LIT("memcached"));
	if (request->command != MEMCACHED_OTHER)
		host->set_str(span, "db.operation.name", name);
	if (is_retrieval(request->command) && request->keys > 1)
		host->set_int(span, "db.operation.batch.size", request->keys);
	host->set_str(span, "network.protocol.name", CLV_LIT("memcached"));
	host->set_ends(span, clv_slice(NULL, 0));
	if (request->noreply)
		host->set_bool(span, "memcached.noreply", true);
	if (pair->request_ended && pair->request_body_bytes)
		host->set_int(span, "memcached.item.bytes.sent", (int64_t)pair->request_body_bytes);
	if (response && pair->response_ended && pair->response_body_bytes)
		host->set_int(span, "memcached.item.bytes.received", (int64_t)pair->response_body_bytes);
	if (response)
		describe_answer(pair, request, response, span);
}
