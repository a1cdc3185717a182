/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds where objects begin and end in a stream of JSON, and has them parsed. Owns the bytes of the object that is not
 * whole yet, of no other; never goes by newlines. One thread a cutter.
 *
 * It looks at brackets, strings and escapes alone: whether what lies between is JSON, the parser tells.
 */
#include "kube/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/json.h"

/* The first room for an object; it is doubled as needed. */
#define FIRST_BYTES (16u << 10)
/* Larger room than this is given back when its object is done. */
#define KEEP_BYTES (256u << 10)
/* A watch's line has its object, and some words around it. */
#define ITEM_BYTES (CLV_KUBE_OBJECT_BYTES + 256u)

enum state {
	BEGIN,    /* before the list's "{", or between two lines of a watch */
	KEY,      /* before a key of the list's outermost object */
	COLON,    /* after it */
	VALUE,    /* before its value */
	ITEM,     /* between two items */
	IN_VALUE, /* in a value: a key, an item, a watch's line, or what nobody needs */
	END,      /* the list is over */
	BROKEN,
};

/* What the value is that is being read. */
enum role { ROLE_KEY, ROLE_METADATA, ROLE_ITEM, ROLE_OTHER };

struct clv_kube_cutter {
	enum clv_kube_kind kind;
	bool list;
	enum state state;
	enum role role;  /* of the value that is being read; in COLON and VALUE: of the one that comes */
	bool items_next; /* the value that comes is the list's items */

	/* The value. */
	unsigned depth;
	bool string, escape, plain; /* in a string; after a backslash; a number or a word */
	unsigned values;            /* in it, about: what separates them is counted */
	bool lost;                  /* too deep, too long or too much: it is left out */
	char *bytes;
	size_t len, cap;

	bool has_metadata;
	char resource_version[CLV_KUBE_VERSION_BYTES];
	char *next;
	uint64_t skipped;
};

struct clv_kube_cutter *clv_kube_cutter_new(enum clv_kube_kind kind, bool list)
{
	struct clv_kube_cutter *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->kind = kind;
	c->list = list;
	return c;
}

void clv_kube_cutter_free(struct clv_kube_cutter *c)
{
	if (!c)
		return;
	free(c->bytes);
	free(c->next);
	free(c);
}

/* ---- the bytes of a value -------------------------------------------------------------------------------------- */

/* Grows, or finds that the value is too long. */
static int value_keep(struct clv_kube_cutter *c, struct clv_slice s)
{
	if (c->role == ROLE_OTHER || c->lost)
		return 0;
	if (c->len + s.len > ITEM_BYTES) {
		c->lost = true;
		return 0;
	}
	if (c->len + s.len > c->cap) {
		size_t cap = c->cap ? c->cap : FIRST_BYTES;

		while (cap < c->len + s.len)
			cap *= 2;
		char *bytes = realloc(c->bytes, cap);
		if (!bytes)
			return -ENOMEM;
		c->bytes = bytes;
		c->cap = cap;
	}
	if (s.len)
		memcpy(c->bytes + c->len, s.data, s.len);
	c->len += s.len;
	return 0;
}

static void value_begin(struct clv_kube_cutter *c, enum role role)
{
	c->state = IN_VALUE;
	c->role = role;
	c->depth = c->values = 0;
	c->string = c->escape = c->plain = c->lost = false;
	c->len = 0;
}

/* Past the end of the value, or of what there is of it. A plain value ends before a byte that is not its own. */
static size_t value_scan(struct clv_kube_cutter *c, struct clv_slice s, bool *end)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t b = s.data[i];

		if (c->escape) {
			c->escape = false;
		} else if (c->string) {
			c->escape = b == '\\';
			c->string = b != '"';
		} else if (b == '"') {
			c->string = true;
		} else if (b == '{' || b == '[') {
			c->lost |= ++c->depth > CLV_KUBE_DEPTH || ++c->values > CLV_KUBE_VALUES;
		} else if (c->depth == 0 && (b == ',' || b == '}' || b == ']' || b <= ' ')) {
			*end = true;
			return i;
		} else if (b == ',') {
			c->lost |= ++c->values > CLV_KUBE_VALUES;
		} else if (b == '}' || b == ']') {
			c->depth--;
		} else if (c->depth == 0) {
			c->plain = true;
		}
		if (c->depth == 0 && !c->string && !c->plain) {
			*end = true;
			return i + 1;
		}
	}
	*end = false;
	return s.len;
}

