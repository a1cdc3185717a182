/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the socket of a packet knows of it, at a cgroup: where it comes from and goes to, and who still listens.
 */
#ifndef CLV_BPF_SOCKET_H
#define CLV_BPF_SOCKET_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#include "maps.h"
#include "parse.h"

/* A socket's fields are read one by one and at fixed offsets, or the verifier refuses: no sharing of code here. */
#define SOCKET_WORD(field)             \
	({                             \
		__u32 word_ = (field); \
		barrier_var(word_);    \
		word_;                 \
	})

/*
 * The endpoints as the packet's socket knows them, where it is connected: on the way to and from it addresses may have
 * been translated, of one direction before the program sees it, of the other behind.
 */
__noinline int socket_names(struct __sk_buff *skb, struct segment *s, bool outgoing)
{
	const struct bpf_sock *sk = skb->sk;

	if (!s || !sk || !sk->dst_port)
		return 0;
	union ip_addr *local = outgoing ? &s->src : &s->dst, *peer = outgoing ? &s->dst : &s->src;

	if (s->v6) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			local->w[i] = SOCKET_WORD(sk->src_ip6[i]);
			peer->w[i] = SOCKET_WORD(sk->dst_ip6[i]);
		}
	} else {
		local->w[3] = SOCKET_WORD(sk->src_ip4);
		peer->w[3] = SOCKET_WORD(sk->dst_ip4);
	}
	*(outgoing ? &s->sport : &s->dport) = SOCKET_WORD(sk->src_port);
	*(outgoing ? &s->dport : &s->sport) = bpf_ntohs(SOCKET_WORD(sk->dst_port));
	return 0;
}

/* Of the kernel's own structures no more than is read; where it stands in them is found out when the programs load. */
struct sock {
	__u8 sk_shutdown;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
} __attribute__((preserve_access_index));

#define RCV_SHUTDOWN 1

/*
 * Has the process closed a connection for reading, too? Once its FIN is acknowledged, such a socket is hardly more than
 * a memory, and what still comes for it is shown to no program.
 */
__noinline int socket_reads_no_more(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk)
		return 0;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return tcp && tcp->inet_conn.icsk_inet.sk.sk_shutdown & RCV_SHUTDOWN;
}

#endif
