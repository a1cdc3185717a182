/* SPDX-License-Identifier: Apache-2.0 */
/* A span as most are, for tests and benches of what writes spans. It has no resource. */
#ifndef CLV_TESTS_USUAL_SPAN_H
#define CLV_TESTS_USUAL_SPAN_H

#include "model/span.h"

static inline struct clv_span usual_span(void)
{
	struct clv_span s = {
		.trace_id = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31,
			     0x9c},
		.span_id = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31},
		.name = CLV_LIT("GET"),
		.kind = CLV_KIND_SERVER,
		.start_ns = 1700000000123456789,
		.end_ns = 1700000000124456789,
	};

	clv_span_str(&s, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("GET"));
	clv_span_str(&s, CLV_ATTR_URL_PATH, CLV_LIT("/api/v1/items/4711/details"));
	clv_span_str(&s, CLV_ATTR_URL_QUERY, CLV_LIT("page=3&size=50&sort=name"));
	clv_span_str(&s, CLV_ATTR_URL_SCHEME, CLV_LIT("http"));
	clv_span_str(&s, CLV_ATTR_SERVER_ADDRESS, CLV_LIT("shop.default.svc.cluster.local"));
	clv_span_int(&s, CLV_ATTR_SERVER_PORT, 8080);
	clv_span_str(&s, CLV_ATTR_CLIENT_ADDRESS, CLV_LIT("10.244.3.17"));
	clv_span_int(&s, CLV_ATTR_CLIENT_PORT, 54321);
	clv_span_str(&s, CLV_ATTR_NETWORK_PEER_ADDRESS, CLV_LIT("10.244.3.17"));
	clv_span_int(&s, CLV_ATTR_NETWORK_PEER_PORT, 54321);
	clv_span_str(&s, CLV_ATTR_NETWORK_PROTOCOL_VERSION, CLV_LIT("1.1"));
	clv_span_str(&s, CLV_ATTR_NETWORK_TRANSPORT, CLV_LIT("tcp"));
	clv_span_str(&s, CLV_ATTR_NETWORK_TYPE, CLV_LIT("ipv4"));
	clv_span_int(&s, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, 200);
	clv_span_str(&s, CLV_ATTR_USER_AGENT_ORIGINAL,
		     CLV_LIT("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"));
	clv_span_int(&s, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, 0);
	clv_span_int(&s, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, 123456);
	clv_span_int(&s, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE, 812345);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, true);
	clv_span_int(&s, CLV_ATTR_CLOVISOR_RETRANSMITS, -1);
	return s;
}

#endif
