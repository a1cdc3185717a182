/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows one kind of objects. Owns its request and what of the answer is not whole yet; keeps no object, but hands
 * each to the queue (kube/events.c) as it comes. The API's thread.
 *
 * When the queue is full the thread waits in there: nothing is read from the server then, of no kind, so that neither
 * the queue nor libcurl's buffers grow. A server that loses patience ends the watch, which is resumed.
 */
#include "kube/stream.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MS  1000000ull
#define SEC 1000000000ull

/* What is denied is tried again after so many times the longest backoff. */
#define DENIED_TIMES       2
#define RETRY_AFTER_MOST_S 300

/* The server ends a watch after so long. */
#define WATCH_LEAST_S 300u
#define WATCH_MOST_S  600u
/* A watch that lives so long, or says something, has worked... */
#define WATCH_WORKS_NS (5 * SEC)
/* ...and one that does not even live so long is not begun again at once. */
#define WATCH_SHORT_NS SEC

/*
 * The head of an answer must come in the time that a test may set; more of a list in such a part of it, for the server
 * has it all when it begins; more of a watch in so many times of it: bookmarks come about once a minute.
 */
#define LIST_PART   3
#define WATCH_TIMES 4

/* After so many failures of a watch it is not resumed any more: the list is made anew. */
#define WATCH_TRIES 3
/* So much of an answer that is an error is read. */
#define ERROR_BYTES (8u << 10)
/* Of a request's path and query: a continue token is the longest part of it, three bytes each where it is escaped. */
#define PATH_BYTES (3 * CLV_KUBE_CONTINUE_BYTES + 4096)

/* How a kind is asked for. Of the replica sets the metadata is enough; a server that cannot do that gives all. */
static const struct {
	const char *path, *name, *list_accept, *watch_accept;
} resources[CLV_KUBE_KINDS] = {
	[CLV_KUBE_POD] = {"/api/v1/pods", "pods", "application/json", "application/json"},
	[CLV_KUBE_SERVICE] = {"/api/v1/services", "services", "application/json", "application/json"},
	[CLV_KUBE_ENDPOINTSLICE] = {"/apis/discovery.k8s.io/v1/endpointslices", "endpointslices.discovery.k8s.io",
				    "application/json", "application/json"},
	[CLV_KUBE_REPLICASET] = {"/apis/apps/v1/replicasets", "replicasets.apps",
				 "application/json;as=PartialObjectMetadataList;v=1;g=meta.k8s.io,application/json",
				 "application/json;as=PartialObjectMetadata;v=1;g=meta.k8s.io,application/json"},
	[CLV_KUBE_NODE] = {"/api/v1/nodes", "nodes", "application/json", "application/json"},
};

/* In [0, n). */
static uint32_t random_below(uint32_t n)
{
	uint32_t r = 0;

	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) < 0)
		r = (uint32_t)clv_clock_ns();
	return n ? r % n : 0;
}

/* Silence is measured by a clock that stands while nobody could be heard. */
static uint64_t heard_now(const struct clv_kube_stream *s)
{
	return clv_clock_ns() - s->client->waited_ns;
}

static void client_count(struct clv_kube_client *client, enum clv_kube_count f, uint64_t n)
{
	atomic_fetch_add_explicit(&client->count[f], n, memory_order_relaxed);
}

/* ---- what is told ---------------------------------------------------------------------------------------------- */

/* Waits while the queue is full. Returns 0 or -errno, then the object is gone. */
static int stream_tell(struct clv_kube_stream *s, enum clv_kube_event_type type, struct clv_kube_object *object,
		       const char *why)
{
	struct clv_kube_event event = {.type = type, .kind = s->kind, .object = object};

	snprintf(event.why, sizeof(event.why), "%s", why ? why : "");
	for (char *c = event.why; *c; c++) /* what the server says must not command a terminal */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	client_count(s->client, CLV_KUBE_COUNT_EVENTS, object != NULL);
	uint64_t begin_ns = clv_clock_ns();
	int err = clv_kube_events_put(s->client->events, &event);
	s->client->waited_ns += clv_clock_ns() - begin_ns;
	return err;
}

