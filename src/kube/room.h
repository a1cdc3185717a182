/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays that grow. */
#ifndef CLV_KUBE_ROOM_H
#define CLV_KUBE_ROOM_H

#include <stddef.h>
#include <stdlib.h>

/* The array with room for one element more than `count`, perhaps elsewhere; NULL without memory: then it stays. */
static inline void *clv_room(void *array, size_t count, size_t *cap, size_t size)
{
	size_t more = *cap ? 2 * *cap : 64;

	if (count < *cap)
		return array;

	void *larger = reallocarray(array, more, size);

	if (larger)
		*cap = more;
	return larger;
}

#endif
