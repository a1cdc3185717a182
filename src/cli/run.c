/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run. Owns lanes, output, capture file and summary for the length of it; never opens a source. The main thread;
 * of what a lane does only the tap runs on the lane's, live.
 */
#include "cli/run.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hurry.h"
#include "base/log.h"
#include "cli/caller.h"
#include "cli/cli.h"
#include "cli/lane.h"
#include "cli/outputs.h"
#include "cli/reload.h"
#include "cli/rules.h"
#include "cli/status.h"
#include "proto/sql.h"
#include "source/feed.h"
#include "source/pcapng.h"

/* How long the source may take to stop. */
#define STOP_NS (10ull * 1000 * 1000 * 1000)
/* With several workers: how often the main thread looks around while there is something to do soon. */
#define LOOK_MS       20
#define HEXDUMP_BYTES 256u
#define WHY_BYTES     512

struct run {
	struct clv_crew crew;      /* of the lanes, live */
	struct clv_gate gate;      /* closed whenever the main thread does what is not a packet's */
	struct clv_caller *caller; /* of the lane, if that may rest; else NULL */
	const struct clv_run_config *config;
	const struct clv_options *options; /* in effect now; the engines go on borrowing from config->options */
	struct clv_reload *reload;         /* NULL: there is no file */
	struct clv_outputs *outputs;
	struct clv_pcapng *capture;
	struct clv_status *status; /* NULL: nobody can ask */
	FILE *summary_file;
	unsigned count; /* lanes that there are */
	struct clv_lane *lane[CLV_WORKERS_MOST];
	struct clv_feed *feed;                 /* of a file */
	uint64_t start_ns, second_ns, look_ns; /* when it began, has a second more, looks around again */
	bool soon;                             /* service() has something to do before long */
	bool failed, write_failed;
};

volatile sig_atomic_t clv_run_stop;
static int run_signal_fd = -1;

static void run_on_signal(int signal)
{
	static const uint64_t one = 1;
	int keep = errno;

	if (clv_run_stop)
		_exit(128 + signal);
	clv_run_stop = signal;
	if (run_signal_fd >= 0 && write(run_signal_fd, &one, sizeof(one)) < 0)
		errno = 0; /* it is readable already */
	errno = keep;
}

