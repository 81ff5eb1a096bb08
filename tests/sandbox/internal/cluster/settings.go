// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"strings"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/ranges"
	"k3s-ha.core/sandbox/internal/topology"
)

// settingsOf reads what the servers' settings say of addresses, and refuses what k3s would refuse at its start, or
// would wait for in vain: before anything is built or made.
func settingsOf(o Options) (ranges.Ranges, error) {
	fleet, err := topology.Fleet(o.Topology)
	if err != nil {
		return ranges.Ranges{}, failure.New(failure.Usage, "%v", err)
	}
	var pods []string
	if fleet > 0 {
		pods = []string{topology.FleetPods}
	}
	services, dns := values(o.ServerArgs, "service-cidr", nil), values(o.ServerArgs, "cluster-dns", nil)
	r, err := ranges.Parse(values(o.ServerArgs, "cluster-cidr", pods), services, dns)
	if err != nil {
		return r, failure.New(failure.Usage, "--server-arg: %v", err)
	}
	return r, nil
}

// values are those of a setting by k3s's rules for a file after another one: KEY in the place of what was before, KEY+
// besides.
func values(args []string, key string, before []string) []string {
	var instead, besides []string
	for _, arg := range args {
		switch k, value, _ := strings.Cut(arg, "="); k {
		case key:
			instead = append(instead, value)
		case key + "+":
			besides = append(besides, value)
		}
	}
	if len(instead) > 0 {
		before = instead
	}
	return append(append([]string(nil), before...), besides...)
}
