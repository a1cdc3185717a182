/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the system for its addresses. Owns nothing. Any thread. */
#include "agent/local.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

/* false: of no family that is known here, or good for one link only: every pod's interface has one of these. */
static bool address_of(const struct sockaddr *from, struct clv_addr *out)
{
	if (from && from->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;

		*out = clv_addr_v4((const uint8_t *)&v4->sin_addr);
		return true;
	}
	if (from && from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;

		*out = clv_addr_v6(v6->sin6_addr.s6_addr);
		return !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
	}
	return false;
}

size_t clv_local_addresses(struct clv_addr out[CLV_LOCAL_MAX])
{
	struct ifaddrs *list;
	size_t count = 0;

	if (getifaddrs(&list))
		return 0;
	for (const struct ifaddrs *i = list; i && count < CLV_LOCAL_MAX; i = i->ifa_next)
		if (!(i->ifa_flags & IFF_LOOPBACK) && address_of(i->ifa_addr, &out[count]))
			count++;
	freeifaddrs(list);
	return count;
}