/* ---- what a value says ----------------------------------------------------------------------------------------- */

static struct clv_slice value_of(const struct clv_kube_cutter *c)
{
	return clv_slice(c->bytes, c->len);
}

/* A resourceVersion; one that is too long is none. */
static void copy_version(char out[CLV_KUBE_VERSION_BYTES], const json_t *object)
{
	const char *text = clv_kube_json_text(json_object_get(object, "metadata"), "resourceVersion");

	snprintf(out, CLV_KUBE_VERSION_BYTES, "%s", strlen(text) < CLV_KUBE_VERSION_BYTES ? text : "");
}

static void copy_status(struct clv_kube_item *out, const json_t *object)
{
	json_int_t code = json_integer_value(json_object_get(object, "code"));

	out->type = CLV_KUBE_WATCH_ERROR;
	out->code = code > 0 && code < 1000 ? (int)code : 0;
	snprintf(out->message, sizeof(out->message), "%s", clv_kube_json_text(object, "message"));
}

bool clv_kube_parse_status(struct clv_slice text, struct clv_kube_item *out)
{
	json_t *json = text.len <= CLV_KUBE_OBJECT_BYTES && clv_kube_json_is_small(text) ? clv_kube_json(text) : NULL;
	bool status = json && strcmp(clv_kube_json_text(json, "kind"), "Status") == 0;

	if (status) {
		memset(out, 0, sizeof(*out));
		copy_status(out, json);
	}
	json_decref(json);
	return status;
}

/* Returns 0, or -errno: of -EBADMSG nothing is told. */
static int item_object(enum clv_kube_kind kind, const json_t *json, struct clv_kube_item *out)
{
	out->object = clv_kube_parse_json(kind, json);
	copy_version(out->resource_version, json);
	return out->object ? 0 : -errno;
}

static int item_line(enum clv_kube_kind kind, const json_t *json, struct clv_kube_item *out)
{
	const json_t *object = json_object_get(json, "object");
	const char *type = clv_kube_json_text(json, "type");

	if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0) {
		out->type = CLV_KUBE_WATCH_ADDED;
	} else if (strcmp(type, "DELETED") == 0) {
		out->type = CLV_KUBE_WATCH_DELETED;
	} else if (strcmp(type, "BOOKMARK") == 0) {
		out->type = CLV_KUBE_WATCH_BOOKMARK;
		copy_version(out->resource_version, object);
		return 0;
	} else if (strcmp(type, "ERROR") == 0) {
		copy_status(out, object);
		return 0;
	} else {
		return -EBADMSG;
	}
	return item_object(kind, object, out);
}

static int cutter_item(struct clv_kube_cutter *c, int (*item)(void *ctx, struct clv_kube_item *item), void *ctx)
{
	struct clv_kube_item out = {.type = CLV_KUBE_WATCH_ADDED};
	json_t *json = c->lost ? NULL : clv_kube_json(value_of(c));
	int err = c->lost ? -EBADMSG : json ? 0 : -errno;

	if (!err)
		err = c->list ? item_object(c->kind, json, &out) : item_line(c->kind, json, &out);
	json_decref(json);
	if (err == -EBADMSG) {
		c->skipped++;
		return 0;
	}
	return err ? err : item(ctx, &out);
}

static int cutter_metadata(struct clv_kube_cutter *c)
{
	json_t *json = c->lost ? NULL : clv_kube_json(value_of(c));

	if (!json)
		return c->lost ? -EBADMSG : -errno;
	const char *next = clv_kube_json_text(json, "continue");
	const char *version = clv_kube_json_text(json, "resourceVersion");
	int err = strlen(next) < CLV_KUBE_CONTINUE_BYTES && strlen(version) < CLV_KUBE_VERSION_BYTES ? 0 : -EBADMSG;
	if (!err) {
		free(c->next);
		c->next = strdup(next);
		err = c->next ? 0 : -ENOMEM;
		snprintf(c->resource_version, sizeof(c->resource_version), "%s", version);
		c->has_metadata = true;
	}
	json_decref(json);
	return err;
}

