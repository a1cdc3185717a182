/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols built in. A new one adds its line here. Read-only, any thread. */
#include "proto/proto.h"

#include <string.h>

#include "proto/http1.h"

const struct clv_proto *const clv_protos[] = {
	&clv_http1,
	NULL,
};

const struct clv_proto *clv_proto_find(const char *name)
{
	for (const struct clv_proto *const *p = clv_protos; *p; p++)
		if (strcmp((*p)->name, name) == 0)
			return *p;
	return NULL;
}
