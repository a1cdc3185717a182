/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis commands as spans: OpenTelemetry's conventions for Redis (v1.44, docs/db/redis.md), from what redis.c kept.
 *
 * Arguments are never shown, but for a command's second word, the name of a function, and of a key the namespace that
 * it begins with, if that is a plain word: "user:?". Never allocates. Engine thread, once per span.
 */
#include "proto/redis.h"

#include "proto/describe.h"

/* Arguments that db.query.text shows one by one. */
#define REDIS_TEXT_WORDS 16u
/* The longest namespace of a key that is shown. */
#define REDIS_NAMESPACE_BYTES 32u
/* A SHA-1 in hex. */
#define REDIS_SHA_BYTES 40u

static struct clv_slice redis_part(struct clv_slice head, size_t at, size_t len)
{
	return clv_slice_sub(head, at, len);
}

static void redis_put_upper(struct clv_buf *b, struct clv_slice word)
{
	for (size_t i = 0; i < word.len; i++)
		clv_buf_char(b, (char)((uint8_t)(word.data[i] - 'a') < 26 ? word.data[i] & 0xdf : word.data[i]));
}

/* "GET", "CLUSTER NODES", or what a module calls it; empty: nothing that may be shown. */
static struct clv_slice redis_operation(const struct clv_redis_facts *f, struct clv_slice head, struct clv_span *span,
					uint32_t *words)
{
	const struct clv_redis_command *known = clv_redis_command(f->command);
	struct clv_slice name = redis_part(head, f->name_at, f->name_len);
	struct clv_slice second = redis_part(head, f->arg_at, f->arg_len);

	*words = 1;
	if (known && !(known->flags & CLV_REDIS_WORDS && clv_redis_is_word(second)))
		return known->name;
	if (!known && !clv_redis_is_word(name))
		return clv_slice(NULL, 0);
	struct clv_buf b = clv_describe_room(span, name.len + 1 + second.len);
	redis_put_upper(&b, name);
	if (known) {
		clv_buf_char(&b, ' ');
		redis_put_upper(&b, second);
		*words = 2;
	}
	return clv_describe_text(&b);
}

/* What of a key names a kind of thing: letters before the first colon. */
static struct clv_slice redis_namespace(struct clv_slice key)
{
	size_t n = 0;

	while (n < key.len && (((key.data[n] | 0x20) >= 'a' && (key.data[n] | 0x20) <= 'z') || key.data[n] == '_' ||
			       key.data[n] == '-'))
		n++;
	return n && n <= REDIS_NAMESPACE_BYTES && n < key.len && key.data[n] == ':' ? clv_slice_head(key, n)
										    : clv_slice(NULL, 0);
}

/* "user:?", or "?"; empty: the command's first argument is no key. */
static struct clv_slice redis_key(const struct clv_redis_facts *f, struct clv_slice head, struct clv_span *span)
{
	const struct clv_redis_command *known = clv_redis_command(f->command);

	if (!known || !(known->flags & CLV_REDIS_KEY) || f->words < 2)
		return clv_slice(NULL, 0);
	struct clv_slice space = redis_namespace(redis_part(head, f->arg_at, f->arg_len));
	if (!space.len)
		return CLV_LIT("?");
	struct clv_buf b = clv_describe_room(span, space.len + 2);
	clv_buf_slice(&b, space);
	clv_buf_lit(&b, ":?");
	return clv_describe_text(&b);
}

/* A function's name, or a script's digest. */
static struct clv_slice redis_script(const struct clv_redis_facts *f, struct clv_slice head)
{
	const struct clv_redis_command *known = clv_redis_command(f->command);
	struct clv_slice name = redis_part(head, f->arg_at, f->arg_len);

	if (!known || !(known->flags & CLV_REDIS_SCRIPT))
		return clv_slice(NULL, 0);
	bool hex = name.len == REDIS_SHA_BYTES;
	for (size_t i = 0; i < name.len && hex; i++)
		hex = memchr("0123456789abcdefABCDEF", name.data[i], 22);
	return hex || clv_redis_is_word(name) ? name : clv_slice(NULL, 0);
}

