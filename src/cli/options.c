/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options object and what fills it: argp with errors of one line, and the values of options. Owns the texts that
 * were given; never acts on them. Main thread.
 *
 * A setting's texts are kept as given, and its field is read anew from all of them whenever one is added: so copying,
 * comparing and printing need no more than texts, and there is one reader for each value whoever gave it.
 */
#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"

/* The longest name of a pod: a DNS subdomain (RFC 1123). */
#define POD_NAME_MAX 253

static error_t help_parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = state->input;
		return 0;
	case 'h':
		argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
		exit(CLV_EXIT_OK);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/*
 * argp and getopt say what is wrong in their own lines, and argp adds a second one: both go to a stream of ours,
 * whose first line is passed on.
 */
void clv_cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
	static const struct argp_option help[] = {{"help", 'h', 0, 0, "Print this text", -1}, {0}};
	const struct argp_child child[] = {{argp, 0, NULL, 0}, {0}};
	const struct argp root = {.options = help, .parser = help_parse, .children = child};
	FILE *real = stderr;
	char *said = NULL;
	size_t len = 0;

	setenv("ARGP_HELP_FMT", "no-dup-args-note,opt-doc-col=34,rmargin=96", 0);
	FILE *ours = open_memstream(&said, &len);
	if (ours)
		stderr = ours;
	error_t err = argp_parse(&root, argc, argv, ARGP_NO_EXIT | ARGP_NO_HELP, NULL, input);
	stderr = real;
	if (ours)
		fclose(ours);
	if (err || len) {
		fprintf(stderr, "%.*s; see %s --help\n", said ? (int)strcspn(said, "\n") : 0, said ? said : "",
			argv[0]);
		exit(CLV_EXIT_USAGE);
	}
	free(said);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

const char *clv_options_shown(const char *text, char room[CLV_OPTION_SHOWN])
{
	const char *host = strstr(text, "://"), *end = host ? host + 3 + strcspn(host + 3, "/?#") : NULL;
	const char *at = host ? memrchr(host, '@', (size_t)(end - host)) : NULL;

	if (!at)
		return text;
	snprintf(room, CLV_OPTION_SHOWN, "%.*sREDACTED%s", (int)(host + 3 - text), text, at);
	return room;
}

int clv_parse_size(const char *text, uint64_t *out)
{
	static const char units[] = "KMG";
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	unsigned shift = 0;
	const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end += strncasecmp(end + 1, "iB", 2) == 0 ? 3 : 1; /* M is MiB here; MB would be something else */
	}
	if (errno || *end || v == 0 || v > UINT64_MAX >> shift)
		return -EINVAL;
	*out = (uint64_t)v << shift;
	return 0;
}

int clv_parse_count(const char *text, uint64_t most, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno || *end || v == 0 || v > most)
		return -EINVAL;
	*out = v;
	return 0;
}

int clv_parse_seconds(const char *text, uint64_t *ns)
{
	uint64_t s;

	if (clv_parse_count(text, UINT32_MAX, &s) == 0) {
		*ns = s * 1000000000;
		return 0;
	}
	return clv_duration_parse(text, ns);
}

/* ADDR or [ADDR], with an optional /LEN, in `len` bytes of text. */
static int parse_prefix(const char *text, size_t len, struct clv_egress_rule *rule)
{
	char addr[CLV_ADDR_TEXT + 8], *slash;
	uint64_t bits;

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	slash = strchr(addr, '/');
	if (slash)
		*slash = '\0';
	char *bare = addr;
	size_t end = strlen(addr);
	bool bracket = addr[0] == '[' && end && addr[end - 1] == ']';
	if (bracket) {
		addr[end - 1] = '\0';
		bare++;
	}
	if (clv_addr_parse(bare, &rule->addr) || (strchr(bare, ':') != NULL) != bracket)
		return -EINVAL;
	unsigned most = bracket ? 128 : 32;
	rule->prefix_bits = 128;
	if (slash && strcmp(slash + 1, "0") == 0)
		rule->prefix_bits = (uint8_t)(128 - most);
	else if (slash && clv_parse_count(slash + 1, most, &bits))
		return -EINVAL;
	else if (slash)
		rule->prefix_bits = (uint8_t)(128 - most + bits);
	return 0;
}

