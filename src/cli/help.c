/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and `clovisor help`. Main thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/settings.h"

const struct clv_command clv_commands[] = {
	{"trace", "show the requests at network interfaces as they happen", clv_cmd_trace},
	{"agent", "trace the pods of this Kubernetes node, or the containers of this host", clv_cmd_agent},
	{"read", "show the requests in a capture file", clv_cmd_read},
	{"bench", "measure what the engine takes for a capture file", clv_cmd_bench},
	{"config", "check and print configuration files", clv_cmd_config},
	{"check", "tell what this kernel and these privileges allow", clv_cmd_check},
	{"check-plugin", "try the laws of protocols on a plugin", clv_cmd_check_plugin},
	{"status", "tell how the clovisor that runs here is doing", clv_cmd_status},
	{"detach", "remove what a killed clovisor left behind", clv_cmd_detach},
	{"version", "print versions", clv_cmd_version},
	{"help", "explain a command", clv_cmd_help},
	{0},
};

const struct clv_command *clv_command_find(const char *name)
{
	for (const struct clv_command *c = clv_commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int clv_command_run(const struct clv_command *c, int argc, char **argv)
{
	char title[64];

	snprintf(title, sizeof(title), "clovisor %s", c->name);
	argv[0] = title;
	return c->run(argc, argv);
}

int clv_command_unknown(const char *name)
{
	const char *nearest = NULL;
	unsigned least = CLV_WORD_NEAR + 1;

	for (const struct clv_command *c = clv_commands; c->name; c++) {
		unsigned d = clv_word_distance(name, c->name);

		if (d < least) {
			least = d;
			nearest = c->name;
		}
	}
	if (nearest)
		fprintf(stderr, "clovisor: there is no command '%s'; did you mean '%s'? clovisor help lists them\n",
			name, nearest);
	else
		fprintf(stderr, "clovisor: there is no command '%s'; clovisor help lists them\n", name);
	return CLV_EXIT_USAGE;
}

static error_t help_parse(int key, char *arg, struct argp_state *state)
{
	if (key != ARGP_KEY_ARG || state->arg_num > 0)
		return ARGP_ERR_UNKNOWN;
	*(const char **)state->input = arg;
	return 0;
}

static void help_overview(void)
{
	puts("Usage: clovisor COMMAND [OPTION...]\n"
	     "Show every request that a pod, or any network interface, serves and makes.\n");
	for (const struct clv_command *c = clv_commands; c->name; c++)
		printf("  %-12s  %s\n", c->name, c->summary);
	puts("\nExamples:\n"
	     "  clovisor trace                     every container of this machine\n"
	     "  clovisor trace -i eth0 --json      this host's requests, one JSON object a line\n"
	     "  clovisor trace --otlp http://collector:4318\n"
	     "                                     spans and metrics to an OpenTelemetry collector\n"
	     "  clovisor read capture.pcapng       the requests in a capture file\n"
	     "\nclovisor help COMMAND tells more; so does man clovisor.");
}

int clv_cmd_help(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = help_parse,
		.args_doc = "[COMMAND]",
		.doc = "Explain a command, or list them.",
	};
	const char *name = NULL;

	clv_cli_parse(&argp, argc, argv, &name);
	if (!name) {
		help_overview();
		return CLV_EXIT_OK;
	}
	const struct clv_command *c = clv_command_find(name);
	if (!c)
		return clv_command_unknown(name);
	return clv_command_run(c, 2, (char *[]){NULL, "--help", NULL});
}
