/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: argp with errors of one line, the options that trace and read share, and the values of
 * options. Never acts on them. Main thread, before anything else runs.
 */
#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "engine/limits.h"

/* Less than this holds no connection with long heads. */
#define MEMORY_LEAST (1u << 20)

enum {
	OPT_JSON = 256,
	OPT_COLOR,
	OPT_SERVICE,
	OPT_FILTER,
	OPT_LIMIT,
	OPT_HEXDUMP,
	OPT_STATS,
	OPT_SUMMARY,
	OPT_MEMORY,
	OPT_SIDE,
	OPT_PORT,
	OPT_EGRESS,
};

static const struct argp_option shared_options[] = {
	{0, 0, 0, 0, "What to look at:", 2},
	{"side", OPT_SIDE, "auto|pod|host", 0,
	 "Whose requests come in and go out: the pod's behind a veth, or this host's. Default: auto", 0},
	{"port", OPT_PORT, "PORT[:PROTO]", 0,
	 "Look only at this server port, and take its protocol from here (repeatable). Without it every TCP port is "
	 "looked "
	 "at and the bytes decide",
	 0},
	{"egress", OPT_EGRESS, "ADDR[/LEN]:PORT", 0,
	 "Of the requests going out, trace those to this address and port; :PORT is any address (repeatable). IPv6: "
	 "[2001:db8::]/32:443",
	 0},
	{0, 0, 0, 0, "What to show:", 3},
	{"filter", OPT_FILTER, "KEY=VALUE", 0,
	 "Show only requests that match: method=GET, path=/api/*, status=404 or 5xx, min-duration=10ms (repeatable: "
	 "all "
	 "keys must match, of several values of a key one)",
	 0},
	{"limit", OPT_LIMIT, "N", 0, "End after N requests were shown", 0},
	{"service", OPT_SERVICE, "NAME", 0, "service.name of the spans. Default: unknown_service", 0},
	{"output", 'o', "text|json", 0, "One line for people (default) or one JSON object for each request", 0},
	{"json", OPT_JSON, 0, 0, "The same as -o json", 0},
	{"color", OPT_COLOR, "auto|always|never", 0, "auto (default): on a terminal, unless NO_COLOR is set", 0},
	{"hexdump", OPT_HEXDUMP, 0, 0, "Also print the first 256 payload bytes of every packet on standard error", 0},
	{0, 0, 0, 0, "What to keep:", 4},
	{"write", 'w', "FILE.pcapng", 0, "Also write what was captured; clovisor read gives the same requests from it",
	 0},
	{"stats", OPT_STATS, 0, 0, "Every second: packets, records, requests, and every loss by its reason", 0},
	{"summary", OPT_SUMMARY, "FILE", 0, "At the end write the figures as one JSON object", 0},
	{"memory", OPT_MEMORY, "SIZE", 0, "Budget for connections and unanswered requests. Default: 64M", 0},
	{0},
};

static error_t help_parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->input;
		return 0;
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		exit(CLV_EXIT_OK);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/*
 * argp and getopt say what is wrong in their own lines, and argp adds a second one: both go to a stream of ours,
 * whose first line is passed on.
 */
void clv_cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	static const struct argp_option help[] = {{"help", 'h', 0, 0, "Print this text", -1}, {0}};
	const struct argp_child child[] = {{argp, 0, NULL, 0}, {0}};
	const struct argp root = {.options = help, .parser = help_parse, .children = child};
	FILE *real = stderr;
	char *said = NULL;
	size_t len = 0;

	setenv("ARGP_HELP_FMT", "no-dup-args-note,opt-doc-col=34,rmargin=96", 0);
	FILE *ours = open_memstream(&said, &len);
	if (ours)
		stderr = ours;
	error_t err = argp_parse(&root, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, input);
	stderr = real;
	if (ours)
		fclose(ours);
	if (err || len) {
		fprintf(stderr, "%.*s; see %s --help\n", said ? (int)strcspn(said, "\n") : 0, said ? said : "",
			argv[0]);
		exit(CLV_EXIT_USAGE);
	}
	free(said);
}

int clv_parse_size(const char *text, uint64_t *out)
{
	static const char units[] = "KMG";
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	unsigned shift = 0;
	const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (errno || *end || v == 0 || v > UINT64_MAX >> shift)
		return -EINVAL;
	*out = (uint64_t)v << shift;
	return 0;
}

int clv_parse_count(const char *text, uint64_t most, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || v == 0 || v > most)
		return -EINVAL;
	*out = v;
	return 0;
}

int clv_parse_seconds(const char *text, uint64_t *ns)
{
	uint64_t s;

	if (clv_parse_count(text, UINT32_MAX, &s) == 0) {
		*ns = s * 1000000000;
		return 0;
	}
	return clv_duration_parse(text, ns);
}

/* ADDR or [ADDR], with an optional /LEN, in `len` bytes of text. */
static int parse_prefix(const char *text, size_t len, struct clv_egress_rule *rule)
{
	char addr[CLV_ADDR_TEXT + 8], *slash;
	uint64_t bits;

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	slash = strchr(addr, '/');
	if (slash)
		*slash = '\0';
	char *bare = addr;
	size_t end = strlen(addr);
	bool bracket = addr[0] == '[' && end && addr[end - 1] == ']';
	if (bracket) {
		addr[end - 1] = '\0';
		bare++;
	}
	if (clv_addr_parse(bare, &rule->addr) || (strchr(bare, ':') != NULL) != bracket)
		return -EINVAL;
	unsigned most = bracket ? 128 : 32;
	rule->prefix_bits = 128;
	if (slash && strcmp(slash + 1, "0") == 0)
		rule->prefix_bits = (uint8_t)(128 - most);
	else if (slash && clv_parse_count(slash + 1, most, &bits))
		return -EINVAL;
	else if (slash)
		rule->prefix_bits = (uint8_t)(128 - most + bits);
	return 0;
}

