// SPDX-License-Identifier: GPL-3.0-or-later

package nodes

import "testing"

func TestSetHost(t *testing.T) {
	for _, test := range []struct {
		name, hosts string
		addresses   []string
		node, want  string
	}{
		{"the first", "", []string{"192.0.2.1"}, "a", "192.0.2.1 a\n"},
		{"in the order of names", "192.0.2.3 c\n", []string{"192.0.2.1"}, "a", "192.0.2.1 a\n192.0.2.3 c\n"},
		{"a new address", "192.0.2.1 a\n", []string{"192.0.2.9"}, "a", "192.0.2.9 a\n"},
		{"unchanged", "192.0.2.1 a\n", []string{"192.0.2.1"}, "a", "192.0.2.1 a\n"},
		{"two families", "192.0.2.3 c\n", []string{"192.0.2.1", "2001:db8::1"}, "a", "192.0.2.1 a\n2001:db8::1 a\n192.0.2.3 c\n"},
		{"beside two families", "192.0.2.1 a\n2001:db8::1 a\n", []string{"192.0.2.3"}, "c", "192.0.2.1 a\n2001:db8::1 a\n192.0.2.3 c\n"},
		{"two families removed", "192.0.2.1 a\n2001:db8::1 a\n192.0.2.3 c\n", nil, "a", "192.0.2.3 c\n"},
		{"removed", "192.0.2.1 a\n192.0.2.3 c\n", nil, "a", "192.0.2.3 c\n"},
		{"the last one removed", "192.0.2.1 a\n", nil, "a", ""},
	} {
		if got := SetHost(test.hosts, test.addresses, test.node); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
