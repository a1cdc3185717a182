/* SPDX-License-Identifier: Apache-2.0 */
/* Every metric and every label there is, once; docs/metrics.md says what they mean. Of the registry only. */
#ifndef CLV_EXPORT_METRICS_NAMES_H
#define CLV_EXPORT_METRICS_NAMES_H

/* Which bounds a histogram has. */
enum scale_kind { NO_BOUNDS, REQUEST_BOUNDS, DB_BOUNDS, TCP_BOUNDS, SIZE_BOUNDS, BOUND_KINDS };

#define NS 1e9

/* X(id, name, unit, type, divisor, bounds, help). Families of a class stand together. */
#define FAMILIES(X)                                                                                                   \
	X(SERVER_DURATION, "http.server.request.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                        \
	  "Duration of HTTP server requests, from the first byte of the request to the last of the response.")        \
	X(SERVER_REQUEST_SIZE, "http.server.request.body.size", "By", HISTOGRAM, 1, SIZE_BOUNDS,                      \
	  "Size of HTTP server request bodies.")                                                                      \
	X(SERVER_RESPONSE_SIZE, "http.server.response.body.size", "By", HISTOGRAM, 1, SIZE_BOUNDS,                    \
	  "Size of HTTP server response bodies.")                                                                     \
	X(CLIENT_DURATION, "http.client.request.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                        \
	  "Duration of HTTP client requests, from the first byte of the request to the last of the response.")        \
	X(CLIENT_REQUEST_SIZE, "http.client.request.body.size", "By", HISTOGRAM, 1, SIZE_BOUNDS,                      \
	  "Size of HTTP client request bodies.")                                                                      \
	X(CLIENT_RESPONSE_SIZE, "http.client.response.body.size", "By", HISTOGRAM, 1, SIZE_BOUNDS,                    \
	  "Size of HTTP client response bodies.")                                                                     \
	X(RPC_SERVER, "rpc.server.call.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                                 \
	  "Duration of remote procedure calls that came in.")                                                         \
	X(RPC_CLIENT, "rpc.client.call.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                                 \
	  "Duration of remote procedure calls that went out.")                                                        \
	X(DB_SERVER, "clovisor.db.server.operation.duration", "s", HISTOGRAM, NS, DB_BOUNDS,                          \
	  "Duration of database operations, at the database.")                                                        \
	X(DB_CLIENT, "db.client.operation.duration", "s", HISTOGRAM, NS, DB_BOUNDS,                                   \
	  "Duration of database client operations.")                                                                  \
	X(DNS_SERVER, "clovisor.dns.server.lookup.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                      \
	  "Time taken to answer a DNS query, at the DNS server.")                                                     \
	X(DNS_CLIENT, "dns.lookup.duration", "s", HISTOGRAM, NS, REQUEST_BOUNDS,                                      \
	  "Time taken to perform a DNS lookup.")                                                                      \
	X(SERVER_ACTIVE, "http.server.active_requests", "{request}", UPDOWN, 1, NO_BOUNDS,                            \
	  "Number of active HTTP server requests.")                                                                   \
	X(SERVER_UNPAIRED, "clovisor.http.server.unpaired", "{request}", COUNTER, 1, NO_BOUNDS,                       \
	  "HTTP server requests whose response was not seen, without an error that says why.")                        \
	X(CLIENT_ACTIVE, "http.client.active_requests", "{request}", UPDOWN, 1, NO_BOUNDS,                            \
	  "Number of active HTTP client requests.")                                                                   \
	X(CLIENT_UNPAIRED, "clovisor.http.client.unpaired", "{request}", COUNTER, 1, NO_BOUNDS,                       \
	  "HTTP client requests whose response was not seen, without an error that says why.")                        \
	X(OTHER_SERVER_ACTIVE, "clovisor.server.active_requests", "{request}", UPDOWN, 1, NO_BOUNDS,                  \
	  "Number of active requests to servers of other protocols than HTTP.")                                       \
	X(OTHER_SERVER_UNPAIRED, "clovisor.server.unpaired", "{request}", COUNTER, 1, NO_BOUNDS,                      \
	  "Such requests whose response was not seen, without an error that says why.")                               \
	X(OTHER_CLIENT_ACTIVE, "clovisor.client.active_requests", "{request}", UPDOWN, 1, NO_BOUNDS,                  \
	  "Number of active requests by clients of other protocols than HTTP.")                                       \
	X(OTHER_CLIENT_UNPAIRED, "clovisor.client.unpaired", "{request}", COUNTER, 1, NO_BOUNDS,                      \
	  "Such requests whose response was not seen, without an error that says why.")                               \
	X(TCP_OPENED, "clovisor.tcp.connections.opened", "{connection}", COUNTER, 1, NO_BOUNDS,                       \
	  "TCP connections that were begun by a SYN.")                                                                \
	X(TCP_CLOSED, "clovisor.tcp.connections.closed", "{connection}", COUNTER, 1, NO_BOUNDS,                       \
	  "TCP connections that both ends have closed.")                                                              \
	X(TCP_RESET, "clovisor.tcp.connections.reset", "{connection}", COUNTER, 1, NO_BOUNDS,                         \
	  "TCP connections that a RST ended.")                                                                        \
	X(TCP_FAILED, "clovisor.tcp.connections.failed", "{connection}", COUNTER, 1, NO_BOUNDS,                       \
	  "TCP connections whose SYN was refused or never answered.")                                                 \
	X(TCP_CONNECT, "clovisor.tcp.connect.duration", "s", HISTOGRAM, NS, TCP_BOUNDS,                               \
	  "Time from the first SYN to the SYN-ACK, at the place of capture.")                                         \
	X(TCP_RTT, "clovisor.tcp.rtt", "s", HISTOGRAM, NS, TCP_BOUNDS,                                                \
	  "Time from a segment to its acknowledgement, from the place of capture to the far end and back.")           \
	X(TCP_RETRANSMITS, "clovisor.tcp.retransmits", "{segment}", COUNTER, 1, NO_BOUNDS,                            \
	  "TCP segments that were seen again.")                                                                       \
	X(TCP_IO, "clovisor.tcp.io", "By", COUNTER, 1, NO_BOUNDS, "TCP payload, each byte counted once.")             \
	X(UDP_IO, "clovisor.udp.io", "By", COUNTER, 1, NO_BOUNDS, "UDP payload.")                                     \
	X(UDP_DATAGRAMS, "clovisor.udp.datagrams", "{datagram}", COUNTER, 1, NO_BOUNDS, "UDP datagrams.")             \
	X(DROPPED, "clovisor.dropped", "1", COUNTER, 1, NO_BOUNDS,                                                    \
	  "What clovisor lost or gave up, by reason; bytes where the reason says so.")                                \
	X(PACKETS, "clovisor.packets", "{packet}", COUNTER, 1, NO_BOUNDS, "Packets that clovisor's hooks have seen.") \
	X(PACKET_BYTES, "clovisor.packet.bytes", "By", COUNTER, 1, NO_BOUNDS, "Bytes of those packets.")              \
	X(RECORDS, "clovisor.records", "{record}", COUNTER, 1, NO_BOUNDS, "Records from the kernel to user space.")   \
	X(RECORD_BYTES, "clovisor.record.bytes", "By", COUNTER, 1, NO_BOUNDS, "Bytes of those records.")              \
	X(SPANS, "clovisor.spans", "{span}", COUNTER, 1, NO_BOUNDS, "Spans made, before sampling and filters.")       \
	X(CONNECTIONS_ACTIVE, "clovisor.connections.active", "{connection}", GAUGE, 1, NO_BOUNDS,                     \
	  "Connections in clovisor's table.")                                                                         \
	X(MEMORY_USED, "clovisor.memory.used", "By", GAUGE, 1, NO_BOUNDS, "Memory in use, of what --memory allows.")  \
	X(EXPORT_SPANS, "clovisor.export.spans", "{span}", COUNTER, 1, NO_BOUNDS,                                     \
	  "Spans given to the exporter, by what became of them.")                                                     \
	X(EXPORT_REQUESTS, "clovisor.export.requests", "{request}", COUNTER, 1, NO_BOUNDS,                            \
	  "Requests to the collector, by what became of them.")                                                       \
	X(EXPORT_QUEUE_USED, "clovisor.export.queue.used", "By", GAUGE, 1, NO_BOUNDS,                                 \
	  "Bytes that wait to be exported.")                                                                          \
	X(ENGINE_LAG, "clovisor.engine.lag", "s", GAUGE, NS, NO_BOUNDS, "How far the engine is behind the packets.")  \
	X(METRIC_SERIES, "clovisor.metric.series", "{series}", GAUGE, 1, NO_BOUNDS, "Series in this registry.")

/* In the order in which they are exported. */
#define LABELS(X)                                   \
	X(METHOD, "http.request.method")            \
	X(ROUTE, "http.route")                      \
	X(TEMPLATE, "url.template")                 \
	X(STATUS, "http.response.status_code")      \
	X(RPC_SYSTEM, "rpc.system.name")            \
	X(RPC_METHOD, "rpc.method")                 \
	X(RPC_STATUS, "rpc.response.status_code")   \
	X(DB_SYSTEM, "db.system.name")              \
	X(DB_NAMESPACE, "db.namespace")             \
	X(DB_OPERATION, "db.operation.name")        \
	X(DB_COLLECTION, "db.collection.name")      \
	X(DB_PROCEDURE, "db.stored_procedure.name") \
	X(DB_SUMMARY, "db.query.summary")           \
	X(DB_STATUS, "db.response.status_code")     \
	X(DNS_NAME, "dns.question.name")            \
	X(ERROR_TYPE, "error.type")                 \
	X(SCHEME, "url.scheme")                     \
	X(PROTOCOL, "network.protocol.name")        \
	X(VERSION, "network.protocol.version")      \
	X(ADDRESS, "server.address")                \
	X(PORT, "server.port")                      \
	X(DIRECTION, "network.io.direction")        \
	X(ROLE, "clovisor.tcp.role")                \
	X(REASON, "clovisor.drop.reason")           \
	X(RESULT, "clovisor.export.result")         \
	X(OVERFLOW, "otel.metric.overflow")

#endif
