/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the user-space half, in one place. wire/record.h holds the kernel's. */
#ifndef CLV_ENGINE_LIMITS_H
#define CLV_ENGINE_LIMITS_H

/* All flows, buffered segments, tails and pending requests together, by default (--memory). */
#define CLV_MEMORY_BYTES (64u << 20)

/* A head that is longer is reported truncated (RFC 9112 sets no limit; servers stop at 8 to 64 KiB). */
#define CLV_HEAD_BYTES (64u * 1024u)
/* The unconsumed tail the engine keeps per direction: one head and its terminator. */
#define CLV_TAIL_BYTES (CLV_HEAD_BYTES + 64u)
/* Requests waiting for their response on one connection; more are counted, not kept. */
#define CLV_PENDING_MAX 1024u
/* Their heads together: one client of a slow server must not take everybody's memory. */
#define CLV_PENDING_BYTES (4u << 20)
/* Out-of-order payload kept per direction before its first hole is given up. */
#define CLV_OOO_BYTES \
	(2560u << 10) /* all that the kernel copies behind a hole: an unframed window, and what is to spare */
#define CLV_OOO_SEGMENTS 1024u

/* What lies this far behind is no retransmission: no receiver's window is as large. */
#define CLV_BEHIND_BYTES (64u << 20)

/* An acknowledgement or a FIN this far past what was seen is taken for noise. */
#define CLV_ACK_AHEAD_BYTES (64ull << 20)

/* A reset this far past what was seen is taken for noise, or an attack. */
#define CLV_RST_AHEAD_BYTES (1ull << 20)

/* Bytes of a direction from its start on that may decide what it is. */
#define CLV_DETECT_BYTES 4096u
/* Packets of a connection joined midstream that are looked at before it is left alone. */
#define CLV_PROBE_PACKETS 64u
/* So often may a connection turn out to be something else than it looked like; then it is left alone. */
#define CLV_WITHDRAWALS 3u
/* Datagrams of a flow that are looked at before it is left alone. */
#define CLV_PROBE_DATAGRAMS 4u

/* A hole is given up this long (packet time) after... */
#define CLV_GAP_ACKED_NS   (100ull * 1000 * 1000)       /* ...the receiver is known to have the bytes */
#define CLV_GAP_UNACKED_NS (10ull * 1000 * 1000 * 1000) /* ...it appeared: a retransmission may still come */
/* A closed flow is remembered this long, so that its stragglers make no new one. */
#define CLV_LINGER_NS (200ull * 1000 * 1000)
/* A SYN that had no answer for so long has failed; Linux sends it again after 32 s at most, and then waits 64 s. */
#define CLV_SYN_NS (60ull * 1000 * 1000 * 1000)
/* A flow without packets is given up after this. */
#define CLV_IDLE_NS (600ull * 1000 * 1000 * 1000)
/* Likewise a flow of datagrams: what nobody has answered for so long stays unanswered. */
#define CLV_DATAGRAM_IDLE_NS (15ull * 1000 * 1000 * 1000)

/*
 * How far ahead of the parsed position the kernel may copy (it may go on while it has room, wire/record.h), and how far
 * where long bodies must be read for their frames, as chunked ones: a sender at 2 GB/s must not get past the window
 * before its reader wakes up.
 */
#define CLV_WINDOW_AHEAD        (768u * 1024u)
#define CLV_WINDOW_AHEAD_FRAMED (4096u * 1024u)
/* So much of it used: the window moves. */
#define CLV_WINDOW_STEP (32u * 1024u)
/* Bodies at least this long are skipped in the kernel; shorter ones cost less than the verdict. */
#define CLV_KERNEL_SKIP_BYTES (32u * 1024u)
/* Where a frame carries so many bytes that nobody reads, the kernel may walk over it and those behind it. */
#define CLV_KERNEL_WALK_BYTES 4096u
/* One SKIP verdict reaches at most this far; longer bodies renew it. */
#define CLV_KERNEL_SKIP_MAX (1u << 30)

#endif
