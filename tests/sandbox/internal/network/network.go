// SPDX-License-Identifier: GPL-3.0-or-later

// Package network lays a cluster's network: an outer namespace with a bridge and no way out, and a namespace for each
// node, joined to the bridge by a veth pair whose outer end carries the node's name. Nothing of it is in the machine's
// own namespace, so clusters with the same addresses live side by side.
package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/internal/topology"
)

const netnsDir = "/run/netns"

// Path is the file that stands for a named network namespace.
func Path(netns string) string { return filepath.Join(netnsDir, netns) }

func ip(args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// Up lays the network. It is done once per cluster, on a clean table.
func Up(c *state.Cluster) error {
	steps := [][]string{
		{"netns", "add", c.Netns},
		{"-n", c.Netns, "link", "set", "lo", "up"},
		{"-n", c.Netns, "link", "add", "br0", "type", "bridge"},
		{"-n", c.Netns, "addr", "add", cidr(topology.Gateway), "dev", "br0"},
		{"-n", c.Netns, "link", "set", "br0", "up"},
	}
	if c.DualStack() {
		gateway := cidr6(topology.IPv6(topology.Gateway))
		steps = append(steps, []string{"-n", c.Netns, "addr", "add", gateway, "dev", "br0", "nodad"})
	}
	for _, n := range c.Nodes {
		steps = append(steps, nodeSteps(c, n)...)
	}
	return all(steps)
}

func nodeSteps(c *state.Cluster, n state.Node) [][]string {
	steps := [][]string{
		{"netns", "add", n.Netns},
		{"-n", c.Netns, "link", "add", n.Name, "type", "veth", "peer", "name", "eth0", "netns", n.Netns},
		{"-n", c.Netns, "link", "set", n.Name, "master", "br0", "up"},
		{"-n", n.Netns, "link", "set", "lo", "up"},
		{"-n", n.Netns, "addr", "add", cidr(n.Address), "dev", "eth0"},
		{"-n", n.Netns, "link", "set", "eth0", "up"},
		{"-n", n.Netns, "route", "add", "default", "via", topology.Gateway},
	}
	if n.IPv6 != "" {
		// At once, without asking whether another has the address: none has.
		steps = append(steps,
			[]string{"-n", n.Netns, "addr", "add", cidr6(n.IPv6), "dev", "eth0", "nodad"},
			[]string{"-n", n.Netns, "-6", "route", "add", "default", "via", topology.IPv6(topology.Gateway)},
		)
	}
	return steps
}

func cidr(address string) string  { return address + "/" + strconv.Itoa(topology.PrefixBits) }
func cidr6(address string) string { return address + "/" + strconv.Itoa(topology.PrefixBits6) }

func all(steps [][]string) error {
	for _, s := range steps {
		if err := ip(s...); err != nil {
			return err
		}
	}
	return nil
}

// Refresh gives a dead node a new namespace: what a machine forgets when its power goes, links and rules of its pods
// among them, is forgotten.
func Refresh(c *state.Cluster, n state.Node) error {
	// The pair goes with the namespace, but later: the name must be free now.
	if _, err := LinkUp(c, n); err == nil {
		if err := ip("-n", c.Netns, "link", "del", n.Name); err != nil {
			return err
		}
	}
	if err := remove(n.Netns); err != nil {
		return err
	}
	return all(nodeSteps(c, n))
}

// SetLink plugs a node's cable in or pulls it.
func SetLink(c *state.Cluster, n state.Node, up bool) error {
	word := "down"
	if up {
		word = "up"
	}
	return ip("-n", c.Netns, "link", "set", n.Name, word)
}

// LinkUp says whether a node's cable is in.
func LinkUp(c *state.Cluster, n state.Node) (bool, error) {
	var up bool
	err := Do(c.Netns, func() error {
		i, err := net.InterfaceByName(n.Name)
		if err != nil {
			return err
		}
		up = i.Flags&net.FlagUp != 0
		return nil
	})
	return up, err
}

// Exists says whether the namespace is there.
func Exists(netns string) bool {
	_, err := os.Stat(Path(netns))
	return err == nil
}

// Down ends what still runs in the cluster's namespaces (proxies, commands of the user) and removes them.
func Down(c *state.Cluster) error {
	names := []string{c.Netns}
	for _, n := range c.Nodes {
		names = append(names, n.Netns)
	}
	return remove(names...)
}

func remove(names ...string) error {
	names = slices.DeleteFunc(names, func(name string) bool { return !Exists(name) })
	if err := killInside(names); err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		failed = append(failed, ip("netns", "del", name))
	}
	return errors.Join(failed...)
}

// killInside ends every process whose main thread is in one of the namespaces, but for us and those that wait for us.
func killInside(names []string) error {
	wanted := map[string]bool{}
	for _, name := range names {
		var fs unix.Statfs_t
		if err := unix.Statfs(Path(name), &fs); err != nil {
			return err
		}
		// Where up was ended between making a file and mounting the namespace on it, its number is that of a plain file.
		if fs.Type != unix.NSFS_MAGIC {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(Path(name), &st); err != nil {
			return err
		}
		wanted[fmt.Sprintf("net:[%d]", st.Ino)] = true
	}
	spared := ancestors(os.Getpid())
	for deadline := time.Now().Add(3 * time.Second); len(wanted) > 0; time.Sleep(20 * time.Millisecond) {
		found := 0
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, e := range entries {
			pid, err := strconv.Atoi(e.Name())
			if err != nil || spared[pid] {
				continue
			}
			// A process that has ended meanwhile, and one that is dead but for its number, is in no namespace.
			if in, err := os.Readlink("/proc/" + e.Name() + "/ns/net"); err != nil || !wanted[in] {
				continue
			}
			found++
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
		if found == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes in the cluster's network namespaces do not end", found)
		}
	}
	return nil
}

// ancestors are a process and those that it descends from.
func ancestors(pid int) map[int]bool {
	line := map[int]bool{}
	for pid > 1 && !line[pid] {
		line[pid] = true
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		// The name, in brackets, may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 2 {
			break
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			break
		}
	}
	return line
}

// Enter moves the calling thread into a namespace. The caller has locked its goroutine to the thread.
func Enter(netns string) error {
	f, err := os.Open(Path(netns))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace %s: %w", netns, err)
	}
	return nil
}

// Do runs a function on a thread of its own inside a namespace.
func Do(netns string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine and takes the namespace with it
		if err := Enter(netns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// Dial connects from inside a namespace. The address is numeric, so the socket is made on the calling thread.
func Dial(ctx context.Context, netns, address string) (net.Conn, error) {
	var conn net.Conn
	err := Do(netns, func() error {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}