/* Cuts "=ACTION" off. */
static int parse_action(struct clv_slice *rest, struct clv_egress_rule *rule)
{
	size_t at = clv_slice_find(*rest, 0, '=');
	struct clv_slice action = clv_slice_from(*rest, at + 1);

	if (at == rest->len)
		return 0;
	*rest = clv_slice_head(*rest, at);
	rule->ignore = clv_slice_eq(action, CLV_LIT("ignore"));
	return rule->ignore || clv_slice_eq(action, CLV_LIT("record")) ? 0 : -EINVAL;
}

/* A name as Kubernetes has them for pods, or how one begins. */
static bool is_pod_prefix(struct clv_slice s)
{
	if (s.len == 0 || s.len > POD_NAME_MAX || s.data[0] == '-' || s.data[0] == '.')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-.", s.data[i]))
			return false;
	return true;
}

static int parse_port_and_pod(struct clv_slice rest, struct clv_egress_rule *rule)
{
	size_t at = clv_slice_find(rest, 0, ':');
	char number[8] = "";
	uint64_t port;

	if (at < sizeof(number))
		memcpy(number, rest.data, at);
	if (clv_parse_count(number, UINT16_MAX, &port))
		return -EINVAL;
	rule->port = (uint16_t)port;
	if (at == rest.len)
		return 0;
	rule->pod = clv_slice_from(rest, at + 1);
	return is_pod_prefix(rule->pod) ? 0 : -EINVAL;
}

int clv_parse_egress(const char *text, struct clv_egress_rule *out)
{
	const char *end = *text == '[' ? strchr(text, ']') : text, *colon = end ? strchr(end, ':') : NULL;
	struct clv_egress_rule rule = {0};
	struct clv_slice rest;

	if (!colon || (colon != text && parse_prefix(text, (size_t)(colon - text), &rule)))
		return -EINVAL;
	rest = clv_slice_str(colon + 1);
	if (parse_action(&rest, &rule) || parse_port_and_pod(rest, &rule))
		return -EINVAL;
	*out = rule;
	return 0;
}

/* ---- from texts to fields -------------------------------------------------------------------------------------- */

static void *options_field(struct clv_options *o, const struct clv_setting *s)
{
	return (char *)o + s->offset;
}

static int options_read_number(const struct clv_setting *s, const char *text, uint64_t *out)
{
	uint64_t v = 0;
	int err = s->type == CLV_VALUE_COUNT  ? clv_parse_count(text, s->most, &v)
		  : s->type == CLV_VALUE_SIZE ? clv_parse_size(text, &v)
					      : clv_parse_seconds(text, &v);

	if (err || v < s->least || v > s->most)
		return -EINVAL;
	*out = v;
	return 0;
}

static int options_read_choice(const struct clv_setting *s, const char *text, int *out)
{
	for (int i = 0; s->choices[i]; i++)
		if (strcmp(text, s->choices[i]) == 0) {
			*out = i + s->first_choice;
			return 0;
		}
	return -EINVAL;
}

static int options_read_bool(const char *text, bool *out)
{
	*out = strcmp(text, "true") == 0;
	return *out || strcmp(text, "false") == 0 ? 0 : -EINVAL;
}

/* Bounds of a histogram: above 0, each more than the one before. */
static int options_add_number(struct clv_numbers *n, const char *text)
{
	char *end;

	if ((*text < '0' || *text > '9') && *text != '.')
		return -EINVAL;
	double v = strtod(text, &end);
	if (*end || strpbrk(text, "xX") || !isfinite(v) || v <= 0 || (n->count && v <= n->item[n->count - 1]))
		return -EINVAL;
	n->item[n->count++] = v;
	return 0;
}

static int options_add_pair(struct clv_pairs *p, const struct clv_given_item *item)
{
	p->item[p->count].name = item->text;
	p->item[p->count++].value = item->value;
	return 0;
}

