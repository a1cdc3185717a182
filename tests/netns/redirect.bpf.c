// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What some network plugins do: a packet that a pod sends goes straight into the pod that it is for, past the node's
 * end of that pod's veth. PEER is the ifindex of that end, MAC the address of the pod's. A test's tool, no part of
 * clovisor.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP  0x0800
#define IP6 0x86dd
#define TCP 6

SEC("tc")
int redirect(struct __sk_buff *skb)
{
	const __u8 mac[6] = {MAC};
	__u8 next = 0;

	if (skb->protocol == bpf_htons(IP6))
		bpf_skb_load_bytes(skb, 14 + 6, &next, 1);
	if (skb->protocol != bpf_htons(IP) && next != TCP) /* IPv6's neighbours have to be found as ever */
		return TC_ACT_OK;
	bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0);
	return bpf_redirect_peer(PEER, 0);
}

char _license[] SEC("license") = "Dual BSD/GPL";
