// SPDX-License-Identifier: GPL-3.0-or-later

// Package ranges knows the address ranges of a cluster: IPv4 alone, or IPv4 and IPv6 side by side (dual stack).
package ranges

import (
	"fmt"
	"net/netip"
	"strings"
)

// k3s's defaults.
const (
	defaultCluster = "10.42.0.0/16"
	defaultService = "10.43.0.0/16"

	apiIndex = 1  // of the Service kubernetes in its range
	dnsIndex = 10 // of the Service kube-dns, where no address is given

	// The controller manager gives each node a /64 of the pods' range, and takes no range with more than 65,536 of them.
	widestPods, narrowestPods = 48, 63
)

// Ranges are a cluster's: of each kind one, or two in the order IPv4, IPv6.
type Ranges struct {
	Cluster, Service []netip.Prefix // of pods, of Services
	DNS              []netip.Addr   // of the Service kube-dns, one in each range of Services
}

// Parse reads cluster-cidr, service-cidr and cluster-dns. Each is a list, as k3s takes it, and a value may hold several
// with commas between. An empty list means k3s's default. The error says which setting is wrong, and why.
func Parse(cluster, service, dns []string) (Ranges, error) {
	var r Ranges
	var err error
	if r.Cluster, err = prefixes("cluster-cidr", cluster, defaultCluster); err != nil {
		return r, err
	}
	if r.Service, err = prefixes("service-cidr", service, defaultService); err != nil {
		return r, err
	}
	if len(r.Cluster) != len(r.Service) {
		return r, fmt.Errorf("cluster-cidr %s and service-cidr %s are not of the same families: IPv4, or IPv4 and IPv6",
			Join(r.Cluster), Join(r.Service))
	}
	if r.DualStack() {
		if bits := r.Cluster[1].Bits(); bits < widestPods || bits > narrowestPods {
			return r, fmt.Errorf("cluster-cidr %s is not a /%d to /%d, of which each node gets a /64",
				r.Cluster[1], widestPods, narrowestPods)
		}
	}
	r.DNS, err = addresses(Split(dns), r.Service)
	return r, err
}

// DualStack says whether there are ranges of both families.
func (r Ranges) DualStack() bool { return len(r.Service) == 2 }

// Kubernetes is the address of the Service default/kubernetes, which has one of the first family alone.
func (r Ranges) Kubernetes() netip.Addr { return nth(r.Service[0], apiIndex) }

// Join writes a list as the components take it.
func Join[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.String()
	}
	return strings.Join(texts, ",")
}

// Split takes a list of values apart, each of which may hold several with commas between.
func Split(list []string) []string {
	var out []string
	for _, s := range list {
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one != "" {
				out = append(out, one)
			}
		}
	}
	return out
}

func prefixes(key string, values []string, absent string) ([]netip.Prefix, error) {
	texts := Split(values)
	if len(texts) == 0 {
		texts = []string{absent}
	}
	if len(texts) > 2 {
		return nil, fmt.Errorf("%s %s: there are %d ranges, and at most one of each family is possible",
			key, strings.Join(texts, ","), len(texts))
	}
	var list []netip.Prefix
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s %s is not a range such as %s", key, text, absent)
		}
		if p.Addr().Is4() != (i == 0) {
			return nil, fmt.Errorf("%s %s: one range is IPv4, and of two the second is IPv6", key, strings.Join(texts, ","))
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func addresses(texts []string, service []netip.Prefix) ([]netip.Addr, error) {
	var list []netip.Addr
	if len(texts) == 0 {
		for _, p := range service {
			list = append(list, nth(p, dnsIndex))
		}
		return list, nil
	}
	if len(texts) != len(service) {
		return nil, fmt.Errorf("cluster-dns %s: service-cidr has %d ranges, and one address is in each of them",
			strings.Join(texts, ","), len(service))
	}
	for i, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("cluster-dns %s is not an address", text)
		}
		if !service[i].Contains(address) {
			return nil, fmt.Errorf("cluster-dns %s is not in service-cidr %s, whose place it has", address, service[i])
		}
		list = append(list, address)
	}
	return list, nil
}

// nth is an address of a range by its number.
func nth(p netip.Prefix, n int) netip.Addr {
	address := p.Addr()
	for range n {
		address = address.Next()
	}
	return address
}
