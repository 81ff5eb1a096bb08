// SPDX-License-Identifier: GPL-3.0-or-later

// Package scripts holds what lies beside k3s in /usr/local/bin of every node.
package scripts

import _ "embed"

// Killall is k3s-killall.sh: it ends k3s, its containers and its network.
//
//go:embed k3s-killall.sh
var Killall []byte

// Uninstall is k3s-uninstall.sh on servers, k3s-agent-uninstall.sh on agents.
//
//go:embed k3s-uninstall.sh
var Uninstall []byte
