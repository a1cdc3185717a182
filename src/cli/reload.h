/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file read again: on SIGHUP, and when it changes. A file that is not valid, or cannot be read, is
 * told and changes nothing. Main thread.
 */
#ifndef CLV_CLI_RELOAD_H
#define CLV_CLI_RELOAD_H

#include "cli/options.h"

/* A change is taken up when nothing has happened for this long... */
#define CLV_RELOAD_QUIET_NS (100ull * 1000 * 1000)
/* ...or when this has passed since it began. */
#define CLV_RELOAD_LATEST_NS (1000ull * 1000 * 1000)
/* How often the file system is asked what it has noticed. */
#define CLV_RELOAD_POLL_NS (50ull * 1000 * 1000)

struct clv_reload;

/*
 * Takes options that are ready to take the place of others, all of whose settings that take effect at once may differ.
 * Whatever borrows from `old` must have let go of it on return. Returns 0, or -errno to leave things as they were.
 */
typedef int (*clv_reload_fn)(void *ctx, const struct clv_options *old, const struct clv_options *now);

/* From here on SIGHUP is kept for clv_reload_poll(), and no longer ends the process. */
void clv_reload_signal(void);

/*
 * `line`: the command line, which names the file; `first`: the options in effect. Both are borrowed until close.
 * When the directory cannot be watched, a warning says so, and SIGHUP is left.
 * Returns 0 or -ENOMEM.
 */
int clv_reload_open(const struct clv_options *line, const struct clv_options *first, struct clv_reload **out);
/* May be NULL. Frees the options that reloads made. */
void clv_reload_close(struct clv_reload *r);

/*
 * Between polls: reads the file when it is time to, and if something in it has changed calls `reload`. `now_ns` is
 * of a monotonic clock. Returns the options in effect, which stay valid until the next call; `first` itself stays
 * until close.
 */
const struct clv_options *clv_reload_poll(struct clv_reload *r, uint64_t now_ns, clv_reload_fn reload, void *ctx);

#endif
