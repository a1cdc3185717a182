/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of the configuration file: libyaml's events against the table of settings. Owns nothing beyond a call;
 * never acts on a setting. Main thread.
 *
 * It goes on after an error, so that all of them are told at once, except after one of YAML's syntax. It only ever
 * descends into sections that the table has; everything else is skipped without recursion.
 */
#include "cli/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/rules.h"

/* Longer than any key of the table; a longer path is unknown anyway. */
#define PATH_BYTES 128
/* So much of a value is quoted in an error. */
#define QUOTE_BYTES 40
/* Sections within sections, the outermost included. */
#define SECTION_DEPTH 4

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the one that was read last */
	struct clv_slice text;
	struct clv_options *options;
	struct clv_config_errors *errors;
	int stopped; /* -errno: nothing more is read */
	bool seen[CLV_SETTINGS];
	bool seen_section[CLV_SETTINGS][SECTION_DEPTH]; /* by its first setting and its depth */
};

static void __attribute__((format(printf, 4, 5)))
errors_add(struct clv_config_errors *e, unsigned line, unsigned column, const char *fmt, ...)
{
	va_list ap;

	if (e->count == CLV_CONFIG_ERRORS) {
		e->more++;
		return;
	}
	struct clv_config_error *error = &e->error[e->count++];
	error->line = line;
	error->column = column;
	va_start(ap, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, ap);
	va_end(ap);
	for (char *c = error->text; *c; c++) /* what the file says must not command a terminal */
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static unsigned mark_line(yaml_mark_t m)
{
	return (unsigned)m.line + 1;
}

static unsigned mark_column(yaml_mark_t m)
{
	return (unsigned)m.column + 1;
}

#define reader_error(r, mark, ...) errors_add((r)->errors, mark_line(mark), mark_column(mark), __VA_ARGS__)

/* ---- events ---------------------------------------------------------------------------------------------------- */

/* Bytes that are no YAML text have an offset and no mark. */
static yaml_mark_t reader_mark_at(const struct reader *r, size_t offset)
{
	yaml_mark_t mark = {0};

	for (size_t i = 0; i < offset && i < r->text.len; i++) {
		mark.column++;
		if (r->text.data[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if ((r->text.data[i] & 0xc0) == 0x80) {
			mark.column--; /* the middle of a character */
		}
	}
	return mark;
}

static void reader_syntax_error(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;

	r->stopped = -EINVAL;
	if (p->error == YAML_MEMORY_ERROR)
		r->stopped = -ENOMEM;
	else if (p->error == YAML_READER_ERROR)
		reader_error(r, reader_mark_at(r, p->problem_offset), "this is not text in UTF-8: %s", p->problem);
	else
		reader_error(r, p->problem_mark, "this is not YAML: %s%s%s", p->problem ? p->problem : "broken",
			     p->context ? " " : "", p->context ? p->context : "");
}

/* The event has an anchor, or is an alias. */
static bool event_is_anchored(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return true;
	case YAML_SCALAR_EVENT:
		return e->data.scalar.anchor != NULL;
	case YAML_SEQUENCE_START_EVENT:
		return e->data.sequence_start.anchor != NULL;
	case YAML_MAPPING_START_EVENT:
		return e->data.mapping_start.anchor != NULL;
	default:
		return false;
	}
}

static bool event_is_tagged(const yaml_event_t *e)
{
	return (e->type == YAML_SCALAR_EVENT && e->data.scalar.tag) ||
	       (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag) ||
	       (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag);
}

/* Anchors would let a small file stand for a huge one, and tags change types behind the table's back. */
static void reader_check_properties(struct reader *r)
{
	if (event_is_anchored(&r->event))
		reader_error(
			r, r->event.start_mark,
			"anchors and aliases (& and *) are not used here; quote a text that begins with one of them");
	else if (event_is_tagged(&r->event))
		reader_error(r, r->event.start_mark, "tags (!) are not used here; quote a text that begins with one");
}

/* The next event into r->event; false when there is none any more. */
static bool reader_next(struct reader *r)
{
	if (r->stopped)
		return false;
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->parser, &r->event)) {
		reader_syntax_error(r);
		return false;
	}
	reader_check_properties(r);
	return true;
}

