#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Ends k3s on this node together with its containers, mounts and network. Data stays.
set -eu
[ "$(id -u)" = 0 ] || { echo "k3s-killall.sh: root is needed" >&2; exit 1; }

for unit in k3s k3s-agent; do
  if systemctl is-active --quiet "$unit"; then systemctl stop "$unit"; fi
done

# A container's processes are its shim's descendants; leaves first, so that none is adopted meanwhile.
descendants() {
  for child in $(pgrep -P "$1"); do
    descendants "$child"
    echo "$child"
  done
}
for shim in $(pgrep -f '/containerd-shim-runc-v2 .*/run/k3s/containerd/'); do
  for pid in $(descendants "$shim") "$shim"; do
    # One that has ended by itself meanwhile is just as well.
    if [ -d "/proc/$pid" ]; then kill -9 "$pid" || [ ! -d "/proc/$pid" ]; fi
  done
done

# Mounts under mounts go first: longest paths first.
for tree in /run/k3s /var/lib/kubelet/pods /run/netns/cni-; do
  awk -v tree="$tree" 'index($2, tree) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mount; do
    umount -l "$mount"
  done
done
rm -f /run/netns/cni-*
if ip link show cni0 >/dev/null 2>&1; then ip link delete cni0; fi
rm -rf /var/lib/cni /run/k3s

for tool in iptables ip6tables; do
  if command -v "$tool-save" >/dev/null; then
    "$tool-save" | grep -Ev 'KUBE-|CNI-|k3s pod' | "$tool-restore"
  fi
done
