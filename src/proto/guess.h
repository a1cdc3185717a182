/* SPDX-License-Identifier: Apache-2.0 */
/* What a flow looks like that no parser wants. Good enough for a word in a connection record, not for reading it. */
#ifndef CLV_PROTO_GUESS_H
#define CLV_PROTO_GUESS_H

#include <stdbool.h>

#include "base/slice.h"

/*
 * `first`: the first bytes of either direction of a stream, or a datagram. Returns a word that lives as long as the
 * program, or NULL: nothing that is known here. Pure, any thread.
 */
const char *clv_guess(struct clv_slice first, bool datagram);

#endif
