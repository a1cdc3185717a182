/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as hashes of what all observers of an exchange see alike. Pure; any thread. */
#include "trace/ids.h"

#include <endian.h>
#include <string.h>

#include "base/apart.h"
#include "base/hash.h"

/* Part of the format: another seed gives other ids, and two versions of clovisor would no longer agree. */
#define IDS_SEED 0x636c6f7669736f72ull /* "clovisor" */

static inline void put_nonzero(uint8_t out[8], uint64_t v)
{
	uint64_t big = clv_apart(htobe64(v ? v : 1));

	memcpy(out, &big, sizeof(big));
}

void clv_ids_derive(struct clv_span *span, uint32_t request_seq, uint32_t response_seq, struct clv_slice head)
{
	uint64_t seed = IDS_SEED ^ ((uint64_t)request_seq << 32 | response_seq);
	XXH128_hash_t h = XXH3_128bits_withSeed(head.data, head.len, seed);
	uint64_t trace[2] = {h.high64, h.low64};

	put_nonzero(span->trace_id, trace[0]);
	put_nonzero(span->trace_id + 8, trace[1]);
	put_nonzero(span->span_id, clv_hash(trace, sizeof(trace), span->kind));
	if (span->has_parent)
		put_nonzero(span->parent_id, clv_hash(trace, sizeof(trace), CLV_KIND_CLIENT));
}
