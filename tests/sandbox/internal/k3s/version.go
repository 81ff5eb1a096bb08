// SPDX-License-Identifier: GPL-3.0-or-later

// Package k3s holds what every part of the k3s-shaped program agrees on.
package k3s

import "k3s-ha.core/sandbox/versions"

// Version is what `k3s --version` prints.
func Version() string { return "v" + versions.Current().Kubernetes + "+k3s1" }
