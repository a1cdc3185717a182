/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `clovisor config check|print|schema`: everything about the configuration file that needs no packets. Owns the
 * options for the length of the command. Main thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "export/json.h"

enum { OPT_JSON = 256 + 4096, OPT_GIVEN };

/* Sections within sections. */
#define DEPTH 4

struct config_command {
	struct clv_options line;
	const char *what, *file;
	bool json, given;
};

/* ---- texts as JSON, which YAML takes as well ------------------------------------------------------------------- */

static void print_text(const char *text)
{
	char *out = malloc(6 * strlen(text) + 1);

	if (!out)
		return;
	char *end = clv_json_escape(out, clv_slice_str(text));
	printf("\"%.*s\"", (int)(end - out), out);
	free(out);
}

/* A number as it was written, where both JSON and the setting have numbers. */
static bool is_number(const struct clv_setting *s, const char *text)
{
	bool whole = *text && text[strspn(text, "0123456789")] == '\0' && (text[0] != '0' || !text[1]);

	switch ((enum clv_setting_type)s->type) {
	case CLV_VALUE_COUNT:
	case CLV_VALUE_SIZE:
	case CLV_VALUE_TIME:
		return whole;
	default:
		return whole && (s->flags & CLV_SETTING_NUMBER);
	}
}

/* A number of JSON, in decimal (RFC 8259 section 6). */
static bool is_json_number(const char *text)
{
	size_t whole = strspn(text, "0123456789"),
	       part = text[whole] == '.' ? strspn(text + whole + 1, "0123456789") : 0;

	return whole && (whole == 1 || *text != '0') && text[whole + (part ? part + 1 : 0)] == '\0';
}

/* As it was written, if JSON has that form: .5 and 1e1 become 0.5 and 10. */
static void print_number(const char *text)
{
	if (is_json_number(text))
		fputs(text, stdout);
	else
		printf("%.15g", strtod(text, NULL));
}

static void print_url(const char *text)
{
	char room[CLV_OPTION_SHOWN];

	print_text(clv_options_shown(text, room));
}

static void print_item(const struct clv_setting *s, const char *text)
{
	if (s->flags & CLV_SETTING_SECRET)
		print_text("REDACTED");
	else if (s->type == CLV_VALUE_NUMBERS)
		print_number(text);
	else if (s->type == CLV_VALUE_FLAG || s->type == CLV_VALUE_SWITCH || is_number(s, text))
		fputs(text, stdout);
	else
		print_url(text);
}

static void print_value(const struct clv_setting *s, const struct clv_given *g)
{
	bool map = s->type == CLV_VALUE_PAIRS, list = clv_setting_is_list(s);

	if (list)
		putchar(map ? '{' : '[');
	for (size_t i = 0; i < g->count; i++) {
		if (i)
			fputs(", ", stdout);
		if (map) {
			print_text(g->item[i].text);
			fputs(": ", stdout);
		}
		print_item(s, map ? g->item[i].value : g->item[i].text);
	}
	if (list)
		putchar(map ? '}' : ']');
}

/* The first variable that is set, as it was read. */
static const char *print_variable(const struct clv_setting *s)
{
	if (s == &clv_settings[CLV_SET_METRICS_LISTEN])
		return "OTEL_METRICS_EXPORTER";

	const char *first = s->env[0] ? getenv(s->env[0]) : NULL;

	return s->env[1] && (!first || !*first) ? s->env[1] : s->env[0];
}

static void print_origin(const struct clv_options *o, enum clv_setting_id id)
{
	const struct clv_given *g = &o->given[id];
	const struct clv_setting *s = &clv_settings[id];

	switch (g->origin) {
	case CLV_FROM_DEFAULT:
		fputs("default", stdout);
		break;
	case CLV_FROM_ENVIRONMENT:
		printf("environment: %s", print_variable(s));
		break;
	case CLV_FROM_FILE:
		printf("%s:%u", o->config_path, g->line);
		break;
	case CLV_FROM_COMMAND_LINE:
		printf("command line");
		break;
	}
}

/* ---- the tree of keys ------------------------------------------------------------------------------------------ */

/* How many sections two keys share. */
static unsigned key_shared(const char *a, const char *b)
{
	unsigned shared = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		shared += a[i] == '.';
	return shared;
}

static unsigned key_depth(const char *key)
{
	unsigned depth = 0;

	for (; *key; key++)
		depth += *key == '.';
	return depth;
}

