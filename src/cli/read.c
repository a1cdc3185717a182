/* SPDX-License-Identifier: Apache-2.0 */
/* `clovisor read FILE`: the requests in a capture file. Main thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/plugins.h"
#include "cli/reload.h"
#include "cli/run.h"
#include "cli/workload.h"
#include "source/pcap.h"

struct read {
	struct clv_options line, options; /* as given, and with everything else that has a say */
	const char *file;
};

static error_t read_parse(int key, char *arg, struct argp_state *state)
{
	struct read *r = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &r->line;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one FILE at a time, and here is a second one: %s", arg);
		r->file = arg;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which FILE? (- is standard input)");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static struct clv_source *read_source(void *ctx, unsigned worker)
{
	return ctx;
}

static size_t read_figures(void *ctx, struct clv_figure out[CLV_RUN_FIGURES])
{
	_Static_assert(CLV_PCAP_FIGURES <= CLV_RUN_FIGURES, "room for the reader's figures");
	return clv_pcap_figures(ctx, out);
}

/* -w would empty the file before it is read. */
static bool read_is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && S_ISREG(x.st_mode) && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static int read_run(struct read *r)
{
	static const enum clv_decode_side sides[] = {
		[CLV_CHOOSE_AUTO] = CLV_DECODE_SIDE_AUTO,
		[CLV_CHOOSE_POD] = CLV_DECODE_SIDE_POD,
		[CLV_CHOOSE_HOST] = CLV_DECODE_SIDE_HOST,
	};
	struct clv_resources *resources;
	struct clv_source *source;
	char why[512];

	if (r->options.write_path && read_is_same_file(r->options.write_path, r->file)) {
		clv_error("-w %s is the file to read; give it another name", r->options.write_path);
		return CLV_EXIT_USAGE;
	}
	const struct clv_pcap_config file = {.path = r->file, .side = sides[r->options.side]};
	if (clv_pcap_open(&file, &source, why, sizeof(why))) {
		clv_error("%s", why);
		return CLV_EXIT_FAILURE;
	}
	int err = clv_workload_resources(&r->options, &resources);
	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		source->ops->close(source);
		return CLV_EXIT_FAILURE;
	}
	clv_run_signals();
	int status = clv_run(&(struct clv_run_config){
		.line = &r->line,
		.options = &r->options,
		.resources = resources,
		.workers = clv_run_workers(&r->options, false),
		.source = read_source,
		.ctx = source,
		.figures = read_figures,
	});
	const char *broken = clv_pcap_error(source);
	if (broken)
		clv_warn("%s", broken);
	source->ops->close(source);
	clv_resources_free(resources);
	return status;
}

int clv_cmd_read(int argc, char **argv)
{
	struct argp_child shared[] = {{clv_options_argp(CLV_COMMAND_READ), 0, NULL, 0}, {0}};
	struct argp argp = {
		.parser = read_parse,
		.args_doc = "FILE",
		.doc = "Show the requests in a capture file: pcap or pcapng, also gzip'ed; - reads standard "
		       "input.\v"
		       "Examples:\n"
		       "  clovisor read capture.pcapng\n"
		       "  clovisor read --json --filter status=5xx capture.pcap\n"
		       "  clovisor read --otlp http://collector:4318 capture.pcapng\n"
		       "  tcpdump -U -w - port 80 | clovisor read -",
		.children = shared,
	};
	static struct read r;
	int status = CLV_EXIT_FAILURE;

	if (clv_options_init(&r.line) == 0) {
		clv_cli_parse(&argp, argc, argv, &r);
		if (r.line.config_path)
			clv_reload_signal();
		status = clv_config_start(&r.line, &r.options);
	}
	if (status == CLV_EXIT_OK)
		status = clv_plugins_start(&r.options);
	if (status == CLV_EXIT_OK)
		status = read_run(&r);
	clv_options_fini(&r.options);
	clv_options_fini(&r.line);
	return status;
}
