// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledUp: up is killed with no chance to tidy, at several points of its way; down ends what it had started.
func TestKilledUp(t *testing.T) {
	for _, when := range []string{"state in", "boot server-1", "answers on ssh", "has its kubeconfig"} {
		t.Run(when, func(t *testing.T) {
			s := sandbox{t, "killed"}
			s.run(soon, "down")
			t.Cleanup(func() { s.run(soon, "down") })
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			up := s.command(ctx, "", "up", "single")
			out, err := up.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			reached := false
			for lines := bufio.NewScanner(out); !reached && lines.Scan(); {
				reached = strings.Contains(lines.Text(), when)
			}
			if err := syscall.Kill(up.Process.Pid, syscall.SIGKILL); err != nil || !reached {
				t.Fatalf("up did not come to %q: %v", when, err)
			}
			if err := up.Wait(); err == nil {
				t.Fatal("up ended well although it was killed")
			}
			if len(leftovers(t, s.name)) == 0 {
				t.Error("the test looks in the wrong places: nothing is there before down")
			}
			down := s.run(soon, "down")
			t.Logf("down: %.1f s", down.took.Seconds())
			if down.took > 10*time.Second {
				t.Errorf("down took %v", down.took)
			}
			mustLeaveNothing(t, s.name)
		})
	}
}
