/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor detach`: removes the clsact filters of a clovisor that was killed. Only looks for filters of ours
 * (attach.h); those of a running clovisor go only when asked for. Main thread.
 */
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "source/attach.h"

struct detach {
	const char *iface;
	bool all, force;
	unsigned removed, busy;
	bool failed;
};

/* An owner that was killed is known by its lease running out: until then its filters look alive. */
#define LEASE_MS ((unsigned)(CLV_LEASE_NS / 1000000) + 500)
#define LOOK_MS  250

enum { OPT_ALL = 256, OPT_FORCE };

static error_t detach_parse(int key, char *arg, struct argp_state *state)
{
	struct detach *d = state->input;

	switch (key) {
	case OPT_ALL:
		d->all = true;
		break;
	case OPT_FORCE:
		d->force = true;
		break;
	case 'i':
		d->iface = arg;
		break;
	case ARGP_KEY_END:
		if (d->all && d->iface)
			argp_error(state, "--all and -i exclude each other");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void detach_tell(void *ctx, const struct clv_sweep_event *e)
{
	static const char *const hooks[] = {[CLV_HOOK_INGRESS] = "ingress", [CLV_HOOK_EGRESS] = "egress"};
	struct detach *d = ctx;

	if (e->error == -EBUSY) {
		d->busy++;
		return;
	}
	if (e->error) {
		d->failed = true;
		clv_error("%s: cannot remove the %s filter: %s", e->name, hooks[e->hook], strerror(-e->error));
		return;
	}
	d->removed++;
	printf("%s: removed the %s filter%s%s\n", e->name, hooks[e->hook], e->live ? " of a running clovisor" : "",
	       e->qdisc ? " and the clsact qdisc made for it" : "");
}

/* Until nothing is left, or what is left has outlived any lease. Returns 0 or -errno. */
static int detach_sweep(struct detach *d, unsigned ifindex)
{
	for (unsigned waited_ms = 0;; waited_ms += LOOK_MS) {
		d->busy = 0;
		d->failed = false;
		int n = clv_attach_sweep(ifindex, d->force, detach_tell, d);
		if (n < 0)
			return n;
		if (!d->busy || d->failed || waited_ms >= LEASE_MS)
			return 0;
		if (waited_ms == 0)
			clv_info("is the owner of what is there still running? That takes up to %u s to tell",
				 (LEASE_MS + 999) / 1000);
		usleep(LOOK_MS * 1000);
	}
}

int clv_cmd_detach(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"all", OPT_ALL, 0, 0, "From all interfaces (default)", 0},
		{"interface", 'i', "IFACE", 0, "From this interface only", 0},
		{"force", OPT_FORCE, 0, 0,
		 "Also what belongs to a clovisor that still runs; it sees no more packets then", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = detach_parse,
		.doc = "Remove the filters that a killed clovisor left on a kernel without tcx, and print what was "
		       "removed. Only clovisor's own are touched. (With tcx nothing is ever left.)\v"
		       "Examples:\n  clovisor detach\n  clovisor detach -i eth0",
	};
	struct detach d = {0};
	unsigned ifindex = 0;

	clv_cli_parse(&argp, argc, argv, &d);
	if (d.iface && !(ifindex = if_nametoindex(d.iface))) {
		clv_error("there is no interface %s; ip link lists them", d.iface);
		return CLV_EXIT_FAILURE;
	}
	int n = detach_sweep(&d, ifindex);
	if (n < 0) {
		clv_error("cannot look for filters: %s%s", strerror(-n),
			  n == -EPERM || n == -EACCES ? "; run as root or with CAP_NET_ADMIN and CAP_BPF" : "");
		return CLV_EXIT_FAILURE;
	}
	if (d.busy)
		printf("left alone: %u filters of a clovisor that runs (--force removes them too)\n", d.busy);
	else if (!d.removed && !d.failed)
		puts("nothing of clovisor's was left");
	return d.failed ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
}