/* The name of a key's section at that depth. */
static struct clv_slice key_part(const char *key, unsigned depth)
{
	for (; depth; depth--)
		key += strcspn(key, ".") + 1;
	return clv_slice(key, strcspn(key, "."));
}

static bool print_has(const struct config_command *c, const struct clv_options *o, enum clv_setting_id id)
{
	const struct clv_given *g = &o->given[id];

	return g->origin != CLV_FROM_DEFAULT || (g->count && !c->given);
}

static void print_yaml(const struct config_command *c, const struct clv_options *o)
{
	const char *before = "";

	for (int id = 0; id < CLV_SETTINGS; id++) {
		const char *key = clv_settings[id].key;

		if (!print_has(c, o, (enum clv_setting_id)id))
			continue;
		for (unsigned d = key_shared(before, key); d < key_depth(key); d++)
			printf("%*s%.*s:\n", (int)(2 * d), "", (int)key_part(key, d).len,
			       (const char *)key_part(key, d).data);
		printf("%*s%s: ", (int)(2 * key_depth(key)), "", (const char *)key_part(key, key_depth(key)).data);
		print_value(&clv_settings[id], &o->given[id]);
		fputs(" # ", stdout);
		print_origin(o, (enum clv_setting_id)id);
		putchar('\n');
		before = key;
	}
}

/* The members of nested objects: from the key before to this one, with what opens and closes between them. */
static void json_step(const char *before, const char *key, int indent)
{
	unsigned shared = *before ? key_shared(before, key) : 0;

	for (unsigned d = *before ? key_depth(before) : 0; d > shared; d--)
		printf("\n%*s}", indent + (int)(2 * d), "");
	fputs(*before ? ",\n" : "\n", stdout);
	for (unsigned d = shared; d < key_depth(key); d++)
		printf("%*s\"%.*s\": {\n", indent + 2 + (int)(2 * d), "", (int)key_part(key, d).len,
		       (const char *)key_part(key, d).data);
	printf("%*s\"%s\": ", indent + 2 + (int)(2 * key_depth(key)), "",
	       (const char *)key_part(key, key_depth(key)).data);
}

static void json_end(const char *before, int indent)
{
	for (unsigned d = *before ? key_depth(before) : 0; d > 0; d--)
		printf("\n%*s}", indent + (int)(2 * d), "");
	printf("\n%*s}", indent, "");
}

static void print_json_origin(const struct clv_options *o, enum clv_setting_id id)
{
	static const char *const names[] = {"default", "environment", "file", "command line"};

	printf("\"%s\"", names[o->given[id].origin]);
}

static void print_json(const struct config_command *c, const struct clv_options *o)
{
	const char *before = "";

	fputs("{\n  \"config\": {", stdout);
	for (int id = 0; id < CLV_SETTINGS; id++) {
		if (!print_has(c, o, (enum clv_setting_id)id))
			continue;
		json_step(before, clv_settings[id].key, 2);
		print_value(&clv_settings[id], &o->given[id]);
		before = clv_settings[id].key;
	}
	json_end(before, 2);
	fputs(",\n  \"origin\": {", stdout);
	bool first = true;
	for (int id = 0; id < CLV_SETTINGS; id++) {
		if (!print_has(c, o, (enum clv_setting_id)id))
			continue;
		printf("%s\n    \"%s\": ", first ? "" : ",", clv_settings[id].key);
		print_json_origin(o, (enum clv_setting_id)id);
		first = false;
	}
	puts("\n  }\n}");
}

/* ---- the schema ------------------------------------------------------------------------------------------------ */

static void schema_text(const struct clv_setting *s)
{
	printf("\"type\": %s", s->flags & CLV_SETTING_NUMBER ? "[\"string\", \"integer\"]" : "\"string\"");
	printf(", \"minLength\": 1, \"maxLength\": %d", CLV_OPTION_TEXT);
	if (s->pattern) {
		fputs(", \"pattern\": ", stdout);
		print_text(s->pattern);
	}
}

static void schema_choices(const struct clv_setting *s)
{
	fputs("\"enum\": [", stdout);
	for (size_t i = 0; s->choices[i]; i++)
		printf("%s\"%s\"", i ? ", " : "", s->choices[i]);
	putchar(']');
}

