// SPDX-License-Identifier: GPL-3.0-or-later

// Package topology says which nodes a named topology has and where they are.
package topology

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// The clusters' network is a part of 198.18.0.0/15, and of 2001:2::/48 for those of both families: the ranges for
// benchmarks, which no real host has. Every cluster has the same addresses, each in a network namespace of its own.
const (
	Gateway     = "198.18.0.1"
	PrefixBits  = 24
	PrefixBits6 = 64
)

// IPv6 is the address of IPv6 beside one of the clusters' network.
func IPv6(address string) string {
	return "2001:2::" + address[strings.LastIndexByte(address, '.')+1:]
}

type Role string

const (
	Server Role = "server"
	Agent  Role = "agent"
)

// Node is one machine of a cluster.
type Node struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	Address string `json:"address"`
	Zone    string `json:"zone,omitempty"`
}

// The zones of a topology that has them, in turn.
var zones = []string{"zone-a", "zone-b", "zone-c"}

var counts = map[string]struct {
	servers, agents int
	zones           bool
}{
	"single": {1, 0, false},
	"small":  {1, 2, false},
	"ha":     {3, 1, false},
	"zones":  {3, 3, true},
}

// FleetPods is the range of a fleet's pods.
const FleetPods = "10.64.0.0/10"

const (
	fleetPrefix = "fleet:"
	fleetMost   = 10000
)

// Names lists the topologies.
func Names() []string {
	names := make([]string, 0, len(counts))
	for n := range counts {
		names = append(names, n)
	}
	sort.Strings(names)
	return append(names, fleetPrefix+"N")
}

// Fleet is how many nodes a topology has beside the real ones, which exist for the API server alone.
func Fleet(name string) (int, error) {
	number, ok := strings.CutPrefix(name, fleetPrefix)
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > fleetMost {
		return 0, fmt.Errorf("the number in %q is not one from 1 to %d", name, fleetMost)
	}
	return n, nil
}

// Nodes returns the real nodes of a topology, servers first.
func Nodes(name string) ([]Node, error) {
	fleet, err := Fleet(name)
	if err != nil {
		return nil, err
	}
	c, ok := counts[name]
	if fleet > 0 {
		c, ok = counts["single"], true
	}
	if !ok {
		return nil, fmt.Errorf("no topology %q; there are %s", name, strings.Join(Names(), ", "))
	}
	var nodes []Node
	add := func(role Role, i, base int) {
		n := Node{Name: fmt.Sprintf("%s-%d", role, i), Role: role, Address: fmt.Sprintf("198.18.0.%d", base+i)}
		if c.zones {
			n.Zone = zones[(i-1)%len(zones)]
		}
		nodes = append(nodes, n)
	}
	for i := 1; i <= c.servers; i++ {
		add(Server, i, 10)
	}
	for i := 1; i <= c.agents; i++ {
		add(Agent, i, 20)
	}
	return nodes, nil
}
