/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin's talks (struct clv_talk_source) as samples for the laws. Main thread. */
#ifndef CLV_LAWS_PLUGIN_H
#define CLV_LAWS_PLUGIN_H

#include "laws/talk.h"

/*
 * The sample of a protocol; without a source (NULL) it makes no talks. Fills *out, which borrows both; one at a time in
 * a process.
 */
void laws_plugin_sample(const struct clv_proto *proto, const struct clv_talk_source *source, struct talk_sample *out);

/* Does a talk of the source say what its spans must say? */
bool laws_plugin_tells(const struct talk_sample *sample);

#endif