/* One text into the setting's field. */
static int options_take(struct clv_options *o, const struct clv_setting *s, const struct clv_given_item *item,
			const char **why)
{
	void *field = options_field(o, s);
	bool on = false;
	int err;

	if (s->check && s->check(item->text, item->value))
		return -EINVAL;
	switch ((enum clv_setting_type)s->type) {
	case CLV_VALUE_FLAG:
		return options_read_bool(item->text, field);
	case CLV_VALUE_SWITCH:
		err = options_read_bool(item->text, &on);
		*(enum clv_switch *)field = on ? CLV_SWITCH_ON : CLV_SWITCH_OFF;
		return err;
	case CLV_VALUE_COUNT:
	case CLV_VALUE_SIZE:
	case CLV_VALUE_TIME:
		return options_read_number(s, item->text, field);
	case CLV_VALUE_CHOICE:
		return options_read_choice(s, item->text, field);
	case CLV_VALUE_TEXT:
		*(const char **)field = item->text;
		return 0;
	case CLV_VALUE_STRINGS:
		((struct clv_strings *)field)->item[((struct clv_strings *)field)->count++] = item->text;
		return 0;
	case CLV_VALUE_NUMBERS:
		return options_add_number(field, item->text);
	case CLV_VALUE_PAIRS:
		return options_add_pair(field, item);
	case CLV_VALUE_OWN:
	case CLV_VALUE_OWN_LIST:
		return s->take(o, item->text, why);
	}
	return -EINVAL;
}

/*
 * The field anew from all texts. What another module reads from the environment stays unset unless the file or the
 * command line has it.
 */
static int options_apply(struct clv_options *o, enum clv_setting_id id, const char **why)
{
	const struct clv_setting *s = &clv_settings[id];
	const struct clv_given *g = &o->given[id];
	int err = 0;

	memset(options_field(o, s), 0, s->size);
	for (size_t i = 0; i < g->count && !err; i++)
		err = options_take(o, s, &g->item[i], why);
	if ((s->flags & CLV_SETTING_OTHERS) && g->origin < CLV_FROM_FILE)
		memset(options_field(o, s), 0, s->size);
	return err;
}

/* ---- what was given -------------------------------------------------------------------------------------------- */

static void given_drop(struct clv_given_item *item)
{
	free(item->text);
	free(item->value);
}

static void given_clear(struct clv_given *g)
{
	for (size_t i = 0; i < g->count; i++)
		given_drop(&g->item[i]);
	free(g->item);
	*g = (struct clv_given){0};
}

static int given_add(struct clv_given *g, unsigned line, unsigned column, const char *text, const char *value)
{
	struct clv_given_item item = {
		.text = strdup(text), .value = value ? strdup(value) : NULL, .line = line, .column = column};
	struct clv_given_item *grown = reallocarray(g->item, g->count + 1, sizeof(*grown));

	if (grown)
		g->item = grown;
	if (!grown || !item.text || (value && !item.value)) {
		given_drop(&item);
		return -ENOMEM;
	}
	g->item[g->count++] = item;
	return 0;
}

/* The entry of a map with that key, or NULL. */
static struct clv_given_item *given_find(struct clv_given *g, const char *key)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->item[i].value && strcmp(g->item[i].text, key) == 0)
			return &g->item[i];
	return NULL;
}

/* What is wrong with a text before its setting is asked. */
static const char *options_refuse(const struct clv_setting *s, const char *text, const char *value)
{
	size_t len = strlen(text) + (value ? strlen(value) : 0);

	if (len > CLV_OPTION_TEXT)
		return "it is too long: a value has at most 8192 bytes";
	if ((s->type == CLV_VALUE_PAIRS) != (value != NULL) || !*text)
		return s->expect ? s->expect : "it must be true or false";
	if (s->check && s->check(text, value))
		return s->expect;
	return NULL;
}

/* Takes the place of what weaker origins said, of another value, or of the map's entry with that key. */
static int given_put(struct clv_given *g, unsigned line, unsigned column, const char *text, const char *value)
{
	struct clv_given_item *same = value ? given_find(g, text) : NULL;

	if (same) {
		char *copy = strdup(value);

		if (!copy)
			return -ENOMEM;
		free(same->value);
		same->value = copy;
		return 0;
	}
	return given_add(g, line, column, text, value);
}

static int options_why(char why[CLV_OPTION_WHY], const char *text)
{
	snprintf(why, CLV_OPTION_WHY, "%s", text);
	return -EINVAL;
}

