// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sandbox runs tests/sandbox/sandbox for one cluster.
type sandbox struct {
	t    *testing.T
	name string
}

type result struct {
	status         int
	stdout, stderr string
	took           time.Duration
}

func (s sandbox) command(ctx context.Context, stdin string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "../sandbox", append([]string{"--name", s.name}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// try runs a verb and gives what came of it.
func (s sandbox) try(patience time.Duration, stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := s.command(ctx, stdin, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.status = -1
	case errors.As(err, &exit):
		r.status = exit.ExitCode()
	case err != nil:
		s.t.Fatalf("sandbox %v: %v", args, err)
	}
	return r
}

// run is try that must succeed.
func (s sandbox) run(patience time.Duration, args ...string) result {
	s.t.Helper()
	r := s.try(patience, "", args...)
	if r.status != 0 {
		s.t.Fatalf("sandbox %v: status %d after %v\n%s%s", args, r.status, r.took, r.stdout, r.stderr)
	}
	return r
}

// eventually waits for a condition.
func eventually(t *testing.T, patience time.Duration, what string, condition func() bool) {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(250 * time.Millisecond)
	}
	t.Logf("%s: after %.1f s", what, time.Since(start).Seconds())
}

// leftovers looks everywhere for what a cluster could leave behind.
func leftovers(t *testing.T, name string) []string {
	t.Helper()
	mark := "k3s-core-ha-" + name
	state := filepath.Join("/var/tmp/k3s-core-ha", name)
	var left []string
	for _, pattern := range []string{state, filepath.Join("/var/tmp/k3s-core-ha", "."+name+".lock"), "/run/netns/" + mark + "*", "/sys/fs/cgroup/" + mark + "*",
		"/sys/fs/cgroup/*/" + mark + "*", "/run/systemd/nspawn/*/" + mark + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	for _, pattern := range []string{"/proc/[0-9]*/cgroup", "/proc/[0-9]*/cmdline", "/proc/[0-9]*/mountinfo"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil || f == fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
				continue // ended meanwhile
			}
			if zombie(filepath.Dir(f)) {
				continue // dead; only the machine's process 1 has not yet taken note
			}
			if bytes.Contains(text, []byte(mark+"-")) || bytes.Contains(text, []byte(state+"/")) {
				left = append(left, f)
			}
		}
	}
	return left
}

func zombie(proc string) bool {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	return err != nil || bytes.Contains(status, []byte("\nState:\tZ"))
}

func mustLeaveNothing(t *testing.T, name string) {
	t.Helper()
	if left := leftovers(t, name); len(left) > 0 {
		t.Fatalf("down left behind: %v", left)
	}
}
