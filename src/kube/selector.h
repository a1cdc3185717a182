/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Label selectors as kubectl -l takes them: a=b, a==b, a!=b, a in (x,y), a notin (x,y), a, !a, a>1, a<1, joined by
 * commas. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/; the API's own rules for keys and
 * values hold. Immutable: any thread.
 */
#ifndef CLV_KUBE_SELECTOR_H
#define CLV_KUBE_SELECTOR_H

#include <stdbool.h>

#include "kube/objects.h"

#define CLV_KUBE_SELECTOR_WHY 160

struct clv_kube_selector;

/* Returns 0, -ENOMEM, or -EINVAL with what is wrong, and where, in `why`. The empty text selects everything. */
int clv_kube_selector_parse(const char *text, struct clv_kube_selector **out, char why[CLV_KUBE_SELECTOR_WHY]);
/* NULL is allowed. */
void clv_kube_selector_free(struct clv_kube_selector *s);
bool clv_kube_selector_matches(const struct clv_kube_selector *s, const struct clv_kube_pairs *labels);

#endif
