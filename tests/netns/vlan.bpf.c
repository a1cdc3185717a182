// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Tags for pods on kernels without VLAN devices: egress of a pod's eth0 pushes 802.1Q, or 802.1Q in 802.1ad;
 * ingress takes off what is there. A test's tool, no part of clovisor.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TAG         0x8100
#define SERVICE_TAG 0x88a8

SEC("tag/push")
int push(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, bpf_htons(TAG), 5);
	return 0;
}

SEC("tag/push2")
int push2(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, bpf_htons(TAG), 5);
	bpf_skb_vlan_push(skb, bpf_htons(SERVICE_TAG), 6);
	return 0;
}

SEC("tag/pop")
int pop(struct __sk_buff *skb)
{
	bpf_skb_vlan_pop(skb);
	if (skb->vlan_present || skb->protocol == bpf_htons(TAG))
		bpf_skb_vlan_pop(skb);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