/* Its state, if it is another one. */
static void stream_health(struct clv_kube_stream *s, enum clv_kube_health health, const char *why)
{
	enum clv_kube_health before = s->health;

	/* A server that refuses somebody also ends the connection, with what others ask by it. */
	if (health == before || (health == CLV_KUBE_HEALTH_TROUBLE && before == CLV_KUBE_HEALTH_REFUSED))
		return;
	s->health = health;
	if (health == CLV_KUBE_HEALTH_TROUBLE || health == CLV_KUBE_HEALTH_REFUSED)
		stream_tell(s, CLV_KUBE_TROUBLE, NULL, why);
	else if (health == CLV_KUBE_HEALTH_DENIED)
		stream_tell(s, CLV_KUBE_DENIED, NULL, why);
	else if (before != CLV_KUBE_HEALTH_UNKNOWN)
		stream_tell(s, CLV_KUBE_WORKING, NULL, NULL);
}

/* ---- when it is tried again ------------------------------------------------------------------------------------ */

/* After so many failures: twice as long each time, and a part of that, so that not all nodes come at once. */
static void stream_wait(struct clv_kube_stream *s, uint64_t most_ms)
{
	uint64_t ms = s->client->least_ms;

	for (unsigned i = 1; i < (s->failures > s->expired ? s->failures : s->expired) && ms < most_ms; i++)
		ms *= 2;
	if (ms > most_ms)
		ms = most_ms;
	s->retry_ns = clv_clock_ns() + (ms / 2 + random_below((uint32_t)(ms / 2 + 1))) * MS;
}

/* The server says itself for how long it wants to be left alone. */
static void stream_wait_as_told(struct clv_kube_stream *s)
{
	curl_off_t seconds = 0;

	curl_easy_getinfo(s->request.easy, CURLINFO_RETRY_AFTER, &seconds);
	if (seconds > RETRY_AFTER_MOST_S)
		seconds = RETRY_AFTER_MOST_S;
	uint64_t told_ns = clv_clock_ns() + (uint64_t)seconds * SEC + random_below(s->client->least_ms) * MS;
	if (seconds > 0 && told_ns > s->retry_ns)
		s->retry_ns = told_ns;
}

static void stream_relist(struct clv_kube_stream *s)
{
	free(s->next);
	s->next = NULL;
	s->watching = s->listing = false;
	*s->version = '\0';
	client_count(s->client, CLV_KUBE_COUNT_RELISTS, 1);
}

/* What failed so often is not resumed any more. A list that works proves nothing: the watch after it has to. */
static void stream_give_up(struct clv_kube_stream *s)
{
	if (s->failures < WATCH_TRIES)
		return;
	s->expired += s->watching;
	stream_relist(s);
}

/* It could not be had. */
static void stream_failed(struct clv_kube_stream *s, enum clv_kube_health health, const char *why)
{
	client_count(s->client, CLV_KUBE_COUNT_ERRORS, 1);
	s->failures++;
	stream_wait(s, health == CLV_KUBE_HEALTH_DENIED ? DENIED_TIMES * (uint64_t)s->client->most_ms
							: s->client->most_ms);
	stream_health(s, health, why);
}

/* ---- the answer ------------------------------------------------------------------------------------------------ */

static int on_list_item(void *ctx, struct clv_kube_item *item)
{
	return stream_tell(ctx, CLV_KUBE_SET, item->object, NULL);
}

static int on_watch_item(void *ctx, struct clv_kube_item *item)
{
	struct clv_kube_stream *s = ctx;
	int err = 0;

	if (item->type == CLV_KUBE_WATCH_ERROR) {
		snprintf(s->why, sizeof(s->why), "the watch ended: %s", item->message);
		return item->code == 410 ? -ESTALE : -EREMOTEIO;
	}
	if (item->object)
		err = stream_tell(s, item->type == CLV_KUBE_WATCH_DELETED ? CLV_KUBE_GONE : CLV_KUBE_SET, item->object,
				  NULL);
	if (!err && *item->resource_version)
		memcpy(s->version, item->resource_version, sizeof(s->version));
	s->worked = true;
	return err;
}

