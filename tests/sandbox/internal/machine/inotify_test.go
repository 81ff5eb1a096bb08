// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

func TestInotifyInUseIsCounted(t *testing.T) {
	proc := t.TempDir()
	for _, f := range []struct{ process, number, target, info string }{
		{"10", "3", "anon_inode:inotify", "pos:\t0\nflags:\t00\ninotify wd:2 ino:1\ninotify wd:1 ino:2\n"},
		{"10", "4", "socket:[7]", "pos:\t0\n"},
		{"11", "3", "anon_inode:inotify", "pos:\t0\nflags:\t00\n"},
		{"12", "3", "anon_inode:inotify", ""}, // closed since it was seen
		{"self", "3", "anon_inode:inotify", "pos:\t0\n"},
	} {
		for _, dir := range []string{"fd", "fdinfo"} {
			if err := os.MkdirAll(filepath.Join(proc, f.process, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(f.target, filepath.Join(proc, f.process, "fd", f.number)); err != nil {
			t.Fatal(err)
		}
		if f.info == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(proc, f.process, "fdinfo", f.number), []byte(f.info), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if instances, watches, err := inotifyInUse(proc); err != nil || instances != 2 || watches != 2 {
		t.Errorf("%d instances, %d watches, %v", instances, watches, err)
	}
}

func TestALimitIsRaisedWhereItIsTooLow(t *testing.T) {
	sys := t.TempDir()
	file := filepath.Join(sys, "fs", "most")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		needed int
		want   string
	}{{96, "128\n"}, {128, "128\n"}, {129, "256"}, {600, "1024"}} {
		if err := os.WriteFile(file, []byte("128\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := raise(sys, "fs.most", c.needed); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != c.want {
			t.Errorf("%d needed: %q %v", c.needed, got, err)
		}
	}
}

// The kernel lets nobody set this one.
func TestALimitThatCannotBeRaisedIsTold(t *testing.T) {
	err := raise("/proc/sys", "kernel.ngroups_max", 1<<20)
	if failure.Exit(err) != failure.Machine || !strings.Contains(err.Error(), "sysctl -w kernel.ngroups_max=1048576") {
		t.Errorf("%v", err)
	}
}
