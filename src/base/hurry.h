/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that run ahead of others. Packets do not wait: at the usual priority a busy machine can keep a thread from
 * running for 100 ms, while a window is over in a millisecond; so those that read packets, and who writes down what
 * they make of many, run before others, as they need microseconds at a time. Should a flood ever keep one of them busy
 * for CLV_HURRY_BURST_US without a pause, the kernel says so, and all of them take their turn like everybody else, each
 * until it has been idle again. Without the privilege they have to do as they are.
 *
 * A thread that has time may let everybody go before it, as long as somebody calls it when it has none (cli/caller.h).
 * What it starts meanwhile rests as well.
 */
#ifndef CLV_BASE_HURRY_H
#define CLV_BASE_HURRY_H

#include <stdbool.h>

#define CLV_HURRY_BURST_US 50000
#define CLV_HURRY_THREADS  16
/* Seats that are taken; several lanes have those behind the first. */
#define CLV_HURRY_LANE   0 /* the only one; otherwise the main thread's */
#define CLV_HURRY_CALLER 15
#define CLV_HURRY_OUTPUT 14

/* The calling thread runs ahead from here on. `seat`: its number, below CLV_HURRY_THREADS. False: it may not. */
bool clv_hurry(unsigned seat);
/* The calling thread ends. */
void clv_hurry_leave(unsigned seat);
/* It does not any more, since there was a flood or it rests. A thread that is idle may call clv_hurry() again. */
bool clv_hurry_is_over(unsigned seat);

/* The calling thread, which runs ahead: may it rest, and run ahead again? If so it does as before. */
bool clv_hurry_can_rest(void);
/* Another thread's seat, if that runs ahead: it rests from here on, that is, runs where nobody else wants to. */
void clv_hurry_rest(unsigned seat);
/* Does the seat's thread rest? Any thread. */
bool clv_hurry_rests(unsigned seat);
/* If it does, it runs ahead again. Any thread, while there is the seat's. */
void clv_hurry_call(unsigned seat);

#endif
