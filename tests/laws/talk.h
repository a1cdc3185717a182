/* SPDX-License-Identifier: Apache-2.0 */
/* The samples that the laws are run on: one for each protocol built in. What a talk is: src/laws/talk.h. */
#ifndef CLV_TESTS_LAWS_TALK_H
#define CLV_TESTS_LAWS_TALK_H

#include "laws/talk.h"

extern const struct talk_sample talk_dns_tcp;
extern const struct talk_sample talk_dns_udp;
extern const struct talk_sample talk_http1;
extern const struct talk_sample talk_http2;
extern const struct talk_sample talk_mysql;
extern const struct talk_sample talk_postgresql;
extern const struct talk_sample talk_redis;
extern const struct talk_sample talk_tls;
extern const struct talk_sample talk_websocket;

/* All of them, NULL-ended (samples.c). A new protocol adds its line there. */
extern const struct talk_sample *const talk_samples[];

#endif
