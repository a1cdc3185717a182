/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop. Owns engine, output, capture file and summary for the length of a run; never opens a source.
 * All on the main thread, which is the engine's thread; only the output has one of its own.
 */
#include "cli/run.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/outputs.h"
#include "cli/reload.h"
#include "cli/rules.h"
#include "source/pcapng.h"

/* How late the engine's deadlines and --duration may be noticed while nothing flows. */
#define POLL_MS 100
/* How long the source may take to stop. */
#define STOP_NS       (10ull * 1000 * 1000 * 1000)
#define HEXDUMP_BYTES 256u
#define WHY_BYTES     512

struct run {
	const struct clv_run_config *config;
	const struct clv_options *options; /* in effect now; the engine goes on borrowing from config->options */
	struct clv_reload *reload;         /* NULL: there is no file */
	struct clv_engine *engine;
	struct clv_rules *rules;
	struct clv_outputs *outputs;
	struct clv_pcapng *capture;
	FILE *summary_file;
	uint64_t newest_ns; /* of the last packet */
	uint64_t lag_ns;    /* how late packets came here, at worst since the last figures */
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

static uint64_t run_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
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

static void run_on_packet(void *ctx, const struct clv_packet *p)
{
	struct run *r = ctx;

	if (r->options->hexdump && p->payload.len)
		run_hexdump(p);
	if (r->capture)
		run_write_failed(r, clv_pcapng_packet(r->capture, p));
	r->newest_ns = p->ts_ns;
	clv_engine_packet(r->engine, p);
}

static void run_on_span(void *ctx, struct clv_span *span)
{
	struct run *r = ctx;

	clv_outputs_span(r->outputs, span);
}

static void run_on_event(void *ctx, const struct clv_event *event)
{
	struct run *r = ctx;

	clv_outputs_event(r->outputs, event);
}

static void run_on_gone(void *ctx, uint32_t resource_id)
{
	struct run *r = ctx;

	clv_outputs_gone(r->outputs, resource_id);
}

static void run_on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct run *r = ctx;

	r->config->source->ops->verdict(r->config->source, ref, v);
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

static void run_figures(struct run *r)
{
	const struct clv_engine_stats *e = clv_engine_stats(r->engine);
	struct clv_figure figures[CLV_RUN_FIGURES];
	struct clv_summary *s = clv_outputs_summary(r->outputs);
	size_t memory_bytes;

	clv_summary_reset(s);
	size_t n = r->config->figures(r->config->ctx, figures);
	for (size_t i = 0; i < n; i++)
		clv_summary_set(s, run_source_figure(figures[i]));
#define X(name, drop, text) clv_summary_set(s, (struct clv_figure){#name, text, drop, e->name});
	CLV_ENGINE_STATS(X)
#undef X
	clv_summary_set(s, (struct clv_figure){"write_lost", "packets that -w could not write", true,
					       r->capture ? clv_pcapng_lost(r->capture) : 0});
	clv_engine_memory(r->engine, &memory_bytes, NULL, NULL);
	clv_summary_set(s, (struct clv_figure){"memory_used", "bytes of connections and unanswered requests", false,
					       memory_bytes});
	clv_summary_set(s, (struct clv_figure){"connections_active", "connections that are followed now", false,
					       clv_engine_flows(r->engine)});
	if (r->config->live)
		clv_summary_set(s, (struct clv_figure){"engine_lag_ns", "how late packets came to the engine", false,
						       r->lag_ns});
	clv_outputs_figures(r->outputs, s);
}

/* ---- the run ------------------------------------------------------------------------------------------- */

static void run_tick(struct run *r)
{
	struct clv_source *s = r->config->source;
	uint64_t now_ns = s->ops->now_ns ? s->ops->now_ns(s) : 0;

	if (now_ns)
		clv_engine_tick(r->engine, now_ns);
	if (now_ns && r->newest_ns && now_ns > r->newest_ns) {
		uint64_t lag_ns = now_ns - r->newest_ns;

		r->lag_ns = lag_ns > r->lag_ns ? lag_ns : r->lag_ns;
		r->newest_ns = 0;
	}
	clv_outputs_tick(r->outputs);
}

static void run_each_second(struct run *r)
{
	if (r->capture) /* for readers that follow the file */
		run_write_failed(r, clv_pcapng_flush(r->capture));
	if (r->options->stats || clv_outputs_counts_events(r->outputs))
		run_figures(r);
	if (r->options->stats)
		clv_summary_line(clv_outputs_summary(r->outputs), stderr);
	clv_outputs_second(r->outputs);
	r->lag_ns = 0; /* a quiet second has none */
}

/*
 * Packets do not wait. At the usual priority a busy machine can keep this thread from running for 100 ms, while a
 * window is over in half a millisecond; so it runs before others, as it needs microseconds at a time. Should a flood
 * ever keep it busy for RUN_BURST_US without a pause, the kernel says so, and it takes its turn like everybody else
 * until it has been idle again. Without the privilege it has to do as it is.
 */
#define RUN_BURST_US 50000

static volatile sig_atomic_t run_is_slow;

static void run_on_burst(int signal)
{
	static const struct sched_param normal;

	run_is_slow = 1;
	sched_setscheduler(0, SCHED_OTHER, &normal);
}

static void run_hurry(void)
{
	static const struct sched_param first = {.sched_priority = 1};
	static const struct rlimit burst = {.rlim_cur = RUN_BURST_US, .rlim_max = RLIM_INFINITY};
	struct sigaction slow = {.sa_handler = run_on_burst, .sa_flags = SA_RESTART};

	sigaction(SIGXCPU, &slow, NULL);
	run_is_slow = 0;
	if (setpriority(PRIO_PROCESS, 0, -15))
		clv_debug("cannot raise the priority: %s", strerror(errno));
	if (setrlimit(RLIMIT_RTTIME, &burst) || sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first))
		clv_debug("cannot run ahead of others: %s", strerror(errno));
}

