// SPDX-License-Identifier: GPL-3.0-or-later

package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

type buffer struct {
	lock sync.Mutex
	b    bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.b.String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestRestartsAndForwards(t *testing.T) {
	var out buffer
	g := New(&out)
	defer g.Stop()
	if err := g.Start(Command{Name: "short", Path: "/bin/sh", Args: []string{"-c", "echo here; echo there >&2; exit 3"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a second run", func() bool { return strings.Count(out.String(), "short: here\n") >= 2 })
	if s := out.String(); !strings.Contains(s, "short: there\n") || !strings.Contains(s, "short exited") || !strings.Contains(s, "exit status 3") {
		t.Errorf("log:\n%s", s)
	}
}

func TestMissingBinaryIsAnError(t *testing.T) {
	if err := New(&buffer{}).Start(Command{Name: "x", Path: "/no/such/binary"}); err == nil {
		t.Error("no error")
	}
}

func TestStopEndsAllAndKillsTheStubborn(t *testing.T) {
	var out buffer
	g := New(&out)
	for name, script := range map[string]string{
		"polite":   "echo up; exec sleep 100",
		"stubborn": `trap "" TERM; echo up; while :; do sleep 1; done`,
	} {
		if err := g.Start(Command{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both up", func() bool { return strings.Count(out.String(), ": up\n") == 2 })
	began := time.Now()
	g.Stop()
	if took := time.Since(began); took > stopWithin+2*time.Second {
		t.Errorf("took %s", took)
	}
	if strings.Contains(out.String(), "starting it again") {
		t.Error("a component was started again while stopping")
	}
}

// The child of a program that is killed dies; what the child started lives on.
func TestDeathOfTheProgram(t *testing.T) {
	if os.Getenv("SUPERVISE_TEST_CHILD") != "" {
		g := New(os.Stdout)
		script := `setsid sh -c 'echo $$ > ` + os.Getenv("SUPERVISE_TEST_CHILD") + `/grandchild; exec sleep 100' & echo $$ > ` + os.Getenv("SUPERVISE_TEST_CHILD") + `/child; wait`
		if err := g.Start(Command{Name: "c", Path: "/bin/sh", Args: []string{"-c", script}}); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=TestDeathOfTheProgram")
	cmd.Env = append(os.Environ(), "SUPERVISE_TEST_CHILD="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := func(name string) int {
		var n int
		eventually(t, name+" runs", func() bool {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return false
			}
			n, err = strconv.Atoi(strings.TrimSpace(string(data)))
			return err == nil
		})
		return n
	}
	child, grandchild := pid("child"), pid("grandchild")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed program ended well")
	}
	eventually(t, "the child dies", func() bool { return !alive(child) })
	if !alive(grandchild) {
		t.Error("the grandchild died too")
	}
	if err := syscall.Kill(grandchild, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// alive: a zombie that nobody reaps is dead.
func alive(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestFatalLineIsTheGroupsEnd(t *testing.T) {
	g := New(&buffer{})
	defer g.Stop()
	failed := make(chan error, 1)
	g.OnFail(func(err error) {
		select {
		case failed <- err:
		default:
		}
	})
	err := g.Start(Command{
		Name: "c", Path: "/bin/sh", Args: []string{"-c", "echo one; echo two: lease lost; exec sleep 100"},
		Fatal: func(line string) bool { return strings.Contains(line, "lease lost") },
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err.Error() != "c: two: lease lost" {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was told")
	}
}

func TestComponentsGetTheUnitsEnvironment(t *testing.T) {
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "3")
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	env := Environment("/opt/bin")
	if !slices.Contains(env, "HTTP2_PING_TIMEOUT_SECONDS=3") {
		t.Error("what the unit sets does not reach the components")
	}
	for _, kv := range env {
		if strings.HasPrefix(kv, "NOTIFY_SOCKET=") {
			t.Error("a component could tell systemd that k3s is ready")
		}
		if path, ok := strings.CutPrefix(kv, "PATH="); ok && !strings.HasPrefix(path, "/opt/bin:") {
			t.Errorf("PATH is %s", path)
		}
	}
}
