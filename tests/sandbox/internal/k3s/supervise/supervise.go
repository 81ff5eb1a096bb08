// SPDX-License-Identifier: GPL-3.0-or-later

// Package supervise runs the components as children: it starts them again when
// they exit, forwards what they log and ends them together. The children die
// with this program, whatever ends it; what containerd started lives on.
package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	restartAfter = time.Second
	stopWithin   = 3 * time.Second
)

// Command describes one component.
type Command struct {
	Name string // prefix of its log lines
	Path string
	Args []string
	Env  []string // in addition to this program's
	// Quiet drops log lines that are noise in a supervised component.
	Quiet func(line string) bool
	// Fatal knows the log line of an end that takes the whole group along.
	Fatal func(line string) bool
}

// Group is a set of running components.
type Group struct {
	out     io.Writer
	outLock sync.Mutex
	forks   chan fork

	lock    sync.Mutex
	members []*member
	onFail  func(error)
}

type fork struct {
	cmd  *exec.Cmd
	done chan error
}

type member struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a group whose log lines go to out.
//
// A parent-death signal is tied to the thread that forked, not to the process.
// So one goroutine, locked to its thread for as long as the program lives, does
// all the forking.
func New(out io.Writer) *Group {
	g := &Group{out: out, forks: make(chan fork)}
	go func() {
		runtime.LockOSThread()
		for f := range g.forks {
			f.done <- f.cmd.Start()
		}
	}()
	return g
}

// Start runs c and keeps it running until Stop. Only a binary that is not there
// is an error: everything later shows in the log and is tried again.
func (g *Group) Start(c Command) error {
	if _, err := exec.LookPath(c.Path); err != nil {
		return fmt.Errorf("component %s: %w", c.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{name: c.Name, cancel: cancel, done: make(chan struct{})}
	g.lock.Lock()
	g.members = append(g.members, m)
	g.lock.Unlock()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			began := time.Now()
			err := g.run(ctx, c)
			if ctx.Err() != nil {
				return
			}
			g.Logf("%s exited after %s: %v; starting it again", c.Name, time.Since(began).Round(time.Millisecond), err)
			select {
			case <-ctx.Done():
			case <-time.After(restartAfter):
			}
		}
	}()
	return nil
}

func (g *Group) run(ctx context.Context, c Command) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = w, w
	// A process group of its own keeps a terminal's Ctrl-C from reaching it: its
	// end is ours to order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	f := fork{cmd, make(chan error)}
	g.forks <- f
	if err := <-f.done; err != nil {
		return errors.Join(err, w.Close(), r.Close())
	}
	if err := w.Close(); err != nil {
		return err
	}
	go g.forward(c, r)
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-exited:
		return err
	case <-time.After(stopWithin):
		g.Logf("%s did not end within %s, killing it", c.Name, stopWithin)
		if err := cmd.Process.Kill(); err != nil {
			return err
		}
		return <-exited
	}
}

// forward copies log lines until the component and all that hold its output are
// gone. A component's children (containerd's shims) may keep the pipe, so no
// one waits for this to end.
func (g *Group) forward(c Command, r io.ReadCloser) {
	defer r.Close()
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := br.ReadString('\n')
		if line != "" && c.Fatal != nil && c.Fatal(line) {
			g.Fail(fmt.Errorf("%s: %s", c.Name, strings.TrimSpace(line)))
		}
		if line != "" && (c.Quiet == nil || !c.Quiet(line)) {
			if line[len(line)-1] != '\n' {
				line += "\n"
			}
			g.write(c.Name + ": " + line)
		}
		if err != nil {
			return
		}
	}
}

// OnFail sets what is called when the group cannot go on.
func (g *Group) OnFail(f func(error)) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.onFail = f
}

// Fail says that the group cannot go on.
func (g *Group) Fail(err error) {
	g.lock.Lock()
	f := g.onFail
	g.lock.Unlock()
	if f != nil {
		f(err)
	}
}

// Logf writes one line of this program's own.
func (g *Group) Logf(format string, args ...any) {
	g.write("k3s: " + fmt.Sprintf(format, args...) + "\n")
}

func (g *Group) write(line string) {
	g.outLock.Lock()
	defer g.outLock.Unlock()
	// A log that cannot be written has no one to be told about it.
	_, _ = io.WriteString(g.out, line)
}

// Stop ends all components at once, as they would end if they were one process:
// an apiserver left to itself would serve its watches for another minute.
func (g *Group) Stop() {
	g.lock.Lock()
	members := g.members
	g.members = nil
	g.lock.Unlock()
	for _, m := range members {
		m.cancel()
	}
	for _, m := range members {
		<-m.done
	}
}

var unitsOwn = []string{"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"}

// Environment is what every component gets: that of k3s itself, since in k3s the
// components are in its process; but their siblings come first in PATH, and what
// systemd tells the unit's own process is not for them.
func Environment(components string) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == "PATH" || slices.Contains(unitsOwn, name)
	})
	return append(env, "PATH="+components+string(filepath.ListSeparator)+"/usr/sbin:/usr/bin:/sbin:/bin")
}
