/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses belong to the cluster, learned from those that are known to: nodes' podCIDRs, pods, ClusterIPs. No
 * API says it for all clusters: with many a network plugin podCIDRs are empty, or not what pods get.
 *
 * What is near each other becomes one range, the smallest that holds it. Ranges are never given up. One thread.
 */
#ifndef CLV_AGENT_RANGES_H
#define CLV_AGENT_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define CLV_RANGES 8
/* No range that was put together is larger: 10.96.0.0/12, fd00:10:96::/48. Bits as struct clv_kube_range. */
#define CLV_RANGES_V4_BITS (96 + 12)
#define CLV_RANGES_V6_BITS 48

struct clv_ranges {
	size_t count;
	struct {
		struct clv_addr addr;
		uint8_t bits;
	} range[CLV_RANGES];
};

/* What shares the first `bits` of `addr` is the cluster's. Past CLV_RANGES nothing is learned. */
void clv_ranges_learn(struct clv_ranges *r, const struct clv_addr *addr, uint8_t bits);
bool clv_ranges_has(const struct clv_ranges *r, const struct clv_addr *addr);

/* Not of the Internet: RFC 1918, 6598 (100.64.0.0/10), 3927 and 4193, loopback, link-local. */
bool clv_addr_is_private(const struct clv_addr *a);

#endif
