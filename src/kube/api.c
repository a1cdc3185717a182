/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API client: a thread that follows each kind (kube/stream.c). Owns the thread, libcurl's multi handles, the
 * credentials and the queue; knows nothing of objects.
 */
#include "kube/api.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "base/trim.h"
#include "kube/stream.h"

#define MS  1000000ull
#define SEC 1000000000ull

/* What holds unless a test says otherwise. */
#define BACKOFF_LEAST_MS 800u
#define BACKOFF_MOST_MS  30000u
#define PATIENCE_MS      30000u
/* The thread looks around at least so often: libcurl 7.88 can wait for a socket although it has read what there is. */
#define ROUND_NS (500 * MS)
/* While there are lists they are waited for, and watches are looked after so often. */
#define LISTS_MS 5

struct clv_kube_api {
	struct clv_kube_client client;
	struct clv_kube_stream stream[CLV_KUBE_KINDS]; /* those that are followed */
	size_t streams;
	char *node, *label_selector, *name;
	pthread_t thread;
	atomic_bool stop;
};

/* ---- the thread ------------------------------------------------------------------------------------------------ */

static void api_finish(CURLM *multi)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(multi, &left))) {
		struct clv_kube_stream *s = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&s);
		clv_kube_stream_done(s, code);
	}
}

static void api_perform(CURLM *multi)
{
	int running;

	curl_multi_perform(multi, &running);
	api_finish(multi);
}

/* What freed memory lists and their connections leave behind is given back: it is not needed again soon. */
static void api_end_lists(struct clv_kube_client *client)
{
	curl_multi_cleanup(client->lists); /* with their connections */
	client->lists = NULL;
	clv_trim_heap();
}

/* Returns for how long there is nothing to do unless something comes, in ms. */
static int api_tend(struct clv_kube_api *api)
{
	uint64_t next_ns = UINT64_MAX;
	bool lists = false;

	for (size_t i = 0; i < api->streams; i++) {
		uint64_t due_ns = clv_kube_stream_tend(&api->stream[i]);

		next_ns = due_ns < next_ns ? due_ns : next_ns;
		lists |= clv_kube_stream_lists(&api->stream[i]);
	}
	if (!lists && api->client.lists)
		api_end_lists(&api->client);
	uint64_t now_ns = clv_clock_ns();
	if (next_ns <= now_ns)
		return 0;
	return (int)((next_ns - now_ns < ROUND_NS ? next_ns - now_ns : ROUND_NS) / MS) + 1;
}

