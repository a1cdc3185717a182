/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles what the options say about heads. Owns the compiled forms; never looks at a head. Main thread. */
#include "cli/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int rules_propagators(const struct clv_options *o, struct clv_rules *r, char *why, size_t size)
{
	char list[CLV_OPTION_REPEAT * 16] = "";
	struct clv_slice unknown = {0};
	size_t len = 0;

	if (!o->propagators.count)
		return 0;
	for (size_t i = 0; i < o->propagators.count && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? "," : "", o->propagators.item[i]);
	if (len < sizeof(list) && !clv_propagators_parse(list, &r->head.propagators, &unknown))
		return 0;
	snprintf(why, size, "propagators: there is no %.*s (there are: tracecontext, b3, b3multi, jaeger, xray, none)",
		 (int)unknown.len, (const char *)unknown.data);
	return -EINVAL;
}

static int rules_capture(const struct clv_options *o, struct clv_rules *r, char *why, size_t size)
{
	for (size_t i = 0; i < o->captures.count; i++) {
		const char *name = o->captures.item[i].name;
		int err = 0;

		if (o->captures.item[i].request)
			err = clv_capture_add(&r->capture.request, name);
		if (!err && o->captures.item[i].response)
			err = clv_capture_add(&r->capture.response, name);
		if (err == -E2BIG)
			snprintf(why, size, "--capture-header %s: at most %d names of %u bytes for each side", name,
				 CLV_CAPTURE_NAMES, CLV_CAPTURE_NAME_BYTES);
		else if (err)
			snprintf(why, size, "--capture-header %s: that is no name of a header field", name);
		if (err)
			return err;
	}
	if (o->captures.count)
		r->head.capture = &r->capture;
	return 0;
}

static int rules_fill(const struct clv_options *o, struct clv_rules *r, char *why, size_t size)
{
	int err = rules_propagators(o, r, why, size);

	if (!err)
		err = rules_capture(o, r, why, size);
	if (!err && o->routes.count)
		err = clv_routes_new(o->routes.item, o->routes.count, &r->routes, why, size);
	if (!err && o->redact.count)
		err = clv_redact_new(o->redact.item, o->redact.count, &r->redact, why, size);
	r->head.routes = r->routes;
	r->head.redact = r->redact;
	r->head.guess_templates = o->auto_route;
	return err;
}

int clv_rules_new(const struct clv_options *o, struct clv_rules **out, char *why, size_t size)
{
	struct clv_rules *r = calloc(1, sizeof(*r));

	snprintf(why, size, "no memory");
	if (!r)
		return -ENOMEM;
	int err = rules_fill(o, r, why, size);
	if (err) {
		clv_rules_free(r);
		return err;
	}
	*out = r;
	return 0;
}

/* Makes the compiled form of the first `count` texts, only to see whether it can be made. */
typedef int (*rules_try_fn)(const struct clv_options *o, size_t count, char *why, size_t size);

static int rules_try_routes(const struct clv_options *o, size_t count, char *why, size_t size)
{
	struct clv_routes *routes = NULL;
	int err = clv_routes_new(o->routes.item, count, &routes, why, size);

	clv_routes_free(routes);
	return err;
}

static int rules_try_redact(const struct clv_options *o, size_t count, char *why, size_t size)
{
	struct clv_redact *redact = NULL;
	int err = clv_redact_new(o->redact.item, count, &redact, why, size);

	clv_redact_free(redact);
	return err;
}

static int rules_try_captures(const struct clv_options *o, size_t count, char *why, size_t size)
{
	struct clv_options first = {.captures = o->captures};
	struct clv_rules none = {0};

	first.captures.count = count;
	return rules_capture(&first, &none, why, size);
}

enum clv_setting_id clv_rules_conflict(const struct clv_options *o, size_t *entry, char why[CLV_OPTION_WHY])
{
	const struct {
		enum clv_setting_id id;
		size_t count;
		rules_try_fn try;
	} parts[] = {
		{CLV_SET_ROUTES, o->routes.count, rules_try_routes},
		{CLV_SET_CAPTURE_HEADERS, o->captures.count, rules_try_captures},
		{CLV_SET_REDACT, o->redact.count, rules_try_redact},
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		size_t n = parts[i].count;

		if (!n || parts[i].try(o, n, why, CLV_OPTION_WHY) != -EINVAL)
			continue;
		for (n = 1; n < parts[i].count && !parts[i].try(o, n, why, CLV_OPTION_WHY);)
			n++;
		parts[i].try(o, n, why, CLV_OPTION_WHY);
		*entry = n - 1;
		return parts[i].id;
	}
	return CLV_SETTINGS;
}

void clv_rules_free(struct clv_rules *r)
{
	if (!r)
		return;
	clv_routes_free(r->routes);
	clv_redact_free(r->redact);
	free(r);
}
