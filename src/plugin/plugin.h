/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins: shared objects that add protocols. One is loaded once and never unloaded; it runs as this program, with all
 * that this program may do. So its file is looked at first. Main thread, before the engine runs.
 */
#ifndef CLV_PLUGIN_PLUGIN_H
#define CLV_PLUGIN_PLUGIN_H

#include "clovisor/proto.h"

/* The longest reason, with the file's name in it. */
#define CLV_PLUGIN_WHY 512

/*
 * Loads the file and adds its protocols to the registry. `path` has a slash in it: the system's library directories are
 * never searched. A file that is loaded already is good. Returns 0 with the plugin in *out (NULL is allowed), or
 * -EINVAL with the reason and the next step in `why`, of CLV_PLUGIN_WHY bytes; then nothing was added.
 *
 * Refused: what is no regular file; what somebody else than root and this user could change (the file, or a directory
 * above it); another ABI; a name that is not lower case, or is taken; a protocol without its functions.
 */
int clv_plugin_load(const char *path, const struct clv_plugin **out, char *why);

#endif