/* The same, `count` events on. */
static bool reader_after(struct reader *r, unsigned count)
{
	while (count && reader_next(r))
		count--;
	return count == 0;
}

/* Past the value that r->event begins. */
static void reader_skip(struct reader *r)
{
	unsigned depth = 0;

	do {
		yaml_event_type_t type = r->event.type;

		if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT)
			depth++;
		else if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT)
			depth--;
		if (depth > CLV_CONFIG_DEPTH) {
			reader_error(r, r->event.start_mark, "this is nested deeper than %d", CLV_CONFIG_DEPTH);
			r->stopped = -EINVAL;
		}
	} while (depth && reader_next(r));
}

/* ---- scalars --------------------------------------------------------------------------------------------------- */

enum kind { KIND_NULL, KIND_BOOL, KIND_INT, KIND_FLOAT, KIND_TEXT };

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

/* What a plain scalar is by the core schema (YAML 1.2, section 10.3.2). */
static enum kind scalar_kind(const yaml_event_t *e)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
	const char *text = (const char *)e->data.scalar.value, *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return KIND_TEXT;
	if (is_one_of(text, nulls))
		return KIND_NULL;
	if (is_one_of(text, bools))
		return KIND_BOOL;
	if (*digits && digits[strspn(digits, "0123456789")] == '\0')
		return KIND_INT;
	if (*digits != '.' && (*digits < '0' || *digits > '9'))
		return KIND_TEXT;
	strtod(digits, &end);
	return *end ? KIND_TEXT : KIND_FLOAT;
}

/* What is wrong with a scalar of that kind before its text is looked at; NULL: nothing. */
static const char *scalar_refuse(const struct clv_setting *s, enum kind kind)
{
	const char *expect = s->expect ? s->expect : "it must be true or false";

	if (kind == KIND_NULL)
		return "there is no value";
	switch ((enum clv_setting_type)s->type) {
	case CLV_VALUE_FLAG:
	case CLV_VALUE_SWITCH:
		return kind == KIND_BOOL ? NULL : expect;
	case CLV_VALUE_COUNT:
		return kind == KIND_INT ? NULL : expect;
	case CLV_VALUE_SIZE:
	case CLV_VALUE_TIME:
		return kind == KIND_INT || kind == KIND_TEXT ? NULL : expect;
	case CLV_VALUE_NUMBERS:
		return kind == KIND_INT || kind == KIND_FLOAT ? NULL : expect;
	default:
		if (kind == KIND_TEXT || (kind == KIND_INT && (s->flags & CLV_SETTING_NUMBER)))
			return NULL;
		return "it must be text; put it in quotes";
	}
}

static bool scalar_has_nul(const yaml_event_t *e)
{
	return strlen((const char *)e->data.scalar.value) != e->data.scalar.length;
}