static void *api_run(void *ctx)
{
	struct clv_kube_api *api = ctx;
	struct clv_kube_client *client = &api->client;

	while (!atomic_load(&api->stop)) {
		int ms = api_tend(api);

		/* Requests that have just begun make this return at once. */
		if (ms && client->lists)
			curl_multi_poll(client->lists, NULL, 0, ms < LISTS_MS ? ms : LISTS_MS, NULL);
		else if (ms)
			curl_multi_poll(client->watches, NULL, 0, ms, NULL);
		if (client->lists)
			api_perform(client->lists);
		api_perform(client->watches);
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void api_free(struct clv_kube_api *api)
{
	for (size_t i = 0; i < api->streams; i++)
		clv_kube_stream_fini(&api->stream[i]);
	if (api->client.lists)
		curl_multi_cleanup(api->client.lists);
	if (api->client.watches)
		curl_multi_cleanup(api->client.watches);
	clv_kube_events_free(api->client.events);
	clv_kube_access_close(api->client.access);
	free(api->node);
	free(api->label_selector);
	free(api->name);
	free(api);
}

/* Copies what there is of a text. Returns false when there is no memory. */
static bool copy_text(char **out, const char *text)
{
	*out = text ? strdup(text) : NULL;
	return !text || *out;
}

static int api_init_client(struct clv_kube_api *api, const struct clv_kube_api_config *config)
{
	struct clv_kube_client *c = &api->client;

	if (asprintf(&api->name, "%s (%s)", clv_kube_access_server(c->access), clv_kube_access_source(c->access)) < 0)
		api->name = NULL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		c->watches = curl_multi_init();
	if (!api->name || !c->watches || !copy_text(&api->node, config->all_pods ? NULL : config->node) ||
	    !copy_text(&api->label_selector, config->label_selector))
		return -ENOMEM;
	c->name = api->name;
	c->node = api->node;
	c->label_selector = api->label_selector;
	c->least_ms = config->backoff_least_ms ? config->backoff_least_ms : BACKOFF_LEAST_MS;
	c->most_ms = config->backoff_most_ms ? config->backoff_most_ms : BACKOFF_MOST_MS;
	c->patience_ms = config->patience_ms ? config->patience_ms : PATIENCE_MS;
	return clv_kube_events_new(&c->events);
}

static int api_init(struct clv_kube_api *api, const struct clv_kube_api_config *config)
{
	int err = api_init_client(api, config);

	for (unsigned kind = 0; !err && kind < CLV_KUBE_KINDS; kind++)
		if (config->kinds & 1u << kind)
			err = clv_kube_stream_init(&api->stream[api->streams++], &api->client,
						   (enum clv_kube_kind)kind);
	return err;
}

static int api_open(struct clv_kube_api *api, const struct clv_kube_api_config *config, char why[CLV_KUBE_WHY])
{
	if (config->kinds & 1u << CLV_KUBE_POD && !config->all_pods && (!config->node || !*config->node)) {
		snprintf(why, CLV_KUBE_WHY, "which node this is has not been said: NODE_NAME, or --node");
		return -EINVAL;
	}
	const char *trouble;
	int err = clv_curl_load(&trouble);
	if (err) {
		snprintf(why, CLV_KUBE_WHY, "cannot speak to the API without libcurl: %.200s", trouble);
		return err;
	}
	err = clv_kube_access_open(&config->access, &api->client.access, why);
	if (err)
		return err;
	err = api_init(api, config);
	if (!err)
		err = clv_thread_start(&api->thread, "kube-api", api_run, api);
	if (err)
		snprintf(why, CLV_KUBE_WHY, "cannot start the API client: %s", strerror(-err));
	return err;
}

int clv_kube_api_open(const struct clv_kube_api_config *config, struct clv_kube_api **out, char why[CLV_KUBE_WHY])
{
	struct clv_kube_api *api = calloc(1, sizeof(*api));
	int err = api ? api_open(api, config, why) : -ENOMEM;

	if (!api) {
		snprintf(why, CLV_KUBE_WHY, "no memory");
		return err;
	}
	if (err) {
		api_free(api);
		return err;
	}
	*out = api;
	return 0;
}

void clv_kube_api_close(struct clv_kube_api *api)
{
	if (!api)
		return;
	atomic_store(&api->stop, true);
	clv_kube_events_stop(api->client.events);
	clv_kube_access_stop(api->client.access);
	curl_multi_wakeup(api->client.watches);
	pthread_join(api->thread, NULL);
	api_free(api);
}

/* ---- the receiver's -------------------------------------------------------------------------------------------- */

int clv_kube_api_fd(const struct clv_kube_api *api)
{
	return clv_kube_events_fd(api->client.events);
}

size_t clv_kube_api_poll(struct clv_kube_api *api, size_t most, void (*fn)(void *ctx, struct clv_kube_event *event),
			 void *ctx)
{
	return clv_kube_events_poll(api->client.events, most, fn, ctx);
}

const char *clv_kube_api_server(const struct clv_kube_api *api)
{
	return api->name;
}

size_t clv_kube_api_figures(const struct clv_kube_api *api, struct clv_figure out[CLV_KUBE_FIGURES])
{
	static const struct clv_figure figures[] = {
		[CLV_KUBE_COUNT_LISTS] = {"kube_lists", "lists of Kubernetes objects read to their end", false, 0},
		[CLV_KUBE_COUNT_WATCHES] = {"kube_watches", "watches begun", false, 0},
		[CLV_KUBE_COUNT_EVENTS] = {"kube_events", "objects that were told", false, 0},
		[CLV_KUBE_COUNT_RELISTS] = {"kube_relists", "lists begun anew: too old for the API server", false, 0},
		[CLV_KUBE_COUNT_ERRORS] = {"kube_errors", "requests to the API server that failed", false, 0},
		[CLV_KUBE_COUNT_RESUMED] = {"kube_resumed", "watches that ended and were resumed", false, 0},
		[CLV_KUBE_COUNT_SKIPPED] = {"kube_skipped", "objects left out: too long, or not what they should be",
					    true, 0},
	};
	size_t n = sizeof(figures) / sizeof(*figures);

	for (size_t i = 0; i < n; i++) {
		out[i] = figures[i];
		out[i].value = atomic_load_explicit(&api->client.count[i], memory_order_relaxed);
	}
	out[n] = (struct clv_figure){"kube_stalls", "times that reading waited for room", false,
				     clv_kube_events_stalls(api->client.events)};
	return n + 1;
}
