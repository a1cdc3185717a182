/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the readers of JSON here share: jansson with bounds, and getters that take what is missing or of another type
 * for nothing. Any thread.
 */
#ifndef CLV_KUBE_JSON_H
#define CLV_KUBE_JSON_H

#include <jansson.h>

#include "base/slice.h"
#include "kube/objects.h"

/* An object, and nothing after it; NULL when it is anything else, with errno ENOMEM or EBADMSG. */
json_t *clv_kube_json(struct clv_slice text);
/* It has no more than CLV_KUBE_VALUES values, and CLV_KUBE_DEPTH brackets within each other. */
bool clv_kube_json_is_small(struct clv_slice text);

/* A string, up to its first NUL, or "". Borrowed. NULL is allowed. */
static inline const char *clv_kube_json_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* kube/parse.h's clv_kube_parse() of what has been read already. */
struct clv_kube_object *clv_kube_parse_json(enum clv_kube_kind kind, const json_t *json);

#endif
