// SPDX-License-Identifier: GPL-3.0-or-later

package state

import (
	"os"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

func TestRecordComesBack(t *testing.T) {
	t.Setenv("SANDBOX_DIR", t.TempDir())
	if _, err := Load("unit"); failure.Exit(err) != failure.Absent {
		t.Errorf("before it is there: %v", err)
	}
	c, err := New("unit", "small")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	back, err := Load("unit")
	if err != nil || len(back.Nodes) != 3 || back.Nodes[2] != c.Nodes[2] || back.Dir != c.Dir {
		t.Errorf("%+v %v", back, err)
	}
	if _, err := back.Node("agent-2"); err != nil {
		t.Error(err)
	}
	if names, err := All(); err != nil || len(names) != 1 || names[0] != "unit" {
		t.Errorf("%v %v", names, err)
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "A", "a/b", "-a", "a.b", "abcdefghijklmnopqrstu"} {
		if failure.Exit(CheckName(bad)) != failure.Usage {
			t.Errorf("%q is taken", bad)
		}
	}
	if err := CheckName("e2e-1"); err != nil {
		t.Error(err)
	}
	if _, err := New("unit", "huge"); failure.Exit(err) != failure.Usage {
		t.Errorf("topology: %v", err)
	}
}

func TestLock(t *testing.T) {
	t.Setenv("SANDBOX_DIR", t.TempDir())
	held, err := Lock("unit", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock("unit", 0); failure.Exit(err) != failure.Busy {
		t.Errorf("a second one: %v", err)
	}
	if err := held.Remove(); err != nil {
		t.Fatal(err)
	}
	held.Release()
	again, err := Lock("unit", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(again.file.Name()); err != nil {
		t.Error("the lock that is held must be the one that others see")
	}
	again.Release()
}
