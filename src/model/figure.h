/* SPDX-License-Identifier: Apache-2.0 */
/* A named count, as --stats and --summary print it. */
#ifndef CLV_MODEL_FIGURE_H
#define CLV_MODEL_FIGURE_H

#include <stdbool.h>
#include <stdint.h>

struct clv_figure {
	const char *name; /* the key in JSON */
	const char *text; /* for people */
	bool drop;        /* it counts something lost; in --summary it stands under "drops" */
	uint64_t value;
};

#endif
