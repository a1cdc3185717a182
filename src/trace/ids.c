/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as hashes of what all observers of an exchange see alike. Pure; any thread. */
#include "trace/ids.h"

#include <endian.h>

#include "base/hash.h"

/* Part of the format: another seed gives other ids, and two versions of clovisor would no longer agree. */
#define IDS_SEED 0x636c6f7669736f72ull /* "clovisor" */

static uint64_t nonzero(uint64_t v)
{
	return htobe64(v ? v : 1);
}

struct clv_exchange_ids clv_ids_derive(uint32_t request_seq, uint32_t response_seq, struct clv_slice head)
{
	uint64_t seed = IDS_SEED ^ ((uint64_t)request_seq << 32 | response_seq);
	XXH128_hash_t h = XXH3_128bits_withSeed(head.data, head.len, seed);
	uint64_t trace[2] = {h.high64, h.low64};

	return (struct clv_exchange_ids){
		.trace_id = {nonzero(trace[0]), nonzero(trace[1])},
		.client_span_id = nonzero(clv_hash(trace, sizeof(trace), CLV_KIND_CLIENT)),
		.server_span_id = nonzero(clv_hash(trace, sizeof(trace), CLV_KIND_SERVER)),
	};
}
