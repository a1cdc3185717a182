/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 section 4). Any thread. */
#ifndef CLV_BASE_BASE64_H
#define CLV_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* So many bytes `len` bytes become, padded; and at most so many `len` characters do. */
#define CLV_BASE64_ENCODED(len) (((len) + 2) / 3 * 4)
#define CLV_BASE64_DECODED(len) ((len) / 4 * 3 + 3)

/* Writes CLV_BASE64_ENCODED(s.len) characters, and no NUL. Returns the end of them. */
char *clv_base64_encode(char *out, struct clv_slice s);
/*
 * Padded or not, of the alphabet for URLs (section 5) as well, with blanks and line ends anywhere. false: it is none,
 * or longer than `size`.
 */
bool clv_base64_decode(struct clv_slice s, uint8_t *out, size_t size, size_t *len);

#endif
