#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Takes k3s off this node, data included.
set -eu
[ "$(id -u)" = 0 ] || { echo "k3s-uninstall.sh: root is needed" >&2; exit 1; }
/usr/local/bin/k3s-killall.sh

for unit in k3s k3s-agent; do
  if [ -e "/etc/systemd/system/$unit.service" ]; then
    systemctl disable "$unit"
    rm -f "/etc/systemd/system/$unit.service" "/etc/systemd/system/$unit.service.env"
  fi
done
systemctl daemon-reload
rm -rf /etc/rancher/k3s /var/lib/kubelet
# Images may be mounted in from outside: what a mount holds is not this node's to delete.
find /var/lib/rancher/k3s -xdev -mindepth 1 -depth \( -type d -empty -o ! -type d \) -delete
for name in kubectl crictl ctr; do
  if [ "$(readlink "/usr/local/bin/$name")" = k3s ]; then rm -f "/usr/local/bin/$name"; fi
done
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh /usr/local/bin/k3s-uninstall.sh /usr/local/bin/k3s-agent-uninstall.sh
