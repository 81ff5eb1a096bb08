// SPDX-License-Identifier: GPL-3.0-or-later

package inventory

import (
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/state"
)

func TestHostsOfTwoClustersDiffer(t *testing.T) {
	one, err := state.New("one", "small")
	if err != nil {
		t.Fatal(err)
	}
	two, err := state.New("two", "small")
	if err != nil {
		t.Fatal(err)
	}
	if Host(one, one.Nodes[0]) == Host(two, two.Nodes[0]) {
		t.Error("Ansible would use one cluster's connection for the other")
	}
	for host, want := range map[string]string{"agent-1.one.sandbox": "198.18.0.21", "server-1": "198.18.0.11", "198.18.0.99": "198.18.0.99"} {
		if got := Resolve(one, host); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}

func TestSingleHasAnEmptyAgentGroup(t *testing.T) {
	c, err := state.New("unit", "single")
	if err != nil {
		t.Fatal(err)
	}
	text, err := Write(c)
	if err != nil || !strings.Contains(string(text), "agent:\n      hosts: {}\n") {
		t.Errorf("%v\n%s", err, text)
	}
}
