/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor bench FILE`: what the engine costs, without the reading and the writing. The packets are read into memory
 * once; then they are given to a new engine again and again, with spans only counted, written as JSON lines, or encoded
 * as OTLP, in turns. Times are of the thread's processor time, so others on the machine disturb little; with --workers
 * they are of the clock, from when all engines begin to when the last one ends. Main thread, but for what it says.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/plugins.h"
#include "cli/rules.h"
#include "cli/workload.h"
#include "engine/engine.h"
#include "export/json.h"
#include "export/otlp_encode.h"
#include "proto/sql.h"
#include "source/feed.h"
#include "source/pcap.h"
#include "source/tape.h"

/* Packets that are held, with what holding them takes: three to five millions of usual ones. */
#define BENCH_BYTES   (1u << 30)
#define BENCH_REPEAT  5
#define BENCH_MOST    1000
#define BENCH_PATH    4096 /* of the file's name that is repeated in JSON */
#define BENCH_FIGURES 32

enum { OPT_JSON = 256, OPT_REPEAT, OPT_ONLY, OPT_WORKERS };

enum bench_row { ROW_ENGINE, ROW_JSON, ROW_OTLP, ROWS };

static const struct {
	const char *name, *title;
} rows[ROWS] = {
	[ROW_ENGINE] = {"engine", "engine"},
	[ROW_JSON] = {"json", "engine + JSON lines"},
	[ROW_OTLP] = {"otlp", "engine + OTLP"},
};

/* What one engine has to itself. */
struct bench_lane {
	struct bench *bench;
	struct clv_tape *tape; /* its share of the packets */
	struct clv_rules *rules;
	struct clv_engine *engine; /* of the pass that runs */

	/* Where spans go. */
	struct clv_json lines;
	char *out;
	size_t out_size;
	uint64_t out_bytes; /* of the pass that runs */
	bool out_failed;

	uint64_t allocations; /* by the engine, while the second half of the packets came */
	pthread_t thread;     /* of several */
};

struct bench {
	/* As asked for. */
	struct clv_options line, options;
	const char *file;
	bool json;
	unsigned repeat;
	int only;         /* enum bench_row; -1: all */
	unsigned workers; /* 0: one, by its processor time */

	struct bench_lane lane[CLV_FEED_SHARES];
	unsigned lanes;
	struct clv_resources *resources;
	int tape_error; /* -ENOSPC: there are more packets than fit */
	size_t packets;
	uint64_t payload_bytes;
	pthread_barrier_t start; /* of several lanes, and of the thread that waits for them */

	/* What was found. */
	double read_ns; /* for all packets, as those of a row */
	double ns[ROWS][BENCH_MOST];
	uint64_t written[ROWS]; /* bytes of all spans, in that row's form */
	struct clv_engine_stats stats;
	size_t memory_peak;
	uint64_t allocations;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void bench_keep(void *ctx, const struct clv_packet *p)
{
	struct bench *b = ctx;

	if (b->tape_error)
		return;
	struct clv_tape *tape = b->lane[b->lanes > 1 ? clv_feed_choose(p, b->lanes) : 0].tape;
	b->tape_error = clv_tape_add(tape, p);
	if (b->tape_error)
		return;
	b->packets++;
	b->payload_bytes += p->len;
}

/* What was read, was read well enough? Says what is wrong, and returns -errno when there is nothing to measure. */
static int bench_judge(struct bench *b, const char *broken)
{
	if (broken)
		clv_warn("%s", broken);
	if (b->tape_error == -ENOMEM) {
		clv_error("%s: no memory for its packets", b->file);
		return -ENOMEM;
	}
	if (b->tape_error)
		clv_warn("%s: only its first %zu packets are measured, which take %u MiB of memory", b->file,
			 b->packets, BENCH_BYTES >> 20);
	if (!b->packets) {
		clv_error("%s: there is no TCP or UDP packet in it, so nothing to measure", b->file);
		return -ENODATA;
	}
	return 0;
}

/* All of the reading that is measured; see bench_play(). */
static __attribute__((noinline)) void bench_fill(struct bench *b, struct clv_source *source)
{
	while (!b->tape_error && source->ops->poll(source, bench_keep, b, -1) >= 0)
		;
}

static int bench_read(struct bench *b)
{
	static const enum clv_decode_side sides[] = {
		[CLV_CHOOSE_AUTO] = CLV_DECODE_SIDE_AUTO,
		[CLV_CHOOSE_POD] = CLV_DECODE_SIDE_POD,
		[CLV_CHOOSE_HOST] = CLV_DECODE_SIDE_HOST,
	};
	const struct clv_pcap_config file = {.path = b->file, .side = sides[b->options.side]};
	struct clv_source *source;
	char why[512];
	int err = clv_pcap_open(&file, &source, why, sizeof(why));

	if (err) {
		clv_error("%s", why);
		return err;
	}
	uint64_t begin_ns = clv_clock_thread_ns();
	bench_fill(b, source);
	b->read_ns = (double)(clv_clock_thread_ns() - begin_ns);
	err = bench_judge(b, clv_pcap_error(source));
	source->ops->close(source);
	return err;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static bool bench_room(struct bench_lane *b, size_t bytes)
{
	if (bytes <= b->out_size)
		return true;
	char *more = realloc(b->out, 2 * bytes);

	b->out_failed |= !more;
	if (!more)
		return false;
	b->out = more;
	b->out_size = 2 * bytes;
	return true;
}

static void bench_span(void *ctx, struct clv_span *span)
{
	/* The engine has counted it. */
}

static void bench_span_json(void *ctx, struct clv_span *span)
{
	struct bench_lane *l = ctx;

	span->resource = clv_resources_get(l->bench->resources, span->net);
	if (bench_room(l, clv_json_bound(&l->lines, span)))
		l->out_bytes += clv_json_write(&l->lines, span, l->out);
}

static void bench_span_otlp(void *ctx, struct clv_span *span)
{
	struct bench_lane *l = ctx;

	span->resource = clv_resources_get(l->bench->resources, span->net);
	if (bench_room(l, clv_otlp_span_bound(span)))
		l->out_bytes += clv_otlp_span_write(span, l->out);
}

static void bench_packet(void *ctx, const struct clv_packet *p)
{
	clv_engine_packet(ctx, p);
}

static void bench_ahead(void *ctx, const struct clv_packet *p)
{
	clv_engine_expect(ctx, p);
}

/* All that is measured, and nothing else: profilers find it by its name (tests/bench/count). The lane's thread. */
static __attribute__((noinline)) void bench_play(struct bench_lane *l)
{
	size_t half = clv_tape_packets(l->tape) / 2;
	uint64_t before, after;

	clv_tape_play(l->tape, half, bench_packet, bench_ahead, l->engine);
	clv_engine_memory(l->engine, NULL, NULL, &before);
	clv_tape_play(l->tape, SIZE_MAX, bench_packet, bench_ahead, l->engine);
	clv_engine_memory(l->engine, NULL, NULL, &after);
	clv_engine_flush(l->engine);
	l->allocations = after - before;
}

static void *bench_lane_run(void *arg)
{
	struct bench_lane *l = arg;

	pthread_barrier_wait(&l->bench->start);
	bench_play(l);
	return NULL;
}

/* All lanes at once; by the clock. Returns 0 or -errno. */
static int bench_play_all(struct bench *b, double *ns)
{
	unsigned started = 0;
	int err = 0;

	pthread_barrier_init(&b->start, NULL, b->lanes + 1);
	for (; started < b->lanes && !err; started += !err)
		err = clv_thread_start(&b->lane[started].thread, "engine", bench_lane_run, &b->lane[started]);
	if (err) /* those that wait for the others wait for ever: the program ends */
		return err;
	pthread_barrier_wait(&b->start);
	uint64_t begin_ns = clv_clock_ns();
	for (unsigned i = 0; i < b->lanes; i++)
		pthread_join(b->lane[i].thread, NULL);
	*ns = (double)(clv_clock_ns() - begin_ns);
	pthread_barrier_destroy(&b->start);
	return 0;
}

static int bench_lane_open(struct bench_lane *l, enum bench_row row)
{
	static const clv_span_fn on_span[ROWS] = {bench_span, bench_span_json, bench_span_otlp};
	const struct clv_options *o = &l->bench->options;
	const struct clv_engine_config config = {
		.memory_bytes = o->memory_bytes / l->bench->lanes,
		.ports = o->ports,
		.port_count = o->port_count,
		.egress = o->egress,
		.egress_count = o->egress_count,
		.rules = l->rules->head,
		.on_span = on_span[row],
		.span_ctx = l,
	};

	clv_tape_rewind(l->tape);
	l->out_bytes = 0;
	return clv_engine_new(&config, &l->engine);
}

/* What the pass has shown of a lane is added to what it has shown of others; its engine is gone. */
static int bench_lane_close(struct bench_lane *l, enum bench_row row, struct clv_engine_stats *sum)
{
	struct bench *b = l->bench;
	const struct clv_engine_stats *stats = clv_engine_stats(l->engine);
	size_t peak;

#define X(id, is_drop, words) sum->id += stats->id;
	CLV_ENGINE_STATS(X)
#undef X
	clv_engine_memory(l->engine, NULL, &peak, NULL);
	b->memory_peak += peak;
	b->allocations += l->allocations;
	b->written[row] += l->out_bytes;
	clv_engine_free(l->engine);
	return l->out_failed ? -ENOMEM : 0;
}

/* The packets once. Returns 0 or -errno. */
static int bench_pass(struct bench *b, enum bench_row row, double *ns)
{
	struct clv_engine_stats sum = {0};
	unsigned opened = 0;
	int err = 0;

	for (; opened < b->lanes && !err; opened += !err)
		err = bench_lane_open(&b->lane[opened], row);
	if (!err && b->workers) {
		err = bench_play_all(b, ns);
	} else if (!err) {
		uint64_t begin_ns = clv_clock_thread_ns();

		bench_play(&b->lane[0]);
		*ns = (double)(clv_clock_thread_ns() - begin_ns);
	}
	b->written[row] = b->memory_peak = b->allocations = 0;
	for (unsigned i = 0; i < opened; i++)
		if (bench_lane_close(&b->lane[i], row, &sum))
			err = -ENOMEM;
	assert(err || !b->stats.flows || b->stats.spans == sum.spans); /* the same packets, the same spans */
	b->stats = sum;
	return err;
}

static int bench_by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* In turns, so that what slows the machine down slows all of them. */
static int bench_measure(struct bench *b)
{
	int err = 0;

	for (unsigned i = 0; i < b->repeat && !err; i++)
		for (enum bench_row row = 0; row < ROWS && !err; row++)
			if (b->only < 0 || b->only == (int)row)
				err = bench_pass(b, row, &b->ns[row][i]);
	for (enum bench_row row = 0; row < ROWS; row++)
		qsort(b->ns[row], b->repeat, sizeof(double), bench_by_time);
	if (err)
		clv_error("cannot measure: %s", strerror(-err));
	return err;
}

/* ---- reporting --------------------------------------------------------------------------------------------------- */

static double per(double ns, double count)
{
	return count > 0 ? ns / count : 0;
}

/* Figures of the last pass that say that something is missing. Returns how many there are. */
static size_t bench_drops(const struct bench *b, struct clv_figure out[BENCH_FIGURES])
{
	const struct clv_engine_stats *s = &b->stats;
	size_t n = 0;

#define X(id, is_drop, words)                        \
	if ((is_drop) && s->id && n < BENCH_FIGURES) \
		out[n++] = (struct clv_figure){.name = #id, .text = (words), .drop = true, .value = s->id};
	CLV_ENGINE_STATS(X)
#undef X
	return n;
}

static void bench_text_row(const struct bench *b, const char *title, double best_ns, double median_ns)
{
	double packets = (double)b->packets, requests = (double)b->stats.requests;

	printf("%-20s %9.0f %9.0f %12.0f %10.0f %11.0f %9.1f\n", title, per(best_ns, packets), per(median_ns, packets),
	       per(packets * 1e9, best_ns), per(best_ns, requests), per(requests * 1e9, best_ns),
	       per((double)b->payload_bytes * 1e3, best_ns));
}

static void bench_text_end(const struct bench *b)
{
	struct clv_figure drops[BENCH_FIGURES];
	size_t n = bench_drops(b, drops);

	for (enum bench_row row = 0; row < ROWS; row++)
		if (b->written[row])
			printf("%s: %.0f bytes a span\n", rows[row].title,
			       per((double)b->written[row], (double)b->stats.spans));
	printf("memory: %.0f kB at most; %" PRIu64 " allocations while the second half came\n",
	       (double)b->memory_peak / 1e3, b->allocations);
	for (size_t i = 0; i < n; i++)
		printf("%s: %" PRIu64 " (%s)\n", drops[i].name, drops[i].value, drops[i].text);
}

static void bench_text(const struct bench *b)
{
	printf("%zu packets (%.1f MB of payload), %" PRIu64 " connections, %" PRIu64 " requests, %" PRIu64
	       " spans; the best of %u\n\n",
	       b->packets, (double)b->payload_bytes / 1e6, b->stats.flows, b->stats.requests, b->stats.spans,
	       b->repeat);
	if (b->workers)
		printf("%u at once, by the clock\n\n", b->workers);
	printf("%-20s %9s %9s %12s %10s %11s %9s\n", "", "ns/packet", "median", "packets/s", "ns/request", "requests/s",
	       "MB/s");
	bench_text_row(b, "reading, decoding", b->read_ns, b->read_ns);
	for (enum bench_row row = 0; row < ROWS; row++)
		if (b->only < 0 || b->only == (int)row)
			bench_text_row(b, rows[row].title, b->ns[row][0], b->ns[row][b->repeat / 2]);
	putchar('\n');
	bench_text_end(b);
}

static void bench_json_row(const struct bench *b, const char *name, double best_ns, double median_ns, uint64_t written)
{
	double packets = (double)b->packets, requests = (double)b->stats.requests;

	printf("\"%s\":{\"ns_per_packet\":%.1f,\"median_ns_per_packet\":%.1f,\"packets_per_second\":%.0f,"
	       "\"ns_per_request\":%.1f,\"requests_per_second\":%.0f,\"bytes_per_second\":%.0f,"
	       "\"bytes_per_span\":%.3f}",
	       name, per(best_ns, packets), per(median_ns, packets), per(packets * 1e9, best_ns),
	       per(best_ns, requests), per(requests * 1e9, best_ns), per((double)b->payload_bytes * 1e9, best_ns),
	       per((double)written, (double)b->stats.spans));
}

static void bench_json(const struct bench *b)
{
	char path[6 * BENCH_PATH];
	char *end = clv_json_escape(path, clv_slice_head(clv_slice_str(b->file), BENCH_PATH));
	struct clv_figure drops[BENCH_FIGURES];
	size_t n = bench_drops(b, drops);

	printf("{\"file\":\"%.*s\",\"packets\":%zu,\"complete\":%s,\"payload_bytes\":%" PRIu64
	       ",\"connections\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"spans\":%" PRIu64
	       ",\"repeat\":%u,\"workers\":%u,\"memory_peak_bytes\":%zu,\"allocations\":%" PRIu64 ",\"rows\":{",
	       (int)(end - path), path, b->packets, b->tape_error ? "false" : "true", b->payload_bytes, b->stats.flows,
	       b->stats.requests, b->stats.spans, b->repeat, b->lanes, b->memory_peak, b->allocations);
	bench_json_row(b, "read", b->read_ns, b->read_ns, 0);
	for (enum bench_row row = 0; row < ROWS; row++) {
		if (b->only >= 0 && b->only != (int)row)
			continue;
		putchar(',');
		bench_json_row(b, rows[row].name, b->ns[row][0], b->ns[row][b->repeat / 2], b->written[row]);
	}
	fputs("},\"drops\":{", stdout);
	for (size_t i = 0; i < n; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", drops[i].name, drops[i].value);
	puts("}}");
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static unsigned bench_number(struct argp_state *state, const char *option, const char *text, unsigned most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || !n || n > most)
		argp_error(state, "%s: '%s' is no number from 1 to %u", option, text, most);
	return (unsigned)n;
}

static int bench_row(struct argp_state *state, const char *name)
{
	for (int i = 0; i < ROWS; i++)
		if (strcmp(name, rows[i].name) == 0)
			return i;
	argp_error(state, "--only: '%s' is none of engine, json, otlp", name);
	return -1;
}

static error_t bench_parse(int key, char *arg, struct argp_state *state)
{
	struct bench *b = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &b->line;
		break;
	case OPT_JSON:
		b->json = true;
		break;
	case OPT_REPEAT:
		b->repeat = bench_number(state, "--repeat", arg, BENCH_MOST);
		break;
	case OPT_WORKERS:
		b->workers = b->lanes = bench_number(state, "--workers", arg, CLV_FEED_SHARES);
		break;
	case OPT_ONLY:
		b->only = bench_row(state, arg);
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one FILE at a time, and here is a second one: %s", arg);
		b->file = arg;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which FILE? (- is standard input)");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* Says what is wrong. */
static int bench_prepare_lane(struct bench_lane *l, struct bench *b)
{
	char why[512];

	l->bench = b;
	int err = clv_rules_new(&b->options, &l->rules, why, sizeof(why));
	if (err) {
		clv_error("%s", why);
		return err;
	}
	err = clv_tape_new(BENCH_BYTES / b->lanes, &l->tape);
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	return err;
}

/* What the engines need, and the packets. Says what is wrong. */
static int bench_prepare(struct bench *b)
{
	int err = clv_workload_resources(&b->options, &b->resources);

	clv_sql_verbatim = b->options.show_statements;
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	for (unsigned i = 0; i < b->lanes && !err; i++)
		err = bench_prepare_lane(&b->lane[i], b);
	return err ? err : bench_read(b);
}

static int bench_run(struct bench *b)
{
	int err = bench_prepare(b);

	if (!err)
		err = bench_measure(b);
	if (!err && b->json)
		bench_json(b);
	else if (!err)
		bench_text(b);
	for (unsigned i = 0; i < b->lanes; i++) {
		clv_tape_free(b->lane[i].tape);
		clv_rules_free(b->lane[i].rules);
		free(b->lane[i].out);
	}
	clv_resources_free(b->resources);
	return err ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
}

int clv_cmd_bench(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", OPT_JSON, 0, 0, "As one JSON object", 0},
		{"repeat", OPT_REPEAT, "N", 0, "So often, each; the best counts (default: 5)", 0},
		{"workers", OPT_WORKERS, "N", 0,
		 "So many engines at once, each with a thread and its share of the connections, as with the option of "
		 "this name of other commands; by the clock (default: one, by its processor time)",
		 0},
		{"only", OPT_ONLY, "engine|json|otlp", 0, "Measure this alone, for profilers", 0},
		{0},
	};
	struct argp_child shared[] = {{clv_options_argp(CLV_COMMAND_BENCH), 0, NULL, 0}, {0}};
	struct argp argp = {
		.options = options,
		.parser = bench_parse,
		.args_doc = "FILE",
		.doc = "Measure what the engine takes for the packets of a capture file: alone, with spans written as "
		       "JSON lines, and encoded as OTLP. The packets are read into memory first; the figures are of "
		       "processor time.\v"
		       "Examples:\n"
		       "  clovisor bench capture.pcapng\n"
		       "  clovisor bench --json --repeat 20 capture.pcapng | jq .rows.engine.ns_per_packet\n"
		       "  clovisor bench -c clovisor.yaml capture.pcapng",
		.children = shared,
	};
	static struct bench b = {.repeat = BENCH_REPEAT, .only = -1, .lanes = 1};
	int status = CLV_EXIT_FAILURE;

	if (clv_options_init(&b.line) == 0) {
		clv_cli_parse(&argp, argc, argv, &b);
		status = clv_config_start(&b.line, &b.options);
	}
	if (status == CLV_EXIT_OK)
		status = clv_plugins_start(&b.options);
	if (status == CLV_EXIT_OK)
		status = bench_run(&b);
	clv_options_fini(&b.options);
	clv_options_fini(&b.line);
	return status;
}
