// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/cluster"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/inventory"
	"k3s-ha.core/sandbox/internal/network"
	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/state"
)

// patience is what a command in a node has between a signal and its end.
const patience = 10 * time.Second

// inside runs the verbs that go into a node or into the cluster's network.
func (r request) inside() error {
	if r.verb == "launch" || r.verb == "enter" {
		return r.handOver()
	}
	c, err := r.load()
	if err != nil {
		return err
	}
	switch r.verb {
	case "kubectl":
		if _, err := os.Stat(c.Path("kubeconfig")); err != nil {
			return failure.New(failure.Absent, "cluster %q has no kubeconfig yet", c.Name)
		}
		options, err := kubectlOptions(c)
		if err != nil {
			return err
		}
		return becomeInNetwork(c, append(append(c.Kubectl, options...), r.args...))
	case "net":
		if err := r.arguments(1, -1, "CMD…"); err != nil {
			return err
		}
		program, err := exec.LookPath(r.args[0])
		if err != nil {
			return failure.New(failure.Usage, "%v", err)
		}
		return becomeInNetwork(c, append([]string{program}, r.args[1:]...))
	case "proxy":
		if err := r.arguments(2, 2, "HOST PORT"); err != nil {
			return err
		}
		return proxy(c, inventory.Resolve(c, r.args[0])+":"+r.args[1])
	case "exec":
		if err := r.arguments(2, -1, "NODE CMD…"); err != nil {
			return err
		}
		return inNode(c, r.args[0], r.args[1:])
	case "logs":
		if err := r.arguments(2, -1, "NODE UNIT [-f]"); err != nil {
			return err
		}
		return logs(c, r.args[0], r.args[1], r.args[2:])
	}
	return failure.New(failure.Usage, "no verb %q; sandbox --help lists them", r.verb)
}

func (r request) load() (*state.Cluster, error) {
	if r.dir != "" {
		return state.LoadDir(r.dir)
	}
	return state.Load(r.name)
}

// handOver is the other end of node.Boot and node.Command.
func (r request) handOver() error {
	if len(r.args) < 2 {
		return failure.New(failure.Usage, "%s is for the sandbox itself", r.verb)
	}
	c, err := state.LoadDir(r.args[0])
	if err != nil {
		return err
	}
	n, err := c.Node(r.args[1])
	if err != nil {
		return err
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if r.verb == "launch" {
		runtime.LockOSThread() // Launch changes the thread's mount namespace and becomes another program
		return node.Launch(c, n, layout.Group(n.Group))
	}
	if len(r.args) < 4 {
		return failure.New(failure.Usage, "%s is for the sandbox itself", r.verb)
	}
	return node.EnterNode(layout.Group(n.Group), r.args[2], r.args[3:])
}

// kubectlOptions name the kubeconfig and, where there are several servers, one that runs.
func kubectlOptions(c *state.Cluster) ([]string, error) {
	options := []string{"--kubeconfig=" + c.Path("kubeconfig")}
	if c.Servers() == 1 {
		return options, nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	server, err := cluster.RunningServer(c, layout)
	if err != nil {
		return nil, err
	}
	return append(options, "--server="+api.URL(server.Address)), nil
}

// becomeInNetwork replaces this program by another inside the cluster's network.
func becomeInNetwork(c *state.Cluster, argv []string) error {
	if !network.Exists(c.Netns) {
		return failure.New(failure.Absent, "cluster %q is not running", c.Name)
	}
	runtime.LockOSThread() // the thread that calls exec is the one whose namespace the program gets
	if err := network.Enter(c.Netns); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", argv[0], unix.Exec(argv[0], argv, os.Environ()))
}

// proxy joins standard input and output to a port in the cluster's network: ssh's ProxyCommand. The process is in the
// namespace itself, so that down finds it there.
func proxy(c *state.Cluster, address string) error {
	if os.Getenv("SANDBOX_PROXY") == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if err := os.Setenv("SANDBOX_PROXY", "1"); err != nil {
			return err
		}
		return becomeInNetwork(c, append([]string{self}, os.Args[1:]...))
	}
	conn, err := dial(address)
	if err != nil {
		return failure.New(failure.Absent, "%v", err)
	}
	defer conn.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		return err
	}
	select {
	case err := <-sent:
		return err
	default: // the other end has closed; what stands in the input has no reader
		return nil
	}
}

// inNode runs a command in a node and gives its exit status.
func inNode(c *state.Cluster, name string, args []string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	cmd, err := node.Command(c, n, args...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return attend(cmd)
}

// attend runs a child that gets our signals and dies with us. This process stays outside the node's control group, so
// it can be ended while the node hangs: a child that does not follow in time is left to its end.
func attend(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var late <-chan time.Time
	var last os.Signal
	for {
		select {
		case err := <-done:
			return err
		case <-late:
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			os.Exit(128 + int(last.(syscall.Signal)))
		case last = <-signals:
			if last == syscall.SIGINT { // the terminal sends that to the child itself
				continue
			}
			if err := cmd.Process.Signal(last); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			late = time.After(patience)
		}
	}
}

// passed is a command's exit status as a shell would give it.
func passed(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

// logs shows a unit's journal, also of a node that is off.
func logs(c *state.Cluster, name, unit string, more []string) error {
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	args := append([]string{"journalctl", "--no-pager", "--unit=" + unit}, more...)
	pid, err := node.Init(c, n)
	if err != nil {
		return err
	}
	if pid != 0 {
		return inNode(c, name, args)
	}
	cmd := exec.Command(args[0], append(args[1:], "--directory="+node.JournalDir(c, n))...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return attend(cmd)
}
