/* SPDX-License-Identifier: Apache-2.0 */
/* The options about request heads (propagators, routes, captured headers, redaction) in the engine's form. */
#ifndef CLV_CLI_RULES_H
#define CLV_CLI_RULES_H

#include "cli/options.h"
#include "trace/report.h"

struct clv_rules {
	struct clv_head_rules head; /* points into the rest */
	struct clv_routes *routes;
	struct clv_redact *redact;
	struct clv_capture capture;
};

/*
 * Main thread; borrows nothing from the options. Returns 0, or -errno with what is wrong, and with which option, in
 * `why`.
 */
int clv_rules_new(const struct clv_options *o, struct clv_rules **out, char *why, size_t size);
/* The engine must have others by then, or be gone. NULL is allowed. */
void clv_rules_free(struct clv_rules *r);

#endif