void clv_run_signals(void)
{
	struct sigaction end = {.sa_handler = run_on_signal}, ignore = {.sa_handler = SIG_IGN};

	run_signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

int clv_run_signal_fd(void)
{
	return run_signal_fd;
}

/* ---- per packet and per span ------------------------------------------------------------------------- */

static void run_hexdump(const struct clv_packet *p)
{
	char text[HEXDUMP_BYTES * 6], from[CLV_ADDR_TEXT], to[CLV_ADDR_TEXT];
	struct clv_buf b = clv_buf(text, sizeof(text));
	struct clv_slice shown = clv_slice_head(p->payload, HEXDUMP_BYTES);

	clv_addr_format(&p->src.addr, from);
	clv_addr_format(&p->dst.addr, to);
	clv_buf_printf(&b, "%s %u -> %s %u seq %u, %u bytes, %zu captured\n", from, p->src.port, to, p->dst.port,
		       p->seq, p->len, p->payload.len);
	for (size_t i = 0; i < shown.len; i += 16) {
		struct clv_slice row = clv_slice_sub(shown, i, 16);

		clv_buf_printf(&b, "  %04zx ", i);
		for (size_t j = 0; j < 16; j++)
			if (j < row.len)
				clv_buf_printf(&b, " %02x", row.data[j]);
			else
				clv_buf_lit(&b, "   ");
		clv_buf_lit(&b, "  ");
		for (size_t j = 0; j < row.len; j++)
			clv_buf_char(&b, row.data[j] >= 0x20 && row.data[j] < 0x7f ? (char)row.data[j] : '.');
		clv_buf_char(&b, '\n');
	}
	fwrite(b.data, 1, b.len, stderr);
}

static void run_write_failed(struct run *r, int err)
{
	if (!err)
		return;
	clv_error("cannot write %s: %s; going on without it", r->config->options->write_path, strerror(-err));
	r->failed = r->write_failed = true;
}

static void run_tap(void *ctx, const struct clv_packet *p)
{
	struct run *r = ctx;

	if (r->options->hexdump && p->payload.len)
		run_hexdump(p);
	if (r->capture)
		run_write_failed(r, clv_pcapng_packet(r->capture, p));
}

/* Does anybody want to see each packet, now or after a reload? */
static bool run_taps(const struct run *r)
{
	return r->options->hexdump || r->capture || r->reload;
}

static void run_on_gone(void *ctx, uint32_t resource_id)
{
	struct run *r = ctx;

	if (r->config->gone)
		r->config->gone(r->config->ctx, resource_id);
	clv_outputs_gone(r->outputs, resource_id);
}

/* ---- figures --------------------------------------------------------------------------------------------- */

/* Two parts may count the same thing, each on its side: the source's then says so in its name. */
static struct clv_figure run_source_figure(struct clv_figure f)
{
	static const char *const both[][2] = {
		{"retransmits", "kernel_retransmits"},
		{"skipped_bytes", "kernel_skipped_bytes"},
	};

	for (size_t i = 0; i < sizeof(both) / sizeof(*both); i++)
		if (strcmp(f.name, both[i][0]) == 0)
			f.name = both[i][1];
	return f;
}

static void run_add_stats(struct clv_engine_stats *sum, const struct clv_engine_stats *e)
{
#define X(name, drop, text) sum->name += e->name;
	CLV_ENGINE_STATS(X)
#undef X
}

/* What all engines have counted together. */
static void run_engine_figures(const struct run *r, struct clv_summary *s)
{
	struct clv_engine_stats sum = {0};
	size_t memory_bytes = 0, flows = 0;
	uint64_t lag_ns = 0;

	for (unsigned i = 0; i < r->count; i++) {
		const struct clv_engine *e = clv_lane_engine(r->lane[i]);
		uint64_t lane_ns = clv_lane_lag_ns(r->lane[i]);
		size_t bytes;

		run_add_stats(&sum, clv_engine_stats(e));
		clv_engine_memory(e, &bytes, NULL, NULL);
		memory_bytes += bytes;
		flows += clv_engine_flows(e);
		lag_ns = lane_ns > lag_ns ? lane_ns : lag_ns;
	}
#define X(name, drop, text) clv_summary_set(s, (struct clv_figure){#name, text, drop, sum.name});
	CLV_ENGINE_STATS(X)
#undef X
	clv_summary_set(s, (struct clv_figure){"write_lost", "packets that -w could not write", true,
					       r->capture ? clv_pcapng_lost(r->capture) : 0});
	clv_summary_set(s, (struct clv_figure){"memory_used", "bytes of connections and unanswered requests", false,
					       memory_bytes});
	clv_summary_set(s,
			(struct clv_figure){"connections_active", "connections that are followed now", false, flows});
	if (r->config->live)
		clv_summary_set(
			s, (struct clv_figure){"engine_lag_ns", "how late packets came to the engine", false, lag_ns});
}

static void run_figures(struct run *r)
{
	struct clv_figure figures[CLV_RUN_FIGURES];
	struct clv_summary *s = clv_outputs_summary(r->outputs);

	clv_summary_reset(s);
	size_t n = r->config->figures(r->config->ctx, figures);
	for (size_t i = 0; i < n; i++)
		clv_summary_set(s, run_source_figure(figures[i]));
	run_engine_figures(r, s);
	clv_outputs_figures(r->outputs, s);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static void run_each_second(struct run *r)
{
	if (r->capture) /* for readers that follow the file */
		run_write_failed(r, clv_pcapng_flush(r->capture));
	if (r->options->stats || clv_outputs_counts_events(r->outputs))
		run_figures(r);
	if (r->options->stats)
		clv_summary_line(clv_outputs_summary(r->outputs), stderr);
	clv_outputs_second(r->outputs);
	for (unsigned i = 0; i < r->count; i++)
		clv_lane_forget_lag(r->lane[i]); /* a quiet second has none */
}

/* One set for each lane, as patterns are one thread's. Returns 0, or -errno and says why. */
static int run_make_rules(const struct clv_options *o, struct clv_rules **rules, unsigned count)
{
	char why[WHY_BYTES];
	int err = 0;

	for (unsigned i = 0; i < count && !err; i++) {
		err = clv_rules_new(o, &rules[i], why, sizeof(why));
		while (err && i > 0)
			clv_rules_free(rules[--i]);
	}
	if (err)
		clv_error("%s", why);
	return err;
}

/* The configuration has changed: what may change at once changes here, between two packets; flows go on. */
static int run_on_reload(void *ctx, const struct clv_options *old, const struct clv_options *now)
{
	struct run *r = ctx;
	struct clv_rules *rules[CLV_WORKERS_MOST];
	int err = run_make_rules(now, rules, r->count);

	if (err)
		return err;
	for (unsigned i = 0; i < r->count; i++)
		clv_lane_set_rules(r->lane[i], rules[i]);
	clv_sql_verbatim = now->show_statements;
	clv_outputs_configure(r->outputs, now);
	if (r->config->reconfigure)
		r->config->reconfigure(r->config->ctx, now);
	return 0;
}

/* Somebody asks how it goes. */
static void run_on_question(void *ctx, FILE *f, bool json)
{
	struct run *r = ctx;
	struct clv_engine *engine[CLV_WORKERS_MOST];
	const struct clv_status_report report = {
		.engine = engine,
		.workers = r->count,
		.resources = r->config->resources,
		.summary = clv_outputs_summary(r->outputs),
		.places = r->config->places,
		.ctx = r->config->ctx,
	};

	for (unsigned i = 0; i < r->count; i++)
		engine[i] = clv_lane_engine(r->lane[i]);
	run_figures(r);
	clv_status_write(&report, f, json);
}

/* What is to be done besides packets, once in a while. False: the run is over. */
static bool run_look(struct run *r)
{
	const struct clv_run_config *c = r->config;
	uint64_t now_ns = clv_clock_ns();

	int more = c->service ? c->service(c->ctx, now_ns) : 0;

	if (more < 0) {
		r->failed = true;
		return false;
	}
	r->soon = more > 0;
	if (clv_outputs_error(r->outputs)) /* clv_outputs_end_lines() tells it again */
		return false;
	if (r->reload)
		r->options = clv_reload_poll(r->reload, now_ns, run_on_reload, r);
	clv_status_poll(r->status, now_ns, run_on_question, r);
	if (now_ns >= r->second_ns) {
		run_each_second(r);
		r->second_ns = now_ns + 1000000000;
	}
	return !c->duration_ns || now_ns - r->start_ns < c->duration_ns;
}

/* How long nobody need look around, when a lane would wait for `ms`: not beyond what is to be done each second. */
static int run_patience_ms(const struct run *r, int ms)
{
	uint64_t now_ns = clv_clock_ns(), until_ns = r->second_ns, end_ns = r->start_ns + r->config->duration_ns;

	if (ms <= CLV_LANE_POLL_MS || r->soon)
		return CLV_LANE_POLL_MS;
	if (r->config->duration_ns && end_ns < until_ns)
		until_ns = end_ns;
	int left_ms = until_ns > now_ns ? (int)((until_ns - now_ns) / 1000000) + 1 : 0;
	return left_ms < ms ? left_ms : ms;
}

/* ---- one worker: all on this thread ------------------------------------------------------------------------------ */

static int run_poll_one(struct run *r, int timeout_ms)
{
	int n = clv_lane_poll(r->lane[0], timeout_ms);

	clv_health_alive(r->config->health, clv_lane_alive_ns(r->lane[0]));
	return n;
}

/* Polls until something ends the run; a file is read by another thread. Returns 0, or what the source said. */
static int run_one(struct run *r)
{
	int err = r->feed ? clv_feed_start(r->feed) : 0;

	if (err)
		clv_error("cannot start reading: %s", strerror(-err));
	while (!err && !clv_run_stop && !clv_outputs_full(r->outputs)) {
		int n = run_poll_one(r, run_patience_ms(r, clv_lane_patience_ms(r->lane[0])));

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n == CLV_SOURCE_END ? 0 : n;
		if (!run_look(r))
			return 0;
	}
	return err;
}

/* No more packets come after this, and none that came is lost. */
static void run_end_one(struct run *r)
{
	const struct clv_run_config *c = r->config;
	uint64_t end_ns = clv_clock_ns() + STOP_NS;

	while (c->stopped && !c->stopped(c->ctx) && clv_clock_ns() < end_ns)
		if (run_poll_one(r, 10) < 0)
			break;
	if (c->stopped)
		clv_lane_drain(r->lane[0]);
	clv_lane_flush(r->lane[0]);
}

/* ---- several workers: lanes on threads of their own -------------------------------------------------------------- */

static bool run_look_inside(struct run *r)
{
	clv_gate_close(&r->gate);
	bool go_on = run_look(r);
	clv_gate_open(&r->gate);
	return go_on;
}

/* A run is as alive as the lane that was heard of last. */
static void run_tell_health(struct run *r)
{
	uint64_t oldest_ns = UINT64_MAX;

	for (unsigned i = 0; i < r->count; i++) {
		uint64_t alive_ns = clv_lane_alive_ns(r->lane[i]);

		oldest_ns = alive_ns < oldest_ns ? alive_ns : oldest_ns;
	}
	clv_health_alive(r->config->health, oldest_ns);
}

static bool run_lost_a_lane(const struct run *r)
{
	for (unsigned i = 0; i < r->count; i++)
		if (clv_lane_is_over(r->lane[i]))
			return true;
	return false;
}

/* As run_patience_ms(), of lanes that do not tell when they have something. */
static int run_patience_beside_ms(const struct run *r)
{
	int ms = CLV_LANE_QUIET_MS;

	for (unsigned i = 0; i < r->count; i++)
		if (clv_lane_patience_ms(r->lane[i]) < ms)
			ms = clv_lane_patience_ms(r->lane[i]);
	return r->soon ? LOOK_MS : run_patience_ms(r, ms);
}

/* Live: the lanes read for themselves. */
static int run_beside(struct run *r)
{
	struct pollfd news = {.fd = r->config->news_fd, .events = POLLIN};

	clv_hurry(CLV_HURRY_LANE);
	while (!clv_run_stop && !clv_outputs_full(r->outputs) && !run_lost_a_lane(r)) {
		if (poll(&news, 1, run_patience_beside_ms(r)) < 0 && errno != EINTR)
			return -errno;
		if (clv_hurry_is_over(CLV_HURRY_LANE))
			clv_hurry(CLV_HURRY_LANE);
		run_tell_health(r);
		if (!run_look_inside(r))
			return 0;
	}
	return 0;
}

/* A file: this thread reads for all. */
static int run_before(struct run *r)
{
	while (!clv_run_stop && !clv_outputs_full(r->outputs)) {
		int n = clv_feed_pump(r->feed, run_taps(r) ? run_tap : NULL, r, CLV_LANE_POLL_MS);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n == CLV_SOURCE_END ? 0 : n;
		uint64_t now_ns = clv_clock_ns();
		if (now_ns < r->look_ns)
			continue;
		r->look_ns = now_ns + LOOK_MS * 1000000ull;
		if (!run_look_inside(r))
			return 0;
	}
	return 0;
}

static int run_several(struct run *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		int err = clv_lane_start(r->lane[i]);

		if (err) {
			clv_error("cannot start a worker: %s", strerror(-err));
			return err;
		}
	}
	return r->config->live ? run_beside(r) : run_before(r);
}

static bool run_stopped_inside(struct run *r)
{
	clv_gate_close(&r->gate);
	bool stopped = r->config->stopped(r->config->ctx);
	clv_gate_open(&r->gate);
	return stopped;
}

/* As run_end_one(). Returns what the first source said that failed, or 0. */
static int run_end_several(struct run *r)
{
	uint64_t end_ns = clv_clock_ns() + STOP_NS;
	int err = 0;

	while (r->config->stopped && !run_stopped_inside(r) && clv_clock_ns() < end_ns)
		poll(NULL, 0, 10);
	for (unsigned i = 0; i < r->count; i++)
		clv_lane_end(r->lane[i]);
	if (r->feed)
		clv_feed_end(r->feed);
	for (unsigned i = 0; i < r->count; i++) {
		int lane_err = clv_lane_join(r->lane[i]);

		err = err ? err : lane_err;
	}
	return err;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

unsigned clv_run_workers(const struct clv_options *options, bool live)
{
	const char *why = options->plugins.count        ? "with --plugin"
			  : live && options->write_path ? "live, with --write"
							: NULL;
	cpu_set_t cpus;
	unsigned asked = (unsigned)options->workers;

	if (why && asked > 1)
		clv_warn("%s there is one worker, not %u", why, asked);
	if (why || asked)
		return why ? 1 : asked;
	if (!live || sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	asked = (unsigned)CPU_COUNT(&cpus) / CLV_WORKERS_CORES;
	return asked < 1 ? 1 : asked > CLV_WORKERS_AUTO ? CLV_WORKERS_AUTO : asked;
}

static int run_open_lane(struct run *r, struct clv_rules *rules)
{
	const struct clv_run_config *c = r->config;
	unsigned i = r->count;
	struct clv_lane_config lane = {
		.run = c,
		.number = i,
		.outlet = clv_outputs_outlet(r->outputs, i),
		.gate = c->workers > 1 ? &r->gate : NULL,
		.crew = c->workers > 1 && c->live ? &r->crew : NULL,
		.caller = r->caller,
		.rules = rules,
		.memory_bytes = r->options->memory_bytes / c->workers,
		.counts_events = clv_outputs_counts_events(r->outputs),
	};
	int err = 0;

	if (c->live || c->workers == 1) {
		lane.tap = run_taps(r) ? run_tap : NULL;
		lane.tap_ctx = r;
	}
	if (!c->live && !r->feed)
		err = clv_feed_new(c->source(c->ctx, 0), c->workers, &r->feed);
	if (!err)
		lane.source = r->feed ? clv_feed_source(r->feed, i) : c->source(c->ctx, i);
	if (err)
		clv_rules_free(rules);
	else
		err = clv_lane_new(&lane, &r->lane[i]);
	r->count += !err;
	return err;
}

static int run_open_lanes(struct run *r)
{
	struct clv_rules *rules[CLV_WORKERS_MOST];
	int err = run_make_rules(r->options, rules, r->config->workers);

	if (err)
		return err;
	for (unsigned i = 0; i < r->config->workers; i++)
		if (err)
			clv_rules_free(rules[i]);
		else
			err = run_open_lane(r, rules[i]);
	if (err)
		clv_error("cannot start: %s", strerror(-err));
	return err;
}

/* Where what is left of the run goes, besides the outputs. */
static int run_open_files(struct run *r)
{
	const struct clv_options *o = r->options;
	int err;

	if (o->summary_path && !(r->summary_file = fopen(o->summary_path, "we"))) {
		clv_error("cannot write %s: %s", o->summary_path, strerror(errno));
		return -errno;
	}
	if (o->write_path && (err = clv_pcapng_open(o->write_path, &r->capture))) {
		clv_error("cannot write %s: %s", o->write_path, strerror(-err));
		return err;
	}
	if (r->config->line && r->config->line->config_path &&
	    (err = clv_reload_open(r->config->line, o, &r->reload))) {
		clv_error("cannot start: %s", strerror(-err));
		return err;
	}
	return 0;
}

static int run_open(struct run *r)
{
	const struct clv_outputs_config outputs = {
		.options = r->options,
		.resources = r->config->resources,
		.live = r->config->live,
		.lanes = r->config->workers,
		.stop = &clv_run_stop,
		.health = r->config->health,
	};

	clv_sql_verbatim = r->options->show_statements;
	int err = run_open_files(r);
	if (!err)
		err = clv_outputs_open(&outputs, &r->outputs);
	if (!err && r->config->live &&
	    r->config->workers == 1) { /* who rests within a gate would keep others out of it */
		int none = clv_caller_new(0, &r->caller);

		if (none)
			clv_debug("whoever reads packets never rests: %s", strerror(-none));
	}
	if (!err)
		err = run_open_lanes(r);
	if (!err)
		clv_resources_watch(r->config->resources, run_on_gone, r);
	if (!err && r->config->live)
		r->status = clv_status_open();
	return err;
}

static void run_report(struct run *r, bool quiet)
{
	if (!quiet)
		clv_summary_text(clv_outputs_summary(r->outputs), stderr);
	if (!r->summary_file)
		return;
	if (clv_summary_json(clv_outputs_summary(r->outputs), r->summary_file)) {
		clv_error("cannot write %s: %s", r->config->options->summary_path, strerror(errno));
		r->failed = true;
	}
}

static void run_close(struct run *r)
{
	int err = clv_pcapng_close(r->capture);

	if (err && !r->write_failed)
		clv_error("cannot write %s: %s", r->config->options->write_path, strerror(-err));
	r->failed |= err != 0;
	clv_resources_watch(r->config->resources, NULL, NULL);
	clv_status_close(r->status);
	clv_caller_free(r->caller);
	for (unsigned i = 0; i < r->count; i++)
		clv_lane_free(r->lane[i]);
	clv_feed_free(r->feed);
	clv_gate_fini(&r->gate);
	clv_outputs_close(r->outputs);
	if (r->summary_file)
		fclose(r->summary_file);
	clv_reload_close(r->reload);
}

/* From the first packet to the last. Returns 0, or -errno of a source. */
static int run_packets(struct run *r)
{
	uint64_t count;

	r->start_ns = clv_clock_ns();
	r->second_ns = r->start_ns + 1000000000;
	if (r->config->live && r->config->workers == 1)
		clv_hurry(CLV_HURRY_LANE);
	int err = r->config->workers == 1 ? run_one(r) : run_several(r);
	if (r->config->live && read(run_signal_fd, &count, sizeof(count)) < 0)
		count = 0; /* no signal: fine as well */
	if (r->config->workers == 1) {
		run_end_one(r);
		return err;
	}
	int lane_err = run_end_several(r);
	return err ? err : lane_err;
}

int clv_run(const struct clv_run_config *config)
{
	struct run *r = aligned_alloc(alignof(struct run), sizeof(*r));

	if (!r)
		return CLV_EXIT_FAILURE;
	*r = (struct run){.config = config, .options = config->options};
	clv_gate_init(&r->gate);
	if (run_open(r)) {
		run_close(r);
		free(r);
		return CLV_EXIT_FAILURE;
	}

	int err = run_packets(r);
	if (err && config->live)
		clv_error("cannot read packets: %s", strerror(-err));
	if (config->end)
		config->end(config->ctx);
	clv_outputs_flush(r->outputs);
	if (!config->live) /* which spans are missing is in the log and the summary */
		r->failed |= !clv_outputs_delivered(r->outputs);
	run_figures(r);
	int out_err = clv_outputs_end_lines(r->outputs);
	if (out_err && out_err != -EPIPE)
		clv_error("cannot write to standard output: %s", strerror(-out_err));
	run_report(r, out_err == -EPIPE);
	run_close(r);
	bool failed = r->failed || err || (out_err && out_err != -EPIPE);
	free(r);
	return failed ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
}