int clv_options_set(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, unsigned line,
		    unsigned column, const char *text, const char *value, char why[CLV_OPTION_WHY])
{
	const struct clv_setting *s = &clv_settings[id];
	struct clv_given *g = &o->given[id], old = *g;
	bool anew = origin > g->origin || !clv_setting_is_list(s);
	const char *reason = NULL;

	if (anew)
		*g = (struct clv_given){.origin = origin, .line = line, .column = column};
	if (clv_setting_is_list(s) && g->count >= clv_setting_entries(s)) {
		snprintf(why, CLV_OPTION_WHY, "there may be %zu of them at most", clv_setting_entries(s));
		return -EINVAL;
	}
	reason = options_refuse(s, text, value);
	int err = reason ? -EINVAL : given_put(g, line, column, text, value);
	if (!err) {
		reason = s->expect ? s->expect : "it must be true or false";
		err = options_apply(o, id, &reason);
		if (err) /* a map's entries were all good before, and so is the new one: this is the last of a list */
			given_drop(&g->item[--g->count]);
	}
	if (err && anew) {
		given_clear(g);
		*g = old;
	} else if (anew) {
		given_clear(&old);
	}
	if (err) {
		const char *ignored = NULL;

		options_apply(o, id, &ignored);
		options_why(why, reason ? reason : strerror(-err));
	}
	return err;
}

void clv_options_set_empty(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, unsigned line,
			   unsigned column)
{
	const char *ignored = NULL;

	given_clear(&o->given[id]);
	o->given[id] = (struct clv_given){.origin = origin, .line = line, .column = column};
	options_apply(o, id, &ignored);
}

/* NAME=VALUE, of which either may be missing. */
static int options_set_pair(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, const char *text,
			    char why[CLV_OPTION_WHY])
{
	const char *equals = strchr(text, '=');
	char *name = equals ? strndup(text, (size_t)(equals - text)) : NULL;

	if (!equals)
		return options_why(why, clv_settings[id].expect);
	if (!name)
		return -ENOMEM;
	int err = clv_options_set(o, id, origin, 0, 0, name, equals + 1, why);
	free(name);
	return err;
}

/* A list between commas, with blanks around its words; `text` is used up. */
static int options_set_list(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, char *text,
			    char why[CLV_OPTION_WHY])
{
	char *word, *rest = text;
	int err = 0;

	clv_options_set_empty(o, id, origin, 0, 0);
	while (!err && (word = strsep(&rest, ","))) {
		word += strspn(word, " \t");
		for (size_t n = strlen(word); n && strchr(" \t", word[n - 1]); n--)
			word[n - 1] = '\0';
		err = clv_settings[id].type == CLV_VALUE_PAIRS ? options_set_pair(o, id, origin, word, why)
							       : clv_options_set(o, id, origin, 0, 0, word, NULL, why);
	}
	return err;
}

int clv_options_set_words(struct clv_options *o, enum clv_setting_id id, enum clv_origin origin, const char *text,
			  char why[CLV_OPTION_WHY])
{
	const struct clv_setting *s = &clv_settings[id];
	bool pairs = s->type == CLV_VALUE_PAIRS;

	if (id == CLV_SET_SERVICE && strchr(text, '='))
		return options_set_pair(o, CLV_SET_SERVICES, origin, text, why);
	if (!(s->flags & CLV_SETTING_WORDS) && !(pairs && origin == CLV_FROM_ENVIRONMENT))
		return pairs ? options_set_pair(o, id, origin, text, why)
			     : clv_options_set(o, id, origin, 0, 0, text, NULL, why);
	char *copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	int err = options_set_list(o, id, origin, copy, why);
	free(copy);
	return err;
}

/* ---- whole objects --------------------------------------------------------------------------------------------- */

int clv_options_init(struct clv_options *o)
{
	char why[CLV_OPTION_WHY];
	int err = 0;

	memset(o, 0, sizeof(*o));
	for (int id = 0; id < CLV_SETTINGS && !err; id++)
		if (clv_settings[id].fallback)
			err = clv_options_set_words(o, (enum clv_setting_id)id, CLV_FROM_DEFAULT,
						    clv_settings[id].fallback, why);
	return err;
}

