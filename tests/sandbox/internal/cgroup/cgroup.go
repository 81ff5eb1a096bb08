// SPDX-License-Identifier: GPL-3.0-or-later

// Package cgroup gives each node a control group of its own, in the layout that the machine has.
//
// A node's launcher joins the group before systemd-nspawn unshares the cgroup namespace, so the group is the root that
// the node sees, and the kubelets of several nodes do not meet. The group is also how a node dies: it is frozen, every
// process in it is killed, and it is thawed again. SIGKILL on systemd-nspawn alone would leave the containers running.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"k3s-ha.core/sandbox/internal/failure"
)

const mountPoint = "/sys/fs/cgroup"

// What the kubelet, containerd and the sandbox itself need of version 1.
var required = []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "pids", "freezer", "blkio", "systemd"}

// Layout is how the machine arranges its control groups.
type Layout struct {
	Version     int
	hierarchies []string // mount points; one for version 2
	root        string
}

// Detect finds the layout or says what is missing.
func Detect() (Layout, error) { return detect(mountPoint, isVersion2) }

func isVersion2(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

func detect(root string, version2 func(string) bool) (Layout, error) {
	if version2(root) {
		return Layout{2, []string{root}, root}, nil
	}
	l := Layout{Version: 1, root: root}
	var missing []string
	for _, c := range required {
		dir := filepath.Join(root, c)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			missing = append(missing, c)
			continue
		}
		l.hierarchies = append(l.hierarchies, dir)
	}
	if len(missing) > 0 {
		return Layout{}, failure.New(failure.Machine, "the machine has neither cgroup v2 at %s nor these v1 hierarchies: %s", root, strings.Join(missing, ", "))
	}
	// A hybrid layout has version 2 beside them, for systemd's own bookkeeping.
	if unified := filepath.Join(root, "unified"); version2(unified) {
		l.hierarchies = append(l.hierarchies, unified)
	}
	return l, nil
}

// Group is one node's control group.
type Group struct {
	layout Layout
	name   string
}

func (l Layout) Group(name string) Group { return Group{l, name} }

func (g Group) dirs() []string {
	dirs := make([]string, 0, len(g.layout.hierarchies))
	for _, h := range g.layout.hierarchies {
		dirs = append(dirs, filepath.Join(h, g.name))
	}
	return dirs
}

// main is the hierarchy that freezes and lists the processes.
func (g Group) main() string {
	if g.layout.Version == 2 {
		return filepath.Join(g.layout.root, g.name)
	}
	return filepath.Join(g.layout.root, "freezer", g.name)
}

// Create makes the group in every hierarchy; an existing one is fine.
func (g Group) Create() error {
	if g.layout.Version == 2 {
		if err := delegate(g.layout.root); err != nil {
			return err
		}
	}
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("control group: %w", err)
		}
		if g.layout.Version == 2 {
			if err := delegate(dir); err != nil {
				return err
			}
		}
		if filepath.Base(filepath.Dir(dir)) == "cpuset" && g.layout.Version == 1 {
			if err := fillCpuset(dir); err != nil {
				return err
			}
		}
	}
	return g.weigh()
}

// weigh gives the node ten times the processor time of one ordinary process where there is not enough for all: a node
// stands for a machine of its own, which a build beside it does not slow down.
func (g Group) weigh() error {
	if g.layout.Version == 2 {
		return os.WriteFile(filepath.Join(g.main(), "cpu.weight"), []byte("1000"), 0)
	}
	return os.WriteFile(filepath.Join(g.layout.root, "cpu", g.name, "cpu.shares"), []byte("10240"), 0)
}

// delegate lets children of a version 2 group have all its controllers.
func delegate(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(b)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("controller %s: %w", c, err)
		}
	}
	return nil
}

// fillCpuset: a new cpuset of version 1 has no processors, and nothing can join it.
func fillCpuset(dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), f))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), []byte("1"), 0)
}

// Join moves this process into the group. In version 2 a group with children holds no processes itself, so a leaf is
// made for it.
func (g Group) Join(leaf string) error {
	for _, dir := range g.dirs() {
		if g.layout.Version == 2 {
			dir = filepath.Join(dir, leaf)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("joining control group: %w", err)
		}
	}
	return nil
}

// Exists says whether the group is there.
func (g Group) Exists() bool {
	_, err := os.Stat(g.main())
	return err == nil
}

var errSlow = errors.New("control group is slow to freeze or thaw")

// Freeze stops every process of the node where it stands.
func (g Group) Freeze() error { return g.setFrozen(true, 10*time.Second) }

// Thaw lets them go on.
func (g Group) Thaw() error { return g.setFrozen(false, 10*time.Second) }

func (g Group) setFrozen(frozen bool, patience time.Duration) error {
	file, value := "freezer.state", "THAWED"
	if frozen {
		value = "FROZEN"
	}
	if g.layout.Version == 2 {
		file, value = "cgroup.freeze", "0"
		if frozen {
			value = "1"
		}
	}
	if err := os.WriteFile(filepath.Join(g.main(), file), []byte(value), 0); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		is, err := g.Frozen()
		if err != nil || is == frozen {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s, %v", errSlow, g.name, patience)
		}
	}
}

// Frozen says whether all of the node stands still.
func (g Group) Frozen() (bool, error) {
	if g.layout.Version == 2 {
		b, err := os.ReadFile(filepath.Join(g.main(), "cgroup.events"))
		return strings.Contains(string(b), "frozen 1"), err
	}
	b, err := os.ReadFile(filepath.Join(g.main(), "freezer.state"))
	return strings.TrimSpace(string(b)) == "FROZEN", err
}

// Pids lists every process in the group and the groups below it.
func (g Group) Pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(g.main(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone while we looked
		}
		if err != nil || d.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return err
	})
	return pids, err
}

// Kill ends every process at one moment: frozen first, so none can start another meanwhile. It returns when the
// processes are gone.
func (g Group) Kill(patience time.Duration) error {
	if !g.Exists() {
		return nil
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		pids, err := g.Pids()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		// A process that the kernel holds somewhere may keep the group from freezing; the rest is killed all the same.
		if err := g.setFrozen(true, time.Second); err != nil && !errors.Is(err, errSlow) {
			return err
		}
		if pids, err = g.Pids(); err != nil {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing process %d: %w", pid, err)
			}
		}
		if err := g.Thaw(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of control group %s did not end in %v", len(pids), g.name, patience)
		}
	}
}

// Remove takes the group and all below it out of every hierarchy; what is not there is fine.
func (g Group) Remove(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for _, dir := range g.dirs() {
		for {
			err := removeTree(dir)
			if err == nil {
				break
			}
			// EBUSY while the kernel still takes leave of the last processes.
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("control group: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