static void schema_type(const struct clv_setting *s)
{
	switch ((enum clv_setting_type)s->type) {
	case CLV_VALUE_FLAG:
	case CLV_VALUE_SWITCH:
		fputs("\"type\": \"boolean\"", stdout);
		break;
	case CLV_VALUE_COUNT:
		printf("\"type\": \"integer\", \"minimum\": %llu, \"maximum\": %llu", (unsigned long long)s->least,
		       (unsigned long long)s->most);
		break;
	case CLV_VALUE_SIZE:
	case CLV_VALUE_TIME: /* a number alone is bytes or seconds, whose bounds the schema leaves to the reader */
		fputs("\"type\": [\"string\", \"integer\"], \"minimum\": 1, \"pattern\": ", stdout);
		print_text(s->pattern);
		break;
	case CLV_VALUE_CHOICE:
		schema_choices(s);
		break;
	case CLV_VALUE_TEXT:
	case CLV_VALUE_OWN:
		schema_text(s);
		break;
	case CLV_VALUE_NUMBERS:
		printf("\"type\": \"array\", \"minItems\": %u, \"maxItems\": %zu, \"items\": {\"type\": \"number\", "
		       "\"exclusiveMinimum\": 0}",
		       (unsigned)s->least, clv_setting_entries(s));
		break;
	case CLV_VALUE_STRINGS:
	case CLV_VALUE_OWN_LIST:
		printf("\"type\": \"array\", \"maxItems\": %zu, \"items\": {", clv_setting_entries(s));
		schema_text(s);
		putchar('}');
		break;
	case CLV_VALUE_PAIRS:
		printf("\"type\": \"object\", \"maxProperties\": %zu, \"propertyNames\": {\"minLength\": 1}, "
		       "\"additionalProperties\": {\"type\": \"string\"",
		       clv_setting_entries(s));
		if (s->pattern) {
			fputs(", \"pattern\": ", stdout);
			print_text(s->pattern);
		}
		putchar('}');
		break;
	}
}

/* What validators ignore, and documentation is made of. */
static void schema_notes(const struct clv_setting *s)
{
	printf(", \"x-reload\": %s", s->flags & CLV_SETTING_NOW ? "true" : "false");
	if (s->option)
		printf(", \"x-option\": \"--%s\"", s->option);
	if (s->env[0])
		printf(", \"x-env\": [\"%s\"%s%s%s]", s->env[0], s->env[1] ? ", \"" : "", s->env[1] ? s->env[1] : "",
		       s->env[1] ? "\"" : "");
}

static void schema_setting(enum clv_setting_id id, const struct clv_options *defaults)
{
	const struct clv_setting *s = &clv_settings[id];

	printf("\"%s\": {\"description\": ", (const char *)key_part(s->key, key_depth(s->key)).data);
	print_text(s->help);
	fputs(", ", stdout);
	schema_type(s);
	schema_notes(s);
	if (defaults->given[id].count) {
		fputs(", \"default\": ", stdout);
		print_value(s, &defaults->given[id]);
	}
	putchar('}');
}

/* The settings and sections of one section, whose settings stand from `*id` on. */
static void schema_section(int *id, unsigned depth, const struct clv_options *defaults)
{
	const char *head = clv_settings[*id].key;
	bool first = true;

	printf("\"type\": [\"object\", \"null\"], \"additionalProperties\": false, \"properties\": {");
	while (*id < CLV_SETTINGS && key_shared(head, clv_settings[*id].key) >= depth) {
		const char *key = clv_settings[*id].key;

		printf("%s\n%*s", first ? "" : ",", (int)(2 * depth + 2), "");
		first = false;
		if (key_depth(key) > depth && depth < DEPTH) {
			printf("\"%.*s\": {", (int)key_part(key, depth).len, (const char *)key_part(key, depth).data);
			schema_section(id, depth + 1, defaults);
			putchar('}');
		} else {
			schema_setting((enum clv_setting_id)(*id)++, defaults);
		}
	}
	printf("\n%*s}", (int)(2 * depth), "");
}

/* ---- the command ----------------------------------------------------------------------------------------------- */

static int config_schema(const struct config_command *c)
{
	struct clv_options *defaults = calloc(1, sizeof(*defaults));
	int id = 0, err = defaults ? clv_options_init(defaults) : -ENOMEM;

	if (!err) {
		fputs("{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n\"title\": \"clovisor.yaml\", ",
		      stdout);
		schema_section(&id, 0, defaults);
		puts("}");
	}
	if (defaults)
		clv_options_fini(defaults);
	free(defaults);
	return err;
}

