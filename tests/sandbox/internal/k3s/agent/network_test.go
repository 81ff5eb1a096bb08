// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func dualNode(addresses []string, pods ...string) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: corev1.NodeSpec{PodCIDRs: pods}}
	node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeHostName, Address: "other"})
	for _, a := range addresses {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return node
}

func TestRoutes(t *testing.T) {
	both := []string{"192.0.2.2", "2001:db8::2"}
	var calls []string
	var result error
	n := &network{
		routes: map[string]map[netip.Prefix]netip.Addr{},
		run: func(_ context.Context, name string, args ...string) error {
			calls = append(calls, name+" "+strings.Join(args, " "))
			return result
		},
	}
	for _, step := range []struct {
		name    string
		node    *corev1.Node
		removed bool
		fails   error
		want    []string // what comes first, and what comes then
		then    []string
	}{
		{name: "not registered in full", node: dualNode(nil, "10.42.1.0/24")},
		{name: "without pods", node: dualNode(both)},
		{
			name: "one family of pods, two of the node", node: dualNode(both, "10.42.1.0/24"),
			want: []string{"ip -4 route replace 10.42.1.0/24 via 192.0.2.2"},
		},
		{
			name: "two families", node: dualNode(both, "10.42.1.0/24", "fd00:42:0:1::/64"),
			want: []string{"ip -4 route replace 10.42.1.0/24 via 192.0.2.2", "ip -6 route replace fd00:42:0:1::/64 via 2001:db8::2"},
		},
		{
			name: "nothing new", node: dualNode(both, "10.42.1.0/24", "fd00:42:0:1::/64"),
			want: []string{"ip -4 route replace 10.42.1.0/24 via 192.0.2.2", "ip -6 route replace fd00:42:0:1::/64 via 2001:db8::2"},
		},
		{
			name: "another address: nothing goes", node: dualNode([]string{"192.0.2.3", "2001:db8::2"}, "10.42.1.0/24", "fd00:42:0:1::/64"),
			want: []string{"ip -4 route replace 10.42.1.0/24 via 192.0.2.3", "ip -6 route replace fd00:42:0:1::/64 via 2001:db8::2"},
		},
		{
			name: "another network: the old one goes last, and a failure keeps nothing back", fails: errors.New("no"),
			node: dualNode([]string{"192.0.2.3", "2001:db8::2"}, "10.42.7.0/24", "fd00:42:0:1::/64"),
			want: []string{"ip -4 route replace 10.42.7.0/24 via 192.0.2.3", "ip -6 route replace fd00:42:0:1::/64 via 2001:db8::2"},
			then: []string{"ip -4 route del 10.42.1.0/24 via 192.0.2.3"},
		},
		{
			name: "removed", removed: true, node: dualNode([]string{"192.0.2.3", "2001:db8::2"}, "10.42.7.0/24", "fd00:42:0:1::/64"),
			want: []string{"ip -4 route del 10.42.7.0/24 via 192.0.2.3", "ip -6 route del fd00:42:0:1::/64 via 2001:db8::2"},
		},
		{name: "removed once more", removed: true, node: dualNode(both, "10.42.7.0/24")},
	} {
		calls, result = nil, step.fails
		if err := n.route(t.Context(), step.node, step.removed); (err != nil) != (step.fails != nil) {
			t.Errorf("%s: %v", step.name, err)
		}
		first := calls[:min(len(step.want), len(calls))]
		last := calls[len(first):]
		slices.Sort(first)
		if !slices.Equal(first, step.want) || !slices.Equal(last, step.then) {
			t.Errorf("%s: %q, then %q", step.name, first, last)
		}
	}
}
