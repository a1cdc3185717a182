/* SPDX-License-Identifier: Apache-2.0 */
/* `clovisor COMMAND ...`: finds the command. Owns nothing. */
#include <string.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";

	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
		name = "version";

	const struct clv_command *command = clv_command_find(name);
	if (!command)
		return clv_command_unknown(name);
	return argc > 1 ? clv_command_run(command, argc - 1, argv + 1) : clv_command_run(command, argc, argv);
}