/* The head is there: what comes is what was asked for, or an error. */
static void stream_answered(struct clv_kube_stream *s)
{
	const char *content = NULL;

	s->answered = true;
	curl_easy_getinfo(s->request.easy, CURLINFO_RESPONSE_CODE, &s->status);
	curl_easy_getinfo(s->request.easy, CURLINFO_CONTENT_TYPE, &content);
	if (s->status != 200)
		return;
	s->renewed = false;
	if (!content || strncasecmp(content, "application/json", 16) != 0) {
		s->err = -EPROTO; /* somebody's page to log in, for example */
		return;
	}
	if (s->watching)
		stream_health(s, CLV_KUBE_HEALTH_WORKING, NULL);
	else if (!s->listing)
		s->err = stream_tell(s, CLV_KUBE_LISTING, NULL, NULL);
	s->listing = !s->watching;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct clv_kube_stream *s = ctx;
	long status = 0;

	/* The last line of a head that is no 1xx. */
	if (size * count <= 2 && !s->answered) {
		curl_easy_getinfo(s->request.easy, CURLINFO_RESPONSE_CODE, &status);
		if (status >= 200)
			stream_answered(s);
	}
	s->heard_ns = heard_now(s);
	return size * count;
}

static void keep_error(struct clv_kube_stream *s, const char *data, size_t len)
{
	if (!s->body)
		s->body = malloc(ERROR_BYTES);
	if (!s->body || len > ERROR_BYTES - s->body_len)
		return; /* what is cut says nothing */
	memcpy(s->body + s->body_len, data, len);
	s->body_len += len;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct clv_kube_stream *s = ctx;
	size_t len = size * count;

	s->heard_ns = heard_now(s);
	if (s->status != 200) {
		keep_error(s, data, len);
		return len;
	}
	if (!s->err)
		s->err = clv_kube_cutter_feed(s->cutter, clv_slice(data, len),
					      s->watching ? on_watch_item : on_list_item, s);
	uint64_t skipped = clv_kube_cutter_skipped(s->cutter);
	client_count(s->client, CLV_KUBE_COUNT_SKIPPED, skipped - s->skipped);
	s->skipped = skipped;
	return s->err ? CURL_WRITEFUNC_ERROR : len;
}

/* ---- the request ----------------------------------------------------------------------------------------------- */

struct query {
	CURL *easy;
	char text[PATH_BYTES];
	size_t len;
	bool cut;
};

static void query_add(struct query *q, const char *key, const char *value)
{
	char *escaped = curl_easy_escape(q->easy, value, 0);
	size_t room = sizeof(q->text) - q->len;
	int n = escaped ? snprintf(q->text + q->len, room, "%c%s=%s", strchr(q->text, '?') ? '&' : '?', key, escaped)
			: -1;

	q->cut |= n < 0 || (size_t)n >= room;
	q->len += q->cut ? 0 : (size_t)n;
	curl_free(escaped);
}

static void query_add_number(struct query *q, const char *key, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	query_add(q, key, text);
}

static void query_selectors(const struct clv_kube_stream *s, struct query *q)
{
	const struct clv_kube_client *client = s->client;
	char field[512];

	if (s->kind != CLV_KUBE_POD)
		return;
	if (client->node) {
		snprintf(field, sizeof(field), "spec.nodeName=%s", client->node);
		query_add(q, "fieldSelector", field);
	}
	if (client->label_selector)
		query_add(q, "labelSelector", client->label_selector);
}

static void query_list(const struct clv_kube_stream *s, struct query *q)
{
	bool node = s->kind == CLV_KUBE_POD && s->client->node;

	/*
	 * A node's pods are few: any state that the server has at hand will do, since the watch catches up, and etcd is
	 * left alone. Of the other kinds that would be all objects in one answer: the server knows no pages there.
	 */
	if (s->next)
		query_add(q, "continue", s->next);
	else if (node && !s->listed_once)
		query_add(q, "resourceVersion", "0");
	if (!s->unpaged)
		query_add_number(q, "limit", CLV_KUBE_PAGE);
}

