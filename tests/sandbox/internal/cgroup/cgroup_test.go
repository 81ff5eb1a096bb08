// SPDX-License-Identifier: GPL-3.0-or-later

package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

func hierarchy(t *testing.T, root, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, name, "cgroup.procs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDetect(t *testing.T) {
	root := t.TempDir()
	none := func(string) bool { return false }
	for _, c := range required {
		if c != "freezer" {
			hierarchy(t, root, c)
		}
	}
	_, err := detect(root, none)
	if failure.Exit(err) != failure.Machine || !strings.HasSuffix(err.Error(), ": freezer") {
		t.Errorf("without the freezer: %v", err)
	}
	hierarchy(t, root, "freezer")
	l, err := detect(root, none)
	if err != nil || l.Version != 1 || len(l.hierarchies) != len(required) {
		t.Errorf("version 1: %+v %v", l, err)
	}
	l, err = detect(root, func(path string) bool { return filepath.Base(path) == "unified" })
	if err != nil || l.Version != 1 || !slices.Contains(l.hierarchies, filepath.Join(root, "unified")) {
		t.Errorf("hybrid: %+v %v", l, err)
	}
	l, err = detect(root, func(string) bool { return true })
	if err != nil || l.Version != 2 || len(l.hierarchies) != 1 {
		t.Errorf("version 2: %+v %v", l, err)
	}
}