/* Of the list's keys two are of interest. */
static void cutter_key(struct clv_kube_cutter *c)
{
	struct clv_slice key = value_of(c);

	c->items_next = clv_slice_eq(key, CLV_LIT("\"items\""));
	c->role = clv_slice_eq(key, CLV_LIT("\"metadata\"")) ? ROLE_METADATA : ROLE_OTHER;
	c->state = COLON;
}

/* ---- the stream ------------------------------------------------------------------------------------------------ */

static int value_end(struct clv_kube_cutter *c, int (*item)(void *ctx, struct clv_kube_item *item), void *ctx)
{
	int err = 0;

	switch (c->role) {
	case ROLE_KEY:
		cutter_key(c);
		return 0;
	case ROLE_ITEM:
		c->state = c->list ? ITEM : BEGIN;
		err = cutter_item(c, item, ctx);
		break;
	case ROLE_METADATA:
		c->state = KEY;
		err = cutter_metadata(c);
		break;
	case ROLE_OTHER:
		c->state = KEY;
		break;
	}
	if (c->cap > KEEP_BYTES) {
		free(c->bytes);
		c->bytes = NULL;
		c->cap = 0;
	}
	c->len = 0;
	return err;
}

/* A byte between values. Returns whether it is used up: the first one of a value is left to it. */
static bool cutter_step(struct clv_kube_cutter *c, uint8_t b)
{
	bool space = b == ' ' || b == '\t' || b == '\n' || b == '\r';

	if (space)
		return true;
	switch (c->state) {
	case BEGIN:
		if (b != '{')
			break;
		if (c->list) {
			c->state = KEY;
			return true;
		}
		value_begin(c, ROLE_ITEM);
		return false;
	case KEY:
		if (b == '"') {
			value_begin(c, ROLE_KEY);
			return false;
		}
		if (b != '}' && b != ',')
			break;
		c->state = b == '}' ? END : KEY;
		return true;
	case COLON:
		if (b != ':')
			break;
		c->state = VALUE;
		return true;
	case VALUE:
		if (c->items_next && b == '[') {
			c->state = ITEM;
			return true;
		}
		/* No items at all may be null. */
		if (b == ',' || b == '}' || b == ']' || b == ':' || (c->items_next && b != 'n') ||
		    (c->role == ROLE_METADATA && b != '{'))
			break;
		value_begin(c, c->role);
		return false;
	case ITEM:
		if (b == '{') {
			value_begin(c, ROLE_ITEM);
			return false;
		}
		if (b != ']' && b != ',')
			break;
		c->state = b == ']' ? KEY : ITEM;
		return true;
	default: /* nothing comes after the end */
		break;
	}
	c->state = BROKEN;
	return true;
}

int clv_kube_cutter_feed(struct clv_kube_cutter *c, struct clv_slice bytes,
			 int (*item)(void *ctx, struct clv_kube_item *item), void *ctx)
{
	int err = 0;

	while (bytes.len && !err && c->state != BROKEN) {
		if (c->state != IN_VALUE) {
			if (cutter_step(c, *bytes.data))
				bytes = clv_slice_from(bytes, 1);
			continue;
		}
		bool end;
		size_t n = value_scan(c, bytes, &end);

		err = value_keep(c, clv_slice_head(bytes, n));
		if (!err && end)
			err = value_end(c, item, ctx);
		bytes = clv_slice_from(bytes, n);
	}
	if (err)
		c->state = BROKEN;
	return err ? err : c->state == BROKEN ? -EBADMSG : 0;
}

int clv_kube_cutter_end(const struct clv_kube_cutter *c, char resource_version[CLV_KUBE_VERSION_BYTES], char **next)
{
	if (!c->list || c->state != END || !c->has_metadata || !*c->resource_version)
		return -EBADMSG;
	char *copy = strdup(c->next);
	if (!copy)
		return -ENOMEM;
	memcpy(resource_version, c->resource_version, CLV_KUBE_VERSION_BYTES);
	*next = copy;
	return 0;
}

uint64_t clv_kube_cutter_skipped(const struct clv_kube_cutter *c)
{
	return c->skipped;
}
