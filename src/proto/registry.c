/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocols built in, and those that plugins added. A new one adds its line here. Changed on the main thread before
 * the engine runs, then read-only.
 */
#include "proto/proto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/dns.h"
#include "proto/http1.h"
#include "proto/http2.h"
#include "proto/mysql.h"
#include "proto/postgresql.h"
#include "proto/redis.h"
#include "proto/tls.h"
#include "proto/websocket.h"

static const struct clv_proto *const built_in[] = {
	&clv_http1,      /* HTTP/1.0, HTTP/1.1 */
	&clv_http2,      /* and gRPC */
	&clv_dns,        /* over UDP and TCP */
	&clv_postgresql, /* and who speaks like it */
	&clv_mysql,      /* MariaDB, too */
	&clv_redis,      /* RESP2, RESP3 */
	&clv_tls,        /* whom it is for; no requests */
	&clv_websocket,  /* behind an upgrade */
	NULL,
};

#define BUILT_IN (sizeof(built_in) / sizeof(built_in[0]) - 1)

/* Those and the added ones, once there are any. */
static const struct clv_proto *all[BUILT_IN + CLV_PROTOS_ADDED + 1];

const struct clv_proto *const *clv_protos = built_in;

const struct clv_proto *clv_proto_find(const char *name)
{
	for (const struct clv_proto *const *p = clv_protos; *p; p++)
		if (strcmp((*p)->name, name) == 0)
			return *p;
	return NULL;
}

int clv_proto_add(const struct clv_proto *proto)
{
	size_t count = 0;

	if (clv_proto_find(proto->name))
		return -EEXIST;
	while (clv_protos[count])
		count++;
	if (count == BUILT_IN + CLV_PROTOS_ADDED)
		return -ENOSPC;
	if (clv_protos == built_in)
		for (size_t i = 0; i < count; i++)
			all[i] = built_in[i];
	all[count] = proto;
	clv_protos = all;
	return 0;
}

const char *clv_proto_names(char *text, size_t size)
{
	size_t used = 0;

	*text = '\0';
	for (const struct clv_proto *const *p = clv_protos; *p && used < size; p++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", (*p)->name);
	return text;
}