void clv_options_fini(struct clv_options *o)
{
	for (int id = 0; id < CLV_SETTINGS; id++)
		given_clear(&o->given[id]);
	free((char *)o->config_path);
	memset(o, 0, sizeof(*o));
}

static int options_copy_setting(struct clv_options *o, const struct clv_options *from, enum clv_setting_id id)
{
	const struct clv_given *g = &from->given[id];
	char why[CLV_OPTION_WHY];
	int err = 0;

	clv_options_set_empty(o, id, g->origin, g->line, g->column);
	for (size_t i = 0; i < g->count && !err; i++)
		err = clv_options_set(o, id, g->origin, g->line, g->column, g->item[i].text, g->item[i].value, why);
	return err;
}

int clv_options_copy(struct clv_options *out, const struct clv_options *from)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	if (from->config_path && !(out->config_path = strdup(from->config_path)))
		return -ENOMEM;
	for (int id = 0; id < CLV_SETTINGS && !err; id++)
		err = options_copy_setting(out, from, (enum clv_setting_id)id);
	return err;
}

int clv_options_say_again(struct clv_options *o, const struct clv_options *line)
{
	int err = 0;

	if (line->config_path && !o->config_path && !(o->config_path = strdup(line->config_path)))
		return -ENOMEM;
	for (int id = 0; id < CLV_SETTINGS && !err; id++)
		if (line->given[id].origin == CLV_FROM_COMMAND_LINE)
			err = options_copy_setting(o, line, (enum clv_setting_id)id);
	return err;
}

bool clv_options_same(const struct clv_options *o, const struct clv_options *other, enum clv_setting_id id)
{
	const struct clv_given *a = &o->given[id], *b = &other->given[id];

	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->item[i].text, b->item[i].text) != 0 ||
		    strcmp(a->item[i].value ? a->item[i].value : "", b->item[i].value ? b->item[i].value : "") != 0)
			return false;
	return true;
}

int clv_options_ports(struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY])
{
	const struct clv_given *g = &o->given[CLV_SET_PORTS];
	char names[CLV_OPTION_WHY / 2];

	for (size_t i = 0; i < g->count; i++) {
		const char *colon = strchr(g->item[i].text, ':');

		if (!colon || o->ports[i].proto || (o->ports[i].proto = clv_proto_find(colon + 1)))
			continue;
		snprintf(why, CLV_OPTION_WHY, "%s: there is no such protocol (there is: %s)", g->item[i].text,
			 clv_proto_names(names, sizeof(names)));
		*entry = i;
		return -EINVAL;
	}
	return 0;
}

enum clv_setting_id clv_options_conflict(struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY])
{
	*entry = 0;
	if (!o->plugins.count && clv_options_ports(o, entry, why))
		return CLV_SET_PORTS;
	if (o->otlp.cert_path && !o->otlp.key_path && o->given[CLV_SET_OTLP_KEY].count == 0) {
		options_why(why, "a certificate needs its key: export.otlp.key_file (--otlp-key)");
		return CLV_SET_OTLP_CERT;
	}
	if (o->otlp.key_path && !o->otlp.cert_path && o->given[CLV_SET_OTLP_CERT].count == 0) {
		options_why(why, "a key needs its certificate: export.otlp.cert_file (--otlp-cert)");
		return CLV_SET_OTLP_KEY;
	}
	return CLV_SETTINGS;
}

/* ---- the environment ------------------------------------------------------------------------------------------- */

/* The variable's text in the form of the setting, or NULL; freed by the caller. */
static char *environment_text(enum clv_setting_id id, const char **name)
{
	const struct clv_setting *s = &clv_settings[id];
	const char *text = NULL, *arg = id == CLV_SET_SAMPLER ? getenv("OTEL_TRACES_SAMPLER_ARG") : NULL;
	char *out = NULL;

	for (size_t i = 0; i < sizeof(s->env) / sizeof(*s->env) && s->env[i] && !text; i++) {
		text = getenv(s->env[i]);
		*name = s->env[i];
		if (text && !*text) /* as if it were not set */
			text = NULL;
	}
	if (!text)
		return NULL;
	bool ratio = arg && *arg && strstr(text, "traceidratio");
	const char *unit = s->flags & CLV_SETTING_MS ? "ms" : "";
	if (asprintf(&out, "%s%s%s%s", text, unit, ratio ? "=" : "", ratio ? arg : "") < 0)
		return NULL;
	return out;
}

