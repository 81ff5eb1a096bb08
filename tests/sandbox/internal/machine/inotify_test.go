// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"os"
	"path/filepath"
	"testing"
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

func TestALimitIsDoubledUntilItIsEnough(t *testing.T) {
	for _, c := range []struct{ limit, needed, want int }{{128, 96, 128}, {128, 129, 256}, {128, 600, 1024}, {0, 3, 4}} {
		if got := doubled(c.limit, c.needed); got != c.want {
			t.Errorf("%d to at least %d: %d, not %d", c.limit, c.needed, got, c.want)
		}
	}
}