/* The scalar r->event becomes a value of the setting; `key` is of a map's entry, or NULL. */
static void reader_scalar(struct reader *r, enum clv_setting_id id, const char *key)
{
	const struct clv_setting *s = &clv_settings[id];
	const yaml_event_t *e = &r->event;
	const char *text = (const char *)e->data.scalar.value;
	char why[CLV_OPTION_WHY];

	if (event_is_tagged(e)) /* which has been told */
		return;

	char shown[CLV_OPTION_SHOWN];
	const char *refused = scalar_has_nul(e) ? "it must not have a NUL byte" : scalar_refuse(s, scalar_kind(e));
	snprintf(why, sizeof(why), "%s", refused ? refused : "");
	int err = refused ? -EINVAL
			  : clv_options_set(r->options, id, CLV_FROM_FILE, mark_line(e->start_mark),
					    mark_column(e->start_mark), key ? key : text, key ? text : NULL, why);
	if (err == -ENOMEM)
		r->stopped = err;
	else if (err)
		reader_error(r, e->start_mark, "%s%s%s%s%.*s: %s", s->key, key ? "." : "", key ? key : "",
			     *text ? " " : "", QUOTE_BYTES,
			     s->flags & CLV_SETTING_SECRET ? "..." : clv_options_shown(text, shown), why);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static const char *event_name(yaml_event_type_t type)
{
	return type == YAML_SEQUENCE_START_EVENT  ? "a list"
	       : type == YAML_MAPPING_START_EVENT ? "a map"
	       : type == YAML_SCALAR_EVENT        ? "a single value"
						  : "something else";
}

/* Something else than what is wanted stands here, unless it is an alias, which has been told; it is skipped. */
static void reader_misplaced(struct reader *r, const char *key, const char *entry, const char *wanted)
{
	if (r->event.type != YAML_ALIAS_EVENT)
		reader_error(r, r->event.start_mark, "%s%s%s: it must be %s, and here is %s", key, *entry ? "." : "",
			     entry, wanted, event_name(r->event.type));
	reader_skip(r);
}

static void reader_list(struct reader *r, enum clv_setting_id id)
{
	yaml_mark_t start = r->event.start_mark;
	size_t before = r->errors->count, entries = 0;

	clv_options_set_empty(r->options, id, CLV_FROM_FILE, mark_line(start), mark_column(start));
	while (reader_next(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		entries++;
		if (r->event.type == YAML_SCALAR_EVENT)
			reader_scalar(r, id, NULL);
		else
			reader_misplaced(r, clv_settings[id].key, "", "a list of single values");
	}
	if (entries < clv_settings[id].least && r->errors->count == before && !r->stopped)
		reader_error(r, start, "%s: %s", clv_settings[id].key, clv_settings[id].expect);
}

static bool map_has(const struct clv_options *o, enum clv_setting_id id, const char *key)
{
	for (size_t i = 0; i < o->given[id].count; i++)
		if (strcmp(o->given[id].item[i].text, key) == 0)
			return true;
	return false;
}

static void reader_map(struct reader *r, enum clv_setting_id id)
{
	const char *name = clv_settings[id].key;
	yaml_mark_t start = r->event.start_mark;

	clv_options_set_empty(r->options, id, CLV_FROM_FILE, mark_line(start), mark_column(start));
	while (reader_next(r) && r->event.type != YAML_MAPPING_END_EVENT) {
		bool good =
			r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length && !scalar_has_nul(&r->event);
		char *key = good ? strdup((const char *)r->event.data.scalar.value) : NULL;

		if (good && !key)
			r->stopped = -ENOMEM;
		if (!good)
			reader_error(r, r->event.start_mark, "%s: a key must be a text", name);
		else if (key && map_has(r->options, id, key)) {
			reader_error(r, r->event.start_mark, "%s.%s stands here twice", name, key);
			good = false;
		}
		reader_skip(r);
		if (!reader_next(r)) {
			free(key);
			return;
		}
		if (!good)
			reader_skip(r);
		else if (r->event.type == YAML_SCALAR_EVENT)
			reader_scalar(r, id, key);
		else
			reader_misplaced(r, name, key, "a single value");
		free(key);
	}
}

static void reader_value(struct reader *r, enum clv_setting_id id)
{
	const struct clv_setting *s = &clv_settings[id];
	yaml_event_type_t type = r->event.type, wanted = YAML_SCALAR_EVENT;
	const char *form = "a single value";

	if (s->type == CLV_VALUE_PAIRS) {
		wanted = YAML_MAPPING_START_EVENT;
		form = "a map, as in {name: value}";
	} else if (clv_setting_is_list(s)) {
		wanted = YAML_SEQUENCE_START_EVENT;
		form = "a list, as in [one, two]";
	}
	if (type != wanted) {
		reader_misplaced(r, s->key, "", form);
	} else if (wanted == YAML_SCALAR_EVENT) {
		reader_scalar(r, id, NULL);
	} else if (wanted == YAML_SEQUENCE_START_EVENT) {
		reader_list(r, id);
	} else {
		reader_map(r, id);
	}
}

/* ---- keys ------------------------------------------------------------------------------------------------------ */

static enum clv_setting_id config_find(const char *path)
{
	int id = 0;

	while (id < CLV_SETTINGS && strcmp(clv_settings[id].key, path) != 0)
		id++;
	return (enum clv_setting_id)id;
}

enum clv_setting_id clv_config_section(const char *path)
{
	size_t len = strlen(path);
	int id = 0;

	while (id < CLV_SETTINGS &&
	       (len && (strncmp(clv_settings[id].key, path, len) != 0 || clv_settings[id].key[len] != '.')))
		id++;
	return (enum clv_setting_id)id;
}

/* The known key beside this one that looks most like it; else one of the same name in another section. NULL: none. */
static const char *config_nearest(const char *section, const char *name, char out[PATH_BYTES])
{
	size_t skip = strlen(section) + (*section != '\0');
	unsigned least = CLV_WORD_NEAR + 1;
	const char *nearest = NULL;

	for (int id = 0; id < CLV_SETTINGS; id++) {
		const char *key = clv_settings[id].key;

		if (*section && (strncmp(key, section, skip - 1) != 0 || key[skip - 1] != '.'))
			continue;
		char word[PATH_BYTES];
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(key + skip, "."), key + skip);
		unsigned d = clv_word_distance(name, word);
		if (d < least && d < strlen(name)) {
			least = d;
			memcpy(out, word, sizeof(word));
			nearest = out;
		}
	}
	for (int id = 0; id < CLV_SETTINGS && !nearest; id++) {
		const char *last = strrchr(clv_settings[id].key, '.');

		if (last && strcmp(last + 1, name) == 0)
			nearest = clv_settings[id].key;
	}
	return nearest;
}

static void reader_unknown(struct reader *r, const char *section, const char *name)
{
	char word[PATH_BYTES];
	const char *nearest = config_nearest(section, name, word);

	reader_error(r, r->event.start_mark, "there is no setting %s%s%.*s%s%s%s", section, *section ? "." : "",
		     QUOTE_BYTES, name, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static void reader_section(struct reader *r, const char *section, unsigned depth);

/* r->event is the value of a section's key. Nothing at all is a section whose lines are comments. */
static void reader_subsection(struct reader *r, const char *path, unsigned depth)
{
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		reader_section(r, path, depth);
		return;
	}
	if (r->event.type == YAML_SCALAR_EVENT && scalar_kind(&r->event) == KIND_NULL)
		reader_skip(r);
	else
		reader_misplaced(r, path, "", "a map of settings");
}

/* r->event is a key of the section. */
static void reader_key(struct reader *r, const char *section, unsigned depth)
{
	const char *name = (const char *)r->event.data.scalar.value;
	bool text = r->event.type == YAML_SCALAR_EVENT;
	enum clv_setting_id id = CLV_SETTINGS, first = CLV_SETTINGS;
	char path[PATH_BYTES] = "";
	bool *seen = NULL;

	int n = text ? snprintf(path, sizeof(path), "%s%s%s", section, *section ? "." : "", name) : 0;
	if (text && *name && n < PATH_BYTES && !strchr(name, '.') && !scalar_has_nul(&r->event)) {
		id = config_find(path);
		first = clv_config_section(path);
	}
	if (id != CLV_SETTINGS)
		seen = &r->seen[id];
	else if (first != CLV_SETTINGS)
		seen = &r->seen_section[first][depth];
	if (!text)
		reader_error(r, r->event.start_mark, "a key must be a text");
	else if (!seen)
		reader_unknown(r, section, name);
	else if (*seen)
		reader_error(r, r->event.start_mark, "%s stands here twice", path);
	bool good = seen && !*seen;
	if (seen)
		*seen = true;
	reader_skip(r);
	if (!reader_next(r))
		return;
	if (good && id != CLV_SETTINGS)
		reader_value(r, id);
	else if (good)
		reader_subsection(r, path, depth + 1);
	else
		reader_skip(r);
}

/* r->event begins the section's map. Recursion ends with the table: a section has a longer path than the one it is in.
 */
static void reader_section(struct reader *r, const char *section, unsigned depth)
{
	while (reader_next(r) && r->event.type != YAML_MAPPING_END_EVENT)
		reader_key(r, section, depth);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void reader_document(struct reader *r)
{
	if (!reader_after(r, 2) || r->event.type == YAML_STREAM_END_EVENT)
		return;      /* STREAM-START, then nothing but comments */
	if (!reader_next(r)) /* DOCUMENT-START */
		return;
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		reader_section(r, "", 0);
	} else {
		if (r->event.type != YAML_SCALAR_EVENT || scalar_kind(&r->event) != KIND_NULL)
			reader_error(r, r->event.start_mark, "a configuration is a map of settings, and here is %s",
				     event_name(r->event.type));
		reader_skip(r);
	}
	if (reader_after(r, 2) && r->event.type != YAML_STREAM_END_EVENT)
		reader_error(r, r->event.start_mark, "there may be one document in a file, and here is a second one");
}

int clv_config_parse(struct clv_slice text, struct clv_options *o, struct clv_config_errors *errors)
{
	struct reader *r = calloc(1, sizeof(*r));

	errors->count = errors->more = 0;
	if (!r)
		return -ENOMEM;
	*r = (struct reader){.text = text, .options = o, .errors = errors};
	if (text.len > CLV_CONFIG_BYTES) {
		errors_add(errors, 1, 1, "the file is larger than %u KiB", CLV_CONFIG_BYTES >> 10);
	} else if (!yaml_parser_initialize(&r->parser)) {
		r->stopped = -ENOMEM;
	} else {
		yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
		yaml_parser_set_input_string(&r->parser, text.data, text.len);
		reader_document(r);
		yaml_event_delete(&r->event);
		yaml_parser_delete(&r->parser);
	}
	int err = r->stopped == -ENOMEM ? -ENOMEM : errors->count ? -EINVAL : 0;
	free(r);
	return err;
}

int clv_config_slurp(const char *path, char **data, size_t *len)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return -errno;
	char *bytes = malloc(CLV_CONFIG_BYTES + 1);
	size_t n = bytes ? fread(bytes, 1, CLV_CONFIG_BYTES + 1, f) : 0;
	int err = !bytes ? -ENOMEM : ferror(f) ? -errno : 0;
	fclose(f);
	if (err) {
		free(bytes);
		return err;
	}
	*data = bytes;
	*len = n;
	return 0;
}

static int config_file(const char *path, struct clv_options *o, struct clv_config_errors *errors)
{
	char *data = NULL;
	size_t len = 0;
	int err = clv_config_slurp(path, &data, &len);

	if (err) {
		errors_add(errors, 0, 0, "cannot read it: %s", strerror(-err));
		return err;
	}
	err = clv_config_parse(clv_slice(data, len), o, errors);
	free(data);
	return err;
}

int clv_config_check(struct clv_options *o, struct clv_config_errors *errors)
{
	char why[CLV_OPTION_WHY];
	size_t entry;
	enum clv_setting_id id = clv_options_conflict(o, &entry, why);

	if (id == CLV_SETTINGS)
		id = clv_rules_conflict(o, &entry, why);
	if (id == CLV_SETTINGS)
		return 0;
	const struct clv_given *g = &o->given[id];
	bool list = clv_setting_is_list(&clv_settings[id]);
	errors_add(errors, list ? g->item[entry].line : g->line, list ? g->item[entry].column : g->column, "%s: %s",
		   clv_settings[id].key, why);
	return -EINVAL;
}

int clv_config_load(const struct clv_options *line, struct clv_options *out, struct clv_config_errors *errors)
{
	errors->count = errors->more = 0;
	int err = clv_options_init(out);
	if (!err)
		err = clv_options_environment(out);
	if (!err && line->config_path)
		err = config_file(line->config_path, out, errors);
	if (!err)
		err = clv_options_say_again(out, line);
	return err ? err : clv_config_check(out, errors);
}

void clv_config_say(const char *path, const struct clv_config_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		const struct clv_config_error *e = &errors->error[i];

		if (e->line)
			clv_error("%s:%u:%u: %s", path, e->line, e->column, e->text);
		else
			clv_error("%s%s%s", path ? path : "", path ? ": " : "", e->text);
	}
	if (errors->more)
		clv_error("%s: and %zu more", path, errors->more);
}

int clv_config_start(const struct clv_options *line, struct clv_options *out)
{
	struct clv_config_errors *errors = calloc(1, sizeof(*errors));
	int err = errors ? clv_config_load(line, out, errors) : -ENOMEM;

	if (err == -ENOMEM)
		clv_error("cannot start: %s", strerror(-err));
	else if (err)
		clv_config_say(line->config_path, errors);
	free(errors);
	return !err ? CLV_EXIT_OK : err == -EINVAL ? CLV_EXIT_USAGE : CLV_EXIT_FAILURE;
}
