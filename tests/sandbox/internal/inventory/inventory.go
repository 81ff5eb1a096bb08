// SPDX-License-Identifier: GPL-3.0-or-later

// Package inventory writes an Ansible inventory of a cluster in k3s-ansible's shape.
package inventory

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/internal/topology"
	"k3s-ha.core/sandbox/versions"
)

type group struct {
	Hosts map[string]map[string]any `json:"hosts"`
}

// Write returns the inventory as YAML. ssh goes through the sandbox's own proxy into the cluster's network.
func Write(c *state.Cluster) ([]byte, error) {
	release, err := versions.Find(c.Minor)
	if err != nil {
		return nil, err
	}
	groups := map[string]group{"server": {map[string]map[string]any{}}, "agent": {map[string]map[string]any{}}}
	for _, n := range c.Nodes {
		key := "server"
		if n.Role == topology.Agent {
			key = "agent"
		}
		// Ansible names its shared ssh connections by host: the cluster's name in it keeps two clusters apart.
		groups[key].Hosts[n.Name] = map[string]any{"ansible_host": Host(c, n)}
	}
	inventory := map[string]any{
		"k3s_cluster": map[string]any{
			"children": groups,
			"vars": map[string]any{
				"token":                        c.Token,
				"k3s_version":                  release.K3s(),
				"api_endpoint":                 c.Server().Address,
				"ansible_user":                 "root",
				"ansible_ssh_private_key_file": c.Path("ssh_key"),
				"ansible_ssh_common_args":      sshArgs(c),
				"ansible_python_interpreter":   "/usr/bin/python3",
			},
		},
	}
	return yaml.Marshal(inventory)
}

// Host is the name by which ssh knows a node: the proxy turns it into an address.
func Host(c *state.Cluster, n state.Node) string { return n.Name + "." + c.Name + ".sandbox" }

// Resolve is the address of a host that ssh asks for: a node's name with or without the cluster's, or an address.
func Resolve(c *state.Cluster, host string) string {
	name, _, _ := strings.Cut(host, ".")
	if n, err := c.Node(name); err == nil {
		return n.Address
	}
	return host
}

func sshArgs(c *state.Cluster) string {
	options := []string{
		"StrictHostKeyChecking=yes",
		"UserKnownHostsFile=" + c.Path("known_hosts"),
		"GlobalKnownHostsFile=/dev/null",
		fmt.Sprintf("ProxyCommand=%s --in %s proxy %%h %%p", c.Path("sandbox"), c.Dir),
	}
	var args strings.Builder
	for _, o := range options {
		fmt.Fprintf(&args, "-o %q ", o)
	}
	return strings.TrimSpace(args.String())
}
