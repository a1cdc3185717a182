/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as hashes of what all observers of an exchange see alike. Pure; any thread. */
#include "trace/ids.h"

#include <endian.h>
#include <string.h>

#include "base/hash.h"

/* Part of the format: another seed gives other ids, and two versions of clovisor would no longer agree. */
#define IDS_SEED 0x636c6f7669736f72ull /* "clovisor" */

static inline void put_nonzero(uint8_t out[8], uint64_t v)
{
	uint64_t big = htobe64(v ? v : 1);

	memcpy(out, &big, sizeof(big));
}

struct clv_exchange_ids clv_ids_derive(uint32_t request_seq, uint32_t response_seq, struct clv_slice head)
{
	struct clv_exchange_ids ids;
	uint64_t seed = IDS_SEED ^ ((uint64_t)request_seq << 32 | response_seq);
	XXH128_hash_t h = XXH3_128bits_withSeed(head.data, head.len, seed);
	uint64_t trace[2] = {h.high64, h.low64};

	put_nonzero(ids.trace_id, trace[0]);
	put_nonzero(ids.trace_id + 8, trace[1]);
	put_nonzero(ids.client_span_id, clv_hash(trace, sizeof(trace), CLV_KIND_CLIENT));
	put_nonzero(ids.server_span_id, clv_hash(trace, sizeof(trace), CLV_KIND_SERVER));
	return ids;
}
