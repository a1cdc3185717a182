/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel and these privileges allow, for `clovisor check`. Each function tests one thing by trying it
 * and leaves nothing behind.
 */
#ifndef CLV_SOURCE_PROBE_H
#define CLV_SOURCE_PROBE_H

enum clv_probe_state {
	CLV_PROBE_OK,
	CLV_PROBE_WARN, /* clovisor runs, with less */
	CLV_PROBE_FAIL, /* clovisor cannot run live */
};

struct clv_probe {
	const char *name;
	enum clv_probe_state state;
	char detail[160];
	char remedy[200]; /* empty when there is nothing to do */
};

typedef struct clv_probe (*clv_probe_fn)(void);

/* Every test, in the order to print them; NULL-ended. */
extern const clv_probe_fn clv_probes[];

#endif
