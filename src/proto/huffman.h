/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPACK's Huffman code (RFC 7541 section 5.2, appendix B), as far as it has the bytes that names and values are made
 * of. Pure; any thread.
 */
#ifndef CLV_PROTO_HUFFMAN_H
#define CLV_PROTO_HUFFMAN_H

#include <sys/types.h>

#include "base/slice.h"

/*
 * Decodes `in` into room[0..cap). Returns the bytes of the text; -1: there is a byte in it that is none of the common
 * ones, or no room, or it is no such code at all.
 */
ssize_t clv_huffman_decode(struct clv_slice in, char *room, size_t cap);

#endif
