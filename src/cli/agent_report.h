/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent sees and does, for people and scripts: for `clovisor status`, and for a dry run. Main thread.
 */
#ifndef CLV_CLI_AGENT_REPORT_H
#define CLV_CLI_AGENT_REPORT_H

#include <stdio.h>

#include "agent/cluster.h"
#include "agent/pods.h"
#include "cli/places.h"

struct clv_agent_report {
	const struct clv_pods *pods;
	const struct clv_cluster *cluster; /* NULL: containers of this host */
	const struct clv_places *places;   /* NULL: a dry run */
	const char *server, *node;         /* of the cluster */
};

/* As clv_run_config.places. */
void clv_agent_report_write(const struct clv_agent_report *report, FILE *f, bool json);
/* A table of every pod: traced where, or why not. With `json` one object. */
void clv_agent_report_dry(const struct clv_agent_report *report, FILE *f, bool json);

#endif
