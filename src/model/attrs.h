/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every attribute a span can carry, once: X(IDENTIFIER, "name"). Names are OpenTelemetry's semantic
 * conventions v1.44; clovisor.* is for what only an observer of the wire knows.
 */
#ifndef CLV_MODEL_ATTRS_H
#define CLV_MODEL_ATTRS_H

#define CLV_ATTRS(X)                                                     \
	X(HTTP_REQUEST_METHOD, "http.request.method")                    \
	X(HTTP_REQUEST_METHOD_ORIGINAL, "http.request.method_original")  \
	X(HTTP_RESPONSE_STATUS_CODE, "http.response.status_code")        \
	X(HTTP_REQUEST_BODY_SIZE, "http.request.body.size")              \
	X(HTTP_RESPONSE_BODY_SIZE, "http.response.body.size")            \
	X(URL_FULL, "url.full")                                          \
	X(URL_PATH, "url.path")                                          \
	X(URL_QUERY, "url.query")                                        \
	X(URL_SCHEME, "url.scheme")                                      \
	X(HTTP_ROUTE, "http.route")                                      \
	X(URL_TEMPLATE, "url.template")                                  \
	X(USER_AGENT_ORIGINAL, "user_agent.original")                    \
	X(SERVER_ADDRESS, "server.address")                              \
	X(SERVER_PORT, "server.port")                                    \
	X(CLIENT_ADDRESS, "client.address")                              \
	X(CLIENT_PORT, "client.port")                                    \
	X(NETWORK_PEER_ADDRESS, "network.peer.address")                  \
	X(NETWORK_PEER_PORT, "network.peer.port")                        \
	X(NETWORK_PROTOCOL_NAME, "network.protocol.name")                \
	X(NETWORK_PROTOCOL_VERSION, "network.protocol.version")          \
	X(NETWORK_TRANSPORT, "network.transport")                        \
	X(NETWORK_TYPE, "network.type")                                  \
	X(ERROR_TYPE, "error.type")                                      \
	X(CLOVISOR_TIME_TO_FIRST_BYTE, "clovisor.time_to_first_byte_ns") \
	X(CLOVISOR_CONNECTION_REUSED, "clovisor.connection.reused")      \
	X(CLOVISOR_RETRANSMITS, "clovisor.retransmits")                  \
	X(CLOVISOR_TRUNCATED, "clovisor.truncated")                      \
	X(CLOVISOR_GAP, "clovisor.gap")                                  \
	X(CLOVISOR_MIDSTREAM, "clovisor.midstream")                      \
	X(CLOVISOR_UNPAIRED, "clovisor.unpaired")                        \
	X(CLOVISOR_FRAMING_CONFLICT, "clovisor.http.framing_conflict")   \
	X(CLOVISOR_REQUEST_ID, "clovisor.request_id")

enum clv_attr_key {
#define X(id, name) CLV_ATTR_##id,
	CLV_ATTRS(X)
#undef X
		CLV_ATTR_COUNT
};

/* The attribute's name. */
const char *clv_attr_name(enum clv_attr_key key);

#endif
