// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/progress"
)

// What a node takes of inotify, which is counted per user and so over all clusters of the machine: seen were 27
// instances on a server, 15 on an agent, 131 watches, and some are for pods to come.
const (
	serverInstances = 30
	agentInstances  = 18
	nodeWatches     = 200
)

// Nodes are how many there are of each kind.
type Nodes struct{ Servers, Agents int }

func (n Nodes) instances() int { return n.Servers*serverInstances + n.Agents*agentInstances }
func (n Nodes) watches() int   { return (n.Servers + n.Agents) * nodeWatches }

// AllowInotify raises the machine's limits where they are too low for the nodes that are to start beside what runs
// already: without, a kubelet ends with "too many open files". They stay raised until the machine restarts, since other
// clusters may rely on them by the time that this one ends. all are the nodes of every cluster with a record: those of
// one that starts at the same time hold nothing yet.
func AllowInotify(own, all Nodes) error {
	instances, watches, err := inotifyInUse("/proc")
	if err != nil {
		return err
	}
	return errors.Join(
		raise("/proc/sys", "fs.inotify.max_user_instances", max(instances+own.instances(), all.instances())),
		raise("/proc/sys", "fs.inotify.max_user_watches", max(watches+own.watches(), all.watches())))
}

// raise makes a limit of the kernel's at least as high as is needed, and says so.
func raise(sys, name string, needed int) error {
	path := filepath.Join(sys, strings.ReplaceAll(name, ".", "/"))
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if limit >= needed {
		return nil
	}
	higher := max(limit, 1)
	for higher < needed {
		higher *= 2
	}
	if err := os.WriteFile(path, fmt.Append(nil, higher), 0); err != nil {
		return failure.New(failure.Machine, "%s is %d and these nodes need %d: sysctl -w %s=%d on the machine itself (%v)", name, limit, needed, name, higher, err)
	}
	progress.Step("%s is %d until the machine restarts: it was %d, and the nodes need %d", name, higher, limit, needed)
	return nil
}

// inotifyInUse counts what this user's processes have now. A process may end, or close a file, while it is looked at.
func inotifyInUse(proc string) (instances, watches int, err error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*"))
	if err != nil {
		return 0, 0, err
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != "anon_inode:inotify" {
			continue
		}
		text, err := os.ReadFile(strings.Replace(file, "/fd/", "/fdinfo/", 1))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		var process unix.Stat_t
		if unix.Stat(filepath.Dir(filepath.Dir(file)), &process) == nil && int(process.Uid) == os.Geteuid() {
			instances++
			watches += strings.Count(string(text), "\ninotify ")
		}
	}
	return instances, watches, nil
}
