// SPDX-License-Identifier: GPL-3.0-or-later

// Package config reads the command line and the configuration files of the
// k3s-shaped program by k3s's rules.
package config

// Kind says how the values of a flag add up when it is given several times.
type Kind int

const (
	Scalar Kind = iota // the last one wins
	Switch             // a bool; without a value it is true
	List               // each one adds
)

// Flag is one flag of `k3s server` or `k3s agent`.
type Flag struct {
	Name  string
	Short string // one-letter form, if any
	Kind  Kind
	Agent bool // agents know it too
	Env   string
}

// Flags are all flags the program knows. A key of a configuration file that is
// not among them is skipped with a warning, as k3s does.
var Flags = []Flag{
	{Name: "config", Short: "c", Agent: true, Env: "K3S_CONFIG_FILE"},
	{Name: "debug", Kind: Switch, Agent: true, Env: "K3S_DEBUG"},
	{Name: "data-dir", Short: "d", Agent: true, Env: "K3S_DATA_DIR"},
	{Name: "token", Short: "t", Agent: true, Env: "K3S_TOKEN"},
	{Name: "token-file", Agent: true, Env: "K3S_TOKEN_FILE"},
	{Name: "server", Short: "s", Agent: true, Env: "K3S_URL"},
	{Name: "cluster-init", Kind: Switch, Env: "K3S_CLUSTER_INIT"},
	{Name: "tls-san", Kind: List},
	{Name: "cluster-cidr", Kind: List},
	{Name: "service-cidr", Kind: List},
	{Name: "cluster-dns", Kind: List},
	{Name: "cluster-domain"},
	{Name: "disable", Kind: List},
	{Name: "disable-agent", Kind: Switch},
	{Name: "disable-helm-controller", Kind: Switch},
	{Name: "egress-selector-mode"},
	{Name: "write-kubeconfig", Short: "o", Env: "K3S_KUBECONFIG_OUTPUT"},
	{Name: "write-kubeconfig-mode", Env: "K3S_KUBECONFIG_MODE"},
	{Name: "kube-apiserver-arg", Kind: List},
	{Name: "kube-controller-manager-arg", Kind: List},
	{Name: "kube-scheduler-arg", Kind: List},
	{Name: "node-name", Agent: true, Env: "K3S_NODE_NAME"},
	{Name: "node-ip", Kind: List, Agent: true},
	{Name: "node-label", Kind: List, Agent: true},
	{Name: "node-taint", Kind: List, Agent: true},
	{Name: "pause-image", Agent: true},
	{Name: "kubelet-arg", Kind: List, Agent: true},
	{Name: "kube-proxy-arg", Kind: List, Agent: true},
}

// lookup finds a flag by its long or one-letter name for the command at hand.
func lookup(command, name string) (Flag, bool) {
	for _, f := range Flags {
		if name == f.Name || (f.Short != "" && name == f.Short) {
			if command == "agent" && !f.Agent {
				return Flag{}, false
			}
			return f, true
		}
	}
	return Flag{}, false
}
