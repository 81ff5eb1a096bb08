// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/network"
	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
)

// Down ends what the record names and nothing else. It can be repeated at any point: what is gone already is fine,
// and the record goes last.
func Down(name string) error {
	c, err := hold(name)
	if failure.Exit(err) == failure.Absent {
		progress.Step("cluster %q is not there", name)
		return nil
	}
	if err != nil {
		return err
	}
	defer c.lock.Release()
	progress.Step("end the nodes of cluster %q", name)
	failed := make([]error, len(c.Nodes))
	var wait sync.WaitGroup
	for i, n := range c.Nodes {
		wait.Go(func() { failed[i] = end(c.Cluster, n, c.group(n)) })
	}
	wait.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := network.Down(c.Cluster); err != nil {
		return err
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		return err
	}
	progress.Step("cluster %q is gone", name)
	return c.lock.Remove()
}

// end kills a node's processes and removes what the kernel and systemd-nspawn keep for it.
func end(c *state.Cluster, n state.Node, group cgroup.Group) error {
	// An up that was killed may have left a launcher that has not joined the group yet: it is looked for each time.
	for deadline := time.Now().Add(8 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := errors.Join(node.KillLauncher(c, n), group.Kill(5*time.Second), group.Remove(time.Second))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	for _, path := range node.NspawnFiles(c, n) {
		if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// DownAll ends every cluster that has a record.
func DownAll() error {
	names, err := state.All()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		progress.Step("no cluster is up")
	}
	var failed []error
	for _, name := range names {
		failed = append(failed, Down(name))
	}
	return errors.Join(failed...)
}
