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
/*
 * The first setting whose texts cannot be compiled, although each looks right: a pattern that is none, two routes that
 * are one. *entry is which of its texts, `why` the reason. CLV_SETTINGS: all is well, or there is no memory to tell.
 */
enum clv_setting_id clv_rules_conflict(const struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY]);
/* The engine must have others by then, or be gone. NULL is allowed. */
void clv_rules_free(struct clv_rules *r);

#endif