/* The configuration has changed: what may change at once changes here, between two packets; flows go on. */
static int run_on_reload(void *ctx, const struct clv_options *old, const struct clv_options *now)
{
	struct run *r = ctx;
	struct clv_rules *rules;
	char why[WHY_BYTES];
	int err = clv_rules_new(now, &rules, why, sizeof(why));

	if (err) {
		clv_error("%s", why);
		return err;
	}
	clv_engine_set_rules(r->engine, &rules->head);
	clv_rules_free(r->rules);
	r->rules = rules;
	clv_outputs_configure(r->outputs, now);
	if (r->config->reconfigure)
		r->config->reconfigure(r->config->ctx, now);
	return 0;
}

/* Polls until something ends the run. Returns 0, or what the source said. */
static int run_loop(struct run *r)
{
	const struct clv_run_config *c = r->config;
	uint64_t start_ns = run_clock_ns(), second_ns = start_ns + 1000000000;

	while (!clv_run_stop && !clv_outputs_full(r->outputs)) {
		int n = c->source->ops->poll(c->source, run_on_packet, r, POLL_MS);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n == CLV_SOURCE_END ? 0 : n;
		if (n == 0 && run_is_slow)
			run_hurry();
		run_tick(r);
		if (c->service && c->service(c->ctx)) {
			r->failed = true;
			return 0;
		}
		if (clv_outputs_error(r->outputs)) /* clv_outputs_end_lines() tells it again */
			return 0;
		uint64_t now_ns = run_clock_ns();
		if (r->reload)
			r->options = clv_reload_poll(r->reload, now_ns, run_on_reload, r);
		if (now_ns >= second_ns) {
			run_each_second(r);
			second_ns = now_ns + 1000000000;
		}
		if (c->duration_ns && now_ns - start_ns >= c->duration_ns)
			return 0;
	}
	return 0;
}

/* No more packets come after this, and none that came is lost. */
static void run_drain(struct run *r)
{
	const struct clv_run_config *c = r->config;
	uint64_t end_ns = run_clock_ns() + STOP_NS;

	uint64_t count;

	if (!c->stopped)
		return;
	if (read(run_signal_fd, &count, sizeof(count)) < 0)
		count = 0; /* no signal: fine as well */
	while (!c->stopped(c->ctx) && run_clock_ns() < end_ns) {
		if (c->source->ops->poll(c->source, run_on_packet, r, 10) < 0)
			return;
		clv_outputs_tick(r->outputs);
	}
	while (c->source->ops->poll(c->source, run_on_packet, r, 0) > 0)
		clv_outputs_tick(r->outputs);
}

static int run_open_engine(struct run *r)
{
	const struct clv_options *o = r->options;
	const struct clv_engine_config engine = {
		.memory_bytes = o->memory_bytes,
		.ports = o->ports,
		.port_count = o->port_count,
		.egress = o->egress,
		.egress_count = o->egress_count,
		.rules = r->rules->head,
		.on_span = run_on_span,
		.span_ctx = r,
		.on_event = clv_outputs_counts_events(r->outputs) ? run_on_event : NULL,
		.event_ctx = r,
		.verdict = r->config->source->ops->verdict ? run_on_verdict : NULL,
		.verdict_ctx = r,
	};
	int err = clv_engine_new(&engine, &r->engine);

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
		.stop = &clv_run_stop,
	};
	char why[WHY_BYTES];
	int err = clv_rules_new(r->options, &r->rules, why, sizeof(why));

	if (err) {
		clv_error("%s", why);
		return err;
	}
	err = run_open_files(r);
	if (!err)
		err = clv_outputs_open(&outputs, &r->outputs);
	if (!err)
		err = run_open_engine(r);
	if (!err)
		clv_resources_watch(r->config->resources, run_on_gone, r);
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
	clv_engine_free(r->engine);
	clv_rules_free(r->rules);
	clv_outputs_close(r->outputs);
	if (r->summary_file)
		fclose(r->summary_file);
	clv_reload_close(r->reload);
}

int clv_run(const struct clv_run_config *config)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r)
		return CLV_EXIT_FAILURE;
	r->config = config;
	r->options = config->options;
	if (run_open(r)) {
		run_close(r);
		free(r);
		return CLV_EXIT_FAILURE;
	}

	if (config->live)
		run_hurry();
	int err = run_loop(r);
	if (err && config->live)
		clv_error("cannot read packets: %s", strerror(-err));
	run_drain(r);
	clv_engine_flush(r->engine);
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
