/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every attribute a span can carry, once: X(IDENTIFIER, "name"). Names are OpenTelemetry's semantic
 * conventions v1.44; clovisor.* is for what only an observer of the wire knows.
 */
#ifndef CLV_MODEL_ATTRS_H
#define CLV_MODEL_ATTRS_H

#define CLV_ATTRS(X)                                                                  \
	X(HTTP_REQUEST_METHOD, "http.request.method")                                 \
	X(HTTP_REQUEST_METHOD_ORIGINAL, "http.request.method_original")               \
	X(HTTP_RESPONSE_STATUS_CODE, "http.response.status_code")                     \
	X(HTTP_REQUEST_BODY_SIZE, "http.request.body.size")                           \
	X(HTTP_RESPONSE_BODY_SIZE, "http.response.body.size")                         \
	X(URL_FULL, "url.full")                                                       \
	X(URL_PATH, "url.path")                                                       \
	X(URL_QUERY, "url.query")                                                     \
	X(URL_SCHEME, "url.scheme")                                                   \
	X(HTTP_ROUTE, "http.route")                                                   \
	X(URL_TEMPLATE, "url.template")                                               \
	X(RPC_SYSTEM_NAME, "rpc.system.name")                                         \
	X(RPC_METHOD, "rpc.method")                                                   \
	X(RPC_METHOD_ORIGINAL, "rpc.method_original")                                 \
	X(RPC_RESPONSE_STATUS_CODE, "rpc.response.status_code")                       \
	X(DB_SYSTEM_NAME, "db.system.name")                                           \
	X(DB_NAMESPACE, "db.namespace")                                               \
	X(DB_OPERATION_NAME, "db.operation.name")                                     \
	X(DB_OPERATION_BATCH_SIZE, "db.operation.batch.size")                         \
	X(DB_COLLECTION_NAME, "db.collection.name")                                   \
	X(DB_STORED_PROCEDURE_NAME, "db.stored_procedure.name")                       \
	X(DB_QUERY_SUMMARY, "db.query.summary")                                       \
	X(DB_QUERY_TEXT, "db.query.text")                                             \
	X(DB_RESPONSE_STATUS_CODE, "db.response.status_code")                         \
	X(DB_RESPONSE_RETURNED_ROWS, "db.response.returned_rows")                     \
	X(DNS_QUESTION_NAME, "dns.question.name")                                     \
	X(DNS_ANSWERS, "dns.answers")                                                 \
	X(USER_AGENT_ORIGINAL, "user_agent.original")                                 \
	X(SERVER_ADDRESS, "server.address")                                           \
	X(SERVER_PORT, "server.port")                                                 \
	X(CLIENT_ADDRESS, "client.address")                                           \
	X(CLIENT_PORT, "client.port")                                                 \
	X(NETWORK_PEER_ADDRESS, "network.peer.address")                               \
	X(NETWORK_PEER_PORT, "network.peer.port")                                     \
	X(NETWORK_PROTOCOL_NAME, "network.protocol.name")                             \
	X(NETWORK_PROTOCOL_VERSION, "network.protocol.version")                       \
	X(NETWORK_TRANSPORT, "network.transport")                                     \
	X(NETWORK_TYPE, "network.type")                                               \
	X(ERROR_TYPE, "error.type")                                                   \
	X(SERVICE_PEER_NAME, "service.peer.name")                                     \
	X(SERVICE_PEER_NAMESPACE, "service.peer.namespace")                           \
	X(CLOVISOR_PEER_KIND, "clovisor.peer.kind")                                   \
	X(CLOVISOR_PEER_NAMESPACE, "clovisor.peer.k8s.namespace.name")                \
	X(CLOVISOR_PEER_POD, "clovisor.peer.k8s.pod.name")                            \
	X(CLOVISOR_PEER_SERVICE, "clovisor.peer.k8s.service.name")                    \
	X(CLOVISOR_PEER_NODE, "clovisor.peer.k8s.node.name")                          \
	X(CLOVISOR_PEER_WORKLOAD_KIND, "clovisor.peer.k8s.workload.kind")             \
	X(CLOVISOR_PEER_WORKLOAD_NAME, "clovisor.peer.k8s.workload.name")             \
	X(CLOVISOR_TIME_TO_FIRST_BYTE, "clovisor.time_to_first_byte_ns")              \
	X(CLOVISOR_CONNECTION_REUSED, "clovisor.connection.reused")                   \
	X(CLOVISOR_RETRANSMITS, "clovisor.retransmits")                               \
	X(CLOVISOR_TRUNCATED, "clovisor.truncated")                                   \
	X(CLOVISOR_GAP, "clovisor.gap")                                               \
	X(CLOVISOR_MIDSTREAM, "clovisor.midstream")                                   \
	X(CLOVISOR_UNPAIRED, "clovisor.unpaired")                                     \
	X(CLOVISOR_FRAMING_CONFLICT, "clovisor.http.framing_conflict")                \
	X(CLOVISOR_REQUEST_ID, "clovisor.request_id")                                 \
	X(CLOVISOR_CANCELLED, "clovisor.cancelled")                                   \
	X(CLOVISOR_MESSAGES_SENT, "clovisor.messages.sent")                           \
	X(CLOVISOR_MESSAGES_RECEIVED, "clovisor.messages.received")                   \
	X(CLOVISOR_BYTES_SENT, "clovisor.bytes.sent")                                 \
	X(CLOVISOR_BYTES_RECEIVED, "clovisor.bytes.received")                         \
	X(CLOVISOR_DB_ROWS_AFFECTED, "clovisor.db.rows_affected")                     \
	X(CLOVISOR_DB_SQLSTATE, "clovisor.db.sqlstate")                               \
	X(CLOVISOR_DB_USER, "clovisor.db.user")                                       \
	X(CLOVISOR_ERROR_MESSAGE, "clovisor.error.message")                           \
	X(CLOVISOR_DNS_TYPE, "clovisor.dns.question.type")                            \
	X(CLOVISOR_DNS_CLASS, "clovisor.dns.question.class")                          \
	X(CLOVISOR_DNS_QUESTION_COUNT, "clovisor.dns.question.count")                 \
	X(CLOVISOR_DNS_OPCODE, "clovisor.dns.opcode")                                 \
	X(CLOVISOR_DNS_RCODE, "clovisor.dns.response_code")                           \
	X(CLOVISOR_DNS_ANSWER_COUNT, "clovisor.dns.answer_count")                     \
	X(CLOVISOR_DNS_TRUNCATED, "clovisor.dns.truncated")                           \
	X(CLOVISOR_DNS_MALFORMED, "clovisor.dns.malformed")                           \
	X(CLOVISOR_GRPC_TIMEOUT, "clovisor.grpc.timeout_ns")                          \
	X(CLOVISOR_WEBSOCKET_TEXT_SENT, "clovisor.websocket.text.sent")               \
	X(CLOVISOR_WEBSOCKET_TEXT_RECEIVED, "clovisor.websocket.text.received")       \
	X(CLOVISOR_WEBSOCKET_BINARY_SENT, "clovisor.websocket.binary.sent")           \
	X(CLOVISOR_WEBSOCKET_BINARY_RECEIVED, "clovisor.websocket.binary.received")   \
	X(CLOVISOR_WEBSOCKET_CONTROL_SENT, "clovisor.websocket.control.sent")         \
	X(CLOVISOR_WEBSOCKET_CONTROL_RECEIVED, "clovisor.websocket.control.received") \
	X(CLOVISOR_WEBSOCKET_CLOSED_BY, "clovisor.websocket.closed_by")               \
	X(CLOVISOR_WEBSOCKET_CLOSE_CODE, "clovisor.websocket.close_code")

enum clv_attr_key {
#define X(id, name) CLV_ATTR_##id,
	CLV_ATTRS(X)
#undef X
		CLV_ATTR_COUNT
};

/*
 * A name of which nothing stands above has a key from CLV_ATTR_COUNT on, given when the name is first met and good for
 * as long as the program runs. Engine thread.
 */
#define CLV_ATTR_NAMES_MAX 512

/* The attribute's name, whichever kind it is of. */
const char *clv_attr_name(enum clv_attr_key key);

/*
 * The key of a name: letters, digits, "_", "." and "-", the first one a letter, at most CLV_ATTR_NAME_MAX of them.
 * -EINVAL when it is not like that, -ENOSPC when there are too many. The name is copied.
 */
int clv_attr_key(const char *name);

#endif
