// SPDX-License-Identifier: GPL-3.0-or-later

package nodes

import "testing"

func TestSetHost(t *testing.T) {
	for _, test := range []struct {
		name, hosts, address, node string
		removed                    bool
		want                       string
	}{
		{"the first", "", "192.0.2.1", "a", false, "192.0.2.1 a\n"},
		{"in the order of names", "192.0.2.3 c\n", "192.0.2.1", "a", false, "192.0.2.1 a\n192.0.2.3 c\n"},
		{"a new address", "192.0.2.1 a\n", "192.0.2.9", "a", false, "192.0.2.9 a\n"},
		{"unchanged", "192.0.2.1 a\n", "192.0.2.1", "a", false, "192.0.2.1 a\n"},
		{"removed", "192.0.2.1 a\n192.0.2.3 c\n", "", "a", true, "192.0.2.3 c\n"},
		{"the last one removed", "192.0.2.1 a\n", "", "a", true, ""},
	} {
		if got := SetHost(test.hosts, test.address, test.node, test.removed); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
