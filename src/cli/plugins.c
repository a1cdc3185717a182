/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the plugins that were asked for. Owns nothing. Main thread. */
#include "cli/plugins.h"

#include "base/log.h"
#include "cli/cli.h"
#include "plugin/plugin.h"

int clv_plugins_start(struct clv_options *o)
{
	char why[CLV_PLUGIN_WHY], port[CLV_OPTION_WHY];
	size_t entry;

	for (size_t i = 0; i < o->plugins.count; i++)
		if (clv_plugin_load(o->plugins.item[i], NULL, why)) {
			clv_error("--plugin %s", why);
			return CLV_EXIT_FAILURE;
		}
	if (clv_options_ports(o, &entry, port)) {
		clv_error("--port %s", port);
		return CLV_EXIT_USAGE;
	}
	return CLV_EXIT_OK;
}
