// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"k3s-ha.core/sandbox/internal/machine"
	"k3s-ha.core/sandbox/internal/state"
)

// Clusters that start at the same time know of each other by their records.
func TestRecordedNodes(t *testing.T) {
	root := t.TempDir()
	t.Setenv("SANDBOX_DIR", root)
	for name, topology := range map[string]string{"a": "single", "b": "small", "c": "ha"} {
		c, err := state.New(name, topology)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "without-record"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := recordedNodes(); err != nil || got != (machine.Nodes{Servers: 5, Agents: 3}) {
		t.Errorf("%+v %v", got, err)
	}
}