/*
 * OpenTelemetry's way to ask for the endpoint of metrics: "prometheus" among OTEL_METRICS_EXPORTER, with
 * OTEL_EXPORTER_PROMETHEUS_HOST and _PORT (SDK environment variables specification).
 */
static int environment_prometheus(struct clv_options *o)
{
	static const char *const fallback[] = {"localhost", "9464"};
	const char *exporters = getenv("OTEL_METRICS_EXPORTER"), *host = getenv("OTEL_EXPORTER_PROMETHEUS_HOST"),
		   *port = getenv("OTEL_EXPORTER_PROMETHEUS_PORT");
	struct clv_slice rest = clv_slice_str(exporters ? exporters : "");
	char why[CLV_OPTION_WHY], *text = NULL;
	bool wanted = false;

	while (rest.len) {
		size_t comma = clv_slice_find(rest, 0, ',');

		wanted |= clv_slice_eq(clv_slice_trim(clv_slice_head(rest, comma)), CLV_LIT("prometheus"));
		rest = clv_slice_from(rest, comma + 1);
	}
	if (!wanted)
		return 0;
	host = host && *host ? host : fallback[0];
	bool bare = strchr(host, ':') && *host != '['; /* IPv6 */
	if (asprintf(&text, "%s%s%s:%s", bare ? "[" : "", host, bare ? "]" : "", port && *port ? port : fallback[1]) <
	    0)
		return -ENOMEM;
	int err = clv_options_set(o, CLV_SET_METRICS_LISTEN, CLV_FROM_ENVIRONMENT, 0, 0, text, NULL, why);
	if (err == -EINVAL)
		clv_warn("OTEL_EXPORTER_PROMETHEUS_HOST and _PORT, %s, are left out: %s", text, why);
	free(text);
	return err == -EINVAL ? 0 : err;
}

int clv_options_environment(struct clv_options *o)
{
	char why[CLV_OPTION_WHY];
	const char *name = NULL;
	int err = 0;

	for (int id = 0; id < CLV_SETTINGS && err != -ENOMEM; id++) {
		char *text = environment_text((enum clv_setting_id)id, &name);

		if (!text)
			continue;
		struct clv_options *tried = calloc(1, sizeof(*tried)); /* half a list would be worse than none */
		err = tried ? clv_options_set_words(tried, (enum clv_setting_id)id, CLV_FROM_ENVIRONMENT, text, why)
			    : -ENOMEM;
		if (!err)
			err = options_copy_setting(o, tried, (enum clv_setting_id)id);
		else if (err == -EINVAL && !(clv_settings[id].flags & CLV_SETTING_OTHERS))
			clv_warn("%s is left out: %s", name, why);
		if (tried)
			clv_options_fini(tried);
		free(tried);
		free(text);
	}
	return err == -ENOMEM ? err : environment_prometheus(o);
}

/* ---- argp ------------------------------------------------------------------------------------------------------ */

enum { OPT_JSON = 256, OPT_SETTING };

static const char where_title[] =
	"Where to look (without -i, --netns and --cgroup: every veth that leads into another namespace, "
	"also those that appear later):";

static const char *const group_titles[] = {
	[CLV_GROUP_WHERE] = where_title,        [CLV_GROUP_PODS] = "Which pods:",
	[CLV_GROUP_WHAT] = "What to look at:",  [CLV_GROUP_SHOW] = "What to show:",
	[CLV_GROUP_KEEP] = "What to keep:",     [CLV_GROUP_TAKE] = "How much to take:",
	[CLV_GROUP_SEND] = "Where to send it:", [CLV_GROUP_METRICS] = "Metrics:",
	[CLV_GROUP_TRACES] = "Traces:",         [CLV_GROUP_PRIVACY] = "What to keep private:",
};

/* The setting of an option; the reverse of options_key(). */
static enum clv_setting_id options_id(int key)
{
	for (int id = 0; id < CLV_SETTINGS; id++)
		if (clv_settings[id].letter && clv_settings[id].letter == key)
			return (enum clv_setting_id)id;
	return key >= OPT_SETTING && key < OPT_SETTING + CLV_SETTINGS ? (enum clv_setting_id)(key - OPT_SETTING)
								      : CLV_SETTINGS;
}

