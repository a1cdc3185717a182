/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor check-plugin FILE.so`: the laws of clovisor/proto.h on a plugin's protocols. Each law runs in a process of
 * its own, which the plugin may crash or keep for ever. Main thread.
 *
 * That a parser allocates shows without a hook in malloc(): while it must not, the heap cannot be written, and there is
 * no allocation, and no free(), that does not write there; the C library's own for strdup() and others included. What
 * is too large for the heap is sent there (M_MMAP_MAX), and a block that is only handed out is written, too
 * (M_PERTURB).
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "export/json.h"
#include "laws/laws.h"
#include "laws/plugin.h"
#include "plugin/plugin.h"
#include "proto/proto.h"

/* A law takes far less; a parser that does not end is found by this. */
#define LAW_SECONDS 60

enum { OPT_JSON = 256 };

/* Nothing is broken, but not every law was run. */
enum { EXIT_NOT_ALL = 3 };

enum state { STATE_HOLDS, STATE_BROKEN, STATE_NOT_RUN };

struct outcome {
	enum state state;
	char why[LAWS_WHY];
};

/* Shared with the process that runs a law. */
static struct outcome *shared;

struct check {
	const char *path;
	bool json;
	const struct clv_plugin *plugin;
	unsigned count[3]; /* by enum state */
};

/* ---- in the process of a law ----------------------------------------------------------------------------------- */

static struct {
	uint8_t *begin, *end;
	bool closed;
} heap;

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
/* The heap that brk() gives; nothing without one. */
static void heap_find(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[256];
	unsigned long begin, end;

	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, "[heap]") && sscanf(line, "%lx-%lx", &begin, &end) == 2)
			heap.begin = (uint8_t *)begin; /* NOLINT(performance-no-int-to-ptr): an address is what it is */
	if (maps)
		fclose(maps);
}
#endif

static void heap_close(void)
{
	heap.end = sbrk(0);
	heap.closed = mprotect(heap.begin, (size_t)(heap.end - heap.begin), PROT_READ) == 0;
}

static bool heap_open(void)
{
	heap.closed = false;
	return mprotect(heap.begin, (size_t)(heap.end - heap.begin), PROT_READ | PROT_WRITE) == 0;
}

/* Can allocations be watched? */
static bool heap_watched(void)
{
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
	free(malloc(1));
	heap_find();
	return heap.begin && mallopt(M_MMAP_MAX, 0) && mallopt(M_PERTURB, 0x55) && mallopt(M_TRIM_THRESHOLD, -1);
#else
	return false;
#endif
}

static void end_broken(const char *what)
{
	snprintf(shared->why, sizeof(shared->why), "%s", what);
	shared->state = STATE_BROKEN;
	_exit(0);
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	const uint8_t *at = info->si_addr;

	if (signal == SIGALRM)
		end_broken("it does not come to an end");
	if (signal == SIGABRT)
		end_broken("abort(): an assertion of the plugin or of clovisor failed, or the talk is too large");
	if (heap.closed && at >= heap.begin && at < heap.end)
		end_broken("it allocates, or frees: it wrote to the heap");
	end_broken(signal == SIGSEGV ? "it reads or writes beyond the slice, or where there is nothing (SIGSEGV)"
				     : "it crashed");
}

static void catch_faults(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
	static uint8_t stack[65536];
	struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &act, NULL);
	alarm(LAW_SECONDS);
}

static void run_law(const struct law *law, const struct talk_sample *sample)
{
	struct laws l = {.sample = sample, .broken = end_broken};

	catch_faults();
	if (heap_watched()) {
		if (law->holds != law_steady) { /* there the engine works, which may write what it has */
			l.begin = heap_close;
			l.end = heap_open;
		}
	} else if (law->watched) {
		shared->state = STATE_NOT_RUN;
		snprintf(shared->why, sizeof(shared->why), "allocations cannot be watched with this C library");
		_exit(0);
	}
	shared->state = law->holds(&l) ? STATE_HOLDS : STATE_BROKEN;
	snprintf(shared->why, sizeof(shared->why), "%s", l.why);
	_exit(0);
}

/* ---- here ------------------------------------------------------------------------------------------------------ */

/* Why it cannot be run, or NULL. */
static const char *not_run(const struct law *law, const struct talk_sample *sample)
{
	if (sample->follows && law->alone)
		return "it only follows another protocol";
	if (law->talk && !sample->make)
		return "the plugin has no talk of it";
	if (law->truth && !laws_plugin_tells(sample))
		return "the talk does not say what spans must say";
	return NULL;
}

/* Whether it can be run is asked in the same process: that takes a talk, which may not end. */
static void fork_law(const struct law *law, const struct talk_sample *sample)
{
	int status = 0;

	*shared = (struct outcome){.state = STATE_BROKEN, .why = "it ended the process"};
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		catch_faults();
		const char *why = not_run(law, sample);

		if (!why)
			run_law(law, sample);
		shared->state = STATE_NOT_RUN;
		snprintf(shared->why, sizeof(shared->why), "%s", why);
		_exit(0);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child < 0)
		snprintf(shared->why, sizeof(shared->why), "no process for it: %s", strerror(errno));
}

static void print_text(const char *text)
{
	char room[6 * LAWS_WHY];

	printf("%.*s", (int)(clv_json_escape(room, clv_slice_head(clv_slice_str(text), LAWS_WHY)) - room), room);
}

static void report(struct check *c, const struct clv_proto *proto, const struct law *law, bool datagrams)
{
	static const char *const words[] = {"holds", "BROKEN", "not run"}, *const keys[] = {"holds", "broken",
											    "not run"};
	bool first = c->count[0] + c->count[1] + c->count[2] == 0;

	if (c->json) {
		printf("%s{\"protocol\":\"%s\",\"datagrams\":%s,\"law\":\"%s\",\"state\":\"%s\",\"detail\":\"",
		       first ? "" : ",", proto->name, datagrams ? "true" : "false", law->name, keys[shared->state]);
		print_text(shared->why);
		fputs("\"}", stdout);
	} else {
		printf("%-7s  %s%s  %-13s  %s%s", words[shared->state], proto->name, datagrams ? " (UDP)" : "",
		       law->name, law->text, *shared->why ? ": " : "");
		print_text(shared->why);
		putchar('\n');
	}
	c->count[shared->state]++;
}

static void check_talk(struct check *c, const struct clv_proto *proto, const struct clv_talk_source *source)
{
	struct talk_sample sample;

	laws_plugin_sample(proto, source, &sample);
	for (const struct law *law = laws_all; law->name; law++) {
		fork_law(law, &sample);
		report(c, proto, law, source && source->datagrams);
	}
}

static void check_proto(struct check *c, const struct clv_proto *proto)
{
	bool any = false;

	for (const struct clv_talk_source *const *s = c->plugin->talks; s && *s; s++)
		if (strcmp((*s)->proto, proto->name) == 0) {
			check_talk(c, proto, *s);
			any = true;
		}
	if (!any)
		check_talk(c, proto, NULL);
}

/* A talk for a protocol that the plugin does not have would never be run. */
static bool talks_fit(const struct check *c)
{
	for (const struct clv_talk_source *const *s = c->plugin->talks; s && *s; s++) {
		const struct clv_proto *const *p = c->plugin->protos;

		while (*p && (!(*s)->proto || strcmp((*p)->name, (*s)->proto) != 0))
			p++;
		if (*p && (*s)->make && (*s)->tag)
			continue;
		clv_error("%s has a talk of %s%s; name one of its protocols, and give it make() and tag()", c->path,
			  (*s)->proto ? (*s)->proto : "nothing",
			  *p ? " that is not complete" : ", which it does not speak");
		return false;
	}
	return true;
}

static int check_run(struct check *c)
{
	char why[CLV_PLUGIN_WHY];

	if (clv_plugin_load(c->path, &c->plugin, why)) {
		clv_error("%s", why);
		return CLV_EXIT_FAILURE;
	}
	if (!talks_fit(c))
		return CLV_EXIT_FAILURE;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		clv_error("cannot start: %s", strerror(errno));
		return CLV_EXIT_FAILURE;
	}
	if (c->json)
		printf("{\"plugin\":\"%s\",\"version\":\"%s\",\"abi\":%u,\"laws\":[", c->plugin->name,
		       c->plugin->version, c->plugin->abi);
	else
		printf("%s %s, plugin ABI %u\n", c->plugin->name, c->plugin->version, c->plugin->abi);
	for (const struct clv_proto *const *p = c->plugin->protos; *p; p++)
		check_proto(c, *p);
	if (c->json)
		printf("],\"holds\":%u,\"broken\":%u,\"not_run\":%u}\n", c->count[STATE_HOLDS], c->count[STATE_BROKEN],
		       c->count[STATE_NOT_RUN]);
	else
		printf("%u hold, %u broken, %u not run\n", c->count[STATE_HOLDS], c->count[STATE_BROKEN],
		       c->count[STATE_NOT_RUN]);
	return c->count[STATE_BROKEN] ? CLV_EXIT_FAILURE : c->count[STATE_NOT_RUN] ? (int)EXIT_NOT_ALL : CLV_EXIT_OK;
}

static error_t check_parse(int key, char *arg, struct argp_state *state)
{
	struct check *c = state->input;

	switch (key) {
	case OPT_JSON:
		c->json = true;
		break;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "one FILE.so at a time, and here is a second one: %s", arg);
		c->path = arg;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which FILE.so?");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int clv_cmd_check_plugin(int argc, char **argv)
{
	static const struct argp_option options[] = {{"json", OPT_JSON, 0, 0, "As one JSON object", 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = check_parse,
		.args_doc = "FILE.so",
		.doc = "Try a plugin's protocols on the laws of clovisor/proto.h, one line for each: holds, BROKEN, or "
		       "not "
		       "run, and why. What most laws need, a talk with the truth about it, the plugin brings along. "
		       "Each "
		       "law runs in a process of its own.\v"
		       "Exit status: 0 when all laws hold, 1 when one is broken or the plugin cannot be loaded, 3 when "
		       "none "
		       "is broken but some were not run.\n\n"
		       "Examples:\n"
		       "  clovisor check-plugin ./mine.so\n"
		       "  clovisor check-plugin --json /usr/local/lib/clovisor/mine.so",
	};
	struct check c = {0};

	clv_cli_parse(&argp, argc, argv, &c);
	return check_run(&c);
}
