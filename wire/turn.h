/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose turn a connection is, where several workers share them: the kernel's choice, and that of who reads a file. */
#ifndef CLV_WIRE_TURN_H
#define CLV_WIRE_TURN_H

#include <linux/types.h>

/*
 * A number that, modulo `workers` (not 0), tells whose the connection with these ports is; the same either way round.
 * To it belongs one that goes by the addresses. A client's connections, whose ports follow each other in steps of one
 * or, on Linux, two, go to all workers in turns: few of them are shared out evenly, too, also where a balancer before
 * deals each second or fourth of them to this server.
 */
static inline __u32 clv_turn(__u16 sport, __u16 dport, __u32 workers)
{
	__u32 turn = ((__u32)sport + dport) >> 1;

	return turn + turn / workers + ((turn >> 7) * 0x9e3779b1u >> 16);
}

#endif
