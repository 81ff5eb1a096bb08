// SPDX-License-Identifier: GPL-3.0-or-later

package topology

import "testing"

func TestNodes(t *testing.T) {
	for name, want := range map[string]struct {
		nodes int
		first string
		last  Node
	}{
		"single":    {1, "server-1", Node{"server-1", Server, "198.18.0.11", ""}},
		"small":     {3, "server-1", Node{"agent-2", Agent, "198.18.0.22", ""}},
		"ha":        {4, "server-1", Node{"agent-1", Agent, "198.18.0.21", ""}},
		"zones":     {6, "server-1", Node{"agent-3", Agent, "198.18.0.23", "zone-c"}},
		"fleet:500": {1, "server-1", Node{"server-1", Server, "198.18.0.11", ""}},
	} {
		nodes, err := Nodes(name)
		if err != nil || len(nodes) != want.nodes || nodes[0].Name != want.first || nodes[len(nodes)-1] != want.last {
			t.Errorf("%s: %v, %v", name, nodes, err)
		}
	}
	for _, name := range []string{"large", "", "fleet:", "fleet:0", "fleet:x", "fleet:99999", "fleet"} {
		if nodes, err := Nodes(name); err == nil {
			t.Errorf("%q: %v", name, nodes)
		}
	}
	if n, err := Fleet("fleet:500"); n != 500 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
