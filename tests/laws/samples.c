/* SPDX-License-Identifier: Apache-2.0 */
/* The samples that the laws are run on: one for each registered protocol. */
#include "talk.h"

/* clang-format off */
const struct talk_sample *const talk_samples[] = {
	&talk_dns_tcp,
	&talk_dns_udp,
	&talk_http1,
	&talk_http2,
	&talk_mysql,
	&talk_postgresql,
	&talk_redis,
	&talk_tls,
	&talk_websocket,
	NULL,
};
