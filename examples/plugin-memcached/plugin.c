/* SPDX-License-Identifier: Apache-2.0 */
/* What clovisor finds when it loads this. */
#define CLOVISOR_PLUGIN
#include "memcached.h"

const struct clv_host *memcached_host;

static const struct clv_proto *const protos[] = {&memcached_proto, NULL};
static const struct clv_talk_source *const talks[] = {&memcached_talk, NULL};

const struct clv_plugin clovisor_plugin = {
	CLV_PLUGIN_HEADER,       .name = "memcached", .version = "1.0",
	.host = &memcached_host, .protos = protos,    .talks = talks,
};