static void query_watch(const struct clv_kube_stream *s, struct query *q)
{
	query_add(q, "watch", "true");
	query_add(q, "allowWatchBookmarks", "true");
	query_add(q, "resourceVersion", s->version);
	query_add_number(q, "timeoutSeconds", WATCH_LEAST_S + random_below(WATCH_MOST_S - WATCH_LEAST_S + 1));
}

/* Credentials that are not those that were refused, if there are any. */
static int stream_credentials(struct clv_kube_stream *s, struct clv_kube_credentials *c)
{
	struct clv_kube_access *access = s->client->access;
	uint64_t begin_ns = clv_clock_ns();
	int err = clv_kube_access_get(access, begin_ns, false, c, s->why);

	if (!err && s->refused && c->generation == s->generation)
		err = clv_kube_access_get(access, clv_clock_ns(), true, c, s->why);
	/* A plugin can take its time: others are not heard meanwhile. */
	s->client->waited_ns += clv_clock_ns() - begin_ns;
	if (!err)
		s->generation = c->generation;
	s->refused = false;
	return err;
}

/* A stall of a connection that others share is not waited for twice. */
static enum clv_kube_connection stream_connection(const struct clv_kube_stream *s)
{
	if (!s->watching)
		return CLV_KUBE_ALONE;
	return s->fresh ? CLV_KUBE_FRESH : CLV_KUBE_SHARED;
}

/*
 * All watches go by one connection, lists by others: libcurl 7.88 stops reading an HTTP/2 connection for good, now and
 * then, when what comes for one request is much and is read while it is the turn of another. Nor does it tell apart
 * which of its connections to a server can be shared: so lists have a multi handle of their own, while there are any.
 */
static int stream_send(struct clv_kube_stream *s)
{
	struct clv_kube_client *client = s->client;

	if (!s->watching && !client->lists)
		client->lists = curl_multi_init();
	s->multi = s->watching ? client->watches : client->lists;
	return !s->multi || curl_multi_add_handle(s->multi, s->request.easy) ? -ENOMEM : 0;
}

