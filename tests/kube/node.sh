#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The first process of a node (node.py): tests/kube/node.sh DIRECTORY NAME, in namespaces of its own.
#
# It makes the node look like a machine by itself, says so with DIRECTORY/ready, and stays as its init, which bash can
# be: it reaps orphans. When it ends the kernel ends all that runs on the node, and its mounts and interfaces go.
set -eu
top=$1
hostname "$2"

# The machine's named network namespaces would live as long as this copy of their mounts.
awk '$2 ~ "^/run(/|$)" {print $2}' /proc/self/mounts | tac | while read -r at; do
    umount -l "$at" || ! mountpoint -q "$at" # one that its owner removes meanwhile is gone from here, too
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$top/lib" "$top/log"
mount --bind "$top/lib" /var/lib
mount --bind "$top/log" /var/log

# /sys shows the network namespace of whoever mounted it. The cgroups below it are the machine's.
mkdir -p "$top/cgroup"
mount --rbind /sys/fs/cgroup "$top/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$top/cgroup" /sys/fs/cgroup
umount -lR "$top/cgroup"
mount -t bpf bpf /sys/fs/bpf

# Pods may get what is mounted later (mountPropagation); nothing of it leaves the node.
mount --make-rshared /
touch "$top/ready"
while :; do
    sleep 1000 &
    wait
done
