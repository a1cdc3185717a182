/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: YAML 1.2's core as far as settings.h needs it, one document, read strictly. Unknown keys,
 * keys given twice, values of another type, anchors, aliases and tags are errors, each with its place.
 */
#ifndef CLV_CLI_CONFIG_H
#define CLV_CLI_CONFIG_H

#include "base/slice.h"
#include "cli/options.h"

/* A larger file is none of ours. */
#define CLV_CONFIG_BYTES (256u << 10)
/* How deep a file may nest what it should not have; the settings need four. */
#define CLV_CONFIG_DEPTH 16
/* Errors that are told; the rest is counted. */
#define CLV_CONFIG_ERRORS     32
#define CLV_CONFIG_ERROR_TEXT 512

struct clv_config_errors {
	size_t count, more; /* more: not kept */
	struct clv_config_error {
		unsigned line, column; /* from 1 on, in characters; 0: not about a place in the file */
		char text[CLV_CONFIG_ERROR_TEXT];
	} error[CLV_CONFIG_ERRORS];
};

/*
 * Gives `o` what the text says, as of CLV_FROM_FILE. `errors` is written from the start. Returns 0, -ENOMEM, or
 * -EINVAL with at least one error; `o` then has what was good.
 */
int clv_config_parse(struct clv_slice text, struct clv_options *o, struct clv_config_errors *errors);

/*
 * Each setting is good, but do they go together, and can the rules about heads be compiled? Adds the first error.
 * Returns 0 or -EINVAL.
 */
int clv_config_check(struct clv_options *o, struct clv_config_errors *errors);

/*
 * The bytes of a file, up to CLV_CONFIG_BYTES + 1 of them, to be freed. Returns 0 or -errno.
 */
int clv_config_slurp(const char *path, char **data, size_t *len);

/*
 * The options in effect: defaults, environment, the file that `line` names if it names one, the command line. `out`
 * is initialised by this; clv_options_fini() is due either way. Returns 0, -EINVAL with at least one error, -ENOMEM,
 * or -errno when the file cannot be read, with an error that says so.
 */
int clv_config_load(const struct clv_options *line, struct clv_options *out, struct clv_config_errors *errors);

/* The same for a command that begins: says what is wrong, and returns the exit code; CLV_EXIT_OK: go on. */
int clv_config_start(const struct clv_options *line, struct clv_options *out);

/* "FILE:LINE:COLUMN: what", a line each, as log lines. */
void clv_config_say(const char *path, const struct clv_config_errors *errors);

/* The first setting of that section ("export.otlp"), or CLV_SETTINGS when there is no such section. */
enum clv_setting_id clv_config_section(const char *path);

#endif
