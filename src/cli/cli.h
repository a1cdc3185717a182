/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, and what they share with nobody else. */
#ifndef CLV_CLI_CLI_H
#define CLV_CLI_CLI_H

#include <argp.h>

/* Exit codes. */
enum { CLV_EXIT_OK = 0, CLV_EXIT_FAILURE = 1, CLV_EXIT_USAGE = 2 };

struct clv_command {
	const char *name;
	const char *summary;
	/* argv[0] is "clovisor NAME". Returns the exit code. */
	int (*run)(int argc, char **argv);
};

/* Every command, in the order of the help text; ended by an empty name. */
extern const struct clv_command clv_commands[];

/* NULL when there is none of that name. */
const struct clv_command *clv_command_find(const char *name);

/* Calls the command with argv[0] set as it wants it. */
int clv_command_run(const struct clv_command *c, int argc, char **argv);

/* Says that there is no such command, and which one may have been meant. Returns CLV_EXIT_USAGE. */
int clv_command_unknown(const char *name);

int clv_cmd_trace(int argc, char **argv);
int clv_cmd_agent(int argc, char **argv);
int clv_cmd_read(int argc, char **argv);
int clv_cmd_bench(int argc, char **argv);
int clv_cmd_config(int argc, char **argv);
int clv_cmd_check(int argc, char **argv);
int clv_cmd_check_plugin(int argc, char **argv);
int clv_cmd_status(int argc, char **argv);
int clv_cmd_detach(int argc, char **argv);
int clv_cmd_version(int argc, char **argv);
int clv_cmd_help(int argc, char **argv);

/*
 * argp_parse() with -h, --help and errors of one line. Returns when the arguments are good; otherwise exits, with
 * CLV_EXIT_OK after help and CLV_EXIT_USAGE after an error.
 */
void clv_cli_parse(const struct argp *argp, int argc, char **argv, void *input);

#endif
