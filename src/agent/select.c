/* SPDX-License-Identifier: Apache-2.0 */
/* Which pods are traced. Owns copies of the configuration's names and its selectors, parsed. Any thread. */
#include "agent/select.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct clv_select {
	size_t namespace_count, selector_count;
	char **namespace;
	struct clv_kube_selector **selector;
	char *self, *self_namespace;
};

static int select_copy_namespaces(struct clv_select *s, const struct clv_select_config *config)
{
	static const char *const usual[] = {"default"};
	const char *const *from = config->namespace_count ? config->namespaces : usual;
	size_t count = config->namespace_count ? config->namespace_count : 1;

	s->namespace = calloc(count, sizeof(*s->namespace));
	if (!s->namespace)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		s->namespace[i] = strdup(from[i]);
		if (!s->namespace[i])
			return -ENOMEM;
		s->namespace_count++;
	}
	return 0;
}

static int select_parse(struct clv_select *s, const struct clv_select_config *config, char why[CLV_KUBE_SELECTOR_WHY])
{
	if (!config->selector_count)
		return 0;
	s->selector = calloc(config->selector_count, sizeof(struct clv_kube_selector *));
	if (!s->selector)
		return -ENOMEM;
	for (size_t i = 0; i < config->selector_count; i++) {
		int err = clv_kube_selector_parse(config->selectors[i], &s->selector[i], why);

		if (err)
			return err;
		s->selector_count++;
	}
	return 0;
}

int clv_select_new(const struct clv_select_config *config, struct clv_select **out, char why[CLV_KUBE_SELECTOR_WHY])
{
	struct clv_select *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	int err = select_copy_namespaces(s, config);
	if (!err)
		err = select_parse(s, config, why);
	if (!err && config->self && !(s->self = strdup(config->self)))
		err = -ENOMEM;
	if (!err && config->self_namespace && !(s->self_namespace = strdup(config->self_namespace)))
		err = -ENOMEM;
	if (err) {
		clv_select_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void clv_select_free(struct clv_select *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->namespace_count; i++)
		free(s->namespace[i]);
	for (size_t i = 0; i < s->selector_count; i++)
		clv_kube_selector_free(s->selector[i]);
	free(s->namespace);
	free(s->selector);
	free(s->self);
	free(s->self_namespace);
	free(s);
}

/* A pod's own word: true, false, or nothing that counts. */
enum word { WORD_NONE, WORD_YES, WORD_NO };

static enum word select_word(const struct clv_kube_pod *pod)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	const char *text = clv_kube_pairs_get(&pod->annotations, CLV_TRACE_ANNOTATION);

	if (!text)
		return WORD_NONE;
	if (strcmp(text, "true") == 0)
		return WORD_YES;
	if (strcmp(text, "false") == 0)
		return WORD_NO;
	if (!atomic_flag_test_and_set(&told))
		clv_warn("pod %s/%s: annotation " CLV_TRACE_ANNOTATION " is neither \"true\" nor \"false\"; it is "
			 "ignored, there and on others",
			 pod->head.namespace, pod->head.name);
	return WORD_NONE;
}

static bool select_has_namespace(const struct clv_select *s, const char *namespace)
{
	for (size_t i = 0; i < s->namespace_count; i++)
		if (strcmp(s->namespace[i], "*") == 0 || strcmp(s->namespace[i], namespace) == 0)
			return true;
	return false;
}

static bool select_has_labels(const struct clv_select *s, const struct clv_kube_pairs *labels)
{
	for (size_t i = 0; i < s->selector_count; i++)
		if (clv_kube_selector_matches(s->selector[i], labels))
			return true;
	return !s->selector_count;
}

static bool select_is_self(const struct clv_select *s, const struct clv_kube_pod *pod)
{
	return s->self && strcmp(s->self, pod->head.name) == 0 &&
	       (!s->self_namespace || strcmp(s->self_namespace, pod->head.namespace) == 0);
}

enum clv_select_reason clv_select_pod(const struct clv_select *s, const struct clv_kube_pod *pod)
{
	enum word word = select_word(pod);

	if (pod->phase == CLV_KUBE_SUCCEEDED || pod->phase == CLV_KUBE_FAILED)
		return CLV_SELECT_ENDED;
	if (word != WORD_NONE)
		return word == WORD_YES ? CLV_SELECT_ANNOTATED : CLV_SELECT_OPTED_OUT;
	if (select_is_self(s, pod))
		return CLV_SELECT_SELF;
	if (!select_has_namespace(s, pod->head.namespace))
		return CLV_SELECT_OTHER_NAMESPACE;
	return select_has_labels(s, &pod->labels) ? CLV_SELECT_YES : CLV_SELECT_OTHER_LABELS;
}

bool clv_select_is_yes(enum clv_select_reason reason)
{
	return reason == CLV_SELECT_YES || reason == CLV_SELECT_ANNOTATED;
}

const char *clv_select_text(enum clv_select_reason reason)
{
	static const char *const texts[] = {
		[CLV_SELECT_YES] = "it is selected",
		[CLV_SELECT_ANNOTATED] = "its annotation " CLV_TRACE_ANNOTATION " says so",
		[CLV_SELECT_OPTED_OUT] = "its annotation " CLV_TRACE_ANNOTATION " says no",
		[CLV_SELECT_OTHER_NAMESPACE] = "its namespace is not watched",
		[CLV_SELECT_OTHER_LABELS] = "no selector matches its labels",
		[CLV_SELECT_ENDED] = "it has ended",
		[CLV_SELECT_SELF] = "it is this agent's own",
	};

	return texts[reason];
}
