/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocols that there are: those built in, each one file with one const struct clv_proto, listed in registry.c,
 * and those that plugins brought. What a protocol is: include/clovisor/proto.h. The laws that stand there are run by
 * tests/laws on every one built in.
 */
#ifndef CLV_PROTO_PROTO_H
#define CLV_PROTO_PROTO_H

#include "clovisor/proto.h"

/* Every protocol, NULL-ended; those built in come first. */
extern const struct clv_proto *const *clv_protos;

/* By name; NULL when there is none. */
const struct clv_proto *clv_proto_find(const char *name);

/* Protocols that plugins may bring. */
#define CLV_PROTOS_ADDED 64

/*
 * Adds one at the end, for as long as the program lives. Before the engine runs; main thread. Returns 0, -EEXIST when
 * there is one of that name, or -ENOSPC.
 */
int clv_proto_add(const struct clv_proto *proto);

/* "http, dns, redis": their names as one text, cut to `size`. Returns `text`. */
const char *clv_proto_names(char *text, size_t size);

#endif
