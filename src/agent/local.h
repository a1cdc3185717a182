/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of this network namespace's interfaces, without the loopback's and
 * those of one link. Any thread.
 */
#ifndef CLV_AGENT_LOCAL_H
#define CLV_AGENT_LOCAL_H

#include <stddef.h>

#include "base/addr.h"

#define CLV_LOCAL_MAX 256

/* Returns how many, at most CLV_LOCAL_MAX: the first of them; 0 also when the system does not say. */
size_t clv_local_addresses(struct clv_addr out[CLV_LOCAL_MAX]);

#endif
