// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

// What cannot be is refused by up itself, and nothing of a cluster is there then.
func TestUpRefusesAddresses(t *testing.T) {
	const pods, services = "cluster-cidr=10.42.0.0/16,fd00:42::/56", "service-cidr=10.43.0.0/16,fd00:43::/112"
	for name, test := range map[string]struct {
		topology string
		args     []string
		want     string
	}{
		"pods alone of both families":       {"single", []string{pods}, "not of the same families"},
		"Services alone of both families":   {"single", []string{services}, "not of the same families"},
		"two of one family":                 {"single", []string{pods, "service-cidr=10.43.0.0/16,10.44.0.0/16"}, "service-cidr 10.43.0.0/16,10.44.0.0/16"},
		"three":                             {"single", []string{pods, "cluster-cidr+=fd00:44::/56", services}, "there are 3 ranges"},
		"DNS out of the range":              {"single", []string{"service-cidr=10.50.0.0/16", "cluster-dns=10.43.0.10"}, "is not in service-cidr 10.50.0.0/16"},
		"DNS in the wrong order":            {"single", []string{pods, services, "cluster-dns=fd00:43::a,10.43.0.10"}, "is not in service-cidr 10.43.0.0/16"},
		"DNS for one of two":                {"single", []string{pods, services, "cluster-dns=10.43.0.10"}, "service-cidr has 2 ranges"},
		"DNS for two of one":                {"single", []string{"cluster-dns=10.43.0.10", "cluster-dns=fd00:43::a"}, "service-cidr has 1 ranges"},
		"a fleet whose pods are of one":     {"fleet:3", []string{services}, "cluster-cidr 10.64.0.0/10"},
		"a fleet with a third of its pods'": {"fleet:3", []string{"cluster-cidr+=fd00:42::/56", "cluster-cidr+=fd00:44::/56", services}, "there are 3 ranges"},
		"no such fleet":                     {"fleet:0", nil, "fleet:0"},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "clusters")
			t.Setenv("SANDBOX_DIR", root)
			err := Up(Options{Name: "unit", Topology: test.topology, ServerArgs: test.args})
			if failure.Exit(err) != failure.Usage || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
			if _, err := os.Stat(root); !os.IsNotExist(err) {
				t.Errorf("something was made: %v", err)
			}
		})
	}
}

func TestUpTakesBothFamilies(t *testing.T) {
	for name, args := range map[string][]string{
		"in one value": {"cluster-cidr=10.42.0.0/16,fd00:42::/56", "service-cidr=10.43.0.0/16,fd00:43::/112"},
		"one by one":   {"cluster-cidr=10.42.0.0/16", "cluster-cidr=fd00:42::/56", "service-cidr=10.43.0.0/16", "service-cidr+=fd00:43::/112"},
	} {
		if r, err := settingsOf(Options{Topology: "small", ServerArgs: args}); err != nil || !r.DualStack() {
			t.Errorf("%s: %v %+v", name, err, r)
		}
	}
	if r, err := settingsOf(Options{Topology: "small", ServerArgs: []string{"node-taint=a=b:NoExecute"}}); err != nil || r.DualStack() {
		t.Errorf("nothing of addresses: %v %+v", err, r)
	}
}