int clv_parse_egress(const char *text, struct clv_egress_rule *out)
{
	const char *colon = strrchr(text, ':');
	struct clv_egress_rule rule = {0};
	uint64_t port;

	if (!colon || clv_parse_count(colon + 1, UINT16_MAX, &port))
		return -EINVAL;
	if (colon != text && parse_prefix(text, (size_t)(colon - text), &rule))
		return -EINVAL;
	rule.port = (uint16_t)port;
	*out = rule;
	return 0;
}

/* One of a list of words; its index, or -1. */
static int parse_choice(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

static void options_port(struct argp_state *state, struct clv_options *o, const char *arg)
{
	const char *colon = strchr(arg, ':');
	struct clv_port_rule rule = {0};
	char number[8] = "";
	uint64_t port;
	size_t len = colon ? (size_t)(colon - arg) : strlen(arg);

	if (len < sizeof(number))
		memcpy(number, arg, len);
	if (clv_parse_count(number, UINT16_MAX, &port))
		argp_error(state, "--port %s: a port is a number from 1 to 65535, as in --port 8080 or 8080:http", arg);
	else if (colon && !(rule.proto = clv_proto_find(colon + 1)))
		argp_error(state, "--port %s: there is no protocol %s (there is: %s)", arg, colon + 1,
			   clv_protos[0] ? clv_protos[0]->name : "none");
	else if (o->port_count == CLV_OPTION_REPEAT)
		argp_error(state, "--port may be given %d times", CLV_OPTION_REPEAT);
	else {
		rule.port = (uint16_t)port;
		o->ports[o->port_count++] = rule;
	}
}

static void options_egress(struct argp_state *state, struct clv_options *o, const char *arg)
{
	if (o->egress_count == CLV_OPTION_REPEAT)
		argp_error(state, "--egress may be given %d times", CLV_OPTION_REPEAT);
	else if (clv_parse_egress(arg, &o->egress[o->egress_count]))
		argp_error(state, "--egress %s: it must be ADDR:PORT, ADDR/LEN:PORT or :PORT, with IPv6 in brackets",
			   arg);
	else
		o->egress_count++;
}

static error_t options_parse(int key, char *arg, struct argp_state *state)
{
	static const char *const sides[] = {"auto", "pod", "host", NULL};
	static const char *const colors[] = {"auto", "always", "never", NULL};
	static const char *const outputs[] = {"text", "json", NULL};
	struct clv_options *o = state->input;
	const char *why;
	uint64_t bytes = 0;
	int choice;

	switch (key) {
	case 'o':
		choice = parse_choice(arg, outputs);
		if (choice < 0)
			argp_error(state, "-o %s: it must be text or json", arg);
		o->output = (enum clv_output)choice;
		break;
	case OPT_JSON:
		o->output = CLV_OUTPUT_JSON;
		break;
	case OPT_COLOR:
		choice = parse_choice(arg, colors);
		if (choice < 0)
			argp_error(state, "--color %s: it must be auto, always or never", arg);
		o->color = (enum clv_color)choice;
		break;
	case OPT_SIDE:
		choice = parse_choice(arg, sides);
		if (choice < 0)
			argp_error(state, "--side %s: it must be auto, pod or host", arg);
		o->side = (enum clv_side_choice)choice;
		break;
	case OPT_SERVICE:
		if (!*arg || strlen(arg) > CLV_SERVICE_MAX)
			argp_error(state, "--service: a name has 1 to %d bytes", CLV_SERVICE_MAX);
		o->service = arg;
		break;
	case OPT_FILTER:
		if (clv_filter_add(&o->filter, arg, &why))
			argp_error(state, "--filter %s: %s", arg, why);
		break;
	case OPT_LIMIT:
		if (clv_parse_count(arg, UINT64_MAX, &o->limit))
			argp_error(state, "--limit %s: it must be a number from 1 on", arg);
		break;
	case OPT_MEMORY:
		if (clv_parse_size(arg, &bytes) || bytes < MEMORY_LEAST || bytes > SIZE_MAX / 2)
			argp_error(state, "--memory %s: it must be a size from 1M on, as in 64M", arg);
		o->memory_bytes = (size_t)bytes;
		break;
	case OPT_PORT:
		options_port(state, o, arg);
		break;
	case OPT_EGRESS:
		options_egress(state, o, arg);
		break;
	case OPT_HEXDUMP:
		o->hexdump = true;
		break;
	case OPT_STATS:
		o->stats = true;
		break;
	case OPT_SUMMARY:
		o->summary_path = arg;
		break;
	case 'w':
		if (strcmp(arg, "-") == 0)
			argp_error(state, "-w -: it must be a file; standard output is for the requests");
		o->write_path = arg;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const struct argp clv_options_argp = {.options = shared_options, .parser = options_parse};

void clv_options_init(struct clv_options *o)
{
	*o = (struct clv_options){.service = "unknown_service", .memory_bytes = CLV_MEMORY_BYTES};
}
