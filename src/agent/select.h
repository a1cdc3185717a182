/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pods are traced: the pod's own word (annotation clovisor.io/trace), then the namespaces and label selectors of
 * the configuration. Immutable: any thread.
 */
#ifndef CLV_AGENT_SELECT_H
#define CLV_AGENT_SELECT_H

#include "kube/selector.h"

#define CLV_TRACE_ANNOTATION "clovisor.io/trace"

struct clv_select_config {
	const char *const *namespaces; /* "*": all; none: "default" */
	size_t namespace_count;
	const char *const *selectors; /* any of them; none: all pods */
	size_t selector_count;
	/* This agent's own pod, which is traced only if it says so itself; NULL: not known, or in any namespace. */
	const char *self, *self_namespace;
};

enum clv_select_reason {
	CLV_SELECT_YES,
	CLV_SELECT_ANNOTATED, /* yes, by its annotation */
	CLV_SELECT_OPTED_OUT, /* no, by its annotation */
	CLV_SELECT_OTHER_NAMESPACE,
	CLV_SELECT_OTHER_LABELS,
	CLV_SELECT_ENDED, /* no: Succeeded or Failed */
	CLV_SELECT_SELF,  /* no: this agent's own pod */
};

struct clv_select;

/* Strings are copied. Returns 0, -ENOMEM, or -EINVAL with what is wrong with a selector in `why`. */
int clv_select_new(const struct clv_select_config *config, struct clv_select **out, char why[CLV_KUBE_SELECTOR_WHY]);
/* NULL is allowed. */
void clv_select_free(struct clv_select *s);

/* An annotation that is neither "true" nor "false" counts for nothing; a warning says so, once. */
enum clv_select_reason clv_select_pod(const struct clv_select *s, const struct clv_kube_pod *pod);
bool clv_select_is_yes(enum clv_select_reason reason);
/* Why, for people: "its namespace is not watched". */
const char *clv_select_text(enum clv_select_reason reason);

#endif
