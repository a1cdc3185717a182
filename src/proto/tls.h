/* SPDX-License-Identifier: Apache-2.0 */
/* TLS (RFC 8446, RFC 5246): recognised, and what its hellos say of the connection. It has no messages. */
#ifndef CLV_PROTO_TLS_H
#define CLV_PROTO_TLS_H

#include "proto/proto.h"

/* A hello that is longer is read as far as this. Those of browsers have 0.5 to 4 KiB. */
#define CLV_TLS_HELLO_BYTES 16384u

extern const struct clv_proto clv_tls;

#endif