static int config_print(struct config_command *c)
{
	struct clv_options *o = calloc(1, sizeof(*o));

	if (!o)
		return CLV_EXIT_FAILURE;
	int status = clv_config_start(&c->line, o);
	if (status == CLV_EXIT_OK && c->json)
		print_json(c, o);
	else if (status == CLV_EXIT_OK)
		print_yaml(c, o);
	clv_options_fini(o);
	free(o);
	return status;
}

/* The lines begin with the file's name, as editors want them. */
static void check_say(const char *file, const struct clv_config_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++)
		fprintf(stderr, "%s:%u:%u: %s\n", file, errors->error[i].line, errors->error[i].column,
			errors->error[i].text);
	if (errors->more)
		fprintf(stderr, "%s: and %zu more\n", file, errors->more);
}

static int config_check(struct config_command *c)
{
	struct clv_config_errors *errors = calloc(1, sizeof(*errors));
	struct clv_options *o = calloc(1, sizeof(*o));
	char *data = NULL;
	size_t len = 0;

	int err = errors && o ? clv_options_init(o) : -ENOMEM;
	int unread = err ? err : clv_config_slurp(c->file, &data, &len);
	if (unread)
		clv_error("cannot read %s: %s", c->file, strerror(-unread));
	else
		err = clv_config_parse(clv_slice(data, len), o, errors);
	if (!unread && !err)
		err = clv_config_check(o, errors);
	if (!unread && err == -EINVAL)
		check_say(c->file, errors);
	else if (!unread && !err)
		printf("%s is valid\n", c->file);
	bool good = !unread && !err;
	if (o)
		clv_options_fini(o);
	free(o);
	free(errors);
	free(data);
	return good ? CLV_EXIT_OK : CLV_EXIT_FAILURE;
}

static void config_argument(struct argp_state *state, struct config_command *c, char *arg)
{
	bool known = strcmp(arg, "check") == 0 || strcmp(arg, "print") == 0 || strcmp(arg, "schema") == 0;

	if (state->arg_num == 0 && !known)
		argp_error(state, "there is no config %s; there is check, print and schema", arg);
	else if (state->arg_num == 0)
		c->what = arg;
	else if (state->arg_num == 1 && c->what && strcmp(c->what, "check") == 0)
		c->file = arg;
	else
		argp_error(state, "what is '%s' for?", arg);
}

static error_t config_parse(int key, char *arg, struct argp_state *state)
{
	struct config_command *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &c->line;
		break;
	case OPT_JSON:
		c->json = true;
		break;
	case OPT_GIVEN:
		c->given = true;
		break;
	case ARGP_KEY_ARG:
		config_argument(state, c, arg);
		break;
	case ARGP_KEY_END:
		if (!c->what)
			argp_error(state, "what of it? check, print or schema");
		else if (strcmp(c->what, "check") == 0 && !c->file)
			argp_error(state, "which FILE is to be checked?");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int clv_cmd_config(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", OPT_JSON, 0, 0, "print: one JSON object, with the settings and where each is from", 0},
		{"given", OPT_GIVEN, 0, 0, "print: leave out what is a default", 0},
		{0},
	};
	struct argp_child shared[] = {{clv_options_argp(CLV_COMMAND_CONFIG), 0, NULL, 0}, {0}};
	struct argp argp = {
		.options = options,
		.parser = config_parse,
		.args_doc = "check FILE\nprint [OPTION of clovisor trace]...\nschema",
		.doc = "Configuration files. check: is FILE valid? Every error is told with its line and column. "
		       "print: "
		       "the settings in effect, with a file and further options if given, and where each is from. "
		       "schema: the JSON Schema of a file.\v"
		       "Exit status of check: 0 when the file is valid, 1 when it is not.\n\n"
		       "Examples:\n"
		       "  clovisor config check clovisor.yaml\n"
		       "  clovisor config print -c clovisor.yaml --memory 128M\n"
		       "  clovisor config schema > clovisor.schema.json",
		.children = shared,
	};
	static struct config_command c;
	int status = CLV_EXIT_FAILURE;

	if (clv_options_init(&c.line) == 0) {
		clv_cli_parse(&argp, argc, argv, &c);
		if (strcmp(c.what, "check") == 0)
			status = config_check(&c);
		else if (strcmp(c.what, "print") == 0)
			status = config_print(&c);
		else
			status = config_schema(&c) ? CLV_EXIT_FAILURE : CLV_EXIT_OK;
	}
	clv_options_fini(&c.line);
	return status;
}
