/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: a label selector, tried on labels. The parser reads nothing beyond the text, keeps within its room, and
 * says why it refuses; what it takes is matched.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kube/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct clv_kube_pair pairs[] = {{"a", "b"}, {"empty", ""}, {"in", "in"}, {"n", "7"}};
	static const struct clv_kube_pairs labels = {sizeof(pairs) / sizeof(*pairs), pairs}, none = {0};
	char why[CLV_KUBE_SELECTOR_WHY] = "", *text = malloc(size + 1); /* its own, so that reading beyond it is seen */
	struct clv_kube_selector *s;

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (clv_kube_selector_parse(text, &s, why)) {
		assert(*why && memchr(why, '\0', sizeof(why)));
	} else {
		clv_kube_selector_matches(s, &labels);
		clv_kube_selector_matches(s, &none);
		clv_kube_selector_free(s);
	}
	free(text);
	return 0;
}
