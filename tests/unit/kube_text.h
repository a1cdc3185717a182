/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes objects from JSON for tests. In the text ' stands for ". */
#ifndef CLV_TEST_KUBE_TEXT_H
#define CLV_TEST_KUBE_TEXT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/parse.h"

static inline struct clv_kube_object *kube_object(enum clv_kube_kind kind, const char *text)
{
	char json[16384];
	size_t len = strlen(text);

	if (len >= sizeof(json))
		abort();
	for (size_t i = 0; i <= len; i++)
		json[i] = text[i] == '\'' ? '"' : text[i];
	struct clv_kube_object *o = clv_kube_parse(kind, clv_slice_str(json));
	if (!o) {
		fprintf(stderr, "not an object: %s\n", json);
		abort();
	}
	return o;
}

static inline struct clv_addr ip(const char *text)
{
	struct clv_addr a;

	if (clv_addr_parse(text, &a))
		abort();
	return a;
}

#endif