/* The command as redis-cli would be given it, arguments as "?". */
static struct clv_slice redis_text(const struct clv_redis_facts *f, struct clv_slice operation, uint32_t words,
				   struct clv_slice first, struct clv_span *span)
{
	uint32_t args = f->words - words, shown = args < REDIS_TEXT_WORDS ? args : REDIS_TEXT_WORDS;
	struct clv_buf b = clv_describe_room(span, operation.len + first.len + 2 * shown + 8);

	clv_buf_slice(&b, operation);
	for (uint32_t i = 0; i < shown; i++) {
		clv_buf_char(&b, ' ');
		clv_buf_slice(&b, i == 0 && first.len ? first : CLV_LIT("?"));
	}
	if (shown < args)
		clv_buf_lit(&b, " ...");
	return clv_describe_text(&b);
}

/* "FCALL name" */
static struct clv_slice redis_span_name(struct clv_slice operation, struct clv_slice script, struct clv_span *span)
{
	if (!operation.len)
		return CLV_LIT("redis");
	if (!script.len)
		return operation;
	struct clv_buf b = clv_describe_room(span, operation.len + 1 + script.len);
	clv_buf_slice(&b, operation);
	clv_buf_char(&b, ' ');
	clv_buf_slice(&b, script);
	struct clv_slice name = clv_describe_text(&b);
	return name.len ? name : operation;
}

static void redis_describe_request(const struct clv_redis_facts *f, struct clv_slice head, struct clv_span *span)
{
	uint32_t words;
	struct clv_slice operation = redis_operation(f, head, span, &words);
	struct clv_slice key = redis_key(f, head, span), script = redis_script(f, head);

	span->method = operation.len ? operation : CLV_LIT("_OTHER");
	span->name = redis_span_name(operation, script, span);
	span->target = key.len ? key : script;
	clv_span_str(span, CLV_ATTR_DB_SYSTEM_NAME, CLV_LIT("redis"));
	clv_describe_str(span, CLV_ATTR_DB_OPERATION_NAME, operation);
	if (operation.len)
		clv_describe_str(span, CLV_ATTR_DB_QUERY_TEXT,
				 redis_text(f, operation, words, key.len ? key : script, span));
	clv_describe_str(span, CLV_ATTR_DB_STORED_PROCEDURE_NAME, script);
}

static void redis_describe_error(struct clv_slice kept, struct clv_span *span)
{
	struct clv_slice code = clv_slice_head(kept, clv_slice_find(kept, 0, ' '));

	clv_describe_error(span, code.len ? code : CLV_LIT("_OTHER"));
	clv_describe_str(span, CLV_ATTR_DB_RESPONSE_STATUS_CODE, code);
	if (kept.len > code.len) /* a redirection */
		clv_describe_str(span, CLV_ATTR_CLOVISOR_ERROR_MESSAGE, kept);
	span->result = code.len ? code : CLV_LIT("ERROR");
}

static void redis_describe_response(const struct clv_redis_facts *f, struct clv_slice kept, struct clv_span *span)
{
	if (f->db >= 0)
		clv_describe_str(span, CLV_ATTR_DB_NAMESPACE, clv_describe_number(span, (uint64_t)f->db));
	/* One is no batch; none is. */
	if (f->flags & CLV_REDIS_BATCH && f->batch != 1)
		clv_span_int(span, CLV_ATTR_DB_OPERATION_BATCH_SIZE, f->batch);
	if (f->flags & CLV_REDIS_ERROR)
		redis_describe_error(kept, span);
	else if (f->flags & CLV_REDIS_NIL)
		span->result = CLV_LIT("nil");
	else
		span->result = f->flags & CLV_REDIS_QUEUED ? CLV_LIT("QUEUED") : CLV_LIT("OK");
}

void clv_redis_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_redis_facts *request = pair->request, *response = pair->response;

	redis_describe_request(request, pair->request_head, span);
	clv_describe_ends(span, clv_slice(NULL, 0));
	span->bytes = request->bytes + (response ? response->bytes : 0);
	if (response)
		redis_describe_response(response, pair->kept, span);
}
