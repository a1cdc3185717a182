/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom telemetry is about: the resource of OpenTelemetry, one for each workload. A span names its resource by
 * pointer, everything that outlives the span by the resource's id.
 *
 * One table belongs to one thread, the engine's. A resource never changes: another one, with another id, takes its
 * place.
 */
#ifndef CLV_MODEL_RESOURCE_H
#define CLV_MODEL_RESOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* The longest service.name in bytes. */
#define CLV_SERVICE_MAX    255
#define CLV_RESOURCE_ATTRS 32
/* Keys and values together. */
#define CLV_RESOURCE_BYTES 4096

struct clv_resource_attr {
	struct clv_slice key, value; /* of the resource itself */
};

struct clv_resource {
	uint32_t id; /* from 1 on; none is given twice in a process */
	uint32_t count;
	struct clv_resource_attr attr[CLV_RESOURCE_ATTRS]; /* service.name first */
	size_t used;
	char text[CLV_RESOURCE_BYTES];
};

struct clv_resources;

/* What has no resource of its own gets one with this service.name and `more`. Returns as clv_resources_set(). */
int clv_resources_new(struct clv_slice service, const struct clv_resource_attr *more, size_t count,
		      struct clv_resources **out);
void clv_resources_free(struct clv_resources *rs);

/*
 * The resource of what is captured at `net` becomes one with this service.name and `count` further attributes, which
 * are copied. Returns 0, -ENOMEM, or -E2BIG when they are too many or too long; then nothing changes.
 */
int clv_resources_set(struct clv_resources *rs, uint32_t net, struct clv_slice service,
		      const struct clv_resource_attr *more, size_t count);
/* From now on gone() is told of each resource before it is freed, but not by clv_resources_free(). */
void clv_resources_watch(struct clv_resources *rs, void (*gone)(void *ctx, uint32_t id), void *ctx);

/* Nothing is captured there any more: what still comes from there is the default's. */
void clv_resources_remove(struct clv_resources *rs, uint32_t net);

/* The value of the attribute with that key; empty: there is none. Borrowed from the resource. */
struct clv_slice clv_resource_value(const struct clv_resource *r, struct clv_slice key);

/* Never NULL. Borrowed until the resource of that `net` is set or removed. */
const struct clv_resource *clv_resources_get(const struct clv_resources *rs, uint32_t net);

#endif