static int options_key(enum clv_setting_id id)
{
	return clv_settings[id].letter ? clv_settings[id].letter : (int)OPT_SETTING + (int)id;
}

static void options_config_path(struct argp_state *state, struct clv_options *o, const char *arg)
{
	if (!*arg || strcmp(arg, "-") == 0)
		argp_error(state, "-c %s: it must be the name of a file", arg);
	free((char *)o->config_path);
	o->config_path = strdup(arg);
}

static error_t options_parse(int key, char *arg, struct argp_state *state)
{
	struct clv_options *o = state->input;
	enum clv_setting_id id = options_id(key);
	char why[CLV_OPTION_WHY];

	if (key == 'c') {
		options_config_path(state, o, arg);
		return 0;
	}
	if (key == OPT_JSON) {
		id = CLV_SET_FORMAT;
		arg = (char *)"json";
	}
	if (id == CLV_SETTINGS)
		return ARGP_ERR_UNKNOWN;
	const struct clv_setting *s = &clv_settings[id];
	if (clv_options_set_words(o, id, CLV_FROM_COMMAND_LINE, arg ? arg : "true", why) == 0)
		return 0;
	char room[CLV_OPTION_SHOWN];
	const char *shown = s->flags & CLV_SETTING_SECRET ? "..." : clv_options_shown(arg ? arg : "", room);
	if (s->letter)
		argp_error(state, "-%c %s: %s", s->letter, shown, why);
	else
		argp_error(state, "--%s %s: %s", s->option, shown, why);
	return 0;
}

/* The help text with the default, which lives as long as the process. */
static const char *options_doc(const struct clv_setting *s)
{
	char *doc = NULL;

	if (!s->fallback || s->type == CLV_VALUE_FLAG)
		return s->help;
	return asprintf(&doc, "%s. Default: %s", s->help, s->fallback) < 0 ? s->help : doc;
}

/* A group's options of a command; returns where the next one goes. */
static struct argp_option *options_group(struct argp_option *next, int group, unsigned command)
{
	int hidden = command == CLV_COMMAND_CONFIG ? OPTION_HIDDEN : 0;
	struct argp_option *title = hidden ? NULL : next++, *first = next;

	for (int id = 0; id < CLV_SETTINGS; id++) {
		const struct clv_setting *s = &clv_settings[id];

		if (!s->option || s->group != group || !(s->commands & command))
			continue;
		*next++ = (struct argp_option){
			.name = s->option,
			.key = options_key((enum clv_setting_id)id),
			.arg = s->arg,
			.flags = hidden,
			.doc = options_doc(s),
			.group = group,
		};
	}
	if (next == first)
		return title ? title : first;
	if (title)
		*title = (struct argp_option){.doc = group_titles[group], .group = group};
	return next;
}

const struct argp *clv_options_argp(unsigned command)
{
	const bool once = command & (CLV_COMMAND_CONFIG | CLV_COMMAND_BENCH);

	/* A heading for each group, the two options that are no setting, and the end. */
	static struct argp_option table[CLV_SETTINGS + sizeof(group_titles) / sizeof(*group_titles) + 4];
	static const struct argp argp = {.options = table, .parser = options_parse};
	struct argp_option *next = table;

	for (int group = CLV_GROUP_WHERE; group <= CLV_GROUP_PRIVACY; group++) {
		next = options_group(next, group, command);
		if (group == CLV_GROUP_SHOW && !once) /* there, --json is another one */
			*next++ = (struct argp_option){"json", OPT_JSON, 0, 0, "The same as -o json", group};
	}
	*next++ = (struct argp_option){0, 0, 0, 0, "Where settings come from:", CLV_GROUP_PRIVACY + 1};
	*next++ = (struct argp_option){"config",
				       'c',
				       "FILE",
				       0,
				       once ? "Read settings from this file, see clovisor.yaml(5). Options count for "
					      "more than the file"
					    : "Read settings from this file, see clovisor.yaml(5), and again when it "
					      "changes or on SIGHUP. Options count for more than the file",
				       CLV_GROUP_PRIVACY + 1};
	*next = (struct argp_option){0};
	return &argp;
}
