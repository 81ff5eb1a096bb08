// SPDX-License-Identifier: GPL-3.0-or-later

package ranges

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		name                                             string
		cluster, service, dns                            []string
		wantCluster, wantService, wantDNS, wantAPI, dual string
	}{
		{"defaults", nil, nil, nil, "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "10.43.0.1", "false"},
		{"DNS follows the Services", nil, []string{"10.96.0.0/12"}, nil, "10.42.0.0/16", "10.96.0.0/12", "10.96.0.10", "10.96.0.1", "false"},
		{
			"dual stack in one value",
			[]string{"10.42.0.0/16,fd00:42::/56"}, []string{"10.43.0.0/16, fd00:43::/112"}, nil,
			"10.42.0.0/16,fd00:42::/56", "10.43.0.0/16,fd00:43::/112", "10.43.0.10,fd00:43::a", "10.43.0.1", "true",
		},
		{
			"dual stack in lists, a range by an address in it",
			[]string{"10.42.0.0/16", "fd00:42::1/56"}, []string{"10.43.0.0/16", "fd00:43::/112"}, []string{"10.43.0.53", "fd00:43::35"},
			"10.42.0.0/16,fd00:42::/56", "10.43.0.0/16,fd00:43::/112", "10.43.0.53,fd00:43::35", "10.43.0.1", "true",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Parse(test.cluster, test.service, test.dns)
			if err != nil {
				t.Fatal(err)
			}
			dual := map[bool]string{true: "true", false: "false"}[r.DualStack()]
			for got, want := range map[string]string{
				Join(r.Cluster): test.wantCluster, Join(r.Service): test.wantService, Join(r.DNS): test.wantDNS,
				r.Kubernetes().String(): test.wantAPI, dual: test.dual,
			} {
				if got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	const pods, services = "10.42.0.0/16,fd00:42::/56", "10.43.0.0/16,fd00:43::/112"
	for name, test := range map[string]struct{ cluster, service, dns, want string }{
		"pods alone have both families":     {pods, "10.43.0.0/16", "", "not of the same families"},
		"Services alone have both families": {"", services, "", "not of the same families"},
		"two ranges of IPv4":                {"10.42.0.0/16,10.44.0.0/16", services, "", "cluster-cidr 10.42.0.0/16,10.44.0.0/16"},
		"two ranges of IPv6":                {pods, "fd00:43::/112,fd00:44::/112", "", "service-cidr fd00:43::/112,fd00:44::/112"},
		"IPv6 first":                        {"fd00:42::/56,10.42.0.0/16", services, "", "the second is IPv6"},
		"IPv6 alone":                        {"fd00:42::/56", "fd00:43::/112", "", "one range is IPv4"},
		"three ranges":                      {pods + ",10.44.0.0/16", services, "", "there are 3 ranges"},
		"no range":                          {"10.42.0.0", "", "", "cluster-cidr 10.42.0.0 is not a range"},
		"a /64 for all nodes together":      {"10.42.0.0/16,fd00:42::/64", services, "", "/48 to /63"},
		"DNS out of the range":              {"", "10.50.0.0/16", "10.43.0.10", "10.43.0.10 is not in service-cidr 10.50.0.0/16"},
		"DNS of IPv6 out of the range":      {pods, services, "10.43.0.10,fd00:42::a", "fd00:42::a is not in service-cidr fd00:43::/112"},
		"DNS in the wrong order":            {pods, services, "fd00:43::a,10.43.0.10", "fd00:43::a is not in service-cidr 10.43.0.0/16"},
		"one DNS address for two ranges":    {pods, services, "10.43.0.10", "has 2 ranges"},
		"two DNS addresses for one range":   {"", "", "10.43.0.10,fd00:43::a", "has 1 ranges"},
		"no address":                        {"", "", "dns", "cluster-dns dns is not an address"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]string{test.cluster}, []string{test.service}, []string{test.dns})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
		})
	}
}
