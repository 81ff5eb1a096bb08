// SPDX-License-Identifier: GPL-3.0-or-later

package node

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/state"
)

// ReadFile reads a file of the node's disk, also while the node is off. Only what the node itself wrote there is found.
func ReadFile(c *state.Cluster, n state.Node, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(c.NodeDir(n), upperDir, path))
}

// JournalDir is where a node's journal lies on this machine.
func JournalDir(c *state.Cluster, n state.Node) string {
	return filepath.Join(c.NodeDir(n), upperDir, "var/log/journal")
}

// Command is a command that runs inside a node as a login of root would, with the caller's standard streams.
func Command(c *state.Cluster, n state.Node, args ...string) (*exec.Cmd, error) {
	pid, err := Init(c, n)
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, failure.New(failure.Absent, "node %s is not running", n.Name)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"enter", c.Dir, n.Name, strconv.Itoa(pid)}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM")}
	return cmd, nil
}

// The namespaces of a node, that of mounts last: the others are opened by paths of this machine.
var namespaces = []string{"cgroup", "ipc", "uts", "net", "pid", "mnt"}

// EnterNode is the other end of Command: it joins the node's control group, so that the command shares the node's
// fate, and runs the command in the node's namespaces. The command dies with this process, so one that nobody waits
// for any more does not go on in the node.
func EnterNode(group cgroup.Group, pid string, args []string) error {
	runtime.LockOSThread() // namespaces are the thread's, and the command is started from it
	if err := group.Join("enter"); err != nil {
		return err
	}
	var files []*os.File
	for _, ns := range namespaces {
		f, err := os.Open("/proc/" + pid + "/ns/" + ns)
		if err != nil {
			return failure.New(failure.Absent, "the node has ended: %v", err)
		}
		defer f.Close()
		files = append(files, f)
	}
	// Threads share root and working directory, which the mount namespace is about to change.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("entering the node's %s namespace: %w", namespaces[i], err)
		}
	}
	// Go's own way to set the death signal looks for its parent, which cannot be seen from inside.
	cmd := exec.Command("setpriv", append([]string{"--pdeathsig", "KILL", "--"}, args...)...)
	cmd.Dir = "/root"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGINT { // the terminal sends that to the command itself
				_ = cmd.Process.Signal(s) // it fails only where the command has just ended
			}
		}
	}()
	return cmd.Wait()
}
