// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/machine"
	"k3s-ha.core/sandbox/internal/state"
)

// held is a cluster that no other run works on until the lock is let go.
type held struct {
	*state.Cluster
	layout cgroup.Layout
	lock   *state.Held
}

// hold takes the lock of a cluster and reads its record. Of one that is not there nothing stays behind.
func hold(name string) (*held, error) {
	layout, err := machine.Check()
	if err != nil {
		return nil, err
	}
	lock, err := state.Lock(name, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c, err := state.Load(name)
	if err != nil {
		if failure.Exit(err) == failure.Absent {
			// An up that was killed before its record was whole has started nothing, and has left a directory at most.
			if left := errors.Join(os.RemoveAll(filepath.Join(state.Root(), name)), lock.Remove()); left != nil {
				err = left
			}
		}
		lock.Release()
		return nil, err
	}
	return &held{c, layout, lock}, nil
}

// group is a node's control group.
func (h *held) group(n state.Node) cgroup.Group { return h.layout.Group(n.Group) }
