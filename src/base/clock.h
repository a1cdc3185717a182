/* SPDX-License-Identifier: Apache-2.0 */
/* The clock that deadlines go by, and what a thread uses. Any thread. */
#ifndef CLV_BASE_CLOCK_H
#define CLV_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clv_clock_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Nanoseconds since 1970: CLOCK_REALTIME. */
static inline uint64_t clv_clock_unix_ns(void)
{
	return clv_clock_of(CLOCK_REALTIME);
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clv_clock_ns(void)
{
	return clv_clock_of(CLOCK_MONOTONIC);
}

/* The same as it was at the kernel's last tick, up to 10 ms ago; for a part of the price. */
static inline uint64_t clv_clock_coarse_ns(void)
{
	return clv_clock_of(CLOCK_MONOTONIC_COARSE);
}

/* Nanoseconds of processor time that the calling thread has had. */
static inline uint64_t clv_clock_thread_ns(void)
{
	return clv_clock_of(CLOCK_THREAD_CPUTIME_ID);
}

/* CLOCK_MONOTONIC in `ms`, as pthread_cond_timedwait() takes it where the condition goes by CLOCK_MONOTONIC. */
static inline struct timespec clv_clock_after(unsigned ms)
{
	uint64_t ns = clv_clock_ns() + ms * 1000000ull;

	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

#endif