static int stream_request(struct clv_kube_stream *s)
{
	struct query q = {.easy = s->request.easy};
	struct clv_kube_credentials c;
	int err = stream_credentials(s, &c);

	if (err)
		return err;
	q.len = (size_t)snprintf(q.text, sizeof(q.text), "%s", resources[s->kind].path);
	query_selectors(s, &q);
	if (s->watching)
		query_watch(s, &q);
	else
		query_list(s, &q);
	if (q.cut) {
		snprintf(s->why, sizeof(s->why), "the request is too long: its label selector, or the server's token");
		return -E2BIG;
	}
	const char *accept = s->watching ? resources[s->kind].watch_accept : resources[s->kind].list_accept;
	err = clv_kube_request_set(&s->request, &c, q.text, accept, stream_connection(s), s->why);
	if (err)
		return err;
	curl_easy_setopt(s->request.easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(s->request.easy, CURLOPT_HEADERDATA, s);
	curl_easy_setopt(s->request.easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(s->request.easy, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->request.easy, CURLOPT_PRIVATE, s);
	snprintf(s->why, sizeof(s->why), "no memory");
	s->cutter = clv_kube_cutter_new(s->kind, !s->watching);
	return s->cutter ? stream_send(s) : -ENOMEM;
}

static void stream_clear(struct clv_kube_stream *s)
{
	clv_kube_cutter_free(s->cutter);
	s->cutter = NULL;
	free(s->body);
	s->body = NULL;
	s->body_len = 0;
	s->skipped = 0;
	s->status = 0;
	s->err = 0;
	s->answered = s->worked = false;
}

static void stream_begin(struct clv_kube_stream *s)
{
	stream_clear(s);
	s->begun_ns = clv_clock_ns();
	s->heard_ns = heard_now(s);
	int err = stream_request(s);
	if (err == -ECANCELED)
		return; /* it is over */
	if (err) {
		stream_failed(s, CLV_KUBE_HEALTH_TROUBLE, s->why);
		return;
	}
	s->busy = true;
	s->fresh = false;
	client_count(s->client, CLV_KUBE_COUNT_WATCHES, s->watching);
}

/* ---- its end --------------------------------------------------------------------------------------------------- */

/* What came was not what should: the list or the watch is not trusted for long. */
static void stream_broken(struct clv_kube_stream *s)
{
	char why[CLV_KUBE_WHY];

	if (s->err == -EREMOTEIO)
		snprintf(why, sizeof(why), "%s: %.400s", resources[s->kind].name, s->why);
	else
		snprintf(why, sizeof(why), "%s: what %s sends is no %s of Kubernetes: %s", resources[s->kind].name,
			 s->client->name, s->watching ? "watch" : "list", strerror(-s->err));
	stream_failed(s, CLV_KUBE_HEALTH_TROUBLE, why);
	stream_give_up(s);
}

static void stream_page_done(struct clv_kube_stream *s)
{
	char *next = NULL;
	int err = clv_kube_cutter_end(s->cutter, s->version, &next);

	if (err) {
		s->err = err;
		stream_broken(s);
		return;
	}
	s->failures = 0;
	stream_health(s, CLV_KUBE_HEALTH_WORKING, NULL);
	free(s->next);
	s->next = next;
	if (*next)
		return;
	free(s->next);
	s->next = NULL;
	s->listing = s->unpaged = false;
	s->watching = s->listed_once = true;
	client_count(s->client, CLV_KUBE_COUNT_LISTS, 1);
	stream_tell(s, CLV_KUBE_LISTED, NULL, NULL);
}

/* By whom, or for whatever reason: that is a watch's way. */
static void stream_watch_ended(struct clv_kube_stream *s, bool cut)
{
	uint64_t lived_ns = clv_clock_ns() - s->begun_ns;

	client_count(s->client, CLV_KUBE_COUNT_RESUMED, 1);
	if (s->worked || lived_ns > WATCH_WORKS_NS)
		s->failures = s->expired = 0;
	else
		s->failures++;
	if (cut || lived_ns < WATCH_SHORT_NS || s->failures)
		stream_wait(s, s->client->most_ms);
}

/* 410: what the watch or the next page would begin with is forgotten. */
static void stream_expired(struct clv_kube_stream *s)
{
	s->unpaged |= !s->watching && s->next;
	stream_relist(s);
	s->failures = 0;
	s->expired = s->worked ? 1 : s->expired + 1;
	stream_wait(s, s->client->most_ms);
}

/* "the service account NAME", as the server's message has it in User "...". */
static void denied_who(const char *message, char out[128])
{
	const char *user = strstr(message, "User \""), *end = user ? strchr(user + 6, '"') : NULL;
	static const char account[] = "system:serviceaccount:";

	if (!end || end - user - 6 > 100) {
		snprintf(out, 128, "the one we are");
		return;
	}
	user += 6;
	bool is_account = strncmp(user, account, sizeof(account) - 1) == 0;
	snprintf(out, 128, "%s%.*s", is_account ? "the service account " : "the user ", (int)(end - user), user);
}

static void stream_denied(struct clv_kube_stream *s, const char *message)
{
	const char *name = resources[s->kind].name;
	char who[128], why[CLV_KUBE_WHY];

	denied_who(message, who);
	if (s->status == 404)
		snprintf(why, sizeof(why),
			 "the server does not know %s (404): is this Kubernetes 1.21 or later? Going on "
			 "without",
			 name);
	else
		snprintf(why, sizeof(why),
			 "%s may not %s %s: grant get, list, watch (deploy/ has the ClusterRole); going "
			 "on with less",
			 who, s->watching ? "watch" : "list", name);
	stream_failed(s, CLV_KUBE_HEALTH_DENIED, why);
}

static void stream_refused(struct clv_kube_stream *s, const char *message)
{
	char why[CLV_KUBE_WHY];

	s->refused = true;
	if (!s->renewed) { /* they may just have changed */
		s->renewed = true;
		return;
	}
	snprintf(why, sizeof(why), "%s refuses the credentials of %s (401)%s%.200s", s->client->name,
		 clv_kube_access_source(s->client->access), *message ? ": " : "", message);
	stream_failed(s, CLV_KUBE_HEALTH_REFUSED, why);
}

/* An answer that is an error. */
static void stream_answer_failed(struct clv_kube_stream *s)
{
	struct clv_kube_item item = {0};
	char why[CLV_KUBE_WHY];

	clv_kube_parse_status(clv_slice(s->body, s->body_len), &item);
	switch (s->status) {
	case 401:
		stream_refused(s, item.message);
		return;
	case 403:
	case 404:
		stream_denied(s, item.message);
		return;
	case 410:
		stream_expired(s);
		return;
	default:
		break;
	}
	snprintf(why, sizeof(why), "%s: %s answers %ld%s%.200s", resources[s->kind].name, s->client->name, s->status,
		 *item.message ? ": " : "", item.message);
	stream_failed(s, CLV_KUBE_HEALTH_TROUBLE, why);
	if (s->status == 429 || s->status == 503)
		stream_wait_as_told(s);
	else
		stream_give_up(s);
}

static void stream_unreachable(struct clv_kube_stream *s, CURLcode code)
{
	const struct clv_kube_access *access = s->client->access;
	char why[CLV_KUBE_WHY];

	clv_kube_request_trouble(&s->request, code, clv_kube_access_server(access), clv_kube_access_source(access),
				 why);
	stream_failed(s, CLV_KUBE_HEALTH_TROUBLE, why);
}

void clv_kube_stream_done(struct clv_kube_stream *s, CURLcode code)
{
	curl_multi_remove_handle(s->multi, s->request.easy);
	s->busy = false;
	s->retry_ns = 0;
	if (s->err == -ECANCELED)
		return;
	if (s->err == -ESTALE)
		stream_expired(s);
	else if (s->err)
		stream_broken(s);
	else if (s->answered && s->status != 200)
		stream_answer_failed(s);
	else if (s->answered && s->watching)
		stream_watch_ended(s, code != CURLE_OK);
	else if (code == CURLE_OK)
		stream_page_done(s);
	else
		stream_unreachable(s, code);
}

/* When it has been silent for too long. */
static uint64_t stream_deadline(const struct clv_kube_stream *s)
{
	uint64_t patience_ns = s->client->patience_ms * MS;

	if (s->answered)
		patience_ns = s->watching ? patience_ns * WATCH_TIMES : patience_ns / LIST_PART;
	return s->heard_ns + patience_ns;
}

/* Its connection may be dead. A watch finds out by asking again; what gets no answer tries another connection. */
static void stream_silent(struct clv_kube_stream *s)
{
	s->fresh = !s->answered || !s->watching;
	snprintf(s->request.error, sizeof(s->request.error), "no answer in time");
	clv_kube_stream_done(s, CURLE_OPERATION_TIMEDOUT);
}

/* ---- the caller's ---------------------------------------------------------------------------------------------- */

uint64_t clv_kube_stream_tend(struct clv_kube_stream *s)
{
	if (s->busy && heard_now(s) >= stream_deadline(s))
		stream_silent(s);
	if (!s->busy && clv_clock_ns() >= s->retry_ns)
		stream_begin(s);
	return s->busy ? stream_deadline(s) + s->client->waited_ns : s->retry_ns;
}

bool clv_kube_stream_lists(const struct clv_kube_stream *s)
{
	return s->busy && !s->watching;
}

int clv_kube_stream_init(struct clv_kube_stream *s, struct clv_kube_client *client, enum clv_kube_kind kind)
{
	memset(s, 0, sizeof(*s));
	s->client = client;
	s->kind = kind;
	return clv_kube_request_init(&s->request);
}

void clv_kube_stream_fini(struct clv_kube_stream *s)
{
	if (s->busy)
		curl_multi_remove_handle(s->multi, s->request.easy);
	stream_clear(s);
	free(s->next);
	clv_kube_request_fini(&s->request);
}
