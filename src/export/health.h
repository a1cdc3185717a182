/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the process is, for probes: does its engine's thread live, and is it ready? The engine's thread tells; any
 * thread asks, and gets words that say why not.
 */
#ifndef CLV_EXPORT_HEALTH_H
#define CLV_EXPORT_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

/* The engine's thread speaks several times a second; after a silence this long it is given up. */
#define CLV_HEALTH_SILENCE_NS (15ull * 1000 * 1000 * 1000)

/* Whatever somebody can wait for; each is waited for or not, apart from the others. */
enum clv_health_cause {
	CLV_HEALTH_CAPTURE, /* waited for from the start on */
	CLV_HEALTH_KUBERNETES,
	CLV_HEALTH_CAUSES
};

/* A cause's words; longer ones are cut. */
#define CLV_HEALTH_WHY  512
#define CLV_HEALTH_TEXT ((CLV_HEALTH_CAUSES + 1) * CLV_HEALTH_WHY)

struct clv_health;

/* Alive now, and "starting". Times are CLOCK_MONOTONIC. Returns 0 or -ENOMEM. */
int clv_health_new(struct clv_health **out);
/* When nobody asks any more. NULL is allowed. */
void clv_health_free(struct clv_health *h);

/* A sign of life. Cheap. NULL is allowed: nobody wants to know. */
void clv_health_alive(struct clv_health *h, uint64_t now_ns);
/* It waits for this, because of `why` (one line, copied); NULL: not any more. `h` may be NULL. */
void clv_health_wait(struct clv_health *h, enum clv_health_cause cause, const char *why);

/* Any thread. True and "ok", or false and a line for each reason; each line ends with a line feed. */
bool clv_health_is_alive(struct clv_health *h, uint64_t now_ns, char text[CLV_HEALTH_TEXT]);
/* Likewise. Who gives no sign of life is not ready. */
bool clv_health_is_ready(struct clv_health *h, uint64_t now_ns, char text[CLV_HEALTH_TEXT]);

#endif
