/* SPDX-License-Identifier: Apache-2.0 */
/* The plugins that the options name. Main thread, before the engine runs; a reload loads nothing. */
#ifndef CLV_CLI_PLUGINS_H
#define CLV_CLI_PLUGINS_H

#include "cli/options.h"

/* Loads them, and finds the protocols of ports. Says what is wrong, and returns the exit code; CLV_EXIT_OK: go on. */
int clv_plugins_start(struct clv_options *o);

#endif
