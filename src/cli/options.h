/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line of `trace` and `read` says. The strings are those of argv.
 */
#ifndef CLV_CLI_OPTIONS_H
#define CLV_CLI_OPTIONS_H

#include <argp.h>

#include "engine/engine.h"
#include "export/filter.h"
#include "export/text.h"

/* How often an option that may be repeated may be. */
#define CLV_OPTION_REPEAT 64

enum clv_output { CLV_OUTPUT_TEXT, CLV_OUTPUT_JSON };
enum clv_side_choice { CLV_CHOOSE_AUTO, CLV_CHOOSE_POD, CLV_CHOOSE_HOST };

struct clv_options {
	enum clv_output output;
	enum clv_color color;
	const char *service;
	struct clv_filter filter;
	uint64_t limit; /* spans to show; 0: all */
	bool hexdump;
	bool stats;
	const char *summary_path; /* NULL: none, as below */
	const char *write_path;
	size_t memory_bytes;
	enum clv_side_choice side;
	struct clv_port_rule ports[CLV_OPTION_REPEAT];
	size_t port_count;
	struct clv_egress_rule egress[CLV_OPTION_REPEAT];
	size_t egress_count;
};

/* The options that both commands have; a child of their argp, with a struct clv_options as its input. */
extern const struct argp clv_options_argp;

/* The values that options start from. */
void clv_options_init(struct clv_options *o);

/*
 * Values of options. Each returns 0, or -EINVAL with *out untouched. Sizes take K, M and G (powers of 1024);
 * times a unit, or seconds without one; an address rule is ADDR[/LEN]:PORT or :PORT, IPv6 in brackets.
 */
int clv_parse_size(const char *text, uint64_t *out);
int clv_parse_seconds(const char *text, uint64_t *ns);
int clv_parse_count(const char *text, uint64_t most, uint64_t *out);
int clv_parse_egress(const char *text, struct clv_egress_rule *out);

#endif
